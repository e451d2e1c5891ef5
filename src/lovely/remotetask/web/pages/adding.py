"""The page on which a job is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.adding.options import check_priority
from lovely.remotetask.edge.log import trace
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import changes
from lovely.remotetask.web import csrf
from lovely.remotetask.web import hiding
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import forms
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import options as more
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_TITLE = 'Add a job'


def show(request: Request, part: str) -> frame.Page:
    """The form: at first the choice of a task."""
    name = request.query.get('task', '')
    found: Any = request.run(lambda service: look(service, name), False)
    return _page(request, found, name, {}, {})


def _page(request: Request, found: dict[str, Any], name: str,
          problems: Mapping[str, str], typed: Mapping[str, str],
          status: int = 200) -> frame.Page:
    return frame.Page('add', _TITLE, 'jobs/add', {
        'tasks': found['tasks'], 'task': name if found['known'] else '',
        'unknown': name if name and not found['known'] else '',
        'asked': found['asked'],
        'lines': lines(typed, problems), 'problems': problems,
        'more': more.lines(more.names(request), typed, problems)}, status)


def lines(typed: Mapping[str, str], problems: Mapping[str, str],
          delay: str = 'seconds to wait') -> list[dict[str, Any]]:
    """The lines of a form for the options of a job.

    Arguments: ``delay``, what is said of that.
    """
    return [{'name': name, 'title': title, 'hint': hint,
             'value': typed.get(name, default), 'problem': problems.get(name)}
            for name, title, hint, default in (
                ('priority', 'Priority', '-4 to 3; larger runs earlier', '0'),
                ('delay', 'Delay', delay, ''))]


def look(service: TaskService, name: str, input_name: str = 'input',
         noted: Any = None) -> dict[str, Any]:
    """The tasks that may be added, and what a form asks for one of them.

    Arguments: ``input_name``, what the input is sent as; ``noted``, see
    hiding.keys_of.
    """
    names = presenter.available_tasks(service)
    known = name in names
    task = service.getAvailableTasks()[name] if known else None
    return {'tasks': names, 'known': known,
            'asked': forms.asked(
                task, hiding.keys_of(service, name, noted), input_name)}


def add(request: Request, part: str) -> Response:
    """Add the job that a form describes."""
    form = frame.read_form(request)
    csrf.check_form(request, form)
    more.demand(request, form)
    typed = {name: values[0] for name, values in form.items()}
    name = typed.get('task', '')
    found: Any = request.run(lambda service: look(service, name), False)
    value, options, problems = read(found['asked'], form)
    options |= more.read(form, problems)
    added: Any = None
    if not problems:
        try:
            added = request.run(lambda service: more.add_once(
                service, options.get('key'), lambda: changes.add(
                    service, name, value, **options,
                    made=found['asked']['fields'] is not None)), True)
        except (UsageError, ValueError) as error:
            problems[''] = str(error)
    if problems:
        return frame.render(request, _page(request, found, name, problems,
                                           typed, 400))
    jobid, was_there = added
    if was_there:
        return more.see_holder(request, jobid, 'jobs/add')
    trace.info('%s added job %s (%s)', request.user or 'a visitor', jobid,
               request.address)
    return frame.see(request, f'jobs/{jobid}' if request.may(VIEW)
                     else 'jobs/add', done='added')


def read(asked: dict[str, Any], form: Mapping[str, list[str]]
         ) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """The input and the options that a form gives.

    Returns: both, and all that is wrong with them, by its place in the form.
    """
    problems: dict[str, str] = {}
    options: dict[str, Any] = {}
    value = None
    try:
        value = forms.take(asked, form)
    except UsageError as error:
        problems['input'] = str(error)
    for name, convert in (('priority', _priority), ('delay', _delay)):
        text = form.get(name, [''])[0].strip()
        if text:
            try:
                options[name] = convert(text)
            except (ValueError, OverflowError, UsageError):
                problems[name] = _NUMBERS[name]
    return value, options, problems


_NUMBERS = {'priority': 'Priority has to be a whole number from -4 to 3.',
            'delay': 'The delay has to be a number of seconds from 0 to two '
                     'hundred years.'}


def _priority(text: str) -> int:
    value = int(text)
    check_priority(value)
    return value


def _delay(text: str) -> float:
    value = float(text)
    if not is_seconds(value):
        raise ValueError
    return value
