"""How many threads of a worker run one task at once."""

import pytest
from ZODB.POSException import ConflictError

from lovely.remotetask.run.claim import Claim
from lovely.remotetask.run.conflicts import is_of_queue
from lovely.remotetask.run.crowd import Crowd

THREADS = 5


class Pool:
    """Threads that run jobs of one task, as a Crowd sees them."""

    def __init__(self):
        self.now = 100.0
        self.crowd = Crowd(lambda: self.now)
        self.crowd.threads = THREADS

    def start(self, slot, task='task'):
        token = ('worker', slot, len(self.crowd.active))
        self.crowd.active[token] = Claim(slot, token, slot, task)
        return self.now

    def limit(self):
        """How many threads may run the task now."""
        self.crowd.active.clear()
        for slot in range(THREADS * 2):
            if not self.crowd.admits()('task'):
                break
            self.start(slot)
        self.crowd.active.clear()
        return len(range(slot))

    def end(self, times=1):
        for _ in range(times):
            began, self.now = self.now, self.now + 0.001
            self.crowd.ended('task', began)

    def conflict(self, others=1):
        for slot in range(1 + others):
            began = self.start(slot)
        self.now += 0.001
        self.crowd.conflicted('task', began)
        self.crowd.active.clear()


@pytest.fixture
def pool():
    return Pool()


def test_a_new_task_gets_more_threads_as_its_runs_end(pool):
    assert pool.limit() == 2
    pool.end(3)
    assert pool.limit() == 2
    pool.end()
    assert pool.limit() == 4
    pool.end(8)
    # As many as there are.
    assert pool.limit() >= THREADS


def test_a_new_task_that_takes_long_gets_more_threads_in_time(pool):
    assert pool.limit() == 2
    # Shorter ones get them by their ends, or are taught by their conflicts.
    pool.now += 0.9
    assert pool.limit() == 2
    pool.now += 0.1
    assert pool.limit() == 4
    pool.now += 1
    assert pool.limit() >= THREADS


def test_conflicts_take_threads_away_down_to_one(pool):
    pool.limit()
    pool.end(12)
    assert pool.limit() >= THREADS
    limits = []
    for _ in range(4):
        pool.conflict()
        limits.append(pool.limit())
    assert limits == [2, 1, 1, 1]
    pool.now += 59
    assert pool.limit() == 1, 'only a new task gets more so soon'


def test_a_run_that_hangs_holds_up_no_others_for_ever(pool):
    pool.limit()
    pool.conflict()
    pool.start(1)
    assert not pool.crowd.admits()('task')
    pool.now += 60
    assert pool.crowd.admits()('task')
    pool.start(2)
    assert not pool.crowd.admits()('task')
    pool.now += 60
    assert pool.crowd.admits()('task')


def test_a_task_that_did_not_run_is_not_taken_for_one_that_hangs(pool):
    pool.limit()
    pool.conflict()
    for _ in range(8):
        pool.now += 61
        assert pool.crowd.admits()('task')
        began = pool.start(1)
        assert not pool.crowd.admits()('task')
        pool.now += 0.001
        pool.crowd.ended('task', began)
        pool.crowd.active.clear()
    assert pool.limit() == 1


def test_a_task_that_takes_long_is_not_taken_for_one_that_hangs(pool):
    pool.limit()
    pool.conflict()
    began = pool.start(1)
    pool.now += 50
    pool.crowd.ended('task', began)
    pool.now += 199
    assert not pool.crowd.admits()('task')
    pool.now += 1.1
    assert pool.crowd.admits()('task')


def test_fifty_good_ends_try_one_thread_more(pool):
    pool.limit()
    pool.conflict()
    pool.end(49)
    assert pool.limit() == 1
    pool.end()
    assert pool.limit() == 2
    # That was too many.
    pool.conflict()
    assert pool.limit() == 1


def test_one_conflict_in_twenty_runs_costs_nothing(pool):
    pool.limit()
    pool.end(12)
    pool.limit()
    for _ in range(20):
        pool.end(20)
        pool.conflict()
        assert pool.limit() >= THREADS
    pool.conflict()
    assert pool.limit() == 2


def test_a_run_that_began_before_the_change_teaches_nothing(pool):
    pool.limit()
    began = pool.start(1)
    pool.start(2)
    pool.now += 0.001
    pool.crowd.conflicted('task', began)
    pool.end(40)
    for _ in range(3):
        pool.crowd.conflicted('task', began)
        pool.crowd.ended('task', began)
    pool.end(9)
    assert pool.limit() == 1
    pool.end()
    assert pool.limit() == 2


def test_a_new_task_gets_no_more_threads_after_a_conflict(pool):
    """Also where the run began before it got the last ones."""
    pool.limit()
    began = pool.start(1)
    pool.now += 5
    assert pool.limit() == 4
    pool.start(1)
    pool.start(2)
    pool.crowd.conflicted('task', began)
    assert pool.limit() == 2
    # Those that ran beside it conflict, too, and teach nothing more.
    pool.crowd.conflicted('task', began)
    pool.now += 5
    assert pool.limit() == 2


def test_a_conflict_with_others_than_our_threads_takes_none_away(pool):
    pool.limit()
    for _ in range(10):
        pool.conflict(others=0)
    assert pool.limit() == 2


def test_a_conflict_with_a_run_of_ours_that_has_ended_counts(pool):
    pool.limit()
    began = pool.start(1)
    pool.now += 0.001
    pool.crowd.ended('task', pool.now)
    pool.crowd.conflicted('task', began)
    assert pool.limit() == 1


def test_the_claiming_thread_does_not_count(pool):
    assert pool.limit() == 2
    pool.start(1)
    pool.start(2)
    assert not pool.crowd.admits()('task')
    assert pool.crowd.admits(slot=2)('task')
    assert not pool.crowd.admits(slot=3)('task')
    # A group of jobs has one thread.
    pool.start(2)
    assert pool.crowd.admits(slot=2)('task')
    assert pool.crowd.admits()('other')


def test_who_repeats_its_run_and_who_gives_its_job_back(pool):
    assert not pool.crowd.is_over('task')
    pool.limit()
    pool.start(1)
    pool.start(2)
    assert not pool.crowd.is_over('task')
    pool.start(3)
    assert pool.crowd.is_over('task')
    assert not pool.crowd.is_over('other')


def test_groups_wait_until_it_is_known_how_many_threads_a_task_bears(pool):
    assert not pool.crowd.bears_groups('task')
    pool.limit()
    assert not pool.crowd.bears_groups('task')
    pool.end(12)
    assert pool.limit() >= THREADS
    assert pool.crowd.bears_groups('task')
    for limit in 2, 1:
        pool.conflict()
        assert pool.limit() == limit
        assert pool.crowd.bears_groups('task') is (limit == 1)
    pool.end(50)
    assert pool.limit() == 2
    assert not pool.crowd.bears_groups('task')
    pool.crowd.threads = 1
    assert pool.crowd.bears_groups('task')


def test_a_conflict_of_the_queue_is_none_of_the_task():
    error = ConflictError()
    assert not is_of_queue(error)
    error.class_name = 'persistent.mapping.PersistentMapping'
    assert not is_of_queue(error)
    error.class_name = 'lovely.remotetask.job.Job'
    assert is_of_queue(error)


def test_one_thread_is_never_held_back(pool):
    pool.crowd.threads = 1
    for slot in range(10):
        pool.start(slot)
    assert pool.crowd.admits()('task')
    pool.crowd.conflicted('task', pool.now)
    pool.crowd.ended('task', pool.now)
    assert not pool.crowd.is_over('task')
