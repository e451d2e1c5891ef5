"""What follows a job, and groups, over JSON and on the page of a job."""

import json

import pytest

from lovely.remotetask.follow import RESULT
from lovely.remotetask.follow import Call


def read(answer, status=200):
    assert answer.status_int == status, answer.text
    return json.loads(answer.body)


@pytest.fixture
def chain(service):
    """A chain whose second job has failed: the ids of both."""
    first = service(lambda service: service.addChain([
        Call('echo', 1), Call('error', onFailure=Call('echo', RESULT)),
        'echo', 'echo']))
    service(lambda service: service.process())
    return first, service(lambda service: service.jobs[first].followed[0])


def test_a_job_tells_what_is_before_and_behind_it(web, chain):
    first, second = chain
    found = read(web.get(f'/tasks/api/v1/jobs/{first}'))
    assert (found['follows'], found['group']) == (None, None)
    assert found['followUps'] == [
        {'on': 'success', 'task': 'error', 'state': 'added', 'id': second,
         'note': None, 'behind': 2}]
    found = read(web.get(f'/tasks/api/v1/jobs/{second}'))
    assert found['follows'] == first
    success, failure = found['followUps']
    assert (success['state'], success['behind']) == ('stuck', 1)
    assert 'it comes when that is retried' in success['note']
    assert failure['state'] == 'added'


def test_a_job_without_others_says_so(web, service):
    jobid = service(lambda service: service.add('echo'))
    found = read(web.get(f'/tasks/api/v1/jobs/{jobid}'))
    assert (found['follows'], found['group'], found['followUps']) == (
        None, None, [])
    assert 'Before and behind it' not in web.get(f'/tasks/jobs/{jobid}').text


def test_the_page_links_both_ways(web, service, chain):
    first, second = chain
    text = web.get(f'/tasks/jobs/{first}').text
    assert 'After its success error follows, and 2 more behind it' in text
    assert f'href="/tasks/jobs/{second}"' in text
    text = web.get(f'/tasks/jobs/{second}').text
    assert f'href="/tasks/jobs/{first}"' in text
    assert 'After its success echo is stuck, and 1 more behind it' in text
    assert 'the job before it has failed' in text


def test_a_hostile_name_stays_text(web, service, tasks):
    from lovely.remotetask.task import EchoTask

    tasks('<script>alert(1)</script>', EchoTask())
    jobid = service(lambda service: service.add(
        'echo', onSuccess='<script>alert(1)</script>'))
    assert '<script>alert' not in web.get(f'/tasks/jobs/{jobid}').text


def test_groups_are_listed_shown_and_cancelled(web, service):
    groups = [service(lambda service: service.addGroup(
        ['echo'] * 3, 'echo')) for _ in range(3)]
    found = read(web.get('/tasks/api/v1/groups?limit=2'))
    assert [one['id'] for one in found['groups']] == groups[:0:-1]
    rest = read(web.get(f'/tasks/api/v1/groups?start={found["next"]}'))
    assert [one['id'] for one in rest['groups']] == groups[:1]
    assert rest['next'] is None
    one = read(web.get(f'/tasks/api/v1/groups/{groups[0]}'))
    assert (one['state'], one['of'], one['open'], len(one['jobs'])) == (
        'open', 3, 3, 3)
    job = read(web.get(f'/tasks/api/v1/jobs/{one["jobs"][0]}'))
    assert job['group'] == groups[0]
    assert f'href="/tasks/groups/{groups[0]}"' in web.get(
        f'/tasks/jobs/{one["jobs"][0]}').text
    assert read(web.post(f'/tasks/api/v1/groups/{groups[0]}/cancel', {})) == {
        'cancelled': 3}
    assert read(web.get(f'/tasks/api/v1/groups/{groups[0]}'))['state'] == (
        'cancelled')


@pytest.mark.parametrize('path, status', [
    ('groups/1', 404), ('groups?start=x', 400), ('groups?limit=0', 400),
    ('groups?what=1', 400), ('groups/x', 404)])
def test_what_is_no_group_is_told(web, path, status):
    read(web.get(f'/tasks/api/v1/{path}'), status)


def test_a_group_that_is_none_is_not_cancelled(web):
    answer = read(web.post('/tasks/api/v1/groups/1/cancel', {}), 404)
    assert answer['detail'].startswith('no group has the id 1')
