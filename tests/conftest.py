"""What tests share: a real database with an application in it.

Everything here is the real component: a FileStorage on disk, zope.site's
folders and site managers, zope.component's hooks.
"""

import logging
import os
import random
import signal
import sys
import threading
import time
import types
import uuid
from contextlib import contextmanager
from wsgiref import simple_server

import pytest
import transaction
import zope.component
import zope.component.hooks
from required import missing
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import testing as component_testing
from zope.security import management
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.run import failing
from lovely.remotetask.run import suspects
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.web.app import Application as WebApplication
from lovely.remotetask.web.guard import HostCheck
from lovely.remotetask.web.guard import TokenCheck

# A shell that starts us in the background has Ctrl-C ignored, and the commands
# that tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: How long (seconds) anything may take that a test waits for.
DEADLINE = 20


class Application:
    """A database with an application root; torn down whatever happened."""

    def __init__(self, path):
        self.db = DB(FileStorage(str(path)))
        self.connection = self.db.open()
        self.root = self.connection.root()['Application'] = Folder()
        transaction.commit()

    def site(self, name):
        """A folder that is a site, with its own registry."""
        site = self.root[name] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        return site

    def service(self, name='tasks', parent=None, factory=TaskService):
        """A service, located, registered in its site and committed."""
        service = factory()
        container = self.root if parent is None else parent
        container[name] = service
        zope.component.provideUtility(service, ITaskService, name)
        transaction.commit()
        return service

    def fresh(self, service):
        """The same service through another connection's snapshot.

        Returns: ``(service, close)``.
        """
        manager = transaction.TransactionManager()
        connection = self.db.open(manager)

        def close():
            manager.abort()
            connection.close()

        return connection.get(service._p_oid), close

    def close(self):
        for thread in threading.enumerate():
            if getattr(thread, 'database', None) is self.db:
                tell_to_stop(thread)
                thread.join(DEADLINE)
        transaction.abort()
        self.connection.close()
        self.db.close()


@pytest.fixture(autouse=True)
def empty_process():
    """What other tests have claimed does not run beside this test's jobs."""
    suspects._forget()


@pytest.fixture
def components():
    """Empty registries, hooks set as every Zope application has them."""
    component_testing.setUp()
    zope.component.hooks.setHooks()
    yield
    management.endInteraction()
    component_testing.tearDown()


@pytest.fixture
def application(tmp_path, components):
    application = Application(tmp_path / 'Data.fs')
    yield application
    application.close()


@pytest.fixture
def service(application):
    """A committed service at ``tasks``."""
    return application.service()


@pytest.fixture
def register(components):
    """Registers a function as a task under its name, or another."""
    def register(function, name=None, provides=ITask):
        task = (function if ITask.providedBy(function)
                else SimpleTask(function))
        zope.component.provideUtility(
            task, provides, name or function.__name__)
        return task

    return register


@pytest.fixture
def longest_waits(monkeypatch):
    """A retry waits for as long as it may: at random, it might not wait."""
    class Longest(random.Random):
        def uniform(self, first, last):
            return last

    monkeypatch.setattr(failing, 'jitter', Longest())


@pytest.fixture
def log():
    """The records that reach the package's logger, as ``LEVEL message``."""
    records = []

    class Collect(logging.Handler):
        def emit(self, record):
            records.append(f'{record.levelname} {record.getMessage()}')

    handler = Collect()
    logger = logging.getLogger('lovely.remotetask')
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def autostart(monkeypatch):
    """Sets what the product configuration names to be started.

    zope.app.appsetup, which reads zope.conf in a ZTK application, need not be
    installed: its module is stood in for, by the one function we call.
    """
    sections = {}
    module = types.ModuleType('zope.app.appsetup.product')
    module.getProductConfiguration = sections.get
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv('LOVELY_REMOTETASK_AUTOSTART', raising=False)

    def autostart(text):
        sections['lovely.remotetask'] = {'autostart': text}

    return autostart


class Quiet(simple_server.WSGIRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """``serve(db, token, path)`` starts the web surface; gives ``HOST:PORT``.
    """
    servers = []

    def serve(db, token, path=('tasks',)):
        server = simple_server.make_server(
            '127.0.0.1', 0, WebApplication(
                db, TokenCheck(token), HostCheck('127.0.0.1'), path),
            handler_class=Quiet)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append((server, thread))
        return f'127.0.0.1:{server.server_port}'

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()


@pytest.fixture
def wait_for():
    """Waits until a job has a status, by the events of its service."""
    def wait_for(service, jobid, *statuses):
        deadline = time.monotonic() + DEADLINE
        pause = threading.Event()
        while True:
            service._p_jar.transaction_manager.abort()
            status = service.getStatus(jobid)
            if status in statuses:
                return status
            if time.monotonic() > deadline:
                raise AssertionError(
                    f'job {jobid} is {status!r} after {DEADLINE} s')
            pause.wait(0.01)

    return wait_for


@contextmanager
def _postgresql():
    """The dsn of an empty database, dropped afterwards."""
    server = os.environ.get('REMOTETASK_POSTGRESQL',
                            'host=127.0.0.1 port=5432 user=postgres')
    try:
        import psycopg2
    except ImportError as reason:
        missing(f'PostgreSQL cannot be reached without its driver: {reason}')
    try:
        connection = psycopg2.connect(f'{server} dbname=postgres '
                                      f'connect_timeout=5')
    except psycopg2.OperationalError as reason:
        missing(f'PostgreSQL does not answer ({server}): {reason}')
    connection.autocommit = True
    cursor = connection.cursor()
    name = f'remotetask_{uuid.uuid4().hex[:12]}'
    cursor.execute(f'CREATE DATABASE {name}')
    yield f'{server} dbname={name}'
    # A process that was killed in a test may still be connected for a moment.
    cursor.execute(f'DROP DATABASE {name} WITH (FORCE)')
    connection.close()


@pytest.fixture
def postgresql():
    """The dsn of an empty database of this test's own."""
    with _postgresql() as dsn:
        yield dsn


@pytest.fixture(scope='session')
def shared_postgresql():
    """The dsn of a database for tests that write to folders of their own."""
    with _postgresql() as dsn:
        yield dsn


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """``-n auto``: two per core, for half of a test's time is waiting."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_finish(session):
    """Leave out Hypothesis' plugin where no test uses Hypothesis.

    Its summary imports all of Hypothesis in any case, which takes longer than
    all tests of ``unit``.
    """
    plugins = session.config.pluginmanager
    plugin = plugins.get_plugin('hypothesispytest')
    if plugin is not None and 'hypothesis' not in sys.modules:
        plugins.unregister(plugin)
