"""A service is renamed while a job runs; a worker goes without a word."""

import gc
import threading

import pytest
import transaction
from zope.site.folder import Folder

from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run import monitor
from lovely.remotetask.task import FunctionTask

DEADLINE = 20


@pytest.mark.parametrize('ending', ['well', 'badly'])
def test_a_job_that_runs_meanwhile_is_queued_again_or_ends(
        application, register, wait_for, ending):
    """It would be ``processing`` until the process ends."""
    began, moved = threading.Event(), threading.Event()

    def work(service, jobid, input):
        began.set()
        assert moved.wait(DEADLINE)
        if ending == 'badly':
            raise ValueError('no')

    register(FunctionTask(work, retry=RetryPolicy(retries=0)), 'work')
    folder = application.root['folder'] = Folder()
    service = application.service(parent=folder)
    jobid = service.add('work')
    transaction.commit()
    service.startProcessing()
    thread, = (thread for thread in threading.enumerate()
               if thread.name == 'remotetasks.folder.tasks')
    assert began.wait(DEADLINE)
    transaction.begin()
    del application.root['folder']
    application.root['renamed'] = folder
    transaction.commit()
    moved.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    status = 'completed' if ending == 'well' else 'queued'
    wait_for(service, jobid, status)
    transaction.begin()
    # Nothing of the worker is left, and nothing was charged.
    assert service.listWorkers() == []
    job = service.jobs[jobid]
    assert (job.failures, job.interruptions) == (0, 0)
    service.startProcessing()
    wait_for(service, jobid, 'completed' if ending == 'well' else 'error')
    service.stopProcessing(wait=DEADLINE)


def test_what_a_worker_has_claimed_that_is_gone_from_this_process(
        application, service, register):
    """Its process lives, and with it all that it has announced."""
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    transaction.commit()
    gone = SimpleProcessor(application.db, ['tasks'])
    here = SimpleProcessor(application.db, ['tasks'])
    assert gone.claimNextJob() == jobid
    # While it is there it may run the job, however long that takes.
    monitor.watch(here.worker)
    transaction.begin()
    assert service.getStatus(jobid) == 'processing'
    del gone
    gc.collect()
    monitor.watch(here.worker)
    monitor.unwatch(here.worker)
    monitor.unwatch(here.worker)
    transaction.begin()
    assert service.getStatus(jobid) == 'queued'
    assert service.jobs[jobid].interruptions == 0
    assert here.processNext()
