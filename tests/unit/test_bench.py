"""What the benchmark makes of its numbers, and that it counts right."""

import pytest
import transaction
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.bench import targets
from lovely.remotetask.bench.command import MEASURES
from lovely.remotetask.bench.pace import Side
from lovely.remotetask.bench.pace import against_raw
from lovely.remotetask.bench.pace import percentile
from lovely.remotetask.bench.place import NAME
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Commits
from lovely.remotetask.bench.place import Place
from lovely.remotetask.cli.failures import Failure


@pytest.fixture
def opener(tmp_path):
    return lambda: DB(FileStorage(str(tmp_path / 'Data.fs')))


@pytest.fixture
def place(opener):
    place = Place(opener, 'unused')
    yield place
    place.close()


def transactions(place):
    return len(list(place.database.storage.iterator()))


def test_counts_the_transactions_that_the_storage_has(place):
    before = transactions(place)
    with Commits() as commits, Client(place, [NAME]) as client:
        for _ in range(3):
            client.raw()
        client.do(lambda folder: None)              # nothing to store
        client.do(lambda folder: folder.update(new=PersistentMapping()))
        manager = transaction.TransactionManager()
        connection = place.database.open(manager)
        raw = connection.root()[NAME]['raw']
        raw.value = -1
        manager.savepoint()                         # stored at its savepoint
        manager.commit()
        connection.readCurrent(raw)                 # joins, stores nothing
        manager.commit()
        connection.close()
    assert commits.count == 5
    assert transactions(place) - before == 5
    # It counts no longer.
    with Client(place, [NAME]) as client:
        client.raw()
    assert commits.count == 5


def test_compares_with_the_raw_commits_around(place, monkeypatch):
    rates = iter([1000, 100, 300, 50, 150])
    monkeypatch.setattr('lovely.remotetask.bench.pace.per_second',
                        lambda function, count: next(rates))
    prepared = []
    with Client(place, [NAME]) as client:
        pace = against_raw(client, 2, 7, {
            'it': Side(lambda: 100, lambda: prepared.append(1))})
    # The first one, 1000, warms up and does not count.
    assert pace.ratios['it'] == [100 / 200, 100 / 100]
    assert pace.of_raw('it') == 0.75
    assert pace.raw == [100, 300, 50, 150]
    assert len(prepared) == 2


def test_does_not_touch_what_is_there_already(opener, place):
    place.service('some')
    place.close()
    with pytest.raises(Failure, match='remotetask-bench.*already'):
        Place(opener, 'unused')
    # It is closed again, and nothing has changed.
    database = opener()
    with database.transaction() as connection:
        assert list(connection.root()[NAME]) == ['raw', 'some']
        connection.root()[NAME] = 'somebody else'
    database.close()
    with pytest.raises(Failure):
        Place(opener, 'unused')
    place.database = opener()


def test_removes_all_that_it_has_stored(place):
    with place.database.transaction() as connection:
        connection.root()['theirs'] = 1
    place.service('some')
    place.close()
    place.remove()
    place.database = place.opener()
    with place.database.transaction() as connection:
        assert dict(connection.root()) == {'theirs': 1}


@pytest.mark.parametrize(('part', 'value'), [
    (0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentile(part, value):
    assert percentile(range(100, 0, -1), part) == value


def test_percentile_of_one():
    assert percentile([7], 0.5) == percentile([7], 0.99) == 7


@pytest.mark.parametrize(('figure', 'value', 'ok'), [
    ('drain.of_raw', 0.55, True), ('drain.of_raw', 0.549, False),
    ('life.commits', 2.1, True), ('life.commits', 2.11, False)])
def test_judges(figure, value, ok):
    name, _, figure = figure.partition('.')
    verdict, = targets.judged({name: {figure: value}}, 'FileStorage')
    assert verdict['ok'] is ok
    assert verdict['figure'] == f'{name}.{figure}'


def test_judges_by_storage_and_length_of_the_queue():
    def judged(kind, queued):
        return [target['ok'] for target in targets.judged(
            {'listing': {'queued': queued, 'page_cold_ms': 50.0}}, kind)]

    assert judged('ZEO', 1_000_000) == [True]
    assert judged('ZEO', 999) == [None]
    assert judged('PostgreSQL', 1_000_000) == []


def test_what_is_not_told_is_not_judged():
    assert targets.judged({'life': {'bytes': None}}, 'FileStorage') == []


def test_each_target_is_of_a_measure():
    assert {target.figure.partition('.')[0]
            for target in targets.TARGETS} <= set(MEASURES)


@pytest.mark.parametrize(('value', 'text'), [
    (0.5512, '0.551'), (2, '2'), (0.0, '0'), (20000, '20,000'),
    (123.4, '123'), (1.15, '1.15'), (12.34, '12.3'), (0.00123, '0.00123')])
def test_numbers_for_people(value, text):
    assert targets.number(value) == text
