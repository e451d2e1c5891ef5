"""The fields of a cron job's form, by the names that 0.5.2 gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import schedule
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.interfaces import ICronJob
from lovely.remotetask.web import plain
from lovely.remotetask.web import presenter
from lovely.remotetask.web.changes import UNCHANGED
from lovely.remotetask.web.pages import adding
from lovely.remotetask.web.pages import forms
from lovely.remotetask.web.pages import frame

if TYPE_CHECKING:
    from lovely.remotetask.job import CronJob
    from lovely.remotetask.service import TaskService

#: In the order of 0.5.2's form.
_TIMES = ('hour', 'minute', 'dayOfMonth', 'month', 'dayOfWeek')

#: The name of an input that is one JSON text, and what the names of fields of
#: an input begin with.
_INPUT = 'taskinput'
#: Of a hidden field: the task whose input the page has asked for.
ASKED = 'taskinput-of'

_STAYS = ('The job has an input that a form cannot show ({}). It stays as it '
          'is.')


class CronForm:
    """A form, what was typed into it, and what that means.

    Arguments: ``service``; ``task``, the one that is chosen, None: that of
    the job, or none yet; ``job``, the cron job that is edited.
    Attributes: ``tasks``, names to choose from; ``rows``, the fields of the
    schedule; ``fields``, those of the input, None where that is one JSON
    text, ``text``; ``stays``, why the input of the job is not shown.  After
    ``read``: ``times`` (name -> list of int), ``delay``, ``input``.
    """

    def __init__(self, service: TaskService, task: str | None,
                 job: CronJob | None = None) -> None:
        self._job = job
        self.tasks = presenter.available_tasks(service)
        if job is not None and job.task not in self.tasks:
            # Else the list would choose another one, unseen.
            self.tasks = sorted([*self.tasks, job.task])
        self.task = (task if task is not None
                     else '' if job is None else job.task)
        utility = service.getAvailableTasks().get(
            self.task if self.task in self.tasks else '')
        self._schema = getattr(utility, 'inputSchema', None)
        self.fields = forms.fields_of(utility, f'{_INPUT}.')
        self.text = '' if utility is None else forms.skeleton(utility)
        self.stays: str | None = None
        self._others: dict[str, Any] = {}
        self.rows = [_row(name, job) for name in _TIMES]
        self.rows.append(_delay_row(job))
        if job is not None:
            self._show_input(job)
        self.times: dict[str, Any] = {}
        self.delay: float | None = None
        self.input: Any = None if job is None else UNCHANGED

    def _show_input(self, job: CronJob) -> None:
        """Begin with the input that the job has."""
        stored = job.input
        if self.fields is None:
            text = _text(stored)
            if text is None:
                self.stays = _STAYS.format('it has values that JSON lacks')
            else:
                self.text = text
        elif job.task == self.task and stored is not None:
            if type(stored) is not dict or not forms.fill(self.fields,
                                                          stored):
                self.stays = _STAYS.format("it is none of the task's schema")
                return
            keys = {field['key'] for field in self.fields}
            # A task may take more than its schema names.
            self._others = {key: value for key, value in stored.items()
                            if key not in keys}

    def asks_anew(self, asked: str) -> bool:
        """Does this task take an input that the page has not asked for?

        Arguments: ``asked``, the task whose input it has asked for.
        """
        return (self.fields is not None and asked != self.task
                and (self._job is None or self._job.task != self.task))

    def read(self, form: Mapping[str, list[str]]) -> None:
        """Keep what was typed, and put beside a field what is wrong with it.

        Raises: InputRejected where anything is.
        """
        typed = {name: values[0] for name, values in form.items()}
        for row in self.rows:
            row['value'] = typed.get(row['name'], '')
            try:
                if row['key'] == 'delay':
                    self.delay = _delay(row['value'])
                else:
                    self.times[row['key']] = _times(row['key'], row['value'])
            except ValueError as error:
                row['problem'] = str(error)
        wrong = any(row['problem'] for row in self.rows)
        if self.stays is None:
            wrong |= self._read_input(form, typed)
        if wrong:
            raise InputRejected('Nothing was stored: see the fields below.')

    def _read_input(self, form: Mapping[str, list[str]],
                    typed: Mapping[str, str]) -> bool:
        """Returns: is anything wrong with it?"""
        if self.fields is None:
            if _INPUT in typed:
                self._read_text(typed[_INPUT])
            return False
        if typed.get(ASKED) != self.task:
            return False
        read = forms.read(self.fields, form)
        self.input = {**self._others, **read}
        return forms.has_violations(self._schema, self.fields, read)

    def _read_text(self, text: str) -> None:
        shown, self.text = self.text, text
        if self._job is None or text.replace('\r\n', '\n') != shown:
            self.input = adding.read_json(text)


def _row(name: str, job: CronJob | None) -> dict[str, Any]:
    field: Any = ICronJob.get(name)
    values = getattr(job, name, ())
    every = values and list(values) == _every(name)
    return {'name': f'form.{name}', 'key': name, 'title': field.title,
            'hint': f'{field.description}, with spaces between; * for all',
            'value': '*' if every else ' '.join(map(str, values)),
            'problem': None}


def _delay_row(job: CronJob | None) -> dict[str, Any]:
    delay = None if job is None else job.delay
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
    schedule.check_fields(**{name: values})
    return values


def _delay(text: str) -> float | None:
    """Raises: ValueError."""
    if not text.strip():
        return None
    try:
        delay = float(text)
    except ValueError:
        raise ValueError('This has to be a number of seconds.') from None
    schedule.check_delay(delay)
    return delay


def _text(value: Any) -> str | None:
    """A value as JSON; None if something would be lost by that."""
    if value is None:
        return ''
    try:
        text = frame.as_json(plain.jsonable(plain.plain(value)))
        same = plain.read_json(text) == value
    except (InputRejected, InvalidSchedule, ValueError):
        return None
    return text if same else None
