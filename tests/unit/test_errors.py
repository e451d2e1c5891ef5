"""RetryLater says until when, or is refused where it is made."""

import pickle
from datetime import UTC
from datetime import date
from datetime import datetime
from datetime import timedelta

import pytest

from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import UsageError
from lovely.remotetask.errors.bounds import LONGEST


@pytest.mark.parametrize('delay', [
    'soon', float('nan'), float('inf'), 1e14, LONGEST + 1, -1, 10**400,
    10**5000, True, timedelta(5), [5], datetime.now(UTC)],
    ids=lambda value: type(value).__name__)
def test_a_delay_that_cannot_be(delay):
    with pytest.raises(UsageError, match='^RetryLater: delay is ') as caught:
        RetryLater(delay)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize('when', [
    datetime(2030, 1, 1), datetime.max.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC), date(2030, 1, 1), '2030-01-01', 2e9,
    True], ids=str)
def test_a_moment_that_cannot_be(when):
    with pytest.raises(UsageError, match='^RetryLater: when is '):
        RetryLater(when=when)


def test_what_can_be():
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    for error in (RetryLater(), RetryLater(0), RetryLater(0.5, reason='x'),
                  RetryLater(LONGEST), RetryLater(when=moment)):
        again = pickle.loads(pickle.dumps(error))
        assert (again.delay, again.when, again.reason) == (
            error.delay, error.when, error.reason)
    # The default's text tells what the class is for.
    assert str(RetryLater(5, reason='x'))
