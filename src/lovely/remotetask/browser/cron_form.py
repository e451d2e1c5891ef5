"""The fields of a cron job's form, by the names that 0.5.2 gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ICronJob
from lovely.remotetask.schedule.fields import check_fields
from lovely.remotetask.schedule.rule import check_delay
from lovely.remotetask.web.pages import adding
from lovely.remotetask.web.pages import forms
from lovely.remotetask.web.pages import scheduling

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: In the order of 0.5.2's form.
_TIMES = ('hour', 'minute', 'dayOfMonth', 'month', 'dayOfWeek')

#: What an input is sent as.
_INPUT = 'taskinput'
#: Of a hidden field: the task whose input the page has asked for.
ASKED = 'taskinput-of'


class CronForm:
    """A form, what was typed into it, and what that means.

    Arguments: ``service``; ``task``, the one that is chosen, None: that of
    the job, or none yet; ``jobid``, the cron job that is edited, by what its
    next run has.
    Attributes: ``tasks``, names to choose from; ``rows``, the fields of the
    schedule; ``is_planned``: it has a plan, of which the rows would tell a
    part; ``asked``, what the form asks for the input; ``note``, what is said
    of an input that is not shown, in part or whole; ``stays``: no form can
    show it; ``problems``, what is wrong with it.  ``given``, once the form is
    read: what add_schedule and edit_schedule of web.changes take.
    Raises: as presenter.schedule_of.
    """

    def __init__(self, service: TaskService, task: str | None,
                 jobid: int | None = None) -> None:
        self.jobid = jobid
        self._own: dict[str, Any] | None = None
        self._own_text: str | None = None
        now: dict[str, Any] = {}
        if jobid is None:
            found = adding.look(service, task or '', _INPUT)
        else:
            found = self._own = scheduling.look_at(service, jobid, None,
                                                   _INPUT)
            now = found['now']
            asked = found['asked']
            if asked is not None and asked['fields'] is None:
                self._own_text = found['text']
            if task is not None and task != now['task']:
                found = adding.look(service, task, _INPUT)
        # Else the list would choose another one, unseen.
        self.tasks = sorted({*found['tasks'], *filter(None, [
            now.get('task')])})
        self.task = now.get('task', '') if task is None else task
        self.asked: dict[str, Any] | None = found['asked']
        self._is_own = found is self._own
        self.note = now.get('inputNote') if self._is_own else None
        self.stays = self.asked is None or (
            # Of another task, too, unless that asks for fields.
            self._own is not None and self._own['asked'] is None
            and self.asked['fields'] is None)
        if self._own_text is not None and self.asked is not None:
            self.asked['text'] = self._own_text
        self.is_planned = bool(now.get('plan'))
        times = now.get('schedule', {})
        self.rows = [_row(name, times.get(name, ())) for name in _TIMES]
        self.rows.append(_delay_row(now.get('delay')))
        self.problems: dict[str, str] = {}
        self.given: dict[str, Any] = {}

    def asks_anew(self, asked: str) -> bool:
        """Does this task take an input that the page has not asked for?

        Arguments: ``asked``, the task whose input it has asked for.
        """
        return (self.asked is not None and self.asked['fields'] is not None
                and asked != self.task and not self._is_own)

    def read(self, form: Mapping[str, list[str]]) -> None:
        """Keep what was typed, and put beside a field what is wrong with it.

        Raises: InputRejected where anything is.
        """
        for row in self.rows:
            row['value'] = form.get(row['name'], [''])[0]
            try:
                self.given[row['key']] = (
                    _delay(row['value']) if row['key'] == 'delay'
                    else _times(row['key'], row['value']))
            except ValueError as error:
                row['problem'] = str(error)
        self.given['task'] = self.task
        if not self.stays and self.asked is not None:
            try:
                self._read_input(self.asked, form)
            except UsageError as error:
                self.problems['input'] = str(error)
        if self.problems or any(row['problem'] for row in self.rows):
            raise InputRejected('Nothing was stored: see the fields below.')

    def _read_input(self, asked: dict[str, Any],
                    form: Mapping[str, list[str]]) -> None:
        """Raises: UsageError."""
        has_fields = asked['fields'] is not None
        if (form.get(ASKED) != [self.task] if has_fields
                else _INPUT not in form):
            # It was not asked for: a job keeps the one that it has.
            return
        value = forms.take(asked, form)
        self.given['made'] = has_fields
        if self._is_own and self._own is not None:
            self.given |= scheduling.changed_input(self._own, value)
        elif (has_fields or self._own_text is None
              or not scheduling.is_as_shown(asked, self._own_text)):
            self.given['input'] = value


def _row(name: str, values: Any) -> dict[str, Any]:
    field: Any = ICronJob.get(name)
    every = values and list(values) == _every(name)
    return {'name': f'form.{name}', 'key': name, 'title': field.title,
            'hint': f'{field.description}, with spaces between; * for all',
            'value': '*' if every else ' '.join(map(str, values)),
            'problem': None}


def _delay_row(delay: float | None) -> dict[str, Any]:
    return {'name': 'form.delay', 'key': 'delay', 'title': 'Delay',
            'hint': 'seconds: run once after them; leave all above empty',
            'value': '' if delay is None else f'{delay:.15g}',
            'problem': None}


def _every(name: str) -> list[int]:
    """All values of a field, first and last included.

    Source: 0.5.2, whose ``*`` missed December and the 31st.
    """
    value: Any = ICronJob.get(name).value_type
    return list(range(value.min, value.max + 1))


def _times(name: str, text: str) -> list[int]:
    """Raises: ValueError."""
    if text.strip() == '*':
        return _every(name)
    try:
        values = [int(word) for word in text.split()]
    except ValueError:
        raise ValueError('These have to be whole numbers with spaces between '
                         'them, or one *.') from None
    check_fields(**{name: values})
    return values


def _delay(text: str) -> float | None:
    """Raises: ValueError."""
    if not text.strip():
        return None
    try:
        delay = float(text)
    except ValueError:
        raise ValueError('This has to be a number of seconds.') from None
    check_delay(delay)
    return delay
