"""JSON under ``api/v1/``: the verbs of the command line.

Each verb takes what a request said and gives an answer and a status; HTTP
itself is ``app``'s business.
"""

import json
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import TaskNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.web import presenter

#: ``run(function, writes)`` calls ``function(service)`` in a transaction.
Run = Callable[[Callable[[Any], object], bool], object]

_JOB = re.compile(r'jobs/(?P<jobid>-?[0-9]{1,19})\Z')
_CHANGE = re.compile(r'jobs/(?P<jobid>-?[0-9]{1,19})/(?P<verb>cancel|retry)\Z')

#: What is looked at, and what is done, to the service as a whole.
_LOOK: dict[str, Callable[[Any], object]] = {
    'stats': presenter.stats,
    'tasks': lambda service: {'tasks': presenter.available_tasks(service)},
    'workers': presenter.workers,
}
_DO: dict[str, Callable[[Any], object]] = {
    'pause': presenter.pause,
    'resume': presenter.resume,
}


class Refused(Exception):
    """The request gets this status and this message.

    Arguments: ``status`` (int), ``message`` (str), ``allow`` (str): the
    methods that would do, for 405.
    """

    def __init__(self, status: int, message: str, allow: str = '') -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.allow = allow


def respond(method: str, path: str, query: Mapping[str, str],
            body: Callable[[], bytes], run: Run) -> object:
    """Answer one request.

    Arguments: ``method``, HTTP's; ``path``, what follows ``api/v1/``;
    ``query``, the parameters; ``body``, gives the bytes of a JSON request,
    called only by verbs that need it; ``run``, see ``Run``.
    Returns: what is to be sent as JSON.
    Raises: Refused; what ``run`` raises besides errors of usage.
    Source: new.
    """
    try:
        return _dispatch(method, path, query, body, run)
    except JobNotFound as error:
        raise Refused(404, str(error)) from None
    except (DuplicateJob, InvalidTransition) as error:
        # The request is right; it is the job that has gone on.
        raise Refused(409, str(error)) from None
    except (UsageError, ValueError) as error:
        raise Refused(400, str(error)) from None


def _dispatch(method: str, path: str, query: Mapping[str, str],
              body: Callable[[], bytes], run: Run) -> object:
    if path == 'jobs':
        if method == 'GET':
            arguments = _list_arguments(query)
            return run(lambda service: presenter.jobs(service, **arguments),
                       False)
        if method == 'POST':
            options = _arguments(body(), 'task', 'input', 'priority', 'delay',
                                 'key', 'onDuplicate')
            jobid = run(lambda service: _add(service, options), True)
            return {'id': jobid}
        raise _wrong_method(method, 'GET, POST')
    if path in _LOOK:
        if method != 'GET':
            raise _wrong_method(method, 'GET')
        return run(_LOOK[path], False)
    if path in _DO:
        if method != 'POST':
            raise _wrong_method(method, 'POST')
        body()  # refuses what is not JSON: a foreign page's form could send it
        return run(_DO[path], True)
    if path == 'clean':
        if method != 'POST':
            raise _wrong_method(method, 'POST')
        options = _arguments(body(), 'status', 'start')
        return presenter.clean(lambda step: run(step, True), **options)
    if path == 'cancel':
        if method != 'POST':
            raise _wrong_method(method, 'POST')
        options = _arguments(body(), 'status', 'task', 'start')
        return presenter.cancel_all(lambda step: run(step, True), **options)
    found = _JOB.match(path)
    if found:
        if method != 'GET':
            raise _wrong_method(method, 'GET')
        jobid = int(found['jobid'])
        return run(lambda service: presenter.job(service, jobid), False)
    found = _CHANGE.match(path)
    if found:
        if method != 'POST':
            raise _wrong_method(method, 'POST')
        jobid = int(found['jobid'])
        change = _CHANGES[found['verb']]
        body()  # as above
        return run(lambda service: _change(service, jobid, change), True)
    raise Refused(404, f'there is nothing at api/v1/{path:.80}; there are '
                       f'jobs, jobs/ID, jobs/ID/cancel, jobs/ID/retry, '
                       f'cancel, clean, {", ".join([*_LOOK, *_DO])}')


_CHANGES = {'cancel': presenter.cancel, 'retry': presenter.retry}


def _change(service: Any, jobid: int,
            change: Callable[[Any, object], None]) -> dict[str, Any]:
    presenter.status(service, jobid)  # unlike XML-RPC's, this one tells
    change(service, jobid)
    return {'id': jobid, 'status': presenter.status(service, jobid)}


def _add(service: Any, options: dict[str, Any]) -> int:
    try:
        return presenter.add(service, **options)
    except ValueError as error:
        # The exact text is for callers of 0.5.2; this one can say more.
        if str(error) != 'Task does not exist':
            raise
        raise TaskNotFound(
            f'Task does not exist: {options["task"]!r:.80}; `remotetask '
            f'tasks`, or api/v1/tasks, names those there are') from None


def _list_arguments(query: Mapping[str, str]) -> dict[str, Any]:
    unknown = sorted(set(query) - {'status', 'task', 'start', 'limit'})
    if unknown:
        raise UsageError(f'unknown parameter {unknown[0]!r:.80}; there are '
                         f'status, task, start and limit')
    arguments: dict[str, Any] = {
        name: query[name] for name in ('status', 'task', 'start')
        if query.get(name)}
    if 'limit' in query:
        limit = query['limit']
        if not re.fullmatch('[0-9]{1,4}', limit, re.ASCII):
            raise UsageError(f'limit has to be a whole number from 1 to '
                             f'{MAX_PAGE}, not {limit!r:.80}')
        arguments['limit'] = int(limit)
    return arguments


def _arguments(body: bytes, needed: str, *more: str) -> dict[str, Any]:
    """The keys of a JSON object, the first of them there."""
    data = _object(body, (needed, *more))
    if needed not in data:
        # An empty object must not remove everything by mistake.
        raise UsageError(f'the key "{needed}" is missing')
    return data


def _object(body: bytes, keys: Sequence[str]) -> dict[str, Any]:
    """The JSON object in a body, with no other keys than these."""
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
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


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is no JSON')


def _wrong_method(method: str, allow: str) -> Refused:
    return Refused(405, f'{method:.20} does nothing here; use {allow}', allow)
