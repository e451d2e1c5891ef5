"""Limits, rates and keys hold for all workers together."""

import threading
import time

from zope.component import provideUtility

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.task import FunctionTask

DEADLINE = 30


class Meter:
    """A task that notes how many of its runs there are at once, by key.

    Attributes: ``most``, key -> how many there ever were; ``order``, key ->
    the inputs in the order of their runs; ``began``, when (monotonic).
    """

    def __init__(self, seconds):
        self.seconds = seconds
        self.now, self.most, self.order, self.began = {}, {}, {}, []
        self.lock = threading.Lock()
        #: Set by the first run of a key, which waits for ``go``.
        self.held, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, input):
        key, number = input
        with self.lock:
            self.began.append(time.monotonic())
            self.now[key] = self.now.get(key, 0) + 1
            self.most[key] = max(self.most.get(key, 0), self.now[key])
            self.order.setdefault(key, []).append(number)
        self.held.set()
        self.go.wait(DEADLINE)
        # Long enough for others to begin beside it.
        threading.Event().wait(self.seconds)
        with self.lock:
            self.now[key] -= 1


def provide(name, seconds=0.01, **options):
    meter = Meter(seconds)
    task = FunctionTask(lambda input: meter(input), **options)
    provideUtility(task, ITask, name)
    return meter


def start_three(world):
    for database in (world.db, world.other(), world.other()):
        world.start(database, factory=MultiProcessor, maxThreads=3)


def test_no_more_run_at_once_than_the_limit(world):
    meter = provide('work', limit=2)
    other = provide('other')
    meter.go.clear()
    jobs = world.do(lambda service: service.addMany(
        'work', [('work', number) for number in range(40)]))
    start_three(world)
    world.until(lambda service: meter.now.get('work') == 2)
    meter.go.set()
    more = [world.add('other', ('other', number)) for number in range(3)]
    assert set(world.until_over(*jobs, *more)) == {'completed'}
    assert meter.most == {'work': 2} and other.now == {'other': 0}
    assert world.see(lambda service: max(
        service.jobs[jobid].attempts for jobid in jobs)) == 1
    assert world.see(lambda service: len(service.jobqueue.barred)) == 0


def test_jobs_that_may_not_run_hold_up_no_other(world):
    meter = provide('work', limit=1)
    provide('other')
    meter.go.clear()
    jobs = world.do(lambda service: service.addMany(
        'work', [('work', number) for number in range(150)]))
    start_three(world)
    assert meter.held.wait(DEADLINE)
    other = world.add('other', ('other', 0))
    assert world.until_over(other) == ['completed']
    assert meter.most == {'work': 1}
    meter.go.set()
    world.until_over(*jobs[:20])
    assert meter.most == {'work': 1}


def test_jobs_of_one_key_run_in_the_order_of_their_add(world):
    meter = provide('work')
    keys = ('a', 'b', 'c')
    jobs = [world.do(lambda service, key=key, number=number: service.add(
        'work', (key, number), concurrencyKey=key))
        for number in range(15) for key in keys]
    start_three(world)
    jobs += [world.do(lambda service, key=key, number=number: service.add(
        'work', (key, number), concurrencyKey=key))
        for number in range(15, 20) for key in keys]
    assert set(world.until_over(*jobs)) == {'completed'}
    assert meter.most == dict.fromkeys(keys, 1)
    assert meter.order == {key: list(range(20)) for key in keys}


def test_a_key_may_have_a_limit_of_its_own(world):
    meter = provide('work', keyLimit=2, limit=3)
    jobs = [world.add('work', (key, number), concurrencyKey=key)
            for number in range(10) for key in ('a', 'b')]
    start_three(world)
    assert set(world.until_over(*jobs)) == {'completed'}
    assert max(meter.most.values()) <= 2


def test_no_more_begin_in_any_span_than_the_rate(world):
    meter = provide('work', seconds=0, rate=(5, 0.5))
    jobs = world.do(lambda service: service.addMany(
        'work', [('work', number) for number in range(18)]))
    start_three(world)
    assert set(world.until_over(*jobs)) == {'completed'}
    began = sorted(meter.began)
    # A claim counts, and its run begins a moment later.
    assert all(later - earlier > 0.5 - 0.2
               for earlier, later in zip(began, began[5:], strict=False))
    assert began[-1] - began[0] < 20


def test_the_place_of_a_dead_worker_is_free(world):
    meter = provide('work', limit=1)
    first, second = (world.add('work', ('work', number))
                     for number in range(2))
    dead = world.processor().worker
    assert dead.claim().jobid == first
    other = world.processor().worker
    assert other.claim() is None and world.status(second) == 'queued'
    assert world.see(lambda service: len(service.jobqueue.barred)) == 1
    assert world.dies(dead) == [first]
    assert world.see(lambda service: len(service.jobqueue.barred)) == 0
    assert world.drain() == 2
    assert meter.most == {'work': 1}


def test_the_place_of_a_cancelled_job_is_free(world):
    provide('work', limit=1)
    first, second = (world.add('work', ('work', number))
                     for number in range(2))
    ours, other = (world.processor().worker for _ in range(2))
    assert ours.claim().jobid == first
    assert other.claim() is None
    world.do(lambda service: service.cancel(first))
    assert other.claim().jobid == second


def test_a_job_is_barred_only_as_long_as_the_place_is_taken(world):
    """The end of a run, at the moment at which a claim bars the next job."""
    provide('work', limit=1)
    first, second = (world.add('work', ('work', number))
                     for number in range(2))
    ours, other = (world.processor().worker for _ in range(2))
    claim = ours.claim()
    assert claim.jobid == first
    ended = []
    bar = type(other.executor).write

    def write(self, function, note, **options):
        def end_first(service):
            found = function(service)
            if not ended and service.jobqueue.barred:
                # In this snapshot; and the other one ends now.
                ended.append(service.jobs[second].position[0])
                ours.run(claim)
            return found

        return bar(self, end_first, note, **options)

    type(other.executor).write = write
    try:
        assert other.claim().jobid == second
    finally:
        type(other.executor).write = bar
    assert ended == ['barred']


