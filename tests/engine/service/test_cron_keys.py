"""``key`` and ``onDuplicate`` of cron jobs."""

import pytest
import transaction

from lovely.remotetask.adding import cron as adding_cron
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError


@pytest.fixture(autouse=True)
def ran(register):
    ran = []

    @register
    def note(input):
        ran.append(input)

    @register
    def other(input):
        ran.append(('other', input))

    return ran


@pytest.fixture(autouse=True)
def told(monkeypatch):
    monkeypatch.setattr(adding_cron, '_told', set())


def nightly(service, **options):
    return service.addCronJob(
        'note', **{'hour': (3,), 'key': 'nightly', **options})


def values(service, jobid):
    job = service.jobs[jobid]
    return job.task, job.fields(), job.delay, job.input, job.priority


def test_keep_logs_a_difference_once(service, log):
    jobid = nightly(service)
    for _ in range(2):
        assert nightly(service) == jobid
    assert log == []
    for _ in range(2):
        assert nightly(service, hour=(4,), minute=(30,)) == jobid
    assert log == [
        f"WARNING cron job {jobid} with the key 'nightly' keeps its schedule "
        f"hour=(3,); addCronJob has asked for minute=(30,), hour=(4,): give "
        f"onDuplicate='update' to change it"]
    nightly(service, hour=(), delay=60)
    assert 'asked for delay=60:' in log[-1] and len(log) == 2
    assert values(service, jobid)[1] == ((), (3,), (), (), ())


def test_update_writes_what_is_asked_for(service, ran, log):
    jobid = nightly(service, input=[1])
    before = service.jobs[jobid].scheduledAt
    assert nightly(service, input=[2], hour=(4,), priority=2,
                   onDuplicate='update') == jobid
    assert values(service, jobid) == (
        'note', ((), (4,), (), (), ()), None, [2], 2)
    assert service.jobs[jobid].scheduledAt != before
    assert service.addCronJob('other', delay=0, key='nightly',
                              onDuplicate='update') == jobid
    assert service.getStatus(jobid) == 'delayed'
    assert len(service.jobs) == 1 and log == []
    service.process()
    assert ran == [('other', None)]


def test_update_of_a_new_key_adds(service):
    jobid = nightly(service, onDuplicate='update')
    assert service.getStatus(jobid) == 'cronjob'
    service.cancel(jobid)
    assert nightly(service, onDuplicate='update') != jobid


def test_update_without_a_difference_writes_nothing(service):
    """It is called at each start of an application, also amid a run."""
    jobid = nightly(service, input={'a': 1}, priority=1)
    transaction.commit()
    assert nightly(service, input={'a': 1}, priority=1,
                   onDuplicate='update') == jobid
    assert not service._p_jar._registered_objects


def test_update_keeps_a_run_that_is_queued(service):
    jobid = nightly(service)
    job = service.jobs[jobid]
    service.processNext(job.next_run(service.clock.now()) - 1)
    service.jobqueue.make_due_ready(job.scheduledAt.timestamp())
    assert job.status == 'queued'
    nightly(service, hour=(4,), onDuplicate='update')
    assert (job.status, job.hour) == ('queued', (4,))


@pytest.mark.parametrize('options, error', [
    ({'hour': (25,)}, ValueError), ({'hour': ()}, ValueError),
    ({'input': lambda: None}, InputRejected), ({'priority': 9}, UsageError),
    ({'onDuplicate': 'replace'}, UsageError),
    ({'onDuplicate': 'upsert'}, UsageError), ({'key': ''}, UsageError),
    ({'key': None}, UsageError)])
def test_a_refused_update_changes_nothing(service, options, error):
    jobid = nightly(service, input=[1])
    before = values(service, jobid)
    with pytest.raises(error):
        nightly(service, **{'onDuplicate': 'update', **options})
    assert values(service, jobid) == before and len(service.jobs) == 1


def test_error_names_the_job(service):
    jobid = nightly(service)
    with pytest.raises(DuplicateJob) as caught:
        nightly(service, onDuplicate='error')
    assert caught.value.jobid == jobid


def test_a_job_that_is_no_cron_job_is_not_updated(service):
    jobid = service.add('note', key='nightly')
    with pytest.raises(DuplicateJob):
        nightly(service, onDuplicate='update')
    assert nightly(service) == jobid


# -- a schedule that is replaced while it runs --------------------------------

def test_a_schedule_that_lost_its_key_ends_with_its_run(service, register):
    @register
    def replaced(input):
        service.add('note', key='hourly', onDuplicate='replace',
                    startLater=True)

    jobid = service.addCronJob('replaced', minute=(0,), key='hourly')
    service.process(service.clock.now() + 3600)
    assert service.getStatus(jobid) == 'completed'
    assert service.stats()['scheduled'] == 0
    assert service.jobqueue.uniques.holder(
        'hourly', service.jobs).id != jobid
    with pytest.raises(DuplicateJob):
        service.retryJob(jobid)


def test_a_schedule_that_lost_its_key_ends_when_it_is_due(service, register):
    """Its run has ended in the very moment in which it was replaced."""
    jobid = service.addCronJob('note', minute=(0,), key='hourly')
    new = service.add('note', 1, startLater=True)
    service.jobqueue.uniques.take('hourly', service.jobs[new], None)
    assert service.processNext(service.clock.now() + 3600) is False
    assert service.getStatus(jobid) == 'cancelled'
    assert service.stats()['scheduled'] == 0


def test_a_schedule_that_lost_its_key_and_gives_up_is_cancelled(
        service, register):
    @register
    def gives_up(input):
        raise CancelJob

    jobid = service.addCronJob('gives_up', minute=(0,), key='hourly')
    service.jobqueue.make_due_ready(service.clock.now() + 3600)
    new = service.add('note', 1, startLater=True)
    service.jobqueue.uniques.take('hourly', service.jobs[new], None)
    service.process()
    assert service.getStatus(jobid) == 'cancelled'
    assert service.stats()['scheduled'] == 0
