"""What an administrator asks for; and all verbs with --db."""

import json
import re

import pytest
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.cli.admin import CHECKED
from lovely.remotetask.service import make_service
from lovely.remotetask.store.check import KINDS


def one_line(run, code=1):
    """The single line on stderr of a command that failed."""
    assert run.returncode == code, (run.stdout, run.stderr)
    assert run.stdout == ''
    assert run.stderr.startswith('remotetask: '), run.stderr
    assert run.stderr.count('\n') == 1, run.stderr
    assert 'Traceback' not in run.stderr
    return run.stderr


def test_keys(ask):
    ask('pause')
    first = ask('add', 'echo', '1', '--key', 'a').stdout
    assert ask('add', 'echo', '2', '--key', 'a').stdout == first
    second = ask('add', 'echo', '3', '--key', 'a',
                 '--on-duplicate', 'replace').stdout
    assert second != first
    assert json.loads(ask('show', first.strip(), '--json').stdout)[
        'status'] == 'cancelled'
    assert json.loads(ask('show', second.strip(), '--json').stdout)[
        'key'] == 'a'
    failed = one_line(ask('add', 'echo', '4', '--key', 'a',
                          '--on-duplicate', 'error'))
    assert "'a'" in failed and second.strip() in failed
    run = ask('add', 'echo', '5', '--on-duplicate', 'error')
    assert run.returncode == 2 and '--key' in run.stderr


def test_cancel_all_that_have_a_status(ask):
    ask('pause')
    for delay in ((), ('--delay', '3600')):
        for number in range(3):
            ask('add', 'echo', str(number), *delay)
    run = ask('cancel', '--status', 'queued', '--task', 'nobody')
    assert run.stdout == 'cancelled: 0\n'
    assert ask('cancel', '--status', 'queued').stdout == 'cancelled: 3\n'
    assert json.loads(ask(
        'cancel', '--status', 'delayed', '--task', 'echo', '--json'
        ).stdout) == {'cancelled': 3}
    stats = json.loads(ask('stats', '--json').stdout)
    assert (stats['queued'], stats['scheduled'], stats['cancelled']) == (
        0, 0, 6)
    for arguments in ((), ('5', '--status', 'queued'), ('5', '--task', 'x'),
                      ('--status', 'completed')):
        assert ask('cancel', *arguments).returncode == 2


def test_the_life_of_a_job(ask):
    assert json.loads(ask('pause', '--json').stdout) == {'paused': True}
    assert re.search('^paused: +yes$', ask('stats').stdout, re.M)
    run = ask('add', 'echo', '[1]')
    jobid = run.stdout.strip()
    assert jobid.isdigit(), run.stderr
    assert json.loads(ask('stats', '--json').stdout)['queued'] == 1
    assert re.search('^oldest: +[0-9.]+ s$', ask('stats').stdout, re.M)
    assert ask('cancel', jobid).stdout == f'job {jobid} is cancelled\n'
    assert ask('retry', jobid).stdout == f'job {jobid} is queued\n'
    assert json.loads(ask('retry', jobid, '--json').stdout) == {
        'id': int(jobid), 'status': 'queued'}
    ask('cancel', jobid)
    listed = json.loads(ask('list', '--json').stdout)['jobs']
    assert [job['status'] for job in listed] == ['cancelled']
    assert re.search('^status: +cancelled$', ask('show', jobid).stdout, re.M)
    assert ask('tasks').stdout == 'task  input\necho  as it is\n'
    run = ask('clean', '--status', 'error', '--status', 'cancelled')
    assert run.stdout == 'removed: 1 cancelled, 0 error\n'
    assert json.loads(ask('clean', '--all', '--json').stdout) == {
        'removed': {'cancelled': 0, 'error': 0, 'completed': 0}}
    assert jobid in one_line(ask('show', jobid))
    assert json.loads(ask('resume', '--json').stdout) == {'paused': False}
    assert re.search('^paused: +no$', ask('stats').stdout, re.M)
    ask('pause', '--reason', 'a new release')
    stats = ask('stats').stdout
    assert re.search('^pauseReason: +a new release$', stats, re.M)
    assert re.search('^pausedAt: +[-0-9]+ [:0-9]+ UTC$', stats, re.M)
    assert ask('resume').stdout == 'resumed\n'
    assert 'pausedAt' not in ask('stats').stdout
    assert ask('pause', '--reason', '').returncode == 1


def test_check_finds_nothing_where_all_is_well(ask):
    ask('pause')
    ask('add', 'echo', '1', '--key', 'a')
    for options in ((), ('--repair',)):
        run = ask('check', *options)
        assert (run.returncode, run.stdout) == (0, 'nothing is wrong\n')
    run = ask('check', '--json')
    assert json.loads(run.stdout) == {'found': {}, 'repaired': {}}


def test_check_tells_what_is_wrong_and_repairs_it(remotetask, tmp_path):
    database = DB(FileStorage(str(tmp_path / 'Data.fs')))
    with database.transaction() as connection:
        service = make_service(connection.root(), 'tasks')
        service._task = lambda name: name
        lost, gone = service.add('echo'), service.add('echo')
        del service.__dict__['_task']
        service.jobqueue.take_out(service.jobs[lost])
        del service.jobs[gone]
    database.close()

    def ask(*options):
        return remotetask('check', *options, '--db',
                          f'file://{tmp_path}/Data.fs')

    lines = [f'jobs that wait and stand in no lane: {lost}',
             f'entries of jobs that are gone or stand elsewhere: {gone}']
    run = ask()
    assert (run.returncode, run.stdout.splitlines()) == (1, lines)
    run = ask('--json')
    assert run.returncode == 1
    assert json.loads(run.stdout) == {
        'found': {'adrift': [lost], 'gone': [gone]}, 'repaired': {}}
    run = ask('--repair')
    assert (run.returncode, run.stdout.splitlines()) == (
        0, [f'{line} (repaired)' for line in lines])
    assert f'job {lost} stood in no lane' in run.stderr
    assert ask().stdout == 'nothing is wrong\n'


def test_check_has_a_text_for_all_that_is_found():
    assert tuple(CHECKED) == KINDS


def test_workers(ask):
    run = ask('workers')
    head, *rows = run.stdout.splitlines()
    assert head.split() == ['worker', 'host', 'since', 'last', 'sign',
                            'evidence', 'state', 'slots', 'jobs']
    found = json.loads(ask('workers', '--json').stdout)['workers']
    if ask.kind == 'server':
        # A server that has just started may still be enrolling.
        assert len(rows) <= 1
    else:
        assert (rows, found) == ([], [])


def test_what_workers_lack_and_where_they_are_stuck(remotetask, tmp_path):
    database = DB(FileStorage(str(tmp_path / 'Data.fs')))
    with database.transaction() as connection:
        queue = make_service(connection.root(), 'tasks').jobqueue
        for name in ('loop:here:1', 'loop:here:2'):
            queue.enroll(name, (), beats=False)
        queue.note_lacking('loop:here:2', {'mail', 'an\nodd name'})
        queue.workers['loop:here:1'].stuck = ((5, 'was cancelled'),)
    database.close()
    run = remotetask('workers', '--db', f'file://{tmp_path}/Data.fs')
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[3:] == [
        'stuck: job 5 was cancelled, and a thread of loop:here:1 still runs '
        'it', 'loop:here:2 lacks the tasks an odd name, mail']


def test_what_cannot_be_done(ask):
    assert '4711' in one_line(ask('retry', '4711'))
    assert '4711' in one_line(ask('cancel', '4711'))
    assert 'Task does not exist' in one_line(ask('add', 'nonsense'))
    for arguments in (['retry'], ['retry', 'x'], ['clean', '--status',
                      'queued'], ['stats', '5'], ['pause', '--nonsense']):
        run = ask(*arguments)
        assert run.returncode == 2, arguments
        assert 'Traceback' not in run.stderr


def test_retry_of_a_completed_job(remotetask, server):
    run = remotetask('add', 'echo', '--json', '--url', server.url)
    jobid = json.loads(run.stdout)['id']
    # The first one has ended before this one.
    remotetask('add', 'echo', '--wait', '--url', server.url)
    line = one_line(remotetask('retry', jobid, '--url', server.url))
    assert str(jobid) in line
    assert "'completed'" in line and "'queued'" in line


def test_tasks_of_a_module_with_db(remotetask, serve, tmp_path):
    assert serve('--port', '0', '--data', 'data').ready().stop() == 0
    (tmp_path / 'own.py').write_text(
        'from lovely.remotetask.task import task\n'
        '@task\ndef double(input):\n    return input * 2\n')
    where = ['--db', f'file://{tmp_path}/data/Data.fs']
    run = remotetask('tasks', '--tasks', 'own', *where)
    assert [line.split()[0] for line in run.stdout.splitlines()] == [
        'task', 'double', 'echo']
    run = remotetask('add', 'double', '4', '--tasks', 'own', *where)
    assert run.returncode == 0, run.stderr
    assert 'Task does not exist' in one_line(
        remotetask('add', 'double', '4', *where))
    line = one_line(remotetask('tasks', '--tasks', 'nonsense', *where))
    assert "there is no module 'nonsense'" in line


def test_zcml_with_db(remotetask, tmp_path):
    with_services(tmp_path, 'tasks')
    (tmp_path / 'tasks.zcml').write_text(
        '<configure xmlns="http://namespaces.zope.org/remotetask"'
        ' xmlns:zope="http://namespaces.zope.org/zope">\n'
        '<zope:include package="lovely.remotetask" file="meta.zcml" />\n'
        '<task name="triple" handler="builtins.len" />\n</configure>\n')
    where = ['--db', f'file://{tmp_path}/Data.fs']
    assert 'triple' in remotetask(
        'tasks', '--zcml', 'tasks.zcml', *where).stdout.split()
    assert 'triple' not in remotetask('tasks', *where).stdout.split()


def with_services(tmp_path, *names):
    database = DB(FileStorage(str(tmp_path / 'Data.fs')))
    with database.transaction() as connection:
        for name in names:
            make_service(connection.root(), name)
    database.close()


def test_one_of_several_services(remotetask, tmp_path):
    with_services(tmp_path, 'first', 'second')
    where = ['--db', f'file://{tmp_path}/Data.fs', '--service']
    jobid = remotetask('add', 'echo', '1', *where, 'second').stdout.strip()
    for name, queued in (('first', 0), ('/second', 1)):
        run = remotetask('stats', '--json', *where, name)
        assert json.loads(run.stdout)['queued'] == queued, run.stderr
    assert jobid in one_line(remotetask('show', jobid, *where, 'first'))


def test_waiting_for_a_job_that_nobody_can_run(remotetask, serve, tmp_path):
    assert serve('--port', '0', '--data', 'data').ready().stop() == 0
    where = ['--db', f'file://{tmp_path}/data/Data.fs']
    run = remotetask('add', 'echo', '--wait', *where)
    line = one_line(run)
    assert 'no worker can open' in line
    # Refused before anything is stored.
    assert json.loads(remotetask('list', '--json', *where).stdout)[
        'jobs'] == []


def test_options_that_exclude_each_other(remotetask):
    db = ['--db', 'memory://']
    for arguments in ([*db, '--url', 'http://localhost'],
                      [*db, '--user', 'a:b'], ['--service', '/tasks']):
        assert remotetask('stats', *arguments).returncode == 2, arguments
    for arguments in (['--tasks', 'x'], ['--zcml', 'x']):
        assert remotetask('tasks', *arguments).returncode == 2, arguments
    # The environment's server is not meant.
    run = remotetask('stats', *db, REMOTETASK_URL='http://127.0.0.1:1')
    assert 'holds no task service' in one_line(run)


@pytest.mark.parametrize(('uri', 'reason'), [
    ('nonsense://x', 'there is no storage for this kind of URI'),
    ('file:///no/such/file', 'there is no file'),
    ('memory://', 'holds no task service'),
    ('zeo://127.0.0.1:1?wait_timeout=1', 'start the database server')])
def test_a_database_that_does_not_work(remotetask, uri, reason):
    for verb in (['stats'], ['list'], ['add', 'echo'], ['retry', '5']):
        assert reason in one_line(remotetask(*verb, '--db', uri))


def test_a_database_in_use(remotetask, server):
    uri = f'file://{server.data}/Data.fs'
    line = one_line(remotetask('pause', '--db', uri))
    assert re.search(r'in use by process \d+; stop that one', line)
    # See test_chosen.
    assert remotetask('stats', '--db', uri).returncode == 0
