"""A host's server that runs no service at its start, and is ended by SIGTERM.
"""

import signal
import subprocess
import sys

import pytest
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

DEADLINE = 60

SERVER = '''
import signal, sys, threading

import transaction
from zope.component import provideUtility
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.run.sigterm import end_first
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask

path, what = sys.argv[1:]
runs, never = threading.Event(), threading.Event()


def say(text):
    print(text, flush=True)


def hold(input):
    runs.set()
    never.wait()


provideUtility(FunctionTask(hold), ITask, 'hold')
database = DB(FileStorage(path))
with database.transaction() as connection:
    make_service(connection.root(), 'tasks').add('hold')
if what == 'own':
    # The host's own handler, which was there first.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
end_first(signal.SIGTERM, signal.SIG_DFL, SystemExit, always=False)


def request():
    with database.transaction() as connection:
        connection.root()['tasks'].startProcessing()


if what != 'idle':
    thread = threading.Thread(target=request)
    thread.start()
    thread.join()
    assert runs.wait(30)
say('ready')
while True:
    signal.pause()
'''


@pytest.mark.parametrize(('what', 'code'), [
    ('late', 0), ('own', 7), ('idle', -signal.SIGTERM)])
def test_a_service_that_begins_later(environ, tmp_path, what, code):
    with subprocess.Popen(
            [sys.executable, '-c', SERVER, str(tmp_path / 'Data.fs'), what],
            env=environ | {'LOVELY_REMOTETASK_END_GRACE': '0.2'},
            stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == 'ready\n'
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) == code
    database = DB(FileStorage(str(tmp_path / 'Data.fs')))
    with database.transaction() as connection:
        service = connection.root()['tasks']
        job, = service.jobs.values()
        # A handler of the host's own ends the interpreter in order, and our
        # exit handler gives the job back.
        assert job.status == 'queued'
        assert service.stats()['workers'] == 0
    database.close()
