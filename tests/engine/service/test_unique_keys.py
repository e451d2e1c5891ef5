"""``key`` and ``onDuplicate``, as one user at a time sees them."""

import pickle

import pytest
import transaction
import zope.event

from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.events import JobAdded
from lovely.remotetask.events import JobCancelled


@pytest.fixture(autouse=True)
def ran(register):
    ran = []

    @register
    def note(input):
        ran.append(input)
        if input == 'fail':
            raise ValueError

    return ran


@pytest.fixture
def events():
    found = []

    def note(event):
        if isinstance(event, JobAdded | JobCancelled):
            found.append((type(event).__name__, event.job.id))

    zope.event.subscribers.append(note)
    yield found
    zope.event.subscribers.remove(note)


def test_keep_is_the_default(service, ran, events):
    jobid = service.add('note', 1, key='a')
    assert service.add('note', 2, key='a') == jobid
    assert service.add('note', 3, key='a', onDuplicate='keep') == jobid
    assert events == [('JobAdded', jobid)]
    assert len(service.jobs) == 1
    service.process()
    assert ran == [1]


def test_whoever_holds_it_in_whatever_state(service):
    for options in ({}, {'startLater': True}, {'delay': 100}):
        jobid = service.add('note', key=str(options), **options)
        assert service.add('note', key=str(options)) == jobid
    jobid = service.addCronJob('note', minute=(0,), key='nightly')
    assert service.addCronJob('note', minute=(30,), key='nightly') == jobid
    assert service.add('note', key='nightly') == jobid
    claimed = service.add('note', key='runs', priority=3)
    assert service.claimNextJob() == claimed
    assert service.add('note', key='runs') == claimed


@pytest.mark.parametrize('input', ['well', 'fail'])
def test_the_key_is_free_once_the_job_is_over(service, input):
    first = service.add('note', input, key='a')
    service.process()
    second = service.add('note', input, key='a')
    assert second != first
    service.cancel(second)
    assert service.add('note', key='a') not in (first, second)


@pytest.mark.parametrize('end', ['completed', 'error', 'cancelled'])
def test_with_any_it_counts_until_it_is_cleaned(service, register, end):
    @register
    def ends(input):
        if end == 'error':
            raise TaskError('no')

    def add():
        return service.add('ends', key='a', onDuplicate='any')

    first = add()
    assert add() == first
    if end == 'cancelled':
        service.cancel(first)
    else:
        service.process()
    assert service.getStatus(first) == end
    transaction.commit()
    assert add() == first
    assert len(service.jobs) == 1
    assert not service._p_jar._registered_objects
    service.clean()
    second = add()
    assert second != first and service.getStatus(second) == 'queued'
    # With any other word a job that is over does not count.
    service.cancel(second)
    assert service.add('ends', key='a') != second


def test_any_is_no_word_for_schedules(service):
    with pytest.raises(UsageError, match="'keep', 'update', 'error'"):
        service.addCronJob('note', minute=(0,), key='a', onDuplicate='any')


def test_replace(service, ran, events):
    old = service.add('note', 'old', key='a')
    new = service.add('note', 'new', key='a', onDuplicate='replace')
    assert (service.getStatus(old), service.getStatus(new)) == (
        'cancelled', 'queued')
    assert events == [('JobAdded', old), ('JobCancelled', old),
                      ('JobAdded', new)]
    assert service.add('note', key='a') == new
    service.process()
    assert ran == ['new']


def test_error(service):
    jobid = service.add('note', key='a')
    with pytest.raises(DuplicateJob) as caught:
        service.add('note', key='a', onDuplicate='error')
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.key, again.jobid) == ('a', jobid)
    assert "'a'" in str(again) and str(jobid) in str(again)
    assert isinstance(again, UsageError)
    assert len(service.jobs) == 1
    service.process()
    assert service.add('note', key='a', onDuplicate='error') != jobid


def test_other_keys_and_none_at_all(service):
    ids = {service.add('note', key=key)
           for key in ('a', 'b', 'A', None, None, '\udc80', 'ä' * 200)}
    assert len(ids) == 7


def test_another_service_has_keys_of_its_own(application, service):
    other = application.service('other')
    service.add('note', key='a')
    other.add('note', key='a', onDuplicate='error')


def test_an_aborted_add_holds_nothing(service):
    gone = service.add('note', key='a')
    transaction.abort()
    kept = service.add('note', key='a')
    assert kept in service.jobs and gone not in (kept,)


def test_a_job_that_was_deleted_holds_nothing(service):
    jobid = service.add('note', key='a')
    del service.jobs[jobid]
    service.jobs[jobid] = service.jobs[service.add('note')]
    assert service.add('note', key='a') != jobid


@pytest.mark.parametrize('key', ['', 5, b'a', 'x' * 201, ['a'], True])
def test_what_cannot_be_a_key(service, key):
    with pytest.raises(UsageError, match='1 to 200 characters'):
        service.add('note', key=key)
    with pytest.raises(UsageError, match='1 to 200 characters'):
        service.addCronJob('note', minute=(0,), key=key)
    assert not service.jobs


@pytest.mark.parametrize('options', [
    {'key': 'a', 'onDuplicate': 'drop'}, {'key': 'a', 'onDuplicate': None},
    {'onDuplicate': 'replace'}])
def test_what_cannot_be_done_with_duplicates(service, options):
    with pytest.raises(UsageError):
        service.add('note', **options)
    assert not service.jobs


def test_bad_input_is_refused_before_anybody_is_replaced(service):
    jobid = service.add('note', key='a')
    with pytest.raises(ValueError):
        service.add('note', lambda: 1, key='a', onDuplicate='replace')
    assert service.getStatus(jobid) == 'queued'


def test_a_retried_job_keeps_its_key_unless_it_has_been_taken(service):
    jobid = service.add('note', 'fail', key='a')
    service.process()
    service.retryJob(jobid)
    assert service.add('note', key='a') == jobid
    service.process()
    after = service.add('note', key='a')
    assert after != jobid
    with pytest.raises(DuplicateJob) as caught:
        service.retryJob(jobid)
    assert (caught.value.key, caught.value.jobid) == ('a', after)
    assert service.getStatus(jobid) == 'error'
    assert service.add('note', key='a') == after
    # Over, in either way: the key is free for the first one again.
    service.process()
    service.retryJob(jobid)
    assert service.add('note', key='a') == jobid
    with pytest.raises(DuplicateJob):
        service.add('note', key='a', onDuplicate='error')


@pytest.mark.parametrize('again', ['retryJob', 'startJob', 'reschedule'])
@pytest.mark.parametrize('options', [
    {}, {'startLater': True}, {'delay': 60}], ids=str)
def test_no_verb_brings_back_what_was_replaced(service, ran, options, again):
    old = service.add('note', 'old', key='a', **options)
    new = service.add('note', 'new', key='a', onDuplicate='replace')
    if again == 'retryJob':
        with pytest.raises(DuplicateJob):
            service.retryJob(old)
    else:
        assert not getattr(service, again)(old)
    assert service.getStatus(old) == 'cancelled'
    assert service.add('note', key='a') == new
    service.process()
    assert ran == ['new']


def test_of_two_schedules_with_a_key_one_runs(service, ran):
    first = service.addCronJob('note', 'first', minute=(0,), key='a')
    service.cancel(first)
    second = service.addCronJob('note', 'second', minute=(0,), key='a')
    assert second != first
    with pytest.raises(DuplicateJob):
        service.retryJob(first)
    service.reschedule(first)
    for hour in range(4):
        service.process(hour * 3600)
    assert set(ran) == {'second'}
    service.cancel(second)
    service.retryJob(first)
    with pytest.raises(DuplicateJob):
        service.retryJob(second)
    assert service.addCronJob('note', minute=(0,), key='a') == first


def test_a_job_that_was_cleaned_leaves_its_key_to_the_one_before(service):
    first = service.add('note', 'fail', key='a')
    service.process()
    second = service.add('note', key='a')
    service.process()
    service.clean(['completed'])
    assert second not in service.jobs
    service.retryJob(first)
    assert service.add('note', key='a') == first


def test_a_plain_add_writes_nothing_for_it(service):
    """Four records: the job, its block, a lane and its counter."""
    service.add('note')
    transaction.commit()
    service.add('note')
    jar = service._p_jar
    registered = {id(obj) for obj in jar._registered_objects}
    trees = service.jobqueue.uniques._trees
    assert registered.isdisjoint(map(id, trees))
    assert len(registered) <= 4
    service.add('note', key='a')
    assert not {id(obj) for obj in jar._registered_objects}.isdisjoint(
        map(id, trees))


# --- keys of many, and until a job has started ------------------

def test_many_jobs_with_keys(service, ran, events):
    first = service.add('note', 0, key='b')
    jobs = service.addMany('note', [1, 2, 3], keys=['a', 'b', 'c'])
    assert jobs[1] == first and len(set(jobs)) == 3
    assert service.addMany('note', [4, 5, 6], keys=['a', 'b', 'c']) == jobs
    assert [service.jobs[jobid].key for jobid in jobs] == ['a', 'b', 'c']
    assert len(events) == 3
    service.process()
    assert ran == [0, 1, 3]
    later = service.addMany('note', [7], keys=['a'])
    assert later != jobs[:1]


def test_a_key_twice_in_one_call(service):
    first, second = service.addMany('note', [1, 2], keys=['a', 'a'])
    assert first == second
    third, fourth = service.addMany(
        'note', [3, 4], keys=['a', 'a'], onDuplicate='replace')
    assert [service.getStatus(jobid) for jobid in (first, third, fourth)] == [
        'cancelled', 'cancelled', 'queued']


@pytest.mark.parametrize('options, error, named', [
    ({'keys': ['a']}, UsageError, 'there are 1 keys for 2 inputs'),
    ({'keys': 'ab'}, UsageError, "keys is 'ab'"),
    ({'keys': 5}, UsageError, 'keys is 5'),
    ({'keys': ['a', None]}, UsageError, 'key is None'),
    ({'keys': ['a', 'k' * 201]}, UsageError, 'key is'),
    ({'keys': ['a', 'a'], 'onDuplicate': 'error'}, UsageError, 'twice'),
    ({'keys': ['a', 'taken'], 'onDuplicate': 'error'}, DuplicateJob, 'taken'),
    ({'keys': ['a', 'b'], 'onDuplicate': 'maybe'}, UsageError, 'onDuplicate'),
    ({'onDuplicate': 'maybe'}, UsageError, "onDuplicate is 'maybe'"),
    ({'keyUntil': 'never'}, UsageError, "keyUntil is 'never'"),
    ({'onDuplicate': 'error'}, UsageError, "is 'error'.*give keys"),
    ({'keyUntil': 'started'}, UsageError, "is 'started'.*give keys"),
])
def test_keys_that_many_cannot_have(service, options, error, named):
    service.add('note', key='taken')
    with pytest.raises(error, match=named):
        service.addMany('note', [1, 2], **options)
    assert len(service.jobs) == 1


@pytest.mark.parametrize('onDuplicate', ['keep', 'any', 'error', 'replace'])
def test_a_key_until_its_job_has_started(service, onDuplicate):
    """Work that is to be done once more after each change."""
    first = service.add('note', 1, key='a', keyUntil='started')
    assert service.claimNextJob() == first
    second = service.add('note', 2, key='a', keyUntil='started',
                         onDuplicate=onDuplicate)
    assert second != first
    assert service.getStatus(first) == 'processing'
    assert service.add('note', 3, key='a', keyUntil='started') == second
    assert service.addMany(
        'note', [4], keys=['a'], keyUntil='started') == [second]
    service.processNext(jobid=first)
    # The end of the first one takes no key from the second.
    assert service.add('note', 5, key='a') == second


@pytest.mark.parametrize('options, told', [
    ({'keyUntil': 'never'}, "keyUntil is 'never'; one of 'ended', 'started'"),
    ({'keyUntil': None}, "keyUntil is None; one of 'ended', 'started'"),
    ({'keyUntil': 5, 'key': 'a'}, "keyUntil is 5; one of 'ended', 'started'"),
    ({'keyUntil': 'started'},
     "keyUntil is 'started', which says what is to be of a key, and there is "
     "none: give key, too"),
    ({'onDuplicate': 'update'}, "onDuplicate is 'update'; one of 'keep', "
                                "'any', 'replace', 'error'"),
    ({'onDuplicate': []}, "onDuplicate is []; one of 'keep', 'any', "
                          "'replace', 'error'"),
    ({'onDuplicate': 'replace'},
     "onDuplicate is 'replace', which says what is to be of a key, and there "
     "is none: give key, too"),
])
def test_what_is_said_of_a_key_that_there_is_not(service, options, told):
    """It is named itself, and not the key."""
    with pytest.raises(UsageError) as raised:
        service.add('note', **options)
    assert str(raised.value) == told
    options = {name: value for name, value in options.items()
               if name != 'keyUntil'}
    if options.get('onDuplicate') == 'replace':
        with pytest.raises(UsageError, match="'replace'; one of 'keep'"):
            service.addCronJob('note', minute=(0,), **options)
        with pytest.raises(UsageError, match="is 'update', which says"):
            service.addCronJob('note', minute=(0,), onDuplicate='update')
    assert len(service.jobs) == 0
