"""Lets the tests import the parts of the chaos run, as its processes do."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import chaos_processes
import chaos_storages
import chaos_tasks
from zope.component import testing as component_testing


class World:
    """A ZEO server, a service, and worker processes."""

    def __init__(self, directory, scale):
        self.server = chaos_storages.Server(directory)
        self.database = chaos_processes.Database(self.server.address)
        self.spawner = chaos_processes.Spawner(
            self.server.address, directory, scale)
        self.start = self.spawner.start
        self.go = directory / 'go'

    def begin(self):
        """Begin with an empty service, and nobody who knows the old one."""
        for child in self.spawner.children:
            child.end(signal.SIGKILL)
        self.spawner.children.clear()
        self.go.unlink(missing_ok=True)
        self.database.make()
        return self

    def hold(self, n=1, task='holds', stops=False):
        """Add a job that runs until ``go`` is there; returns its id."""
        return self.database.add(task, n, go=str(self.go), stops=stops)

    def effects(self, n):
        """How often job ``n`` has had its effect."""
        with self.database.root() as root:
            return root['effects'][n % chaos_tasks.EFFECTS].get(n, 0)

    def job(self, jobid, *names):
        """Attributes of a job, as they are now."""
        def look(service):
            job = service.jobs[jobid]
            return tuple(getattr(job, name) for name in names)
        return self.database.look(look)

    def close(self):
        self.spawner.close()
        self.database.close()
        self.server.stop()


@pytest.fixture(scope='module')
def tasks():
    component_testing.setUp()
    chaos_tasks.register()
    yield
    component_testing.tearDown()


def _fixture(name, scale):
    # One server and one spawner for all tests: they take a second to start.
    @pytest.fixture(scope='module', name=f'shared_{name}')
    def shared(tmp_path_factory, tasks):
        world = World(tmp_path_factory.mktemp(name), scale)
        yield world
        world.close()

    @pytest.fixture(name=name)
    def begun(request):
        return request.getfixturevalue(f'shared_{name}').begin()

    return shared, begun


#: As it is in real life: beats every 10 s, a look every second.
shared_world, world = _fixture('world', 1.0)

#: Silence for 1.6 s is death.
shared_fast_world, fast_world = _fixture('fast_world', 0.04)
