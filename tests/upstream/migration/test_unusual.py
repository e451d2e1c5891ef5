"""What few services of 0.5.2 hold: made from the one that it has written."""

import pytest
import transaction
import zc.queue
from BTrees.LOBTree import LOBTree

from lovely.remotetask.generations import migration
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.host.walk import services
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.store import check
from lovely.remotetask.store import upstream


class Old:
    """A service of 0.5.2: what it stored, and its migration."""

    def __init__(self, found):
        self.found = found
        self.service = found.root['upgraded']
        assert upstream.is_old(self.service)
        self.parts = self.service.__dict__['_upstream']

    def migrate(self, **options):
        self.service._p_changed = True
        transaction.commit()
        (path,) = [path for path in services(self.found.connection, PLAIN)
                   if path == ['upgraded']]
        found = migration.migrate(path, **options)
        self.found.connection.sync()
        return found


@pytest.fixture
def old(opened, press):
    return Old(opened())


def add(old, job, **values):
    job.put(**values)
    old.parts['jobs'][job.id] = job
    return job


def test_job_0_and_a_composite_queue(old):
    queue = old.parts['_queue'] = zc.queue.CompositeQueue(compositeSize=2)
    for number in range(7):
        queue.put(add(old, Job(number, 'echo', number), status='queued'))
    old.migrate()
    # The one of the file is in no queue any more, and so comes first.
    assert [job.input for job in old.service._queue] == [
        'from 0.2', *range(7)]


def test_ids_of_64_bits(old):
    jobs = LOBTree(old.parts['jobs'].items())
    old.parts['jobs'] = jobs
    add(old, Job(2**40, 'echo', 'far'), status='start later')
    old.migrate()
    assert old.service.jobs[2**40].input == 'far'
    assert old.service.startJob(2**40)


def test_a_job_twice_in_the_queue(old):
    job = add(old, Job(5, 'echo', 'twice'), status='queued')
    ended = add(old, Job(6, 'echo', 'over'), status='completed')
    for one in (job, ended, job):
        old.parts['_queue'].put(one)
    found = old.migrate()
    assert found.notes['lost'] == []
    assert [job.input for job in old.service._queue] == ['from 0.2', 'twice']
    assert old.service.getStatus(6) == 'completed'


def test_a_job_that_was_deleted_stays_so(old):
    old.parts['_queue'].put(Job(5, 'echo', 'deleted'))
    old.migrate()
    assert len(old.service.jobs) == 1 and len(old.service._queue) == 1


@pytest.mark.parametrize('fields, minutes', [
    ({}, tuple(range(60))),                     # 0.5.2 ran it each minute
    ({'minute': [30, 0]}, (0, 30)),             # assigned, and not sorted
])
def test_schedules_that_0_5_2_took(old, fields, minutes):
    job = add(old, CronJob(5, 'echo', None), status='cronjob', **fields)
    found = old.migrate()
    assert found.notes['never'] == [] and job.minute == minutes
    assert job.status == 'cronjob' and job.scheduledAt is not None


@pytest.mark.parametrize('fields', [
    {'minute': (60,)}, {'hour': ('0',)}, {'dayOfWeek': (7,)},
    {'delay': -5}, {'delay': 'soon'}, {'month': 5}])
def test_schedules_that_poisoned_0_5_2(old, fields):
    job = add(old, CronJob(5, 'echo', None), status='cronjob', **fields)
    found = old.migrate()
    assert found.notes['never'] == [5] and found.after['error'] == 1
    assert job.status == 'error' and job.error.type == 'InvalidSchedule'
    assert old.service.listJobs('error')[0] == [job]


@pytest.mark.parametrize('error, kind, text', [
    ('a text', 'builtins.str', 'a text'),
    (ValueError(), 'ValueError', 'ValueError'),
    (UnicodeEncodeError('ascii', 'ö', 0, 1, 'no'), 'UnicodeEncodeError',
     "'ascii' codec can't encode character '\\xf6' in position 0: no")])
def test_errors(old, error, kind, text):
    job = add(old, Job(5, 'echo', None), status='error', error=error)
    # Records of today hold tuples there.
    job.__setstate__(upstream_state(job))
    old.migrate()
    assert (job.error.type, str(job.error)) == (kind, text)
    assert old.service.getError(5) == text


def upstream_state(job):
    """The attributes one by one, as 0.5.2 stored them."""
    return {name: value for name, value in job.__dict__.items()
            if not name.startswith('_v_') and name != 'createdAt'}


def test_no_moment_of_a_calendar(old):
    """Its dates are gone: it is placed all the same."""
    for jobid, status in enumerate(
            ('queued', 'completed', 'error', 'cancelled', 'start later'), 10):
        add(old, Job(jobid, 'echo', None), status=status, createdAt=None)
    job = add(old, CronJob(20, 'echo', None, delay=5), status='delayed',
              createdAt=None)
    old.migrate()
    queue, now = old.service.jobqueue, old.service.clock.now()
    start, wrong = None, []
    while True:
        found, start = check.step(queue, start, 100, now)
        wrong += found
        if start is None:
            break
    assert wrong == [] and job.status == 'delayed'
    assert old.service.stats()['completed'] == 1
