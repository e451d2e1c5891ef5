"""A ZEO server that was started again gives out oids a second time."""

import signal
from contextlib import closing

import chaos_processes
import chaos_storages
import pytest
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError
from ZODB.POSException import StorageError

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db as edge
from lovely.remotetask.processor import SimpleProcessor

OTHERS = {f'other {number}' for number in range(5)}


def loaded(database):
    """Load what another process has added into our connection's cache."""
    def load(connection):
        found = [value for name, value in connection.root().items()
                 if name in OTHERS]
        for value in found:
            value._p_activate()
        return len(found) == len(OTHERS)

    try:
        return edge.read(database, load)
    except StorageError:
        return False        # not connected again yet


def make(connection):
    service = connection.root()['tasks'] = TaskService()
    service.__name__ = 'tasks'
    service.add('echo')
    service.add('echo')


def use_oids(connection):
    """From now on this client holds a hundred oids for objects to come."""
    connection.root()['first'] = PersistentMapping()


def runs(database):
    SimpleProcessor(database, ['tasks'])


def adds(database):
    edge.write(database, lambda connection: connection.root()['tasks'].add(
        'echo'))


def runs_directly(database):
    edge.write(database, lambda connection: connection.root()[
        'tasks'].process())


def cancels(database):
    edge.write(database, lambda connection: connection.root()[
        'tasks'].cancel(next(iter(connection.root()['tasks'].jobs))))


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize('use', [runs, adds, runs_directly, cancels])
def test_our_processes_take_none_of_those(
        tmp_path, components, register, use, number):
    """A plain client meets them, also where the server ends in order."""
    register(lambda input: input, 'echo')
    tries = []

    def add(connection):
        tries.append(1)
        connection.root()['first']['mine'] = PersistentMapping(a=1)

    server = chaos_storages.Server(tmp_path)
    with closing(chaos_processes.Database(server.address)) as theirs:
        edge.write(theirs.db, make)
    with closing(chaos_processes.Database(server.address)) as ours:
        edge.write(ours.db, use_oids)
        use(ours.db)
        server.stop(number)
        server.start()
        with closing(chaos_processes.Database(server.address)) as theirs:
            theirs.write(lambda root: root.update(
                (name, PersistentMapping()) for name in OTHERS))
            chaos_storages.wait_until(lambda: loaded(ours.db),
                                       what='connected again')
        edge.write(ours.db, add)
        assert tries == [1]
    server.stop()


def test_an_object_gets_another_oid_then(tmp_path):
    tries = []

    def add(connection):
        tries.append(1)
        connection.root()['first']['mine'] = PersistentMapping(a=1)

    server = chaos_storages.Server(tmp_path)
    with closing(chaos_processes.Database(server.address)) as ours:
        # From now on it holds a hundred oids for objects to come.
        ours.write(lambda root: root.update(first=PersistentMapping()))
        server.stop(signal.SIGKILL)
        server.start()
        with closing(chaos_processes.Database(server.address)) as theirs:
            theirs.write(lambda root: root.update(
                (name, PersistentMapping()) for name in OTHERS))
            chaos_storages.wait_until(lambda: loaded(ours.db),
                                       what='connected again')
        # In the run of a task it is a conflict, which charges nothing.
        with edge.session(ours.db) as session:
            add(session.connection)
            with pytest.raises(ConflictError):
                session.commit()
            # The object whose oid it was is not disowned.
            session.begin()
            others = [session.connection.root()[name] for name in OTHERS]
            assert {other._p_jar for other in others} == {session.connection}
            for other in others:
                other['changed'] = True
            session.commit()
        assert edge.read(ours.db, lambda connection: {
            connection.root()[name]['changed'] for name in OTHERS}) == {True}
        tries.clear()
        edge.write(ours.db, add)
        assert len(tries) > 1, 'no oid was given out twice'
        assert edge.read(ours.db, lambda connection: dict(
            connection.root()['first']['mine'])) == {'a': 1}
    server.stop()
