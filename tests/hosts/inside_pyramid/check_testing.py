"""What tests of Pyramid applications get: requests, and jobs run in them."""

import pytest
import transaction
from pyramid.config import Configurator
from pyramid.security import Allowed
from pyramid.threadlocal import get_current_request
from pyramid.threadlocal import manager as threadlocals
from pyramid_zodbconn import get_connection
from transaction.interfaces import NoTransaction
from webtest import TestApp

from lovely.remotetask.errors import SubmitterGone
from lovely.remotetask.pyramid.testing import app_request
from lovely.remotetask.testing import assert_added
from lovely.remotetask.testing import drain
from lovely.remotetask.testing import inline
from lovely.remotetask.testing import run_job


class Policy:
    """By a header; mia exists."""

    def identity(self, request):
        found = (request.environ.get('remotetask.user')
                 or request.headers.get('X-User'))
        return found if found == 'mia' else None

    authenticated_userid = identity

    def permits(self, request, context, permission):
        return Allowed('in a test')


class Root:
    def __init__(self, request):
        self.user = request.authenticated_userid


def look(input):
    request = get_current_request()
    return {'user': request.authenticated_userid, 'root': request.root.user,
            'url': request.route_url('add'),
            'own': input}


def write(service, jobid, input):
    request = get_current_request()
    get_connection(request).root()[input] = jobid


def add(request):
    return {'job': request.remotetask.add('look', 'by a view')}


@pytest.fixture
def app():
    config = Configurator(
        settings={'zodbconn.uri': 'memory://',
                  'tm.manager_hook': 'pyramid_tm.explicit_manager'},
        root_factory=Root, security_policy=Policy(),
        package='lovely.remotetask')
    config.include('pyramid_zodbconn')
    config.include('lovely.remotetask.pyramid')
    config.add_task_service()
    config.add_remote_task('look', look)
    config.add_remote_task('write', write)
    config.add_route('add', '/add')
    config.add_view(add, route_name='add', renderer='json')
    return config.make_wsgi_app()


def test_a_job_runs_in_the_world_of_its_submitter(app):
    stack = threadlocals.stack[:]
    with app_request(app, 'mia') as request:
        assert get_current_request() is request
        assert request.root.user == 'mia'
        jobid = request.remotetask.add('look', 1)
        job = run_job(request.remotetask, jobid)
        assert job.output == {'user': 'mia', 'root': 'mia', 'own': 1,
                              'url': 'http://localhost/add'}
        assert get_current_request() is request
    assert threadlocals.stack == stack


def test_nothing_is_committed(app):
    with app_request(app) as request:
        jobid = request.remotetask.add('write', 'written')
        run_job(request.remotetask, jobid)
        assert get_connection(request).root()['written'] == jobid
    with app_request(app) as request:
        assert 'written' not in get_connection(request).root()
        assert len(request.remotetask.jobs) == 0


def test_a_fixture_of_pytest(remotetask_request):
    jobid = remotetask_request.remotetask.add('look')
    assert run_job(remotetask_request.remotetask, jobid).output == {
        'user': None, 'root': None, 'own': None,
        'url': 'http://localhost/add'}


def test_drain_after_a_commit(app):
    with app_request(app, 'mia') as request:
        jobid = request.remotetask.add('look', 2)
        request.tm.commit()
        assert drain(request.remotetask) == 1
        request.tm.begin()
        assert request.remotetask.getResult(jobid)['user'] == 'mia'


def test_a_user_whom_nobody_knows(app):
    with pytest.raises(SubmitterGone):
        with app_request(app, 'tom'):
            pass


def test_the_end_of_a_test_that_has_ended_its_transaction(app):
    with app_request(app) as request:
        request.tm.abort()
        with pytest.raises(NoTransaction):
            request.tm.get()


def test_an_error_closes_the_connection(app):
    with pytest.raises(ZeroDivisionError):
        with app_request(app) as request:
            connection = get_connection(request)
            request.remotetask.add('look')
            raise ZeroDivisionError
    assert connection.opened is None


@pytest.mark.parametrize('user', ['mia', None])
def test_webtest_with_jobs_at_each_commit(app, user):
    client = TestApp(app, extra_environ={} if user is None else {
        'HTTP_X_USER': user})
    with app_request(app) as request, inline(request.remotetask):
        answer = client.post('/add').json
        job, = assert_added(request.remotetask, 'look', input='by a view')
        assert job.id == answer['job']
        assert job.output['user'] == user


def test_webtest_and_drain(app):
    client = TestApp(app)
    answer = client.post('/add').json
    with app_request(app) as request:
        assert request.remotetask.getStatus(answer['job']) == 'queued'
        assert drain(request.remotetask) == 1
        # Seen in the same transaction.
        assert request.remotetask.getStatus(answer['job']) == 'completed'
    transaction.abort()
