"""Each number of the settings can be changed by the environment."""

import runpy

import pytest

from lovely.remotetask import settings
from lovely.remotetask.errors import ConfigurationError

NAMES = sorted(name for name in vars(settings)
               if name.isupper() and not name.startswith('_'))
WHOLE = ['BULK_BATCH', 'CONFLICTS', 'GROUP_JOBS', 'PAYLOAD_BYTES', 'POISON',
         'TRACEBACK_CHARS']


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    """No variable of the user's environment counts."""
    for name in NAMES:
        monkeypatch.delenv(f'LOVELY_REMOTETASK_{name}', raising=False)


def read():
    """The settings, as a process reads them when it imports the module."""
    return runpy.run_path(settings.__file__)


def defaults():
    found = read()
    return {name: found[name] for name in NAMES}


def test_which_numbers_are_whole():
    assert [name for name, number in defaults().items()
            if isinstance(number, int)] == WHOLE


@pytest.mark.parametrize('name', NAMES)
def test_each_is_read_from_the_environment(name, monkeypatch):
    others = defaults()
    kind = type(others.pop(name))
    # Beats may not be rarer than what they are to tell.
    number = 7 if name == 'BEAT_SECONDS' else 90
    monkeypatch.setenv(f'LOVELY_REMOTETASK_{name}', str(number))
    found = read()
    assert found[name] == number
    assert type(found[name]) is kind
    assert {other: found[other] for other in others} == others


def test_a_fraction_where_that_makes_sense(monkeypatch):
    monkeypatch.setenv('LOVELY_REMOTETASK_GROUP_SECONDS', '0.25')
    assert read()['GROUP_SECONDS'] == 0.25


def test_a_time_that_no_thread_can_wait_for(monkeypatch):
    monkeypatch.setenv('LOVELY_REMOTETASK_SAFETY_SECONDS', '1e10')
    with pytest.raises(ConfigurationError, match='at most'):
        read()


@pytest.mark.parametrize('given', [
    '', 'ten', '0', '-1', 'nan', 'inf', '-inf', '10s'])
@pytest.mark.parametrize('name', ['BEAT_SECONDS', 'POISON'])
def test_a_bad_value_is_refused(name, given, monkeypatch):
    variable = f'LOVELY_REMOTETASK_{name}'
    monkeypatch.setenv(variable, given)
    with pytest.raises(ConfigurationError) as caught:
        read()
    message = str(caught.value)
    assert f'{variable} is {given!r}' in message
    assert 'number greater than 0' in message


@pytest.mark.parametrize('given', ['2.5', '1e3'])
def test_a_whole_number_is_no_fraction(given, monkeypatch):
    monkeypatch.setenv('LOVELY_REMOTETASK_BULK_BATCH', given)
    with pytest.raises(ConfigurationError, match='give a whole number'):
        read()


@pytest.mark.parametrize('name, given', [
    ('BEAT_SECONDS', '21'), ('DEAD_SECONDS', '19')])
def test_a_late_beat_must_not_look_like_death(name, given, monkeypatch):
    monkeypatch.setenv(f'LOVELY_REMOTETASK_{name}', given)
    with pytest.raises(ConfigurationError) as caught:
        read()
    assert 'LOVELY_REMOTETASK_DEAD_SECONDS is ' in str(caught.value)
    assert 'LOVELY_REMOTETASK_BEAT_SECONDS' in str(caught.value)
