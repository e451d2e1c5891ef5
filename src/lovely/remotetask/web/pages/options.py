"""The options of a job that few need, in the forms that add one."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple

from lovely.remotetask.adding.options import check_concurrency_key
from lovely.remotetask.adding.options import check_timeout
from lovely.remotetask.edge.texts import retry_text
from lovely.remotetask.errors import UsageError
from lovely.remotetask.fields.limits import DEFAULT_QUEUE
from lovely.remotetask.fields.limits import check_queue
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.store.uniques import check_key
from lovely.remotetask.web import changes
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


class _Option(NamedTuple):
    """Attributes: ``hint``, what it takes; ``read``, makes a value of what was
    typed, or raises UsageError, ValueError or OverflowError; ``problem``, what
    is said then.
    """

    title: str
    hint: str
    read: Callable[[str], Any]
    problem: str


def _checked(check: Callable[[Any], Any]) -> Callable[[str], str]:
    def read(text: str) -> str:
        check(text)
        return text

    return read


def _retry(text: str) -> int:
    return RetryPolicy(int(text)).retries


def _timeout(text: str) -> float | None:
    return check_timeout(float(text))


_OPTIONS = {
    'key': _Option(
        'Unique key', 'while a job with it is not over, no other one is added',
        _checked(check_key), 'The unique key has to have 1 to 200 characters.'
        ),
    'queue': _Option(
        'Queue', 'empty: that of the task', _checked(check_queue),
        'The queue has to be a name of 1 to 64 ASCII letters, digits, "-" and '
        '"_".'),
    'concurrencyKey': _Option(
        'Concurrency key', 'jobs with the same one share a limit',
        _checked(check_concurrency_key),
        'The concurrency key has to have 1 to 200 characters.'),
    'retry': _Option(
        'Retries', 'after failures; empty: as the task has it', _retry,
        'Retries has to be a whole number from 0 on.'),
    'timeout': _Option(
        'Time limit', 'seconds a run may take; empty: as the task has it',
        _timeout, 'The time limit has to be a number of seconds, more than 0 '
        'and up to two hundred years.'),
}


def names(request: Request) -> tuple[str, ...]:
    """Those that this account may give a job that it adds."""
    own = changes.OWN if request.may(MANAGE) else ()
    return ('key', *changes.MORE, *own)


def lines(wanted: Iterable[str], typed: Mapping[str, str],
          problems: Mapping[str, str]) -> dict[str, Any]:
    """The lines of a form for these options.

    Returns: also ``open``, whether one of them has a value or a problem, and
    has to be seen.
    """
    found = [{'name': name, 'title': _OPTIONS[name].title,
              'hint': _OPTIONS[name].hint, 'value': typed.get(name, ''),
              'problem': problems.get(name)} for name in wanted]
    return {'lines': found, 'note': None, 'open': any(
        one['value'] or one['problem'] for one in found)}


def read(form: Mapping[str, list[str]], problems: dict[str, str]
         ) -> dict[str, Any]:
    """The options that a form gives; what is wrong is added to ``problems``.
    """
    found = {}
    for name, option in _OPTIONS.items():
        text = form.get(name, [''])[0].strip()
        if text:
            try:
                found[name] = option.read(text)
            except (ValueError, OverflowError, UsageError):
                problems[name] = option.problem
    return found


def demand(request: Request, form: Mapping[str, list[str]]) -> None:
    """Raise Refused for options that take the permission to manage."""
    # With these a job holds a worker for as long, and as often, as it likes.
    if any(form.get(name, [''])[0].strip() for name in changes.OWN):
        request.demand(MANAGE)


# --- of a schedule that is edited --------------------------------------------

#: Those that an edit changes.
EDITED = (*changes.MORE, *changes.OWN)


def shown(now: Mapping[str, Any]) -> dict[str, str]:
    """What a form shows of a schedule, of presenter.schedule_of."""
    return {
        'queue': '' if now['queue'] == DEFAULT_QUEUE else now['queue'],
        'concurrencyKey': now['concurrencyKey'] or '',
        'retry': '' if now['retry'] is None else retry_text(now['retry']),
        'timeout': '' if now['timeout'] is None else words.digits(
            now['timeout'])}


def fixed(now: Mapping[str, Any]) -> str | None:
    """What no edit changes of a schedule, in words."""
    return None if now['key'] is None else (
        f'It keeps the unique key {now["key"]}.')


def edited(form: Mapping[str, list[str]], now: Mapping[str, Any],
           problems: dict[str, str]) -> dict[str, Any]:
    """The options that a form changes; None: as the task has it.

    What comes back as it was shown stays: a policy of the application cannot
    be typed.
    """
    before = shown(now)
    given = {name: form[name] for name in EDITED
             if name in form and form[name][0].strip() != before[name]}
    return {**dict.fromkeys(given), **read(given, problems)}


# --- a unique key ------------------------------------------------------------

def add_once(service: TaskService, key: str | None, add: Callable[[], int]
             ) -> tuple[int, bool]:
    """Add by ``add()``, which adds nothing where a job keeps the key.

    Returns: the id; was that job there already?
    """
    before = None if key is None else service.jobqueue.uniques.holder(
        key, service.jobs)
    jobid = add()
    return jobid, before is not None and before.id == jobid


def see_holder(request: Request, jobid: int, form: str) -> Response:
    """Lead to the job that has the key already.

    Arguments: ``form``, the path to which an account without View is led.
    """
    return frame.see(request, f'jobs/{jobid}' if request.may(VIEW) else form,
                     done='there')
