"""Whatever ends, is stored, killed or cleaned: no run counts twice.

The model counts what was committed.  Of that, histories hold all but what the
memory of a killed worker held.
"""

import transaction
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component import provideUtility
from zope.component.testing import setUp
from zope.component.testing import tearDown

from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import make_service
from lovely.remotetask.store.history import total_of
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import FrozenClock

STEPS = st.lists(st.one_of(
    st.tuples(st.just('run'), st.integers(1, 90), st.booleans()),
    st.tuples(st.just('one'), st.booleans()),
    st.tuples(st.just('direct'), st.booleans()),
    st.tuples(st.just('passes'), st.sampled_from(
        [1, 30, 60, 700, 3600, 25 * 3600])),
    st.tuples(st.just('back')),
    st.tuples(st.just('aborts')),
    st.tuples(st.just('kill')),
    st.tuples(st.just('leave')),
    st.tuples(st.just('clean')),
), max_size=25)


def ends(service, jobid, input):
    if input:
        raise TaskError('no')


class World:
    """A service, its worker, and what the model knows of both."""

    def __init__(self, clock):
        self.clock = clock
        self.db = DB(MappingStorage())
        self.connection = self.db.open()
        self.service = make_service(self.connection.root(), 'tasks')
        transaction.commit()
        self.committed = self.lost = self.totals = 0
        self.direct_runs = 0
        self.begin()

    def begin(self):
        self.worker = SimpleProcessor(self.db, ['tasks']).worker
        self.worker.enroll()

    def stored(self):
        transaction.begin()
        return sum(
            (sums := total_of(hour.sums() for hour in (
                slot.history.hours.values()))).done + sums.failed
            for slot in self.service.jobqueue.slots.values()
            if slot.history is not None)

    def ever(self):
        """The same by the sums of all hours, from which nothing is dropped."""
        return sum(
            (sums := total_of(slot.history.ever().values())).done + sums.failed
            for slot in self.service.jobqueue.slots.values()
            if slot.history is not None)

    def run(self, count, fails):
        self.service.addMany('ends', [fails] * count)
        transaction.commit()
        while claims := self.worker.claim_some():
            self.worker.work(claims, lambda: True)
        self.committed += count

    def one(self, fails):
        self.service.add('ends', fails)
        transaction.commit()
        self.worker.run(self.worker.claim())
        self.committed += 1

    def direct(self, fails):
        self.service.add('ends', fails)
        self.service.process()
        transaction.commit()
        self.direct_runs += 1

    def passes(self, seconds):
        self.clock.advance(seconds)

    def back(self):
        self.clock.advance(-90)

    def aborts(self):
        """A commit that would have stored some fails."""
        transaction.begin()
        queue = self.service.jobqueue
        for slot in queue.slots_of(self.worker.identity.id):
            self.worker.executor.notes.fold(
                queue, slot, self.clock.now(), leaves=True)
        transaction.abort()

    def kill(self):
        self.lost = self.committed - self.stored()
        transaction.begin()
        self.service.jobqueue.retire(
            self.worker.identity.id, self.clock.now(), charged=True)
        transaction.commit()
        self.begin()

    def leave(self):
        self.worker.leave()
        assert self.stored() == self.committed - self.lost
        self.begin()

    def clean(self):
        transaction.begin()
        self.service.clean()
        transaction.commit()

    def check(self):
        assert self.ever() == self.stored() <= self.committed - self.lost
        stats = self.service.stats()
        totals = stats['completedTotal'] + stats['errorTotal']
        assert totals == self.committed + self.direct_runs


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_what_is_stored_is_what_was_committed(steps):
    setUp()
    try:
        provideUtility(FunctionTask(ends), ITask, 'ends')
        with FrozenClock(1_800_000_000.0) as clock:
            world = World(clock)
            before = 0
            for name, *arguments in steps:
                getattr(world, name)(*arguments)
                world.check()
                # Within 30 days nothing is dropped.
                stored = world.stored()
                assert stored >= before
                before = stored
            world.leave()
            world.worker.leave()
            world.connection.close()
            world.db.close()
    finally:
        transaction.abort()
        tearDown()
