"""The API's own promises: rights, problems, the OpenAPI document, probes."""

import json
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import kept
from lovely.remotetask.web import presenter
from lovely.remotetask.web.api import openapi
from lovely.remotetask.web.api.routes import ROUTES

DOCUMENT = Path(__file__).parents[2] / 'docs' / 'reference' / 'openapi.json'

ALL = [(path, method, route.permission) for path, methods in ROUTES.items()
       for method, route in methods.items()]


def ask(site, method, path, data=None, **options):
    return site.ask(method, f'api/v1/{path}', body=None if data is None
                    else json.dumps(data).encode(),
                    content_type='application/json', **options)


def read(answer):
    return json.loads(answer.body)


@pytest.mark.parametrize(('path', 'method', 'permission'), ALL)
def test_a_route_asks_for_its_permission(site, service, path, method,
                                         permission):
    jobid = service(lambda service: service.add('echo', 1))
    path = path.replace('ID', str(jobid)).replace('NAME', 'echo')
    others = tuple({VIEW, ADD, MANAGE} - {permission})
    answer = ask(site, method, path, {}, may=others)
    assert answer.status == 403
    assert answer.content_type == 'application/problem+json'
    assert 'takes the permission' in read(answer)['detail']
    # The one that may be asked for one's own job looks whose it is.
    assert site.writes in ([], [False])
    assert True not in site.writes
    # The job is no group.
    assert ask(site, method, path, {}).status in (
        [404] if path.startswith('groups/') else (200, 201, 204, 400, 409))


@pytest.mark.parametrize('headers', [
    {'sec_fetch_site': 'cross-site'}, {'origin': 'http://evil.example'},
    {'origin': 'null'}])
@pytest.mark.parametrize(('method', 'path'), [
    (method, path) for path, method, _ in ALL if method != 'GET'])
def test_no_foreign_page_calls_it(site, service, method, path, headers):
    jobid = service(lambda service: service.add('echo', 1))
    path = path.replace('ID', str(jobid))
    assert ask(site, method, path, {}, **headers).status == 403
    assert site.writes == []


def test_problems_are_those_of_rfc_9457(site):
    answer = ask(site, 'GET', 'jobs/77')
    problem = read(answer)
    assert (answer.status, problem['status'], problem['title']) == (
        404, 404, 'Not Found')
    # What this API said before.
    assert problem['error'] == problem['detail']
    assert '77' in problem['error']


def test_a_job_that_is_added_says_where_it_is(site):
    answer = ask(site, 'POST', 'jobs', {'task': 'echo', 'input': 1})
    jobid = read(answer)['id']
    assert answer.status == 201
    assert answer.headers['Location'] == f'/admin/tasks/api/v1/jobs/{jobid}'
    assert read(answer)['status'] == 'queued'


def test_many_are_added_or_none(site, service):
    answer = ask(site, 'POST', 'jobs/batch', {
        'task': 'echo', 'inputs': [1, 2, 3]})
    ids = read(answer)['ids']
    assert answer.status == 201
    assert service(lambda service: [service.jobs[one].input
                                    for one in ids]) == [1, 2, 3]
    for inputs in ([], 'ab', [1] * 1001, {}, None):
        assert ask(site, 'POST', 'jobs/batch', {
            'task': 'echo', 'inputs': inputs}).status == 400
    assert ask(site, 'POST', 'jobs/batch', {
        'task': 'nothing', 'inputs': [1]}).status == 400
    assert service(lambda service: len(service.jobs)) == 3


def test_a_job_is_removed_when_it_is_over(site, service):
    def over(service):
        jobid = service.add('echo', 1)
        service.process()
        return jobid

    jobid, waits = service(over), service(lambda service: service.add(
        'echo', 1))
    answer = ask(site, 'DELETE', f'jobs/{waits}')
    assert answer.status == 409
    assert 'queued' in read(answer)['error']
    answer = ask(site, 'DELETE', f'jobs/{jobid}')
    assert (answer.status, answer.body) == (204, b'')
    assert ask(site, 'DELETE', f'jobs/{jobid}').status == 404
    assert service(lambda service: (service.stats()['completed'],
                                    len(service.jobs))) == (0, 1)


def test_what_one_task_takes(site):
    assert read(ask(site, 'GET', 'tasks/echo'))['name'] == 'echo'
    # A task that is not remote is as one that does not exist.
    for name in ('hidden', 'nothing'):
        assert ask(site, 'GET', f'tasks/{name}').status == 404


def test_the_list_takes_scheduled_as_stats_counts_it(site, service):
    service(lambda service: service.add('echo', 1, delay=60))
    page = read(ask(site, 'GET', 'jobs?status=scheduled'))
    assert [job['status'] for job in page['jobs']] == ['delayed']


@pytest.mark.parametrize('path', ['pause', 'resume', 'jobs/ID/cancel',
                                  'jobs/ID/retry'])
def test_a_body_that_should_be_empty(site, service, path):
    jobid = service(lambda service: service.add('echo', 1))
    for body in ([None], {'x': 1}, 'x'):
        assert ask(site, 'POST', path.replace('ID', str(jobid)),
                   body).status == 400
    assert service(lambda service: service.getStatus(jobid)) == 'queued'


def test_parameters_that_a_route_does_not_know(site):
    for path in ('stats?x=1', 'tasks?x=1', 'workers?limit=1', 'jobs?x=1'):
        assert ask(site, 'GET', path).status == 400


# --- the document ------------------------------------------------------------

def test_the_document_is_valid_and_the_one_in_the_documentation():
    validate(openapi.document())
    assert openapi.text() == DOCUMENT.read_text(), (
        'write it anew: python -m lovely.remotetask.web.api.openapi')


def test_the_document_has_each_route_and_everybody_may_read_it(site):
    answer = site.get('openapi.json', may=())
    paths = read(answer)['paths']
    assert {(path, method) for path, methods in paths.items()
            for method in methods} == {
        ('/' + path.replace('ID', '{id}').replace('NAME', '{name}'),
         method.lower()) for path, method, _ in ALL}
    names = [one['operationId'] for methods in paths.values()
             for one in methods.values()]
    assert len(set(names)) == len(names)


def test_a_job_has_the_keys_that_the_document_names(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    found = read(ask(site, 'GET', f'jobs/{jobid}'))
    known = openapi.document()['components']['schemas']['Job']['properties']
    assert set(found) <= set(known)


# --- probes ------------------------------------------------------------------

@pytest.fixture(autouse=True)
def _fresh():
    kept.forget()
    yield
    kept.forget()


def test_alive_asks_no_database(site):
    answer = site.get('healthz', may=())
    assert (answer.status, answer.body) == (200, b'ok\n')
    assert site.writes == []


def test_ready_tells_everybody_a_word_and_others_the_figures(site, service):
    assert site.get('readyz', may=()).body == b'ready\n'
    assert read(site.get('readyz'))['workers'] == 0
    for query in ('workers=1', 'workers=1&oldest=5'):
        answer = site.get(f'readyz?{query}', may=())
        assert (answer.status, answer.body) == (503, b'not ready\n')
    assert read(site.get('readyz?workers=1'))['problem'] == (
        'there are 0 live workers')
    for query in ('workers=x', 'oldest=-1', 'workers=' + '9' * 20):
        assert site.get(f'readyz?{query}').status == 400


def test_a_paused_queue_is_ready(site, service):
    service(lambda service: service.pause())
    assert site.get('readyz').status == 200


def test_an_answer_counts_for_two_seconds(site, monkeypatch):
    from lovely.remotetask.web.probes import ready

    computed, stats = [], presenter.stats

    def counted(service):
        computed.append(service)
        return stats(service)

    monkeypatch.setattr(presenter, 'stats', counted)
    request = site.request('GET', 'readyz')
    for now, expected in ((0.0, 1), (1.9, 1), (2.1, 2)):
        ready(request, '', lambda now=now: now)
        assert len(computed) == expected


def test_a_service_that_cannot_be_read_is_not_ready(site, monkeypatch):
    def broken(*arguments):
        raise ConnectionError

    monkeypatch.setattr(site, 'run', broken)
    for may in ((), (VIEW,)):
        answer = site.get('readyz', may=may)
        assert (answer.status, answer.body) == (503, b'not ready\n')


# --- schedules ---------------------------------------------------------------

def add_schedule(site, **fields):
    answer = ask(site, 'POST', 'schedules', {
        'task': 'echo', 'input': {'n': 1}, 'hour': [3], 'minute': [0],
        **fields})
    assert answer.status == 201, answer.body
    return read(answer)['id']


def test_a_schedule_is_added_listed_and_steered(site, service):
    jobid = add_schedule(site)
    (found,) = read(ask(site, 'GET', 'schedules'))['jobs']
    assert (found['id'], found['status'], found['enabled']) == (
        jobid, 'cronjob', True)
    assert found['schedule'] == {'minute': [0], 'hour': [3], 'month': [],
                                 'dayOfMonth': [], 'dayOfWeek': []}
    assert found['lastRun'] is None
    ask(site, 'POST', f'schedules/{jobid}/disable', {})
    (found,) = read(ask(site, 'GET', 'schedules'))['jobs']
    assert found['enabled'] is False
    ask(site, 'POST', f'schedules/{jobid}/enable', {})
    ask(site, 'POST', f'schedules/{jobid}/run', {})
    service(lambda service: service.process())
    (found,) = read(ask(site, 'GET', 'schedules'))['jobs']
    assert found['enabled'] is True
    assert found['lastRun']['outcome'] == 'completed'


@pytest.mark.parametrize('fields', [
    {'hour': [25]}, {'hour': 3}, {'hour': ['3']}, {'hour': []},
    {'month': [2], 'dayOfMonth': [31]}, {'task': 'hidden'}, {'task': 7},
    {'task': 'nothing'}, {'priority': 9}, {'enabled': 'yes'}, {'key': ''},
    {'onDuplicate': 'any'}, {'unknown': 1}])
def test_a_schedule_that_cannot_be_added(site, service, fields):
    data = {'task': 'echo', 'hour': [3], 'key': 'k', **fields}
    if fields.get('hour') == []:
        del data['hour']
    assert ask(site, 'POST', 'schedules', data).status == 400
    assert service(lambda service: list(service.jobs)) == []


def test_a_job_that_waits_is_started(site, service):
    jobid = service(lambda service: service.add('echo', 1, delay=3600))
    assert read(ask(site, 'POST', f'jobs/{jobid}/start', {})) == {
        'id': jobid, 'status': 'queued'}
    service(lambda service: service.process())
    assert ask(site, 'POST', f'jobs/{jobid}/start', {}).status == 409


# --- a request that is sent again --------------------------------------------

def test_a_request_that_is_sent_again_adds_nothing(site, service):
    data = {'task': 'echo', 'input': {'n': 1}}
    first = ask(site, 'POST', 'jobs', data, idempotency_key='a1')
    again = ask(site, 'POST', 'jobs', data, idempotency_key='a1')
    assert (first.status, again.status) == (201, 200)
    assert read(first)['id'] == read(again)['id']
    service(lambda service: service.process())
    # Also when the job is over.
    over = ask(site, 'POST', 'jobs', data, idempotency_key='a1')
    assert (over.status, read(over)['status']) == (200, 'completed')
    other = ask(site, 'POST', 'jobs', data, idempotency_key='a2')
    assert read(other)['id'] != read(first)['id']
    assert service(lambda service: len(service.jobs)) == 2


def test_no_key_of_one_user_is_that_of_another(site, service):
    data = {'task': 'echo', 'input': 'of a person'}
    site.user = 'oidc:jane'
    first = ask(site, 'POST', 'jobs', data, idempotency_key='a1')
    for user, key in (('oidc', 'jane:a1'), ('oidc%3Ajane', 'a1')):
        site.user = user
        answer = ask(site, 'POST', 'jobs', data, idempotency_key=key)
        assert answer.status == 201
        assert read(answer)['id'] != read(first)['id']


def test_a_key_of_another_request_is_422(site, service):
    ask(site, 'POST', 'jobs', {'task': 'echo', 'input': 1},
        idempotency_key='a1')
    for data in ({'task': 'echo', 'input': 2}, {'task': 'error', 'input': 1}):
        answer = ask(site, 'POST', 'jobs', data, idempotency_key='a1')
        assert answer.status == 422
        assert 'another task, input or follow-up' in read(answer)['detail']
    assert service(lambda service: len(service.jobs)) == 1


@pytest.mark.parametrize('key', ['', 'x' * 201, 'a\nb'])
def test_a_wrong_idempotency_key(site, service, key):
    assert ask(site, 'POST', 'jobs', {'task': 'echo'},
               idempotency_key=key).status == 400
    assert ask(site, 'POST', 'jobs', {'task': 'echo', 'key': 'k'},
               idempotency_key='a').status == 400
    assert service(lambda service: len(service.jobs)) == 0


# --- figures -----------------------------------------------------------------

def test_history(site):
    assert read(ask(site, 'GET', 'history')) == {'history': []}
    for query in ('hours=0', 'hours=721', 'hours=x', 'hours=99999', 'x=1'):
        assert ask(site, 'GET', f'history?{query}').status == 400


def test_a_pause_has_a_reason(site):
    ask(site, 'POST', 'pause', {'reason': 'the disk is full'})
    stats = read(ask(site, 'GET', 'stats'))
    assert (stats['paused'], stats['pauseReason']) == (
        True, 'the disk is full')
    for reason in (7, '', 'x' * 201):
        assert ask(site, 'POST', 'pause', {'reason': reason}).status == 400


# --- events ------------------------------------------------------------------

def test_events_tell_each_end_at_least_once_in_its_order(site, service):
    first = read(ask(site, 'GET', 'events'))
    assert first['events'] == []
    ids = service(lambda service: [service.add('echo', n) for n in range(7)])
    bad = service(lambda service: service.add('error', None))
    service(lambda service: service.process())
    seen, cursor = [], first['next']
    for _ in range(5):
        answer = read(ask(site, 'GET', f'events?after={cursor}&limit=3'))
        seen += [(one['job'], one['status']) for one in answer['events']]
        assert answer['events'] == sorted(
            answer['events'], key=lambda one: int(one['id']))
        if len(answer['events']) < 3:
            break
        cursor = answer['next']
    assert seen == [(one, 'completed') for one in ids] + [(bad, 'error')]
    # What has just ended is told once more, and not for ever.
    again = read(ask(site, 'GET', f'events?after={answer["next"]}'))
    assert {one['job'] for one in again['events']} <= {*ids, bad}


def test_an_event_source_gets_one_batch_and_where_to_go_on(site, service):
    cursor = read(ask(site, 'GET', 'events'))['next']
    jobid = service(lambda service: service.add('echo', 1))
    service(lambda service: service.process())
    answer = ask(site, 'GET', 'events', accept='text/event-stream',
                 last_event_id=cursor)
    assert answer.content_type.startswith('text/event-stream')
    text = answer.body.decode()
    assert text.startswith('retry: 2000\n\n')
    assert f'"job": {jobid}' in text
    assert 'event: ended' in text
    assert text.endswith('event: seen\ndata: {}\n\n')


@pytest.mark.parametrize('query', [
    'after=x', 'after=-1', 'after=' + '9' * 19, 'after=' + '9' * 30,
    'limit=0', 'limit=1001', 'limit=x', 'x=1'])
def test_a_wrong_cursor_of_events(site, query):
    assert ask(site, 'GET', f'events?{query}').status == 400


@pytest.mark.parametrize(('login', 'status'), [
    (None, 403), ('Basic bWU6eA==', 403), ('Bearer', 403), ('NTLM x', 403),
    ('Bearer x', 200), ('bearer x', 200)])
def test_a_foreign_page_may_have_a_token(site, service, login, status):
    """No browser sends one on its own; the host has looked at it before."""
    jobid = service(lambda service: service.add('echo', 1))
    headers = {} if login is None else {'authorization': login}
    for more in ({'origin': 'http://elsewhere.example'},
                 {'sec_fetch_site': 'cross-site'}):
        answer = site.ask('POST', f'api/v1/jobs/{jobid}/cancel', body=b'{}',
                          content_type='application/json', **headers, **more)
        assert answer.status == status


# --- what is asked again and again -------------------------------------------

def test_an_answer_that_is_known_is_not_sent_again(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    answer = site.get(f'api/v1/jobs/{jobid}')
    tag = answer.headers['ETag']
    for given in (tag, f'W/{tag}', f'"other", {tag}'):
        again = site.get(f'api/v1/jobs/{jobid}', if_none_match=given)
        assert (again.status, again.body) == (304, b'')
        assert again.headers['ETag'] == tag
        assert again.headers['Cache-Control'] == 'no-store'
    service(lambda service: service.process())
    later = site.get(f'api/v1/jobs/{jobid}', if_none_match=tag)
    assert later.status == 200 and later.headers['ETag'] != tag
    # Of another's job nothing is told, the tag neither.
    assert 'ETag' not in site.get(f'api/v1/jobs/{jobid}', may=()).headers
    assert site.get(f'api/v1/jobs/{jobid}', if_none_match=later.headers[
        'ETag'], may=()).status == 403
    answer = site.ask('POST', f'api/v1/jobs/{jobid}/cancel', body=b'{}',
                      content_type='application/json')
    assert 'ETag' not in answer.headers


# --- the own jobs of an account ----------------------------------------------

def test_an_account_sees_its_own_job_and_no_other(site, service, monkeypatch):
    from lovely.remotetask.host.plain import PlainHost

    acting = ['7']
    monkeypatch.setattr(PlainHost, 'submitter', lambda self: acting[0])
    own = service(lambda service: service.add('echo', 1))
    acting[0] = '8'
    others = service(lambda service: service.add('echo', 2))
    acting[0] = '7'
    answer = ask(site, 'GET', f'jobs/{own}', may=())
    assert (answer.status, read(answer)['input']) == (200, 1)
    for path in (f'jobs/{others}', 'jobs/77', 'jobs', f'jobs/{own}/cancel'):
        method = 'POST' if 'cancel' in path else 'GET'
        assert ask(site, method, path, {}, may=()).status == 403
    # A visitor without a login has none.
    site.user = ''
    assert ask(site, 'GET', f'jobs/{own}', may=()).status == 403
    acting[0] = None
    site.user = 'jane'
    assert ask(site, 'GET', f'jobs/{own}', may=()).status == 403


# --- several services in one process -----------------------------------------


@pytest.mark.parametrize('path', ['history?hours=', 'events?limit=',
                                  'jobs?limit='])
def test_an_empty_text_is_no_number(site, path):
    assert ask(site, 'GET', path).status == 400


def test_an_empty_text_is_as_none(site, service):
    service(lambda service: service.add('echo', 1))
    found = read(ask(site, 'GET', 'jobs?status=&task=&key='))
    assert len(found['jobs']) == found['looked'] == 1


def test_how_long_jobs_are_kept(site):
    usual = {'completed': {'days': 7, 'count': 100_000},
             'error': {'days': 90, 'count': 10_000},
             'cancelled': {'days': 90, 'count': 10_000}}
    assert read(ask(site, 'GET', 'retention')) == usual
    changed = ask(site, 'PUT', 'retention', {
        'completed': {'days': 0.5}, 'error': {'days': None, 'count': 7}})
    assert changed.status == 200
    assert read(changed) == read(ask(site, 'GET', 'retention')) == {
        **usual, 'completed': {'days': 0.5, 'count': 100_000},
        'error': {'days': None, 'count': 7}}
    for wrong in ({'queued': {'days': 1}}, {'error': 3}, {'error': []},
                  {'completed': {'days': 3}, 'error': {'days': -1}},
                  {'error': {'hours': 1}}, {'error': {'count': 0}}):
        assert ask(site, 'PUT', 'retention', wrong).status == 400, wrong
    # Nothing of a refused one holds.
    assert read(ask(site, 'GET', 'retention')) == read(changed)
