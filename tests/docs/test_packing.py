"""The recipes of the page on packing, on real servers, as they are printed."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import transaction
import ZEO
from documents import HOWTO
from documents import file_of
from documents import steps
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run.pruner import Pruner
from lovely.remotetask.service import make_service
from lovely.remotetask.store import cleaning
from lovely.remotetask.store import pruning
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import SimpleTask

PAGE = HOWTO / 'keep-jobs-and-pack.rst'
KEPT = 50


def command(word):
    """The line of the page with this word; it prints nothing."""
    (line, output), = ((line, output) for what, line, output in steps(
        PAGE.read_text(encoding='utf-8')) if what == 'run' and word in line)
    assert output == ''
    return line


def run(line, place):
    (place / 'venv').symlink_to(sys.prefix)
    done = subprocess.run(line, shell=True, cwd=place, text=True, timeout=120,
                          capture_output=True)
    assert done.returncode == 0, done.stderr


def jobs_through(database, components, monkeypatch, make=True):
    """Run jobs until most of them have been removed again."""
    monkeypatch.setattr(cleaning, '_BUSY_SECONDS', 0.0)
    monkeypatch.setattr(pruning, '_OPEN_SECONDS', 0.0)
    components.registerUtility(SimpleTask(str), ITask, 'text')
    connection = database.open()
    service = make_service(connection.root(), 'tasks')
    service.setRetention('completed', count=KEPT)
    service.addMany('text', ['x' * 500] * 500)
    transaction.commit()
    worker = SimpleProcessor(database, ['tasks']).worker
    worker.enroll(LOOP, 1)
    while claims := worker.claim_some():
        worker.work(claims, lambda: True)
    pruner = Pruner(worker)
    while pruner.step():
        pass
    worker.leave()
    transaction.begin()
    assert len(service.jobs) == KEPT
    connection.close()


def check(database):
    """The jobs are there, and can be read."""
    connection = database.open()
    service = connection.root()['tasks']
    assert [job.output for job in service.listJobs('completed')[0]] == [
        'x' * 500] * KEPT
    transaction.abort()
    connection.close()


@pytest.fixture
def registry(components):
    from zope.component import getGlobalSiteManager
    return getGlobalSiteManager()


def test_zeo(tmp_path, registry, monkeypatch):
    path = tmp_path / 'Data.fs'
    server = subprocess.Popen(
        [sys.executable, '-c', 'import sys, ZEO\n'
         '(host, port), stop = ZEO.server(sys.argv[1])\n'
         'print(port, flush=True); sys.stdin.read(); stop()', str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(server.stdout.readline())
        database = ZEO.DB(('127.0.0.1', port))
        jobs_through(database, registry, monkeypatch)
        before = os.path.getsize(path)
        line = command('zeopack')
        assert line.endswith('127.0.0.1:8100')
        run(line.replace(':8100', f':{port}'), tmp_path)
        assert os.path.getsize(path) < before / 4
        check(database)
        database.close()
    finally:
        server.communicate('', 30)


@pytest.mark.parametrize('history', [False, True])
def test_relstorage(tmp_path, registry, monkeypatch, postgresql, history):
    import psycopg2

    options = Options(keep_history=history)
    database = DB(RelStorage(PostgreSQLAdapter(postgresql, options),
                             options=options))
    jobs_through(database, registry, monkeypatch)

    def objects():
        with psycopg2.connect(postgresql) as asked, asked.cursor() as cursor:
            cursor.execute('SELECT count(*) FROM object_state')
            return cursor.fetchone()[0]

    before = objects()
    text = file_of(PAGE, 'pack.conf')
    wanted = re.search(r'dsn (.*)', text).group(1)
    assert 'keep-history false' in text
    Path(tmp_path, 'pack.conf').write_text(
        text.replace(wanted, postgresql).replace(
            'keep-history false', f'keep-history {str(history).lower()}'))
    run(command('zodbpack'), tmp_path)
    assert objects() < before / 2
    check(database)
    database.close()


def test_filestorage(tmp_path, registry, monkeypatch):
    path = tmp_path / 'Data.fs'
    database = DB(FileStorage(str(path)))
    jobs_through(database, registry, monkeypatch)
    database.close()
    before = os.path.getsize(path)
    run(command('db.pack'), tmp_path)
    assert os.path.getsize(path) < before / 4
    database = DB(FileStorage(str(path)))
    check(database)
    database.close()


def test_a_job_packs(tmp_path, registry, monkeypatch):
    """While the application runs, and other threads commit."""
    path = tmp_path / 'Data.fs'
    database = DB(FileStorage(str(path)))
    jobs_through(database, registry, monkeypatch)
    text = file_of(PAGE, 'packing.py')
    assert 'days=1' in text
    found = {}
    exec(text.replace('days=1', 'days=0'), found)
    from lovely.remotetask.task import marks
    (name, task), = marks(found['pack'])
    registry.registerUtility(task, ITask, name)
    connection = database.open()
    service = connection.root()['tasks']
    jobid = service.add('pack')
    transaction.commit()
    before = os.path.getsize(path)
    thread = threading.Thread(
        target=SimpleProcessor(database, ['tasks']).processNext)
    thread.start()
    thread.join(60)
    transaction.begin()
    assert service.getStatus(jobid) == 'completed'
    assert os.path.getsize(path) < before / 4
    connection.close()
    database.close()
