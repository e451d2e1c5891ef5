"""`remotetask check` as the supervisor of a worker runs it."""

import json
import signal
import socket
import threading
import time

import pytest
from worker_process import DEADLINE

HERE = socket.gethostname()


@pytest.fixture
def check(remotetask, zeo):
    """``check(*options)``: what it exits with and prints."""
    def check(*options):
        run = remotetask('check', '--db', zeo.uri, *options)
        assert run.stderr == ''
        return run.returncode, run.stdout

    return check


WELL = (0, 'nothing is wrong\n')


def test_a_worker_that_is_killed(worker, zeo, producer, check, remotetask):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks').ready()
    pid = process.process.pid
    for options in (('--pid', pid), ('--host', HERE),
                    ('--pid', pid, '--host', HERE, '--oldest', 300)):
        assert check(*options) == WELL, options
    assert check('--host', 'elsewhere') == (
        1, 'no worker lives on elsewhere\n')
    assert check('--pid', 1) == (
        1, f'no worker with the process id 1 lives on {HERE}\n')
    process.send(signal.SIGKILL)
    process.process.wait(DEADLINE)
    # Its lock went with it; its record stays until another worker looks.
    code, text = check('--pid', pid)
    assert code == 1 and text.startswith(
        f'no worker with the process id {pid} lives on {HERE}; the last sign '
        f'of one was at '), text
    assert ' stale ' in remotetask('workers', '--db', zeo.uri).stdout


def test_a_job_that_waits(producer, check):
    assert check('--oldest', 0) == WELL
    with producer.service() as service:
        service.add('note')
    pause, deadline = threading.Event(), time.monotonic() + DEADLINE
    while check('--oldest', 0.2) == WELL:
        assert time.monotonic() < deadline
        pause.wait(0.05)
    code, text = check('--oldest', 0.2, '--json')
    assert code == 1
    [problem] = json.loads(text)['problems']
    assert problem.startswith('the oldest job has waited ')
    assert check('--oldest', 3600) == WELL


def test_either_to_repair_or_to_answer(remotetask, zeo, producer):
    run = remotetask('check', '--db', zeo.uri, '--pid', 1, '--repair')
    assert run.returncode == 2
    assert '--repair excludes --pid' in run.stderr
