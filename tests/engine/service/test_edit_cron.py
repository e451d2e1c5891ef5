"""``editCronJob``: what changes, what stays, and what is refused."""

import pytest
import transaction
from zope.component import provideUtility
from zope.interface import Interface
from zope.schema import Int

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import InvalidSchedule
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.store import check
from lovely.remotetask.task import FunctionTask

HOUR = 3600


class ICount(Interface):

    number = Int(max=9)


@pytest.fixture(autouse=True)
def ran(register):
    ran = []

    @register
    def note(input):
        ran.append(input)
        if input == 'fail':
            raise TaskError('no')

    @register
    def other(input):
        ran.append(('other', input))

    provideUtility(FunctionTask(other, inputSchema=ICount), ITask, 'counts')
    return ran


@pytest.fixture
def hourly(service):
    """The id of a job that runs each hour."""
    jobid = service.addCronJob('note', [1], minute=(0,), priority=1)
    transaction.commit()
    return jobid


def values(job):
    return (job.task, job.input, job.fields(), job.delay, job.priority,
            job.submitter, job.scheduledAt)


def test_what_is_not_named_stays(service, hourly, ran, clock):
    job = service.jobs[hourly]
    task, input, _, delay, priority, submitter, _ = values(job)
    service.editCronJob(hourly, minute=(30, 45))
    transaction.commit()
    assert values(job)[:3] == (task, input, ((30, 45), (), (), (), ()))
    assert values(job)[3:6] == (delay, priority, submitter)
    assert job.scheduledAt.minute == 30
    service.editCronJob(hourly, input={'a': 1}, priority=-4)
    assert (job.input, job.priority, job.minute) == ({'a': 1}, -4, (30, 45))
    service.editCronJob(hourly, task='other')
    clock.advance(HOUR)
    service.process()
    assert ran == [('other', {'a': 1})]
    assert job.status == 'cronjob'


@pytest.mark.parametrize('changes', [
    {}, {'minute': (0,)}, {'minute': [0, 0]}, {'input': [1]},
    {'priority': 1}, {'task': 'note'},
    {'task': 'note', 'input': [1], 'minute': (0,), 'hour': (),
     'delay': None}])
def test_what_does_not_differ_is_not_written(service, hourly, changes):
    service.editCronJob(hourly, **changes)
    assert not service._p_jar._registered_objects
    assert not service.jobs[hourly]._p_changed


@pytest.mark.parametrize(('changes', 'error'), [
    ({'minute': (60,)}, InvalidSchedule), ({'minute': '0'}, InvalidSchedule),
    ({'minute': ()}, InvalidSchedule), ({'delay': -1}, InvalidSchedule),
    ({'dayOfMonth': (30,), 'month': (2,)}, InvalidSchedule),
    ({'task': 'nothing'}, ValueError), ({'task': None}, ValueError),
    ({'input': lambda: None}, InputRejected), ({'priority': 9}, UsageError),
    ({'runAs': ''}, UsageError), ({'key': 'x'}, UsageError),
    ({'enabled': False}, UsageError), ({'task': 'counts'}, InputRejected)])
def test_a_refused_edit_changes_nothing(service, hourly, changes, error):
    before = values(service.jobs[hourly])
    with pytest.raises(error):
        service.editCronJob(hourly, **{'hour': (5,), **changes} if set(
            changes) - {'minute'} else changes)
    assert values(service.jobs[hourly]) == before
    assert not service._p_jar._registered_objects


def test_other_jobs_are_refused(service, hourly):
    plain = service.add('note')
    with pytest.raises(UsageError, match='is no cron job'):
        service.editCronJob(plain, minute=(0,))
    with pytest.raises(JobNotFound):
        service.editCronJob(77, minute=(0,))
    service.cancel(hourly)
    with pytest.raises(InvalidTransition):
        service.editCronJob(hourly, minute=(0,))


def test_an_input_is_checked_for_another_task(service):
    jobid = service.addCronJob('note', {'number': 3}, minute=(0,))
    service.editCronJob(jobid, task='counts')
    with pytest.raises(InputRejected, match='number is 12'):
        service.editCronJob(jobid, input={'number': 12})
    changed = {'number': 4}
    service.editCronJob(jobid, input=changed)
    changed['number'] = 44
    with pytest.raises(InputRejected, match='after it was added'):
        transaction.commit()
    transaction.abort()


def test_a_delay_and_a_schedule(service, ran, clock):
    """A delay counts from the edit; one that is fulfilled ends the job."""
    jobid = service.addCronJob('note', 1, delay=HOUR)
    clock.advance(60)
    service.editCronJob(jobid, delay=2 * HOUR)
    job = service.jobs[jobid]
    assert (job.status, job.scheduledAt.timestamp()) == (
        'delayed', clock.now() + 2 * HOUR)
    clock.advance(60)
    service.editCronJob(jobid, input=2)
    assert job.scheduledAt.timestamp() == clock.now() + 2 * HOUR - 60
    service.editCronJob(jobid, minute=(0,))
    assert (job.status, job.delay, job.recurring) == ('cronjob', None, True)
    service.editCronJob(jobid, delay=0)
    assert job.fields() == ((), (), (), (), ())
    service.process()
    assert ran == [2] and job.status == 'completed'


def test_an_edit_leaves_a_schedule_paused(service, hourly, ran, clock):
    service.pauseCronJob(hourly)
    service.editCronJob(hourly, minute=(30,))
    assert (service.jobs[hourly].enabled,
            service.jobs[hourly].scheduledAt) == (False, None)
    clock.advance(2 * HOUR)
    service.process()
    assert not ran
    service.resumeCronJob(hourly)
    assert service.jobs[hourly].scheduledAt.minute == 30


def test_the_principal_stays(service, components):
    class Host(PlainHost):
        def submitter(self):
            return acting

    acting = 'mia'
    provideUtility(Host(), IHost)
    jobid = service.addCronJob('note', minute=(0,))
    acting = 'ben'
    service.editCronJob(jobid, input='of ben')
    assert service.jobs[jobid].submitter == 'mia'
    service.editCronJob(jobid, runAs='eve')
    assert service.jobs[jobid].submitter == 'eve'
    service.editCronJob(jobid, runAs=None)
    assert service.jobs[jobid].submitter == 'ben'


# --- while a run is under way ------------------------------------------------

@pytest.fixture
def running(service, hourly, clock):
    """The id of a schedule that runs."""
    clock.advance(HOUR)
    assert service.claimNextJob() == hourly
    transaction.commit()
    return hourly


CHANGES = {'task': 'other', 'input': 'new', 'minute': (30,), 'priority': 2}


def test_a_run_goes_on_as_it_began(service, running, ran, clock):
    job = service.jobs[running]
    before = job.task, job.input, job.minute
    service.editCronJob(running, **CHANGES)
    assert not job._p_changed
    transaction.commit()
    assert (job.task, job.input, job.minute) == before
    assert job.scheduledAt.timestamp() == clock.now() + HOUR / 2
    service.processNext(jobid=running)
    assert ran == [[1]]
    clock.advance(HOUR / 2)
    service.process()
    assert ran == [[1], ('other', 'new')]
    assert (job.task, job.input, job.minute, job.priority) == (
        'other', 'new', (30,), 2)
    assert not job.next.edit
    start = None
    while True:
        found, start = check.step(service.jobqueue, start, 100, clock.now())
        assert found == []
        if start is None:
            break


def test_each_edit_of_a_run_builds_on_the_one_before(service, running, ran,
                                                     clock):
    service.editCronJob(running, **CHANGES)
    service.editCronJob(running, input=[3], hour=(9,))
    service.editCronJob(running, input=[3])
    transaction.commit()
    service.processNext(jobid=running)
    # The run is over, and the next has not begun.
    service.editCronJob(running, priority=0)
    job = service.jobs[running]
    assert (job.task, job.input, job.fields(), job.priority) == (
        'other', [3], ((30,), (9,), (), (), ()), 0)


def test_what_was_first_is_put_back_amid_a_run(service, running, ran, clock):
    service.editCronJob(running, **CHANGES)
    service.editCronJob(running, task='note', input=[1], minute=(0,),
                        priority=1)
    service.processNext(jobid=running)
    clock.advance(HOUR)
    service.process()
    assert ran == [[1], [1]]


@pytest.mark.parametrize('how', ['runCronJob', 'retryJob'])
def test_a_run_by_hand_is_one_of_the_edit(service, ran, clock, how):
    jobid = service.addCronJob('note', 'fail', minute=(0,))
    clock.advance(HOUR)
    assert service.claimNextJob() == jobid
    service.editCronJob(jobid, input='new')
    transaction.commit()
    service.processNext(jobid=jobid)
    assert service.jobs[jobid].error is not None
    getattr(service, how)(jobid)
    service.process()
    assert ran == ['fail', 'new']


def test_a_large_input_amid_a_run(service, running, ran, clock):
    large = {'text': 'x' * 10_000}
    service.editCronJob(running, input=large)
    # As it is at the commit.
    large['text'] = 'y' * 10_000
    transaction.commit()
    service._p_jar.cacheMinimize()
    service.processNext(jobid=running)
    clock.advance(HOUR)
    service.process()
    assert ran[1] == large
    service.editCronJob(running, input='small')


def test_a_small_input_is_stored_as_it_is_at_commit(service, running, ran,
                                                    clock):
    given = {'a': 1}
    service.editCronJob(running, input=given)
    transaction.savepoint()
    given['a'] = 2
    transaction.commit()
    service._p_jar.cacheMinimize()
    service.processNext(jobid=running)
    clock.advance(HOUR)
    service.process()
    assert ran[1] == {'a': 2}


@pytest.mark.parametrize('changes', [{'delay': 60}, {'minute': (0,),
                                                     'delay': 0.5}])
def test_no_delay_amid_a_run(service, running, changes):
    with pytest.raises(InvalidTransition):
        service.editCronJob(running, **changes)
    assert not service._p_jar._registered_objects


def test_update_has_the_last_word(service, running, ran, clock):
    """0.5.2's way writes the job, as it always did."""
    service.editCronJob(running, **CHANGES)
    service.jobs[running].update(minute=(45,))
    service.reschedule(running)
    transaction.commit()
    service.processNext(jobid=running)
    clock.advance(3 * HOUR / 4)
    service.process()
    assert ran == [[1], ('other', 'new')]
    assert service.jobs[running].minute == (45,)


@pytest.mark.parametrize('first', [{'minute': (0,)}, {'delay': HOUR}])
@pytest.mark.parametrize('then', [{'minute': (30,)}, {'delay': 60}])
def test_an_update_amid_a_run_to_and_from_a_delay(service, clock, ran, first,
                                                  then):
    """A delay that is given while it runs is fulfilled by that run."""
    def add(**times):
        return service.addCronJob('note', 1, key='k', onDuplicate='update',
                                  **times)

    jobid = add(**first)
    clock.advance(HOUR)
    assert service.claimNextJob() == jobid
    transaction.commit()
    assert add(**then) == jobid
    transaction.commit()
    service.processNext(jobid=jobid)
    job = service.jobs[jobid]
    assert ran == [1]
    assert job.status == ('completed' if 'delay' in then else 'cronjob')
    assert (job.delay, job.coming('minute')) == (
        then.get('delay'), then.get('minute', ()))
    clock.advance(HOUR)
    service.process()
    assert ran == [1] * (1 if 'delay' in then else 2)


def test_an_addCronJob_that_updates_undoes_no_run(service, clock, ran):
    def add(input, minute):
        return service.addCronJob('note', input, minute=(minute,), key='k',
                                  onDuplicate='update')

    jobid = add(1, 0)
    clock.advance(HOUR)
    assert service.claimNextJob() == jobid
    transaction.commit()
    assert add(2, 30) == jobid
    assert not service.jobs[jobid]._p_changed
    transaction.commit()
    assert add(2, 30) == jobid
    assert not service._p_jar._registered_objects


# --- queue and concurrencyKey ------------------------------------------------

def where(service, jobid):
    """The lanes in which a job stands, and their sizes that are not 0."""
    queue = service.jobqueue
    sizes = {one['name']: one['ready'] for one in service.listQueues()}
    sizes = {name: size for name, size in sizes.items() if size}
    return queue.jobs[jobid].position[0], sizes


@pytest.mark.parametrize('waits', [False, True], ids=['cronjob', 'queued'])
def test_another_queue(service, hourly, ran, clock, waits):
    if waits:
        clock.advance(HOUR)
        service.jobqueue.make_due_ready(clock.now())
    for queue in ('slow', 'other', None, 'default'):
        service.editCronJob(hourly, queue=queue)
        transaction.commit()
        # What does not differ is not written.
        service.editCronJob(hourly, queue=queue)
        assert not service.jobs[hourly]._p_changed
        if waits:
            assert where(service, hourly)[1] == {
                queue or 'default': 1}
    service.editCronJob(hourly, queue='slow')
    clock.advance(0 if waits else HOUR)
    service.process()
    assert ran == [[1]] and service.jobs[hourly].queue == 'slow'
    assert found_by_check(service, clock) == []


def found_by_check(service, clock):
    return check.step(service.jobqueue, None, 100, clock.now())[0]


def test_another_key_for_one_that_waits_for_its_own(service, clock, ran):
    jobid = service.addCronJob('note', 1, minute=(0,), concurrencyKey='a')
    first = service.add('note', 'first', concurrencyKey='a')
    clock.advance(HOUR)
    assert service.claimNextJob() == first
    # It waits behind the gate of its key then.
    assert service.claimNextJob() is None
    assert service.jobs[jobid].position[0] == 'barred'
    service.editCronJob(jobid, concurrencyKey='b')
    assert where(service, jobid)[1] == {'default': 1}
    assert service.claimNextJob() == jobid
    assert found_by_check(service, clock) == []


@pytest.mark.parametrize('changes', [
    {'queue': ''}, {'queue': 'a b'}, {'queue': 7}, {'concurrencyKey': ''},
    {'concurrencyKey': 'k' * 201}, {'concurrencyKey': 7}])
def test_what_is_none_is_refused(service, hourly, changes):
    with pytest.raises(UsageError, match=next(iter(changes))):
        service.editCronJob(hourly, **changes)
    assert not service.jobs[hourly]._p_changed


def test_a_run_that_goes_on_keeps_its_queue(service, running, ran, clock):
    service.editCronJob(running, queue='slow', concurrencyKey='k')
    transaction.commit()
    job = service.jobs[running]
    assert (job.queue, job.concurrencyKey) == (None, None)
    assert (job.coming('queue'), job.coming('concurrencyKey')) == ('slow', 'k')
    service.processNext(jobid=running)
    clock.advance(HOUR)
    service.jobqueue.make_due_ready(clock.now())
    assert where(service, running)[1] == {'slow': 1}
    assert (job.queue, job.concurrencyKey) == ('slow', 'k')


def test_a_run_beside_it_is_of_the_edit(service, clock, ran):
    jobid = service.addCronJob('note', [1], minute=(0,), overlap='allow')
    clock.advance(HOUR)
    assert service.claimNextJob() == jobid
    service.editCronJob(jobid, queue='slow', concurrencyKey='k')
    clock.advance(HOUR)
    service.jobqueue.make_due_ready(clock.now())
    beside, = [job for job in service.jobs.values() if job.id != jobid]
    assert (beside.queue, beside.concurrencyKey) == ('slow', 'k')
    assert beside.position[0] == where(service, beside.id)[0]
    assert where(service, beside.id)[1] == {'slow': 1}


def test_a_run_that_is_cancelled_for_the_next_one(service, clock, ran):
    """Which waits for another attempt, in the queue that it had."""
    jobid = service.addCronJob('note', 'fail', minute=(0,), overlap='cancel',
                               retry=5)
    clock.advance(HOUR)
    assert service.claimNextJob() == jobid
    service.editCronJob(jobid, queue='slow', input=[1])
    service.processNext(jobid=jobid)
    clock.advance(HOUR)
    service.jobqueue.make_due_ready(clock.now())
    job = service.jobs[jobid]
    assert (job.queue, job.input) == ('slow', [1])
    assert where(service, jobid)[1] == {'slow': 1}
    assert found_by_check(service, clock) == []


def test_an_update_changes_the_queue_too(service, clock, ran):
    def add(**options):
        jobid = service.addCronJob('note', [1], minute=(0,), key='k',
                                   onDuplicate='update', **options)
        transaction.commit()
        job = service.jobs[jobid]
        return jobid, job.queue, job.concurrencyKey

    first, *_ = add()
    assert add(queue='slow', concurrencyKey='one') == (first, 'slow', 'one')
    assert add() == (first, None, None)
