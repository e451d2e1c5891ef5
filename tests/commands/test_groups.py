"""remotetask group, and what show tells of jobs that follow."""

import json

import pytest
import transaction
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
