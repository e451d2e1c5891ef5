"""A session that is kept open, and the passwords in messages about it."""

import pytest

from lovely.remotetask.peers.postgres import KeptSession


class Clock:
    """A clock that the test sets."""

    seconds = 0.0

    def now(self):
        return self.seconds

    monotonic = now


class Connection:
    """A connection of a driver, and its cursor."""

    autocommit = False
    closed = False
    description = ()

    def close(self):
        self.closed = True

    def execute(self, statement, arguments):
        if self.closed:
            raise OSError('the connection is gone')

    def fetchone(self):
        return ('an answer',)


class Manager:
    """Opens connections while ``error`` is None."""

    def __init__(self):
        self.opened = []
        self.attempts = 0
        self.error = None

    def open(self, application_name):
        self.attempts += 1
        if self.error is not None:
            raise self.error
        connection = Connection()
        self.opened.append(connection)
        return connection, connection


@pytest.fixture
def manager():
    return Manager()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kept(manager, clock):
    return KeptSession(manager, 'test', 'it is down: %s', clock)


def ask(session):
    return session.run('SELECT')


def test_one_session_serves_all_uses(kept, manager):
    assert [kept.use(ask) for _ in range(3)] == ['an answer'] * 3
    assert len(manager.opened) == 1
    assert manager.opened[0].autocommit is True
    kept.close()
    assert manager.opened[0].closed
    assert kept.use(ask) == 'an answer'
    assert len(manager.opened) == 2


def test_pauses_grow_and_one_warning_is_logged(kept, manager, clock, log):
    manager.error = OSError('no route to host')
    attempts = []
    for _ in range(300):
        with pytest.raises(ConnectionError, match='no route to host'):
            kept.use(ask)
        if manager.attempts > len(attempts):
            attempts.append(clock.seconds)
        clock.seconds += 1
    assert attempts == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]
    assert log == ['WARNING it is down: no route to host']
    manager.error = None
    clock.seconds += 60
    assert kept.use(ask) == 'an answer'
    assert kept.reason == ''
    # The next outage begins with the first pause and with a warning.
    manager.opened[-1].close()
    with pytest.raises(ConnectionError):
        kept.use(ask)
    clock.seconds += 1
    assert kept.use(ask) == 'an answer'
    assert len(log) == 2


def test_a_session_that_broke_is_renewed_at_once_if_asked(
        kept, manager, log):
    kept.use(ask)
    manager.opened[0].close()
    assert kept.use(ask, again=True) == 'an answer'
    assert len(manager.opened) == 2
    assert log == []
    manager.opened[1].close()
    with pytest.raises(ConnectionError):
        kept.use(ask)
    # Within the pause there is none, again or not.
    with pytest.raises(ConnectionError):
        kept.use(ask, again=True)
    assert manager.attempts == 2


def test_its_messages_have_no_password(kept, manager, log):
    manager.error = ValueError(
        'invalid dsn: "postgresql://me:secret@localhost/db"\n'
        "or dbname=db password='my secret' host=localhost")
    with pytest.raises(ConnectionError) as raised:
        kept.use(ask)
    assert 'secret' not in str(raised.value) + kept.reason + log[0]
    assert 'postgresql://me:***@localhost/db' in log[0]
    assert 'password=*** host=localhost' in log[0]
