"""An application that is to be tested, and four ways to run its jobs."""

import threading
import time
from contextlib import contextmanager

import pytest
import transaction

from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.testing import drain
from lovely.remotetask.testing import inline
from lovely.remotetask.testing import new_service

DEADLINE = 20


class Mode:
    """A service, and how a test has its jobs run.

    Attributes: ``service``; ``settle()`` runs all that is ready.
    """

    def __init__(self, service, settle):
        self.service = service
        self.settle = settle


@contextmanager
def stub():
    service = TaskServiceStub()
    yield Mode(service, service.process)


@contextmanager
def in_commit():
    with new_service() as service, inline(service):
        yield Mode(service, transaction.commit)


@contextmanager
def drained():
    with new_service() as service:
        def settle():
            transaction.commit()
            drain(service)

        yield Mode(service, settle)


@contextmanager
def by_worker():
    with new_service() as service:
        def settle():
            transaction.commit()
            service.startProcessing()
            deadline = time.monotonic() + DEADLINE
            pause = threading.Event()
            while True:
                transaction.abort()
                if not (service.hasJobsWaiting()
                        or service.stats()['processing']):
                    break
                assert time.monotonic() < deadline, service.stats()
                pause.wait(0.01)
            service.stopProcessing(wait=None)
            transaction.abort()

        yield Mode(service, settle)


MODES = {'stub': stub, 'inline': in_commit, 'drain': drained,
         'worker': by_worker}


@pytest.fixture(params=MODES)
def mode(request):
    with MODES[request.param]() as mode:
        yield mode


@pytest.fixture
def shop(mode):
    return mode.service


@pytest.fixture
def settle(mode):
    return mode.settle


@pytest.fixture
def register_task(components, remotetask_register):
    """The plugin's, in a registry that is empty otherwise."""
    return remotetask_register
