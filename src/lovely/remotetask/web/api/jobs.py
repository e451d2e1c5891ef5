"""The functions of the API about jobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any
from urllib.parse import quote

from lovely.remotetask.edge.texts import meant
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import TaskNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.store.records import look
from lovely.remotetask.store.uniques import check_key
from lovely.remotetask.web import changes
from lovely.remotetask.web import follow_ups
from lovely.remotetask.web import many
from lovely.remotetask.web import plain
from lovely.remotetask.web import presenter
from lovely.remotetask.web.api.calls import Answer
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import arguments
from lovely.remotetask.web.api.calls import check_query
from lovely.remotetask.web.api.calls import some
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.selecting import PARAMETERS

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The parameters of a list.
LIST = ('status', *PARAMETERS, 'start', 'limit')

#: The keys of a job that is added.
ADD = ('task', 'input', 'priority', 'delay', 'key', 'onDuplicate', 'keyUntil',
       *changes.MORE, *changes.OWN, *follow_ups.AFTER)

# As long as the key of a job may be.
_LONGEST_KEY = 200

#: How many jobs one request may add.
MOST_ADDED = 1000


def show(call: Call) -> object:
    """One job, with its input and output."""
    return call.run(lambda service: presenter.job(service, call.jobid), False)


def show_own(call: Call) -> object:
    """One job, for the account that has added it."""
    def run(service: TaskService) -> dict[str, Any]:
        job: Any = look(service.jobs, call.jobid)
        acting = service.host.submitter()
        # Of an unknown job as of another's: which ids there are is not told.
        if job is None or acting is None or job.submitter != acting:
            raise Refused(
                403, 'this account may look at its own jobs alone: it takes '
                     'the permission "Remote tasks: View"')
        return presenter.job(service, call.jobid)

    return call.run(run, False)


def list_some(call: Call) -> object:
    """One page of jobs."""
    given = list_arguments(call.query, LIST)
    return call.run(lambda service: presenter.jobs(service, **given), False)


def add(call: Call) -> object:
    """Add a job; a request that is sent again with its key adds nothing."""
    options = _permitted(call, arguments(call.body(), *ADD))
    again = call.headers.get('idempotency-key')
    if again is not None:
        return _add_once(call, options, again)

    def run(service: TaskService) -> dict[str, Any]:
        return added(service, _add(service, options))

    made: Any = call.run(run, True)
    return Answer(made, 201, f'jobs/{made["id"]}')


def _add(service: TaskService, options: dict[str, Any], **more: Any) -> int:
    """Add a job as a request describes it."""
    given = {**follow_ups.Reader(service).read(options), **more}
    jobid: int = named(service, options['task'],
                       lambda: changes.add(service, **given))
    return jobid


def added(service: TaskService, jobid: int) -> dict[str, Any]:
    """What is answered about a job that was added."""
    return {'id': jobid, 'status': presenter.status(service, jobid),
            **presenter.paused(service)}


def _permitted(call: Call, options: dict[str, Any]) -> dict[str, Any]:
    """The options of an add.

    Raises: Refused for some without Manage, also in a call that follows.
    """
    # With these a job holds a worker for as long, and as often, as it likes.
    if follow_ups.has_own(options):
        call.demand(MANAGE)
    return options


def _add_once(call: Call, options: dict[str, Any], again: str) -> object:
    if 'key' in options or 'onDuplicate' in options:
        raise UsageError('a request has an Idempotency-Key, or the job a key: '
                         'leave one of them out')
    if not 0 < len(again) <= _LONGEST_KEY or not again.isprintable():
        raise UsageError(f'an Idempotency-Key has 1 to {_LONGEST_KEY} '
                         f'printable characters')
    # Of this user alone: another's request with the same key is another one,
    # also where the name of one goes on as the key of the other does.
    key = f'idem:{quote(call.user or "", safe="")}:{again}'

    def run(service: TaskService) -> tuple[dict[str, Any], bool]:
        check_key(key)
        before = service.jobqueue.uniques.holder(key, service.jobs)
        jobid = _add(service, options, key=key, onDuplicate='any')
        job: Any = service.jobs[jobid]
        given = plain.plain(options.get('input'))
        was_there = before is not None and before.id == jobid
        if was_there and (
                (job.task, job.input) != (options['task'], given)
                or not follow_ups.is_followed_by(service, job, options)):
            raise Refused(
                422, f'job {jobid} was added with this Idempotency-Key, and '
                     f'with another task, input or follow-up')
        return added(service, jobid), was_there

    answer: Any = call.run(run, True)
    found, was_there = answer
    return Answer(found, 200 if was_there else 201, f'jobs/{found["id"]}')


def add_many(call: Call) -> object:
    """Add a job for each input, all of them or none."""
    options = _permitted(call, arguments(
        call.body(), 'task', 'inputs', 'priority', 'delay', *changes.MORE,
        *changes.OWN))
    inputs = options.pop('inputs', None)
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MOST_ADDED:
        raise UsageError(f'inputs has to be a list of 1 to {MOST_ADDED} '
                         f'inputs')

    def run(service: TaskService) -> dict[str, Any]:
        return {'ids': named(service, options['task'], lambda: [
            changes.add(service, input=one, **options) for one in inputs])}

    return Answer(call.run(run, True), 201)


def named(service: TaskService, name: str, add: Callable[[], Any]) -> Any:
    """Add by ``add()``; of an unknown task, tell which one may be meant."""
    try:
        return add()
    except ValueError as error:
        # Callers of 0.5.2 compare that text; this API can say more.
        if str(error) != 'Task does not exist':
            raise
        raise TaskNotFound(
            f'Task does not exist: {name!r:.80}'
            f'{meant(name, presenter.available_tasks(service))}; '
            f'`remotetask tasks`, or api/v1/tasks, lists the tasks'
            ) from None


def change(function: Callable[..., None], *options: str
           ) -> Callable[[Call], object]:
    """A function that changes one job, and answers with its status.

    Arguments: ``options``, the keys that the body may have.
    """
    def change(call: Call) -> object:
        given = some(call.body(), *options)
        jobid = call.jobid

        def change_in(service: TaskService) -> dict[str, Any]:
            # Raises JobNotFound; cancel() itself is silent about unknown ids.
            presenter.status(service, jobid)
            function(service, jobid, **given)
            try:
                return {'id': jobid,
                        'status': presenter.status(service, jobid)}
            except JobNotFound:
                # Its record could not be read: a cancel has deleted it.
                return {'id': jobid, 'status': UNKNOWN, 'deleted': True}

        return call.run(change_in, True)

    return change


def remove(call: Call) -> object:
    """Remove a job that is over."""
    jobid = call.jobid

    def run(service: TaskService) -> None:
        status = presenter.status(service, jobid)       # JobNotFound
        if not changes.remove(service, jobid):
            raise InvalidTransition(jobid, status, 'removed')

    call.run(run, True)
    return Answer(None, 204)


def clean(call: Call) -> object:
    """Remove jobs that are over, for some seconds."""
    options = arguments(call.body(), 'status', 'start', 'before', 'keep')
    return many.clean(call.transact, **options)


def cancel_all(call: Call) -> object:
    """Cancel jobs that have a status, for some seconds."""
    options = arguments(call.body(), 'status', 'start', *PARAMETERS)
    return many.cancel_all(call.transact, **options)


def retry_all(call: Call) -> object:
    """Queue jobs once more that failed or were cancelled, for some seconds."""
    options = arguments(call.body(), 'status', 'start', *PARAMETERS)
    return many.retry_all(call.transact, **options)


def list_arguments(query: Mapping[str, str], known: tuple[str, ...]
                   ) -> dict[str, Any]:
    """The parameters of a list.  Raises: UsageError."""
    check_query(query, *known)
    found: dict[str, Any] = {
        name: query[name] for name in known
        if name != 'limit' and query.get(name)}
    if 'limit' in query:
        limit = query['limit']
        if not re.fullmatch('[0-9]{1,4}', limit, re.ASCII):
            raise UsageError(f'limit has to be a whole number from 1 to '
                             f'{MAX_PAGE}, not {limit!r:.80}')
        found['limit'] = int(limit)
    return found
