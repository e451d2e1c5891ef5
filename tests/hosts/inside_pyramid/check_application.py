"""Applications made in this process, as Pyramid developers make them."""

from contextlib import contextmanager
from xmlrpc.client import Fault
from xmlrpc.client import dumps
from xmlrpc.client import loads

import pytest
import transaction
from persistent.mapping import PersistentMapping
from pyramid.authentication import AuthTktCookieHelper
from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationConflictError
from pyramid.exceptions import ConfigurationError as PyramidError
from pyramid.request import Request
from pyramid.response import Response
from pyramid.scripting import prepare
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.session import SignedCookieSessionFactory
from pyramid.threadlocal import get_current_request
from pyramid.threadlocal import manager as threadlocals
from pyramid_zodbconn import get_connection
from waiting import wait_until
from ZODB.DB import DB
from ZODB.MappingStorage import MappingStorage
from zope.component import getUtility

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import NotPermitted
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.service import TaskService
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import task

SECONDS = 20
EXPLICIT = {'tm.manager_hook': 'pyramid_tm.explicit_manager'}


class Tickets:
    """A policy by a cookie; ``users`` are those that exist."""

    def __init__(self, users=('mia', 'tom', 7, '7')):
        self.users = set(users)
        self.helper = AuthTktCookieHelper('secret', include_ip=True)

    def identity(self, request):
        found = self.helper.identify(request)
        return found and found['userid'] in self.users and found['userid']

    def authenticated_userid(self, request):
        return self.identity(request) or None

    def permits(self, request, context, permission):
        return self.identity(request) == 'mia'

    def remember(self, request, userid, **options):
        return self.helper.remember(request, userid, **options)

    def forget(self, request, **options):
        return self.helper.forget(request)


class Sessions(Tickets):
    def __init__(self, users=('mia',)):
        super().__init__(users)
        self.helper = SessionAuthenticationHelper()

    def identity(self, request):
        found = self.helper.authenticated_userid(request)
        return found if found in self.users else None


class Headers(Tickets):
    """What comes with each request, and no remember()."""

    def identity(self, request):
        return (request.environ.get('remotetask.user')
                or request.headers.get('X-User'))

    def __getattribute__(self, name):
        if name == 'remember':
            raise AttributeError(name)
        return super().__getattribute__(name)


class Application:
    """An application with a database of its own."""

    def __init__(self, settings=(), policy=None, **arguments):
        self.config = Configurator(
            package='lovely.remotetask',
            settings={'zodbconn.uri': 'memory://', **dict(settings)},
            security_policy=policy, **arguments)
        self.config.include('pyramid_zodbconn')
        self.config.include('lovely.remotetask.pyramid')
        self.policy = policy
        self.app = None

    def view(self, function, **options):
        name = function.__name__
        self.config.add_route(name, f'/{name}')
        self.config.add_view(function, route_name=name, **options)

    def start(self):
        self.app = self.config.make_wsgi_app()
        self.registry = self.app.registry
        self.host = self.registry.getUtility(IHost)
        self.database = self.host.database()
        return self

    def get(self, path, user=None, **options):
        request = Request.blank(path, **options)
        request.environ['REMOTE_ADDR'] = '10.0.0.1'
        if user is not None:
            request.registry = self.registry
            headers = self.policy.remember(request, user)
            request.headers['Cookie'] = headers[0][1].partition(';')[0]
        return request.get_response(self.app)

    def call(self, method, *arguments, user=None, path='/rpc',
             content_type='text/xml'):
        response = self.get(
            path, user, method='POST', content_type=content_type,
            body=dumps(arguments, method, allow_none=True).encode())
        if response.status_code == 200:
            return loads(response.body)[0][0]
        return response.status_code

    @contextmanager
    def acting(self):
        """The application's own code, as in a script."""
        with (self.looking() as service,
              self.host.prepared(service._p_jar)):
            yield service

    @contextmanager
    def looking(self, *names):
        with self.database.transaction() as connection:
            found = connection.root()
            for name in names or ('tasks',):
                found = found[name]
            yield found

    def jobs(self, *names):
        with self.looking(*names) as service:
            return [service.jobs[key].status for key in service.jobs]

    def run(self, *names):
        with self.looking(*names) as service:
            path = self.host.path_of(service)
        processor = SimpleProcessor(self.database, path)
        while processor.processNext():
            pass
        processor.worker.leave()
        with self.looking(*names) as service:
            return [job.output if job.status == 'completed'
                    else str(job.error) for job in service.jobs.values()]

    def close(self):
        self.database.close()


@pytest.fixture
def make():
    made = []

    def application(*arguments, **options):
        made.append(Application(*arguments, **options))
        return made[-1]

    yield application
    for one in made:
        if one.app is not None:
            one.close()
    transaction.abort()
    assert not threadlocals.stack


def add(request):
    """A plain view: it knows nothing but the database."""
    service = get_connection(request).root()['tasks']
    service.add('echo', request.GET.get('x'))
    if request.GET.get('fail'):
        raise KeyError('the view has failed')
    return Response('added')


def echo(input):
    return input


# --- enqueue -----------------------------------------------------------------

@pytest.mark.parametrize('manager', [{}, EXPLICIT], ids=['default', 'expl'])
@pytest.mark.parametrize('retry', [True, False], ids=['retry', 'once'])
def test_a_job_is_part_of_the_request(make, manager, retry):
    # hosts.md, acceptance 1 and 4, trap 5.
    one = make(manager)
    if retry:
        one.config.include('pyramid_retry')
    one.config.add_task_service()
    one.config.add_remote_task('echo', echo)
    one.view(add)
    one.start()
    with pytest.raises(KeyError):
        one.get('/add?fail=1')
    assert one.jobs() == []
    assert one.get('/add?x=1').text == 'added'
    assert one.jobs() == ['queued']
    assert one.run() == ['1']


@pytest.mark.parametrize('manager', [{}, EXPLICIT], ids=['default', 'expl'])
def test_a_request_that_is_tried_again_adds_one_job(make, manager):
    tries = []

    def again(request):
        request.remotetask.add('echo', len(tries))
        tries.append(request)
        if len(tries) < 3:
            raise transaction.interfaces.TransientError
        return Response('')

    one = make(manager)
    one.config.include('pyramid_retry')
    one.config.add_task_service()
    one.config.add_remote_task('echo', echo)
    one.view(again)
    one.start()
    assert one.get('/again').status_code == 200
    assert one.run() == [2]


def test_a_task_that_nobody_has_registered(make):
    one = make()
    one.config.add_task_service()
    one.view(add)
    one.start()
    with pytest.raises(ValueError, match='Task does not exist'):
        one.get('/add')


def test_tasks_of_every_kind(make):
    @task('named', groupable=True, timeout=3)
    def marked(input):
        return input

    one = make()
    one.config.add_task_service()
    one.config.add_remote_task('function', echo, timeout=2)
    one.config.add_remote_task('task', FunctionTask(echo))
    one.config.add_remote_task('marked', marked)
    one.config.add_remote_task('changed', marked, timeout=4)
    one.config.add_remote_task('dotted', 'builtins.len')
    one.config.registry.registerUtility(FunctionTask(echo), ITask, 'utility')
    one.start()
    with one.looking() as service:
        found = one.host.tasks(service, ITask)
        assert sorted(found) == [
            'changed', 'dotted', 'function', 'marked', 'task', 'utility']
        assert found['function'].timeout == 2
        for name, timeout in (('marked', 3), ('changed', 4)):
            assert found[name].groupable is True
            assert found[name].timeout == timeout
        # Outside of the application nobody knows them.
        assert service.getAvailableTasks() == {}


def test_two_tasks_of_one_name_are_a_conflict(make):
    one = make()
    one.config.add_remote_task('echo', echo)
    one.config.commit()
    one.config.add_remote_task('echo', echo)
    one.config.add_remote_task('echo', len)
    with pytest.raises(ConfigurationConflictError, match=r'remotetask\.task'):
        one.config.commit()


@pytest.mark.parametrize('name, wrong, options, said', [
    ('x', 7, {}, 'give a function or an ITask'),
    ('', echo, {}, 'name of a task'),
    ('x', echo, {'limt': 3}, "task 'x'.*limt"),
    ('x', lambda *all: 0, {}, "task 'x'.*none for .all"),
    ('x', FunctionTask(echo), {'limit': 3}, 'set limit there'),
])
def test_what_cannot_be_a_task(make, name, wrong, options, said):
    with pytest.raises(PyramidError, match=said):
        make().config.add_remote_task(name, wrong, **options)


# --- services ----------------------------------------------------------------

def test_several_services(make):
    def both(request):
        request.remotetask.add('echo', 'first')
        request.task_service('mail').add('echo', 'second')
        assert request.remotetask is request.task_service()
        assert request.remotetask._p_jar is get_connection(request)
        return Response('')

    one = make(root_factory=appmaker)
    one.config.add_task_service()
    one.config.add_task_service('mail', path='site/mail')
    one.config.add_remote_task('echo', echo)
    one.view(both)
    one.start()
    one.get('/both')
    assert one.run() == ['first']
    assert one.run('site', 'mail') == ['second']


def appmaker(request):
    root = get_connection(request).root()
    if 'site' not in root:
        root['site'] = PersistentMapping()
        root['site'].__name__ = root['site'].__parent__ = None
    return root['site']


class OwnService(TaskService):
    pass


def test_a_factory_makes_the_service(make):
    one = make()
    one.config.add_task_service(factory=OwnService)
    one.start()
    with one.looking() as service:
        assert type(service) is OwnService


def restart(make, one, settings=(), **options):
    """An application of another release, with the database of the first."""
    later = make({'remotetask.connection': get_later, **dict(settings)})
    later.config.add_task_service(**options)
    later.config.registry.later = one.database
    return later.start()


def get_later(request):
    """A connection as pyramid_zodbconn gives it, of another database."""
    given = request.environ.get('remotetask.connection')
    if given is None:
        given = request.registry.later.open(request.tm)
        request.add_finished_callback(lambda request: given.close())
    return given


@pytest.mark.parametrize('settings, threads, factory, arguments', [
    ({}, 3, MultiProcessor, {'waitTime': 1.0, 'maxThreads': 3}),
    ({'remotetask.threads': '4'}, None, MultiProcessor,
     {'waitTime': 1.0, 'maxThreads': 4}),
    ({'remotetask.threads': '4'}, 1, SimpleProcessor, {'waitTime': 1.0}),
])
def test_threads_of_a_service_that_is_there_already(
        make, settings, threads, factory, arguments):
    one = make()
    one.config.add_task_service()
    one.start()
    for _ in range(2):
        restart(make, one, settings, threads=threads)
    with one.looking() as service:
        assert service.processorFactory is factory
        assert service.processorArguments == arguments
        before = service._p_serial
    # It is written once, and not by each start.
    restart(make, one, settings, threads=threads)
    with one.looking() as service:
        service._p_activate()
        assert service._p_serial == before
    # What no code declares stays.
    restart(make, one)
    with one.looking() as service:
        assert service.processorArguments == arguments


@pytest.mark.parametrize('wrong', ['0', '257', 'many', '1.5', -1, True])
def test_threads_that_cannot_be(make, wrong):
    one = make()
    with pytest.raises(PyramidError, match='whole number from 1 to 256'):
        one.config.add_task_service(threads=wrong)
    other = make({'remotetask.threads': wrong})
    with pytest.raises(PyramidError, match='remotetask.threads'):
        other.config.add_task_service()


def make_pool():
    service = TaskService()
    service.processorFactory = MultiProcessor
    service.processorArguments = {'maxThreads': 7}
    return service


def test_a_factory_says_that_it_does_not_change_what_is_there(make, caplog):
    one = make()
    one.config.add_task_service()
    one.start()
    restart(make, one, factory=make_pool)
    with one.looking() as service:
        assert service.processorFactory is SimpleProcessor
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert 'keeps the processorArguments of the database' in said[1]
    assert "'maxThreads': 7" in said[1] and 'threads=N' in said[1]
    caplog.clear()
    # A new one has it, and what is said by threads needs no word.
    other = make()
    other.config.add_task_service(factory=make_pool)
    other.start()
    restart(make, other, factory=make_pool)
    restart(make, other, factory=make_pool, threads=2)
    assert caplog.records == []


def test_a_service_that_is_not_declared(make):
    def wrong(request):
        return request.task_service('mial')

    one = make()
    one.config.add_task_service('mail')
    one.view(wrong)
    one.start()
    with pytest.raises(ConfigurationError, match=r"'mial'.*are: 'mail'"):
        one.get('/wrong')


def test_paths_that_lead_nowhere(make):
    one = make()
    one.config.add_task_service('mail', path='site/mail')
    with pytest.raises(ConfigurationError, match=r"/site/mail.* no 'site'"):
        one.config.make_wsgi_app()
    other = make(root_factory=appmaker)
    other.config.add_task_service(path='site')
    with pytest.raises(ConfigurationError, match='PersistentMapping'):
        other.config.make_wsgi_app()
    third = make()
    with pytest.raises(PyramidError, match='path'):
        third.config.add_task_service(path='/')
    third.config.add_task_service('a', path='x')
    third.config.add_task_service('b', path='x')
    with pytest.raises(ConfigurationConflictError):
        third.config.commit()


def test_no_database(make):
    one = make({'zodbconn.uri': ''})
    one.config.add_task_service()
    with pytest.raises(ConfigurationError, match=r'no ZODB.*zodbconn\.uri'):
        one.config.make_wsgi_app()


def test_a_connection_of_the_applications_own(make):
    database = DB(MappingStorage())

    def connection_of(request):
        # As the reference says.
        given = request.environ.get('remotetask.connection')
        if given is not None:
            return given
        connection = database.open(request.tm)
        request.add_finished_callback(lambda request: connection.close())
        return connection

    def own(request):
        request.remotetask.add('look')
        return Response('')

    def look(service, jobid, input):
        return connection_of(get_current_request()) is service._p_jar

    one = make({'zodbconn.uri': '', 'remotetask.connection': connection_of})
    one.config.add_task_service()
    one.config.add_remote_task('look', look)
    one.view(own)
    one.start()
    assert one.database is database
    one.get('/own')
    assert one.run() == [True]


# --- a job's request ---------------------------------------------------------

def test_a_job_has_a_request(make):
    # hosts.md, acceptance 2, trap 5.
    finished = []

    def look(service, jobid, input):
        request = get_current_request()
        request.add_finished_callback(lambda request: finished.append(jobid))
        return [
            request.route_url('add'), request.registry is one.registry,
            request.tm is service._p_jar.transaction_manager,
            get_connection(request) is service._p_jar,
            request.remotetask is service,
            request.root is request.context is not None,
            getUtility(ITask, 'look') is not None, request.tm.isDoomed(),
            request.environ['tm.active']]

    one = make({'remotetask.base_url': 'https://www.example.com/app/',
                **EXPLICIT})
    one.config.hook_zca()
    try:
        one.config.add_task_service()
        one.config.add_remote_task('look', look)
        one.view(add)
        one.start()
        with one.acting() as service:
            jobid = service.add('look')
        assert one.run() == [['https://www.example.com/app/add', True, True,
                              True, True, True, True, False, True]]
        assert finished == [jobid]
    finally:
        one.config.unhook_zca()


@pytest.mark.parametrize('url', ['example.com', 'ftp://x', 'https://', '/'])
def test_a_base_url_that_is_none(make, url):
    with pytest.raises(PyramidError, match=r'remotetask\.base_url'):
        make({'remotetask.base_url': url})


def test_a_finished_callback_that_ends_the_transaction(make):
    # It must not take the effects of a group's jobs with it.
    def short(service, jobid, input):
        service._p_jar.root()[f'effect {input}'] = True
        if input == 'bad':
            request = get_current_request()
            request.add_finished_callback(lambda request: request.tm.abort())

    one = make()
    one.config.add_task_service()
    one.config.add_remote_task('short', short, groupable=True)
    one.start()
    with one.acting() as service:
        for input in ('alone', 'first', 'bad'):
            service.add('short', input)
    with one.acting() as service:
        # How long the task takes is known after the first one.
        service.startProcessing()
    wait_until(lambda: one.jobs() == ['completed'] * 3)
    with one.looking() as service:
        service.stopProcessing(wait=None)
    with one.database.transaction() as connection:
        assert {'effect first', 'effect bad'} <= set(
            connection.root())


# --- two applications --------------------------------------------------------

def test_two_applications_in_one_process(make):
    # hosts.md, acceptance 2.
    made = []
    for name in ('north', 'south'):
        one = make()
        one.config.add_task_service(autostart=True)
        one.config.add_remote_task('who', answering(one, name))
        one.config.add_remote_task(f'only-{name}', echo)
        one.view(who)
        made.append(one)
    for one in made:
        one.start()
    try:
        for one, name in zip(made, ('north', 'south'), strict=True):
            assert one.get('/who').text == f'only-{name} who'
        for one in made:
            wait_until(lambda one=one: one.jobs() == ['completed'])
        for one, name in zip(made, ('north', 'south'), strict=True):
            with one.looking() as service:
                job, = service.jobs.values()
                assert job.output == [name, True]
    finally:
        for one in made:
            with one.looking() as service:
                service.stopProcessing(wait=None)


def answering(one, name):
    return lambda input: [
        name, get_current_request().registry is one.registry]


def who(request):
    request.remotetask.add('who')
    return Response(' '.join(sorted(request.remotetask.getAvailableTasks())))


@pytest.mark.parametrize('settings, argument, switch, started', [
    ({}, None, '', False),
    ({}, True, '', True),
    ({'remotetask.autostart': 'true'}, None, '', True),
    ({'remotetask.autostart': 'true'}, False, '', False),
    ({}, True, '0', False),
])
def test_autostart(make, monkeypatch, settings, argument, switch, started):
    # Pyramid's counterpart of trap 9: scripts must not become workers.
    monkeypatch.setenv('LOVELY_REMOTETASK_AUTOSTART', switch)
    one = make(settings)
    one.config.add_task_service(autostart=argument)
    one.start()
    with one.looking() as service:
        assert service.isProcessing() is started
        service.stopProcessing(wait=None)


# --- the submitter -----------------------------------------------------------

def identify(service, jobid, input):
    request = get_current_request()
    return [request.authenticated_userid,
            bool(request.has_permission('edit')), request.identity]


def ask(request):
    request.remotetask.add('identify')
    return Response('')


@pytest.mark.parametrize('policy, user, seen', [
    (Tickets(), 'mia', ['mia', True, 'mia']),
    (Tickets(), 'tom', ['tom', False, 'tom']),
    (Tickets(), 7, [7, False, 7]),
    (Tickets(), '7', ['7', False, '7']),
    (Sessions(), 'mia', ['mia', True, 'mia']),
    (Headers(), 'mia', ['mia', True, 'mia']),
    (Tickets(), None, [None, False, None]),
])
def test_a_job_runs_as_its_submitter(make, policy, user, seen):
    one = make(policy=policy)
    if isinstance(policy, Sessions):
        one.config.set_session_factory(SignedCookieSessionFactory('secret'))
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.view(ask)

    def login(request):
        policy.remember(request, 'mia')
        return Response('')

    one.view(login)
    one.start()
    if isinstance(policy, Sessions):
        cookie = one.get('/login').headers['Set-Cookie'].partition(';')[0]
        one.get('/ask', headers={'Cookie': cookie})
    elif isinstance(policy, Headers):
        one.get('/ask', headers={'X-User': user})
    else:
        one.get('/ask', user)
    found, = one.run()
    assert found[:2] == seen[:2]
    if user is not None:
        assert found == seen


def passing(request):
    """Add a job, and try to add one with all rights."""
    request.remotetask.add('identify')
    try:
        request.remotetask.add('identify', runAs=SYSTEM)
    except NotPermitted:
        return Response('refused')
    return Response('taken')


def again(service, jobid, input):
    """A job that adds another, and tries to give that all rights."""
    service.add('identify')
    try:
        service.add('identify', runAs=SYSTEM)
    except NotPermitted as error:
        return [get_current_request().environ.get('remotetask.user', 'nobody'),
                str(error)]


@pytest.mark.parametrize('policy', [Tickets(), None], ids=['policy', 'none'])
def test_a_visitor_without_login_has_no_more_rights_than_others(make, policy):
    one = make(policy=policy)
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.config.add_remote_task('again', again)
    one.view(passing)

    def chain(request):
        return Response(str(request.remotetask.add('again')))

    one.view(chain)
    one.start()
    assert one.get('/passing').text == 'refused'
    jobid = int(one.get('/chain').text)
    one.run()
    with one.looking() as service:
        assert {job.submitter for job in service.jobs.values()} == {
            'system.Everyone'}
        user, error = service.getResult(jobid)
        assert user == 'nobody'
        assert 'lovely.remotetask.Manage' in error


def test_an_application_may_let_visitors_act_for_it(make):
    one = make({'remotetask.anonymous': 'system'})
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.view(passing)
    one.start()
    assert one.get('/passing').text == 'taken'
    with one.looking() as service:
        assert [job.submitter for job in service.jobs.values()] == [
            None, SYSTEM]


def test_a_wrong_setting_for_visitors(make):
    with pytest.raises(PyramidError, match='remotetask.anonymous is \'me\''):
        make({'remotetask.anonymous': 'me'})


def test_a_script_adds_jobs_for_the_application(make):
    one = make(policy=Tickets())
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.start()
    request = Request.blank('/', environ={'remotetask.user': None})
    with prepare(request, one.registry) as env, request.tm:
        env['request'].remotetask.add('identify')
        env['request'].remotetask.add('identify', runAs='mia')
    with one.looking() as service:
        assert sorted(str(job.submitter) for job in service.jobs.values()) == [
            'None', 'mia']


def test_a_policy_that_sees_a_user_in_nobody(make):
    class Local(Headers):
        def authenticated_userid(self, request):
            environ = request.environ
            return None if 'HTTP_X_NOBODY' in environ else 'mia'

    one = make(policy=Local())
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.view(ask)
    one.start()
    one.get('/ask', headers={'X-Nobody': '1'})
    error, = one.run()
    assert "one of 'mia'" in error


def test_a_user_that_is_gone(make):
    policy = Tickets()
    one = make(policy=policy)
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.view(ask)
    one.start()
    one.get('/ask', 'tom')
    policy.users.remove('tom')
    error, = one.run()
    assert "'tom'" in error
    assert 'remotetask.user' in error
    assert one.jobs() == ['error']


def test_a_client_cannot_say_who_it_is(make):
    one = make(policy=Headers())
    one.config.add_task_service()
    one.config.add_remote_task('identify', identify)
    one.view(ask)
    one.start()
    one.get('/ask', headers={'remotetask.user': 'mia', 'REMOTE_USER': 'mia',
                             'Remotetask-User': 'mia'})
    assert one.run()[0][0] is None


# --- XML-RPC -----------------------------------------------------------------

@pytest.fixture
def rpc(make):
    def application(**arguments):
        one = make(**{'policy': Tickets(), **arguments})
        one.config.set_default_csrf_options(require_csrf=True)
        one.config.include('pyramid_retry')
        one.config.add_task_service()
        one.config.add_remote_task('echo', echo)
        one.config.add_remotetask_xmlrpc('/rpc', permission='rpc')
        return one.start()

    return application


def test_xmlrpc(rpc):
    # hosts.md, acceptance 3 for this view.
    one = rpc()
    jobid = one.call('add', 'echo', {'foo': 'bär', 'n': None}, user='mia')
    assert one.call('getStatus', jobid, user='mia') == 'queued'
    one.run()
    assert one.call('getResult', jobid, user='mia') == {
        'foo': 'bär', 'n': None}
    assert one.call('getAvailableTasks', user='mia') == ['echo']
    with one.looking() as service:
        assert service.jobs[jobid].submitter == 'mia'


def test_xmlrpc_of_a_service_with_a_name(make):
    one = make(policy=Tickets())
    one.config.add_task_service()
    one.config.add_task_service('mail')
    one.config.add_remote_task('echo', echo)
    one.config.add_remotetask_xmlrpc('/rpc', permission='rpc', service='mail')
    one.start()
    one.call('add', 'echo', 'to mail', user='mia')
    assert one.run() == []
    assert one.run('mail') == ['to mail']


def test_xmlrpc_lets_nobody_in(rpc):
    # hosts.md, trap 11.
    one = rpc()
    assert one.call('add', 'echo') == 403
    assert one.call('add', 'echo', user='tom') == 403
    assert one.get('/rpc', 'mia').status_code == 404
    assert one.get('/rpc/add?task=echo', 'mia').status_code == 404
    for kind in ('text/plain', 'application/x-www-form-urlencoded',
                 'multipart/form-data', 'text/xmlish', ''):
        assert one.call('add', 'echo', user='mia', content_type=kind) == 404
    assert one.jobs() == []


READING = {'getAvailableTasks': (), 'getStatus': (int,), 'getResult': (int,),
           'getError': (int,)}
WRITING = {'add': ('echo',), 'cancel': (int,)}
ABOUT = {'listMethods': (), 'system.methodHelp': ('add',)}


@pytest.mark.parametrize('user, may', [
    (None, {}), ('tom', {}), ('rita', READING | ABOUT),
    ('jane', WRITING | ABOUT), ('mia', READING | WRITING | ABOUT)])
def test_each_method_takes_its_own_permission(make, user, may):
    class Policy(Tickets):

        def permits(self, request, context, permission):
            return permission in {
                'rita': {VIEW}, 'jane': {ADD}, 'mia': {VIEW, ADD}}.get(
                    self.authenticated_userid(request), ())

    one = make(policy=Policy(('mia', 'tom', 'rita', 'jane')))
    one.config.add_task_service()
    one.config.add_remote_task('echo', echo)
    one.config.add_remotetask_xmlrpc('/rpc')
    one.start()
    jobid = one.call('add', 'echo', user='mia')
    for name, arguments in (READING | WRITING | ABOUT).items():
        answer = one.call(name, *[
            jobid if kind is int else kind for kind in arguments], user=user)
        assert (answer == 403) is (name not in may), (name, answer)
    assert len(one.jobs()) == 1 + ('add' in may)


def test_faults_of_xmlrpc_store_nothing(rpc):
    # hosts.md, trap 7.
    one = rpc()
    for call, said in (
            (('add', 'nothing'), 'Task does not exist'),
            (('getStatus', 4711), '4711'),
            (('getResult', 4711), '4711'),
            (('processNext',), 'processNext'),
            (('add', 'echo', 1, 'key', 'SYSTEM'), 'add takes'),
            (('add',), 'add takes')):
        with pytest.raises(Fault, match=said):
            one.call(*call, user='mia')
    assert one.jobs() == []
    assert one.get('/rpc', 'mia', method='POST', content_type='text/xml',
                   body=b'x' * 1_000_001).status_code == 413


def test_a_fault_undoes_what_was_done(rpc, monkeypatch):
    one = rpc()
    add = TaskService.add

    def add_and_fail(self, *arguments, **options):
        add(self, *arguments, **options)
        raise ValueError('too late')

    monkeypatch.setattr(TaskService, 'add', add_and_fail)
    with pytest.raises(Fault, match='too late'):
        one.call('add', 'echo', user='mia')
    assert one.jobs() == []


def test_xmlrpc_without_a_policy_is_refused(make):
    one = make()
    one.config.add_task_service()
    one.config.add_remotetask_xmlrpc('/rpc', permission='rpc')
    with pytest.raises(PyramidError, match='every caller would be let in'):
        one.config.make_wsgi_app()
    third = make()
    third.config.add_task_service()
    third.config.add_remotetask_xmlrpc('/rpc')
    with pytest.raises(PyramidError, match='every caller would be let in'):
        third.config.make_wsgi_app()
    other = make()
    other.config.add_task_service()
    other.config.add_remote_task('echo', echo)
    other.config.add_remotetask_xmlrpc(
        '/rpc', permission=NO_PERMISSION_REQUIRED)
    other.start()
    assert isinstance(other.call('add', 'echo', 1), int)
