"""Lanes and Blocks against plain models, and against each other's writes."""

import BTrees
import pytest
import transaction
from BTrees.Interfaces import IBTree
from BTrees.IOBTree import IOBTree
from BTrees.LOBTree import LOBTree
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import ConflictError

from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.lanes import SENT
from lovely.remotetask.store.lanes import Lanes
from lovely.remotetask.store.log import Log

keys = st.integers(0, 300)
steps = st.lists(st.tuples(
    st.sampled_from(['insert', 'discard', 'pull']), keys,
    st.integers(1, 5)), max_size=200)


def check(lanes, model):
    assert dict(lanes.up()) == model
    assert list(lanes.up()) == sorted(model.items())
    assert list(lanes.down()) == sorted(model.items(), reverse=True)
    assert len(lanes) == len(model)
    assert bool(lanes) == bool(model)
    assert lanes.first() == (min(model.items()) if model else None)
    for tree in lanes.trees:
        tree._check()
        assert tree.minKey() == SENT


@given(st.integers(1, 8), steps)
def test_lanes_are_an_ordered_multiset(count, steps):
    lanes = Lanes(count)
    model = {}
    for step, key, jobid in steps:
        if step == 'insert':
            got = lanes.insert(key, jobid)
            # A taken key moves on, but stays in its lane.
            assert got not in model and got % count == key % count
            model[got] = jobid
        elif step == 'discard':
            assert lanes.discard(key, jobid) == (model.get(key) == jobid)
            if model.get(key) == jobid:
                del model[key]
        elif model:
            lanes.pull(min(model))
            del model[min(model)]
    check(lanes, model)


@given(steps, st.integers(0, 300))
def test_lanes_start_where_they_are_told(steps, start):
    lanes = Lanes(4)
    model = dict.fromkeys({key for _, key, _ in steps}, 1)
    for key in model:
        lanes.insert(key, 1)
    assert [k for k, _ in lanes.up(start)] == sorted(
        k for k in model if k >= start)
    assert [k for k, _ in lanes.down(start)] == sorted(
        (k for k in model if k <= start), reverse=True)
    below = [k for k in model if k <= start]
    assert lanes.first(start) == ((min(below), 1) if below else None)


@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(keys, max_size=150, unique=True),
       st.tuples(st.sampled_from(['insert', 'discard', 'pull']), keys),
       st.tuples(st.sampled_from(['insert', 'discard', 'pull']), keys))
def test_overlapping_transactions_conflict_or_do_both(start, one, two):
    db = DB(MappingStorage())
    try:
        first, second = (db.open(transaction.TransactionManager())
                         for _ in range(2))
        first.root()['lanes'] = Lanes(1)
        for key in start:
            first.root()['lanes'].insert(key, 1)
        first.transaction_manager.commit()
        second.transaction_manager.begin()
        model = dict.fromkeys(start, 1)
        wrote = []
        for connection, (step, key), jobid in (
                (first, one, 2), (second, two, 3)):
            lanes = connection.root()['lanes']
            if step == 'insert':
                wrote.append(('insert', lanes.insert(key, jobid), jobid))
            elif step == 'discard' and lanes.discard(key, 1):
                wrote.append(('remove', key, 1))
            elif step == 'pull' and model:
                lanes.pull(min(model))
                wrote.append(('remove', min(model), 1))
        first.transaction_manager.commit()
        try:
            second.transaction_manager.commit()
        except ConflictError:
            second.transaction_manager.abort()
            wrote = wrote[:1] if len(wrote) == 2 else wrote
            if len(wrote) == 1 and wrote[0][2] == 3:
                wrote = []
        third = db.open(transaction.TransactionManager())
        for step, key, jobid in wrote:
            if step == 'insert':
                assert key not in model, 'an entry was replaced silently'
                model[key] = jobid
            else:
                assert key in model, 'an entry was taken twice'
                del model[key]
        check(third.root()['lanes'], model)
    finally:
        db.close()


# --- Blocks ------------------------------------------------------------------

ids = st.one_of(st.integers(-40, 200),
                st.sampled_from([2**31 - 1, -2**31, 2**31, 2**40]))
odd = st.sampled_from(['x', None, 1.5, (), 'undefined'])
fitting = st.one_of(st.none(), st.integers(-40, 200))
blocks_steps = st.lists(st.one_of(
    st.tuples(
        st.sampled_from(['set', 'del', 'get', 'getitem', 'contains', 'pop',
                         'setdefault', 'insert', 'has_key',
                         'popitem', 'index']),
        st.one_of(ids, odd), st.one_of(ids, odd)),
    # With a default, BTrees differ on keys that do not fit.
    st.tuples(st.just('pop_default'), st.integers(-40, 200), ids),
    # A BTree looks at a limit only when it holds something.
    st.tuples(st.sampled_from(['minKey', 'maxKey', 'range', 'values']),
              fitting, fitting)), max_size=60)


def act(tree, step, one, two):
    """What a step gives: a value, or the exception's type."""
    try:
        return {
            'set': lambda: tree.__setitem__(one, two),
            'del': lambda: tree.__delitem__(one),
            'get': lambda: tree.get(one, 'absent'),
            'getitem': lambda: tree[one],
            'contains': lambda: one in tree,
            'pop': lambda: tree.pop(one),
            'pop_default': lambda: tree.pop(one, 'absent'),
            'setdefault': lambda: tree.setdefault(one, two),
            'insert': lambda: tree.insert(one, two),
            'has_key': lambda: bool(tree.has_key(one)),
            'popitem': lambda: tree.popitem(),
            'minKey': lambda: tree.minKey(one),
            'maxKey': lambda: tree.maxKey(one),
            'range': lambda: list(tree.keys(one, two)),
            'values': lambda: list(tree.values(one, two, True, True)),
            'index': lambda: (tree.items()[0], tree.keys()[-1]),
        }[step]()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        # A key out of range and a key of another type are both refused;
        # which of the two a BTree says depends on its release.
        kind = type(error)
        return 'refused' if kind in (KeyError, TypeError) else kind


@pytest.mark.parametrize('family', [BTrees.family32, BTrees.family64])
@given(steps=blocks_steps)
def test_blocks_behave_like_a_btree(family, steps):
    plain = IOBTree() if family is BTrees.family32 else LOBTree()
    blocks = Blocks(family)
    for step, one, two in steps:
        assert act(blocks, step, one, two) == act(plain, step, one, two), (
            step, one, two)
    assert list(blocks.items()) == list(plain.items())
    assert len(blocks) == len(plain)
    assert bool(blocks) == bool(plain)
    assert dict(blocks) == dict(plain)
    assert list(blocks | {7: 1}) == list(plain | {7: 1})
    assert list(blocks - plain) == []
    # No empty block stays behind.
    assert all(blocks._tree.values())


def test_blocks_are_a_btree_by_declaration():
    # Tentatively: C types declare no signatures that could be compared.
    for name in IBTree.names(all=True):
        if hasattr(IOBTree(), name):
            assert hasattr(Blocks(BTrees.family32), name), name
    assert IBTree.providedBy(Blocks(BTrees.family64))


def test_a_key_that_is_no_id_leaves_no_block_behind():
    blocks = Blocks(BTrees.family32)
    for wrong in ('x', None, 2**31, 2**33):
        with pytest.raises((TypeError, OverflowError)):
            blocks[wrong] = 1
    assert not blocks
    assert list(blocks._tree) == []


# --- Log --------------------------------------------------------------------

@given(st.lists(st.tuples(
    st.sampled_from(['append', 'append', 'append', 'discard', 'prune']),
    st.integers(0, 500)), max_size=300), st.integers(0, 500))
def test_a_log_keeps_what_has_ended(steps, start):
    log, model, total = Log(), {}, 0
    for number, (step, value) in enumerate(steps):
        if step == 'append':
            # A slot's clock may stand still, or go back.
            moment = max(value // 3, log.latest() + 1)
            assert moment not in model
            log.extend([(moment, number)])
            model[moment] = number
            total += 1
        elif step == 'discard' and model:
            moment = sorted(model)[value % len(model)]
            assert not log.discard(moment, -1)
            assert log.discard(moment, model.pop(moment))
        elif step == 'prune':
            log.prune()
        assert len(log) == len(model)
        assert log.total() == total
    expected = sorted(model.items())
    assert list(log.down()) == expected[::-1]
    assert list(log.down(start)) == [
        entry for entry in expected[::-1] if entry[0] <= start]


def test_a_finish_writes_one_bucket(application):
    log = application.root.log = Log()
    transaction.commit()
    for number in range(40):
        log.extend([(number, number)])
        written = {type(obj).__name__
                   for obj in application.connection._registered_objects}
        assert written in ({'LLBucket', 'Length'},
                           {'LOBTree', 'Length'}), written
        transaction.commit()
