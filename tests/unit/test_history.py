"""Sums of runs: bins, quantiles, and what fits into a record."""

import random

import BTrees
import pytest

from lovely.remotetask.run.notes import Notes
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.history import EDGES
from lovely.remotetask.store.history import OTHER
from lovely.remotetask.store.history import TASKS
from lovely.remotetask.store.history import History
from lovely.remotetask.store.history import Hour
from lovely.remotetask.store.history import Sums
from lovely.remotetask.store.history import sums_of
from lovely.remotetask.store.history import total_of
from lovely.remotetask.store.order import ready_time
from lovely.remotetask.store.order import waited_ms
from lovely.remotetask.store.queue import JobQueue

EPOCH = 1_577_836_800


def key(priority, seconds, tag=0):
    return ((3 - priority) << 60) + (int(seconds * 1e6) << 10) + tag


def test_each_run_is_in_its_bin():
    # At an edge, and right before it.
    seconds = [time for edge in EDGES for time in (
        edge / 1000 - 0.0005, edge / 1000)]
    found = sums_of(list(seconds), 7, 3)
    assert found.bins == (2,) * 7 + (0,)
    assert (found.done, found.failed, found.wait) == (len(seconds) - 3, 3, 7)
    assert found.run == round(sum(seconds) * 1000)
    assert found.longest == 60_000
    assert sums_of([60.001], 0, 0).bins == (0,) * 7 + (1,)


@pytest.mark.parametrize('seed', range(5))
def test_quantiles_are_within_their_bin(seed):
    times = random.Random(seed)
    seconds = [times.expovariate(1) for _ in range(1000)]
    found = sums_of(list(seconds), 0, 0)
    for part in (0.5, 0.95):
        true = sorted(seconds)[int(part * 1000) - 1] * 1000
        low = max(edge for edge in (0, *EDGES) if edge <= true)
        high = min(edge for edge in (*EDGES, 10**9) if edge > true)
        assert low <= found.quantile(part) <= high
    assert found.quantile(1.0) <= found.longest


def test_quantiles_of_none_and_of_one():
    assert Sums().quantile(0.5) is None
    assert sums_of([0.003], 0, 0).quantile(0.95) <= 3
    assert sums_of([7200.0], 0, 0).quantile(0.5) <= 7_200_000


def test_waits_are_summed_over_priorities():
    keys = [key(-4, 10), key(3, 10.5, 1023), key(0, 11)]
    assert [ready_time(one) - EPOCH for one in keys] == [10, 10.5, 11]
    starts = [EPOCH + 12.0, EPOCH + 12.5, EPOCH + 14.0]
    assert abs(waited_ms(keys, starts) - 7000) <= 1
    assert abs(waited_ms([*keys, None, keys[0]], [*starts, 5.0, None])
               - 7000) <= 1
    assert waited_ms([None], [1.0]) == waited_ms([], []) == 0
    # A clock that is behind.
    assert waited_ms(keys[:1], [EPOCH + 1.0]) == 0


MANY = Sums(10**12, 10**12, 10**25, 10**25, 10**12, (10**12,) * 8)


def test_numbers_that_are_too_large_stay_at_the_most():
    hour = Hour()
    for _ in range(2):
        hour.add({59: {'echo': MANY}})
    minute = hour.by_minute()[59]
    assert (minute.done, minute.run, minute.bins[0]) == (
        2**32 - 1, 2**32 - 1, 65_535)
    hour.collapse()
    hour.add({0: {'echo': MANY}})
    assert hour.by_task()['echo'].wait == 2**64 - 1
    hour.collapse()
    assert hour.sums().done == 2**32 - 1
    assert hour.sums().quantile(0.5) > 0


def test_an_hour_keeps_its_sums_without_its_minutes():
    hour = Hour()
    one = sums_of([0.1, 0.2], 5, 1)
    for minute in range(60):
        hour.add({minute: {'echo': one}})
    before, size = hour.sums(), len(hour.minutes)
    assert before.done == before.failed == 60 and size == 60 * 41
    hour.collapse()
    assert (hour.sums(), hour.minutes, hour.by_minute()) == (before, b'', {})
    # A clock that goes back brings more.
    hour.add({7: {'echo': one}})
    assert hour.sums() == before.plus(one)


def test_the_rest_of_the_tasks_is_other():
    hour = Hour()
    one = sums_of([0.1], 0, 0)
    for number in range(100):
        hour.add({number % 60: {f'task {number}': one}})
    tasks = hour.by_task()
    assert len(tasks) == TASKS
    assert tasks['task 0'] == one and tasks[OTHER].done == 100 - TASKS + 1
    assert total_of(tasks.values()) == hour.sums()


def test_minutes_are_kept_for_a_day_and_hours_for_a_month():
    history = History()
    one = {'echo': sums_of([0.1], 0, 0)}
    for number in range(40 * 24):
        history.fold({number * 60: one}, number * 3600.0 + 60, 0)
        with_minutes = [hour for hour in history.hours.values()
                        if hour.minutes]
        assert len(with_minutes) <= 24
        assert len(history.hours) <= 720
        assert total_of(history.ever().values()).done == number + 1
    assert len(history.hours) == 720
    assert total_of(hour.sums() for hour in history.hours.values()).done == 720
    # After a rest of years, a fold does a bounded part of it.
    history.fold({10**7: one}, 10**7 * 60.0, 0)
    assert len(history.hours) >= 600


def test_all_hours_together_name_as_many_tasks_as_one():
    history, one = History(), sums_of([0.1], 0, 0)
    for hour in range(100):
        history.fold({hour * 60: {f'task {hour}': one}}, hour * 3600.0 + 60, 0)
        found = history.ever()
        assert len(found) <= TASKS
        assert total_of(found.values()).done == hour + 1
    assert found['task 0'] == one and found[OTHER].done == 100 - TASKS + 1
    # What comes late stands under the same name.
    history.fold({60: {'task 99': one, 'task 1': one}}, 99 * 3600.0 + 60, 0)
    assert history.ever()['task 1'].done == 2
    assert history.ever()[OTHER].done == 100 - TASKS + 2


def test_notes_of_many_tasks_and_minutes():
    notes, count = Notes(), 0
    for minute in range(3):
        for number in range(5):
            notes.ended[7].append((
                f'task {number % 2}', 0.1, None, None, minute * 60.0 + number,
                number == 0))
            count += 1
    notes._gather(7)
    assert notes.ended[7] == []
    minutes = notes._minutes[7]
    assert sorted(minutes) == [0, 1, 2]
    assert {name: (sums.done, sums.failed) for name, sums
            in minutes[1].items()} == {'task 0': (2, 1), 'task 1': (2, 0)}


@pytest.fixture
def queue():
    """A queue that is in no database, with a slot of the worker ``loop``."""
    queue = JobQueue(Blocks(BTrees.family32))
    queue.enroll('loop', (), beats=False)
    queue.take_slot('loop')
    return queue


def test_a_minute_that_goes_on_after_a_fold(queue):
    notes = Notes()

    def end(count, moment):
        notes.ended[1] += [('echo', 0.1, None, None, moment, False)] * count

    def stored():
        return sum(hour.sums().done
                   for hour in queue.history_of(1).hours.values())

    # Three of them ended in the minute that is still open.
    end(70, 30.0)
    end(3, 61.0)
    notes.fold(queue, 1, 61.0)
    assert stored() == 70
    # Nothing has ended since.
    notes.fold(queue, 1, 130.0)
    assert stored() == 70
    notes.fold(queue, 1, 661.0)
    assert stored() == 73
    notes.fold(queue, 1, 10_000.0, leaves=True)
    assert stored() == 73


def test_few_jobs_wait_for_ten_minutes(queue):
    notes = Notes()
    for number in range(3):
        notes.ended[1].append(('echo', 0.1, None, None, 60.0 * number, False))
        notes.fold(queue, 1, 60.0 * number)
    history = queue.history_of(1)
    assert history.folds == 0
    notes.fold(queue, 1, 599.0)
    assert history.folds == 0
    notes.fold(queue, 1, 600.0)
    assert (history.folds, history.until) == (1, 600.0)
