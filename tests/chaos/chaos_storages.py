"""The storages of the chaos run: how each is made, opened, and broken.

An address, a list of strings, is what a process needs to open the database::

    zeo HOST PORT       a server process that is restarted
    postgresql DSN      RelStorage; its sessions are cut
    filestorage PATH    one process at a time
    mounted PATH        the same, and the queue is in a database of its own
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

import psycopg2
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from transaction.interfaces import TransientError
from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ServerException
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSError

#: How long (seconds) anything may take that is waited for.
DEADLINE = 60

#: What a storage raises that is broken on purpose, and may do again.
AWAY = (TransientError, ServerException, POSError, OSError, psycopg2.Error)


def is_away(error):
    """May the next try succeed?"""
    # A server that was killed gives out oids anew that we hold for new
    # objects: see edge/db.py.
    return isinstance(error, AWAY) or (
        isinstance(error, ValueError) and 'same oid' in str(error))


def wait_until(condition, deadline=DEADLINE, what=''):
    """Poll until ``condition()`` is true; returns what it returned."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f'waited {deadline} s in vain: {what}'
        pause.wait(0.01)


def opened(address):
    """The database."""
    kind, *rest = address
    if kind == 'mounted':
        databases = {}
        for name, path in (('main', f'{rest[0]}.main'), ('jobs', rest[0])):
            DB(FileStorage(path), pool_size=20, databases=databases,
               database_name=name)
        return databases['main']
    if kind == 'zeo':
        storage = ClientStorage((rest[0], int(rest[1])), wait_timeout=20,
                                max_disconnect_poll=1)
    elif kind == 'postgresql':
        options = Options(keep_history=False)
        storage = RelStorage(PostgreSQLAdapter(rest[0], options),
                             options=options)
    else:
        storage = FileStorage(rest[0])
    try:
        return DB(storage, pool_size=20)
    except BaseException:
        storage.close()
        raise


def close(database):
    """Close it, and the one of its queue."""
    for one in database.databases.values():
        one.close()


# Not runzeo: its SIGTERM raises SystemExit wherever the server is just then.
# In the middle of a call that can become the answer of the call, and the
# server lives on.
_SERVER = '''
import signal, sys
import ZEO
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
path, host, port = sys.argv[1:]
_, stop = ZEO.server(path, port=(host, int(port)), zeo_conf={
    # Who is stopped between the two phases of a commit keeps everybody else
    # from committing.
    'transaction_timeout': 10})
signal.sigwait({signal.SIGTERM})
stop()
'''


class Server:
    """A ZEO server in a process of its own, over a FileStorage."""

    shared = True

    def __init__(self, directory):
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            host, port = probe.getsockname()
        self.address = ['zeo', host, str(port)]
        self.start()

    def start(self):
        with open(self.directory / 'zeo.log', 'ab') as log:
            self.process = subprocess.Popen(
                [sys.executable, '-c', _SERVER, self.directory / 'Data.fs',
                 *self.address[1:]],
                cwd=self.directory, stdout=log, stderr=log)
        wait_until(self._answers, what='ZEO server')

    def _answers(self):
        _, host, port = self.address
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), 1).close()
            return True
        return False

    def restart(self, number):
        """The first time in an orderly way, then not, and so on."""
        self.stop(signal.SIGTERM if number % 2 else signal.SIGKILL)
        self.start()

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(DEADLINE)


class Postgres:
    """A database of its own in a running PostgreSQL server."""

    shared = True

    def __init__(self, directory):
        server = os.environ.get('REMOTETASK_POSTGRESQL',
                                'host=127.0.0.1 port=5432 user=postgres')
        self._connection = psycopg2.connect(
            f'{server} dbname=postgres connect_timeout=5')
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._name = f'remotetask_{uuid.uuid4().hex[:12]}'
        self._cursor.execute(f'CREATE DATABASE {self._name}')
        self.address = ['postgresql', f'{server} dbname={self._name}']

    def restart(self, number):
        """Cut the sessions: all of them, or half."""
        self._cursor.execute(
            'SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity '
            'WHERE datname = %s AND random() < %s',
            (self._name, 1.1 if number % 2 else 0.5))

    def stop(self):
        self._cursor.execute(f'DROP DATABASE {self._name} WITH (FORCE)')
        self._connection.close()


class File:
    """A file; nothing runs but the one process that has it open."""

    shared = False

    def __init__(self, directory, kind='filestorage'):
        self.address = [kind, str(directory / 'Data.fs')]

    def stop(self):
        pass


class Mounted(File):
    """The same, and the queue is in a database of its own."""

    def __init__(self, directory):
        super().__init__(directory, 'mounted')


#: What ``--storage`` may be.
STORAGES = {'zeo': Server, 'postgresql': Postgres, 'filestorage': File,
            'mounted': Mounted}
