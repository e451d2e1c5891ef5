"""Slips of the original: a typo, an identity, a missing argument."""

import io
import pickletools

import BTrees
import pytest
import transaction
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import IProcessor
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import TaskError


class Service64(TaskService):
    """Stored with the tests, so it has to be found by its name."""

    family = BTrees.family64


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


def test_echotask_lacked_the_jobid_argument(service, register, drain):
    verifyClass(ITask, EchoTask)
    verifyObject(ITask, EchoTask())
    assert EchoTask()(None, 1, 'input') == 'input'
    register(EchoTask(), 'original echo')
    jobid = service.add('original echo', {'a': 1})
    transaction.commit()
    assert drain() == 1
    assert service.getResult(jobid) == {'a': 1}


@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
def test_simpleprocessor_did_not_verify_against_iprocessor(
        factory, application):
    verifyClass(IProcessor, factory)
    processor = factory(application.db, ['tasks'])
    verifyObject(IProcessor, processor)
    # Outside of a thread of ours it did not answer at all.
    assert processor.running is False


def test_family_iob_tree_typo(application, wait_for):
    """A family64 service starts, and its ids use the room."""
    service = application.service(factory=Service64)
    service._v_nextid = 2**40
    jobid = service.add('echo', 'x')
    assert jobid == 2**40
    transaction.commit()
    service.startProcessing()
    wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    assert service.getResult(jobid) == 'x'


def test_status_is_not_cancelled_by_identity(
        clock, application, service, drain):
    """In another connection the status is an equal string, not the same."""
    ids = [service.addCronJob('echo', delay=5), service.add('echo')]
    transaction.commit()
    for jobid in ids:
        service.cancel(jobid)
    for job in service.jobs.values():
        job.status = ''.join(['can', 'celled'])
    transaction.commit()
    application.connection.cacheMinimize()
    clock.advance(10)
    assert service.hasJobsWaiting() is False
    assert drain() == 0
    assert {service.getStatus(i) for i in ids} == {'cancelled'}
    # Nor was it scheduled: with an impossible date that poisoned.
    assert service.jobs[ids[0]].scheduledFor is None


@pytest.mark.parametrize('factory', [TaskService, Service64])
def test_generateid_ran_past_maxint(application, factory):
    service = application.service(factory=factory)
    maxint = service.family.maxint
    service._v_nextid = maxint
    ids = [service.add('echo', n) for n in range(3)]
    assert ids[0] == maxint
    assert all(0 <= jobid <= maxint for jobid in ids)
    assert len(set(ids)) == 3
    transaction.commit()
    service.process()
    assert {service.getStatus(i) for i in ids} == {'completed'}


@pytest.mark.parametrize('wrong', ['queued', 'cronjob', 'nonsense'])
def test_clean_could_stop_half_way(service, wrong):
    done = service.add('echo')
    service.process()
    waiting = service.add('echo')
    with pytest.raises(ValueError, match=wrong):
        service.clean(['completed', wrong])
    assert set(service.jobs) == {done, waiting}
    # Also where no job has such a status: the call is wrong all the same.
    service.cancel(waiting)
    with pytest.raises(ValueError, match=wrong):
        service.clean(status=[wrong])
    service.clean()
    assert list(service.jobs) == []


class LiveError(TaskError):
    """Found by pickle, so that only our own rule keeps it out."""


def classes_of(record):
    """The names of the classes that a record refers to."""
    # A record is two pickles: its class, and its state.
    pickles = io.BytesIO(record)
    return {argument for _ in range(2)
            for opcode, argument, _ in pickletools.genops(pickles)
            if opcode.name == 'GLOBAL'}


@pytest.mark.parametrize('direct', [True, False])
def test_live_exception_objects_were_pickled_into_the_database(
        direct, application, service, register, drain):
    @register
    def fails(input):
        raise LiveError('the reason')

    jobid = service.add('fails')
    transaction.commit()
    if direct:
        service.process()
        transaction.commit()
    else:
        assert drain() == 1
    job = service.jobs[jobid]
    assert str(job.error) == service.getError(jobid) == 'the reason'
    assert not isinstance(job.error, BaseException)
    assert 'LiveError' in job.error.type
    assert 'the reason' in job.error.traceback
    record = application.db.storage.load(job._p_oid)[0]
    classes = classes_of(record)
    assert [name for name in classes if name.endswith(' Job')]
    assert not [name for name in classes if name.endswith('Error')]


def test_an_exception_assigned_from_outside_is_stored_as_text(
        application, service):
    job = service.jobs[service.add('echo')]
    job.error = LiveError('by hand')
    transaction.commit()
    application.connection.cacheMinimize()
    assert not isinstance(job.error, BaseException)
    assert str(job.error) == 'by hand'
