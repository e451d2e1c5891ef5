"""What the command line shows of jobs is true, and short."""

import json
import re
import sys
import types

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.commands import CommandTask
from lovely.remotetask.context import Told
from lovely.remotetask.job import Job
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.checkpoints import Checkpoints
from lovely.remotetask.run.flow import Flow
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import TaskError


@pytest.fixture
def database(tmp_path, register, remotetask):
    """``database(function)`` calls it with a new service, and commits.

    Returns: what asks the command line about that database.
    """
    def database(function):
        database = DB(FileStorage(str(tmp_path / 'Data.fs')))
        connection = database.open()
        function(make_service(connection.root(), 'tasks'))
        transaction.commit()
        connection.close()
        database.close()
        return lambda *arguments: remotetask(
            *arguments, '--db', f'file://{tmp_path}/Data.fs')

    return database


@pytest.fixture
def vanishing(monkeypatch):
    """A class of jobs that no other process can import."""
    module = types.ModuleType('vanishing')
    module.Mine = type('Mine', (Job,), {'__module__': 'vanishing'})
    monkeypatch.setitem(sys.modules, 'vanishing', module)
    return module.Mine


@pytest.mark.parametrize('error, text', [
    (SystemExit(3), 'SystemExit: 3'),
    (KeyError('name'), "KeyError: 'name'"),
    (ValueError(), 'ValueError'),
    (TaskError('no file'), 'TaskError: no file')])
def test_an_error_is_told_with_its_class(database, register, error, text):
    def task(service, jobid, input):
        raise error

    def make(service):
        register(FunctionTask(task), 'task')
        jobs.append(service.add('task'))
        service.process()

    jobs = []
    ask = database(make)
    [line] = ask('list').stdout.splitlines()[1:]
    assert line.endswith(f'  {text}')
    shown = ask('show', str(jobs[0])).stdout
    assert re.search(f'^error: +{re.escape(text)}$', shown, re.M)
    found = json.loads(ask('show', str(jobs[0]), '--json').stdout)
    assert found['errorType'].endswith(type(error).__name__)
    assert found['error'] == (str(error) or 'ValueError')


def test_a_long_result_is_cut_and_json_has_all(database, register):
    def make(service):
        register(FunctionTask(
            lambda service, jobid, input: input * 1_000_000), 'task')
        jobs.append(service.add('task', 'x'))
        service.process()

    jobs = []
    ask = database(make)
    run = ask('show', str(jobs[0]))
    assert len(run.stdout) < 3000
    assert 'xxx... (1,000,002 characters)' in run.stdout
    assert run.stderr == 'Some of it is cut; --json shows all.\n'
    found = json.loads(ask('show', str(jobs[0]), '--json').stdout)
    assert found['output'] == 'x' * 1_000_000


def test_a_short_one_is_shown_whole(database, register):
    def make(service):
        register(FunctionTask(lambda service, jobid, input: input), 'task')
        jobs.append(service.add('task', ['ä\n']))
        service.process()

    jobs = []
    ask = database(make)
    run = ask('show', str(jobs[0]))
    assert re.search(r'^output: +\["ä\\n"\]$', run.stdout, re.M)
    assert run.stderr == ''


def test_of_a_job_that_cannot_be_read_no_attempt_is_made_up(
        database, register, vanishing):
    def make(service):
        register(FunctionTask(lambda service, jobid, input: None), 'task')
        jobs.append(service.add('task', jobClass=vanishing))

    jobs = []
    ask = database(make)
    shown = ask('show', str(jobs[0])).stdout
    assert re.search('^status: +unknown$', shown, re.M)
    assert re.search('^error: +Unreadable: its class vanishing.Mine', shown,
                     re.M)
    assert 'attempt 0' not in shown and 'failed at' not in shown
    assert json.loads(ask('show', str(jobs[0]), '--json').stdout)[
        'errors'] == []


def test_a_job_that_cannot_be_read_is_deleted_and_that_is_said(
        database, register, vanishing):
    def make(service):
        register(FunctionTask(lambda service, jobid, input: None), 'task')
        jobs.extend(service.addMany('task', [1, 2], jobClass=vanishing))

    jobs = []
    ask = database(make)
    assert ask('cancel', str(jobs[0])).stdout == (
        f'job {jobs[0]} could not be read; it is deleted\n')
    assert json.loads(ask('cancel', str(jobs[1]), '--json').stdout) == {
        'id': jobs[1], 'status': 'unknown', 'deleted': True}
    assert ask('show', str(jobs[0])).returncode == 1


@pytest.mark.parametrize('script, options, shown', [
    (r'printf "one\n  \033[1mtwo\n"; echo oh >&2', {},
     'stdout:\n    one\n      [1mtwo\nstderr:\n    oh\n'),
    (r'printf "b\303\244r\nzwei"', {'output': 'bytes'},
     'stdout:\n    bär\n    zwei\n'),
    (r"printf '\377\376'", {'output': 'bytes'},
     'stdout:\n    2 bytes that are no text\n'),
    ('seq 1000', {'max_output': 6},
     'stdout, not all of it:\n    1\n    2\n    3\n'),
    ('true', {}, '')])
def test_what_a_command_wrote_is_shown_as_text(
        database, register, script, options, shown):
    def make(service):
        register(CommandTask(['sh', '-c', script], **options), 'task')
        jobs.append(service.add('task'))
        service.process()

    jobs = []
    run = database(make)('show', str(jobs[0]))
    assert run.stdout.endswith(shown)
    assert re.search('^output: +exit code 0 after [0-9.e-]+ s$', run.stdout,
                     re.M)
    assert run.stderr == ''


def test_much_of_a_command_is_cut(database, register):
    def make(service):
        register(CommandTask(['seq', '1000']), 'task')
        jobs.append(service.add('task'))
        service.process()

    jobs = []
    run = database(make)('show', str(jobs[0]))
    # Its end says most.
    assert '\n    1\n' in run.stdout and '\n    1000\n' in run.stdout
    assert '\n    ...\n' in run.stdout and '\n    500\n' not in run.stdout
    assert run.stderr == 'Some of it is cut; --json shows all.\n'


def test_json_tells_which_values_are_bytes(database, register):
    def make(service):
        register(FunctionTask(lambda service, jobid, input: {
            'a/b~c': [1, b'x'], 'text': 'eA=='}), 'task')
        jobs.append(service.add('task', b'in'))
        service.process()

    jobs = []
    found = json.loads(database(make)('show', str(jobs[0]), '--json').stdout)
    assert found['bytes'] == ['/input', '/output/a~1b~0c/1']
    assert found['output'] == {'a/b~c': [1, 'eA=='], 'text': 'eA=='}


def test_show_tells_how_far_a_job_has_come(database, register):
    def make(service):
        register(lambda input: input, 'echo')
        jobs.append(service.add('echo'))
        queue = service.jobqueue
        queue.enroll('loop:here:1:x', (), beats=True)
        token = ('loop:here:1:x', queue.take_slot('loop:here:1:x'), 1)
        queue.claim_next(iter([token, token]), service.clock.now(), Flow())
        queue.note_progress(token, Told(1041, 12000, 'page\n41', 0.0))

    jobs = []
    ask = database(make)
    shown = ask('show', str(jobs[0])).stdout
    assert re.search(r'^progress: +1,041 of 12,000: page 41 '
                     r'\(1970-01-01 00:00:00 UTC\)$', shown, re.M)
    found = json.loads(ask('show', str(jobs[0]), '--json').stdout)
    assert found['progress'] == {
        'done': 1041, 'total': 12000, 'message': 'page\n41',
        'at': '1970-01-01T00:00:00+00:00'}
    [worker] = json.loads(ask('workers', '--json').stdout)['workers']
    assert (worker['role'], worker['host'], worker['pid']) == (
        'loop', 'here', 1)


def test_show_tells_that_a_schedule_is_paused(database, register):
    def make(service):
        register(lambda input: input, 'echo')
        jobs.append(service.addCronJob('echo', minute=(0,), enabled=False))

    jobs = []
    ask = database(make)
    shown = ask('show', str(jobs[0])).stdout
    assert re.search('^scheduledAt: +paused$', shown, re.M)
    assert re.search('^enabled: +False$', shown, re.M)
    assert json.loads(ask('list', '--json').stdout)['jobs'][0][
        'enabled'] is False


def test_show_tells_what_a_job_has_reached_and_has_of_its_own(
        database, register):
    def make(service):
        register(lambda input: input, 'echo')
        jobs.append(service.add('echo', retry=RetryPolicy(2, 1, 60),
                                timeout=90))
        job = service.jobs[jobs[0]]
        reached = Checkpoints(service, job)
        reached.checkpoint({'page': 41})
        reached.step('fetch\nrows', list, (), {})

    jobs = []
    shown = database(make)('show', str(jobs[0])).stdout
    assert re.search(r'^checkpoint: +1 steps, the last of them fetch rows; '
                     r'cursor {"page": 41} \([-0-9]+ [:0-9]+ UTC\)$',
                     shown, re.M), shown
    assert re.search('^retry: +2, after up to 1 s, doubled each time, 60 s at '
                     'most$', shown, re.M)
    assert re.search('^timeout: +90$', shown, re.M)
