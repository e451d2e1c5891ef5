"""Follow-ups, chains and groups that are added over JSON."""

import json

import pytest

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import follow_ups


@pytest.fixture
def post(site):
    """``post(path, data)``: the status and the answer."""
    def post(path, data, **options):
        answer = site.ask('POST', f'api/v1/{path}', body=json.dumps(
            data).encode(), content_type='application/json', **options)
        return answer.status, json.loads(answer.body)

    return post


@pytest.fixture
def outputs(service):
    """Runs all jobs; the outputs, by their ids in the order of adding."""
    def outputs():
        service(lambda service: service.process())
        return service(lambda service: [
            job.output for _, job in sorted(
                service.jobs.items(), key=lambda item: item[1].created)])

    return outputs


RESULT = {'RESULT': True}


def test_a_job_is_followed_as_the_request_says(post, outputs):
    status, found = post('jobs', {
        'task': 'echo', 'input': 1,
        'onSuccess': {'task': 'echo', 'input': {'is': RESULT, 'not': {
            'RESULT': 1}, 'all': [RESULT, 'RESULT']}},
        'onFailure': 'echo'})
    assert (status, found['status']) == (201, 'queued')
    assert outputs() == [
        1, {'is': 1, 'not': {'RESULT': 1}, 'all': [1, 'RESULT']}]


def test_a_failure_is_followed_by_the_other_one(post, outputs):
    assert post('jobs', {'task': 'error', 'onSuccess': 'echo', 'onFailure': {
        'task': 'echo', 'input': RESULT}})[0] == 201
    assert outputs()[1]['message'] == 'An error occurred.'


def test_what_follows_is_followed_in_turn(post, outputs):
    call = {'task': 'echo', 'input': [RESULT]}
    for _ in range(3):
        call = {'task': 'echo', 'input': [RESULT], 'onSuccess': call}
    assert post('jobs', {'task': 'echo', 'input': 0, 'onSuccess': call}
                )[0] == 201
    assert outputs()[-1] == [[[[0]]]]


def test_a_chain_is_added(post, outputs, service):
    status, found = post('chains', {'policy': 'continue', 'calls': [
        {'task': 'echo', 'input': 5, 'priority': 2}, 'error',
        {'task': 'echo', 'input': [RESULT]}]})
    assert (status, found['status']) == (201, 'queued')
    assert outputs() == [5, None, [None]]
    assert service(lambda service: service.jobs[found['id']].priority) == 2


def test_a_group_is_added(post, outputs, service):
    status, found = post('groups', {'calls': [
        {'task': 'echo', 'input': 1}, 'echo'],
        'then': {'task': 'echo', 'input': RESULT}})
    assert (status, found['of']) == (201, 2)
    last = outputs()[-1]
    assert (last['of'], last['completed'], last['group']) == (
        2, 2, found['id'])
    assert service(lambda service: service.getGroup(found['id'])['state']
                   ) == 'done'


def test_each_run_of_a_schedule_is_followed(post, service, outputs):
    status, found = post('schedules', {
        'task': 'echo', 'input': 1, 'every': 3600,
        'onSuccess': {'task': 'echo', 'input': ['ran', RESULT]}})
    assert status == 201
    assert post(f'schedules/{found["id"]}/run', {})[0] == 200
    assert ['ran', 1] in outputs()


WRONG = [
    ({'task': 'nothing'}, "Task does not exist: 'nothing'"),
    ('ech', "did you mean 'echo'?"),
    ('hidden', "Task does not exist: 'hidden'"),
    (7, 'PLACE is 7; give the name of a task'),
    ([], 'PLACE is []; give the name of a task'),
    ({}, 'PLACE lacks the key "task"'),
    ({'task': ['echo']}, "the task has to be a name, not ['echo']"),
    ({'task': 'echo', 'runAs': 'x'}, "PLACE has the unknown key 'runAs'"),
    ({'task': 'echo', 'delay': 'x'}, 'delay has to be a number of seconds'),
    ({'task': 'echo', 'delay': -1}, 'delay is -1'),
    ({'task': 'echo', 'priority': 9}, 'priority is 9'),
    ({'task': 'echo', 'priority': '1'}, 'priority has to be a whole number'),
    ({'task': 'echo', 'queue': ''}, "queue is ''"),
    ({'task': 'echo', 'concurrencyKey': 'k' * 201}, 'concurrencyKey is'),
    ({'task': 'echo', 'timeout': 0}, 'timeout is 0'),
    ({'task': 'echo', 'retry': 1.5}, 'retry has to be a number of retries'),
    ({'task': 'echo', 'policy': 'go', 'onSuccess': 'echo'}, "policy is 'go'"),
    ({'task': 'echo', 'onFailure': 'nothing'}, 'PLACE.onFailure'),
    ({'task': 'echo', 'input': 10 ** 4290}, 'more than 4,200 digits'),
]


@pytest.mark.parametrize('wrong, told', WRONG)
@pytest.mark.parametrize('path, place, data', [
    ('jobs', 'onSuccess', lambda call: {'task': 'echo', 'onSuccess': call}),
    ('jobs', 'onFailure', lambda call: {'task': 'echo', 'onFailure': call}),
    ('schedules', 'onSuccess', lambda call: {
        'task': 'echo', 'every': 60, 'onSuccess': call}),
    ('chains', 'calls[1]', lambda call: {'calls': ['echo', call]}),
    ('groups', 'calls[1]', lambda call: {'calls': ['echo', call]}),
    ('groups', 'then', lambda call: {'calls': ['echo'], 'then': call}),
], ids=lambda value: value if isinstance(value, str) else '')
def test_a_call_that_is_wrong_is_refused_by_its_place(
        site, post, service, path, place, data, wrong, told):
    status, found = post(path, data(wrong))
    assert status == 400
    assert told.replace('PLACE', place) in found['detail']
    assert place in found['detail']
    assert service(lambda service: len(service.jobs)) == 0


def test_a_policy_without_what_it_is_about_is_refused(post, service):
    # The last call of a chain may have one: another may be added behind it.
    status, found = post('jobs', {'task': 'echo', 'onSuccess': {
        'task': 'echo', 'policy': 'stop'}})
    assert status == 400
    assert 'policy says what becomes of onSuccess' in found['detail']
    assert service(lambda service: len(service.jobs)) == 0


@pytest.mark.parametrize('path, data, told', [
    ('chains', {}, 'the key "calls" is missing'),
    ('chains', {'calls': []}, 'calls is empty'),
    ('chains', {'calls': {}}, 'give a list with a call for each job'),
    ('chains', {'calls': ['echo'], 'then': 'echo'}, "unknown key 'then'"),
    ('chains', {'calls': ['echo'], 'policy': 'go'}, "policy is 'go'"),
    ('chains', {'calls': [{'task': 'echo', 'onSuccess': 'echo'}, 'echo']},
     'calls[0] has an onSuccess'),
    ('chains', {'calls': ['echo'] * 1002}, 'at most 1001 calls'),
    ('groups', {}, 'the key "calls" is missing'),
    ('groups', {'calls': 'echo'}, 'give a list with a call for each job'),
    ('groups', {'calls': ['echo'] * 10_001}, 'more than 10000 calls'),
    ('groups', {'calls': ['echo'], 'policy': None}, 'policy is None'),
])
def test_what_is_no_chain_or_group_is_refused(
        post, service, path, data, told):
    status, found = post(path, data)
    assert (status, told in found['detail']) == (400, True), found
    assert service(lambda service: len(service.jobs)) == 0


def test_calls_that_stand_too_deep_are_refused(post, service):
    call = 'echo'
    for _ in range(follow_ups.MOST_NESTED):
        call = {'task': 'echo', 'onSuccess': call}
    status, found = post('jobs', {'task': 'echo', 'onSuccess': call})
    assert status == 400 and 'add a chain' in found['detail']
    # The permission is asked for first, and looks no deeper.
    assert post('jobs', {'task': 'echo', 'onSuccess': call},
                may=(VIEW, ADD))[0] == 400
    call = call['onSuccess']
    assert post('jobs', {'task': 'echo', 'onSuccess': call})[0] == 201


@pytest.mark.parametrize('own', [{'retry': 3}, {'timeout': 5}])
@pytest.mark.parametrize('path, data', [
    ('jobs', lambda call: {'task': 'echo', 'onSuccess': call}),
    ('jobs', lambda call: {'task': 'echo', 'onFailure': {
        'task': 'echo', 'onSuccess': call}}),
    ('chains', lambda call: {'calls': ['echo', call]}),
    ('groups', lambda call: {'calls': [call]}),
    ('groups', lambda call: {'calls': [], 'then': call}),
])
def test_retry_and_timeout_take_the_permission_to_manage(
        post, service, path, data, own):
    call = {'task': 'echo', **own}
    status, found = post(path, data(call), may=(VIEW, ADD))
    assert status == 403 and 'Remote tasks: Manage' in found['detail']
    assert service(lambda service: len(service.jobs)) == 0
    call = {'task': 'echo', **dict.fromkeys(own)}
    assert post(path, data(call), may=(VIEW, ADD))[0] == 201
    assert post(path, data({'task': 'echo', **own}), may=(ADD, MANAGE)
                )[0] == 201


@pytest.mark.parametrize('path', ['chains', 'groups'])
def test_adding_takes_the_permission_to_add(post, path):
    assert post(path, {'calls': ['echo']}, may=(VIEW,))[0] == 403


def test_a_request_that_is_sent_again_is_followed_once(
        post, outputs, service):
    data = {'task': 'echo', 'input': 1,
            'onSuccess': {'task': 'echo', 'input': ['was', RESULT]}}
    status, first = post('jobs', data, idempotency_key='one')
    assert status == 201
    assert post('jobs', data, idempotency_key='one') == (200, first)
    assert outputs() == [1, ['was', 1]]
    assert post('jobs', data, idempotency_key='one')[0] == 200
    for other in ({**data, 'onSuccess': 'echo'}, {'task': 'echo', 'input': 1},
                  {**data, 'onFailure': 'echo'}):
        status, found = post('jobs', other, idempotency_key='one')
        assert (status, 'follow-up' in found['detail']) == (422, True)
    assert service(lambda service: len(service.jobs)) == 2


@pytest.mark.parametrize('path', ['chains', 'groups'])
def test_a_key_that_would_not_be_heeded_is_refused(post, service, path):
    status, found = post(path, {'calls': ['echo']}, idempotency_key='one')
    assert (status, 'takes no Idempotency-Key' in found['detail']) == (
        400, True)
    assert service(lambda service: len(service.jobs)) == 0


def test_the_queue_of_a_schedule_is_changed(site, post, service):
    def put(data):
        answer = site.ask('PUT', f'api/v1/schedules/{jobid}', body=json.dumps(
            data).encode(), content_type='application/json')
        return answer.status, json.loads(answer.body)

    def shown():
        answer = site.ask('GET', f'api/v1/schedules/{jobid}')
        found = json.loads(answer.body)
        return found['queue'], found['concurrencyKey'], found['version']

    jobid = post('schedules', {'task': 'echo', 'every': 60})[1]['id']
    queue, key, version = shown()
    assert (queue, key) == ('default', None)
    assert put({'queue': 'slow', 'concurrencyKey': 'k', 'version': version}
               )[0] == 200
    assert shown()[:2] == ('slow', 'k')
    # Another editor has seen it before.
    assert put({'queue': 'other', 'version': version})[0] == 409
    status, found = put({'queue': 'a b'})
    assert status == 400 and "queue is 'a b'" in found['detail']
    assert put({'queue': None, 'concurrencyKey': None})[0] == 200
    assert shown()[:2] == ('default', None)
