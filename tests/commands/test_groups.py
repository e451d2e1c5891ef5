"""remotetask group, and what show tells of jobs that follow."""

import json
import time

import pytest
import transaction
from worker_process import DEADLINE
from ZODB.DB import DB
from zope.component import testing as component_testing

from lovely.remotetask.errors import TaskError
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask


@pytest.fixture
def place(tmp_path):
    """A database with a chain that is stuck and a group; their ids."""
    component_testing.setUp()
    try:
        import zope.component

        def bad(input):
            raise TaskError('no')

        for name, function in (('echo', lambda input: input), ('bad', bad)):
            zope.component.provideUtility(
                FunctionTask(function), ITask, name)
        database = DB(str(tmp_path / 'Data.fs'))
        connection = database.open()
        service = make_service(connection.root(), 'tasks')
        chain = service.addChain(['bad', Call('echo'), Call('echo')])
        service.process()
        group = service.addGroup(['echo'] * 3, 'echo')
        transaction.commit()
        connection.close()
        database.close()
    finally:
        component_testing.tearDown()
    return chain, group


@pytest.fixture
def run(remotetask, tmp_path, place):
    def run(*arguments, code=0):
        done = remotetask(*arguments, '--db', f'file://{tmp_path}/Data.fs')
        assert done.returncode == code, done
        return done.stderr if code else done.stdout

    return run


def test_show_tells_what_follows(run, place):
    text = run('show', str(place[0]))
    assert ('on success: echo is stuck (1 more behind it): the job before it '
            'has failed: it comes when that is retried and completes') in text
    found = json.loads(run('show', str(place[0]), '--json'))
    assert found['followUps'][0]['state'] == 'stuck'


def test_a_group_is_listed_shown_and_cancelled(run, place):
    group = str(place[1])
    _, line = run('group', 'list').splitlines()
    assert line.split()[:3] == [group, 'open', '3']
    found = json.loads(run('group', 'list', '--json'))
    assert [str(one['id']) for one in found['groups']] == [group]
    lines = dict(line.split(':', 1) for line in
                 run('group', 'show', group).splitlines())
    assert (lines['state'].strip(), lines['open'].strip()) == ('open', '3')
    assert 'completed' not in lines
    job, *_ = json.loads(run('group', 'show', group, '--json'))['jobs']
    assert group in run("show", str(job))
    assert run('group', 'cancel', group) == '3 jobs cancelled\n'
    assert 'cancelled' in run('group', 'show', group)
    assert run('group', 'list').splitlines()[1:] == []


def test_a_group_that_is_none_is_told(run):
    for verb in ('show', 'cancel'):
        text = run('group', verb, '7', code=1)
        assert 'no group has the id 7' in text and text.count('\n') == 1


# --- adding, over a server ---------------------------------------------------

@pytest.fixture
def ask(remotetask, server):
    """``ask(*arguments)``: what a command prints."""
    def ask(*arguments, code=0, **more):
        done = remotetask(*arguments, '--url', server.url, **more)
        assert done.returncode == code, done
        return (done.stderr if code else done.stdout).strip()

    return ask


@pytest.fixture
def until(ask):
    """``until(verb, id, done)``: what is shown, once it is done."""
    def until(*arguments, done):
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            found = json.loads(ask(*arguments, '--json'))
            if done(found):
                return found
        pytest.fail(f'{arguments} is not done: {found}')

    return until


@pytest.fixture
def followed(until):
    """``followed(id)``: the output of the job that follows this one."""
    def followed(jobid):
        job = until('show', str(jobid), done=lambda job: any(
            one['state'] == 'added' for one in job['followUps']))
        after, = (one['id'] for one in job['followUps']
                  if one['state'] == 'added')
        return until('show', str(after), done=lambda job: (
            job['status'] == 'completed'))['output']

    return followed


def test_a_job_is_added_with_what_follows_it(ask, followed):
    jobid = ask('add', 'double', '21', '--on-success',
                '{"task": "double", "input": [{"RESULT": true}]}',
                '--on-failure', 'echo')
    assert followed(jobid) == [42, 42]
    jobid = ask('add', 'fail', '--on-failure',
                ' {"task": "echo", "input": {"sorry": {"RESULT": true}}}',
                '--on-success', 'echo')
    assert followed(jobid)['sorry']['attempt'] == 1


def test_a_chain_is_added(ask, followed):
    text = json.dumps([
        {'task': 'double', 'input': 1},
        {'task': 'double', 'input': {'RESULT': True}}])
    assert followed(ask('chain', text)) == 4
    assert followed(json.loads(ask('chain', '-', '--json', input=text))['id']
                    ) == 4


def test_a_group_is_added(ask, until):
    text = '[{"task": "double", "input": 1}, "fail", "echo"]'
    call = '{"task": "echo", "input": {"RESULT": true}}'
    group = ask('group', 'add', text, '--then', call, '--policy', 'continue')
    found = until('group', 'show', group,
                  done=lambda group: group['state'] == 'done')
    assert (found['completed'], found['error']) == (2, 1)
    job = until('show', str(found['then']),
                done=lambda job: job['status'] == 'completed')
    assert job['output']['error'] == 1


@pytest.mark.parametrize('arguments, told, code', [
    (('add', 'echo', '--on-success', 'ech'), "did you mean 'echo'?", 1),
    (('add', 'echo', '--on-success', '{"task"'),
     '--on-success is not JSON', 2),
    (('chain', '["echo"'), 'the list of calls is not JSON', 2),
    (('chain', '"echo"'), 'give a list with a call for each job', 1),
    (('chain', '[]'), 'calls is empty', 1),
    (('chain', '["echo", {"task": "echo", "delay": -1}]'),
     'this is about calls[1]', 1),
    (('chain', '["echo"]', '--policy', 'go'), "'go' is not one of", 2),
    (('group', 'add', '["echo"]', '--then', '{}'),
     'then lacks the key "task"', 1),
])
def test_calls_that_are_wrong_are_told(ask, arguments, told, code):
    assert told in ask(*arguments, code=code)
