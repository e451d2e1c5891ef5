"""Fixtures for the tests of applications; pytest finds them by itself.

pytest imports this at each start, in every project beside which we are
installed: nothing but pytest is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import Any

import pytest

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService
    from lovely.remotetask.testing import TaskServiceStub


@pytest.fixture
def remotetask_name() -> str:
    """The name by which the tested code looks the service up.

    Override it in your ``conftest.py`` where that is another one.
    """
    return 'tasks'


@pytest.fixture
def remotetask_service(remotetask_name: str) -> Iterator[TaskService]:
    """A TaskService in a database of its own, committed, in memory.

    It is the utility for ITaskService of that name, as long as the test runs.
    """
    from lovely.remotetask.interfaces import ITaskService
    from lovely.remotetask.testing import new_service
    from lovely.remotetask.testing.registering import registered

    with (new_service(name=remotetask_name or 'tasks') as service,
          registered(service, ITaskService, remotetask_name)):
        yield service


@pytest.fixture
def remotetask_stub(remotetask_name: str) -> Iterator[TaskServiceStub]:
    """A TaskServiceStub, which needs no database.

    It is the utility for ITaskService of that name, as long as the test runs.
    """
    from lovely.remotetask.interfaces import ITaskService
    from lovely.remotetask.testing import TaskServiceStub
    from lovely.remotetask.testing.registering import registered

    stub = TaskServiceStub()
    with registered(stub, ITaskService, remotetask_name):
        yield stub


@pytest.fixture
def remotetask_register() -> Iterator[Callable[..., Any]]:
    """``remotetask_register(task, name=None, registry=None)``: a stand-in for
    as long as the test runs; see ``testing.stand_in``.
    """
    from lovely.remotetask.testing import stand_in

    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            stand_in(*arguments, **options))


@pytest.fixture
def remotetask_request(app: Any) -> Iterator[Any]:
    """A request to the application that your fixture ``app`` gives (Pyramid).

    See ``lovely.remotetask.pyramid.testing.app_request``.
    """
    from lovely.remotetask.pyramid.testing import app_request

    with app_request(app) as request:
        yield request
