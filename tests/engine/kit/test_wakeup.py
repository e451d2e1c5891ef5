"""Idle processors are notified of new work, from every process.

An hour lies between two looks here, so that a job without a notification is
not run.
"""

import gc
import inspect
import os
import threading
import time
import types
import weakref

import pytest
import ZEO
import ZODB.mvccadapter
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask import TaskService
from lovely.remotetask import context
from lovely.remotetask import settings
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.peers import wakeup
from lovely.remotetask.peers.wakeup import WAIT_FLOOR
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import executor
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.settings import SAFETY_SECONDS

NEVER = 3600.0

DEADLINE = 30


class Resting:
    """Mixed into a processor: tells how long it is about to rest."""

    def __init__(self, *args, **kw):
        self.rests = []
        self.rested = threading.Condition()
        super().__init__(*args, **kw)

    def _rest(self):
        rest = super()._rest()
        with self.rested:
            self.rests.append(rest)
            self.rested.notify_all()
        return rest

    def until(self, rest):
        """Wait until it is about to rest for so long."""
        with self.rested:
            assert self.rested.wait_for(lambda: rest in self.rests, DEADLINE
                                        ), self.rests
            self.rests.clear()


class Simple(Resting, SimpleProcessor):
    pass


class Multi(Resting, MultiProcessor):
    pass


@pytest.fixture
def echo(register):
    return register(lambda input: input, 'echo')


@pytest.fixture
def idle(world, echo):
    """``idle(factory, database)``: a processor that has found nothing."""
    def idle(factory=Simple, database=None, waitTime=NEVER):
        thread = world.start(database or world.other(), factory=factory,
                             waitTime=waitTime)
        thread.processor.until(max(waitTime, SAFETY_SECONDS))
        return thread.processor

    return idle


@pytest.mark.parametrize('factory', [Simple, Multi])
def test_an_idle_processor_runs_a_new_job_at_once(world, idle, factory):
    processor = idle(factory)
    for _ in range(10):
        jobid = world.add('echo')
        assert world.until_over(jobid) == ['completed']
        processor.until(NEVER)


def later(service):
    return service.add('echo', startLater=True)


@pytest.mark.parametrize('before, ready', [
    (later, lambda service, jobid: service.startJob(jobid)),
    (later, lambda service, jobid: (
        service.cancel(jobid), service.retryJob(jobid))),
    (lambda service: (service.pause(), service.add('echo'))[1],
     lambda service, jobid: service.resume()),
], ids=['startJob', 'retryJob', 'resume'])
def test_each_way_to_make_a_job_ready_notifies(world, echo, before, ready):
    jobid = world.do(before)
    thread = world.start(world.other(), factory=Simple, waitTime=NEVER)
    thread.processor.until(NEVER)
    world.do(lambda service: ready(service, jobid))
    assert world.until_over(jobid) == ['completed']


@pytest.mark.parametrize('factory', [Simple, Multi])
def test_scheduled_jobs_start_in_time(world, idle, factory):
    """Also those that others schedule while the processor sleeps."""
    processor = idle(factory)
    began = time.time()
    jobs = [world.add('echo', delay=delay) for delay in (0.6, 0.3)]
    assert world.until_over(*jobs) == ['completed'] * 2
    started = world.see(lambda service: [
        service.jobs[jobid].startedAt.timestamp() for jobid in jobs])
    # A busy machine is late; the next look would come in an hour.
    assert began + 0.6 <= started[0] < began + DEADLINE
    assert began + 0.3 <= started[1] < started[0]
    processor.until(NEVER)


def test_a_processor_that_starts_sleeps_until_a_job_is_due(world, echo):
    jobid = world.add('echo', delay=0.3)
    world.start(world.other(), factory=Simple, waitTime=NEVER)
    assert world.until_over(jobid) == ['completed']


def test_a_paused_queue_is_no_reason_to_look(world, echo):
    world.do(lambda service: service.pause())
    world.add('echo')
    jobid = world.add('echo', delay=0)
    thread = world.start(world.other(), factory=Simple, waitTime=NEVER)
    thread.processor.until(NEVER)
    world.do(lambda service: service.resume())
    assert world.until_over(jobid) == ['completed']


def test_a_retry_is_run_by_whoever_is_free(shared, register, idle):
    """The worker that put it off does not come back for it."""
    @register
    def again(input):
        if context.currentJob().attempt == 1:
            raise RetryLater(1)

    jobid = shared.add('again')
    gone = shared.processor()
    assert gone.claimNextJob() == jobid
    processor = idle()
    assert gone.processNext(jobid)
    assert shared.until_over(jobid) == ['completed']
    assert shared.see(lambda service: service.jobs[jobid].attempts) == 2
    processor.until(NEVER)


def test_what_direct_processing_put_off_is_notified(shared, register, idle):
    first = threading.Event()

    @register
    def again(input):
        if not first.is_set():
            first.set()
            raise RetryLater(1)

    jobid = shared.add('again')
    # Or else the idle one would take it.
    assert shared.do(lambda service: service.claimNextJob()) == jobid
    processor = idle()
    shared.do(lambda service: service.processNext(jobid=jobid))
    assert shared.until_over(jobid) == ['completed']
    assert shared.see(lambda service: service.jobs[jobid].attempts) == 3
    processor.until(NEVER)


def test_a_job_that_was_given_back_is_notified(shared, register, idle):
    jobid = shared.add('echo')
    gone = shared.processor()
    assert gone.claimNextJob() == jobid
    processor = idle()
    gone.worker.give_back(gone._claims.pop(jobid))
    assert shared.until_over(jobid) == ['completed']
    processor.until(NEVER)


def test_only_the_safety_looks_are_left(world, idle):
    processor = idle(waitTime=0.2)
    world.add('echo')
    # Once by waitTime, for what could be seen only a moment later.
    processor.until(0.2)
    processor.until(SAFETY_SECONDS)


def test_how_often_it_looks_may_be_changed(world, echo, monkeypatch):
    monkeypatch.setattr(settings, 'SAFETY_SECONDS', 7.0)
    processor = world.start(world.other(), factory=Simple,
                            waitTime=0.2).processor
    processor.until(7.0)


def test_processors_of_another_service_sleep_on(world, idle):
    processor = idle()
    looks = []
    claim = processor.worker.executor.write
    processor.worker.executor.write = lambda function, *note, **more: (
        looks.append(function), claim(function, *note, **more))[1]

    def other(connection):
        folder = connection.root()[world.path[0]]
        service = folder['others'] = type(folder['tasks'])()
        service.__parent__, service.__name__ = folder, 'others'

    executor.db.write(world.db, other)
    executor.db.write(world.db, lambda connection: connection.root()[
        world.path[0]]['others'].add('echo'))
    jobid = world.add('echo')
    assert world.until_over(jobid) == ['completed']
    processor.until(NEVER)
    # The job, and the look that found no more.
    assert len(looks) <= 3, looks


def test_nothing_of_a_processor_stays(world, idle):
    processor = idle()
    channel = wakeup._channel(processor.db)
    assert channel.wake_events
    gone = weakref.ref(processor)
    world.stop()
    del processor
    gc.collect()
    assert gone() is None
    assert not channel.wake_events
    world.add('echo')


# --- what breaks -------------------------------------------------------------

def warnings(log):
    return [line for line in log if line.startswith('WARNING')]


class InOrder(list):
    """Stands for ZODB's set of connections, with an order."""

    add = list.append


class Slow:
    """A connection that takes its time to be told."""

    def __init__(self, until):
        self.until = until
        self.waited = []

    def _invalidate(self, tid, oids):
        self.waited.append(self.until.wait(0.5))

    _invalidateCache = release = lambda *arguments: None


def test_a_notification_may_come_before_the_invalidations(zeo, idle):
    processor = idle()
    adapter = processor.db._mvcc_storage
    hooks = [one for one in adapter._instances
             if isinstance(one, wakeup.invalidations._Hook)]
    looked = threading.Event()
    slow = Slow(looked)
    work = processor._work

    def told_work():
        looked.set()
        return work()

    with adapter._lock:
        adapter._instances = InOrder(
            [*hooks, slow, *(adapter._instances - set(hooks))])
    processor._work = told_work
    jobid = zeo.add('echo')
    assert zeo.until_over(jobid) == ['completed']
    # It did not look before all had been told.
    assert slow.waited[0] is False


def test_what_an_add_wrote_comes_at_once(zeo, idle):
    """And what many adds wrote does not."""
    processor = idle()
    storage, asked = processor.db.storage, []
    prefetch = storage.prefetch
    storage.prefetch = lambda oids, tid: (
        asked.append(set(oids)), prefetch(oids, tid))
    jobid = zeo.add('echo')
    assert zeo.until_over(jobid) == ['completed']
    processor.until(NEVER)
    job = zeo.see(lambda service: service.jobs[jobid]._p_oid)
    assert job in asked[0]
    asked.clear()
    jobs = zeo.do(lambda service: [service.add('echo') for _ in range(50)])
    assert zeo.until_over(*jobs) == ['completed'] * 50
    # Nor at once, but for the jobs of the page that a thread is to run.
    planned = zeo.see(lambda service: {
        service.jobs[jobid]._p_oid for jobid in jobs})
    assert not any(len(oids - planned) > 8 for oids in asked)


def test_a_server_that_was_away(components, echo, tmp_path, log):
    """What was made ready meanwhile is found once it is back."""
    def serve(port=0):
        # A process: a server in a thread leaves its connections open.
        return ZEO.server(str(tmp_path / 'away.fs'), port=port)

    (host, port), stop = serve()
    database, other = ZEO.DB((host, port)), None
    with database.transaction() as connection:
        folder = connection.root()['Application'] = PersistentMapping()
        service = folder['tasks'] = TaskService()
        service.__parent__, service.__name__ = folder, 'tasks'
        jobid = service.add('echo', startLater=True)
    processor = Simple(database, ['Application', 'tasks'], waitTime=NEVER)
    thread = threading.Thread(target=processor, daemon=True)
    thread.running = True
    thread.start()
    try:
        processor.until(NEVER)
        stop()
        # On the file itself: nobody is told.  No new object, whose oid the
        # client might have got from the server before.
        direct = DB(FileStorage(str(tmp_path / 'away.fs')))
        with direct.transaction() as connection:
            connection.root()['Application']['tasks'].startJob(jobid)
        direct.close()
        (host, port), stop = serve(port)
        other = ZEO.DB((host, port))
        deadline, pause = time.monotonic() + DEADLINE, threading.Event()
        while executor.db.read(other, lambda connection: connection.root()[
                'Application']['tasks'].getStatus(jobid)) != 'completed':
            assert time.monotonic() < deadline, log
            pause.wait(0.05)
    finally:
        tell_to_stop(thread)
        thread.join(DEADLINE)
        database.close()
        if other is not None:
            other.close()
        stop()


def test_a_zodb_that_keeps_its_connections_elsewhere(
        zeo, echo, log, monkeypatch):
    """One warning, and looks every waitTime."""
    source = inspect.getsource(ZODB.mvccadapter).replace(
        '_instances', '_clients')
    changed = types.ModuleType('ZODB.mvccadapter')
    changed.__package__ = 'ZODB'
    exec(source, vars(changed))
    monkeypatch.setattr(ZODB.mvccadapter, 'MVCCAdapter',
                        changed.MVCCAdapter)
    thread = zeo.start(zeo.other(), factory=Simple, waitTime=WAIT_FLOOR)
    jobs = []
    for _ in range(3):
        thread.processor.until(WAIT_FLOOR)
        jobs.append(zeo.add('echo'))
    assert zeo.until_over(*jobs) == ['completed'] * 3
    thread.processor.until(WAIT_FLOOR)
    line, = warnings(log)
    assert line.startswith('WARNING no wake-up by other processes: MVCCAdapter'
                           ' does not tell'), line
    assert 'look every waitTime seconds from now on' in line


def test_a_zodb_that_tells_in_another_way(zeo, echo, log, monkeypatch):
    source = inspect.getsource(ZODB.mvccadapter).replace(
        '._invalidate(', '._changed(').replace(
        'def _invalidate(', 'def _changed(')
    changed = types.ModuleType('ZODB.mvccadapter')
    changed.__package__ = 'ZODB'
    exec(source, vars(changed))
    monkeypatch.setattr(ZODB.mvccadapter, 'MVCCAdapter',
                        changed.MVCCAdapter)
    monkeypatch.setattr(wakeup.invalidations._Hook, '_changed',
                        lambda *arguments: None, raising=False)
    thread = zeo.start(zeo.other(), factory=Simple, waitTime=WAIT_FLOOR)
    thread.processor.until(WAIT_FLOOR)
    jobid = zeo.add('echo')
    assert zeo.until_over(jobid) == ['completed']
    line, = warnings(log)
    assert 'this ZODB tells no invalidations' in line


LISTENERS = ("SELECT pid FROM pg_stat_activity WHERE datname = '{}' AND"
             " application_name = 'remotetask wake-up'"
             " AND query LIKE 'LISTEN%'")


def terminate(pg):
    """Kill the connections that listen; how many."""
    return len(pg.ask(LISTENERS.replace(
        'pid', 'pg_terminate_backend(pid)', 1).format(pg.name)))


def test_a_listening_connection_that_is_killed_comes_back(pg, idle, log):
    processor = idle(waitTime=1.0)
    assert terminate(pg) == 1
    line, = pg.until(lambda service: warnings(log))
    assert line.startswith('WARNING no wake-up by other processes: '), line
    processor.until(SAFETY_SECONDS)
    jobid = pg.add('echo')
    assert pg.until_over(jobid) == ['completed']
    # And once more, once more said.
    assert terminate(pg) == 1
    pg.until(lambda service: len(warnings(log)) == 2)
    processor.until(SAFETY_SECONDS)


def test_a_channel_that_stays_broken(pg, idle, log):
    """One warning on each side; the job is found by polling."""
    processor = idle(waitTime=WAIT_FLOOR)
    # A connection to send by is there, and will be lost.
    pg.until_over(pg.add('echo'))
    processor.until(SAFETY_SECONDS)
    pg.ask(f'ALTER DATABASE {pg.name} ALLOW_CONNECTIONS false')
    try:
        pg.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
               f" WHERE datname = '{pg.name}'"
               " AND application_name = 'remotetask wake-up'")
        pg.until(lambda service: warnings(log))
        jobs = [pg.add('echo') for _ in range(5)]
        assert pg.until_over(*jobs) == ['completed'] * 5
    finally:
        pg.ask(f'ALTER DATABASE {pg.name} ALLOW_CONNECTIONS true')
    lines = warnings(log)
    assert len([line for line in lines if 'no wake-up by' in line]) == 1
    assert len([line for line in lines if 'cannot be woken' in line]) == 1
    assert len(lines) == 2, lines
    processor.until(SAFETY_SECONDS)


def test_what_was_added_while_nobody_listened_is_found(pg, idle, log):
    processor = idle()
    channel = wakeup._channel(processor.db)
    pg.ask(f'ALTER DATABASE {pg.name} ALLOW_CONNECTIONS false')
    assert terminate(pg) == 1
    pg.until(lambda service: not channel.works)
    processor.until(NEVER)
    # Nobody listens now, and waitTime is an hour.
    jobid = pg.add('echo')
    pg.ask(f'ALTER DATABASE {pg.name} ALLOW_CONNECTIONS true')
    assert pg.until_over(jobid) == ['completed']


def test_producers_have_no_thread_and_one_connection(pg, echo):
    assert not pg.ask(LISTENERS.format(pg.name))
    pg.add('echo')
    pg.add('echo')
    assert len(pg.ask(
        f"SELECT pid FROM pg_stat_activity WHERE datname = '{pg.name}'"
        " AND application_name = 'remotetask wake-up'")) == 1
    assert 'remotetask-wakeup' not in [
        thread.name for thread in threading.enumerate()]


def test_the_thread_that_listens_ends_with_the_last_processor(pg, idle):
    idle()
    listening, = (thread for thread in threading.enumerate()
                  if thread.name == 'remotetask-wakeup')
    pg.stop()
    listening.join(DEADLINE)
    assert not listening.is_alive()
    idle()
    assert 'remotetask-wakeup' in [
        thread.name for thread in threading.enumerate()]


def test_a_child_made_by_fork_leaves_our_connections_alone(pg, idle, log):
    processor = idle()
    pg.add('echo')
    sender = wakeup._channel(pg.db).sender
    session = sender._session
    child = os.fork()
    if not child:
        # Nothing but what a child could do: the rest is our parent's.
        code = 1
        try:
            fresh = wakeup._channel(pg.db).sender
            wakeup.notify(pg.db)
            code = 0 if fresh is not sender and not fresh.reason else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    processor.until(NEVER)
    jobid = pg.add('echo')
    assert pg.until_over(jobid) == ['completed']
    assert wakeup._channel(pg.db).sender._session is session
    assert not warnings(log)
