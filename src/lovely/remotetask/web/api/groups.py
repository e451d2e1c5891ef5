"""The functions of the API about groups."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.web.api import jobs
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import nothing

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The parameters of a list.
LIST = ('start', 'limit')


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
