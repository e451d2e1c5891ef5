"""What breaks the work of living workers, and looks at it: in transactions.

Each is a ``function(service)``; the harness calls it, or, where only one
process can open the database, that process (chaos_inside.py).
"""

import chaos_tasks

#: How many jobs may wait; with more, none are added for a while.
BACKLOG = 150

#: How many schedules there are.
SCHEDULES = 3


def pids(service):
    """The processes whose workers the service knows, dead or alive."""
    # As listWorkers() has it; a worker's id tells the process.
    return {int(name.split(':')[2]) for name in service.jobqueue.workers}


def add_schedules(service):
    """Add what ticks all the time, also while its workers die."""
    root = service._p_jar.root()
    with chaos_tasks.quick_schedules():
        for number in range(SCHEDULES):
            n = chaos_tasks.SCHEDULE + number
            root['added'][n] = service.addCronJob(
                'ticks', {'kind': 'ticks', 'n': n, 'a': 1, 'b': 2},
                minute=tuple(range(60)))


def take_over(service, choice, living):
    """Declare a living worker dead that runs jobs; returns their ids."""
    queue = service.jobqueue
    names = [name for name in queue.workers
             if int(name.split(':')[2]) in living and queue.claims_of(name)]
    if not names:
        return []
    return queue.retire(choice(names), service.clock.now(), charged=False)


def cancel_one(service):
    """Cancel a job that runs; returns its id or None."""
    for jobid in service.jobqueue.running():
        if (service.jobs[jobid].input['kind']
                not in chaos_tasks.NOT_CANCELLED):
            return _cancel(service, jobid)
    return None


def _cancel(service, jobid):
    service.cancel(jobid)
    # In the same commit: whether that is through may stay unknown.
    service._p_jar.root()['cancelled'][jobid] = 1
    return jobid


def backlog(service):
    """How many jobs wait to run now."""
    return service.stats()['queued']


def ticks(service):
    """How often each schedule has ticked, in their order."""
    root = service._p_jar.root()
    return [len(root['ticks'][number]) for number in range(SCHEDULES)]


def is_idle(service):
    """Is there nothing to run any more, but for schedules?"""
    found, queue = service.stats(), service.jobqueue
    return not (found['queued'] or found['processing']
                or any(True for _ in queue.waiting.up())
                or any(not service.jobs[jobid].recurring
                       for _, jobid in queue.due.up()))


def end_schedules(service):
    """Cancel all schedules that are not cancelled yet."""
    root = service._p_jar.root()
    for number in range(SCHEDULES):
        jobid = root['added'][chaos_tasks.SCHEDULE + number]
        if jobid not in root['cancelled']:
            _cancel(service, jobid)
