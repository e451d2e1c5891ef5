"""The functions of the API about schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.web import changes
from lovely.remotetask.web import presenter
from lovely.remotetask.web.api import jobs
from lovely.remotetask.web.api.calls import Answer
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import arguments

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The parameters of a list.
LIST = ('start', 'limit')

#: The keys of a schedule that is added.
ADD = ('task', 'input', *FIELDS, 'key', 'onDuplicate', 'enabled',
       'priority')


def list_some(call: Call) -> object:
    """One page of schedules."""
    given = jobs.list_arguments(call.query, LIST)
    return call.run(lambda service: presenter.schedules(service, **given),
                    False)


def add(call: Call) -> object:
    """Add a schedule."""
    options = arguments(call.body(), *ADD)

    def run(service: TaskService) -> dict[str, Any]:
        jobid = jobs.named(service, options['task'], lambda: (
            changes.add_schedule(service, **options)))
        return {'id': jobid, 'status': presenter.status(service, jobid)}

    made: Any = call.run(run, True)
    return Answer(made, 201, f'jobs/{made["id"]}')
