"""What the tests of 0.5.2's faults share.

Each test is named after a fault, fails on a literal port of 0.5.2, and
asserts what is right.
"""

import threading
import time

import pytest
import transaction
import zope.component

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.testing import FrozenClock

DEADLINE = 20


@pytest.fixture
def clock():
    """The wall clock of the services, to be set by the test."""
    with FrozenClock(int(time.time())) as clock:
        yield clock


@pytest.fixture
def processor(application, service):
    """A processor of ``service``, to be called by the test's own thread."""
    return SimpleProcessor(application.db, ['tasks'], waitTime=0)


@pytest.fixture
def drain(processor):
    """Runs what there is to run; fails where that never ends."""
    def drain(most=20):
        for runs in range(most):
            if not processor.processNext():
                transaction.begin()
                return runs
        raise AssertionError(f'still jobs to run after {most} runs')

    return drain


@pytest.fixture
def whole(components):
    """Registers ``f(service, jobid, input)`` as a task."""
    def whole(function):
        class Whole(SimpleTask):
            def __call__(self, service, jobid, input):
                return self.func(service, jobid, input)

        task = Whole(function)
        zope.component.provideUtility(task, ITask, function.__name__)
        return task

    return whole


@pytest.fixture
def thread_of():
    """The live thread of a name."""
    def thread_of(name='remotetasks.tasks'):
        (thread,) = (t for t in threading.enumerate() if t.name == name)
        return thread

    return thread_of
