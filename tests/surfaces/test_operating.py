"""JSON for whoever looks after the queue: stats, workers, retry and so on."""

import re

import pytest


def add(web, task='echo'):
    return web.post('/tasks/api/v1/jobs', {'task': task}).json['id']


def status(web, jobid):
    return web.get(f'/tasks/api/v1/jobs/{jobid}').json['status']


def test_stats(web, service):
    assert web.get('/tasks/api/v1/stats').json == {
        'queued': 0, 'processing': 0, 'scheduled': 0, 'start later': 0,
        'completed': 0, 'error': 0, 'cancelled': 0, 'oldest': None,
        'workers': 0, 'paused': False}
    add(web)
    add(web, 'error')
    service(lambda service: service.process())
    add(web)
    stats = web.get('/tasks/api/v1/stats').json
    assert (stats['queued'], stats['completed'], stats['error']) == (1, 1, 1)
    assert 0 <= stats['oldest'] < 60


def test_workers(web, service):
    assert web.get('/tasks/api/v1/workers').json == {'workers': []}
    jobid = add(web)
    assert service(lambda service: service.claimNextJob()) == jobid
    worker, = web.get('/tasks/api/v1/workers').json['workers']
    assert worker['claims'] == [jobid]
    assert all(isinstance(slot, int) for slot in worker['slots'])
    assert re.match('manual:', worker['id'])
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
        'removed': {}}
    assert web.post('/tasks/api/v1/clean', {'status': ['error']}).json == {
        'removed': {'error': 1}}
    assert sorted(service(lambda service: list(service.jobs))) == sorted(
        [done, waiting])
    assert failed not in (done, waiting)
    answer = web.post('/tasks/api/v1/clean', {
        'status': ['completed', 'error', 'cancelled', 'error']})
    assert answer.json == {
        'removed': {'cancelled': 0, 'error': 0, 'completed': 1}}
    assert service(lambda service: list(service.jobs)) == [waiting]


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


@pytest.mark.parametrize('verb', ['pause', 'resume', 'clean', 'jobs/1/retry'])
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
