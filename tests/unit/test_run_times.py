"""How many jobs of which tasks are put into one commit."""

from types import SimpleNamespace

import pytest

from lovely.remotetask.run.run_times import RunTimes
from lovely.remotetask.settings import GROUP_JOBS
from lovely.remotetask.settings import GROUP_SECONDS
from lovely.remotetask.task import FunctionTask

TASKS = {
    'short': FunctionTask(len, groupable=True),
    'other': FunctionTask(len, groupable=True),
    'plain': FunctionTask(len),
}


def job(task='short'):
    return SimpleNamespace(task=task)


def group(pace, jobs):
    """How many of these jobs one claim takes."""
    more = pace.fits_in_commit(TASKS.get)
    for count, one in enumerate(jobs):
        if not more(one, count):
            # The first is taken in any case.
            return max(count, 1)
    return len(jobs)


@pytest.fixture
def pace():
    return RunTimes()


def test_the_first_run_of_a_task_is_alone(pace):
    assert group(pace, [job()] * 5) == 1
    pace.learn('short', 0.0)
    assert group(pace, [job()] * 5) == 5
    # What is known of one task says nothing about another.
    assert group(pace, [job()] * 2 + [job('other')] * 3) == 3
    assert group(pace, [job('other')] * 3) == 1


@pytest.mark.parametrize('parts', [1, 2, 4, 16])
def test_as_many_as_fit_into_the_time(pace, parts):
    pace.learn('short', GROUP_SECONDS / parts * 0.999)
    assert group(pace, [job()] * 200) == parts


def test_never_more_than_the_limit(pace):
    pace.learn('short', 0.0)
    assert group(pace, [job()] * 200) == GROUP_JOBS


def test_what_takes_longer_than_all_the_time_is_alone(pace):
    pace.learn('short', 0.0)
    pace.learn('other', GROUP_SECONDS * 2)
    assert group(pace, [job('other')] * 3) == 1
    assert group(pace, [job(), job('other'), job()]) == 1


@pytest.mark.parametrize('task', ['plain', 'not registered'])
def test_what_is_not_groupable_is_alone(pace, task):
    for name in ('short', task):
        pace.learn(name, 0.0)
    assert group(pace, [job(task)] * 3) == 1
    assert group(pace, [job(), job(), job(task), job()]) == 2


def test_a_slow_run_counts_at_once_and_is_forgotten_slowly(pace):
    pace.learn('short', 0.0)
    pace.learn('short', GROUP_SECONDS)
    assert group(pace, [job()] * 200) == 1
    sizes = []
    for _ in range(40):
        pace.learn('short', 0.0)
        sizes.append(group(pace, [job()] * 200))
    assert sizes == sorted(sizes)
    assert sizes[0] == 1 and sizes[-1] == GROUP_JOBS
    # One quick run is not enough, nor are two.
    assert sizes[1] < 4


def test_what_ends_its_transaction_is_alone_and_said_once(pace, log):
    pace.learn('short', 0.0)
    pace.learn('other', 0.0)
    for _ in range(3):
        pace.run_alone('short')
    assert group(pace, [job()] * 3) == 1
    assert group(pace, [job('other')] * 3) == 3
    (said,) = log
    assert said.startswith('WARNING Task "short" is groupable, and ends its '
                           'transaction by itself')
    # It goes on being measured, and stays alone.
    pace.learn('short', 0.0)
    assert group(pace, [job()] * 3) == 1
