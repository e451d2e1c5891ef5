"""A command whose job is cancelled ends soon, with all that it started."""

import os
import sys
import threading
import time

import pytest
import transaction

from lovely.remotetask.commands import CommandTask
from lovely.remotetask.errors import JobTimeout
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask

DEADLINE = 20

#: It does not listen to SIGTERM, and has started another process.
STUBBORN = '''
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
with open(sys.argv[1], 'a') as pids:
    pids.write(f'{os.getpid()}\\n')
time.sleep(60)
'''


def until(look):
    end = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not (found := look()):
        assert time.monotonic() < end
        pause.wait(0.02)
    return found


def lives(pid):
    try:
        with open(f'/proc/{pid}/stat') as stat:
            return stat.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='needs /proc')
@pytest.mark.parametrize('factory', [SimpleProcessor, MultiProcessor])
def test_a_cancelled_command_ends_within_two_seconds(
        service, register, tmp_path, factory, log):
    pids = tmp_path / 'pids'
    register(CommandTask([sys.executable, '-c', STUBBORN, str(pids)],
                         grace=30), 'command')
    service.processorFactory = factory
    jobid = service.add('command')
    transaction.commit()
    service.startProcessing()
    both = until(lambda: pids.exists() and (
        found := pids.read_text().split()) and len(found) == 2 and found)
    transaction.begin()
    service.cancel(jobid)
    transaction.commit()
    began = time.monotonic()
    until(lambda: not any(map(lives, both)))
    assert time.monotonic() - began < 2.5
    service.stopProcessing(wait=None)
    transaction.begin()
    assert service.getStatus(jobid) == 'cancelled'


@pytest.mark.parametrize(('options', 'attempts'), [
    ({}, 1), ({'retry': RetryPolicy(2, base=0)}, 3)])
def test_a_run_that_took_too_long_is_final_unless_its_policy_says_otherwise(
        application, service, register, options, attempts):
    def work(input):
        raise JobTimeout

    register(FunctionTask(work, **options), 'work')
    jobid = service.add('work')
    transaction.commit()
    processor = SimpleProcessor(application.db, ['tasks'])
    while processor.processNext():
        pass
    transaction.begin()
    job = service.jobs[jobid]
    assert (job.status, job.attempts) == ('error', attempts)
