"""Ahead, over Lanes, against a model of what waits."""

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lovely.remotetask.store.ahead import _AHEAD_SECONDS
from lovely.remotetask.store.ahead import Ahead
from lovely.remotetask.store.lanes import Lanes

steps = st.lists(st.one_of(
    # Later ones, and those of a higher priority.
    st.tuples(st.just('add'), st.integers(0, 40)),
    st.tuples(st.just('hurry'), st.integers(0, 40)),
    # How many of a transaction's claims; whether it gets through.
    st.tuples(st.sampled_from(['claim', 'abort']), st.integers(1, 6)),
    st.tuples(st.just('other takes'), st.integers(0, 5)),
    st.tuples(st.just('requeue'), st.integers(0, 50)),
    st.tuples(st.just('remove'), st.just(0)),
    st.tuples(st.just('wait'), st.floats(0, 2)),
), max_size=80)


class Machine:
    """One reader that takes ahead, others that do not, and what is true.

    ``places``: job id -> key, what waits, as the jobs' own records say it.
    """

    def __init__(self, count):
        self.lanes, self.ahead = Lanes(count), Ahead()
        self.now = 0.0
        self.places = {}
        self.runs = {}          # job id -> how often it was taken
        self.turns = {}         # job id -> the key it was taken at
        self.queued = {}        # job id -> how often it was queued
        self.late = 1000
        self.looked = None      # when the reader has looked
        self.missed = set()     # what has come since, before its place

    def put(self, jobid, key):
        self.places[jobid] = self.lanes.insert(key, jobid)
        self.queued[jobid] = self.queued.get(jobid, 0) + 1
        self.missed.add(jobid)

    def add(self, step):
        self.late += step
        self.put(len(self.queued) + 1, self.late)

    def hurry(self, key):
        self.put(len(self.queued) + 1, key)

    def took(self, jobid):
        self.turns[jobid] = self.places.pop(jobid)
        self.runs[jobid] = self.runs.get(jobid, 0) + 1

    def entries(self):
        """Of the entries to come, those that are no traces."""
        for key, jobid in self.ahead.entries(self.lanes, self.now, None):
            if self.places.get(jobid) == key:
                yield key, jobid

    def claim(self, most, commits=True):
        # Where a hurry cannot have been missed the order is exact.
        if self.looked is None or self.now > self.looked + _AHEAD_SECONDS:
            self.looked, self.missed = self.now, set()
        taken = []
        for key, jobid in self.entries():
            assert jobid not in taken, 'twice in one transaction'
            earlier = [other for other, at in self.places.items()
                       if at < key and other not in taken]
            assert self.missed.issuperset(earlier), 'out of order'
            self.ahead.take(self.lanes, key, jobid)
            taken.append(jobid)
            if len(taken) == most:
                break
        if len(taken) < most:
            assert self.missed.issuperset(self.places.keys() - set(taken))
        if not commits:
            self.ahead.aborted()
            self.looked = None
            return
        self.ahead.committed()
        for jobid in taken:
            self.took(jobid)

    def abort(self, most):
        self.claim(most, commits=False)

    def other_takes(self, most):
        """Another worker pulls; traces that it meets it drops."""
        for key, jobid in self.lanes.ahead():
            self.lanes.pull(key)
            if self.places.get(jobid) == key:
                self.took(jobid)
                most -= 1
                if most <= 0:
                    return

    def requeue(self, number):
        """What runs is given back: beside its old key."""
        running = sorted(self.turns.keys() - self.places.keys())
        if running:
            jobid = running[number % len(running)]
            self.put(jobid, self.turns[jobid] + len(self.lanes.trees))

    def remove(self, _=0):
        for key, jobid in self.ahead.spent:
            if self.lanes.holds(key, jobid):
                self.lanes.pull(key, counted=False)
        self.ahead.removed()
        self.looked = None

    def wait(self, times):
        self.now += times * _AHEAD_SECONDS


@settings(deadline=None)
@given(st.integers(1, 8), steps)
def test_nothing_is_lost_or_taken_twice(count, steps):
    machine = Machine(count)
    for step, value in steps:
        getattr(machine, step.replace(' ', '_'))(value)
        # Each entry is a place or a trace; each place has its entry.
        entries = dict(machine.lanes.up())
        assert all(entries[key] == jobid
                   for jobid, key in machine.places.items())
    # At the end it runs what there is, and cleans up behind itself.
    for _ in range(2):
        machine.wait(2)
        machine.claim(10**6)
        machine.remove()
    assert machine.places == {}
    assert machine.runs == machine.queued
    assert list(machine.lanes.up()) == []


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60, unique=True),
       st.integers(1, 8), st.integers(0, 7))
def test_lanes_of_others_are_left_alone(keys, count, own):
    lanes, ahead = Lanes(count), Ahead()
    for key in keys:
        lanes.insert(key, key)
    taken = []
    for key, jobid in ahead.entries(
            lanes, 0.0, lambda lane, key: lane == own % count):
        ahead.take(lanes, key, jobid)
        taken.append(key)
    ahead.committed()
    assert taken == sorted(key for key in keys if key % count == own % count)
    assert list(ahead.entries(
        lanes, 1.0, lambda lane, key: lane == own % count)) == []


@given(st.lists(st.integers(0, 300), min_size=2, max_size=60, unique=True),
       st.integers(1, 8), st.data())
def test_what_is_urgent_waits_no_longer_than_a_look_holds(keys, count, data):
    lanes, ahead = Lanes(count), Ahead()
    for key in keys:
        lanes.insert(key, key)
    many = data.draw(st.integers(1, len(keys) - 1))
    for key, jobid in ahead.entries(lanes, 0.0, None):
        ahead.take(lanes, key, jobid)
        many -= 1
        if not many:
            break
    ahead.committed()
    lanes.insert(-1, 1000)
    later = _AHEAD_SECONDS * 1.01
    assert next(ahead.entries(lanes, later, None)) == (-1, 1000)
