"""FrozenClock moves only when a test says so."""

import pickle
import threading
from datetime import UTC
from datetime import datetime
from datetime import timedelta

import pytest
import transaction

from lovely.remotetask import TaskService
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.errors import UsageError
from lovely.remotetask.testing import FrozenClock
from lovely.remotetask.testing import TaskServiceStub

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_stands_still_and_moves():
    clock = FrozenClock(NOON)
    assert clock.now() == clock.now() == NOON.timestamp()
    clock.advance(1.5)
    clock.advance(timedelta(minutes=1))
    assert clock.moment == NOON + timedelta(seconds=61.5)
    clock.set(NOON - timedelta(days=1))
    assert clock.now() == NOON.timestamp() - 86400
    clock.advance(-1)
    assert repr(clock) == '<FrozenClock 2026-03-01T11:59:59+00:00>'


def test_begins_now():
    before = SYSTEM_CLOCK.now()
    assert before <= FrozenClock().now() <= SYSTEM_CLOCK.now()


@pytest.mark.parametrize('moment', [
    'noon', datetime(2026, 3, 2), float('inf'), True, -10 ** 12])
def test_a_moment_that_is_none(moment):
    with pytest.raises(UsageError, match='^moment is .*; give an aware'):
        FrozenClock(moment)
    clock = FrozenClock(NOON)
    with pytest.raises(UsageError, match='^moment is'):
        clock.set(moment)
    assert clock.moment == NOON


@pytest.mark.parametrize('time', ['1', None, True, float('nan')])
def test_a_time_that_is_none(time):
    clock = FrozenClock(NOON)
    with pytest.raises(UsageError):
        clock.advance(time)
    assert clock.moment == NOON


def test_holds_for_all_services_and_threads(application, service, register):
    register(lambda input: input, 'echo')
    seen = []

    def look():
        with application.db.transaction() as connection:
            seen.append(connection.get(service._p_oid).clock)

    with FrozenClock(NOON) as clock:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [clock]
        assert TaskServiceStub().clock is TaskService().clock is clock
        job = service.jobs[service.add('echo')]
        assert job.createdAt == NOON
        with FrozenClock(0) as inner:
            assert service.clock is inner
        assert service.clock is clock
    assert service.clock is SYSTEM_CLOCK


def test_an_error_gives_the_time_back():
    with pytest.raises(ZeroDivisionError):
        with FrozenClock(NOON):
            raise ZeroDivisionError
    assert TaskService.clock is SYSTEM_CLOCK


def test_it_cannot_be_stored(service):
    clock = FrozenClock(NOON)
    with pytest.raises(UsageError, match='say "with FrozenClock'):
        pickle.dumps(clock)
    service.clock = clock
    with pytest.raises(UsageError, match='say "with FrozenClock'):
        transaction.commit()
    transaction.abort()
    assert service.clock is SYSTEM_CLOCK


def test_a_clock_may_be_entered_twice():
    before = TaskService.clock
    with FrozenClock(NOON) as clock:
        with clock:
            assert TaskService.clock is clock
        assert TaskService.clock is clock
    assert TaskService.clock is before
