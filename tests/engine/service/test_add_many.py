"""addMany: as many adds at once, or none."""

import pickle
from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import transaction
import zope.event
from zope.schema import Int

from lovely.remotetask import TaskService
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.events import JobAdded
from lovely.remotetask.job import Job
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub


class Number(SimpleTask):
    inputSchema = Int(min=0)


class Special(Job):
    pass


class OwnTasks(TaskService):
    def getAvailableTasks(self):
        return {'mine': SimpleTask(str)}


@pytest.fixture
def ran(register):
    ran = []
    register(ran.append, 'note')
    register(Number(ran.append), 'number')
    return ran


@pytest.fixture
def events():
    """The events of the package, in their order."""
    found = []

    def note(event):
        if isinstance(event, JobAdded):
            found.append(event)

    zope.event.subscribers.append(note)
    yield found
    zope.event.subscribers.remove(note)


def test_ids_in_the_order_of_the_inputs_and_run_in_it(service, ran):
    inputs = [{'number': number} for number in range(100)]
    first = service.add('note', 'before')
    ids = service.addMany('note', iter(inputs))
    last = service.add('note', 'after')
    transaction.commit()
    assert len(set(ids)) == 100
    assert [service.jobs[jobid].input for jobid in ids] == inputs
    assert [service.jobs[jobid].status for jobid in ids] == ['queued'] * 100
    service.process()
    assert ran == ['before', *inputs, 'after']
    assert {first, last}.isdisjoint(ids)


def test_nothing_to_add(service, ran, events):
    assert service.addMany('note', []) == []
    assert not events and not service.jobs


def test_abort_takes_all_back(service, ran):
    service.addMany('note', range(20))
    transaction.abort()
    assert len(service.jobs) == 0 and service.stats()['queued'] == 0


def test_one_event_per_job_in_their_order(service, ran, events):
    ids = service.addMany('note', ['a', 'b', 'c'])
    assert [event.job.id for event in events] == ids
    assert all(event.service is service for event in events)


def test_one_hook_of_each_kind_per_transaction(service, ran):
    service.addMany('note', [[number] for number in range(50)])
    service.addMany('note', [{}])
    service.add('note', {})
    current = transaction.get()
    assert len(list(current.getBeforeCommitHooks())) == 1
    assert len(list(current.getAfterCommitHooks())) == 1


def test_an_input_that_changes_after_a_savepoint_is_stored(service, ran):
    inputs = [[1], 2, [3]]
    ids = service.addMany('note', inputs)
    transaction.savepoint()
    inputs[2].append(4)
    transaction.commit()
    service._p_jar.cacheMinimize()
    assert [service.jobs[jobid].input for jobid in ids] == [[1], 2, [3, 4]]


@pytest.mark.parametrize('options, status', [
    ({'startLater': True}, 'start later'),
    ({'delay': 100}, 'delayed'),
    ({'runAt': datetime.now(UTC) + timedelta(hours=1)}, 'delayed'),
    ({'priority': 2}, 'queued')])
def test_options_are_those_of_add(service, ran, options, status):
    ids = service.addMany('note', range(5), **options)
    jobs = [service.jobs[jobid] for jobid in ids]
    assert [job.status for job in jobs] == [status] * 5
    assert {job.priority for job in jobs} == {options.get('priority', 0)}


def test_delayed_ones_keep_their_order(service, ran):
    service.addMany('note', range(200), delay=10)
    when = datetime.now(UTC) + timedelta(seconds=20)
    service.addMany('note', range(200, 400), runAt=when)
    transaction.commit()
    service.process(when.timestamp() + 1)
    assert ran == list(range(400))


def test_a_class_of_jobs(service, ran):
    ids = service.addMany('note', range(3), jobClass=Special)
    assert [type(service.jobs[jobid]) for jobid in ids] == [Special] * 3


def test_all_bad_inputs_are_named_and_nothing_is_stored(
        service, ran, events):
    before = service._v_nextid
    with pytest.raises(InputRejected) as caught:
        service.addMany('number', [1, 'two', 3, -4, None])
    assert caught.value.indexes == [1, 3, 4]
    text = str(caught.value)
    assert '3 of 5 inputs' in text and 'nothing is stored' in text
    assert '[1] ' in text and "'two'" in text and '[3] ' in text
    assert '[0]' not in text
    assert not service.jobs and not events
    assert service.stats()['queued'] == 0
    assert service._v_nextid == before      # not even an id was drawn
    assert not list(transaction.get().getAfterCommitHooks())
    assert pickle.loads(pickle.dumps(caught.value)).indexes == [1, 3, 4]


def test_what_cannot_be_pickled_is_named_too(service, ran):
    with pytest.raises(InputRejected) as caught:
        service.addMany('note', [1, lambda: 2, 3])
    assert caught.value.indexes == [1]
    assert 'cannot be pickled' in str(caught.value)


def test_the_text_about_many_bad_inputs_is_short(service, ran):
    with pytest.raises(InputRejected) as caught:
        service.addMany('number', ['x' * 10_000] * 5000)
    assert caught.value.indexes == list(range(5000))
    assert len(str(caught.value)) < 10_000
    assert '4980 more' in str(caught.value)


def test_a_single_add_has_no_indexes(service, ran):
    with pytest.raises(InputRejected) as caught:
        service.add('number', -1)
    assert caught.value.indexes == []


@pytest.mark.parametrize('inputs', ['text', b'bytes', {'a': 1}])
def test_what_is_no_list_of_inputs(service, ran, inputs):
    with pytest.raises(UsageError, match='give a list'):
        service.addMany('note', inputs)
    assert not service.jobs


def test_a_task_that_is_not_there(service, ran):
    with pytest.raises(ValueError, match='^Task does not exist$'):
        service.addMany('nobody', [1])


@pytest.mark.parametrize('options', [
    {'priority': 9}, {'delay': 1, 'startLater': True}, {'delay': -1},
    {'runAt': datetime(2030, 1, 1)}])
def test_options_that_cannot_be(service, ran, options):
    with pytest.raises(UsageError):
        service.addMany('note', [1], **options)
    assert not service.jobs


def test_the_stub_does_it_too(register):
    register(lambda input: input, 'note', provides=ITaskStub)
    stub = TaskServiceStub()
    assert stub.addMany('note', ['a']) == [1]
    assert stub.addMany('note', [1, 2]) == [2, 3]
    stub.process()
    assert stub.getResult(3) == 2
    assert stub.add('note', key='a') == stub.add('note', key='a') == 4


def test_a_subclass_that_has_its_own_idea_of_tasks(application, ran):
    service = application.service('own', factory=OwnTasks)
    jobid = service.add('mine', 1)
    service.addMany('mine', [2])
    assert service.getStatus(jobid) == 'queued'
    with pytest.raises(ValueError, match='^Task does not exist$'):
        service.add('note')


@pytest.mark.parametrize('committed', [True, False])
def test_many_that_fail_in_one_transaction(service, register, committed):
    """Each failure rolls back, and what ended before is stored as it was."""

    def fail(input):
        raise TaskError

    register(fail)
    ids = service.addMany('fail', range(20))
    if committed:
        transaction.commit()
    service.process()
    transaction.commit()
    service._p_jar.cacheMinimize()
    assert {service.jobs[jobid].position[0] for jobid in ids} == {'error'}
    service.clean(['error'])
    assert not service.jobs
