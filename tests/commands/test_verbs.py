"""add, list, show, cancel, tasks against a running server."""

import json
import re
import socket
import subprocess
import sys

import pytest


def one_line(run, code=1):
    """The single line on stderr of a command that failed."""
    assert run.returncode == code, (run.stdout, run.stderr)
    assert run.stdout == ''
    assert run.stderr.startswith('remotetask: '), run.stderr
    assert run.stderr.count('\n') == 1, run.stderr
    assert 'Traceback' not in run.stderr
    return run.stderr


@pytest.fixture
def ask(remotetask, server):
    def run(verb, *arguments, **more):
        return remotetask(verb, *arguments, '--url', server.url, **more)

    return run


def test_add_prints_the_id_and_show_shows_the_job(ask):
    run = ask('add', 'double', '21')
    assert re.fullmatch(r'\d+\n', run.stdout), run.stderr
    jobid = run.stdout.strip()
    run = ask('show', jobid)
    assert run.returncode == 0
    assert re.search(rf'^id: +{jobid}$', run.stdout, re.M)
    assert re.search(r'^task: +double$', run.stdout, re.M)
    job = json.loads(ask('show', jobid, '--json').stdout)
    assert (job['id'], job['input']) == (int(jobid), 21)


def test_add_wait_prints_the_result_as_json(ask):
    run = ask('add', 'double', '"bär "', '--wait')
    assert (run.returncode, run.stdout) == (0, '"bär bär "\n')
    run = ask('add', 'echo', '--wait')
    assert (run.returncode, run.stdout) == (0, 'null\n')
    run = ask('add', 'echo', '-', '--wait', input='{"a": [1]}')
    assert json.loads(run.stdout) == {'a': [1]}


def test_add_wait_of_a_failing_job(ask):
    run = ask('add', 'fail', '--wait')
    # One line, and no control characters of the task's on the terminal.
    assert re.search(r'job \d+ failed: TaskError: it \[31m does not work$',
                     one_line(run).strip())


def test_add_wait_of_a_result_that_cannot_be_sent(ask):
    run = ask('add', 'odd', '--wait')
    assert 'is completed, but its result cannot be sent' in one_line(run)


def test_add_wait_gives_up_after_the_timeout(ask):
    run = ask('add', 'echo', '--delay', '3600', '--wait', '--timeout', '0.1')
    line = one_line(run)
    assert "still 'delayed' after 0.1 s" in line
    jobid = re.search(r'job (\d+)', line)[1]
    run = ask('cancel', jobid, '--json')
    assert json.loads(run.stdout) == {'id': int(jobid),
                                      'status': 'cancelled'}


def test_delay_and_priority_arrive(ask):
    run = ask('add', 'echo', '--delay', '3600', '--priority', '3', '--json')
    jobid = json.loads(run.stdout)['id']
    job = json.loads(ask('show', jobid, '--json').stdout)
    assert (job['status'], job['priority']) == ('delayed', 3)
    run = ask('cancel', jobid)
    assert (run.returncode, run.stdout) == (0, f'job {jobid} is cancelled\n')


def test_retry_and_time_limit_arrive_and_a_retry_begins_anew(ask):
    jobid = ask('add', 'echo', '--delay', '3600', '--retry', '7',
                '--time-limit', '2.5').stdout.strip()
    job = json.loads(ask('show', jobid, '--json').stdout)
    assert (job['retry'], job['timeout']) == (7, 2.5)
    ask('cancel', jobid)
    assert ask('retry', '--all', '--anew').returncode == 2
    run = ask('retry', jobid, '--anew')
    assert (run.returncode, run.stdout) == (0, f'job {jobid} is queued\n')


def test_list(ask):
    ids = [int(ask('add', 'echo', '--delay', 3600).stdout)
           for _ in range(3)]
    other = int(ask('add', 'double', '1', '--delay', 3600).stdout)
    ask('add', 'echo', '--wait')
    ask('add', 'double', '1', '--wait')
    run = ask('list', '--status', 'delayed', '--task', 'echo', '--json')
    listed = [job['id'] for job in json.loads(run.stdout)['jobs']]
    assert set(ids) <= set(listed) and other not in listed
    run = ask('list', '--status', 'completed', '--task', 'double')
    head, *rows = run.stdout.splitlines()
    assert head.split() == ['id', 'status', 'task', 'created', 'attempts',
                            'error']
    assert rows
    assert all(' completed  double ' in row for row in rows)
    run = ask('list', '--status', 'delayed', '--limit', '1')
    assert len(run.stdout.splitlines()) == 2
    assert 'There are more' in run.stderr
    for jobid in (*ids, other):
        ask('cancel', jobid)


def test_tasks(ask):
    assert ask('tasks').stdout.splitlines() == [
        'task    input',
        'double  input, as it is',
        'echo    as it is',
        'fail    input, as it is',
        'odd     input, as it is',
        r'scale   source, width=100, name="it\u001b[31m", **others',
        'tidy    none']
    answer = json.loads(ask('tasks', '--json').stdout)
    assert answer['tasks'] == ['double', 'echo', 'fail', 'odd', 'scale',
                               'tidy']
    assert answer['inputs']['scale']['parameters'][:2] == [
        {'name': 'source', 'required': True},
        {'name': 'width', 'required': False, 'default': 100}]


def test_unknown_job_and_task(ask):
    assert '4711' in one_line(ask('show', '4711'))
    assert '4711' in one_line(ask('cancel', '4711'))
    assert 'Task does not exist' in one_line(ask('add', 'nonsense'))


def test_cancel_of_an_ended_job(ask):
    jobid = json.loads(ask('add', 'echo', '--json').stdout)['id']
    ask('add', 'echo', '--wait')   # the first one has ended before this one
    assert "'completed'" in one_line(ask('cancel', jobid))


def test_wrong_usage_exits_2(ask, remotetask):
    for arguments in (['add'], ['add', 'echo', '{'],
                      ['add', 'echo', '{"a": 1, "a": 2}'],
                      ['show', 'x'],
                      ['list', '--status', 'nonsense'],
                      ['list', '--limit', '0'],
                      ['add', 'echo', '--priority', '9'],
                      ['add', 'echo', '--timeout', '1'],
                      ['add', 'echo', '--delay', 'nan'],
                      ['add', 'echo', '--delay', '1e10'],
                      ['add', 'echo', '--wait', '--timeout', 'inf'],
                      ['nonsense'], ['list', '--nonsense']):
        run = ask(*arguments)
        assert run.returncode == 2, arguments
        assert 'Traceback' not in run.stderr
    run = remotetask('serve', '--data', 'a', '--db', 'memory://')
    assert run.returncode == 2
    assert 'exclude' in run.stderr


def test_help_and_version(remotetask):
    run = remotetask('--help')
    assert run.returncode == 0
    for command in ('serve', 'add', 'list', 'show', 'cancel', 'tasks',
                    'demo'):
        assert re.search(rf'^  {command} ', run.stdout, re.M)
        assert remotetask(command, '--help').returncode == 0


def test_no_server(remotetask):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
        run = remotetask('list', '--url', f'http://127.0.0.1:{port}')
    line = one_line(run)
    assert f'no server answers at http://127.0.0.1:{port}' in line
    assert f'remotetask serve --port {port}' in line


def test_debug_shows_the_traceback(remotetask):
    for arguments in (['list', '--url', 'nonsense', '--debug'],
                      ['--debug', 'list', '--url', 'nonsense']):
        run = remotetask(*arguments)
        assert run.returncode == 1
        assert 'Traceback' in run.stderr
        assert 'is no http address' in run.stderr


@pytest.mark.parametrize('url', [
    'nonsense', 'ftp://localhost', 'http://', 'http://localhost:x',
    'http://[', 'http://no.such.host.invalid'])
def test_an_address_that_is_none(remotetask, url):
    one_line(remotetask('list', '--url', url))


def test_credentials(ask, server):
    token = (server.data / 'token').read_text().strip()
    assert ask('tasks', '--user', f'any:{token}').returncode == 0
    assert ask('tasks', REMOTETASK_TOKEN=token).returncode == 0
    assert ask('tasks', REMOTETASK_USER='any',
               REMOTETASK_PASSWORD=token).returncode == 0
    refused = ask('tasks', '--user', 'any:wrong')
    assert 'refuses' in refused.stderr.splitlines()[-1]
    for run in (ask('tasks', '--user', 'wrong'),
                ask('tasks', REMOTETASK_TOKEN='wrong'),
                ask('tasks', REMOTETASK_PASSWORD='wrong')):
        assert 'refuses' in one_line(run)
    # --user comes before the environment.
    assert ask('tasks', '--user', f'any:{token}',
               REMOTETASK_TOKEN='wrong').returncode == 0
    # A user who has no runtime directory in common with the server's.
    run = ask('tasks', XDG_RUNTIME_DIR='', TMPDIR=str(server.data))
    assert 'asks for its token' in one_line(run)


def test_the_whole_url_of_the_service_will_do(remotetask, server):
    run = remotetask('tasks', '--url', server.url + '/tasks')
    assert run.returncode == 0, run.stderr
    run = remotetask('tasks', '--url', server.url + '/elsewhere')
    assert '/tasks' in one_line(run)


def test_a_reader_that_goes_away_is_no_error(ask, server, environ):
    run = subprocess.run(
        f'"{sys.executable}" -m lovely.remotetask.cli list --url '
        f'{server.url} | true', shell=True, env=environ,
        capture_output=True, text=True)
    assert run.stderr == ''
