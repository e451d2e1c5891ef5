"""`remotetask bench`: every measure comes out, and nothing stays behind.

Whether the targets are met is for a machine that does nothing else.
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

from lovely.remotetask.bench.command import MEASURES
from lovely.remotetask.bench.targets import TARGETS
from lovely.remotetask.cli import main

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / 'docs' / 'reference' / 'commandline.rst'
STORAGES = ROOT / 'benchmarks' / 'storages.py'

#: Seconds; a smoke run takes some.
DEADLINE = 120

#: Figures that only a storage has that several processes can open.
SHARED = {'other_process_p50_ms', 'other_process_p99_ms'}


def documented():
    """Measure -> the figures that the reference names."""
    text = REFERENCE.read_text()
    table = text[text.index('in ``measures`` for each measure'):]
    _, table, _ = re.split(r'^    =+  =+$', table, maxsplit=2, flags=re.M)
    found = {}
    for line in table.splitlines():
        head, line = line[4:19], line[19:]
        if head.strip():
            found[head.strip(' `')] = figures = set()
        if line:
            figures |= set(re.findall(r'``(\w+)``', line))
    return found


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
                            'measures', 'targets']
    assert report['version'] == 1
    assert {'cpu', 'cores', 'fsync_ms', 'python', 'ZODB'} \
        <= set(report['machine'])
    assert set(report['measures']) == set(measures)
    for name, figures in report['measures'].items():
        left_out = set() if report['storage'] != 'FileStorage' else SHARED
        assert set(figures) == documented()[name] - left_out, name
        for value in figures.values():
            assert value is None or value >= 0
    for target in report['targets']:
        assert list(target) == ['figure', 'target', 'value', 'ok']


def test_a_smoke_run_measures_everything(remotetask, tmp_path):
    run = remotetask('bench', '--smoke', '--json', 'report.json', '--table',
                     'table.txt')
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['storage'] == 'FileStorage'
    check(report)
    # Every target that holds for this storage has its measurement.
    assert {target['figure'] for target in report['targets']} == {
        target.figure for target in TARGETS
        if not target.kinds or 'FileStorage' in target.kinds}
    # What people read is the same.
    assert (tmp_path / 'table.txt').read_text() == run.stdout
    for target in report['targets']:
        assert target['target'].replace('<= ', '').replace('>= ', '') \
            in run.stdout
    for name in MEASURES:
        assert f'measuring {name} ...' in run.stderr
        assert re.search(rf'^{name}: ', run.stdout, re.M)
    # Its own database is gone.
    assert {path.name for path in tmp_path.iterdir()} == {
        'report.json', 'table.txt'}


@pytest.mark.parametrize('storage', ['zeo', 'postgresql'])
def test_on_a_server(storage, request, environ, tmp_path):
    if storage == 'postgresql':
        request.getfixturevalue('postgresql')   # skips, or fails in CI
    measures = ['add', 'latency', 'busy', 'conflicts', 'idle', 'memory']
    run = subprocess.run(
        [sys.executable, STORAGES, storage, '--smoke', '--json',
         'report.json', *[f'--only={name}' for name in measures]],
        capture_output=True, text=True, cwd=tmp_path, timeout=DEADLINE,
        env=environ | {name: value for name, value in os.environ.items()
                       if name == 'REMOTETASK_POSTGRESQL'})
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / 'report.json').read_text())
    assert report['storage'] == {'zeo': 'ZEO'}.get(storage, 'PostgreSQL')
    check(report, measures)
    assert report['measures']['latency']['other_process_p50_ms'] > 0


def test_leaves_nothing_in_a_database_of_others(remotetask, theirs):
    run = remotetask('bench', '--db', f'file://{theirs}', '--smoke',
                     '--only', 'drain', '--only', 'idle', '--jobs', '37',
                     '--json', 'report.json')
    assert run.returncode == 0, run.stderr
    assert root_of(theirs) == {'theirs': 1}
    report = json.loads((theirs.parent / 'report.json').read_text())
    check(report, ['drain', 'idle'])
    assert report['measures']['drain']['jobs'] == 37


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
    (['--only', 'nonsense'], 2, 'there are add, claim, drain, life'),
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
