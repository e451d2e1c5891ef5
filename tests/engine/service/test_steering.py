"""A queue that is paused tells who has paused it, when and why."""

import pytest
import transaction
from zope.component import provideUtility

from lovely.remotetask.errors import UsageError
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import IHost

NOBODY = {'pausedBy': None, 'pausedAt': None, 'pauseReason': None}


def paused(service):
    stats = service.stats()
    return stats['paused'], {name: stats[name] for name in NOBODY}


@pytest.fixture
def mia(components):
    """Mia acts."""
    class Host(PlainHost):
        def submitter(self):
            return 'mia'

    provideUtility(Host(), IHost)


def test_a_pause_tells_who_when_and_why(service, mia, clock):
    assert paused(service) == (False, NOBODY)
    service.pause('the disk is full')
    assert paused(service) == (True, {
        'pausedBy': 'mia', 'pausedAt': '2027-01-15T08:00:00+00:00',
        'pauseReason': 'the disk is full'})
    transaction.commit()
    clock.advance(60)
    service.pause()
    assert not service.jobqueue._p_changed
    service.resume()
    assert paused(service) == (False, NOBODY)
    # The next pause has forgotten this one.
    service.pause()
    assert paused(service) == (True, {
        'pausedBy': 'mia', 'pausedAt': '2027-01-15T08:01:00+00:00',
        'pauseReason': None})


def test_a_reason_takes_the_place_of_what_was_noted(service, clock):
    service.pause()
    clock.advance(60)
    service.pause('two of us had the same idea')
    assert paused(service) == (True, {
        'pausedBy': None, 'pausedAt': '2027-01-15T08:01:00+00:00',
        'pauseReason': 'two of us had the same idea'})


def test_a_queue_that_an_earlier_release_has_paused(service):
    service.jobqueue.paused = True
    assert paused(service) == (True, NOBODY)
    service.resume()
    assert paused(service) == (False, NOBODY)


@pytest.mark.parametrize('reason', ['', 'x' * 201, 7, b'full', True])
def test_reasons_that_are_none(service, reason):
    transaction.commit()
    with pytest.raises(UsageError, match='give a text of 1 to 200'):
        service.pause(reason)
    assert not service.jobqueue.paused
    assert not service.jobqueue._p_changed
