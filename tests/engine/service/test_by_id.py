"""A job is run by its id only where it is ready; a person may force it.

``processNext(jobid=...)`` took the job of a worker that ran it, so that it ran
twice, and ran what waited for another attempt or stood in a paused queue.
"""

import pytest
import transaction

from lovely.remotetask.errors import RetryLater
from lovely.remotetask.processor import SimpleProcessor


@pytest.fixture
def runs(register):
    runs = []

    @register
    def note(input):
        runs.append(input)

    @register
    def later(input):
        runs.append(input)
        if len(runs) == 1:
            raise RetryLater(3600)

    return runs


@pytest.fixture(params=['direct', 'processor'])
def run(request, application, service):
    """Runs a job by its id, directly or by a processor."""
    def run(*arguments, **options):
        if request.param == 'direct':
            found = service.processNext(None, *arguments, **options)
        else:
            transaction.commit()
            found = SimpleProcessor(
                application.db, ['tasks']).processNext(*arguments, **options)
        transaction.commit()
        return found

    return run


def test_what_a_worker_runs_is_not_run_beside_it(
        application, service, runs, run):
    jobid = service.add('note', 1)
    transaction.commit()
    processor = SimpleProcessor(application.db, ['tasks'])
    assert processor.claimNextJob() == jobid
    transaction.begin()
    claim = service.jobs[jobid].claim
    assert run(jobid) is False and run(jobid, force=True) is False
    transaction.begin()
    assert service.jobs[jobid].claim == claim and runs == []
    assert processor.processNext(jobid) is True
    assert runs == [1]


def test_what_waits_for_another_attempt_runs_only_by_force(
        service, runs, run):
    jobid = service.add('later', 1)
    transaction.commit()
    service.process()
    transaction.commit()
    assert service.jobs[jobid].position[0] == 'waiting' and runs == [1]
    assert run(jobid) is False and runs == [1]
    assert run(jobid, force=True) is True and runs == [1, 1]
    assert service.getStatus(jobid) == 'completed'


def test_what_is_due_is_ready(service, runs, run):
    jobid = service.add('note', 1, delay=0.0)
    transaction.commit()
    assert run(jobid) is True and runs == [1]


@pytest.mark.parametrize('options', [{'startLater': True}, {'delay': 3600}],
                         ids=str)
def test_what_waits_for_its_start_runs_only_by_force(
        service, runs, run, options):
    jobid = service.add('note', 1, **options)
    transaction.commit()
    assert run(jobid) is False and runs == []
    assert run(jobid, force=True) is True and runs == [1]
    assert service.getStatus(jobid) == 'completed'
    # What is over runs no more.
    assert run(jobid, force=True) is False
    assert service.hasJobsWaiting(9_999_999_999) is False


def test_a_cron_job_that_is_forced_keeps_its_schedule(service, runs, run):
    jobid = service.addCronJob('note', 1, minute=(0,))
    transaction.commit()
    due = service.jobs[jobid].due_at()
    assert run(jobid) is False and runs == []
    assert run(jobid, force=True) is True and runs == [1]
    assert service.getStatus(jobid) == 'cronjob'
    assert service.jobs[jobid].due_at() == due


def test_a_paused_queue_runs_nothing_but_by_force(service, runs, run):
    jobid = service.add('note', 1)
    service.pause()
    transaction.commit()
    assert run() is False and run(jobid) is False
    assert service.process() is None and service.claimNextJob() is None
    assert runs == []
    assert run(jobid, force=True) is True and runs == [1]


def test_what_fails_by_force_is_an_error_as_elsewhere(service, register):
    @register
    def fail(input):
        raise ValueError('no')

    for options in ({'startLater': True}, {'delay': 3600}, {}):
        jobid = service.add('fail', **options)
        transaction.commit()
        assert service.processNext(jobid=jobid, force=True) is True
        transaction.commit()
        assert service.getStatus(jobid) == 'error'


def test_what_was_claimed_here_runs_in_any_way(service, runs, run):
    jobid = service.add('note', 1)
    transaction.commit()
    assert service.claimNextJob() == jobid
    transaction.commit()
    assert run(jobid) is True and runs == [1]
