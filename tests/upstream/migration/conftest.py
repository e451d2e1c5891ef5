"""A database that 0.5.2 has written on Python 2.7, converted by zodbupdate.

make.sh writes it anew.  What is in it: make_database.py.
"""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest
import transaction
import zope.component
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.cli import program
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import SimpleTask

HERE = Path(__file__).parent

#: The paths of the services in it.
PATHS = ['/tasks', '/upgraded', '/site1/++etc++site/default/mail']


@pytest.fixture
def written(tmp_path):
    """The file, as 0.5.2 and zodbupdate have left it."""
    path = tmp_path / 'Data.fs'
    path.write_bytes(gzip.decompress((HERE / 'Data.fs.gz').read_bytes()))
    return path


@pytest.fixture
def press(monkeypatch):
    """The application's own code, importable."""
    monkeypatch.syspath_prepend(str(HERE))
    import press
    yield press
    # The next test may be about an application without its code.
    sys.modules.pop('press', None)


@pytest.fixture
def no_press():
    sys.modules.pop('press', None)


@pytest.fixture(scope='session')
def migrated(tmp_path_factory):
    """The file after its migration."""
    path = tmp_path_factory.mktemp('migrated') / 'Data.fs'
    path.write_bytes(gzip.decompress((HERE / 'Data.fs.gz').read_bytes()))
    subprocess.run(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'migrate', '--db',
         f'file://{path}'], check=True, timeout=60,
        env=os.environ | {'PYTHONPATH': str(HERE)})
    return path


class Opened:
    """The database of a file, with a connection to look at it."""

    def __init__(self, path):
        self.db = DB(FileStorage(str(path)))
        self.connection = self.db.open()
        self.root = self.connection.root()['Application']
        self.tasks = self.root['tasks']

    def mail(self):
        return self.root['site1'].getSiteManager()['default']['mail']

    def close(self):
        transaction.abort()
        self.connection.close()
        self.db.close()


@pytest.fixture
def opened(written, components):
    """``opened()`` opens the file; all are closed after the test."""
    found = []

    def open_file():
        found.append(Opened(written))
        return found[-1]

    yield open_file
    for one in found:
        if one.connection.opened:
            one.close()


@pytest.fixture
def migrate(written, capfd):
    """``migrate(*arguments)`` runs the command: code, output, errors."""
    def run(*arguments, uri=None):
        capfd.readouterr()
        code = program.run(['migrate', '--db', uri or f'file://{written}',
                            *arguments])
        out, errors = capfd.readouterr()
        return code, out, errors

    return run


@pytest.fixture
def ran(components):
    """The inputs of the jobs that have run, in their order."""
    found = []

    def note(input):
        found.append(input)
        return input

    for name in ('echo', 'publish', 'divide'):
        zope.component.provideUtility(SimpleTask(note), ITask, name)
    return found
