"""The main thread of a command waits with a bound, so that signals get in."""

import inspect

from waitress.adjustments import Adjustments

from lovely.remotetask.cli import worker


class Over:
    """Notes for how long the main thread waits; is set at the third time."""

    def __init__(self):
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        return len(self.waits) == 3

    def is_set(self):
        return True


def test_the_main_thread_of_a_worker_wakes_each_second(monkeypatch):
    work = worker._Work.__new__(worker._Work)
    work._thread = type('Thread', (), {'start': lambda self: None})()
    work._thread.over = over = Over()
    work.services = ['/tasks']
    monkeypatch.setattr(work, '_announce', lambda: None)
    monkeypatch.setattr(work, '_end', lambda grace: 0)
    try:
        work.run(0)
    except worker.Failure as error:
        assert 'ended by itself' in str(error)
    assert over.waits == [1.0] * 3


def test_the_main_thread_of_serve_wakes_each_second():
    assert Adjustments.asyncore_loop_timeout <= 1
    from lovely.remotetask.cli import server

    assert 'asyncore_loop_timeout' not in inspect.getsource(server)
