"""Functions that ``@task`` has decorated, in applications of Pyramid."""

import importlib
import sys

import pytest
import transaction
import venusian
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationConflictError
from pyramid.request import Request
from pyramid.response import Response
from pyramid_zodbconn import get_connection
from zope.component import getGlobalSiteManager

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.errors import ServiceNotFound
from lovely.remotetask.host.paths import ServicePath
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import task

TASKS = '''
import functools
from lovely.remotetask.task import task


@task
def resize(source, width=100):
    return [source, width]


again = resize


@functools.wraps(resize)
def logged(*args, **kwargs):
    return resize(*args, **kwargs)


@task('slow', timeout=60)
@task('quick', timeout=1)
def work(input):
    return input


@task()
def tidy_up():
    return 'tidy'


def own(name):
    """A decorator of the application's own."""
    return lambda func: task('own ' + name)(func)
'''

MORE = '''
from shop.tasks import own
from shop.tasks import resize


@own('more')
def more(input):
    return input
'''

NAMES = ['own more', 'quick', 'resize', 'slow', 'tidy_up']


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package with tasks in two modules."""
    package = tmp_path / 'shop'
    package.mkdir()
    for name, text in (('__init__', ''), ('tasks', TASKS), ('more', MORE)):
        (package / f'{name}.py').write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module('shop')
    for name in [name for name in sys.modules
                 if name.partition('.')[0] == 'shop']:
        del sys.modules[name]


@pytest.fixture
def config():
    config = Configurator(package='lovely.remotetask',
                          settings={'zodbconn.uri': 'memory://'})
    config.include('pyramid_zodbconn')
    config.include('lovely.remotetask.pyramid')
    yield config
    transaction.abort()


def names(registry):
    return sorted(name for name, _ in registry.getUtilitiesFor(ITask))


def view_of(config, function):
    """The application with this view, and what GET / answers."""
    config.add_route('view', '/')
    config.add_view(lambda request: Response(str(function(request))),
                    route_name='view')
    app = config.make_wsgi_app()
    return lambda: Request.blank('/').get_response(app).text


def test_scan_finds_them(config, shop):
    config.scan(shop)
    config.commit()
    assert names(config.registry) == NAMES
    assert config.registry.getUtility(ITask, 'slow').timeout == 60
    assert config.registry.getUtility(ITask, 'quick').timeout == 1
    # Not where other applications of this process would find them.
    assert names(getGlobalSiteManager()) == []


def test_a_scan_of_one_module(config, shop):
    importlib.import_module('shop.more')
    config.scan('shop.more')
    config.commit()
    assert names(config.registry) == ['own more']


def test_two_tasks_of_one_name_conflict(config, shop):
    config.scan(shop)
    config.add_remote_task('resize', lambda input: input)
    with pytest.raises(ConfigurationConflictError):
        config.commit()


def test_two_applications_scan_the_same_module(config, shop):
    other = Configurator(package='lovely.remotetask', settings={})
    other.include('lovely.remotetask.pyramid')
    for one in (config, other):
        one.scan(shop)
        one.commit()
        assert names(one.registry) == NAMES


def test_without_the_include_it_says_what_to_do(shop):
    config = Configurator(package='lovely.remotetask')
    with pytest.raises(ConfigurationError,
                       match=r"include\('lovely.remotetask.pyramid'\)"):
        config.scan(shop)


def test_another_scanner(shop):
    venusian.Scanner().scan(shop)
    try:
        assert names(getGlobalSiteManager()) == NAMES
    finally:
        for name in NAMES:
            getGlobalSiteManager().unregisterUtility(
                provided=ITask, name=name)


# --- delay -------------------------------------------------------------------

def added(config, path):
    database = config.registry.getUtility(IHost).database()
    with database.transaction() as connection:
        service = connection.root()[path]
        return [(job.task, job.input) for job in service.jobs.values()]


def test_delay_in_a_view(config, shop):
    config.scan(shop)
    config.add_task_service()
    config.add_task_service('mail')
    resize = importlib.import_module('shop.tasks').resize
    get = view_of(config, lambda request: resize.delay('a', width=5))
    assert get().isdigit()
    assert added(config, 'tasks') == [('resize', {'source': 'a', 'width': 5})]
    assert added(config, 'mail') == []


def test_the_only_service_may_have_a_name(config, shop):
    config.scan(shop)
    config.add_task_service('mail')
    resize = importlib.import_module('shop.tasks').resize
    view_of(config, lambda request: resize.delay('a'))()
    assert added(config, 'mail') == [('resize', {'source': 'a'})]


def test_of_several_services_the_application_chooses(config, shop):
    config.scan(shop)
    config.add_task_service('mail')
    config.add_task_service('images')
    resize = importlib.import_module('shop.tasks').resize
    get = view_of(config, lambda request: (
        refused(resize), request.task_service('mail').add(
            resize, {'source': 'a'})))
    assert "'images', 'mail'" in get()
    assert added(config, 'mail') == [('resize', {'source': 'a'})]


def refused(function):
    with pytest.raises(ServiceNotFound) as caught:
        function.delay('a')
    return str(caught.value)


def test_no_service_is_declared(config):
    @task
    def resize(source):
        return source

    get = view_of(config, lambda request: refused(resize))
    assert 'config.add_task_service()' in get()


def test_without_a_request(config):
    @task
    def resize(source):
        return source

    config.add_task_service()
    config.commit()
    # The registry is the current one, as in a script; no request is.
    config.begin(request=None)
    try:
        assert 'there is no request here' in refused(resize)
    finally:
        config.end()


def test_it_is_the_service_of_the_request(config, shop):
    config.scan(shop)
    config.add_task_service()
    resize = importlib.import_module('shop.tasks').resize
    get = view_of(config, lambda request: (
        resize.delay('a') in request.remotetask.jobs,
        request.remotetask._p_jar is get_connection(request)))
    assert get() == '(True, True)'


# --- schedules ---------------------------------------------------------------

def test_schedules_of_the_code(config):
    def report(days=1):
        return days

    config.add_remote_task('report', report, cron='30 2 * * *',
                           timezone='Europe/Vienna')
    config.add_remotetask_schedule('weekly', 'report', every=7 * 86_400,
                                   input={'days': 7})
    config.add_task_service()
    app = config.make_wsgi_app()
    host = app.registry.getUtility(IHost)
    database = app.registry._zodb_databases['']
    worker = SimpleProcessor(
        database, ServicePath(('tasks',), host=host)).worker
    worker.enroll(LOOP, 1)
    worker.declared.settle()
    with database.transaction() as connection:
        service = host.find_service(connection, ('tasks',))
        found = {job.key: job for job in service.jobs.values()}
        assert sorted(found) == ['code:report', 'weekly']
        assert found['code:report'].timezone == 'Europe/Vienna'
        assert found['weekly'].input == {'days': 7}
        # They run on the application's own account.
        assert [job.submitter for job in found.values()] == [None, None]
    worker.leave()


def test_two_schedules_of_one_key_conflict(config):
    for seconds in (60, 61):
        config.add_remotetask_schedule('twice', 'report', every=seconds)
    with pytest.raises(ConfigurationConflictError):
        config.commit()


@pytest.mark.parametrize('arguments, options', [
    (('', 'report'), {'every': 60}), ((3, 'report'), {'every': 60}),
    (('k' * 201, 'report'), {'every': 60}),
    (('a', 'report'), {}), (('a', 'report'), {'cron': '99 * * * *'}),
    (('a', 'report'), {'every': 60, 'input': object()})])
def test_one_that_cannot_be(config, arguments, options):
    with pytest.raises(Exception, match='schedule'):
        config.add_remotetask_schedule(*arguments, **options)


def test_a_name_that_is_too_long_for_its_schedule(config):
    with pytest.raises(Exception, match='at most 195 characters'):
        config.add_remote_task('x' * 196, lambda: None, every=60)
    config.add_remote_task('x' * 195, lambda: None, every=60)
