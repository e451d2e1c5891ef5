"""JSON under ``api/v1/``: the verbs of the command line.

Each verb takes what a request said and gives an answer and a status; HTTP
itself is ``app``'s business.
"""

import json
import re
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import UsageError
from lovely.remotetask.web import presenter

#: ``run(function, writes)`` calls ``function(service)`` in a transaction.
Run = Callable[[Callable[[Any], object], bool], object]

_JOB = re.compile(r'jobs/(?P<jobid>-?[0-9]{1,19})\Z')
_CANCEL = re.compile(r'jobs/(?P<jobid>-?[0-9]{1,19})/cancel\Z')


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
            options = _add_arguments(body())
            jobid = run(lambda service: presenter.add(service, **options),
                        True)
            return {'id': jobid}
        raise _wrong_method(method, 'GET, POST')
    if path == 'tasks':
        if method != 'GET':
            raise _wrong_method(method, 'GET')
        return {'tasks': run(presenter.available_tasks, False)}
    found = _JOB.match(path)
    if found:
        if method != 'GET':
            raise _wrong_method(method, 'GET')
        jobid = int(found['jobid'])
        return run(lambda service: presenter.job(service, jobid), False)
    found = _CANCEL.match(path)
    if found:
        if method != 'POST':
            raise _wrong_method(method, 'POST')
        jobid = int(found['jobid'])
        body()  # refuses what is not JSON: a foreign page's form could send it
        return run(lambda service: _cancel(service, jobid), True)
    raise Refused(404, f'there is nothing at api/v1/{path:.80}; there are '
                       f'jobs, jobs/ID, jobs/ID/cancel and tasks')


def _cancel(service: Any, jobid: int) -> dict[str, Any]:
    presenter.status(service, jobid)  # unlike XML-RPC's, this one tells
    presenter.cancel(service, jobid)
    return {'id': jobid, 'status': presenter.status(service, jobid)}


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
                             f'{presenter.MAX_PAGE}, not {limit!r:.80}')
        arguments['limit'] = int(limit)
    return arguments


def _add_arguments(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise UsageError('the body is nested too deeply') from None
    except UnicodeDecodeError:
        raise UsageError('the body is not UTF-8') from None
    except ValueError as error:
        raise UsageError(f'the body is not JSON: {error}') from None
    if not isinstance(data, dict):
        raise UsageError('the body has to be an object with the key "task"')
    unknown = sorted(set(data) - {'task', 'input', 'priority', 'delay'})
    if unknown:
        raise UsageError(f'unknown key {unknown[0]!r:.80}; there are task, '
                         f'input, priority and delay')
    if 'task' not in data:
        raise UsageError('the key "task" is missing: name the task')
    return data


def _refuse_constant(name: str) -> float:
    raise ValueError(f'{name} is no JSON')


def _wrong_method(method: str, allow: str) -> Refused:
    return Refused(405, f'{method:.20} does nothing here; use {allow}', allow)
