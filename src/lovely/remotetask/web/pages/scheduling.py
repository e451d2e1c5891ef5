"""The pages on which a schedule is added and edited: one form for both."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.clock import iso
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.schedule import zones
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.plan import check_plan
from lovely.remotetask.schedule.plan import continued
from lovely.remotetask.schedule.rule import MISSED
from lovely.remotetask.schedule.rule import OVERLAP
from lovely.remotetask.schedule.rule import Rule
from lovely.remotetask.store.records import look
from lovely.remotetask.web import changes
from lovely.remotetask.web import csrf
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import acting
from lovely.remotetask.web.pages import adding
from lovely.remotetask.web.pages import forms
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import options as more
from lovely.remotetask.web.pages import schedules
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The fields of a schedule: name -> (its title, what it takes).
_TIMES = {'minute': ('Minute', '0 to 59'), 'hour': ('Hour', '0 to 23'),
          'dayOfMonth': ('Day of the month', '1 to 31'),
          'month': ('Month', '1 to 12'),
          'dayOfWeek': ('Day of the week', '0 Mon to 6 Sun')}

#: The lines of a plan: name -> (its title, what it takes).
_LINES = {
    'cron': ('Crontab', 'as */5 * * * *, or @daily; Sunday is 0'),
    'every': ('Every', 'seconds'),
    'timezone': ('Time zone', 'as Europe/Vienna; of crontab and fields'),
    'atMost': ('Missed runs at most', 'where all are made up'),
    'deadline': ('Late at most', 'seconds; later ones do not run')}

#: The choices of a plan: name -> (its title, its values with their meaning).
_CHOICES = {
    'missed': ('Times that were missed', tuple(zip(MISSED, (
        'run once', 'are skipped', 'run each'), strict=True))),
    'overlap': ('Amid a run', tuple(zip(OVERLAP, (
        'no other run begins', 'another one begins beside it',
        'the next one waits for its end', 'it is cancelled for the next one'),
        strict=True)))}

_NUMBERS: dict[str, Callable[[str], Any]] = {
    'every': float, 'deadline': float, 'atMost': int}

# How many of the next runs a preview tells.
_PREVIEW = 5

_MOST_TYPED = 1000


# --- adding ------------------------------------------------------------------

def show_new(request: Request, part: str) -> frame.Page:
    """The form of a new schedule: at first the choice of a task."""
    name = request.query.get('task', '')
    found: Any = request.run(
        lambda service: adding.look(service, name), False)
    return _page(request, found, name, dict.fromkeys(_TIMES, '*'), {}, [])


def add(request: Request, part: str) -> Response:
    """Add the schedule that a form describes, or tell when it would run."""
    form, typed = _form(request)
    name = typed.get('task', '')
    found: Any = request.run(
        lambda service: adding.look(service, name), False)
    value, options, problems = adding.read(found['asked'], form)
    options |= more.read(form, problems)
    times = _read_times(typed, options, problems)
    if not problems and 'preview' not in typed:
        if 'paused' in typed:
            options['enabled'] = False
        try:
            added: Any = request.run(lambda service: more.add_once(
                service, options.get('key'), lambda: changes.add_schedule(
                    service, name, value, **options, **times,
                    made=found['asked']['fields'] is not None)), True)
        except (UsageError, ValueError) as error:
            problems[''] = str(error)
        else:
            jobid, was_there = added
            if was_there:
                return more.see_holder(request, jobid, 'schedules/add')
            acting.note(request, f'added schedule {jobid}')
            return frame.see(request, 'schedules', done='scheduled')
    return frame.render(request, _page(
        request, found, name, typed, problems,
        _preview(request, times, options, problems)))


# --- editing -----------------------------------------------------------------

def show(request: Request, part: str) -> frame.Page:
    """The form of a schedule that there is."""
    found: Any = request.run(lambda service: look_at(
        service, int(part), request.query.get('task')), False)
    now = found['now']
    typed = {name: ' '.join(map(str, now['schedule'][name])) or '*'
             for name in _TIMES}
    typed |= {'priority': str(now['priority']), 'version': now['version'],
              'delay': '' if now['delay'] is None else words.digits(
                  now['delay'])}
    plan = now['plan']
    typed |= more.shown(now)
    typed |= {name: words.digits(value) if name in _NUMBERS else value
              for name, value in plan.items()}
    options = {} if now['delay'] is None else {'delay': now['delay']}
    return _page(request, found, found['name'], typed, {}, _preview(
        request, {**now['schedule'], **plan}, options, {}, found))


# What an edit by the form takes away, where the form leaves it empty.
_NOTHING = {'delay': None, 'cron': None, 'every': None, 'at': None,
            'timezone': 'UTC', 'atMost': None, 'deadline': None}


def look_at(service: TaskService, jobid: int, task: str | None,
            input_name: str = 'input') -> dict[str, Any]:
    """A schedule, and what a form asks for it, or for another task.

    Arguments: ``input_name``, what the input is sent as.
    Returns: ``asked`` is None where no form can show the input.
    """
    now = presenter.schedule_of(service, jobid)
    name = task or now['task']
    job: Any = look(service.jobs, jobid)
    value = job.coming('input')
    is_same = name == now['task']
    found = adding.look(service, name, input_name,
                        job.coming('shows') if is_same else None)
    if is_same and not (
            found['known'] and _is_asked(found, now, value)
            and forms.fill(found['asked'], value or {}, now['input'])):
        # Times can be changed where the input cannot.
        found |= {'known': True, 'asked': None}
    return {**found, 'now': now, 'name': name, 'value': value,
            'is_same': is_same, 'plan': job.coming('plan'),
            'text': found['asked'] and found['asked']['text']}


def _is_asked(found: dict[str, Any], now: dict[str, Any], value: Any) -> bool:
    """Can the input of a schedule be edited by a form?"""
    if found['asked']['fields'] is not None:
        return value is None or isinstance(value, Mapping)
    data = now['input']
    if type(value) is dict and isinstance(data, dict):
        return all(value[name] == data[name] for name in data)
    if data is None:
        return value is None or now['inputNote'].startswith('is hidden')
    # What JSON has not would come back as something else.
    return bool(value == data)


def edit(request: Request, part: str) -> Response:
    """Change a schedule as a form says, or tell when it would run."""
    form, typed = _form(request)
    jobid = int(part)
    found: Any = request.run(lambda service: look_at(
        service, jobid, typed.get('task')), False)
    given, problems = _read_edit(found, form)
    times = _read_times(typed, given, problems)
    status = 400
    if not problems and 'preview' not in typed:
        try:
            is_running = request.run(lambda service: _edit(
                service, jobid, typed, {**_NOTHING, **given, **times},
                found), True)
        except changes.Outdated:
            status, problems[''] = 409, (
                f'Nothing was changed: another person has changed this '
                f'schedule meanwhile. Now it runs {found["now"]["task"]!r}: '
                f'{schedules.when(found["now"])}. Save again to put what '
                f'stands below in the place of that.')
            typed['version'] = found['now']['version']
        except (UsageError, ValueError) as error:
            problems[''] = str(error)
        else:
            acting.note(request, f'edited schedule {jobid}')
            return frame.see(request, 'schedules', done=(
                'edited_running' if is_running else 'edited'))
    return frame.render(request, _page(
        request, found, found['name'], typed, problems,
        _preview(request, times, given, problems, found), status))


def _read_edit(found: dict[str, Any], form: Mapping[str, list[str]]
               ) -> tuple[dict[str, Any], dict[str, str]]:
    """What a form changes besides the times, and what is wrong with it."""
    asked = found['asked']
    if asked is None:
        _, given, problems = adding.read({'fields': []}, form)
        return given | more.edited(form, found['now'], problems), problems
    value, given, problems = adding.read(asked, form)
    given |= more.edited(form, found['now'], problems)
    if not found['is_same']:
        given |= {'task': found['name'], 'input': value}
    elif not problems.get('input'):
        given |= changed_input(found, value)
    return given, problems


def changed_input(found: dict[str, Any], value: Any) -> dict[str, Any]:
    """``input`` as an edit makes it, or nothing where it stays.

    Arguments: ``found``, of ``look_at``, for the task that there is;
    ``value``, what forms.take gave.
    """
    asked = found['asked']
    if asked['fields'] is None:
        return {} if is_as_shown(asked, found['text']) else {'input': value}
    old = found['value'] or {}
    new = forms.changed(asked['fields'], old, value)
    return {} if new == old else {'input': new}


def is_as_shown(asked: dict[str, Any], text: str) -> bool:
    """Was a JSON text sent back as it was shown?"""
    return bool(asked['text'].replace('\r\n', '\n').strip() == text.strip())


def _edit(service: TaskService, jobid: int, typed: Mapping[str, str],
          given: dict[str, Any], found: dict[str, Any]) -> bool:
    """Change the schedule.  Returns: does a run go on as it began?"""
    asked = found['asked']
    changes.edit_schedule(
        service, jobid, typed.get('version', ''), **given,
        made=asked is not None and asked['fields'] is not None)
    return presenter.status(service, jobid) == PROCESSING


# --- the form ----------------------------------------------------------------

def _form(request: Request) -> tuple[dict[str, list[str]], dict[str, str]]:
    form = frame.read_form(request)
    csrf.check_form(request, form)
    return form, {name: values[0] for name, values in form.items()}


def _page(request: Request, found: dict[str, Any], name: str,
          typed: Mapping[str, str], problems: Mapping[str, str],
          preview: list[Any], status: int = 400) -> frame.Page:
    now = found.get('now')
    return frame.Page(
        'schedule', f'Edit schedule {now["id"]}' if now else 'Add a schedule',
        'schedules', {
            'tasks': found['tasks'], 'task': name if found['known'] else '',
            'unknown': name if name and not found['known'] else '',
            'asked': found['asked'], 'now': now and schedules.row_of(now),
            'note': now and now.get('inputNote'),
            'place': f'schedules/{now["id"]}/edit' if now else 'schedules/add',
            'times': [{
                'name': key, 'title': title, 'hint': hint,
                'value': typed.get(key, ''), 'problem': problems.get(key)}
                for key, (title, hint) in _TIMES.items()],
            'plan': [{
                'name': key, 'title': title, 'hint': hint,
                'value': typed.get(key, ''), 'problem': problems.get(key)}
                for key, (title, hint) in _LINES.items()],
            'choices': [{
                'name': key, 'title': title, 'values': values,
                'value': typed.get(key, ''), 'problem': problems.get(key)}
                for key, (title, values) in _CHOICES.items()],
            'lines': adding.lines(
                typed, problems, 'seconds from now on; it runs once'),
            'more': {**more.lines(
                more.EDITED if now else more.names(request), typed, problems),
                'note': now and more.fixed(now)},
            'typed': {'version': '', **typed},
            'problems': problems, 'preview': preview,
        }, status if problems else 200)


def _read_times(typed: Mapping[str, str], options: Mapping[str, Any],
                problems: dict[str, str]) -> dict[str, Any]:
    """The fields and the plan of a form.

    What is wrong is added to ``problems``.
    """
    found: dict[str, Any] = {}
    for name in _TIMES:
        try:
            found[name] = _numbers(typed.get(name, ''))
            check_fields(**{name: found[name]})
        except InvalidSchedule as error:
            problems[name] = str(error)
    plan = _read_plan(typed, problems)
    if problems.keys() & {*_TIMES, *_LINES, *_CHOICES, 'delay'}:
        return {**found, **plan}
    fields = [found[name] for name in _TIMES]
    given = [any(fields), *(name in {**options, **plan}
                            for name in ('delay', 'cron', 'every'))]
    if sum(given) > 1:
        problems['minute' if given[0] else 'cron'] = (
            'Give numbers in these fields, or one of crontab, every and delay,'
            ' not two of them.')
    elif not sum(given):
        problems['cron'] = ('Give a crontab, a period, a delay, or a number '
                            'in one of the fields at least.')
    else:
        try:
            check_plan(fields, options.get('delay'), 0.0, **plan)
        except (InvalidSchedule, ConfigurationError) as error:
            # A day that none of the months has is told by its field.
            problems[str(error).split()[0]] = str(error)
    return {**found, **plan}


def _read_plan(typed: Mapping[str, str], problems: dict[str, str]
               ) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (*_LINES, *_CHOICES):
        text = typed.get(name, '').strip()
        try:
            if text:
                found[name] = _NUMBERS.get(name, str)(text)
        except ValueError:
            problems[name] = f'{text[:20]!r} is no number.'
    return found


def _numbers(text: str) -> list[int]:
    """Whole numbers apart by spaces or commas; ``*`` or nothing: none."""
    if len(text) > _MOST_TYPED:
        raise InvalidSchedule(f'this is longer than {_MOST_TYPED} characters')
    parts = text.replace(',', ' ').split()
    if parts == ['*']:
        return []
    for part in parts:
        if not re.fullmatch('[0-9]{1,9}', part):
            raise InvalidSchedule(f'{part[:20]!r} is no whole number; give '
                                  f'some, apart by spaces, or *')
    return [int(part) for part in parts]


def _preview(request: Request, times: Mapping[str, Any],
             options: Mapping[str, Any], problems: Mapping[str, str],
             found: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The next runs of a schedule, also as its own zone has them.

    Of one with a problem, none.
    Arguments: ``found``, what there is of it: its period goes on.
    """
    if problems.keys() & {*_TIMES, *_LINES, *_CHOICES, 'delay'}:
        return []
    now: Any = request.run(lambda service: service.clock.now(), False)
    given = dict(times)
    if isinstance(given.get('at'), str):
        given['at'] = datetime.fromisoformat(given['at'])
    try:
        fields, delay, plan = check_plan(
            [given.pop(name) for name in _TIMES], options.get('delay'), now,
            **given)
        rule = Rule.of(fields, delay, continued(plan, found and found['plan']))
        return [{'at': words.moment(iso(at)),
                 'local': '' if rule.timezone == 'UTC' else zones.local(
                     rule.timezone, at)[:16].replace('T', ' ')}
                for at in rule.upcoming(now, _PREVIEW)]
    except (InvalidSchedule, ConfigurationError):
        return []       # it was checked by a process that knows its zone
