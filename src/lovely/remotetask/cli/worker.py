"""``remotetask worker``: a process that only runs jobs."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

import click

from lovely.remotetask.cli import chosen as options
from lovely.remotetask.cli import server
from lovely.remotetask.cli.chosen import Chosen
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.logs import Logs
from lovely.remotetask.cli.logs import options as logs_options
from lovely.remotetask.cli.output import PAUSED
from lovely.remotetask.cli.seconds import Seconds
from lovely.remotetask.cli.signals import Signals
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.edge.texts import some

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.host.paths import ServicePath
    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.run.threads import ServiceThread
    from lovely.remotetask.service import TaskService

#: How many jobs a worker runs at once where --threads is not given.
DEFAULT_THREADS = 5

#: How many services and tasks the line that says "ready" names.
NAMES_SHOWN = 20

#: How long (seconds) after the grace the database gets to take back the jobs.
LEAVE_SECONDS = 5.0

#: How often (seconds) the main thread wakes, so that no signal waits longer.
WAKE_SECONDS = 1.0

# How many connections a worker may need besides those of its jobs.
_MACHINERY = 10


@click.command('worker')
@options.options('The database', several=True)
@click.option('--threads', type=click.IntRange(1, 256), metavar='N',
              default=DEFAULT_THREADS, show_default=True,
              help='Run this many jobs at once.')
@click.option('--queue', 'queues', multiple=True, metavar='NAME',
              help='Run jobs of this queue, and of others that are named so.')
@click.option('--not-queue', 'not_queues', multiple=True, metavar='NAME',
              help='Run no jobs of this queue.')
@click.option('--grace', type=Seconds(), metavar='SECONDS',
              default=server.DEFAULT_GRACE, show_default=True,
              help='At the end, wait this long for running jobs.')
@logs_options
def worker_command(chosen: Chosen, threads: int, grace: float, logs: Logs,
                   queues: tuple[str, ...], not_queues: tuple[str, ...]
                   ) -> int:
    """Run jobs of one or more services in a process of its own.

    Several services share its threads: each that has jobs gets its turn.

    Several processes can share a database by ZEO or RelStorage.  SIGTERM and
    Ctrl-C end the worker in an orderly way: it starts no further job, and
    jobs that still run after the grace are given back, to run again.  A
    second signal ends it at once.
    """
    chosen.check()
    if '*' in chosen.services and len(set(chosen.services)) > 1:
        raise click.UsageError(
            "--service '*' means all services: leave out the others")
    with (suppress(_Stop), Signals(_Stop, 'worker'),
          chosen.opened(logs.set_up) as (database, host)):
        work = _Work(database, host, chosen.services, threads,
                     {'queues': queues or None, 'notQueues': not_queues})
        if not (chosen.paste or chosen.zope_conf):
            work.warn_without_tasks()
        return work.run(grace)
    # A signal came before there was anything to end.
    click.echo('remotetask: worker stopped', err=True)
    return 0


class _Stop(BaseException):
    """A signal asked for the end.

    No SystemExit: a module of tasks may raise that while it is imported.
    """


class _Work:
    """Runs the jobs of some services of an open database.

    Arguments: ``host`` (IHost); ``names``, the paths of the services, see
    find_service.find_several; ``threads``, how many jobs at once; ``queues``,
    the options of a SimpleProcessor about queues.
    Raises: Failure.
    """

    def __init__(self, database: DB, host: IHost, names: Sequence[str],
                 threads: int, queues: dict[str, Any] | None = None) -> None:
        # Imported here and not above: `--help` does without the database.
        from lovely.remotetask.cli import find_service
        from lovely.remotetask.edge import db

        # Also the one that a queue has of its own: each run has both open.
        for one in database.databases.values():
            one.setPoolSize(max(one.getPoolSize(), threads + _MACHINERY))
        names = tuple(dict.fromkeys(names))
        paths = db.read(database, lambda connection: (
            find_service.find_several(connection, names, host)))
        self._all = names == (find_service.ALL,)
        self._are_some = bool(paths)
        self.services: list[str] = []
        self.tasks: list[str] = []
        self.paused: list[str] = []
        self.threads = threads
        self._queues = queues or {'queues': None, 'notQueues': ()}
        for path in paths:
            self._look_at(database, path, host)
        self.services.sort()
        if self._all or len(paths) > 1:
            self._thread = self._crew(
                database, host, paths, lambda connection: (
                    find_service.present(connection, names, host)))
        else:
            self._thread = self._of_one(database, *paths)

    def _look_at(self, database: DB, path: ServicePath, host: IHost) -> None:
        """Note what the line that says "ready" tells of a service."""
        from lovely.remotetask.errors import ConfigurationError
        from lovely.remotetask.host import visit
        from lovely.remotetask.host.paths import show
        from lovely.remotetask.peers import liveness
        from lovely.remotetask.store.records import is_damaged
        from lovely.remotetask.store.upstream import refuse_old

        try:
            # Now: the processor's thread would log the error again and again.
            liveness.for_database(path.home or database).announce()
        except ConfigurationError as error:
            raise Failure(str(error)) from error

        def look(service: TaskService) -> tuple[list[str], bool]:
            refuse_old(service)
            service.jobs.load()
            resting = service.jobqueue.pause_now(service.clock.now())
            return list(service.getAvailableTasks()), resting is not None

        try:
            tasks, paused = visit(database, path, host, look, writes=False)
        except Exception as error:
            if self._all:
                return  # the thread logs why it runs no jobs of this one
            if is_damaged(error):
                raise Failure(
                    f'service {show(path)} cannot run: '
                    + self._told(database, path, host, error)) from error
            raise
        self.services.append(show(path))
        self.tasks = sorted({*self.tasks, *tasks})
        if paused:
            self.paused.append(show(path))

    def _told(self, database: DB, path: ServicePath, host: IHost,
              error: Exception) -> str:
        """What to do about a damaged service."""
        from lovely.remotetask.host import visit
        from lovely.remotetask.store import lost

        return visit(database, path, host,
                     lambda service: lost.told(service, error), writes=False)

    def _of_one(self, database: DB, path: ServicePath) -> ServiceThread:
        """The thread of one service."""
        from lovely.remotetask import processor
        from lovely.remotetask.run.threads import ServiceThread
        from lovely.remotetask.run.threads import name_of

        run: Any
        if self.threads == 1:
            run = processor.SimpleProcessor(database, path, **self._queues)
        else:
            run = processor.MultiProcessor(
                database, path, maxThreads=self.threads, **self._queues)
        # As the service's startProcessing() does it, but with our own
        # processor: the service in the database stays as it is.
        return ServiceThread(
            run, name_of(path), path.home or database)

    def warn_without_tasks(self) -> None:
        """Say so where there is no task but the one that we register."""
        from lovely.remotetask.run.lacking import warn_without_tasks

        warn_without_tasks(
            some(self.services, NAMES_SHOWN), self.tasks,
            'name the modules that have yours (--tasks MODULE), or load their '
            'ZCML (--zcml FILE)', ['echo'])

    def _crew(self, database: DB, host: IHost, paths: list[ServicePath],
              find: Callable[[Connection], list[ServicePath]]
              ) -> ServiceThread:
        """The thread of several services."""
        from lovely.remotetask.processor.crew import Crew
        from lovely.remotetask.run.threads import ServiceThread

        return ServiceThread(
            Crew(database, host, paths, find, self.threads, self._all,
                 self._queues),
            'remotetask-crew', database)

    def run(self, grace: float) -> int:
        """Work until a signal comes.  Returns: the exit code."""
        by_signal = False
        try:
            self._thread.start()
            self._announce()
            # Python calls the handler of a signal in this thread alone, and
            # another one may have been told of it: a wait without a bound
            # would not end then.
            while not self._thread.over.wait(WAKE_SECONDS):
                pass
        except _Stop:
            by_signal = True
            # Before the message: no job begins after it.
            self._thread.running = False
            if not self._thread.over.is_set():
                click.echo(f'remotetask: worker stopping: running jobs get '
                           f'up to {grace:g} s', err=True)
        given = self._end(grace)
        if not by_signal:
            raise Failure(
                f'the worker of {some(self.services, NAMES_SHOWN)} has ended '
                f'by itself',
                'the log above has the reason')
        if given is None:
            click.echo('remotetask: worker stopped: the database does not '
                       'answer; other workers will find its jobs', err=True)
            # Closing the database would wait for it once more.
            sys.stdout.flush()
            os._exit(1)
        click.echo('remotetask: worker stopped'
                   f'{server.given_back(given)}', err=True)
        return 0

    def _end(self, grace: float) -> int | None:
        """End the work.

        Returns: how many jobs were given back; None: the database has not
        answered.
        """
        from lovely.remotetask.cli import setup

        self._thread.running = False
        given: list[int] = []
        # In a thread: a database that does not answer holds up its caller
        # for as long as its driver likes.
        ending = threading.Thread(
            target=lambda: given.append(setup.end_processing(grace)),
            daemon=True)
        ending.start()
        ending.join(grace + LEAVE_SECONDS)
        return given[0] if given else None

    def _announce(self) -> None:
        plural = '' if self.threads == 1 else 's'
        if len(self.services) == 1 and not self._all:
            what = f'service {self.services[0]}, '
        elif self.services:
            several = '' if len(self.services) == 1 else 's'
            what = (f'{len(self.services)} service{several} '
                    f'({some(self.services, NAMES_SHOWN)}), ')
        else:
            what = ('no service that can be run, ' if self._are_some
                    else 'no service yet, ')
        only, never = self._queues['queues'], self._queues['notQueues']
        if only:
            what += f'queues: {some(list(only), NAMES_SHOWN)}, '
        if never:
            what += f'not queues: {some(list(never), NAMES_SHOWN)}, '
        click.echo(f'remotetask: worker ready: {what}'
                   f'{self.threads} thread{plural}, tasks: '
                   f'{some(self.tasks, NAMES_SHOWN, text=one_line)}')
        for path in self.paused:
            click.echo(PAUSED if len(self.services) == 1 else
                       f'remotetask: the queue of {path} is paused: none of '
                       f'its jobs is started until: remotetask resume '
                       f'--service {path}', err=True)
        # A program that has started us with a pipe waits for this line.
        sys.stdout.flush()

