"""Oids of a ZEO client, where its release keeps them in another way."""

from types import SimpleNamespace

from lovely.remotetask.log import trace
from lovely.remotetask.peers.oids import forget_when_cut_off


class Another:
    """Stands for a ZEO client of a release to come."""

    def notify_connected(self):
        return 'connected'

    notify_disconnected = notify_connected


def test_a_client_without_such_a_list_is_left_alone(caplog):
    caplog.set_level('INFO', trace.name)
    storage = Another()
    forget_when_cut_off(SimpleNamespace(storage=storage))
    assert vars(storage) == {}
    record, = caplog.records
    assert 'holds its oids in a way of its own' in record.getMessage()
