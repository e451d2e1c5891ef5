"""What the buttons do: to one job, to those selected, to all that match.

Each answers with a redirect, so that a reload repeats nothing.  What cannot be
undone is asked for first, on a page of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.log import trace
from lovely.remotetask.edge.texts import some
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import PROCESSING
from lovely.remotetask.web import changes
from lovely.remotetask.web import csrf
from lovely.remotetask.web import many
from lovely.remotetask.web import presenter
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import jobs
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_Form = Mapping[str, list[str]]

#: How many jobs a form may select: a page of the list has fewer.
_MOST_SELECTED = 1000


#: Where a form may have the browser go back to.
_LISTS = ('jobs', 'schedules')


def pause(request: Request, part: str) -> Response:
    """Let the workers start no more jobs."""
    form = form_of(request)
    reason = _one(form, 'reason').strip() or None
    queue = _one(form, 'queue') or None
    request.run(lambda service: changes.pause(service, reason, queue), True)
    note(request, 'paused ' + _queue_text(queue))
    return frame.see(request, 'workers' if queue else '', done='paused')


def resume(request: Request, part: str) -> Response:
    """Let the workers start jobs again."""
    queue = _one(form_of(request), 'queue') or None
    request.run(lambda service: changes.resume(service, queue), True)
    note(request, 'resumed ' + _queue_text(queue))
    return frame.see(request, 'workers' if queue else '', done='resumed')


def _queue_text(queue: str | None) -> str:
    return 'the queue' if queue is None else f'the queue {queue!r:.80}'


def set_limit(request: Request, part: str) -> Response:
    """Limit how many jobs of a task, or with a key, run."""
    form = form_of(request)
    number, seconds = _number(form, 'number'), _number(form, 'seconds')
    if (number is None) != (seconds is None):
        raise Refused(400, 'a rate has a number of jobs, and of seconds')
    given = {
        **_of_limit(form), 'limit': _number(form, 'limit'),
        'rate': None if number is None else [number, seconds]}
    request.run(lambda service: changes.set_limit(service, **given), True)
    note(request, f'set a limit: {given!r:.200}')
    return frame.see(request, 'workers', done='limited')


def unset_limit(request: Request, part: str) -> Response:
    """Let the code say again how many jobs run."""
    which = _of_limit(form_of(request))
    request.run(lambda service: changes.unset_limit(service, **which), True)
    note(request, f'unset a limit: {which!r:.200}')
    return frame.see(request, 'workers', done='unlimited')


def _of_limit(form: _Form) -> dict[str, str | None]:
    return {name: _one(form, name).strip() or None for name in ('task', 'key')}


def _number(form: _Form, name: str) -> int | float | None:
    """The number in a field, None: it is empty.  Raises: Refused."""
    text = _one(form, name).strip()
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        return float(text)
    except ValueError:
        raise Refused(400, f'{name} has to be a number, not {text!r:.80}'
                      ) from None


def retention(request: Request, part: str) -> Response:
    """Say how long jobs that are over are kept."""
    form = form_of(request)
    wanted = {status: {
        'days': _number(form, f'days-{status}'),
        'count': _number(form, f'count-{status}')}
        for status in FINAL if f'days-{status}' in form}
    request.run(lambda service: changes.retention(service, wanted), True)
    note(request, f'set the retention to {wanted}')
    return frame.see(request, '', done='kept')


# --- selected jobs -----------------------------------------------------------

def cancel_some(request: Request, part: str) -> Response:
    """Cancel the selected jobs."""
    form = form_of(request)
    found = _selected(form)
    if not is_sure(form):
        running = request.run(lambda service: sum(
            _status(service, one) == PROCESSING for one in found), False)
        if running:
            return ask(
                request, form, 'Cancel running jobs?',
                f'{words.count(int(str(running)), "job runs", "jobs run")} '
                f'now. What a task has done in the database is undone; what '
                f'it has done elsewhere is not.', 'Cancel the jobs')
    return _each(request, form, found, 'cancelled', 'over', _cancel)


def retry_some(request: Request, part: str) -> Response:
    """Queue the selected jobs once more."""
    form = form_of(request)
    return _each(request, form, _selected(form), 'retried', 'stays', _retry)


def remove_some(request: Request, part: str) -> Response:
    """Remove the selected jobs that are over."""
    form = form_of(request)
    found = _selected(form)
    if found and not is_sure(form):
        number = words.count(len(found), 'job', 'jobs')
        return ask(request, form, f'Remove {number}?',
                    'Nothing of a removed job is left: no result, no error, '
                    'no input.', 'Remove')
    return _each(request, form, found, 'removed', 'open', _remove)


def start_some(request: Request, part: str) -> Response:
    """Let the selected jobs run now; of schedules, one run each."""
    form = form_of(request)
    return _each(request, form, _selected(form), 'started', 'stays', _start)


def pause_schedules(request: Request, part: str) -> Response:
    """Let the selected schedules begin no further run."""
    form = form_of(request)
    return _each(request, form, _selected(form), 'disabled', 'stays',
                 _quietly(changes.disable))


def resume_schedules(request: Request, part: str) -> Response:
    """Let the selected schedules go on."""
    form = form_of(request)
    return _each(request, form, _selected(form), 'enabled', 'stays',
                 _quietly(changes.enable))


def _quietly(change: Callable[[TaskService, object], None]
             ) -> Callable[[TaskService, int], bool]:
    """A change that answers whether it could be made."""
    def quietly(service: TaskService, jobid: int) -> bool:
        try:
            change(service, jobid)
        # Each of these is raised before anything is changed.
        except UsageError:
            return False
        return True

    return quietly


def _each(request: Request, form: _Form, found: list[int], done: str,
          left: str, change: Callable[[TaskService, int], bool]) -> Response:
    def all_of_them(service: TaskService) -> list[int]:
        return [jobid for jobid in found if change(service, jobid)]

    changed: Any = request.run(all_of_them, True) if found else []
    if changed:
        note(request, f'{done} {some(changed, 20)}')
    where = _one(form, 'back')
    if where not in _LISTS:
        where = (f'jobs/{found[0]}' if len(found) == 1 and done != 'removed'
                 else 'jobs')
    others = len(found) - len(changed)
    return frame.see(
        request, where, status=_one(form, 'status'),
        **{name: _one(form, name) for name in jobs.TEXTS},
        done='none' if not found else done if changed else '',
        n=len(changed) or '', left=left if others else '', m=others or '')


def _status(service: TaskService, jobid: int) -> str | None:
    try:
        return presenter.status(service, jobid)
    except JobNotFound:
        return None


def _cancel(service: TaskService, jobid: int) -> bool:
    if _status(service, jobid) in (None, *FINAL):
        return False
    service.cancel(jobid)
    return True


def _retry(service: TaskService, jobid: int) -> bool:
    if not changes.can_retry(service, jobid):
        return False
    return _quietly(changes.retry)(service, jobid)


def _start(service: TaskService, jobid: int) -> bool:
    return _quietly(changes.start_now)(service, jobid)


def _remove(service: TaskService, jobid: int) -> bool:
    return changes.remove(service, jobid)


# --- all that match ----------------------------------------------------------

def cancel_all(request: Request, part: str) -> Response:
    """Cancel all jobs that match, for some seconds."""
    return _all(request, 'cancelled', 'Cancel', lambda transact, given:
                many.cancel_all(transact, **given))


def retry_all(request: Request, part: str) -> Response:
    """Queue all jobs once more that match, for some seconds."""
    return _all(request, 'retried', 'Retry', lambda transact, given:
                many.retry_all(transact, **given))


def remove_all(request: Request, part: str) -> Response:
    """Remove all jobs with a final status, for some seconds."""
    def remove(transact: Any, given: dict[str, Any]) -> dict[str, Any]:
        status = given.pop('status')
        if set(given) - {'start'}:
            raise Refused(400, 'jobs can be removed by their status, and by '
                               'nothing else')
        found = many.clean(transact, [status], **given)
        return {'removed': sum(found['removed'].values()),
                'next': found['next']}

    return _all(request, 'removed', 'Remove', remove)


def _all(request: Request, done: str, verb: str,
         change: Callable[[Any, dict[str, Any]], dict[str, Any]]) -> Response:
    form = form_of(request)
    status = _one(form, 'status')
    wanted = jobs.chosen({name: _one(form, name) for name in jobs.TEXTS})
    if not is_sure(form):
        total: Any = request.run(
            lambda service: presenter.stats(service).get(status), False)
        name = words.STATUSES.get(status, (status, ''))[0].lower()
        number = ('all' if wanted or total is None
                  else f'all {words.number(total)}')
        those = ''.join(f', {name} "{value}"'
                        for name, value in wanted.items())
        return ask(request, form, f'{verb} {number} {name} jobs{those}?',
                    'They are done in steps, and each step stays done.',
                    f'{verb} them')
    given: dict[str, Any] = {'status': status, **wanted}
    if _one(form, 'start'):
        given['start'] = _one(form, 'start')
    answer = change(request.transact, given)
    before = _one(form, 'n')
    count = answer[done] + (int(before) if before.isdecimal() else 0)
    note(request, f'{done} {answer[done]} jobs with the status {status!r}')
    if answer['next'] is None:
        return frame.see(request, 'jobs', status=status, **wanted, done=done,
                         n=count or '0')
    found = {'action': f'{request.base}/{request.path}',
             'text': frame.DONE[done][1].format(words.number(count)),
             'hidden': [('status', status), *wanted.items(), ('sure', '1'),
                        ('n', str(count)), ('start', answer['next'])],
             'back': f'{request.base}/jobs?status={words.quoted(status)}'}
    return frame.render(request, frame.Page(
        'going_on', f'{verb} all', 'jobs', found))


# --- forms -------------------------------------------------------------------

def form_of(request: Request) -> dict[str, list[str]]:
    """The fields of a form of ours.  Raises: Refused."""
    form = frame.read_form(request)
    csrf.check_form(request, form)
    return form


def _one(form: _Form, name: str) -> str:
    values = form.get(name, [''])
    return values[0]


def is_sure(form: _Form) -> bool:
    """Has the user been asked, and said yes?"""
    return _one(form, 'sure') == '1'


def _selected(form: _Form) -> list[int]:
    return ids(form.get('job', []))


def ids(texts: list[str]) -> list[int]:
    """The ids of the jobs that a form selects.  Raises: Refused."""
    if len(texts) > _MOST_SELECTED:
        raise Refused(400, f'at most {_MOST_SELECTED} jobs can be selected')
    found = []
    for text in texts:
        if not text.isascii() or not text.isdecimal() or len(text) > 19:
            raise Refused(400, f'the id of a job is a whole number, not '
                               f'{text!r:.80}')
        found.append(int(text))
    return list(dict.fromkeys(found))


def ask(request: Request, form: _Form, title: str, text: str, button: str,
        back: str | None = None, leave: str = 'Leave them as they are'
        ) -> Response:
    """A page that asks whether the user is sure; nothing is changed yet.

    Arguments: ``back``, the path of the page to which a no leads, None: the
    list of jobs; ``leave``, the text of that link.
    """
    hidden = [(name, value) for name, values in form.items()
              for value in values
              if name not in (request.csrf.field, 'sure')]
    status = _one(form, 'status')
    if back is None:
        back = 'jobs' + (f'?status={words.quoted(status)}' if status else '')
    return frame.render(request, frame.Page('confirm', title, 'jobs', {
        'action': f'{request.base}/{request.path}', 'text': text,
        'hidden': [*hidden, ('sure', '1')], 'button': button,
        'back': f'{request.base}/{back}', 'leave': leave}))


def note(request: Request, what: str) -> None:
    """Log who has changed what."""
    trace.info('%s %s (%s)', request.user or 'a visitor', what,
               request.address)
