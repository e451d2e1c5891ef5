"""The pages in a Pyramid application, served: with sessions and without."""

import dataclasses
import os
import subprocess

import pytest
import web_tasks
from documents import HOWTO
from documents import file_of
from waiting import answers
from waiting import free_port
from waiting import wait_until
from web_checks import *  # noqa: F403
from web_host import WebHost
from web_host import filled

pytestmark = pytest.mark.environment('pyramid')

#: Two applications in one server: with all that changes how requests run, and
#: with nothing of it; the first is mounted below /shop.
APPLICATION = '''
import sys

import waitress
from pyramid.config import Configurator
from pyramid.session import SignedCookieSessionFactory

import web_tasks
from lovely.remotetask.task import EchoTask

PERMISSIONS = {
    'manager': ('lovely.remotetask.View', 'lovely.remotetask.Add', 'boss'),
    'viewer': ('lovely.remotetask.View',),
    'adder': ('lovely.remotetask.Add',)}


class Policy:
    def identity(self, request):
        # As a job's user, or as that of a request.
        return request.environ.get(
            'remotetask.user', request.headers.get('X-User'))

    authenticated_userid = identity

    def permits(self, request, context, permission):
        return permission in PERMISSIONS.get(self.identity(request), ())


def make(name, with_all):
    settings = {'zodbconn.uri': f'file://{sys.argv[2]}/{name}.fs',
                'remotetask.autostart': 'true'}
    if with_all:
        settings['tm.manager_hook'] = 'pyramid_tm.explicit_manager'
    with Configurator(settings=settings, security_policy=Policy()) as config:
        if with_all:
            config.include('pyramid_retry')
            config.set_session_factory(SignedCookieSessionFactory('secret'))
            # What applications set for all their views.
            config.set_default_csrf_options(require_csrf=True)
        config.include('pyramid_zodbconn')
        config.include('lovely.remotetask.pyramid')
        config.add_task_service()
        config.scan(web_tasks)
        config.add_remote_task('echo', EchoTask())
        config.add_remotetask_web('/admin/remotetasks', manage='boss')
        return config.make_wsgi_app()


full, bare = make('full', True), make('bare', False)


def application(environ, start_response):
    path = environ['PATH_INFO']
    if path.startswith('/shop/'):
        environ['SCRIPT_NAME'] = '/shop'
        environ['PATH_INFO'] = path.removeprefix('/shop')
        return full(environ, start_response)
    return bare(environ, start_response)


waitress.serve(application, listen=f'127.0.0.1:{sys.argv[1]}', threads=4)
'''


@pytest.fixture(scope='module')
def served(environment, tmp_path_factory):
    place = tmp_path_factory.mktemp('pyramid')
    web_tasks.install(place)
    (place / 'shop.py').write_text(APPLICATION)
    port = free_port()
    with open(place / 'log', 'w') as log:
        process = subprocess.Popen(
            [environment.python, 'shop.py', str(port), place], cwd=place,
            stdout=log, stderr=log,
            env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
    try:
        wait_until(lambda: answers(port), (place / 'log').read_text,
                   processes=[process])
        yield port
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope='module', params=['bare', 'full'])
def web_host(request, served):
    people = {name: {'X-User': name} for name in (
        'nobody', 'viewer', 'adder', 'manager')}
    host = WebHost('pyramid', served, '/admin/remotetasks',
                   {'anonymous': {}, **people})
    if request.param == 'bare':
        return host
    # The session's cookie, which the token of the forms belongs to.
    mount = f'/shop{host.mount}'
    full = dataclasses.replace(host, name='pyramid-full', mount=mount)
    cookie = full.get().headers['Set-Cookie'].partition(';')[0]
    return dataclasses.replace(full, people={
        who: {**headers, 'Cookie': cookie}
        for who, headers in full.people.items()})


def test_the_address_without_a_slash_is_moved_for_good(web_host):
    answer = web_host.ask('GET', f'{web_host.mount}?status=error', raw=True)
    assert answer.status == 308
    assert answer.headers['Location'] == (
        f'{web_host.origin}{web_host.mount}/?status=error')


def test_both_applications_have_services_of_their_own(web_host):
    with filled(web_host) as made:
        assert made['later'] in web_host.get('jobs?status=scheduled').text


def test_the_application_of_the_howto(environment, tmp_path):
    """It shows the pages to those whom its policy lets in."""
    (tmp_path / 'watched.py').write_text(
        file_of(HOWTO / 'watch-jobs-in-a-browser.rst', 'watched.py'))
    done = subprocess.run(
        [environment.python, '-c', '''
from webtest import TestApp
import watched
app = TestApp(watched.main({}, **{'zodbconn.uri': 'memory://'}))
for user in ('mia', 'ben', 'eve'):
    answer = app.get('/admin/remotetasks/', headers={'X-User': user},
                     status='*')
    print(user, answer.status_int, 'Pause' in answer)
'''], cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, 'PYTHONWARNINGS': 'ignore'})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split('\n')[:3] == [
        'mia 200 True', 'ben 200 False', 'eve 403 False']
