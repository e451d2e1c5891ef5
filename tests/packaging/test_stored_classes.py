"""The paths of the classes in databases, which may never change.

A class that moves, or loses its name, makes the objects of every database
unreadable: leave an alias at its old path.  A new class gets its line here
together with the release that stores it.
"""

import importlib
import pkgutil

import pytest
from persistent import Persistent
from zope.component import getGlobalSiteManager

import lovely.remotetask

#: They need their host; tests/hosts/kit looks at their classes in it.
HOSTS = ('browser', 'generations', 'plone', 'pyramid', 'zope', 'ztk')

#: What a database may hold.
STORED = {
    'lovely.remotetask.job.CronJob',
    'lovely.remotetask.job.Job',
    'lovely.remotetask.payload.Payload',
    'lovely.remotetask.fields.next_run.NextRun',
    'lovely.remotetask.fields.runs.LatestRuns',
    'lovely.remotetask.service.TaskService',
    'lovely.remotetask.store.batches.Batch',
    'lovely.remotetask.store.batches.Batches',
    'lovely.remotetask.store.blocks.Blocks',
    'lovely.remotetask.store.checkpoint.Checkpoint',
    'lovely.remotetask.store.claims.Claims',
    'lovely.remotetask.store.claims.Left',
    'lovely.remotetask.store.claims.Progress',
    'lovely.remotetask.store.claims.Slot',
    'lovely.remotetask.store.gates.Gates',
    'lovely.remotetask.store.gates.Passed',
    'lovely.remotetask.store.history.History',
    'lovely.remotetask.store.history.Hour',
    'lovely.remotetask.store.history.Past',
    'lovely.remotetask.store.lanes.Lanes',
    'lovely.remotetask.store.limits.Limits',
    'lovely.remotetask.store.log.Log',
    'lovely.remotetask.store.queue.JobQueue',
    'lovely.remotetask.store.ready.Ready',
    'lovely.remotetask.store.uniques.UniqueKeys',
    'lovely.remotetask.store.workers.Beat',
    'lovely.remotetask.store.workers.WorkerRecord',
    'lovely.remotetask.store.workers.Workers',
    # In databases of tests.
    'lovely.remotetask.testing.QueueStub',
    'lovely.remotetask.testing.TaskServiceStub',
}

#: Parts of JobQueue: no object is of these classes alone.
PARTS = {
    'lovely.remotetask.store.barring.Barring',
    'lovely.remotetask.store.claiming.Claiming',
    'lovely.remotetask.store.paging.Paging',
    'lovely.remotetask.store.places.Places',
    'lovely.remotetask.store.recurring.Recurring',
    'lovely.remotetask.store.resting.Resting',
    'lovely.remotetask.store.timetable.Timetable',
}

#: Their objects are gone when a command or a listing has ended.
FOR_A_WHILE = {
    'lovely.remotetask.bench.place.Raw',
    'lovely.remotetask.store.records.UnreadableJob',
}


def modules():
    """Every module of the package that no host brings."""
    prefix = f'{lovely.remotetask.__name__}.'
    for found in pkgutil.walk_packages(lovely.remotetask.__path__, prefix):
        name = found.name.removeprefix(prefix)
        # To import this one is to run the command line.
        if name.partition('.')[0] not in HOSTS and name != 'cli.__main__':
            yield importlib.import_module(found.name)


def stored(module):
    """The paths of the persistent classes that a module defines."""
    return {f'{thing.__module__}.{thing.__qualname__}'
            for thing in vars(module).values()
            if isinstance(thing, type) and issubclass(thing, Persistent)
            and thing.__module__ == module.__name__}


@pytest.fixture
def registrations():
    """The registry is as before: the demo's modules register their tasks."""
    registry = getGlobalSiteManager()
    before = list(registry.registeredUtilities())
    yield
    for found in list(registry.registeredUtilities()):
        if found not in before:
            registry.unregisterUtility(
                found.component, found.provided, found.name)


def test_no_stored_class_moves_and_none_is_new(registrations):
    found = set().union(*map(stored, modules()))
    assert found == STORED | PARTS | FOR_A_WHILE
