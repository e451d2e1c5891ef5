"""Cleaning and cancelling in small transactions: what is refused.

test_small_transactions.py does both.
"""

import pytest
import transaction

from lovely.remotetask import bulk
from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.plain import PLAIN


@pytest.mark.parametrize('status', ['queued', ['completed', 'nonsense']])
def test_clean_refuses_what_is_not_over(
        application, service, register, status):
    register(lambda input: input, 'echo')
    service.add('echo')
    service.process()
    transaction.commit()
    with pytest.raises(UsageError, match='not over'):
        bulk.clean(application.db, ['tasks'], PLAIN, status=status)
    transaction.begin()
    assert service.stats()['completed'] == 1


def test_cancel_refuses_what_is_over(application, service):
    with pytest.raises(UsageError, match='nothing to cancel'):
        bulk.cancel(application.db, ['tasks'], PLAIN, 'completed')


def test_a_service_that_is_not_there(application):
    with pytest.raises(UsageError, match='no service at /nowhere'):
        bulk.clean(application.db, ['nowhere'], PLAIN)
