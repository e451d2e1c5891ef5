"""Oids of a ZEO client, where its release keeps them in another way."""

from types import SimpleNamespace

from lovely.remotetask.edge.log import trace
from lovely.remotetask.peers.oids import forget_when_cut_off


class Another:
    """Stands for a ZEO client of a release to come."""

    def notify_connected(self):
        return 'connected'

    notify_disconnected = notify_connected


def test_a_client_without_such_a_list_is_left_alone(caplog):
    caplog.set_level('INFO', trace.name)
    storage = Another()
    database = SimpleNamespace(storage=storage)
    database.databases = {'unnamed': database}
    for _ in range(2):
        forget_when_cut_off(database)
    assert vars(storage) == {}
    record, = caplog.records
    assert 'holds its oids in a way of its own' in record.getMessage()


class Client(Another):
    """Stands for a ZEO client of today, which holds oids to come."""

    def __init__(self):
        self._oids = [b'to come']


def test_all_databases_of_a_transaction_are_taken_care_of():
    """A queue may have a database of its own."""
    databases = {name: SimpleNamespace(storage=Client())
                 for name in ('application', 'queue')}
    for database in databases.values():
        database.databases = databases
    for _ in range(2):
        forget_when_cut_off(databases['queue'])
    for database in databases.values():
        assert database.storage.notify_connected() is None
        assert database.storage._oids == []
