"""Retry policies: how long, how often, and never without limit."""

import pickle
import random

import pytest
from zope.interface.verify import verifyObject

from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import SECONDS
from lovely.remotetask.errors.bounds import shown
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.retry import DEFAULT_POLICY
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.retry import RetryPolicy


class Top(random.Random):
    """The largest of all numbers that might be drawn."""

    def uniform(self, a, b):
        return b


def test_interface():
    assert verifyObject(IRetryPolicy, DEFAULT_POLICY)


def test_default_is_three_retries_within_1_2_and_4_seconds():
    assert [DEFAULT_POLICY.delay(failures, Top())
            for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, None, None]


def test_no_retry():
    assert NO_RETRY.delay(1, random.Random()) is None


def test_cap():
    policy = RetryPolicy(10, base=3, cap=20)
    assert [policy.delay(failures, Top()) for failures in range(1, 6)] == [
        3, 6, 12, 20, 20]


def test_full_jitter():
    # From 0 on, evenly: what failed together does not come back together.
    rng = random.Random(1)
    drawn = [DEFAULT_POLICY.delay(3, rng) for _ in range(1000)]
    for quarter in range(4):
        assert 200 < sum(quarter <= d < quarter + 1 for d in drawn) < 300


def test_is_a_value():
    assert RetryPolicy(3) == DEFAULT_POLICY
    assert pickle.loads(pickle.dumps(RetryPolicy(7, 2.5))) == RetryPolicy(
        7, 2.5)
    # All jobs share it.
    with pytest.raises(AttributeError):
        DEFAULT_POLICY.retries = 9


@pytest.mark.parametrize('name', ['base', 'cap'])
@pytest.mark.parametrize('value', [
    -1, '1', None, True, float('nan'), float('inf'), 1e14, 10**400])
def test_seconds_that_make_no_sense(name, value):
    with pytest.raises(UsageError) as caught:
        RetryPolicy(**{name: value})
    assert str(caught.value) == (
        f'{name} is {shown(value)}; give {SECONDS}')


@pytest.mark.parametrize('value', [-1, 1.0, '3', None, True])
def test_retries_that_make_no_sense(value):
    with pytest.raises(UsageError) as caught:
        RetryPolicy(value)
    assert str(caught.value) == (
        f'retries is {value!r}; give a whole number from 0 on')
