"""Workers of two releases, as real processes, settle the code's schedules."""

import json
import re
import signal
import threading
import time

import pytest
from worker_process import DEADLINE

SOON = {'LOVELY_REMOTETASK_GONE_SECONDS': '0.5'}

RELEASE = '''
from lovely.remotetask.task import task


@task({options})
def report():
    return 'done'
'''


@pytest.fixture
def release(worker, zeo, directory, environ, monkeypatch):
    """``release(module, options)``: a worker that runs it, ready."""
    for name, value in SOON.items():
        monkeypatch.setitem(environ, name, value)

    def release(module, options):
        (directory / f'{module}.py').write_text(
            RELEASE.format(options=options))
        return worker('--db', zeo.uri, '--tasks', module,
                      '--log-level', 'INFO').ready()

    return release


@pytest.fixture
def schedules(remotetask, zeo):
    def schedules():
        done = remotetask('cron', 'list', '--json', '--db', zeo.uri)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)['schedules']

    return schedules


def until(condition):
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline
        pause.wait(0.1)


def cron_of(schedules):
    return [(one['plan'].get('cron'), one['enabled'])
            for one in schedules() if one['declared']]


OLD, NEW = "cron='30 2 * * *'", "cron='0 12 * * *', timezone='Europe/Vienna'"


def test_a_rolling_deploy_and_a_crash_of_the_old_release(
        producer, release, schedules, remotetask, zeo):
    old = release('first', OLD)
    until(lambda: cron_of(schedules) == [('30 2 * * *', True)])
    table = remotetask('cron', 'list', '--db', zeo.uri).stdout
    assert re.search(r'report +code +cron=', table), table
    new = release('second', NEW)
    until(lambda: cron_of(schedules) == [('0 12 * * *', True)])
    new.wait_for('schedule code:report of the code was changed')
    # Killed, and started once more, as a supervisor does.
    old.stop(signal.SIGKILL)
    old = release('first', OLD)
    old.wait_for('stays as a worker of another release declares it')
    assert cron_of(schedules) == [('0 12 * * *', True)]
    # A rollback: the last worker of the new release is gone.
    assert new.stop() == 0
    until(lambda: cron_of(schedules) == [('30 2 * * *', True)])
    assert len(schedules()) == 1
    assert old.stop() == 0


def test_a_task_that_is_gone_and_comes_back(
        producer, release, schedules, worker, zeo, remotetask):
    first = release('first', OLD)
    until(lambda: cron_of(schedules) == [('30 2 * * *', True)])
    assert first.stop() == 0
    second = worker('--db', zeo.uri, '--tasks', 'thetasks',
                    '--log-level', 'INFO').ready()
    until(lambda: cron_of(schedules) == [('30 2 * * *', False)])
    second.wait_for('is no longer declared')
    one, = schedules()
    shown = remotetask('cron', 'show', one['id'], '--db', zeo.uri).stdout
    assert 'paused: no longer declared by the code' in shown
    assert second.stop() == 0
    release('first', OLD)
    until(lambda: cron_of(schedules) == [('30 2 * * *', True)])
