"""Queues and limits over HTTP: shown, set, and what is refused."""

import json

import pytest


@pytest.fixture
def get(site):
    def get(path):
        return json.loads(site.text(f'api/v1/{path}'))

    return get


@pytest.fixture
def post(site):
    """``post(path, data)``: the status and what was answered."""
    def post(path, data):
        answer = site.ask('POST', f'api/v1/{path}',
                          body=json.dumps(data).encode(),
                          content_type='application/json')
        return answer.status, json.loads(answer.body)

    return post


@pytest.fixture
def stored(service):
    """The limits that are stored."""
    return lambda: service(
        lambda service: dict(service.jobqueue.limits.stored))


def limits(answer):
    return {(one['kind'], one['name']): (one['limit'], one['rate'])
            for one in answer['limits']}


def test_limits_are_set_and_unset(get, post, stored):
    assert get('limits') == {'limits': []}
    assert limits(post('limits', {
        'task': 'echo', 'limit': 3, 'rate': [100, 60]})[1]) == {
        ('task', 'echo'): (3, [100, 60])}
    assert limits(post('limits', {'key': 'k', 'limit': 2})[1]) == {
        ('task', 'echo'): (3, [100, 60]), ('key', 'k'): (2, None)}
    assert limits(post('limits', {'task': 'echo', 'limit': None})[1]) == {
        ('task', 'echo'): (None, None), ('key', 'k'): (2, None)}
    assert post('limits/unset', {'key': 'k'})[0] == 200
    assert limits(get('limits')) == {('task', 'echo'): (None, None)}
    assert list(stored()) == ['task:echo']


@pytest.mark.parametrize(('body', 'named'), [
    ({}, 'give a limit or a rate'),
    ({'task': 'echo'}, 'give a limit or a rate'),
    ({'limit': 1}, 'give a task or a key'),
    ({'task': 'echo', 'key': 'k', 'limit': 1}, 'give a task or a key'),
    ({'task': 'echo', 'limit': 0}, 'limit is 0'),
    ({'task': 'echo', 'limit': '3'}, "limit is '3'"),
    ({'task': 'echo', 'rate': [1]}, 'rate is'),
    ({'task': 'echo', 'rate': [1, 0]}, 'rate is'),
    ({'task': 'echo', 'rate': {'1': 2}}, 'rate is'),
    ({'task': ['echo'], 'limit': 1}, 'task is'),
    ({'key': 'k' * 201, 'limit': 1}, 'concurrencyKey is'),
    ({'task': 'echo', 'limits': 1}, 'unknown key'),
])
def test_limits_that_cannot_be(post, stored, body, named):
    status, answer = post('limits', body)
    assert status == 400 and named in answer['detail']
    assert stored() == {}


def test_a_queue_is_listed_and_paused(get, post):
    _, added = post('jobs', {
        'task': 'echo', 'queue': 'slow', 'concurrencyKey': 'c'})
    job = get(f'jobs/{added["id"]}')
    assert (job['queue'], job['concurrencyKey']) == ('slow', 'c')
    post('pause', {'queue': 'slow', 'reason': 'why',
                   'resumeAt': '2099-12-31T12:00:00Z'})
    default, slow = get('queues')['queues']
    assert (default['name'], default['paused']) == ('default', False)
    assert (slow['ready'], slow['paused'], slow['pauseReason'],
            slow['resumeAt']) == (1, True, 'why', '2099-12-31T12:00:00+00:00')
    assert get('stats')['paused'] is False
    post('resume', {'queue': 'slow'})
    assert get('queues')['queues'][1]['paused'] is False
    found = get('jobs?queue=slow')['jobs']
    assert [one['id'] for one in found] == [added['id']]
    assert get('jobs?queue=default')['jobs'] == []


@pytest.mark.parametrize(('path', 'body', 'named'), [
    ('pause', {'queue': 'unknown'}, 'no queue'),
    ('pause', {'queue': 5}, 'queue is 5'),
    ('pause', {'resumeAt': 'tomorrow'}, 'resumeAt'),
    ('pause', {'resumeAt': '2000-01-01'}, 'to come'),
    ('resume', {'queue': 'unknown'}, 'no queue'),
    ('jobs', {'task': 'echo', 'queue': 'a.b'}, "queue is 'a.b'"),
    ('jobs', {'task': 'echo', 'concurrencyKey': 5}, 'concurrencyKey is 5'),
    ('jobs', {'task': 'echo', 'key': 'k', 'keyUntil': 'never'}, 'keyUntil'),
    ('jobs/batch', {'task': 'echo', 'inputs': [1], 'queue': []}, 'queue is'),
    ('schedules', {'task': 'echo', 'every': 60, 'queue': 'a b'}, 'queue is'),
])
def test_what_is_refused(service, post, path, body, named):
    status, answer = post(path, body)
    assert status == 400 and named in answer['detail']
    assert service(lambda service: len(service.jobs)) == 0


def test_the_page_shows_and_sets_them(site, service, stored):
    def make(service):
        service.add('echo', queue='slow')
        service.pause('down', queue='slow')

    service(make)
    page = site.text('workers')
    assert 'paused' in page and 'down' in page
    answer = site.post('resume', queue='slow')
    assert answer.headers['Location'].endswith('/workers?done=resumed')
    assert service(lambda service: service.listQueues())[1]['paused'] is False
    site.post('limits', task='echo', limit='2', number='100', seconds='60')
    assert stored() == {'task:echo': (2, (100, 60.0))}
    page = site.text('workers')
    assert '100 in' in page and 'people' in page
    site.post('limits/unset', task='echo')
    assert stored() == {}


@pytest.mark.parametrize('form', [
    {'task': 'echo', 'limit': 'many'}, {'task': 'echo', 'number': '5'},
    {'task': 'echo', 'limit': '0'}, {'limit': '1'},
    {'task': 'echo', 'limit': '9' * 5000},
    {'task': 'echo', 'number': '1', 'seconds': 'nan'}])
def test_a_form_that_is_refused(site, stored, form):
    assert site.post('limits', **form).status == 400
    assert stored() == {}
