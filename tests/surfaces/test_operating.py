"""JSON for whoever looks after the queue: stats, workers, retry and so on."""

import re
from urllib.parse import urlencode

import pytest


def add(web, task='echo'):
    return web.post('/tasks/api/v1/jobs', {'task': task}).json['id']


def status(web, jobid):
    return web.get(f'/tasks/api/v1/jobs/{jobid}').json['status']


def test_stats(web, service):
    assert web.get('/tasks/api/v1/stats').json == {
        'queued': 0, 'processing': 0, 'scheduled': 0, 'start later': 0,
        'completed': 0, 'error': 0, 'cancelled': 0, 'oldest': None,
        'completedPerMinute': 0.0, 'errorPerMinute': 0.0,
        'completedTotal': 0, 'errorTotal': 0, 'workers': 0,
        'paused': False, 'pausedBy': None, 'pausedAt': None,
        'pauseReason': None, 'resumeAt': None, 'reruns': {}}
    add(web)
    add(web, 'error')
    service(lambda service: service.process())
    add(web)
    stats = web.get('/tasks/api/v1/stats').json
    assert (stats['queued'], stats['completed'], stats['error']) == (1, 1, 1)
    assert 0 <= stats['oldest'] < 60
    assert (stats['completedPerMinute'], stats['errorPerMinute']) == (1, 1)


def test_workers(web, service):
    assert web.get('/tasks/api/v1/workers').json == {'workers': []}
    jobid = add(web)
    assert service(lambda service: service.claimNextJob()) == jobid
    worker, = web.get('/tasks/api/v1/workers').json['workers']
    assert worker['claims'] == [jobid]
    assert all(isinstance(slot, int) for slot in worker['slots'])
    assert re.match('direct:', worker['id'])
    assert all(isinstance(kind, str) for kind in worker['evidence'])


def test_pause_and_resume(web):
    for _ in range(2):      # who says it twice means the same
        assert web.post('/tasks/api/v1/pause', {}).json == {'paused': True}
        assert web.get('/tasks/api/v1/stats').json['paused'] is True
    for _ in range(2):
        assert web.post('/tasks/api/v1/resume', {}).json == {'paused': False}
        assert web.get('/tasks/api/v1/stats').json['paused'] is False


def test_retry(web, service):
    failed, cancelled = add(web, 'error'), add(web)
    web.post(f'/tasks/api/v1/jobs/{cancelled}/cancel', {})
    service(lambda service: service.process())
    assert (status(web, failed), status(web, cancelled)) == (
        'error', 'cancelled')
    for jobid in (failed, cancelled):
        answer = web.post(f'/tasks/api/v1/jobs/{jobid}/retry', {})
        assert answer.json == {'id': jobid, 'status': 'queued'}
    service(lambda service: service.process())
    assert (status(web, failed), status(web, cancelled)) == (
        'error', 'completed')


def test_retry_of_what_cannot_be_retried_is_409_and_says_why(web, service):
    jobid = add(web)
    service(lambda service: service.process())
    response = web.post(f'/tasks/api/v1/jobs/{jobid}/retry', {})
    assert response.status_int == 409
    assert str(jobid) in response.json['error']
    assert "'completed'" in response.json['error']
    assert "'queued'" in response.json['error']
    assert status(web, jobid) == 'completed'
    assert web.post('/tasks/api/v1/jobs/4711/retry', {}).status_int == 404


def test_clean_removes_what_is_named(web, service):
    failed, done = add(web, 'error'), add(web)
    service(lambda service: service.process())
    waiting = add(web)
    assert web.post('/tasks/api/v1/clean', {'status': []}).json == {
        'removed': {}, 'next': None}
    assert web.post('/tasks/api/v1/clean', {'status': ['error']}).json == {
        'removed': {'error': 1}, 'next': None}
    assert sorted(service(lambda service: list(service.jobs))) == sorted(
        [done, waiting])
    assert failed not in (done, waiting)
    answer = web.post('/tasks/api/v1/clean', {
        'status': ['completed', 'error', 'cancelled', 'error']})
    assert answer.json == {
        'removed': {'cancelled': 0, 'error': 0, 'completed': 1},
        'next': None}
    assert service(lambda service: list(service.jobs)) == [waiting]


@pytest.fixture
def hasty(monkeypatch):
    """Requests that do one transaction of some jobs, and answer."""
    monkeypatch.setattr('lovely.remotetask.settings.BULK_BATCH', 10)
    monkeypatch.setattr('lovely.remotetask.web.many.BULK_SECONDS', -1)


def in_parts(web, path, data):
    answers, start = [], None
    while True:
        more = {} if start is None else {'start': start}
        response = web.post(path, {**data, **more})
        assert response.status_int == 200, response.text
        answers.append(response.json)
        start = response.json['next']
        if start is None:
            return answers


def test_clean_stops_in_between_and_says_where_to_go_on(
        web, service, hasty):
    service(lambda service: service.cancelMany(
        service.addMany('echo', range(25))))
    service(lambda service: service.addMany('error', range(30)))
    service(lambda service: service.process())
    answers = in_parts(web, '/tasks/api/v1/clean', {
        'status': ['error', 'cancelled']})
    assert len(answers) >= 4
    for status, count in (('cancelled', 25), ('error', 30)):
        assert sum(answer['removed'][status] for answer in answers) == count
    assert service(lambda service: len(service.jobs)) == 0


@pytest.mark.parametrize('start', [
    5, '', 'error', 'queued:1', 'error:x', 'completed:0.1', "error:0.1';",
    'error:' + '9' * 30, 'error:0.' + '9' * 30, 'error:2147483648.0',
    'error:' + '9' * 5000])
def test_a_start_that_came_with_no_answer_is_400(web, service, start):
    add(web, 'error')
    service(lambda service: service.process())
    response = web.post('/tasks/api/v1/clean', {
        'status': ['error'], 'start': start})
    assert response.status_int == 400
    assert 'start' in response.json['error']
    assert service(lambda service: len(service.jobs)) == 1


def test_a_retry_whose_key_another_job_has_is_409(web, service):
    first = service(lambda service: service.add('error', key='a'))
    service(lambda service: service.process())
    second = service(lambda service: service.add('echo', key='a'))
    response = web.post(f'/tasks/api/v1/jobs/{first}/retry', {})
    assert response.status_int == 409
    assert f'job {second} has the key' in response.json['error']
    assert status(web, first) == 'error'


def test_cancel_all_with_a_status(web, service, hasty):
    others = service(lambda service: service.addMany('error', range(7)))
    ids = service(lambda service: service.addMany('echo', range(25)))
    answers = in_parts(web, '/tasks/api/v1/cancel', {
        'status': 'queued', 'task': 'echo'})
    assert len(answers) >= 3
    assert sum(answer['cancelled'] for answer in answers) == 25
    assert {status(web, jobid) for jobid in ids} == {'cancelled'}
    assert {status(web, jobid) for jobid in others} == {'queued'}
    answers = in_parts(web, '/tasks/api/v1/cancel', {'status': 'queued'})
    assert answers[-1] == {'cancelled': 7, 'next': None}


@pytest.mark.parametrize(('data', 'reason'), [
    ({}, 'missing'), ({'task': 'echo'}, 'missing'),
    ({'status': 'completed'}, 'queued'), ({'status': ['queued']}, 'queued'),
    ({'status': None}, 'queued'), ({'status': 'queued', 'task': 5}, 'name'),
    ({'status': 'queued', 'start': 5}, 'start'),
    ({'status': 'queued', 'start': 'nonsense'}, 'cursor'),
    ({'status': 'queued', 'start': 'ready.9223372036854775808'}, 'cursor'),
    ({'status': 'queued', 'start': 'ready.' + '9' * 5000}, 'cursor'),
    ({'status': 'queued', 'all': True}, "'all'")])
def test_bad_cancel_is_400_and_cancels_nothing(web, data, reason):
    jobid = add(web)
    response = web.post('/tasks/api/v1/cancel', data)
    assert response.status_int == 400, response.text
    assert reason in response.json['error']
    assert status(web, jobid) == 'queued'


@pytest.mark.parametrize(('body', 'reason'), [
    (b'', 'not JSON'), (b'[]', 'object'), (b'{}', 'missing'),
    (b'{"status": "error"}', 'list'), (b'{"status": null}', 'list'),
    (b'{"status": ["queued"]}', 'queued'), (b'{"status": [5]}', 'list'),
    (b'{"status": [["error"]]}', 'list'), (b'{"status": {}}', 'list'),
    (b'{"status": ["error"], "task": "x"}', "'task'")])
def test_bad_clean_is_400_and_removes_nothing(web, service, body, reason):
    jobid = add(web, 'error')
    service(lambda service: service.process())
    response = web.request('POST', '/tasks/api/v1/clean', body,
                           'application/json')
    assert response.status_int == 400, response.text
    assert reason in response.json['error']
    assert status(web, jobid) == 'error'


@pytest.mark.parametrize(('body', 'reason'), [
    (b'{}', 'missing'), (b'{"repair": 1}', 'true or false'),
    (b'{"repair": false, "start": "ready:x"}', "'ready:x'"),
    (b'{"repair": false, "start": 5}', 'start')])
def test_bad_check_is_400(web, body, reason):
    response = web.request('POST', '/tasks/api/v1/check', body,
                           'application/json')
    assert response.status_int == 400, response.text
    assert reason in response.json['error']


@pytest.mark.parametrize('verb', [
    'pause', 'resume', 'clean', 'check', 'cancel', 'retry',
    'jobs/1/retry'])
def test_what_changes_something_needs_a_post_of_json(web, verb):
    path = f'/tasks/api/v1/{verb}'
    response = web.get(path)
    assert (response.status_int, response.headers['Allow']) == (405, 'POST')
    for kind in ('text/plain', 'application/x-www-form-urlencoded', ''):
        assert web.request('POST', path, b'{}', kind).status_int == 415
    assert web.post(path, {}, token='wrong').status_int == 401


@pytest.mark.parametrize('verb', ['stats', 'workers'])
def test_what_only_looks_needs_a_get(web, verb):
    response = web.post(f'/tasks/api/v1/{verb}', {})
    assert (response.status_int, response.headers['Allow']) == (405, 'GET')
    assert web.get(f'/tasks/api/v1/{verb}', token=None).status_int == 401


def test_retry_all_that_failed(web, service, hasty):
    ids = service(lambda service: service.addMany('error', range(25)))
    service(lambda service: service.process())
    service(lambda service: service.add('error', key='a'))
    service(lambda service: service.process())
    service(lambda service: service.add('echo', key='a'))
    answers = in_parts(web, '/tasks/api/v1/retry', {
        'status': 'error', 'task': 'error'})
    assert len(answers) >= 3
    assert sum(answer['retried'] for answer in answers) == 25
    assert sum(answer['left'] for answer in answers) == 1
    assert {status(web, jobid) for jobid in ids} == {'queued'}


@pytest.mark.parametrize(('verb', 'data', 'reason'), [
    ('retry', {}, 'missing'), ('retry', {'status': None}, 'error'),
    ('retry', {'status': 'completed'}, 'error'),
    ('retry', {'status': 'error', 'since': 'x'}, 'since'),
    ('retry', {'status': 'error', 'since': 5}, 'since'),
    ('retry', {'status': 'error', 'before': '9999-12-31T23:59:59-10:00x'},
     'before'),
    ('retry', {'status': 'error', 'key': 5}, 'key'),
    ('retry', {'status': 'error', 'start': 'ready.1'}, 'cursor'),
    ('clean', {'status': ['error'], 'keep': -1}, 'keep'),
    ('clean', {'status': ['error'], 'keep': True}, 'keep'),
    ('clean', {'status': ['error'], 'keep': '1'}, 'keep'),
    ('clean', {'status': ['error'], 'keep': 10**9}, 'keep'),
    ('clean', {'status': ['error'], 'before': 'yesterday'}, 'before')])
def test_a_bad_selection_is_400_and_changes_nothing(
        web, service, verb, data, reason):
    jobid = add(web, 'error')
    service(lambda service: service.process())
    response = web.post(f'/tasks/api/v1/{verb}', data)
    assert response.status_int == 400, response.text
    assert reason in response.json['error']
    assert status(web, jobid) == 'error'


def test_jobs_by_what_they_have_in_common(web, service):
    jobid = service(lambda service: service.add('error', key='a'))
    service(lambda service: service.process())
    other = add(web)

    def listed(**query):
        response = web.get('/tasks/api/v1/jobs?' + urlencode(query))
        assert response.status_int == 200, response.text
        return {job['id'] for job in response.json['jobs']}

    assert listed() == {jobid, other}
    for query in ({'key': 'a'}, {'error': 'ERROR'}, {'task': 'error'},
                  {'status': 'error', 'since': '2020-01-01'}):
        assert listed(**query) == {jobid}, query
    for query in ({'key': 'b'}, {'submitter': 'mia'}, {'error': 'no such'},
                  {'before': '2020-01-01T00:00:00Z'},
                  {'since': '2999-12-31T00:00:00+01:00'}):
        assert listed(**query) == set(), query
    response = web.get('/tasks/api/v1/jobs?since=yesterday')
    assert response.status_int == 400


def test_a_pause_has_a_reason(web):
    pause = '/tasks/api/v1/pause'
    web.post(pause, {'reason': 'deploy'})
    stats = web.get('/tasks/api/v1/stats').json
    assert (stats['paused'], stats['pauseReason']) == (True, 'deploy')
    for wrong in ({'reason': 7}, {'reason': ''}, {'because': 'deploy'}, []):
        refused = web.post(pause, wrong)
        assert refused.status_int == 400
        assert refused.json['error']


def test_a_paused_queue_says_so(web):
    assert web.post('/tasks/api/v1/pause', {}).status_int == 200
    assert web.post('/tasks/api/v1/jobs', {
        'task': 'echo', 'input': None}).json['paused'] is True
    assert web.get('/tasks/api/v1/jobs').json['paused'] is True
    assert web.post('/tasks/api/v1/resume', {}).status_int == 200
    assert 'paused' not in web.get('/tasks/api/v1/jobs').json
