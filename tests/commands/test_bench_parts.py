"""The benchmark counts right, measures right, and stops."""

import threading
import time
from pathlib import Path

import pytest
import transaction
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.bench.pace import Side
from lovely.remotetask.bench.pace import Speed
from lovely.remotetask.bench.pace import Stopwatch
from lovely.remotetask.bench.pace import against_raw
from lovely.remotetask.bench.place import NAME
from lovely.remotetask.bench.place import Client
from lovely.remotetask.bench.place import Place
from lovely.remotetask.bench.place import Stopped
from lovely.remotetask.cli.failures import Failure

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


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


def test_counts_the_transactions_that_the_storage_has(place, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from life import Commits

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
    monkeypatch.setattr('lovely.remotetask.bench.pace.speed',
                        lambda function, count: Speed(next(rates), 1))
    prepared = []
    with Client(place, [NAME]) as client:
        pace = against_raw(client, 2, 7, {
            'it': Side(lambda: Speed(100, 7), lambda: prepared.append(1))})
    # The first one, 1000, warms up and does not count.
    assert pace.ratios['it'] == [100 / 200, 100 / 100]
    assert pace.of_raw('it') == 0.75
    assert [speed.per_second for speed in pace.raw] == [100, 300, 50, 150]
    assert pace.cpu_us('it') == 7
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


def test_measures_time_and_cpu():
    with Stopwatch() as busy:
        ends = time.process_time() + 0.05
        while time.process_time() < ends:
            pass
    assert busy.cpu_seconds >= 0.05
    assert busy.speed(10).cpu_us >= 5000
    assert busy.speed(10).per_second == 10 / busy.seconds
    with Stopwatch() as asleep:
        threading.Event().wait(0.2)
    assert asleep.seconds >= 0.2 > asleep.cpu_seconds


def test_stops_between_transactions(place):
    path = place.service('some')
    with Client(place, path) as client:
        client.raw()
        place.stop.set()
        before = transactions(place)
        for call in (client.raw, lambda: client.do(print),
                     lambda: client.see(print), lambda: place.fill(path, 1),
                     lambda: place.see(path, print),
                     lambda: place.service('other'),
                     lambda: place.stop.pause(60)):
            with pytest.raises(Stopped):
                call()
    assert transactions(place) == before
