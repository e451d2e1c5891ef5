"""Sets up the service, the worker and the tasks of this process."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any

from persistent.mapping import PersistentMapping
from zope.component import getUtilitiesFor
from zope.component import provideUtility

from lovely.remotetask import task
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.failures import reason
from lovely.remotetask.edge import db
from lovely.remotetask.edge.texts import describe
from lovely.remotetask.edge.texts import one_line
from lovely.remotetask.host import current as current_host
from lovely.remotetask.host import visit
from lovely.remotetask.host.plain import APPLICATION
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.run import threads
from lovely.remotetask.service import make_service
from lovely.remotetask.service.loops import set_threads

if TYPE_CHECKING:
    from ZODB import DB
    from ZODB.Connection import Connection

    from lovely.remotetask.service import TaskService

#: The names that lead to the service, from the application's root.
PATH = ('tasks',)

#: The group of entry points by which distributions name their tasks.
ENTRY_POINTS = 'lovely.remotetask.tasks'


# --- the service ------------------------------------------------------------

def ensure_service(database: DB, threads: int | None) -> None:
    """Make the service where there is none, and set its threads.

    Arguments: ``threads``, how many jobs it runs at once; None: as before.
    """
    def ensure(connection: Connection) -> None:
        service = current_host().find_service(connection, PATH)
        if service is None:
            service = _new_service(connection.root())
        if threads is not None:
            set_threads(service, threads)

    db.write(database, ensure)


def _new_service(root: Any) -> TaskService:
    folder = root.get(APPLICATION)
    if folder is None:
        folder = root[APPLICATION] = PersistentMapping()
    name = PATH[-1]
    if name in folder:
        raise Failure(f'{name!r} in this database is no task service',
                      'rename it there, or use another database')
    return make_service(folder, name)


def start_processing(database: DB) -> bool:
    """Start the worker of this process.

    Returns: is the queue paused, so that it starts no job?
    """
    def start(service: TaskService) -> bool:
        service.startProcessing()
        return service.jobqueue.pause_now(service.clock.now()) is not None

    return visit(database, PATH, current_host(), start, writes=False)


def end_processing(grace: float) -> int:
    """End the workers of this process, which is about to end itself.

    Arguments: ``grace``, how long (seconds) running jobs get to come to
    their end.
    Returns: how many were given back, to run again.
    """
    # The exit handler would wait for the same jobs once more, and for a
    # database that is closed by then.
    atexit.unregister(threads.end_all)
    return threads.end_all(grace)


# --- tasks ------------------------------------------------------------------

def load_tasks(modules: Sequence[str], zcml: str | None) -> list[str]:
    """Register ``echo`` and the tasks of entry points, modules and ZCML.

    Returns: warnings, a line each.
    Raises: Failure for a module or file of the user's that does not work.
    """
    provideUtility(task.EchoTask(), ITask, name='echo')
    warnings = _load_entry_points()
    # A module in the current directory is found, as by other servers,
    # although the console script puts its own directory there.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for name in modules:
        new = name not in sys.modules
        before = _registered()
        # A module may also register its tasks while it is imported; one that
        # was imported before, has done so then.
        if not task.scan(_import(name)) and new and _registered() == before:
            warnings.append(f'{name} holds no tasks that are decorated with '
                            f'@task, and registers none')
    if zcml is not None:
        _load_zcml(zcml)
    return warnings


def _registered() -> set[tuple[str, int]]:
    """What tells the tasks of this process from those of another moment."""
    return {(name, id(one)) for name, one in getUtilitiesFor(ITask)}


def _load_entry_points() -> list[str]:
    warnings = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            found = entry.load()
            if isinstance(found, ModuleType):
                task.scan(found)
            else:
                provideUtility(found, ITask, name=entry.name)
        # The user of this server has not made the broken plug-in, and wants
        # the tasks of all others.
        except Exception as error:
            warnings.append(f'the tasks of {entry.value} cannot be loaded: '
                            f'{describe(error)}')
    return warnings


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    # A script that does not test for __main__ may even end the process.
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and (
                name == error.name or name.startswith(error.name + '.')):
            raise Failure(
                f'--tasks {name}: there is no module {error.name!r}',
                'correct the name, install it, or start in the directory '
                'where it lies') from error
        raise Failure(
            f'--tasks {name} cannot be imported: {describe(error)}'
            f'{_where(error)}', 'mend the module') from error


def _where(error: BaseException) -> str:
    # The innermost line of a module's body: there is the mistake, and not in
    # a function that it called.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.name == '<module>']
    if isinstance(error, SyntaxError) or not frames:
        return ''       # the message of a SyntaxError has the line already
    return f' ({frames[-1].filename}, line {frames[-1].lineno})'


def _load_zcml(path: str) -> None:
    from zope.configuration import xmlconfig

    context = xmlconfig.ConfigurationMachine()
    xmlconfig.registerCommonDirectives(context)
    # A file of five lines that names tasks should need no includes.
    for package in ('zope.component', 'lovely.remotetask'):
        xmlconfig.include(context, 'meta.zcml',
                          importlib.import_module(package))
    try:
        xmlconfig.file(os.path.abspath(path), context=context)
    except OSError as error:
        # The file may be one that this file includes.
        raise Failure(f'--zcml {path}: cannot read {error.filename}: '
                      f'{reason(error)}', 'correct the path') from error
    except Exception as error:
        raise Failure(f'--zcml {path}: {one_line(str(error))}',
                      'mend the file') from error
