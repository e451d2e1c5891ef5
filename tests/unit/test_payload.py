"""How long a pickle will be is counted in bytes, without pickling."""

import pickle

import pytest

from lovely.remotetask import payload
from lovely.remotetask.errors import InputRejected

VALUES = [
    'e' * 1000, 'é' * 1000, '€' * 1000, '\U0001f600' * 1000,
    '\udc80' * 1000, 'a' * 999 + 'é', b'\xff' * 1000, 1 << 8000, -1 << 8000,
    ['é' * 100] * 10, {'é' * 500: '€' * 500}, [['é' * 300, (1 << 4000,)]],
    {'n': 1 << 8000}, [1 << 40] * 200, [1.5, True, None, 7] * 50]


@pytest.mark.parametrize('value', VALUES, ids=lambda value: (
    type(value).__name__))
def test_the_weight_is_about_the_length_of_the_pickle(value):
    # Each object anew: a pickle stores one that comes twice only once.
    pickler = pickle.Pickler(out := _Length(), 3)
    pickler.fast = True
    pickler.dump(value)
    weight = payload.weigh(value)
    assert 0.9 * out.length <= weight <= 3 * out.length + 20


class _Length:
    length = 0

    def write(self, data):
        self.length += len(data)


@pytest.mark.parametrize('value', [
    'é' * 600, ['é' * 300] * 2, {'é' * 600: 1}, (('€' * 400,),), 1 << 9600,
    [1 << 9600], {'a': {'b': -1 << 9600}}], ids=lambda value: (
        type(value).__name__))
def test_too_many_bytes_are_refused_however_few_the_characters(value):
    with pytest.raises(InputRejected, match='longer than 1000 bytes'):
        payload.check(value, limit=1000)
    assert payload.check(value, limit=2000) >= 1000


def test_an_input_of_40_million_characters_of_two_bytes_is_refused():
    with pytest.raises(InputRejected, match='Blob'):
        payload.check('é' * 40_000_000)
