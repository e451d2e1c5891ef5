"""Token files: for their owner's eyes, in a directory that is theirs."""

import os
import stat

import pytest

from lovely.remotetask.cli import tokens
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.cli.tokens import Token

TOKEN = Token('t', ('127.0.0.1',))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A runtime directory and a temporary one, of this test."""
    runtime = tmp_path / 'run'
    runtime.mkdir(mode=0o700)
    temporary = tmp_path / 'tmp'
    temporary.mkdir()
    monkeypatch.setenv('XDG_RUNTIME_DIR', str(runtime))
    monkeypatch.setattr('tempfile.tempdir', str(temporary))
    return runtime, temporary


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_written_for_the_owner_alone_and_removed(places, tmp_path):
    token = Token(tokens.new_token(), ('127.0.0.1', '::1'))
    data = tmp_path / 'data'
    data.mkdir()
    before = os.umask(0)
    try:
        with tokens.published(token, 8080, data):
            runtime = places[0] / 'remotetask'
            assert mode(runtime) == 0o700
            assert (data / 'token').read_text() == f'{token.text}\n'
            for file in (runtime / '8080.token', data / 'token'):
                assert mode(file) == 0o600
            assert tokens.find(8080) == token
            assert tokens.find(8081) is None
    finally:
        os.umask(before)
    assert list(data.iterdir()) == []
    assert list(runtime.iterdir()) == []
    assert tokens.find(8080) is None


def test_without_a_runtime_directory_one_per_user_in_the_temporary_one(
        places, monkeypatch):
    monkeypatch.delenv('XDG_RUNTIME_DIR')
    with tokens.published(TOKEN, 8080, None):
        own = places[1] / f'remotetask-{os.geteuid()}'
        assert mode(own) == 0o700
        assert tokens.find(8080) == TOKEN
        # The shell of the client may have one all the same.
        monkeypatch.setenv('XDG_RUNTIME_DIR', str(places[0]))
        assert tokens.find(8080) == TOKEN


def test_a_directory_that_others_can_enter_is_refused(places):
    directory = places[0] / 'remotetask'
    directory.mkdir()
    directory.chmod(0o755)
    for use in (tokens.runtime_directory, lambda: tokens.find(8080)):
        with pytest.raises(Failure, match='open to other users.*chmod'):
            use()


def test_a_link_in_place_of_the_directory_is_refused(places, tmp_path):
    elsewhere = tmp_path / 'elsewhere'
    elsewhere.mkdir(mode=0o700)
    (places[0] / 'remotetask').symlink_to(elsewhere)
    for use in (tokens.runtime_directory, lambda: tokens.find(8080)):
        with pytest.raises(Failure, match='another user'):
            use()
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can give away')
def test_a_directory_of_another_user_keeps_nobody_from_starting(
        places, monkeypatch):
    """Another user was faster in the temporary directory that all share."""
    monkeypatch.delenv('XDG_RUNTIME_DIR')
    usual = places[1] / f'remotetask-{os.geteuid()}'
    usual.mkdir(mode=0o700)
    os.chown(usual, 12345, 12345)
    # A trap that looks like a directory of ours, and one that is open.
    trap = places[1] / f'{usual.name}-aaaa'
    trap.mkdir(mode=0o700)
    os.chown(trap, 12345, 12345)
    (trap / '8080.token').write_text('theirs\n127.0.0.1\n')
    (places[1] / f'{usual.name}-aaab').symlink_to(trap)
    assert tokens.find(8080) is None
    with tokens.published(TOKEN, 8080, None):
        assert tokens.find(8080) == TOKEN
        # All servers of a user share a directory.
        ours = tokens.runtime_directory()
        assert ours.parent == places[1] and ours not in (usual, trap)
        assert mode(ours) == 0o700
        # Even when the other user lets go of the name.
        usual.rmdir()
        assert tokens.find(8080) == TOKEN


def test_a_runtime_directory_of_somebody_else_is_not_used(places,
                                                           monkeypatch):
    """sudo may keep the variable of the user who calls it."""
    if os.geteuid() == 0:
        os.chown(places[0], 12345, 12345)
    else:
        places[0].chmod(0o777)
    directory = tokens.runtime_directory()
    assert directory.parent == places[1]


def test_a_token_file_that_others_can_read_is_no_token(places):
    with tokens.published(TOKEN, 8080, None):
        (places[0] / 'remotetask' / '8080.token').chmod(0o644)
        assert tokens.find(8080) is None


def test_a_link_in_place_of_the_file_is_replaced_and_not_followed(
        places, tmp_path):
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    file = tokens.runtime_directory() / '8080.token'
    file.symlink_to(victim)
    assert tokens.find(8080) is None
    with tokens.published(TOKEN, 8080, None):
        assert tokens.find(8080) == TOKEN
    assert victim.read_text() == 'precious'


def test_the_token_of_a_later_server_stays(places):
    second = Token('second', ('127.0.0.1',))
    first = tokens.published(TOKEN, 8080, None)
    first.__enter__()
    with tokens.published(second, 8080, None):
        # The first one ends while the second is running.
        first.__exit__(None, None, None)
        assert tokens.find(8080) == second


def test_tokens_differ():
    assert len({tokens.new_token() for _ in range(100)}) == 100
    assert len(tokens.new_token()) >= 32


@pytest.mark.parametrize(('listens', 'address', 'expected'), [
    (('127.0.0.1',), '127.0.0.1', True),
    (('127.0.0.1', '::1'), '::1', True),
    (('127.0.0.1',), '::1', False),
    (('127.0.0.1',), '127.0.0.2', False),
    (('0.0.0.0',), '127.0.0.2', True),
    (('0.0.0.0',), '::1', False),
    (('::',), '::1', True),
    ((), '127.0.0.1', False),
])
def test_a_token_is_for_the_addresses_of_its_server(listens, address,
                                                    expected):
    assert Token('t', listens).is_of(address) is expected
