"""`remotetask bench` and benchmarks/: every measure has its figures, and
nothing stays behind.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.bench import sizes
from lovely.remotetask.bench.command import MEASURES
from lovely.remotetask.bench.place import Place
from lovely.remotetask.cli import main

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / 'docs' / 'reference' / 'commandline.rst'
BENCHMARKS = ROOT / 'benchmarks'

#: Seconds; a smoke run takes some.
DEADLINE = 120

#: Figures that only a storage has that several processes can open.
SHARED = {'other_process_p50_ms', 'other_process_p99_ms'}


def documented(document=REFERENCE, indent=4):
    """Measure -> the figures that the document names."""
    text = document.read_text()
    table = text[text.index('``measures`` for each measure'):]
    _, table, _ = re.split(rf'^ {{{indent}}}=+  =+$', table, maxsplit=2,
                           flags=re.M)
    found = {}
    for line in table.splitlines():
        head, line = line[indent:indent + 15], line[indent + 15:]
        if head.strip():
            found[head.strip(' `')] = figures = set()
        if line:
            figures |= set(re.findall(r'``(\w+)``', line))
    return found


#: Measure -> figures, of benchmarks/ and of both.
MORE = documented(BENCHMARKS / 'README.rst', 0)
FIGURES = documented() | MORE


def test_each_measure_is_documented_once():
    assert list(documented()) == list(MEASURES)
    assert not set(documented()) & set(MORE)


def root_of(path):
    database = DB(FileStorage(str(path)))
    with database.transaction() as connection:
        found = dict(connection.root())
    database.close()
    return found


@pytest.fixture
def theirs(tmp_path):
    """A database with somebody's data."""
    path = tmp_path / 'Data.fs'
    database = DB(FileStorage(str(path)))
    with database.transaction() as connection:
        connection.root()['theirs'] = 1
    database.close()
    return path


def check(report, measures=MEASURES):
    assert list(report) == ['version', 'started', 'storage', 'machine',
                            'measures']
    assert report['version'] == 1
    assert {'cpu', 'cores', 'fsync_ms', 'python', 'ZODB'} \
        <= set(report['machine'])
    assert set(report['measures']) == set(measures)
    for name, figures in report['measures'].items():
        left_out = set() if report['storage'] != 'FileStorage' else SHARED
        assert set(figures) == FIGURES[name] - left_out, name
        for value in figures.values():
            assert value is None or value >= 0


def test_a_smoke_run_measures_everything(remotetask, tmp_path):
    run = remotetask('bench', '--smoke', '--json', 'report.json', '--table',
                     'table.txt')
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['storage'] == 'FileStorage'
    check(report)
    # The table is the one on the screen.
    assert (tmp_path / 'table.txt').read_text() == run.stdout
    for name in MEASURES:
        assert f'measuring {name} ...' in run.stderr
        assert re.search(rf'^{name}: ', run.stdout, re.M)
    # Its own database is gone.
    assert {path.name for path in tmp_path.iterdir()} == {
        'report.json', 'table.txt'}


@pytest.fixture
def script(environ, tmp_path):
    """``script(name, *arguments)`` runs a script of benchmarks/ to its end."""
    def run(name, *arguments):
        done = subprocess.run(
            [sys.executable, BENCHMARKS / name, *arguments],
            capture_output=True, text=True, cwd=tmp_path, timeout=DEADLINE,
            env=environ | {name: value for name, value in os.environ.items()
                           if name == 'REMOTETASK_POSTGRESQL'})
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.mark.parametrize(('storage', 'measures'), [
    ('file', list(MORE)),
    ('zeo', ['add', 'latency', 'busy', 'conflicts', 'idle', 'memory',
             'listing']),
    # The others go through the same code as on ZEO: one more process each.
    ('postgresql', ['add', 'latency']),
])
def test_storages(storage, measures, request, script, tmp_path):
    if storage == 'postgresql':
        request.getfixturevalue('postgresql')   # skips, or fails in CI
    script('storages.py', storage, '--smoke', '--json', 'report.json',
           *[f'--only={name}' for name in measures])
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['storage'] == {
        'file': 'FileStorage', 'zeo': 'ZEO'}.get(storage, 'PostgreSQL')
    check(report, measures)
    if storage != 'file':
        # It may start before the commit of its add returns: 0.0 is right, too.
        assert None not in map(report['measures']['latency'].get, SHARED)


def test_cpu(script, tmp_path):
    run = script('cpu.py', '--rounds', '1', '--jobs', '20', '--threads', '2',
                 '--json', 'report.json')
    report = json.loads((tmp_path / 'report.json').read_text())
    assert list(report) == ['costs', 'watched', 'bytes', 'records']
    for operation, found in report['costs'].items():
        assert re.search(rf'^{operation}( +[\d.]+){{4}}$', run.stdout, re.M)
        assert found['median_us'] >= found['least_us'] > 0
    assert report['costs']['raw commit']['of_raw'] == 1
    # Another thread's claims may not be all that is loaded: there is the job.
    assert report['records']['2'] >= 1
    assert report['bytes']['single'] > report['bytes']['grouped'] > 100


def test_beside_huey(script, tmp_path):
    pytest.importorskip('huey', reason='see benchmarks/requirements.txt')
    run = script('huey_sqlite.py', '--jobs', '20', '--rounds', '1',
                 '--samples', '1', '--json', 'report.json', '--table',
                 'table.txt')
    assert (tmp_path / 'table.txt').read_text() == run.stdout
    figures = json.loads((tmp_path / 'report.json').read_text())['figures']
    assert figures['drain: ours grouped / Huey'] > 0


def test_beside_procrastinate(script, tmp_path, postgresql):
    pytest.importorskip('procrastinate',
                        reason='see benchmarks/requirements.txt')
    script('procrastinate_postgres.py', '--jobs', '20', '--rounds', '1',
           '--json', 'report.json')
    figures = json.loads((tmp_path / 'report.json').read_text())['figures']
    assert figures['drain: ours grouped / Procrastinate'] > 0


def test_beside_oban(script, tmp_path, postgresql):
    pytest.importorskip('oban', reason='see benchmarks/requirements.txt')
    script('oban_postgres.py', '--jobs', '20', '--rounds', '1',
           '--json', 'report.json')
    figures = json.loads((tmp_path / 'report.json').read_text())['figures']
    assert figures['drain: ours grouped / Oban'] > 0


def test_beside_celery(script, tmp_path):
    pytest.importorskip('celery', reason='see benchmarks/requirements.txt')
    script('celery_brokers.py', '--jobs', '20', '--rounds', '1',
           '--json', 'report.json')
    figures = json.loads((tmp_path / 'report.json').read_text())['figures']
    for broker in 'Redis', 'RabbitMQ':
        assert figures[f'drain: ours grouped / {broker}'] > 0


def test_leaves_nothing_in_a_database_of_others(remotetask, theirs):
    run = remotetask('bench', '--db', f'file://{theirs}', '--smoke',
                     '--only', 'drain', '--only', 'latency', '--jobs',
                     '37',
                     '--json', 'report.json')
    assert run.returncode == 0, run.stderr
    assert root_of(theirs) == {'theirs': 1}
    report = json.loads((theirs.parent / 'report.json').read_text())
    check(report, ['drain', 'latency'])
    assert report['measures']['drain']['jobs'] == 37


@pytest.mark.parametrize(('option', 'queued'), [((), 200), (
    ('--large',), 300)])
def test_a_large_queue(theirs, tmp_path, monkeypatch, option, queued):
    """Of other sizes: a million jobs take minutes."""
    monkeypatch.setattr(sizes, 'sizes_for', lambda shared: sizes.SMOKE)
    monkeypatch.setattr(sizes, 'LARGE', 300)
    file = tmp_path / 'report.json'
    assert main(['bench', '--db', f'file://{theirs}', '--only', 'backlog',
                 '--json', str(file), *option]) == 0
    assert json.loads(file.read_text())['measures']['backlog'][
        'queued'] == queued


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_leaves_nothing_when_it_is_interrupted(theirs, environ, number):
    process = subprocess.Popen(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'bench', '--db',
         f'file://{theirs}', '--only', 'drain', '--jobs', '1000000'],
        stderr=subprocess.PIPE, text=True, env=environ)
    assert 'measuring drain' in process.stderr.readline()
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    assert 'interrupted' in said
    assert process.returncode == 130, said
    assert root_of(theirs) == {'theirs': 1}


def test_leaves_nothing_when_a_commit_is_interrupted(theirs, monkeypatch,
                                                    capsys):
    # A FileStorage that is interrupted here closes itself.
    calls = itertools.count()

    def fsync(number):
        if next(calls) == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules[FileStorage.__module__], 'fsync', fsync)
    assert main(['bench', '--db', f'file://{theirs}', '--smoke', '--only',
                 'add']) == 130
    monkeypatch.undo()
    assert 'interrupted' in capsys.readouterr().err
    assert root_of(theirs) == {'theirs': 1}


@pytest.mark.parametrize(('owner', 'name', 'call'), [
    # In the midst of a commit that holds the storage's locks.
    (sys.modules[FileStorage.__module__], 'fsync', 20),
    (Place, 'close', 0),
    (Place, 'remove', 0),
])
def test_leaves_nothing_when_it_is_interrupted_in(
        owner, name, call, theirs, monkeypatch, capsys):
    calls = itertools.count()
    function = getattr(owner, name)

    def interrupted(*arguments):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGTERM)
        return function(*arguments)

    monkeypatch.setattr(owner, name, interrupted)
    assert main(['bench', '--db', f'file://{theirs}', '--smoke', '--only',
                 'add']) == 130
    monkeypatch.undo()
    assert next(calls) > call
    assert 'interrupted' in capsys.readouterr().err
    assert root_of(theirs) == {'theirs': 1}


def test_refuses_where_its_name_is_taken(remotetask, theirs):
    database = DB(FileStorage(str(theirs)))
    with database.transaction() as connection:
        connection.root()['remotetask-bench'] = 'mine'
    database.close()
    transaction.abort()
    run = remotetask('bench', '--db', f'file://{theirs}', '--smoke')
    assert run.returncode == 1
    assert run.stdout == ''
    line, = run.stderr.splitlines()
    assert "holds 'remotetask-bench' already" in line
    assert root_of(theirs) == {'theirs': 1, 'remotetask-bench': 'mine'}


@pytest.mark.parametrize(('arguments', 'code', 'said'), [
    (['--only', 'nonsense'], 2, 'there are add, claim, drain, latency'),
    (['--jobs', '0'], 2, '--jobs'),
    (['--jobs', 'x'], 2, '--jobs'),
    (['--large', '--smoke'], 2, 'exclude each other'),
    (['--db', 'nonsense://x'], 1, 'no storage for this kind of URI'),
    (['--db', 'nonsense'], 1, '--db nonsense'),
    (['--db', 'postgres://u:secret@127.0.0.1:1/x'], 1, 'cannot open'),
    (['--json', 'missing/report.json'], 1, '--json missing/report.json'),
    (['--table', '.'], 2, '--table'),
])
def test_bad_input(remotetask, tmp_path, arguments, code, said):
    run = remotetask('bench', '--smoke', *arguments)
    assert run.returncode == code, (run.stdout, run.stderr)
    assert run.stdout == ''
    assert said in run.stderr
    assert 'secret' not in run.stderr
    assert 'Traceback' not in run.stderr
    assert list(tmp_path.iterdir()) == []
