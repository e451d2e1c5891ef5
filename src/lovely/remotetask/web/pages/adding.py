"""The page on which a job is added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.log import trace
from lovely.remotetask.web import changes
from lovely.remotetask.web import csrf
from lovely.remotetask.web import plain
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import forms
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_TITLE = 'Add a job'


def show(request: Request, part: str) -> frame.Page:
    """The form: at first the choice of a task."""
    name = request.query.get('task', '')
    found: Any = request.run(lambda service: _look(service, name), False)
    return _page(found, name, '', {})


def _page(found: dict[str, Any], name: str, problem: str,
          typed: Mapping[str, str], status: int = 200) -> frame.Page:
    return frame.Page('add', _TITLE, 'jobs/add', {
        'tasks': found['tasks'], 'task': name if found['known'] else '',
        'unknown': name if name and not found['known'] else '',
        'fields': found['fields'],
        'text': typed.get('input', found['text']),
        'priority': typed.get('priority', '0'),
        'delay': typed.get('delay', ''), 'problem': problem}, status)


def _look(service: TaskService, name: str) -> dict[str, Any]:
    names = presenter.available_tasks(service)
    known = name in names
    task = service.getAvailableTasks()[name] if known else None
    return {'tasks': names, 'known': known,
            'fields': forms.fields_of(task) if known else None,
            'text': forms.skeleton(task) if known else ''}


def add(request: Request, part: str) -> Response:
    """Add the job that a form describes."""
    form = frame.read_form(request)
    csrf.check_form(request, form)
    typed = {name: values[0] for name, values in form.items()}
    name = typed.get('task', '')
    found: Any = request.run(lambda service: _look(service, name), False)
    try:
        jobid = _add(request, form, typed, found)
    except (UsageError, ValueError) as error:
        return frame.render(request, _page(found, name, str(error), typed,
                                           400))
    trace.info('%s added job %s (%s)', request.user or 'a visitor', jobid,
               request.address)
    return frame.see(request, f'jobs/{jobid}' if request.may(VIEW)
                     else 'jobs/add', done='added')


def _add(request: Request, form: Mapping[str, list[str]],
         typed: Mapping[str, str], found: dict[str, Any]) -> int:
    fields = found['fields']
    if fields is None:
        value = read_json(typed.get('input', ''))
    else:
        value = forms.read(fields, form)
        if any(field['problem'] for field in fields):
            raise InputRejected('Nothing was added: see the fields below.')
    options: dict[str, Any] = {}
    priority, delay = typed.get('priority', ''), typed.get('delay', '').strip()
    if priority.strip():
        options['priority'] = _number(int, priority, 'Priority has to be a '
                                      'whole number from -4 to 3.')
    if delay:
        options['delay'] = _number(float, delay, 'The delay has to be a '
                                   'number of seconds.')

    def run(service: TaskService) -> int:
        if fields is not None:
            _check(service, typed['task'], fields, value)
        return changes.add(service, typed.get('task', ''), value, **options)

    return int(str(request.run(run, True)))


def _check(service: TaskService, name: str, fields: list[dict[str, Any]],
           value: dict[str, Any]) -> None:
    """Put the violations of a schema beside the fields that they are about."""
    schema: Any = service.getAvailableTasks()[name].inputSchema
    if forms.has_violations(schema, fields, value):
        raise InputRejected('Nothing was added: see the fields below.')


def read_json(text: str) -> Any:
    """An input that was typed as JSON; None for no text.

    Raises: InputRejected.
    """
    if not text.strip():
        return None
    try:
        return plain.read_json(text)
    except json.JSONDecodeError as error:
        raise InputRejected(
            f'The input is not JSON: {error.msg} (line {error.lineno}, '
            f'character {error.colno}).  A text stands in double quotes.'
            ) from None
    except RecursionError:
        raise InputRejected('The input is nested too deeply.') from None


def _number(convert: Any, text: str, message: str) -> Any:
    try:
        return convert(text.strip())
    except (ValueError, OverflowError):
        raise UsageError(message) from None
