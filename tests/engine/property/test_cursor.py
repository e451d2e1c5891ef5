"""ReadCursor, over the ready lanes, against a model of what waits."""

from types import SimpleNamespace

from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from lovely.remotetask.store.claims import Slot
from lovely.remotetask.store.cursor import _LOOK_SECONDS
from lovely.remotetask.store.cursor import ReadCursor
from lovely.remotetask.store.ready import LANES
from lovely.remotetask.store.ready import Ready

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

    ``jobs``: the mapping of jobs, which say themselves where they stand.
    """

    def __init__(self):
        self.jobs, self.slot = {}, Slot('loop')
        self.ready = Ready(self.jobs, {1: self.slot})
        self.cursor = ReadCursor()
        self.now = 0.0
        self.runs = {}          # job id -> how often it was taken
        self.turns = {}         # job id -> the key it was taken at
        self.queued = {}        # job id -> how often it was queued
        self.late = 1000
        self.looked = None      # when the reader has looked
        self.missed = set()     # what has come since, before its place
        self.left = []          # entries that the reader has left behind

    def key(self, jobid):
        position = self.jobs[jobid].position
        return None if position is None else position[1]

    def waiting(self):
        return {jobid: self.key(jobid) for jobid in self.jobs
                if self.key(jobid) is not None}

    def put(self, jobid, key):
        self.jobs.setdefault(jobid, SimpleNamespace()).position = (
            'ready', self.ready.insert(key, jobid))
        self.queued[jobid] = self.queued.get(jobid, 0) + 1
        self.missed.add(jobid)

    def add(self, step):
        self.late += step
        self.put(len(self.queued) + 1, self.late)

    def hurry(self, key):
        self.put(len(self.queued) + 1, key)

    def took(self, jobid):
        self.turns[jobid] = self.key(jobid)
        self.jobs[jobid].position = None
        self.runs[jobid] = self.runs.get(jobid, 0) + 1

    def claim(self, most, commits=True):
        cursor, ready = self.cursor, self.ready
        # Where a hurry cannot have been missed the order is exact.
        if not cursor.is_current(ready, lambda: None, self.now):
            cursor.look(ready, None, self.now)
            self.looked, self.missed = self.now, set()
        elif self.now > self.looked + _LOOK_SECONDS:
            # Its plan began with the first job of all, and stays as it is:
            # behind that one it knows of nothing that has come since.
            first = cursor.plan[0][0]
            self.looked, self.missed = self.now, {
                jobid for jobid in self.missed
                if (self.key(jobid) or 0) > first}
        taken = []
        while len(taken) < most and (cursor.plan or self.more(taken)):
            key, jobid = cursor.plan.popleft()
            if ready.live(key, jobid) is None:
                cursor.pass_by(key)
                continue
            assert jobid not in taken, 'twice in one transaction'
            earlier = [other for other, at in self.waiting().items()
                       if at < key and other not in taken]
            assert self.missed.issuperset(earlier), 'out of order'
            cursor.claim(key)
            taken.append(jobid)
        if len(taken) < most:
            assert self.missed.issuperset(
                self.waiting().keys() - set(taken))
        if not commits:
            cursor.aborted()
            self.looked = None
            return
        cursor.committed()
        for jobid in taken:
            self.left.append((self.key(jobid), jobid))
            self.took(jobid)

    def more(self, taken):
        self.cursor.look(self.ready, None, self.now)
        self.looked, self.missed = self.now, set()
        return self.cursor.plan

    def abort(self, most):
        self.claim(most, commits=False)

    def other_takes(self, most):
        """Another worker takes; what was left behind it passes by."""
        for key, jobid in self.ready.entries():
            if most and self.ready.live(key, jobid) is not None:
                self.ready.take(key)
                self.took(jobid)
                most -= 1

    def requeue(self, number):
        """What runs is given back: beside its old key."""
        running = sorted(self.turns.keys() - self.waiting().keys())
        if running:
            jobid = running[number % len(running)]
            self.put(jobid, self.ready.beside(self.turns[jobid]))

    def remove(self, _=0):
        self.slot.claims.leave(self.left)
        assert self.ready.count() == len(self.waiting())
        self.ready.remove_left(self.slot.claims.left)
        self.slot.claims.leave_nothing()
        self.cursor.removed()
        self.left, self.looked = [], None

    def wait(self, times):
        self.now += times * _LOOK_SECONDS


@settings(deadline=None)
# A job comes amid a plan that goes on with the first job of all.
@example([('add', 0), ('add', 0), ('add', 0), ('add', 1), ('claim', 1),
          ('add', 0)])
@given(steps)
def test_nothing_is_lost_or_taken_twice(steps):
    machine = Machine()
    for step, value in steps:
        getattr(machine, step.replace(' ', '_'))(value)
        # Each entry is live or left; each job that waits has its entry.
        waits = {key: jobid for jobid, key in machine.waiting().items()}
        assert dict(machine.ready.entries()) == waits | dict(machine.left)
        assert {key: job for key, job in machine.ready.up()} == {
            key: machine.jobs[jobid] for key, jobid in waits.items()}
        assert machine.ready.any() == bool(waits)
    # At the end it runs what there is, and cleans up behind itself.
    for _ in range(2):
        machine.wait(2)
        machine.claim(10**6)
        machine.remove()
    assert machine.waiting() == {}
    assert machine.runs == machine.queued
    assert list(machine.ready.entries()) == []
    assert machine.ready.count() == 0


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60, unique=True),
       st.sets(st.integers(0, LANES - 1), min_size=1))
def test_lanes_of_others_are_left_alone(keys, own):
    ready, cursor = Ready({}, {}), ReadCursor()
    for key in keys:
        ready.insert(key, key)
    cursor.look(ready, own, 0.0)
    taken = []
    while cursor.plan or cursor.extend():
        key, _ = cursor.plan.popleft()
        cursor.claim(key)
        taken.append(key)
    cursor.committed()
    assert taken == sorted(key for key in keys if key % LANES in own)
    cursor.look(ready, own, 1.0)
    assert not cursor.plan


@given(st.lists(st.integers(0, 300), min_size=2, max_size=60, unique=True),
       st.data())
def test_what_is_urgent_waits_no_longer_than_a_look_holds(keys, data):
    ready, cursor = Ready({}, {}), ReadCursor()
    for key in keys:
        ready.insert(key, key)
    cursor.look(ready, None, 0.0)
    for _ in range(data.draw(st.integers(1, min(len(keys), 32) - 1))):
        cursor.claim(cursor.plan.popleft()[0])
    cursor.committed()
    ready.insert(-1, 1000)
    later = _LOOK_SECONDS * 1.01
    if not cursor.is_current(ready, lambda: None, later):
        cursor.look(ready, None, later)
    assert cursor.plan[0] == (-1, 1000)
