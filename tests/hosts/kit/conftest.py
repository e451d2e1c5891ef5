"""The world of the host that this run is about; default: none, plain."""

import importlib.util
import os
from pathlib import Path

import pytest

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import set_options

WORLDS = Path(__file__).parents[1] / 'worlds'
NAME = os.environ.get('REMOTETASK_WORLD', 'plain')


def _world_class():
    spec = importlib.util.spec_from_file_location(
        f'remotetask_world_{NAME}', WORLDS / f'{NAME}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.World


class Driver:
    """A world, and what the tests do with each."""

    def __init__(self, world):
        self.world = world
        self.processor = SimpleProcessor(
            world.database, self._path(), waitTime=0.05)

    def _path(self):
        with self.world.acting() as service:
            return service.host.path_of(service)

    def task(self, name, function, **options):
        made = FunctionTask(function)
        set_options(made, options)
        assert ITask.providedBy(made)
        self.world.register(name, made)

    def add(self, user, *arguments, **options):
        with self.world.acting(user) as service:
            return service.add(*arguments, **options)

    def run(self):
        """Run all there is in this thread; what the host keeps for it."""
        before = self.world.state()
        worker = self.processor.worker
        # As the processor's loop does it: short jobs share a commit.
        while claims := worker.claim_some():
            worker.work(claims, lambda: True)
        assert self.world.state() == before

    def job(self, jobid):
        with self.world.acting() as service:
            job = service.jobs[jobid]
            return {name: getattr(job, name) for name in (
                'status', 'output', 'submitter')} | {
                    'error': str(job.error)}

    def count(self):
        with self.world.acting() as service:
            return len(service.jobs)


@pytest.fixture
def driver(tmp_path):
    world = _world_class()(tmp_path)
    try:
        driver = Driver(world)
        yield driver
        driver.processor.worker.leave()
    finally:
        world.close()


@pytest.fixture
def people(driver):
    """The two users, where the host has any: who manages, who only adds."""
    if not driver.world.users:
        pytest.skip(f'the host {NAME} has no principals')
    return driver.world.users
