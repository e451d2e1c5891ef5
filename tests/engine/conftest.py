"""What tests of the engine share, on whichever storage they run."""

import pytest

from lovely.remotetask import TaskService


@pytest.fixture
def ran(register):
    """The inputs of the jobs of the task ``note`` that ran, in their order."""
    ran = []

    @register
    def note(input):
        ran.append(input)
        return input

    return ran


@pytest.fixture
def clock(monkeypatch):
    """The clock of services, which stands still; a test sets its ``moment``.
    """
    class Clock:
        moment = 1_800_000_000.0

        def now(self):
            return self.moment

    monkeypatch.setattr(TaskService, 'clock', clock := Clock())
    return clock
