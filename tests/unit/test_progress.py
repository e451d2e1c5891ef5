"""progress() of currentJob() takes numbers, and refuses the rest."""

import math

import pytest

from lovely.remotetask.context import JobContext
from lovely.remotetask.errors import UsageError
from lovely.remotetask.job import Job


class Huge(int):
    """No plain number, so that its pickle names a class."""


class Clock:
    moment = 0.0

    def now(self):
        self.moment += 1
        return self.moment


class Service:
    clock = Clock()


@pytest.fixture
def told():
    return []


@pytest.fixture
def context(told):
    return JobContext(Service(), Job(1, 'work', None), None, bool, bool,
                      told.append)


@pytest.mark.parametrize('arguments, kept', [
    ((0,), (0, None, '')),
    ((1, 3), (1, 3, '')),
    ((0.5, 1.0, 'half'), (0.5, 1.0, 'half')),
    ((5, 3), (5, 3, '')),       # an estimate that was too low
    ((2 ** 53, 2 ** 53), (2 ** 53, 2 ** 53, '')),
    ((1, 2, 'x' * 201), (1, 2, 'x' * 200)),
])
def test_what_is_told(context, told, arguments, kept):
    context.progress(*arguments)
    assert context.told[:3] == kept
    assert told == [context.told]


@pytest.mark.parametrize('name', ['done', 'total'])
@pytest.mark.parametrize('wrong', [
    -1, -0.5, math.nan, math.inf, True, '7', b'7', 2 ** 53 + 1, Huge(),
    1j, [1]])
def test_numbers_that_are_none(context, told, name, wrong):
    context.progress(1, 2)
    with pytest.raises(UsageError, match=f'{name} is .*; give a number'):
        context.progress(**{'done': 1, name: wrong})
    assert len(told) == 1 and context.told[:3] == (1, 2, '')


@pytest.mark.parametrize('wrong', [7, b'page', None, ['page']])
def test_messages_that_are_none(context, told, wrong):
    with pytest.raises(UsageError, match='message is .*; give a text'):
        context.progress(1, 2, wrong)
    assert not told and context.told is None


def test_the_same_once_more_is_nothing_new(context, told):
    for _ in range(3):
        context.progress(1, 2, 'page')
    assert [one.at for one in told] == [told[0].at]
    context.progress(2, 2, 'page')
    assert len(told) == 2 and told[0].at < told[1].at
