"""All measures, on a storage that is made for them.

    python benchmarks/storages.py file|zeo|postgresql [OPTIONS]

OPTIONS are those of ``remotetask bench`` without ``--db``; the measures are
those of ``remotetask bench``, and more.  ``file`` makes a FileStorage in a
temporary directory; ``zeo`` starts a server process with one; ``postgresql``
makes a database of its own on the server that REMOTETASK_POSTGRESQL names (a
libpq connection string; default: user postgres on 127.0.0.1), and drops it
afterwards.
"""

import os
import socket
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager

from lovely.remotetask.bench.command import MEASURES
from lovely.remotetask.bench.command import command
from lovely.remotetask.cli import program

#: Measure -> the module here that it is in, as MEASURES.
MORE = {
    'life': 'life',
    'busy': 'busy',
    'conflicts': 'conflicts',
    'idle': 'idle',
    'memory': 'idle',
    'listing': 'listing',
    'pages': 'pages',
}

bench_command = command('bench', MEASURES | MORE)


@contextmanager
def file():
    yield []


@contextmanager
def zeo():
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{free.getsockname()[1]}'
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen(
            [sys.executable, '-m', 'ZEO.runzeo', '-a', address,
             '-f', os.path.join(directory, 'Data.fs')], cwd=directory,
            # Ctrl-C ends the measures first: they clean up over it.
            start_new_session=True,
            # It tells of each transaction that waits for another.
            stderr=subprocess.DEVNULL)
        try:
            # Clients wait for it.
            yield ['--db', f'zeo://{address}?wait_timeout=30']
        finally:
            server.terminate()
            server.wait(30)


@contextmanager
def postgresql():
    from psycopg2.extensions import parse_dsn

    with postgresql_database() as dsn:
        place = parse_dsn(dsn)
        user = place.get('user', 'postgres')
        if 'password' in place:
            user += ':' + place['password']
        yield ['--db', f'postgres://{user}@{place.get("host", "127.0.0.1")}'
                       f':{place.get("port", 5432)}/{place["dbname"]}'
                       '?keep_history=false']


@contextmanager
def postgresql_database():
    """The dsn of an empty database, dropped afterwards."""
    import psycopg2

    dsn = os.environ.get('REMOTETASK_POSTGRESQL',
                         'host=127.0.0.1 port=5432 user=postgres')
    connection = psycopg2.connect(f'{dsn} dbname=postgres')
    connection.autocommit = True
    cursor = connection.cursor()
    name = f'remotetask_bench_{uuid.uuid4().hex[:12]}'
    cursor.execute(f'CREATE DATABASE {name}')
    try:
        yield f'{dsn} dbname={name}'
    finally:
        cursor.execute(f'DROP DATABASE {name} WITH (FORCE)')
        connection.close()


STORAGES = {'file': file, 'zeo': zeo, 'postgresql': postgresql}


def main(arguments):
    if not arguments or arguments[0] not in STORAGES:
        print(__doc__, file=sys.stderr)
        return 2
    # The same command, with more measures.
    program.COMMANDS['bench'] = __name__
    with STORAGES[arguments[0]]() as options:
        return program.run(['bench', *options, *arguments[1:]])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
