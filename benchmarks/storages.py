"""``remotetask bench`` on a storage that is made for it.

    python benchmarks/storages.py file|zeo|postgresql [OPTIONS]

OPTIONS are those of ``remotetask bench``.  ``zeo`` starts a server process
with a FileStorage in a temporary directory; ``postgresql`` makes a database of
its own on the server that REMOTETASK_POSTGRESQL names (a libpq connection
string; default: user postgres on 127.0.0.1) and drops it afterwards.
"""

import os
import socket
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager


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
    import psycopg2
    from psycopg2.extensions import parse_dsn

    dsn = os.environ.get('REMOTETASK_POSTGRESQL',
                         'host=127.0.0.1 port=5432 user=postgres')
    connection = psycopg2.connect(f'{dsn} dbname=postgres')
    connection.autocommit = True
    cursor = connection.cursor()
    name = f'remotetask_bench_{uuid.uuid4().hex[:12]}'
    cursor.execute(f'CREATE DATABASE {name}')
    place = parse_dsn(dsn)
    user = place.get('user', 'postgres')
    if 'password' in place:
        user += ':' + place['password']
    try:
        yield ['--db', f'postgres://{user}@{place.get("host", "127.0.0.1")}'
                       f':{place.get("port", 5432)}/{name}'
                       '?keep_history=false']
    finally:
        cursor.execute(f'DROP DATABASE {name} WITH (FORCE)')
        connection.close()


STORAGES = {'file': file, 'zeo': zeo, 'postgresql': postgresql}


def main(arguments):
    if not arguments or arguments[0] not in STORAGES:
        print(__doc__, file=sys.stderr)
        return 2
    with STORAGES[arguments[0]]() as options:
        return subprocess.run(
            [sys.executable, '-m', 'lovely.remotetask.cli', 'bench',
             *options, *arguments[1:]]).returncode


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
