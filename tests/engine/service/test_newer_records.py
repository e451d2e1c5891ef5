"""What a newer release has written is left alone, with one clear message."""

import pickle

import pytest
import transaction

from lovely.remotetask import bulk
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.job import Job
from lovely.remotetask.store.queue import JobQueue


@pytest.fixture
def newer(monkeypatch):
    """Lets jobs with the input 'newer' be stored in a newer form."""
    getstate = Job.__getstate__

    def written(job):
        state = getstate(job)
        if job.input != 'newer':
            return state
        _, *values = pickle.loads(state[''])
        return {'': pickle.dumps((2, *values))}

    monkeypatch.setattr(Job, '__getstate__', written)


def test_a_job_says_what_is_to_be_done(application, service, register, newer):
    register(lambda input: input, 'echo')
    jobid = service.add('echo', 'newer')
    transaction.commit()
    service.jobs[jobid]._p_invalidate()
    with pytest.raises(Exception) as raised:
        service.getStatus(jobid)
    # Later ZODBs than 6.0 wrap it.
    reason = raised.value.__cause__ or raised.value
    assert isinstance(reason, NewerRecord)
    assert f'job {jobid} (form 2, this one knows 1): upgrade' in str(reason)


def test_others_run_and_it_stays(application, service, register, newer):
    register(lambda input: input, 'echo')
    jobid = service.add('echo', 'newer')
    others = [service.add('echo', number) for number in range(3)]
    transaction.commit()
    service.jobs[jobid]._p_invalidate()
    service.process()
    transaction.commit()
    assert [service.getStatus(other) for other in others] == ['completed'] * 3
    assert [found for _, found in service.jobqueue.ready.entries()] == [jobid]


@pytest.mark.parametrize('place', ['due', 'later', 'completed', 'cancelled'])
def test_it_stays_wherever_it_stands(application, service, register, newer,
                                     place, log):
    register(lambda input: input, 'echo')
    jobid = service.add('echo', 'newer', startLater=place == 'later',
                        delay=0.001 if place == 'due' else None)
    if place == 'completed':
        service.process()
    elif place == 'cancelled':
        service.cancel(jobid)
    transaction.commit()
    before = service.jobqueue.counts()
    service.jobs[jobid]._p_invalidate()
    other = service.add('echo')
    service.process()
    assert service.getStatus(other) == 'completed'
    shown = service.listJobs()[0]
    assert {(job.id, job.status) for job in shown} == {
        (jobid, 'unknown'), (other, 'completed')}
    service.clean()
    with pytest.raises(NewerRecord):
        service.cancel(jobid)
    bulk.cancel(application.db, ['tasks'], service.host, 'delayed')
    transaction.commit()
    assert list(service.jobs) == [jobid]
    assert service.jobqueue.counts() == before
    assert log == []


def test_a_service_says_what_is_to_be_done(service):
    state = service.jobqueue.__getstate__()
    state['form'] = JobQueue.FORM + 1
    with pytest.raises(NewerRecord, match='service .*upgrade before you open'):
        JobQueue.__new__(JobQueue).__setstate__(state)


def test_values_of_a_newer_release_go_back_as_they_came():
    job = Job(1, 'echo', {'a': 1})
    _, *values = pickle.loads(job.__getstate__()[''])
    values += [None] * (21 - len(values)) + ['new', {'more': 1}]
    read = Job.__new__(Job)
    read.__setstate__({'': pickle.dumps((1, *values))})
    assert read.input == {'a': 1}
    read.put(attempts=1)
    _, *again = pickle.loads(read.__getstate__()[''])
    assert again[21:] == ['new', {'more': 1}]
