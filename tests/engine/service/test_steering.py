"""Pausing a queue or a schedule, running one now, and starting a job now."""

import pytest
import transaction
from zope.component import provideUtility

from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.store import check

NOBODY = {'pausedBy': None, 'pausedAt': None, 'pauseReason': None}


def paused(service):
    stats = service.stats()
    return stats['paused'], {name: stats[name] for name in NOBODY}


@pytest.fixture
def mia(components):
    """Mia acts."""
    class Host(PlainHost):
        def submitter(self):
            return 'mia'

    provideUtility(Host(), IHost)


def test_a_pause_tells_who_when_and_why(service, mia, clock):
    assert paused(service) == (False, NOBODY)
    service.pause('the disk is full')
    assert paused(service) == (True, {
        'pausedBy': 'mia', 'pausedAt': '2027-01-15T08:00:00+00:00',
        'pauseReason': 'the disk is full'})
    transaction.commit()
    clock.advance(60)
    service.pause()
    assert not service.jobqueue._p_changed
    service.resume()
    assert paused(service) == (False, NOBODY)
    # The next pause has forgotten this one.
    service.pause()
    assert paused(service) == (True, {
        'pausedBy': 'mia', 'pausedAt': '2027-01-15T08:01:00+00:00',
        'pauseReason': None})


def test_a_reason_takes_the_place_of_what_was_noted(service, clock):
    service.pause()
    clock.advance(60)
    service.pause('two of us had the same idea')
    assert paused(service) == (True, {
        'pausedBy': None, 'pausedAt': '2027-01-15T08:01:00+00:00',
        'pauseReason': 'two of us had the same idea'})


def test_a_queue_that_an_earlier_release_has_paused(service):
    service.jobqueue.paused = True
    assert paused(service) == (True, NOBODY)
    service.resume()
    assert paused(service) == (False, NOBODY)


@pytest.mark.parametrize('reason', ['', 'x' * 201, 7, b'full', True])
def test_reasons_that_are_none(service, reason):
    transaction.commit()
    with pytest.raises(UsageError, match='give a text of 1 to 200'):
        service.pause(reason)
    assert not service.jobqueue.paused
    assert not service.jobqueue._p_changed


# --- schedules ---------------------------------------------------------------

@pytest.fixture
def hourly(service, ran, clock):
    """The id of a job that runs each hour."""
    jobid = service.addCronJob('note', 'tick', minute=(0,))
    transaction.commit()
    return jobid


def test_a_paused_schedule_stays_and_does_not_run(
        service, hourly, ran, clock):
    job = service.jobs[hourly]
    before = job.scheduledAt
    service.pauseCronJob(hourly)
    assert not job._p_changed
    transaction.commit()
    assert (job.enabled, job.status, job.scheduledAt) == (
        False, 'cronjob', None)
    assert [one.id for one in service.listJobs('scheduled')[0]] == [hourly]
    assert service.stats()['scheduled'] == 1
    service.process(now=clock.now() + 100 * 365 * 86_400)
    service.process(now=0)
    assert not ran and not service.hasJobsWaiting()
    service.pauseCronJob(hourly)
    service.resumeCronJob(hourly)
    assert (job.enabled, job.scheduledAt) == (True, before)
    service.resumeCronJob(hourly)
    clock.advance(3600)
    service.process()
    assert ran == ['tick']


def test_a_schedule_that_is_changed_stays_paused(service, hourly, ran, clock):
    service.pauseCronJob(hourly)
    job = service.jobs[hourly]
    job.update(minute=(30,))
    service.reschedule(hourly)
    assert (job.enabled, job.scheduledAt) == (False, None)
    clock.advance(7200)
    service.process()
    assert not ran
    service.resumeCronJob(hourly)
    assert job.scheduledAt.minute == 30


@pytest.mark.parametrize('enabled', [True, False])
def test_an_update_leaves_what_an_operator_has_paused(
        service, ran, clock, enabled):
    jobid = service.addCronJob('note', 1, minute=(0,), key='hourly')
    service.pauseCronJob(jobid)
    for minute in (0, 30):
        assert service.addCronJob(
            'note', 2, minute=(minute,), key='hourly', onDuplicate='update',
            enabled=enabled) == jobid
        assert service.jobs[jobid].enabled is False
    clock.advance(7200)
    service.process()
    assert not ran


def test_a_schedule_may_begin_paused(service, ran, clock):
    jobid = service.addCronJob('note', 1, minute=(0,), enabled=False)
    assert service.jobs[jobid].enabled is False
    clock.advance(7200)
    service.process()
    assert not ran
    # A person tries it out.
    assert service.runCronJob(jobid) is True
    assert service.runCronJob(jobid) is False
    service.process()
    assert ran == [1] and service.jobs[jobid].enabled is False
    assert len(service.jobs[jobid].runs) == 1
    clock.advance(7200)
    service.process()
    assert ran == [1]


def test_a_failed_run_of_a_paused_schedule_is_retried(
        service, register, clock):
    tries = []

    @register
    def flaky(input):
        tries.append(1)
        if len(tries) == 1:
            raise OSError('no')

    jobid = service.addCronJob('flaky', minute=(0,))
    clock.advance(3600)
    service.process()
    service.pauseCronJob(jobid)
    assert [job.id for job in service.listJobs('error')[0]] == [jobid]
    service.retryJob(jobid)
    service.process()
    assert len(tries) == 2
    job = service.jobs[jobid]
    assert (job.status, job.enabled, job.scheduledAt) == (
        'cronjob', False, None)


def test_a_check_finds_nothing_wrong_with_a_paused_schedule(
        service, hourly, clock):
    service.pauseCronJob(hourly)
    clock.advance(-86_400)
    now = clock.now()
    assert check.late(service.jobqueue, now) == []
    found, start = check.step(service.jobqueue, None, 100, now)
    while start is not None:
        assert found == []
        found, start = check.step(service.jobqueue, start, 100, now)
    assert found == []


VERBS = ('runCronJob', 'pauseCronJob', 'resumeCronJob')


@pytest.mark.parametrize('verb', VERBS)
def test_schedules_only(service, ran, clock, verb):
    ids = {'plain': service.add('note'), 'delayed': service.add(
        'note', delay=60), 'once': service.addCronJob('note', delay=60)}
    over = service.addCronJob('note', minute=(0,))
    service.cancel(over)
    transaction.commit()
    for jobid in ids.values():
        with pytest.raises(UsageError, match='is no schedule: it runs once'):
            getattr(service, verb)(jobid)
    with pytest.raises(InvalidTransition, match="is 'cancelled'"):
        getattr(service, verb)(over)
    for jobid in (-1, 'one', None):
        with pytest.raises(JobNotFound):
            getattr(service, verb)(jobid)
    assert not service._p_jar._registered_objects


@pytest.mark.parametrize('enabled', [None, 0, 1, 'yes', 'False'])
def test_enabled_is_a_bool(service, ran, enabled):
    with pytest.raises(UsageError, match='enabled is .*; give True or False'):
        service.addCronJob('note', minute=(0,), enabled=enabled)
    with pytest.raises(UsageError, match='needs a schedule'):
        service.addCronJob('note', delay=5, enabled=False)
    assert len(service.jobs) == 0


def test_an_old_schedule_is_enabled(service, hourly):
    assert 'enabled' not in service.jobs[hourly].next.__dict__
    assert service.jobs[hourly].enabled is True


# --- start now ---------------------------------------------------------------

def test_what_starts_now(service, ran, clock, register):
    @register
    def rests(input):
        if not ran:
            ran.append('first')
            raise RetryLater(delay=3600)
        ran.append('second')

    later = service.add('note', 'later', startLater=True)
    delayed = service.add('note', 'delayed', delay=3600)
    assert service.startNow(later) is True
    assert service.startNow(later) is False
    assert service.startNow(delayed) is True
    assert service.getStatus(delayed) == 'queued'
    assert service.stats()['scheduled'] == 0
    service.process()
    assert sorted(ran) == ['delayed', 'later']
    ran.clear()
    resting = service.add('rests')
    service.process()
    assert service.startNow(resting) is True
    service.process()
    assert ran == ['first', 'second']
    for jobid in (later, delayed, resting):
        with pytest.raises(InvalidTransition, match="is 'completed'"):
            service.startNow(jobid)
    with pytest.raises(JobNotFound):
        service.startNow(-1)


def test_a_schedule_does_not_start_now(service, hourly):
    with pytest.raises(UsageError, match='is a schedule; runCronJob'):
        service.startNow(hourly)
    assert not service._p_jar._registered_objects
