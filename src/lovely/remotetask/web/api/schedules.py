"""The functions of the API about schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import whole
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.plan import PLANNED
from lovely.remotetask.web import changes
from lovely.remotetask.web import follow_ups
from lovely.remotetask.web import presenter
from lovely.remotetask.web.api import jobs
from lovely.remotetask.web.api.calls import Answer
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import arguments
from lovely.remotetask.web.api.calls import check_query
from lovely.remotetask.web.api.calls import some
from lovely.remotetask.web.requests import Refused

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

#: The parameters of a list.
LIST = ('start', 'limit')

#: Those of one schedule: how many of its next runs are told.
SHOW = ('runs',)

#: How many at most.
MOST_RUNS = 1000

#: The keys of a schedule that is edited.
EDIT = ('version', 'task', 'input', *FIELDS, 'delay', *PLANNED, 'priority',
        'retry', 'timeout', *changes.MORE)

#: The keys of a schedule that is added.
ADD = (*EDIT[1:], 'key', 'onDuplicate', 'enabled', *follow_ups.AFTER)


def list_some(call: Call) -> object:
    """One page of schedules."""
    given = jobs.list_arguments(call.query, LIST)
    return call.run(lambda service: presenter.schedules(service, **given),
                    False)


def show(call: Call) -> object:
    """One schedule, with its input and its next runs."""
    check_query(call.query, *SHOW)
    given = call.query.get('runs', '5')
    count = whole(given, 0, MOST_RUNS)
    if count is None:
        raise UsageError(f'runs has to be a whole number from 0 to '
                         f'{MOST_RUNS}, not {given!r:.80}')
    try:
        return call.run(lambda service: presenter.schedule_of(
            service, call.jobid, count), False)
    except InvalidTransition as error:
        raise Refused(404, f'schedule {error.jobid} is over '
                           f'({error.source}); see jobs/{error.jobid}'
                      ) from None


def edit(call: Call) -> object:
    """Change a schedule; what is left out stays."""
    options = some(call.body(), *EDIT)

    def run(service: TaskService) -> dict[str, Any]:
        def change() -> None:
            changes.edit_schedule(service, call.jobid, **options)

        try:
            jobs.named(service, str(options.get('task')), change)
        except changes.Outdated as error:
            raise Refused(409, str(error)) from None
        return {'id': call.jobid,
                'status': presenter.status(service, call.jobid)}

    return call.run(run, True)


def end(call: Call) -> object:
    """End a schedule: it is cancelled, and a run that is under way with it."""
    def run(service: TaskService) -> None:
        presenter.schedule_of(service, call.jobid)      # refuses other jobs
        service.cancel(call.jobid)

    call.run(run, True)
    return Answer(None, 204)


def add(call: Call) -> object:
    """Add a schedule."""
    options = arguments(call.body(), *ADD)

    def run(service: TaskService) -> dict[str, Any]:
        given = follow_ups.Reader(service).read(options)
        jobid = jobs.named(service, options['task'], lambda: (
            changes.add_schedule(service, **given)))
        return {'id': jobid, 'status': presenter.status(service, jobid)}

    made: Any = call.run(run, True)
    return Answer(made, 201, f'jobs/{made["id"]}')
