"""verifyClass and verifyObject for every implementer of every interface."""

import importlib
import inspect
import pkgutil

import pytest
from BTrees.Interfaces import IBTree
from zc.queue.interfaces import IQueue
from zope.interface import implementedBy
from zope.interface.interfaces import IInterface
from zope.interface.verify import verifyClass
from zope.interface.verify import verifyObject

import lovely.remotetask
from lovely.remotetask import TaskService
from lovely.remotetask import interfaces
from lovely.remotetask.declaring.scheduled import DeclaredSchedule
from lovely.remotetask.edge.clock import SystemClock
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import IClock
from lovely.remotetask.interfaces import ICronJob
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import IJob
from lovely.remotetask.interfaces import ILiveness
from lovely.remotetask.interfaces import IProcessor
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskOptions
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job
from lovely.remotetask.peers.liveness.exclusive import ExclusiveStorage
from lovely.remotetask.peers.liveness.heartbeat import Heartbeat
from lovely.remotetask.peers.liveness.lockfile import LockFile
from lovely.remotetask.peers.liveness.postgres import PostgresLock
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.processor.crew import Crew
from lovely.remotetask.processor.crew import _Member
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.records import UnreadableJob
from lovely.remotetask.store.records import _Note
from lovely.remotetask.task import EchoTask
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.testing import ExceptionTask
from lovely.remotetask.testing import FrozenClock
from lovely.remotetask.testing import QueueStub
from lovely.remotetask.testing import TaskServiceStub


def double(input):
    return 2 * input


#: interface, class, how to make one (from the application fixture).
TABLE = [
    (ITaskService, TaskService, lambda app: TaskService()),
    (ITaskService, TaskService, lambda app: app.service()),
    (ITaskService, TaskServiceStub, lambda app: TaskServiceStub()),
    (IJob, Job, lambda app: Job(1, 'echo', {})),
    (IJob, CronJob, lambda app: CronJob(1, 'echo', {})),
    (ICronJob, CronJob, lambda app: CronJob(1, 'echo', {}, minute=(1,))),
    (ITask, SimpleTask, lambda app: SimpleTask(double)),
    (ITask, FunctionTask, lambda app: FunctionTask(double)),
    (ITask, EchoTask, lambda app: EchoTask()),
    (ITask, ExceptionTask, lambda app: ExceptionTask()),
    (IJob, UnreadableJob, lambda app: UnreadableJob(
        1, _Note('gone', False, True, None, 0.0), {})),
    (IProcessor, SimpleProcessor,
     lambda app: SimpleProcessor(app.db, ['tasks'])),
    (IProcessor, MultiProcessor,
     lambda app: MultiProcessor(app.db, ['tasks'])),
    (IProcessor, _Member,
     lambda app: _Member(Crew(app.db, PLAIN, [], lambda connection: [], 1,
                              True), ServicePath(['tasks']))),
    (IHost, PlainHost, lambda app: PlainHost()),
    (IClock, SystemClock, lambda app: SystemClock()),
    (IClock, FrozenClock, lambda app: FrozenClock()),
    (IRetryPolicy, RetryPolicy, lambda app: RetryPolicy()),
    (IDeclaredSchedule, DeclaredSchedule,
     lambda app: DeclaredSchedule('echo', every=60)),
    (ILiveness, ExclusiveStorage, lambda app: ExclusiveStorage(app.db)),
    (ILiveness, LockFile, lambda app: LockFile()),
    (ILiveness, PostgresLock, lambda app: PostgresLock(app.db)),
    (ILiveness, Heartbeat, lambda app: Heartbeat()),
    # Interfaces of others.
    (IQueue, QueueStub, lambda app: QueueStub()),
    (IBTree, Blocks, lambda app: TaskService().jobs),
]

try:
    from lovely.remotetask.commands import CommandTask
except ImportError:
    pass
else:
    TABLE += [
        (ITask, CommandTask, lambda app: CommandTask(['true'])),
        (ITaskOptions, CommandTask, lambda app: CommandTask(['true'])),
    ]


@pytest.mark.parametrize('interface, implementer, make', TABLE, ids=[
    f'{implementer.__name__}-{interface.__name__}'
    for interface, implementer, _ in TABLE])
def test_implementer(interface, implementer, make, application):
    if interface is not ITaskOptions:
        verifyClass(interface, implementer)
    verifyObject(interface, make(application),
                 tentative=interface is ITaskOptions)


def ours():
    return {value for value in vars(interfaces).values()
            if IInterface.providedBy(value)
            and value.__module__ == interfaces.__name__}


#: Rooms that need their framework.
HOSTS = ('browser', 'generations', 'plone', 'pyramid', 'zope', 'ztk')


def implementers():
    """Every class of the package, with those of our interfaces it has."""
    for found in pkgutil.walk_packages(
            lovely.remotetask.__path__, 'lovely.remotetask.'):
        if found.name.endswith('__main__'):
            continue                # importing it would run it
        if found.name.split('.')[2] in HOSTS:
            continue                # tests/hosts verifies them, where they are
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            if (inspect.isclass(value)
                    and value.__module__.startswith('lovely.remotetask')):
                for interface in ours() & set(implementedBy(value)):
                    yield interface, value


def test_no_implementer_is_missing_in_the_table():
    table = {(interface, implementer) for interface, implementer, _ in TABLE}
    missing = {
        f'{value.__module__}.{value.__name__}: {interface.__name__}'
        for interface, value in implementers()
        if (interface, value) not in table}
    assert missing == set()
    # The search itself works.
    assert (ITask, EchoTask) in set(implementers())


def test_every_interface_has_an_implementer():
    # The event was declared and never fired; the options are attributes of
    # tasks, tested with the tasks that have them.
    without = {interfaces.IStartRemoteTasksEvent, ITaskOptions}
    table = {interface for interface, _, _ in TABLE}
    assert ours() - without <= table
