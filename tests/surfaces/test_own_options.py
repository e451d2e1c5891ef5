"""What a job has of its own, and what it has reached, on pages and in JSON."""

import html
import json

import pytest
from zope.interface import implementer

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.interfaces import IRetryPolicy
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.run.checkpoints import Checkpoints


@implementer(IRetryPolicy)
class Never:
    def delay(self, failures, rng):
        return None

    def __repr__(self):
        return 'Never()'


def ask(site, method, path, data=None, **options):
    answer = site.ask(method, f'api/v1/{path}', body=None if data is None
                      else json.dumps(data).encode(),
                      content_type='application/json', **options)
    return answer.status, json.loads(answer.body)


# -- retry and timeout --------------------------------------------------------

@pytest.mark.parametrize('path, data', [
    ('jobs', {'task': 'echo'}), ('jobs/batch', {'task': 'echo', 'inputs': [1]})
])
@pytest.mark.parametrize('options', [{'retry': 0}, {'timeout': 5}])
def test_they_take_the_permission_to_manage(
        site, service, path, data, options):
    status, found = ask(site, 'POST', path, {**data, **options},
                        may=(VIEW, ADD))
    assert status == 403 and 'Remote tasks: Manage' in found['detail']
    assert service(lambda service: len(service.jobs)) == 0
    # None is as if it were left out.
    nothing = dict.fromkeys(options)
    assert ask(site, 'POST', path, {**data, **nothing}, may=(VIEW, ADD)
               )[0] == 201
    assert ask(site, 'POST', path, {**data, **options}, may=(ADD, MANAGE)
               )[0] == 201
    assert service(lambda service: len(service.jobs)) == 2


def test_a_request_that_is_sent_again_has_them_too(site, service):
    def post(**options):
        return ask(site, 'POST', 'jobs', {'task': 'echo', 'timeout': 5},
                   idempotency_key='one', **options)

    assert post(may=(VIEW, ADD))[0] == 403
    status, found = post()
    assert status == 201
    assert service(
        lambda service: service.jobs[found['id']].timeout) == 5


@pytest.mark.parametrize('path', ['jobs', 'jobs/batch', 'schedules'])
@pytest.mark.parametrize('options', [
    {'retry': -1}, {'retry': '3'}, {'retry': 1.5}, {'retry': {}},
    {'retry': True}, {'timeout': 0}, {'timeout': '5'}, {'timeout': True}],
    ids=str)
def test_what_cannot_be_is_refused(site, service, path, options):
    data = {'jobs': {}, 'jobs/batch': {'inputs': [1]},
            'schedules': {'minute': [0]}}[path]
    status, found = ask(site, 'POST', path, {
        'task': 'echo', **data, **options})
    assert status == 400
    assert next(iter(options)) in found['detail'] or 'retries is -1' in (
        found['detail'])
    assert service(lambda service: len(service.jobs)) == 0


@pytest.mark.parametrize('retry, told, text', [
    (None, None, None), (4, 4, '4'),
    (RetryPolicy(2, 1.0, 60), {'retries': 2, 'base': 1.0, 'cap': 60},
     '2, after up to 1 s, doubled each time, 60 s at most'),
    (Never(), f'{__name__}.Never', f'{__name__}.Never')], ids=repr)
def test_they_are_shown(site, service, retry, told, text):
    jobid = service(lambda service: service.add(
        'echo', retry=retry, timeout=None if retry is None else 90))
    _, found = ask(site, 'GET', f'jobs/{jobid}')
    assert (found['retry'], found['timeout']) == (
        told, None if retry is None else 90)
    page = site.text(f'jobs/{jobid}')
    if retry is None:
        assert 'Retries' not in page and 'Time limit' not in page
    else:
        assert f'<dt>Retries</dt><dd>{text}</dd>' in page
        assert '<dt>Time limit</dt><dd>90 s</dd>' in page


def test_those_of_a_schedule_are_added_edited_and_part_of_its_version(
        site, service):
    _, found = ask(site, 'POST', 'schedules', {
        'task': 'echo', 'minute': [0], 'retry': 2, 'timeout': 5})
    path = f'schedules/{found["id"]}'
    _, first = ask(site, 'GET', path)
    assert (first['retry'], first['timeout']) == (2, 5)
    assert ask(site, 'PUT', path, {'timeout': None, 'retry': 3})[0] == 200
    _, second = ask(site, 'GET', path)
    assert (second['retry'], second['timeout']) == (3, None)
    status, _ = ask(site, 'PUT', path, {
        'retry': 4, 'version': first['version']})
    assert status == 409


# -- checkpoints --------------------------------------------------------------

class Reaches:
    """What a task has of its job, without a run: a direct run that fails
    undoes what it has reached."""

    def __init__(self, service, job):
        self._checkpoints = Checkpoints(service, job)
        self.checkpoint = self._checkpoints.checkpoint

    def step(self, name, function, *arguments):
        return self._checkpoints.step(name, function, arguments, {})


@pytest.fixture
def reached(service):
    """``reached(work)``: the id of a job, cancelled after ``work(job)``."""
    def reached(work):
        def make(service):
            jobid = service.add('echo')
            work(Reaches(service, service.jobs[jobid]))
            service.cancel(jobid)
            return jobid

        return service(make)

    return reached


def test_what_a_job_has_reached_is_shown(site, reached):
    def work(job):
        job.checkpoint({'page': 41, 'mark': b'x'})
        job.step('fetch <rows>', list)
        job.step('index', int)

    jobid = reached(work)
    _, found = ask(site, 'GET', f'jobs/{jobid}')
    told = found['checkpoint']
    assert told.pop('at').endswith('+00:00')
    assert told == {'count': 3, 'steps': 2, 'latestStep': 'index',
                    'cursor': {'page': 41, 'mark': 'eA=='}}
    assert found['bytes'] == ['/checkpoint/cursor/mark']
    page = site.text(f'jobs/{jobid}')
    assert '<dt>Checkpoints</dt><dd>3</dd>' in page
    assert '<dt>Steps</dt><dd>2, the last of them index</dd>' in page
    assert '<h2>Cursor</h2>' in page
    assert '"page": 41' in html.unescape(page)


def test_the_name_of_a_step_is_escaped(site, reached):
    jobid = reached(lambda job: job.step('<script>', list))
    page = site.text(f'jobs/{jobid}')
    assert '<script>' not in page.split('the last of them', 1)[1][:20]
    assert '<h2>Cursor</h2>' not in page


@pytest.mark.parametrize('name', ['\ud800', 'a\nb\x00', 'x' * 200])
def test_an_odd_name_of_a_step_breaks_nothing(site, reached, name):
    jobid = reached(lambda job: job.step(name, list))
    assert ask(site, 'GET', f'jobs/{jobid}')[1]['checkpoint'][
        'latestStep'] == name
    assert '<dt>Steps</dt>' in site.text(f'jobs/{jobid}')


def test_a_job_without_a_checkpoint_says_nothing_of_it(site, service):
    jobid = service(lambda service: service.add('echo'))
    assert 'checkpoint' not in ask(site, 'GET', f'jobs/{jobid}')[1]
    assert 'Checkpoints' not in site.text(f'jobs/{jobid}')


def test_a_cursor_that_cannot_be_sent_has_a_note(site, reached):
    jobid = reached(lambda job: job.checkpoint({1, 2}))
    _, found = ask(site, 'GET', f'jobs/{jobid}')
    assert found['checkpoint']['cursor'] is None
    note = found['checkpoint']['cursorNote']
    assert note.startswith('cannot be sent as JSON')
    assert note in site.text(f'jobs/{jobid}')


def test_a_retry_begins_anew_on_demand(site, service, reached):
    jobid = reached(lambda job: job.checkpoint(1))
    for data in ({'anew': 1}, {'anew': 'yes'}, {'other': True}):
        assert ask(site, 'POST', f'jobs/{jobid}/retry', data)[0] == 400
    assert ask(site, 'POST', f'jobs/{jobid}/retry', {})[0] == 200
    assert ask(site, 'GET', f'jobs/{jobid}')[1]['checkpoint']['cursor'] == 1
    service(lambda service: service.cancel(jobid))
    assert ask(site, 'POST', f'jobs/{jobid}/retry', {'anew': True})[0] == 200
    assert 'checkpoint' not in ask(site, 'GET', f'jobs/{jobid}')[1]
