"""RESULT, and what is stored of calls that follow, without a database."""

import pickle
from dataclasses import replace

import pytest
from persistent import Persistent
from zodbpickle import pickle as zodbpickle

from lovely.remotetask import payload
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.fields.edges import Edges
from lovely.remotetask.fields.edges import Link
from lovely.remotetask.fields.edges import shown
from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call
from lovely.remotetask.follow import filled


@pytest.mark.parametrize('value, expected, holds', [
    (RESULT, 7, True),
    ({'a': RESULT, 'b': 1}, {'a': 7, 'b': 1}, True),
    ([1, (RESULT, {'x': [RESULT]})], [1, (7, {'x': [7]})], True),
    ({'a': [1, (2,)]}, {'a': [1, (2,)]}, False),
    ('RESULT', 'RESULT', False),
    (None, None, False),
    ((), (), False),
])
def test_filled_replaces_each_result_and_copies(value, expected, holds):
    found, held = filled(value, 7)
    assert (found, held) == (expected, holds)
    assert type(found) is type(expected)


def test_filled_leaves_the_original_as_it_is():
    original = {'a': [RESULT]}
    filled(original, 7)
    assert original == {'a': [RESULT]}


def test_filled_looks_once_at_what_is_shared_or_contains_itself():
    knot = [RESULT]
    knot += [knot, knot]
    found, held = filled(knot, 7)
    assert held and found[0] == 7 and found[1] is knot
    shared = [RESULT]
    for _ in range(40):
        shared = [shared, shared]
    assert filled(shared, 7)[1]


def test_filled_goes_no_deeper_than_an_input_is_weighed():
    value = RESULT
    for _ in range(51):
        value = [value]
    assert filled(value, 7) == (value, False)
    with pytest.raises(InputRejected, match='contains RESULT'):
        payload.check(filled(value, 7)[0])


@pytest.mark.parametrize('module', [pickle, zodbpickle])
@pytest.mark.parametrize('protocol', [2, 3])
def test_a_result_stays_the_same_object_in_pickles(module, protocol):
    again = module.loads(module.dumps({'a': RESULT}, protocol))
    assert again['a'] is RESULT


class Holder:
    def __init__(self, value):
        self.value = value


class Kept(Persistent):
    pass


@pytest.mark.parametrize('value', [
    RESULT, [RESULT], {RESULT: 1}, {1, RESULT}, Holder(RESULT)])
def test_a_result_that_was_not_replaced_cannot_be_stored(value):
    with pytest.raises(InputRejected, match='contains RESULT where'):
        payload.check(value)


def test_copied_is_another_value_with_the_same_persistent_objects():
    kept = Kept()
    original = {'list': [1], 'kept': kept, 'again': kept}
    copy = payload.copied(original)
    assert copy == original and copy['kept'] is copy['again'] is kept
    copy['list'].append(2)
    assert original['list'] == [1]


def test_a_long_chain_of_calls_can_be_printed():
    call = Call('last')
    for _ in range(5000):
        call = replace(Call('one'), onSuccess=call)
    assert repr(call) == "<Call 'one'>"


LINKS = (tuple(Link('a', success=1)), tuple(Link('b', success=2)),
         tuple(Link('c')), tuple(Link('sorry')))


@pytest.mark.parametrize('status, followed, policy, stuck, expected', [
    ('queued', (None, None), 'stop', None, ('waits', 'waits')),
    ('processing', (None, None), 'stop', None, ('waits', 'waits')),
    ('completed', (5, None), 'stop', None, ('added', 'off')),
    ('completed', (None, None), 'stop', 'too long', ('stuck', 'off')),
    ('error', (None, 6), 'stop', None, ('stuck', 'added')),
    ('error', (None, None), 'stop', 'too long', ('stuck', 'stuck')),
    ('error', (5, 6), 'continue', None, ('added', 'added')),
    ('cancelled', (None, None), 'stop', None, ('stuck', 'off')),
    # Failed, retried, and about to run again.
    ('queued', (None, 6), 'stop', None, ('waits', 'added')),
])
def test_the_state_of_an_edge(status, followed, policy, stuck, expected):
    edges = Edges(LINKS, 0, 3, policy)
    rows = shown(edges, LINKS, status, False, followed, stuck)
    assert tuple(row['state'] for row in rows) == expected
    assert [row['task'] for row in rows] == ['a', 'sorry']
    assert [row['behind'] for row in rows] == [2, 0]
    assert [row['id'] for row in rows] == list(followed)
