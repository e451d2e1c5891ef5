"""A database that is closed gives back all that was opened for it."""

import gc
import os
import threading
import time

import pytest

from lovely.remotetask.peers import liveness
from lovely.remotetask.run import monitor

DEADLINE = 20

#: How often an application opens its database and closes it.
TIMES = 4


@pytest.fixture
def no_collector():
    """What comes back only by the collector comes back late, or never."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def used(world, database):
    """Run a job in a thread of this process, and look for dead workers."""
    thread = world.start(database)
    jobid = world.do(lambda service: service.add('echo'), database)
    # Another client of ZEO may see the job a moment later.
    world.until(lambda service: jobid in service.jobs
                and service.getStatus(jobid) == 'completed')
    world.stop()
    thread.processor = None


def added(world, database):
    """Add a job, as a process does that runs none."""
    world.do(lambda service: service.cancel(service.add('echo')), database)


@pytest.fixture
def open_and_close(world, register, tmp_path):
    register(lambda input: input, 'echo')

    def open_and_close(use):
        database = world._opener()
        liveness.for_database(database, directory=str(tmp_path / 'locks'))
        use(world, database)
        database.close()

    return open_and_close


def until_back(before, look):
    """Wait until there is as much as before: a thread ends a moment after
    its work, and a session of the server after its client."""
    deadline = time.monotonic() + DEADLINE
    pause = threading.Event()
    while (now := look()) != before and time.monotonic() < deadline:
        pause.wait(0.05)
    assert now == before


def held():
    """What this process has open, and which of our threads run."""
    return (len(os.listdir('/proc/self/fd')), len(monitor._monitors),
            [thread.name for thread in threading.enumerate()
             if thread.name.startswith('remotetask')])


@pytest.mark.parametrize('use', [used, added])
def test_every_session_comes_back(pg, open_and_close, no_collector, use):
    def sessions():
        return pg.ask('SELECT application_name FROM pg_stat_activity'
                      f" WHERE datname = '{pg.name}'")

    before = sessions()
    for _ in range(TIMES):
        open_and_close(use)
    until_back(before, sessions)


@pytest.mark.parametrize('use', [used, added])
def test_every_file_and_thread_comes_back(
        shared, open_and_close, no_collector, use):
    open_and_close(use)         # what is opened once per process
    before = len(os.listdir('/proc/self/fd')), 0, []
    for _ in range(TIMES):
        open_and_close(use)
    until_back(before, held)


def test_a_processor_stops_whose_database_is_closed(shared, register, log):
    """Without this it would try for ever, and keep the database."""
    register(lambda input: input, 'echo')
    database = shared.other()
    thread = shared.start(database)
    assert shared.until_over(shared.add('echo')) == ['completed']
    database.close()
    # It has ended its jobs, or given them back, before that.
    assert shared.see(lambda service: service.listWorkers()) == []
    thread.join(DEADLINE)
    assert not thread.is_alive()
