"""JSON below api/v1/: what the command line talks."""

import datetime
import json
import re

import pytest
from ZODB.POSException import ConflictError

from lovely.remotetask import TaskService
from lovely.remotetask.store.queue import JobQueue
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import SimpleTask

NOW = datetime.datetime(2026, 12, 31, 12, 0, tzinfo=datetime.UTC)


def test_tasks(web):
    response = web.get('/tasks/api/v1/tasks')
    assert response.status_int == 200
    assert response.content_type == 'application/json'
    whole = {'whole': True, 'others': False, 'parameters': []}
    assert response.json == {'tasks': ['echo', 'error'],
                             'inputs': {'echo': whole, 'error': whole}}


def test_tasks_tell_the_parameters_that_an_input_fills(web, tasks):
    def send(source, /, width=100, moment=NOW, *, log=print, **others):
        pass

    tasks('send', FunctionTask(send))
    tasks('count', FunctionTask(lambda text: None))
    tasks('tidy', FunctionTask(lambda: None))
    tasks('hidden', FunctionTask(send, remote=False))
    inputs = web.get('/tasks/api/v1/tasks').json['inputs']
    assert sorted(inputs) == ['count', 'echo', 'error', 'send', 'tidy']
    assert inputs['send'] == {'whole': False, 'others': True, 'parameters': [
        {'name': 'source', 'required': True},
        {'name': 'width', 'required': False, 'default': 100},
        {'name': 'moment', 'required': False, 'default': NOW.isoformat()},
        {'name': 'log', 'required': False, 'default': None,
         'defaultNote': inputs['send']['parameters'][3]['defaultNote']}]}
    assert 'cannot be sent as JSON' in (
        inputs['send']['parameters'][3]['defaultNote'])
    assert inputs['count'] == {'whole': True, 'others': False, 'parameters': [
        {'name': 'text', 'required': True}]}
    assert inputs['tidy'] == {'whole': False, 'others': False,
                              'parameters': []}


def test_a_job_from_add_to_result(web, service):
    response = web.post('/tasks/api/v1/jobs',
                        {'task': 'echo', 'input': {'foo': 'bär'}})
    jobid = response.json['id']
    job = web.get(f'/tasks/api/v1/jobs/{jobid}').json
    assert (job['id'], job['task'], job['status'], job['input'],
            job['output'], job['error'], job['attempts'], job['priority'],
            job['startedAt'], job['completedAt'], job['scheduledAt']) == (
        jobid, 'echo', 'queued', {'foo': 'bär'}, None, None, 0, 0,
        None, None, None)
    service(lambda service: service.process())
    job = web.get(f'/tasks/api/v1/jobs/{jobid}').json
    assert job['status'] == 'completed'
    assert job['output'] == {'foo': 'bär'}
    for name in ('createdAt', 'startedAt', 'completedAt'):
        moment = datetime.datetime.fromisoformat(job[name])
        assert moment.utcoffset() == datetime.timedelta(0)


def test_error_of_a_failed_job(web, service):
    jobid = web.post('/tasks/api/v1/jobs', {'task': 'error'}).json['id']
    service(lambda service: service.process())
    job = web.get(f'/tasks/api/v1/jobs/{jobid}').json
    assert (job['status'], job['error']) == ('error', 'An error occurred.')


def test_priority_and_delay(web):
    jobid = web.post('/tasks/api/v1/jobs', {
        'task': 'echo', 'priority': 2, 'delay': 3600}).json['id']
    job = web.get(f'/tasks/api/v1/jobs/{jobid}').json
    assert job['priority'] == 2
    assert job['status'] == 'delayed'
    left = (datetime.datetime.fromisoformat(job['scheduledAt'])
            - datetime.datetime.now(datetime.UTC)).total_seconds()
    assert 3500 < left < 3700


def test_cancel(web):
    jobid = web.post('/tasks/api/v1/jobs', {'task': 'echo'}).json['id']
    answer = web.post(f'/tasks/api/v1/jobs/{jobid}/cancel', {}).json
    assert answer == {'id': jobid, 'status': 'cancelled'}


def test_list_is_paged_newest_first(web):
    ids = [web.post('/tasks/api/v1/jobs', {'task': 'echo'}).json['id']
           for _ in range(5)]
    seen, start = [], ''
    while start is not None:
        page = web.get(f'/tasks/api/v1/jobs?limit=2&start={start}').json
        assert len(page['jobs']) <= 2
        seen += [job['id'] for job in page['jobs']]
        start = page['next']
    assert seen == ids[::-1]


def test_list_filters(web, service):
    one = web.post('/tasks/api/v1/jobs', {'task': 'echo'}).json['id']
    service(lambda service: service.process())
    two = web.post('/tasks/api/v1/jobs', {'task': 'echo'}).json['id']
    three = web.post('/tasks/api/v1/jobs', {'task': 'error'}).json['id']

    def ids(query):
        return [job['id'] for job
                in web.get(f'/tasks/api/v1/jobs?{query}').json['jobs']]

    assert ids('status=completed') == [one]
    assert ids('status=queued') == [three, two]
    assert sorted(ids('task=echo')) == sorted([one, two])


def test_output_that_is_no_plain_data_does_not_hide_the_job(web, tasks,
                                                             service):
    tasks('odd', SimpleTask(lambda input: {1, 2}))
    jobid = web.post('/tasks/api/v1/jobs', {'task': 'odd'}).json['id']
    service(lambda service: service.process())
    job = web.get(f'/tasks/api/v1/jobs/{jobid}').json
    assert job['status'] == 'completed'
    assert job['output'] is None
    assert 'set is not plain data' in job['outputNote']


def test_bytes_and_datetimes_have_a_form_in_json(web, tasks, service):
    moment = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
    tasks('odd', SimpleTask(lambda input: [b'\xff', moment]))
    jobid = web.post('/tasks/api/v1/jobs', {'task': 'odd'}).json['id']
    service(lambda service: service.process())
    assert web.get(f'/tasks/api/v1/jobs/{jobid}').json['output'] == [
        '/w==', '2026-11-24T12:00:00+00:00']


def test_a_page_shows_what_it_cannot_show_as_unknown(web, service):
    """A moment behind the calendar, and numbers that JSON cannot carry."""
    last = datetime.datetime.max.replace(tzinfo=datetime.timezone(
        datetime.timedelta(hours=-12)))

    def add(service):
        ids = [service.add('echo', input, delay=5)
               for input in (None, last, 10**5000)]
        job = service.jobs[ids[0]]
        job.put(createdAt=3e11)
        service.jobqueue.put_in(job, 'due', int(3e11 * 1_000_000) << 4)
        return ids

    ids = service(add)
    listed = web.get('/tasks/api/v1/jobs').json['jobs']
    assert {job['id'] for job in listed} == set(ids)
    jobs = [web.get(f'/tasks/api/v1/jobs/{jobid}').json for jobid in ids]
    assert jobs[0]['createdAt'] is jobs[0]['scheduledAt'] is None
    assert jobs[1]['input'] == last.isoformat()
    assert jobs[2]['input'] is None
    assert 'digits' in jobs[2]['inputNote']


# --- errors -----------------------------------------------------------------

@pytest.mark.parametrize('path', [
    '/tasks/api/v1/jobs/4711', f'/tasks/api/v1/jobs/{2 ** 63 - 1}',
    '/tasks/api/v1/jobs/-5'])
def test_unknown_job_is_404_and_named(web, path):
    response = web.get(path)
    assert response.status_int == 404
    assert path.rpartition('/')[2] in response.json['error']
    assert web.post(path + '/cancel', {}).status_int == 404


@pytest.mark.parametrize('path', [
    '/task', '/tasksx', '/tasks/api', '/tasks/api/v1/',
    '/tasks/api/v1/nonsense', '/tasks/api/v1/jobs/x',
    '/tasks/api/v1/jobs/1/2', '/tasks/api/v1/jobs/99999999999999999999'])
def test_other_addresses_are_404_as_json(web, path):
    response = web.get(path)
    assert response.status_int == 404
    assert response.json['error']


@pytest.mark.parametrize('query', [
    'limit=1&limit=1', 'limit=0', 'limit=1001', 'limit=x', 'limit=-1',
    'limit=', 'limit=²',
    'status=nonsense', 'start=nonsense', 'nonsense=1', 'limit=99999',
    *[f'start={lane}.{key}' for lane in (
        'running', 'ready', 'waiting', 'due', 'later', 'error', 'completed',
        'cancelled') for key in (2**63, -2**63, '9' * 5000, '1_0', '')]],
    ids=lambda query: query[:30])
def test_bad_query_is_400_and_says_why(web, query):
    response = web.get(f'/tasks/api/v1/jobs?{query}')
    assert response.status_int == 400, response.text
    assert response.json['error']


@pytest.mark.parametrize(('body', 'reason'), [
    (b'', 'not JSON'), (b'{', 'not JSON'), (b'\xff', 'UTF-8'),
    (b'[]', 'object'), (b'{}', 'missing'), (b'{"task": 5}', 'name'),
    (b'{"task": "echo", "runAs": "root"}', "'runAs'"),
    (b'{"task": "echo", "input": NaN}', 'NaN'),
    (b'{"task": "echo", "input": 1, "input": 2}', '"input".*twice'),
    (b'{"task": "echo", "input": {"a": [{"b": 1, "b": 1}]}}', '"b".*twice'),
    (b'{"task": "echo", "input": 1e999}', 'finite'),
    (b'{"task": "echo", "priority": 9}', 'priority'),
    (b'{"task": "echo", "priority": true}', 'priority'),
    (b'{"task": "echo", "delay": -1}', 'delay'),
    (b'{"task": "echo", "delay": "1"}', 'delay'),
    (b'{"task": "echo", "delay": 1e999}', 'delay'),
    (b'{"task": "nonsense"}', 'Task does not exist'),
    (b'{"task": "hidden"}', 'Task does not exist'),
    (b'{"task": "echo", "input": ' + b'[' * 40 + b']' * 40 + b'}', '32'),
    (b'[' * 100_000, 'not JSON|nested'),
    (b'{"task": "echo", "input": ' + b'9' * 5000 + b'}', 'JSON'),
    (b'{"task": "echo", "delay": 3e11}', 'delay'),
    (b'{"task": "echo", "delay": 1' + b'0' * 400 + b'}', 'delay'),
    (b'{"task": "echo", "delay": ' + b'9' * 5000 + b'}', 'JSON'),
    (b'{"task": "echo", "delay": true}', 'delay'),
    (b'{"task": "echo", "priority": 1' + b'0' * 400 + b'}', 'priority'),
    (b'{"task": "echo", "priority": 1.0}', 'priority'),
], ids=lambda value: str(value)[:40])
def test_bad_body_is_400_says_why_and_stores_nothing(web, service, body,
                                                      reason):
    response = web.request('POST', '/tasks/api/v1/jobs', body,
                           'application/json')
    assert response.status_int == 400, response.text
    assert re.search(reason, response.json['error'])
    assert service(lambda service: list(service.jobs)) == []


@pytest.mark.parametrize('content_type', [
    'text/plain', 'application/x-www-form-urlencoded', '',
    'multipart/form-data', 'text/xml'])
def test_a_form_of_a_foreign_page_is_refused(web, service, content_type):
    body = json.dumps({'task': 'echo'}).encode()
    response = web.request('POST', '/tasks/api/v1/jobs', body, content_type)
    assert response.status_int == 415
    assert service(lambda service: list(service.jobs)) == []


def test_cancel_needs_json_as_well(web):
    jobid = web.post('/tasks/api/v1/jobs', {'task': 'echo'}).json['id']
    response = web.request('POST', f'/tasks/api/v1/jobs/{jobid}/cancel',
                           b'', 'text/plain')
    assert response.status_int == 415
    job = web.get(f'/tasks/api/v1/jobs/{jobid}').json
    assert job['status'] == 'queued'


@pytest.mark.parametrize(('method', 'path', 'allow'), [
    ('PUT', '/tasks', 'GET, POST'), ('OPTIONS', '/tasks/', 'GET, POST'),
    ('DELETE', '/tasks/api/v1/jobs', 'GET, POST'),
    ('PUT', '/tasks/api/v1/jobs/1', 'GET, DELETE'),
    ('GET', '/tasks/api/v1/jobs/1/cancel', 'POST'),
    ('POST', '/tasks/api/v1/tasks', 'GET')])
def test_other_methods_are_405(web, method, path, allow):
    response = web.request(method, path)
    assert response.status_int == 405
    assert response.headers['Allow'] == allow
    assert response.json['error']


def test_xmlrpc_needs_its_content_type(web):
    response = web.request('POST', '/tasks', b'<methodCall/>', 'text/plain')
    assert response.status_int == 415


def test_head_is_like_get_without_body(web):
    response = web.request('HEAD', '/tasks/api/v1/tasks')
    assert (response.status_int, response.body) == (200, b'')


def test_paths_and_queries_that_are_no_text(web):
    assert web.get('/tasks/%ff').status_int == 400
    assert web.get('/tasks/api/v1/jobs?task=%ff').status_int == 400


def test_a_conflict_that_stays_is_503(web, monkeypatch):
    calls = []

    def conflict(self, *arguments, **options):
        calls.append(1)
        raise ConflictError

    monkeypatch.setattr(TaskService, 'add', conflict)
    response = web.post('/tasks/api/v1/jobs', {'task': 'echo'})
    assert response.status_int == 503
    assert response.headers['Retry-After']
    assert len(calls) > 1


def test_a_fault_of_the_program_is_logged_and_not_shown(web, monkeypatch,
                                                        caplog):
    def broken(self, *arguments, **options):
        raise LookupError('/secret/path')

    monkeypatch.setattr(JobQueue, 'page', broken)
    response = web.get('/tasks/api/v1/jobs')
    assert response.status_int == 500
    assert 'secret' not in response.text
    assert '/secret/path' in caplog.text


def test_answers_are_not_stored_or_sniffed(web):
    for path in ('/tasks/api/v1/tasks', '/nonsense'):
        response = web.get(path)
        assert response.headers['Cache-Control'] == 'no-store'
        assert response.headers['X-Content-Type-Options'] == 'nosniff'


def test_key(web, service):
    def add(**more):
        return web.post('/tasks/api/v1/jobs', {'task': 'echo', **more})

    jobid = add(input=1, key='a').json['id']
    assert add(input=2, key='a').json['id'] == jobid
    assert web.get(f'/tasks/api/v1/jobs/{jobid}').json['key'] == 'a'
    response = add(key='a', onDuplicate='error')
    assert response.status_int == 409
    assert "'a'" in response.json['error']
    assert str(jobid) in response.json['error']
    other = add(input=3, key='a', onDuplicate='replace').json['id']
    assert other != jobid
    assert web.get(f'/tasks/api/v1/jobs/{jobid}').json['status'] == \
        'cancelled'
    plain = add().json['id']
    assert web.get(f'/tasks/api/v1/jobs/{plain}').json['key'] is None


@pytest.mark.parametrize('more', [
    {'key': ''}, {'key': 5}, {'key': 'x' * 201}, {'key': ['a']},
    {'key': 'a', 'onDuplicate': 'all'}, {'key': 'a', 'onDuplicate': None},
    {'key': 'a', 'onDuplicate': ['error']}, {'onDuplicate': 'replace'},
    {'runAs': 'admin'}, {'jobClass': 'Job'}])
def test_a_bad_key_is_400_and_adds_nothing(web, service, more):
    response = web.post('/tasks/api/v1/jobs', {'task': 'echo', **more})
    assert response.status_int == 400, response.text
    assert service(lambda service: len(service.jobs)) == 0
