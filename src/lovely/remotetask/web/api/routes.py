"""All addresses below ``api/v1/``, as the code and the OpenAPI document need
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import changes
from lovely.remotetask.web import presenter
from lovely.remotetask.web import roster
from lovely.remotetask.web.api import events
from lovely.remotetask.web.api import groups
from lovely.remotetask.web.api import jobs
from lovely.remotetask.web.api import schedules
from lovely.remotetask.web.api import whole
from lovely.remotetask.web.api.calls import Call


class Route(NamedTuple):
    """How one address answers one method.

    Attributes: ``permission``, VIEW, ADD or MANAGE; ``function``;
    ``summary``, a sentence for people; ``answer``, the name of its schema in
    ``openapi``; ``body``, that of the request's; ``query``, the names of its
    parameters; ``status``, of an answer that succeeds; ``own``, the function
    for an account that lacks the permission, and may do this to its own jobs.
    """

    permission: str
    function: Callable[[Call], object]
    summary: str
    answer: str
    body: str = ''
    query: tuple[str, ...] = ()
    status: int = 200
    own: Callable[[Call], object] | None = None


#: Below ``api/v1/``: path -> method -> route.
ROUTES: dict[str, dict[str, Route]] = {
    'jobs': {
        'GET': Route(VIEW, jobs.list_some, 'One page of jobs.', 'Page',
                     query=jobs.LIST),
        'POST': Route(ADD, jobs.add, 'Add a job.', 'Added', 'NewJob',
                      status=201)},
    'jobs/batch': {
        'POST': Route(ADD, jobs.add_many, 'Add a job for each input, all of '
                      'them or none.', 'AddedMany', 'NewJobs', status=201)},
    'jobs/ID': {
        'GET': Route(VIEW, jobs.show, 'One job, with input and output.',
                     'Job', own=jobs.show_own),
        'DELETE': Route(MANAGE, jobs.remove, 'Remove a job that is over.', '',
                        status=204)},
    'jobs/ID/cancel': {
        'POST': Route(ADD, jobs.change(changes.cancel), 'Cancel a job.',
                      'Changed', 'Nothing')},
    'jobs/ID/retry': {
        'POST': Route(MANAGE, jobs.change(changes.retry, 'anew'),
                      'Queue a job once more that failed or was cancelled.',
                      'Changed', 'Retry')},
    'jobs/ID/start': {
        'POST': Route(MANAGE, jobs.change(changes.start_now), 'Let a job '
                      'that waits run now; of a schedule, one run.',
                      'Changed', 'Nothing')},
    'schedules': {
        'GET': Route(VIEW, schedules.list_some, 'One page of schedules.',
                     'Schedules', query=schedules.LIST),
        'POST': Route(MANAGE, schedules.add, 'Add a schedule.', 'Added',
                      'NewSchedule', status=201)},
    'schedules/ID': {
        'GET': Route(VIEW, schedules.show, 'One schedule, with its input '
                     'and next runs.', 'Schedule', query=schedules.SHOW),
        'PUT': Route(MANAGE, schedules.edit, 'Change a schedule; what is '
                     'left out stays.', 'Changed', 'EditedSchedule'),
        'DELETE': Route(MANAGE, schedules.end, 'End a schedule; it is '
                        'cancelled.', '', status=204)},
    'schedules/ID/run': {
        'POST': Route(MANAGE, jobs.change(changes.start_now), 'Let a '
                      'schedule run once now.', 'Changed', 'Nothing')},
    'schedules/ID/enable': {
        'POST': Route(MANAGE, jobs.change(changes.enable), 'Let a schedule '
                      'go on.', 'Changed', 'Nothing')},
    'schedules/ID/disable': {
        'POST': Route(MANAGE, jobs.change(changes.disable), 'Let a schedule '
                      'begin no further run.', 'Changed', 'Nothing')},
    'chains': {
        'POST': Route(ADD, groups.add_chain, 'Add jobs that come one after '
                      'the other.', 'Added', 'NewChain', status=201)},
    'groups': {
        'GET': Route(VIEW, groups.list_some, 'One page of the groups that are '
                     'not over.', 'Groups', query=groups.LIST),
        'POST': Route(ADD, groups.add_group, 'Add jobs that run side by side, '
                      'and one that follows them.', 'AddedGroup', 'NewGroup',
                      status=201)},
    'groups/ID': {
        'GET': Route(VIEW, groups.show, 'One group of jobs.', 'Group')},
    'groups/ID/cancel': {
        'POST': Route(MANAGE, groups.cancel, 'Cancel what is open of a group, '
                      'and what follows it.', 'GroupCancelled', 'Nothing')},
    'cancel': {
        'POST': Route(MANAGE, jobs.cancel_all, 'Cancel jobs that have a '
                      'status, for two seconds at most.', 'Cancelled',
                      'WhichOpen')},
    'check': {
        'POST': Route(MANAGE, whole.check, 'Look for jobs that no worker '
                      'would ever come to.', 'Checked', 'Check')},
    'clean': {
        'POST': Route(MANAGE, jobs.clean, 'Remove jobs that are over, for two '
                      'seconds at most.', 'Removed', 'Clean')},
    'retry': {
        'POST': Route(MANAGE, jobs.retry_all, 'Queue jobs once more that '
                      'failed or were cancelled, for two seconds at most.',
                      'Retried', 'WhichOver')},
    'stats': {
        'GET': Route(VIEW, whole.look(presenter.stats), 'Figures for '
                     'monitoring.', 'Stats')},
    'tasks': {
        'GET': Route(VIEW, whole.look(presenter.tasks), 'The tasks that may '
                     'be added from outside.', 'Tasks')},
    'tasks/NAME': {
        'GET': Route(VIEW, whole.task, 'What one task takes.', 'Task')},
    'events': {
        'GET': Route(VIEW, events.show, 'What has ended since the last time; '
                     'for an EventSource as a stream that ends.', 'Events',
                     query=events.QUERY)},
    'history': {
        'GET': Route(VIEW, whole.history, 'What has ended lately, and how '
                     'long it took.', 'History', query=whole.HISTORY)},
    'workers': {
        'GET': Route(VIEW, whole.look(roster.workers), 'Who runs jobs.',
                     'Workers')},
    'retention': {
        'GET': Route(VIEW, whole.look(lambda service: service.getRetention()),
                     'How long jobs that are over are kept.', 'Retention'),
        'PUT': Route(MANAGE, whole.retention, 'Say how long jobs that are '
                     'over are kept; what is left out stays.', 'Retention',
                     'NewRetention')},
    'pause': {
        'POST': Route(MANAGE, whole.pause, 'Let the workers start no more '
                      'jobs.', 'Paused', 'Pause')},
    'resume': {
        'POST': Route(MANAGE, whole.resume, 'Let the workers start jobs '
                      'again.', 'Paused', 'Resume')},
    'queues': {
        'GET': Route(VIEW, whole.look(presenter.queues), 'The queues, and how '
                     'many jobs are ready in each.', 'Queues')},
    'limits': {
        'GET': Route(VIEW, whole.look(presenter.limits), 'The limits that '
                     'hold, and how many jobs they keep back.', 'Limits'),
        'POST': Route(MANAGE, whole.set_limit, 'Limit how many jobs of a '
                      'task, or with a concurrencyKey, run.', 'Limits',
                      'NewLimit')},
    'limits/unset': {
        'POST': Route(MANAGE, whole.unset_limit, 'Let the code say again how '
                      'many jobs run.', 'Limits', 'WhichLimit')},
}
