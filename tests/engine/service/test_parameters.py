"""Tasks with parameters of their own: checked wherever a job is added."""

import json
import xmlrpc.client

import pytest
import transaction
from persistent.mapping import PersistentMapping
from zope.interface import Interface
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import UsageError
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.web import api
from lovely.remotetask.web import xmlrpc_calls
from lovely.remotetask.web.requests import Refused


def resize(source, width=100):
    return [source, width]


WRONG = {'sorce': 'a.png', 'colour': 'red'}

VIOLATIONS = [
    'source is missing',
    "'sorce' is no parameter (there are: source, width=...)",
    "'colour' is no parameter (there are: source, width=...)"]


@pytest.fixture
def tasks(service, register):
    register(FunctionTask(resize), 'resize')
    register(FunctionTask(lambda: 'ran'), 'nothing')
    return service


def test_a_mapping_reaches_the_parameters(tasks):
    jobids = [tasks.add('resize', input) for input in (
        {'source': 'a.png', 'width': 300}, {'source': 'a.png'},
        PersistentMapping(source='a.png', width=5))]
    jobids.append(tasks.add('nothing'))
    transaction.commit()
    tasks.process()
    transaction.commit()
    assert [tasks.getResult(jobid) for jobid in jobids] == [
        ['a.png', 300], ['a.png', 100], ['a.png', 5], 'ran']


def json_add(service, task, input):
    body = json.dumps({'task': task, 'input': input}).encode()
    try:
        api.respond('POST', 'jobs', {}, lambda: body,
                    lambda function, writes: function(service))
    except Refused as refused:
        assert refused.status == 400
        raise InputRejected(refused.message) from refused


def xmlrpc_add(service, task, input):
    answer = xmlrpc_calls.respond(
        xmlrpc.client.dumps((task, input), 'add').encode(),
        lambda function, writes: function(service))
    try:
        xmlrpc.client.loads(answer)
    except xmlrpc.client.Fault as fault:
        raise InputRejected(fault.faultString) from fault


@pytest.mark.parametrize('add', [
    lambda service, task, input: service.add(task, input),
    lambda service, task, input: service.add(task, input, startLater=True),
    lambda service, task, input: service.add(task, input, key='key'),
    lambda service, task, input: service.addMany(
        task, [{'source': 'fits'}, input]),
    lambda service, task, input: service.addCronJob(
        task, input, minute=(0,)),
    lambda service, task, input: service.addCronJob(
        task, input, key='there', minute=(5,), onDuplicate='update'),
    xmlrpc_add,
    json_add,
], ids=['add', 'startLater', 'key', 'addMany', 'addCronJob', 'update',
        'XML-RPC', 'JSON'])
def test_all_that_is_wrong_is_said_and_nothing_is_stored(
        application, tasks, add):
    tasks.addCronJob('resize', {'source': 'a.png'}, hour=(3,), key='there')
    transaction.commit()
    before = application.db.lastTransaction(), dict(tasks.jobs)
    with pytest.raises(InputRejected) as caught:
        add(tasks, 'resize', WRONG)
    transaction.commit()
    assert isinstance(caught.value, UsageError)
    assert all(part in str(caught.value) for part in VIOLATIONS)
    assert (application.db.lastTransaction(), dict(tasks.jobs)) == before


def test_the_violations_stand_in_the_error(tasks):
    with pytest.raises(InputRejected) as caught:
        tasks.add('resize', WRONG)
    assert caught.value.violations == VIOLATIONS
    with pytest.raises(InputRejected) as caught:
        tasks.add('nothing', object())
    assert len(caught.value.violations) == 1


def test_a_stub_checks_the_same(tasks, register):
    register(FunctionTask(resize), 'resize', ITaskStub)
    stub = TaskServiceStub()
    with pytest.raises(InputRejected) as caught:
        stub.add('resize', WRONG)
    assert caught.value.violations == VIOLATIONS
    assert len(stub.jobs) == 0
    stub.add('resize', {'source': 'a.png'})
    stub.process()
    assert stub.getResult(1) == ['a.png', 100]


def test_options_and_parameters_do_not_mix(tasks, register):
    def remind(delay, priority, key='none'):
        return [delay, priority, key]

    register(FunctionTask(remind), 'remind')
    jobid = tasks.add('remind', {'delay': 'a', 'priority': 'b'}, priority=2,
                      key='k')
    assert (tasks.jobs[jobid].priority, tasks.jobs[jobid].key) == (2, 'k')
    tasks.process()
    assert tasks.getResult(jobid) == ['a', 'b', 'none']
    with pytest.raises(TypeError):
        tasks.add('resize', source='a.png')


@pytest.mark.parametrize('add', [
    lambda service, input: service.add('resize', input),
    lambda service, input: service.add('resize', input, startLater=True),
    lambda service, input: service.addMany('resize', [input, {}])[0],
    lambda service, input: service.addCronJob('resize', input, minute=(0,)),
    lambda service, input: service.addCronJob(
        'resize', input, hour=(1,), key='there', onDuplicate='update'),
], ids=['add', 'startLater', 'addMany', 'addCronJob', 'update'])
def test_what_the_caller_changes_before_the_commit_is_checked_again(
        application, tasks, register, add):
    register(FunctionTask(lambda source='b.png', width=1: [source, width]),
             'resize')
    tasks.addCronJob('resize', {}, hour=(3,), key='there')
    transaction.commit()
    input = {'source': 'a.png'}
    jobid = add(tasks, input)
    transaction.savepoint()
    input['colour'] = 'red'
    before = application.db.lastTransaction()
    with pytest.raises(InputRejected) as caught:
        transaction.commit()
    transaction.abort()
    assert application.db.lastTransaction() == before
    assert str(caught.value) == (
        f"the input of job {jobid} was changed after it was added, and does "
        f"not fit the parameters of task 'resize' any more: 'colour' is no "
        f"parameter (there are: source=..., width=...)")
    assert caught.value.violations == [
        "'colour' is no parameter (there are: source=..., width=...)"]
    # A change that fits is stored.
    jobid = add(tasks, input := {'source': 'a.png'})
    input['width'] = 7
    transaction.commit()
    again, close = application.fresh(tasks)
    assert again.jobs[jobid].input == {'source': 'a.png', 'width': 7}
    close()


def test_a_job_that_is_not_added_after_all_is_not_checked_again(tasks):
    savepoint = transaction.savepoint()
    undone = {'source': 'a.png'}
    tasks.add('resize', undone)
    savepoint.rollback()
    cancelled = {'source': 'a.png'}
    tasks.cancel(tasks.add('resize', cancelled))
    undone.clear(), cancelled.clear()
    transaction.commit()


def test_a_change_that_the_schema_refuses(tasks, register):
    register(FunctionTask(lambda picture: None, inputSchema=IPicture), 'show')
    input = {'source': 'a.png', 'width': 5}
    jobid = tasks.add('show', input)
    input['width'] = 900
    with pytest.raises(InputRejected, match=(
            f'^the input of job {jobid} .* inputSchema of task \'show\' any '
            f'more: width is 900: Value is too big$')):
        transaction.commit()
    transaction.abort()


class IPicture(Interface):
    source = TextLine()
    width = Int(max=400, required=False)


def test_a_schema_is_checked_in_the_same_go(tasks, register):
    register(FunctionTask(resize, inputSchema=IPicture), 'picture')
    with pytest.raises(InputRejected) as caught:
        tasks.add('picture', {'width': 900, 'colour': 'red'})
    assert caught.value.violations == [
        'source is missing',
        "'colour' is no parameter (there are: source, width=...)",
        'width is 900: Value is too big']


def test_the_parameters_have_changed_since_the_job_was_added(tasks, register):
    jobid = tasks.add('resize', {'source': 'a.png', 'width': 5})
    transaction.commit()
    register(FunctionTask(lambda source, height: None), 'resize')
    tasks.process()
    assert tasks.getStatus(jobid) == 'error'
    assert 'height is missing' in tasks.getError(jobid)
