"""The threads of services in this process: their start, stop and orderly end.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.context import running_on
from lovely.remotetask.edge import caller
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.closing import call_on_close
from lovely.remotetask.edge.closing import checks
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import SessionBroken
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import is_seconds
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.peers.forks import call_after_fork
from lovely.remotetask.store.upstream import refuse_old

if TYPE_CHECKING:
    from ZODB import DB

    from lovely.remotetask.run.worker import Worker
    from lovely.remotetask.service import TaskService

# --- the thread of a service -------------------------------------------------


class ServiceThread(threading.Thread):
    """The thread of a service, which runs its processor.

    Applications find it by its ``name``, as in 0.5.2.  It is a daemon: a job
    that does not end must not keep the process from ending.
    Arguments: ``processor``, a callable that runs until ``running`` is False;
    ``name`` (str); ``database`` (ZODB.DB), in which the service is.
    Attributes: ``running`` (bool), see IProcessor; ``over``, an event that is
    set once the processor has returned.
    """

    def __init__(self, processor: Callable[[], object], name: str,
                 database: DB) -> None:
        super().__init__(name=name, daemon=True)
        self.processor = processor
        self.database = database
        self.running = True
        self.over = threading.Event()

    def run(self) -> None:
        """See threading.Thread"""
        try:
            self.processor()
        finally:
            self.over.set()


starting = threading.Lock()


def name_of(path: Sequence[str]) -> str:
    """The name of the thread that runs the jobs of the service at a path."""
    return '.'.join(('remotetasks', *path))


def threads_of(service: TaskService, name: str) -> list[Any]:
    """The live threads of a service that have not been told to stop."""
    return _threads_in(_database_of(service), name)


def _database_of(service: TaskService) -> DB | None:
    jar = caller.jar_of(service)
    return None if jar is None else jar.db()


def _threads_in(database: DB | None, name: str) -> list[Any]:
    # Not by class: an application may run a processor in a thread that it has
    # made itself.
    return [thread for thread in threading.enumerate()
            if thread.name == name
            # Another database of this process may hold an equal path.
            and database in (None, getattr(thread, 'database', database))
            and getattr(thread, 'running', False)]


def start_thread(service: TaskService, database: DB, name: str,
                 path: Sequence[str]) -> None:
    """Start the thread of a service, unless one runs.

    Arguments: ``database`` (ZODB.DB), in which the path begins.
    """
    starter(service, database, name, path)()


def start_service(service: TaskService) -> None:
    """See ITaskService.startProcessing"""
    if service.__parent__ is None or not service.__name__:
        raise ConfigurationError(
            'this service has no place: its thread would have to find it by '
            'its path.  Put it there by make_service(container, name) of '
            'lovely.remotetask.service, or give one that is there its place '
            'by zope.location.locate(service, container, name); commit, and '
            'start it')
    refuse_old(service)
    jar = caller.jar_of(service)
    if jar is None:
        raise ConfigurationError(
            f'service {service.__name__!r} is in no database yet: add it to '
            f'one and commit before you start it')
    path = service.host.path_of(service)
    # Not that of the service: in the database of a mounted queue a task would
    # find neither the application nor its users.
    start_thread(service, getattr(path, 'database', None) or jar.db(),
                 name_of(path), path)


def starter(service: TaskService, database: DB, name: str,
            path: Sequence[str]) -> Callable[[], None]:
    """The function that starts the thread of a service, unless one runs.

    All that it needs of the service is read now: it may be called when the
    transaction is over, and no object may be loaded any more.
    Arguments: as start_thread.
    """
    factory = service.processorFactory
    arguments: dict[str, Any] = dict(service.processorArguments)
    own = _database_of(service)

    def start() -> None:
        with starting:
            if _threads_in(own, name):
                return
            processor = factory(database, path, **arguments)
            home = getattr(path, 'home', None) or database
            ServiceThread(processor, name, home).start()

    return start


def move_threads(service: TaskService, before: Sequence[str]) -> None:
    """Let the threads of a service go on at its new path, after the commit.

    Arguments: ``service``, where it is now; ``before``, the names of the path
    that it had.
    """
    running, jar = threads_of(service, name_of(before)), caller.jar_of(service)
    if not running or jar is None:
        return
    path = service.host.path_of(service)
    start = starter(service, getattr(path, 'database', None) or jar.db(),
                    name_of(path), path)

    def restart() -> None:
        _tell_all_to_stop(running)
        start()

    caller.after_commit(jar, restart)


def remove_threads(service: TaskService, path: Sequence[str]) -> None:
    """Let the threads of a service end, after the commit that deletes it."""
    running = threads_of(service, name_of(path))
    if running:
        caller.after_commit(caller.jar_of(service),
                            lambda: _tell_all_to_stop(running))


def _tell_all_to_stop(running: list[Any]) -> None:
    for thread in running:
        tell_to_stop(thread)


def stop_threads(service: TaskService, name: str, wait: float | None) -> None:
    """Tell the threads of a service to stop, and wait for them.

    Arguments: ``wait``, for how long at most (seconds); None: until they end.
    """
    if wait is not None and not is_seconds(wait):
        raise UsageError(f'wait is {shown(wait)}; give {SECONDS}, or None')
    stopping = threads_of(service, name)
    for thread in stopping:
        tell_to_stop(thread)
    deadline = None if wait is None else SYSTEM_CLOCK.monotonic() + wait
    for thread in stopping:
        if thread is threading.current_thread():
            continue            # a task that stops its own service
        thread.join(None if deadline is None
                    else max(0.0, deadline - SYSTEM_CLOCK.monotonic()))
        if thread.is_alive():
            log.warning('%s was told to stop and still runs a job; it ends '
                        'after that job', thread.name)
        else:
            trace.info('%s has stopped', thread.name)


# --- the loops of processors -------------------------------------------------

class Loop:
    """The loop of our processors, in a thread of this process.

    Arguments: ``workers``, for which it claims, a list that may change;
    ``wake_event``, for which it waits while there is no job to run.
    Attributes: ``ended``, an event.
    """

    def __init__(self, workers: list[Worker], wake_event: threading.Event
                 ) -> None:
        self.workers = workers
        self.wake_event = wake_event
        self.ended = threading.Event()

    def stop(self) -> None:
        """Let no attempt follow the current ones, and end each pause."""
        for worker in tuple(self.workers):
            worker.stopping.set()
        self.wake_event.set()

    def leave(self) -> int:
        """Give back what still runs.  Returns: how many jobs."""
        given = 0
        for worker in tuple(self.workers):
            try:
                given += worker.leave()
            except Exception:
                trace.exception('%s has left without a word',
                                worker.identity.id)
        return given


#: Thread -> Loop; the thread is ours, or one that an application has made.
loops: dict[threading.Thread, Loop] = {}


@contextmanager
def looping(workers: list[Worker], wake_event: threading.Event
            ) -> Iterator[None]:
    """Processors loop in the current thread as long as the block runs."""
    thread: Any = threading.current_thread()
    loop = loops[thread] = Loop(workers, wake_event)
    for worker in workers:
        end_with_databases(worker)
    try:
        yield
    finally:
        # The thread may outlive the loop by a moment, and runs no more jobs.
        thread.running = False
        loops.pop(thread, None)
        loop.ended.set()


def end_with_databases(worker: Worker) -> None:
    """End the loop of a worker before one of its databases is closed."""
    for database in {worker.database, worker.home}:
        # First: it uses what else belongs to the database.
        call_on_close(database, _end_all_of, first=True)


def tell_to_stop(thread: Any) -> None:
    """Let the processor of a thread claim nothing more, and end soon."""
    thread.running = False
    # A processor that an application has written has no Loop; it looks at
    # ``running`` alone.
    loop = loops.get(thread)
    if loop is not None:
        loop.stop()


# --- the end of the process -------------------------------------------------

def end_all(grace: float | None = None) -> int:
    """End the processors of this process in an orderly way.

    They claim no further jobs.  Running jobs get ``grace`` seconds (default:
    settings.END_GRACE) to end; then they are given back, uncharged, and their
    runs can no longer commit.
    Returns: how many jobs were given back.
    """
    return _end(list(loops.items()), grace)


def _refuse_to_close(database: DB) -> None:
    """Refuse a task that closes a database of its own run.

    That would end its worker, and the job would be given back: the next worker
    would run it, and end as well.
    Raises: SessionBroken, which fails the job.
    """
    # In the main thread a signal's handler may close it while a task runs.
    if threading.current_thread() is threading.main_thread():
        return
    jar = running_on()
    if jar is not None and database in jar.db().databases.values():
        raise SessionBroken(
            'a task must not close the database that its worker runs it on: '
            'that would end the worker, and run the job again in the next; '
            'let the task close what it has opened itself')


checks.append(_refuse_to_close)


def _end_all_of(database: DB) -> None:
    """End the processors whose database is about to be closed."""
    _end([(thread, loop) for thread, loop in list(loops.items())
          if any(database in (worker.database, worker.home)
                 for worker in tuple(loop.workers))], None)


def _end(running: list[tuple[threading.Thread, Loop]],
         grace: float | None) -> int:
    for thread, _ in running:
        tell_to_stop(thread)
    deadline = SYSTEM_CLOCK.monotonic() + (
        settings.END_GRACE if grace is None else grace)
    given = 0
    for thread, loop in running:
        if thread is threading.current_thread():
            continue
        if loop.ended.wait(max(0.0, deadline - SYSTEM_CLOCK.monotonic())):
            continue
        # A second call, at the exit of the interpreter, must not wait for the
        # same job again.
        loops.pop(thread, None)
        given += loop.leave()
    return given


# Daemon threads end with the interpreter without their ``finally``; this runs
# while they still live.
atexit.register(end_all)


def _forget() -> None:
    # A fork has the loops of its parent in memory, and none of their threads,
    # of which one may have held the lock.
    global starting
    starting = threading.Lock()
    loops.clear()


call_after_fork(_forget)
