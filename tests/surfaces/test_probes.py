"""A look that hangs keeps few threads, and nobody waiting."""

import threading
import time

import pytest

from lovely.remotetask.web import bounded
from lovely.remotetask.web import kept

DEADLINE = 30


@pytest.fixture(autouse=True)
def _fresh():
    kept.forget()
    yield
    kept.forget()


class Hanging:
    """A database that hangs until it is released; counts who looks."""

    def __init__(self):
        self.released = threading.Event()
        self.entered = threading.Semaphore(0)
        self.looks = 0

    def __call__(self, *arguments, **options):
        self.looks += 1
        self.entered.release()
        assert self.released.wait(DEADLINE)
        return {'workers': 0, 'paused': False, 'queued': 0, 'oldest': None}


@pytest.fixture
def hanging():
    found = Hanging()
    yield found
    found.released.set()


def test_who_comes_later_does_not_wait_once_more(hanging):
    looks = bounded.Bounded()
    begun = time.monotonic()
    assert looks.ask(hanging, lambda: 0.0) is None
    assert time.monotonic() - begun < 5
    begun = time.monotonic()
    for now in (2.0, 4.0, 6.0, 29.0):
        assert looks.ask(hanging, lambda now=now: now) is None
    assert time.monotonic() - begun < bounded.WAITED
    assert hanging.looks == 1


def test_few_looks_hang_however_long_it_takes(hanging, monkeypatch):
    monkeypatch.setattr(bounded, 'WAITED', 0.0)
    looks = bounded.Bounded()
    for now in range(0, 3600, 2):
        assert looks.ask(hanging, lambda now=now: float(now)) is None
    assert hanging.looks == 3
    # The database is back.
    hanging.released.set()
    for thread in threading.enumerate():
        if thread.name == 'remotetask.probe':
            thread.join(DEADLINE)
    monkeypatch.setattr(bounded, 'WAITED', DEADLINE)
    assert looks.ask(hanging, lambda: 4000.0)['workers'] == 0


def test_a_failure_counts_for_two_seconds_too(hanging):
    looks, failed = bounded.Bounded(), []

    def fail():
        failed.append(1)
        raise ConnectionError

    for now, expected in ((0.0, 1), (1.9, 1), (2.1, 2)):
        assert looks.ask(fail, lambda now=now: now) is None
        assert len(failed) == expected


def test_a_service_that_hangs_is_not_ready(site, hanging, monkeypatch):
    monkeypatch.setattr(site, 'run', hanging)
    begun = time.monotonic()
    answer = site.get('readyz')
    assert (answer.status, answer.body) == (503, b'not ready\n')
    assert 0.9 < time.monotonic() - begun < 5
    assert answer.headers['Cache-Control'] == 'no-store'
    # This process answers all the same.
    assert site.get('healthz').status == 200
