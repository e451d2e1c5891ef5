"""The threads of services in this process: start, stop, orderly end."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from lovely.remotetask import settings
from lovely.remotetask.edge import caller as hooks
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.log import log
from lovely.remotetask.log import trace
from lovely.remotetask.run.worker import Worker

# --- the thread of a service -------------------------------------------------

starting = threading.Lock()


def threads_of(service: Any, name: str) -> list[Any]:
    """The live threads of a service that have not been told to stop."""
    jar = hooks.jar_of(service)
    database = None if jar is None else jar.db()
    return [thread for thread in threading.enumerate()
            if thread.name == name
            # Another database of this process may hold an equal path.
            and database in (None, getattr(thread, 'database', database))
            and getattr(thread, 'running', False)]


def start_thread(service: Any, name: str, path: Sequence[str]) -> None:
    """Start the thread of a service, unless one runs."""
    database = hooks.jar_of(service).db()
    with starting:
        if threads_of(service, name):
            return
        processor = service.processorFactory(
            database, path, **service.processorArguments)
        thread: Any = threading.Thread(
            target=processor, name=name, daemon=True)
        thread.running = True
        thread.database = database
        thread.start()


def tell_to_stop(thread: Any) -> None:
    thread.running = False
    # A factory of an application's own may know nothing of these.
    for event in (getattr(thread, 'stopping', None),
                  getattr(thread, 'wake_event', None)):
        if event is not None:
            event.set()


def stop_threads(service: Any, name: str, wait: float | None) -> None:
    """Tell the threads of a service to stop; wait for them so long."""
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


# --- the end of the process -------------------------------------------------

class Loop:
    """A loop that runs in this process."""

    def __init__(self, thread: threading.Thread, worker: Worker) -> None:
        self.thread = thread
        self.worker = worker
        self.ended = threading.Event()


loops: weakref.WeakSet[Loop] = weakref.WeakSet()


def end_all(grace: float | None = None) -> int:
    """End the processors of this process in an orderly way.

    They claim nothing more; running jobs get ``grace`` seconds to come
    to their end (default: settings.END_GRACE), then they are given back,
    uncharged, and their runs can commit nothing any more.
    Returns: how many jobs were given back.
    Source: new.
    """
    running = [loop for loop in loops if not loop.ended.is_set()]
    for loop in running:
        tell_to_stop(loop.thread)
    deadline = SYSTEM_CLOCK.monotonic() + (
        settings.END_GRACE if grace is None else grace)
    given = 0
    for loop in running:
        if loop.thread is threading.current_thread():
            continue
        if loop.ended.wait(max(0.0, deadline - SYSTEM_CLOCK.monotonic())):
            continue
        # Whoever comes here once more, at the exit, waits for it no longer.
        loops.discard(loop)
        try:
            given += loop.worker.leave()
        except Exception:
            trace.exception('%s has left without a word',
                            loop.worker.identity.id)
    return given


# Daemon threads end with the interpreter without their ``finally``; this is
# called while they still live.
atexit.register(end_all)
# A fork has its parent's loops in memory, and none of their threads.
os.register_at_fork(after_in_child=loops.clear)
