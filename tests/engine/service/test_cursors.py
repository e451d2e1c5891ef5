"""Cursors that clients send: refused by name, unless they came from a page."""

import pytest
import transaction

from lovely.remotetask import bulk
from lovely.remotetask.errors import InvalidCursor
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import FINAL

# What stands behind the name of a lane, and belongs to no entry.
NO_KEYS = ['', 'x', '²', '1_0', ' 1', '+1', '1 ', '1.5', '1.5.7', '-', '--1',
           'nan', 'inf', '1e5', '0x10', str(2**63), str(-2**63 - 1),
           str(-2**63), str(-2**62), '9' * 30, '9' * 5000, '\x00', '\ud800']

LANES = ['running', 'ready', 'waiting', 'due', 'later', 'error', 'completed',
         'cancelled']


@pytest.fixture(autouse=True)
def jobs(service, register):
    """Jobs in every lane."""
    def fail(input):
        raise ValueError

    register(fail)
    register(lambda input: input, 'echo')
    service.addMany('echo', range(3))
    service.addMany('fail', range(3))
    service.process()
    service.addMany('echo', range(3))
    service.addMany('echo', range(3), delay=60)
    service.addMany('echo', range(3), startLater=True)
    service.cancel(service.add('echo'))
    service.claimNextJob()
    transaction.commit()


def refuses(call, start):
    with pytest.raises(InvalidCursor) as caught:
        call(start)
    assert isinstance(caught.value, UsageError)
    assert isinstance(caught.value, ValueError)     # promised by listJobs
    message = str(caught.value)
    assert repr(start)[:70] in message
    assert len(message) < 300


@pytest.mark.parametrize('lane', LANES)
def test_a_cursor_of_no_page(service, lane):
    for key in NO_KEYS:
        refuses(lambda start: service.listJobs(start=start), f'{lane}.{key}')


def test_a_cursor_of_another_listing(service):
    for start in ('', '.', 'ready', 'nonsense.1', 'READY.1', '1', 1, 1.5,
                  True, b'ready.1', ['ready.1']):
        refuses(lambda start: service.listJobs(start=start), start)
    for start in ('error.1', 'due.1'):
        refuses(lambda start: service.listJobs('queued', start=start), start)


@pytest.mark.parametrize('lane', LANES)
def test_a_cursor_at_the_end_of_what_a_lane_can_hold(service, lane):
    """Its entry may be gone meanwhile: that is no error."""
    for key in (0, 1, -1, 2**63 - 1, 2**31, -2**62 + 1):
        found, _ = service.listJobs(start=f'{lane}.{key}')
        assert isinstance(found, list)


def transact(service):
    return lambda function: function(service)


@pytest.mark.parametrize('status', FINAL)
def test_a_start_of_no_clean(service, status):
    before = set(service.jobs)
    # Behind the colon stands nothing where a status begins.
    for key in [*NO_KEYS[1:], '2147483648.1', '-1.1', '1.-2', '1.x', 'x.1',
                '1.' + '9' * 30, '9' * 30 + '.1', '1.', '.1']:
        # Of a log: the slot 1 and its bucket 5.
        if status == 'cancelled' or key != '1.5':
            refuses(lambda start: next(bulk.cleaning(
                transact(service), FINAL, start)), f'{status}:{key}')
    assert set(service.jobs) == before


def test_a_start_of_another_clean(service):
    for start in ('', ':', 'nonsense:', 'queued:', 'error', 'ready.1', 1,
                  True, b'error:'):
        refuses(lambda start: next(bulk.cleaning(
            transact(service), FINAL, start)), start)
    refuses(lambda start: next(bulk.cleaning(
        transact(service), ['error'], start)), 'cancelled:1')
    for status, start in (('error', 'x'), ('cancelled', '1.5'),
                          ('completed', '1'), ('cancelled', 5)):
        refuses(lambda start, status=status: service.jobqueue.clean_step(
            status, start, 10), start)


@pytest.mark.parametrize('status', FINAL)
def test_a_start_at_the_end_of_what_a_clean_can_meet(service, status):
    for key in (('0.0', '0.-1', f'0.{2**63 - 1}', f'{2**31 - 1}.0')
                if status != 'cancelled' else
                (0, 1, 2**63 - 1, -2**62 + 1)):
        _, count, _ = next(bulk.cleaning(
            transact(service), FINAL, f'{status}:{key}'))
        assert count >= 0


def test_a_start_of_no_cancel(service):
    for key in NO_KEYS:
        refuses(lambda start: next(bulk.cancelling(
            transact(service), 'queued', None, start)), f'ready.{key}')
    refuses(lambda start: next(bulk.cancelling(
        transact(service), 'queued', None, start)), 'error.1')
