"""The functions of the API about chains and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import UsageError
from lovely.remotetask.follow import STOP
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.web import follow_ups
from lovely.remotetask.web import presenter
from lovely.remotetask.web.api import jobs
from lovely.remotetask.web.api.calls import Answer
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import arguments
from lovely.remotetask.web.api.calls import nothing

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The parameters of a list.
LIST = ('start', 'limit')

#: The keys of a chain, and of a group, that is added.
ADD_CHAIN = ('calls', 'policy')
ADD_GROUP = ('calls', 'then', 'policy')


def add_chain(call: Call) -> object:
    """Add a chain: jobs that come one after the other."""
    options = _permitted(call, *ADD_CHAIN)

    def run(service: TaskService) -> dict[str, Any]:
        calls = follow_ups.Reader(service).calls(options['calls'])
        return jobs.added(service, service.addChain(
            calls, policy=options.get('policy', STOP)))

    made: Any = call.run(run, True)
    return Answer(made, 201, f'jobs/{made["id"]}')


def add_group(call: Call) -> object:
    """Add a group: jobs that run side by side, and one that follows them."""
    options = _permitted(call, *ADD_GROUP)

    def run(service: TaskService) -> dict[str, Any]:
        reader, then = follow_ups.Reader(service), options.get('then')
        calls = reader.calls(options['calls'])
        number = service.addGroup(
            calls, None if then is None else reader.call(then, 'then'),
            policy=options.get('policy', STOP))
        return {'id': number, 'of': len(calls), **presenter.paused(service)}

    made: Any = call.run(run, True)
    return Answer(made, 201, f'groups/{made["id"]}')


def _permitted(call: Call, *keys: str) -> dict[str, Any]:
    """What a request says of a chain or group.

    Raises: UsageError; Refused for some of it without Manage.
    """
    options = arguments(call.body(), *keys)
    if 'idempotency-key' in call.headers:
        # Silence would let a client add all of it twice.
        raise UsageError('a chain or a group takes no Idempotency-Key; a job '
                         'with an onSuccess does')
    given = options['calls']
    for one in (*(given if isinstance(given, list) else ()),
                options.get('then')):
        if follow_ups.has_own(one):
            call.demand(MANAGE)
    return options


def list_some(call: Call) -> object:
    """One page of the groups that are not over."""
    given = jobs.list_arguments(call.query, LIST)

    def look(service: TaskService) -> dict[str, Any]:
        found, start = service.listGroups(**given)
        return {'groups': found, 'next': start}

    return call.run(look, False)


def show(call: Call) -> object:
    """One group."""
    return call.run(lambda service: service.getGroup(call.jobid), False)


def cancel(call: Call) -> object:
    """Cancel a group."""
    nothing(call.body())
    return call.run(lambda service: {
        'cancelled': service.cancelGroup(call.jobid)}, True)
