"""The JSON API under ``api/v1/``: the verbs of the command line.

HTTP itself is read and written by ``app``; a command that opens the database
asks here without HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import TaskNotFound
from lovely.remotetask.errors import UnreadableRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.texts import meant
from lovely.remotetask.web import many
from lovely.remotetask.web import plain
from lovely.remotetask.web import presenter
from lovely.remotetask.web.presenter import Run
from lovely.remotetask.web.selecting import PARAMETERS

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


class Refused(Exception):
    """The request is answered with this status and this message.

    Arguments: ``status`` (int); ``message`` (str); ``allow`` (str), the
    methods that the path takes, for a 405.
    """

    def __init__(self, status: int, message: str, allow: str = '') -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.allow = allow


@dataclass(frozen=True)
class Call:
    """A request as the functions of the routes get it.

    Attributes: ``query``, the parameters; ``body``, gives the bytes of a JSON
    request, and refuses any other; ``run``, see presenter.Run; ``jobid``, the
    one in the path, where its route has an ID.
    """

    query: Mapping[str, str]
    body: Callable[[], bytes]
    run: Run
    jobid: int = 0


def respond(method: str, path: str, query: Mapping[str, str],
            body: Callable[[], bytes], run: Run) -> object:
    """Answer one request.

    Arguments: ``method``, HTTP's; ``path``, what follows ``api/v1/``; the
    others, see ``Call``.
    Returns: the answer, fit for JSON.
    Raises: Refused; what ``run`` raises, except for errors of usage.
    """
    try:
        return _dispatch(method, path, query, body, run)
    except JobNotFound as error:
        raise Refused(404, str(error)) from None
    except (DuplicateJob, InvalidTransition, UnreadableRecord) as error:
        # The request is right, but the job has another status by now.
        raise Refused(409, str(error)) from None
    except (UsageError, ValueError) as error:
        raise Refused(400, str(error)) from None


def _dispatch(method: str, path: str, query: Mapping[str, str],
              body: Callable[[], bytes], run: Run) -> object:
    for route, functions in ROUTES.items():
        found = re.fullmatch(route.replace('ID', '(?P<id>-?[0-9]{1,19})'),
                             path)
        if found is None:
            continue
        if method not in functions:
            allow = ', '.join(functions)
            raise Refused(405, f'{method:.20} does nothing here; use '
                               f'{allow}', allow)
        jobid = int(found.groupdict().get('id', 0))
        return functions[method](Call(query, body, run, jobid))
    raise Refused(404, f'there is nothing at api/v1/{path:.80}; there are '
                       f'{", ".join(ROUTES)}')


# --- the functions of the routes ---------------------------------------------

def _look(function: Callable[[TaskService], object]
          ) -> Callable[[Call], object]:
    """A function that shows a fact about the service as a whole."""
    return lambda call: call.run(function, False)


def _do(function: Callable[[TaskService], object]
        ) -> Callable[[Call], object]:
    """A function that changes the service as a whole."""
    def do(call: Call) -> object:
        # Refuses a body that is not JSON: a form of a foreign page can send
        # all others.
        call.body()
        return call.run(function, True)

    return do


def _change(function: Callable[[TaskService, object], None]
            ) -> Callable[[Call], object]:
    """A function that changes one job, and answers with its status."""
    def change(call: Call) -> object:
        jobid = call.jobid

        def change_in(service: TaskService) -> dict[str, Any]:
            # Raises JobNotFound; cancel() itself is silent about unknown ids.
            presenter.status(service, jobid)
            function(service, jobid)
            try:
                return {'id': jobid,
                        'status': presenter.status(service, jobid)}
            except JobNotFound:
                # Its record could not be read: a cancel has deleted it.
                return {'id': jobid, 'status': UNKNOWN, 'deleted': True}

        return _do(change_in)(call)

    return change


def _show(call: Call) -> object:
    return call.run(lambda service: presenter.job(service, call.jobid), False)


def _list(call: Call) -> object:
    arguments = _list_arguments(call.query)
    return call.run(lambda service: presenter.jobs(service, **arguments),
                    False)


def _add(call: Call) -> object:
    options = _arguments(call.body(), 'task', 'input', 'priority', 'delay',
                         'key', 'onDuplicate')

    def add(service: TaskService) -> dict[str, Any]:
        try:
            return {'id': presenter.add(service, **options),
                    **presenter.paused(service)}
        except ValueError as error:
            # Callers of 0.5.2 compare that text; this API can say more.
            if str(error) != 'Task does not exist':
                raise
            name = options['task']
            raise TaskNotFound(
                f'Task does not exist: {name!r:.80}'
                f'{meant(name, presenter.available_tasks(service))}; '
                f'`remotetask tasks`, or api/v1/tasks, lists the tasks'
                ) from None

    return call.run(add, True)


def _clean(call: Call) -> object:
    options = _arguments(call.body(), 'status', 'start', 'before', 'keep')
    return many.clean(lambda step: call.run(step, True), **options)


def _check(call: Call) -> object:
    options = _arguments(call.body(), 'repair', 'start')
    return many.check(
        lambda step: call.run(step, options['repair'] is True), **options)


def _cancel_all(call: Call) -> object:
    options = _arguments(call.body(), 'status', 'start', *PARAMETERS)
    return many.cancel_all(lambda step: call.run(step, True), **options)


def _retry_all(call: Call) -> object:
    options = _arguments(call.body(), 'status', 'start', *PARAMETERS)
    return many.retry_all(lambda step: call.run(step, True), **options)


def _pause(call: Call) -> object:
    reason = _object(call.body() or b'{}', ('reason',)).get('reason')
    return call.run(lambda service: presenter.pause(service, reason), True)


#: Below ``api/v1/``: which function answers which method of HTTP.
ROUTES: dict[str, dict[str, Callable[[Call], object]]] = {
    'jobs': {'GET': _list, 'POST': _add},
    'jobs/ID': {'GET': _show},
    'jobs/ID/cancel': {'POST': _change(presenter.cancel)},
    'jobs/ID/retry': {'POST': _change(presenter.retry)},
    'cancel': {'POST': _cancel_all},
    'check': {'POST': _check},
    'clean': {'POST': _clean},
    'retry': {'POST': _retry_all},
    'stats': {'GET': _look(presenter.stats)},
    'tasks': {'GET': _look(presenter.tasks)},
    'workers': {'GET': _look(presenter.workers)},
    'pause': {'POST': _pause},
    'resume': {'POST': _do(presenter.resume)},
}


# --- arguments ---------------------------------------------------------------

def _list_arguments(query: Mapping[str, str]) -> dict[str, Any]:
    texts = ('status', *PARAMETERS, 'start')
    unknown = sorted(set(query) - {*texts, 'limit'})
    if unknown:
        raise UsageError(f'unknown parameter {unknown[0]!r:.80}; there are '
                         f'{", ".join(texts)} and limit')
    arguments: dict[str, Any] = {
        name: query[name] for name in texts if query.get(name)}
    if 'limit' in query:
        limit = query['limit']
        if not re.fullmatch('[0-9]{1,4}', limit, re.ASCII):
            raise UsageError(f'limit has to be a whole number from 1 to '
                             f'{MAX_PAGE}, not {limit!r:.80}')
        arguments['limit'] = int(limit)
    return arguments


def _arguments(body: bytes, needed: str, *more: str) -> dict[str, Any]:
    """The JSON object in a body; the key ``needed`` has to be there."""
    data = _object(body, (needed, *more))
    if needed not in data:
        # An empty object must not remove all jobs by mistake.
        raise UsageError(f'the key "{needed}" is missing')
    return data


def _object(body: bytes, keys: Sequence[str]) -> dict[str, Any]:
    """The JSON object in a body, with no other keys than these."""
    try:
        data = plain.read_json(body)
    except RecursionError:
        raise UsageError('the body is nested too deeply') from None
    except UnicodeDecodeError:
        raise UsageError('the body is not UTF-8') from None
    except ValueError as error:
        raise UsageError(f'the body is not JSON: {error}') from None
    if not isinstance(data, dict):
        raise UsageError(f'the body has to be an object with the key '
                         f'"{keys[0]}"')
    unknown = sorted(set(data) - set(keys))
    if unknown:
        raise UsageError(f'unknown key {unknown[0]!r:.80}; there are '
                         f'{", ".join(keys)}')
    return data
