"""Many jobs at once: which are listed, retried, cancelled and removed."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.testing import FrozenClock

DAY = 86_400


def fails(service, jobid, input):
    raise TaskError(f'no {input} here')


@pytest.fixture
def ask(tmp_path, register, remotetask):
    """Asks about the jobs that ``make`` has made, by their names."""
    register(FunctionTask(fails), 'fails')
    register(FunctionTask(lambda service, jobid, input: input), 'echo')
    database = DB(FileStorage(str(tmp_path / 'Data.fs')))
    connection = database.open()
    service = make_service(connection.root(), 'tasks')
    transaction.commit()
    ids = {}

    def add(name, *arguments, **options):
        ids[name] = service.add(*arguments, **options)

    # Ten days ago, and since then; no two end at one moment, for they would be
    # in either order.
    with FrozenClock(time.time() - 10 * DAY) as clock:
        add('old failed', 'fails', 'wood')
        service.process()
        clock.advance(60)
        add('old done', 'echo')
        service.process()
    add('failed', 'fails', 'METAL', key='k')
    add('done', 'echo')
    service.process()
    add('waits', 'echo')
    add('delayed', 'echo', delay=3600)
    add('of mia', 'fails')
    service.jobs[ids['of mia']].put(submitter='mia')
    service.addCronJob('echo', minute=(5,))
    transaction.commit()
    connection.close()
    database.close()
    names = {jobid: name for name, jobid in ids.items()}

    def ask(*arguments, **more):
        return remotetask(*arguments, '--db', f'file://{tmp_path}/Data.fs',
                          **more)

    def listed(*options):
        run = ask('list', '--json', *options)
        assert run.returncode == 0, run.stderr
        return sorted(names.get(job['id'], 'cron')
                      for job in json.loads(run.stdout)['jobs'])

    ask.listed = listed
    ask.ids = ids
    ask.file = tmp_path / 'Data.fs'
    return ask


ALL = ['cron', 'delayed', 'done', 'failed', 'of mia', 'old done',
       'old failed', 'waits']


@pytest.mark.parametrize('options, names', [
    ('', ALL),
    ('--key k', ['failed']),
    ('--key other', []),
    ('--submitter mia', ['of mia']),
    ('--error metal', ['failed']),
    ('--error TaskError', ['failed', 'old failed']),
    ('--error TaskError --older 7d', ['old failed']),
    ('--older 7d', ['old done', 'old failed']),
    ('--since 7d --task fails', ['failed', 'of mia']),
    ('--since 2w', ALL),
    ('--since 2999-12-31', []),
    ('--older 2999-12-31T12:00:00Z', ALL),
    ('--status failed', ['failed', 'old failed']),
    ('--status error', ['failed', 'old failed']),
    ('--status scheduled', ['cron', 'delayed']),
    ('--status scheduled --task fails', [])])
def test_list(ask, options, names):
    assert ask.listed(*options.split()) == names


def test_list_tells_of_more_than_its_limit(ask):
    run = ask('list', '--status', 'scheduled', '--limit', '1')
    assert len(run.stdout.splitlines()) == 2
    assert 'There are more' in run.stderr
    run = ask('list', '--status', 'scheduled', '--limit', '2')
    assert len(run.stdout.splitlines()) == 3
    assert run.stderr == ''


@pytest.mark.parametrize('age', ['7', '7y', 'x', '', '-1d', '1e9d', 'nan',
                                 '9' * 30 + 'w', '2026-13-01'])
def test_an_age_that_is_none(ask, age):
    for verb in (['list', '--since', age], ['clean', '--older', age]):
        run = ask(*verb)
        assert run.returncode == 2, age
        assert 'give one like 90s, 30m, 12h, 7d or 2w' in run.stderr


@pytest.mark.parametrize('options, names', [
    ('--all', ['failed', 'old failed']),
    ('--status failed', ['failed', 'old failed']),
    ('--since 1d', ['failed']),
    ('--older 1d', ['old failed']),
    ('--task fails --error wood', ['old failed']),
    ('--status cancelled', []),
    ('--task echo', [])])
def test_retry(ask, options, names):
    run = ask('retry', *options.split())
    assert (run.returncode, run.stdout) == (0, f'retried: {len(names)}\n')
    assert ask.listed('--status', 'queued') == sorted(
        [*names, 'of mia', 'waits'])


def test_retry_tells_what_it_leaves(ask):
    assert ask('add', 'echo', '--key', 'k').returncode == 0
    assert ask('retry', '--all').stdout.splitlines()[:1] == ['retried: 1']
    run = ask('retry', '--all')
    assert run.stdout.startswith('retried: 0\nleft: 1: another job has')
    assert json.loads(ask('retry', '--all', '--json').stdout) == {
        'retried': 0, 'left': 1}
    assert ask.listed('--status', 'failed') == ['failed']


@pytest.mark.parametrize('options, left', [
    ('--all', []),
    ('--status scheduled', ['of mia', 'waits']),
    ('--status queued --submitter mia', ['cron', 'delayed', 'waits']),
    ('--task echo', ['of mia']),
    ('--older 1d', ['cron', 'delayed', 'of mia', 'waits'])])
def test_cancel(ask, options, left):
    run = ask('cancel', *options.split())
    assert (run.returncode, run.stdout) == (0, f'cancelled: {4 - len(left)}\n')
    assert sorted([*ask.listed('--status', 'queued'),
                   *ask.listed('--status', 'scheduled')]) == left


def test_what_is_not_clear_changes_nothing(ask):
    for verb in ('retry', 'cancel'):
        for arguments in ((), ('5', '--all'), ('5', '--since', '1d'),
                          ('--all', '--task', 'echo')):
            run = ask(verb, *arguments)
            assert run.returncode == 2, (verb, arguments)
    assert ask('retry', '--status', 'completed').returncode == 2
    assert ask('cancel', '--status', 'failed').returncode == 2
    assert ask('clean', '--all', '--older', '1d').returncode == 2
    assert ask('clean', '--keep', '0').returncode == 2
    assert ask.listed() == ALL


@pytest.mark.parametrize('options, left', [
    ('--all', []),
    ('--older 7d', ['done', 'failed']),
    ('--older 20d', ['done', 'failed', 'old done', 'old failed']),
    ('--older 7d --status failed', ['done', 'failed', 'old done']),
    ('--keep 1', ['done']),
    ('--keep 3', ['done', 'failed', 'old done']),
    ('--keep 3 --older 20d', ['done', 'failed', 'old done', 'old failed']),
    ('--keep 1 --older 7d', ['done', 'failed']),
    ('--keep 1 --status failed', ['done', 'failed', 'old done']),
    ('--keep 100', ['done', 'failed', 'old done', 'old failed'])])
def test_clean(ask, options, left):
    run = ask('clean', *options.split(), '--json')
    assert run.returncode == 0, run.stderr
    assert sum(json.loads(run.stdout)['removed'].values()) == 4 - len(left)
    assert sorted([*ask.listed('--status', 'failed'),
                   *ask.listed('--status', 'completed')]) == left


def test_clean_of_cancelled_jobs(ask):
    ask('cancel', ask.ids['waits'])
    ask('cancel', ask.ids['delayed'])
    for options in ('--older 1d', '--keep 2', '--keep 3 --older 1s'):
        ask('clean', '--status', 'cancelled', *options.split())
        assert len(ask.listed('--status', 'cancelled')) == 2
    run = ask('clean', '--status', 'cancelled', '--keep', 1)
    assert run.stdout == 'removed: 1 cancelled\n'
    assert ask.listed('--status', 'cancelled') == ['delayed']
    run = ask('clean', '--older', '2999-01-01')
    assert run.stdout == 'removed: 1 cancelled, 2 error, 2 completed\n'


def test_clean_without_options_is_refused_where_nobody_can_answer(ask):
    run = ask('clean')
    assert run.returncode == 2
    assert 'say which jobs: --older 7d, --keep 1000, --status completed, ' \
           'or --all' in run.stderr
    assert ask.listed() == ALL


@pytest.mark.parametrize('answer, code', [('n', 130), ('', 130), ('y', 0)])
def test_clean_without_options_asks_on_a_terminal(ask, environ, answer, code):
    master, slave = pty.openpty()
    with subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.cli', 'clean', '--db',
             f'file://{ask.file}'], stdin=slave, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environ) as process:
        os.close(slave)
        os.write(master, f'{answer}\n'.encode())
        out, told = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == code
    assert (b'Remove all jobs that are over (0 cancelled, 2 error, '
            b'2 completed)?') in told
    assert (b'removed:' in out) == (code == 0)
    assert (ask.listed() == ALL) == (code != 0)


# --- a queue that is paused --------------------------------------------------

PAUSED = ('remotetask: the queue is paused: no job is started until: '
          'remotetask resume\n')


def test_a_paused_queue_is_told_of(ask, serve):
    ask('pause')
    for verb in (['list'], ['list', '--key', 'none'], ['add', 'echo']):
        run = ask(*verb)
        assert (run.returncode, run.stderr) == (0, PAUSED), verb
    assert json.loads(ask('list', '--json').stdout)['paused'] is True
    ask('resume')
    for verb in (['list'], ['add', 'echo']):
        assert ask(*verb).stderr == ''
    assert 'paused' not in json.loads(ask('list', '--json').stdout)


def test_a_server_tells_of_a_paused_queue(serve, remotetask):
    server = serve('--port', '0', '--data', 'data').ready()
    where = ['--url', server.url]
    remotetask('pause', *where)
    run = remotetask('add', 'echo', *where)
    assert re.fullmatch(r'\d+\n', run.stdout) and run.stderr == PAUSED
    run = remotetask('add', 'echo', '--wait', '--timeout', '0.1', *where)
    assert run.stderr.startswith(PAUSED) and "still 'queued'" in run.stderr
    assert remotetask('list', *where).stderr == PAUSED
    assert server.stop() == 0
    server = serve('--port', '0', '--data', 'data').ready()
    assert server.stop() == 0
    assert server.stderr().startswith(PAUSED)
