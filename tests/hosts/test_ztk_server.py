"""A ZTK application as our how-to sets it up: jobs, accounts, autostart."""

import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from xmlrpc.client import Fault
from xmlrpc.client import ProtocolError
from xmlrpc.client import loads

import browser_steps
import pytest
import web_tasks
from waiting import answers
from waiting import free_port
from waiting import wait_until
from web_checks import *  # noqa: F403
from web_host import WebHost
from ztk_instance import BOSS
from ztk_instance import HOWTO
from ztk_instance import REFERENCE
from ztk_instance import SECONDS
from ztk_instance import VISITORS
from ztk_instance import basic
from ztk_instance import blocks
from ztk_instance import python
from ztk_instance import running
from ztk_instance import serving
from ztk_instance import with_people

pytestmark = pytest.mark.environment('ztk')

#: A second site, and services by several names.
SITES = '''
from zope.site.folder import Folder
from zope.site.site import LocalSiteManager


def create_sites(event):
    with event.database.transaction() as connection:
        root = connection.root()['Application']
        site = root['north'] = Folder()
        site.setSiteManager(LocalSiteManager(site))
        for place, name in ((root, 'other'), (site, 'tasks'),
                            (site, 'mail')):
            service = place[name] = TaskService()
            if name == 'mail':
                service.family = BTrees.family64
                service.jobs = Blocks(service.family)
                service.jobqueue = JobQueue(service.jobs)
            place.getSiteManager().registerUtility(
                service, ITaskService, name)
'''
SITES = '''import BTrees
from lovely.remotetask.store.blocks import Blocks
from lovely.remotetask.store.queue import JobQueue
''' + SITES


@pytest.fixture(scope='module')
def server(environment, tmp_path_factory):
    """One with a second site; every service is started."""
    def edit(files):
        with_people(files)
        files['shop.py'] += SITES
        files['site.zcml'] = files['site.zcml'].replace(
            '<include package="lovely.remotetask" />',
            '<subscriber for="zope.processlifetime.IDatabaseOpenedWithRoot" '
            'handler="shop.create_sites" />'
            '<include package="lovely.remotetask" />')
        files['zope.conf'] = files['zope.conf'].replace(
            'autostart @tasks', 'autostart *@*')
        files['site.zcml'] = files['site.zcml'].replace(
            '</configure>', web_tasks.ZCML + VISITORS + '</configure>')

    place = tmp_path_factory.mktemp('ztk')
    web_tasks.install(place)
    with serving(environment, place, edit) as made:
        yield made


@pytest.fixture(scope='module')
def web_host(server):
    people = {'nobody': 'nora', 'viewer': 'guest', 'adder': 'adder',
              'manager': 'boss'}
    return WebHost('ztk', server.port, '/tasks/@@dashboard', {
        'anonymous': {}, **{who: {'Authorization': basic(user)}
                            for who, user in people.items()}},
        tasks=('greet',))


def test_the_howto(environment, tmp_path):
    with serving(environment, tmp_path) as server:
        done = subprocess.run(
            [environment.python, 'client.py'], cwd=tmp_path, text=True,
            capture_output=True, timeout=SECONDS)
        assert done.stderr == ''
        assert done.stdout == blocks()['what it prints']
        assert server.said('service tasks on site root started')
    assert not server.said('Traceback'), server.log.read_text()


def test_a_job_over_xml_rpc(server):
    # hosts.md section 4: non-ASCII and None travel both ways.
    value = {'foo': 'bär', 'none': None, 'list': [1, 2.5, b'\0']}
    jobid = server.proxy().add('echo', value)
    assert server.wait(jobid) == 'completed'
    assert server.proxy().getResult(jobid) == value
    assert server.proxy().getError(jobid) == 'None'
    assert server.proxy().cancel(jobid) is True


def test_introspection(server):
    # hosts.md section 4: the six names.
    tasks = server.proxy()
    assert tasks.listMethods() == [
        'add', 'cancel', 'getAvailableTasks', 'getError', 'getResult',
        'getStatus']
    assert tasks.methodSignature('add') == [['int', 'str', 'dict']]
    assert 'job' in tasks.methodHelp('add')


def test_ids_of_64_bits(server):
    # hosts.md trap 12: an id over 31 bits is told, and its job is there.
    jobid = server.proxy(path='north/mail').add('echo', 1)
    assert jobid > 2 ** 31
    # This client reads <i8>, and does not write it.
    body = (f'<methodCall><methodName>getStatus</methodName><params><param>'
            f'<value><i8>{jobid}</i8></value></param></params></methodCall>')
    request = urllib.request.Request(
        f'http://{server.address}/north/mail', body.encode(), {
            'Authorization': BOSS, 'Content-Type': 'text/xml'})

    def status():
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return loads(answer.read())[0]

    wait_until(lambda: status() == ('completed',))


@pytest.mark.parametrize('call, text', [
    (('add', 'sing', {}), 'ValueError: Task does not exist'),
    (('getStatus', 1), 'JobNotFound: no job has the id 1: it was never added '
                       'to this service, or it has been cleaned'),
    (('add', 'echo', 1, 2), 'UsageError: key is 2'),
])
def test_mistakes_are_faults_as_in_052(server, call, text):
    name, *arguments = call
    with pytest.raises(Fault) as caught:
        getattr(server.proxy(), name)(*arguments)
    assert caught.value.faultCode == -1
    assert caught.value.faultString.startswith(
        f'Unexpected Zope exception: {text}'[:60])


@pytest.mark.parametrize('user, name', [
    (None, 'add'), (None, 'cancel'), (None, 'getAvailableTasks'),
    (None, 'getStatus'), (None, 'listMethods'),
    ('guest', 'add'), ('guest', 'cancel'), ('nobody', 'add')])
def test_who_may_not_is_asked_to_log_in(server, user, name):
    proxy = server.proxy(user)
    arguments = {'add': ('echo', 1), 'cancel': (1,), 'getStatus': (1,)}
    with pytest.raises(ProtocolError) as caught:
        getattr(proxy, name)(*arguments.get(name, ()))
    assert caught.value.errcode == 401


@pytest.mark.parametrize('name', [
    'processNext', 'process', 'clean', 'jobs', '_queue', 'jobqueue',
    'startProcessing', 'host', 'addMany'])
def test_nothing_else_is_published(server, name):
    with pytest.raises((Fault, ProtocolError)):
        getattr(server.proxy('boss'), name)()


@pytest.mark.parametrize('name', [
    'add?task=echo', 'add?task=echo&input=1', '@@add?task=echo',
    'processNext', 'jobs', '_queue', 'cancel?jobid=1'])
@pytest.mark.parametrize('data', [None, b'task=echo'])
def test_it_is_not_for_browsers(server, name, data):
    # hosts.md trap 11.
    request = urllib.request.Request(
        f'http://{server.address}/tasks/{name}', data, {
            'Authorization': BOSS})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=SECONDS)
    assert caught.value.code in (404, 401)


def test_of_all_that_was_refused_nothing_is_stored(environment, tmp_path):
    def edit(files):
        with_people(files)
        files['zope.conf'] = files['zope.conf'].replace(
            'autostart @tasks', '')

    with serving(environment, tmp_path, edit) as server:
        for arguments in (('sing', 1), ('echo', 1, 2), (), (1, 2, 3, 4)):
            with pytest.raises(Fault):
                server.proxy().add(*arguments)
        for user in (None, 'guest'):
            with pytest.raises(ProtocolError):
                server.proxy(user).add('echo', 1)
    assert python(environment, tmp_path, """
import ZODB

root = ZODB.DB('Data.fs').open().root()
print(len(root['Application']['tasks'].jobs))
""") == '0\n'


def test_as_open_as_052(environment, tmp_path):
    def edit(files):
        with_people(files)
        files['site.zcml'] = files['site.zcml'].replace(
            '</configure>', blocks(REFERENCE)['overrides.zcml']
            + '</configure>')

    with serving(environment, tmp_path, edit) as server:
        jobid = server.proxy('guest').add('greet', 'you')
        server.wait(jobid, 'guest')
        assert server.proxy('guest').getResult(jobid) == (
            'Hello you, says Guest')
    done = python(environment, tmp_path, """
from zope.app.appsetup import appsetup
from zope.security.checker import CheckerPublic, getCheckerForInstancesOf
from lovely.remotetask.interfaces import ICronJob, IJob, ITaskService
from lovely.remotetask.job import CronJob, Job
from lovely.remotetask.service import TaskService

appsetup.config('site.zcml')
for class_, schema in ((TaskService, ITaskService), (Job, IJob),
                       (CronJob, ICronJob)):
    checker = getCheckerForInstancesOf(class_)
    assert all(checker.get_permissions[name] is CheckerPublic
               for name in schema), checker.get_permissions
    print(class_.__name__, len(checker.set_permissions),
          {*checker.set_permissions.values()} <= {CheckerPublic})
""")
    names = [line.split()[0::2] for line in done.splitlines()]
    assert names == [['TaskService', 'True'], ['Job', 'True'],
                     ['CronJob', 'True']], done
    assert all(int(line.split()[1]) for line in done.splitlines()[1:])


@pytest.mark.parametrize('beside, host', [
    ('', 'ZTKHost'), ('Products/Five', 'PlainHost')])
def test_it_is_for_the_ztk_alone(environment, tmp_path, beside, host):
    # hosts.md section 0: zope.app may lie beside a Zope by mistake, where
    # publisher and security are others.
    if beside:
        (tmp_path / beside).mkdir(parents=True)
        (tmp_path / beside / '__init__.py').touch()
    assert python(environment, tmp_path, """
from zope.configuration import xmlconfig
import lovely.remotetask
from lovely.remotetask.host import current

xmlconfig.file('configure.zcml', lovely.remotetask)
print(type(current()).__name__)
""") == f'{host}\n'


def test_a_browser_is_asked_to_log_in(web_host, browser):
    """By a challenge, which a browser answers; then pages and forms work."""
    answer = web_host.get(who='anonymous')
    assert answer.status == 401
    assert answer.headers['WWW-Authenticate'].startswith('basic ')
    assert 'data-remotetask' not in answer.text
    # Not by the script of a page that is open: no dialog comes up.
    answer = web_host.get(who='anonymous', X_Remotetask_Live='1')
    assert (answer.status, answer.headers['WWW-Authenticate']) == (403, None)
    with browser_steps.window(
            browser, web_host, 'anonymous', silent=False, http_credentials={
                'username': 'boss', 'password': 'secret'}) as page:
        page.goto(web_host.url())
        assert 'You are Boss.' in page.locator('footer').inner_text()
        page.get_by_role('button', name='Pause').click()
        page.wait_for_url('**/?done=paused')
        page.get_by_role('button', name='Resume').click()
        page.wait_for_url('**/?done=resumed')


def test_autostart_of_everything(server):
    assert sorted(server.said(r'service (\w+) on site (\w+) started')) == [
        ('mail', 'north'), ('other', 'root'), ('tasks', 'north'),
        ('tasks', 'root')]


@pytest.mark.parametrize('directive, started', [
    ('@*', [('other', 'root'), ('tasks', 'root')]),
    ('*@tasks', [('tasks', 'north'), ('tasks', 'root')]),
    ('north@mail, @other', [('mail', 'north'), ('other', 'root')]),
    ('north@*', [('mail', 'north'), ('tasks', 'north')])])
def test_autostart_of_some(environment, tmp_path, directive, started):
    def edit(files):
        files['shop.py'] += SITES
        files['site.zcml'] = files['site.zcml'].replace(
            'shop.create_service', 'shop.create_all')
        files['shop.py'] += (
            '\ndef create_all(event):\n'
            '    create_service(event)\n    create_sites(event)\n')
        files['zope.conf'] = files['zope.conf'].replace(
            'autostart @tasks', f'autostart {directive}')

    with serving(environment, tmp_path, edit) as server:
        assert sorted(server.said(
            r'service (\w+) on site (\w+) started')) == started


def test_autostart_of_what_is_not_there(environment, tmp_path):
    def edit(files):
        files['zope.conf'] = files['zope.conf'].replace(
            'autostart @tasks', 'autostart @gone, south@tasks, @tasks')

    with serving(environment, tmp_path, edit) as server:
        assert server.said('ERROR .*service gone on site root not found')
        assert server.said('ERROR .*site south not found')
        jobid = server.proxy().add('echo', 1)
        assert server.wait(jobid) == 'completed'


def test_autostart_is_switched_off_for_scripts(environment, tmp_path):
    # hosts.md trap 9.
    with serving(environment, tmp_path):
        pass
    with running(environment, tmp_path,
                 LOVELY_REMOTETASK_AUTOSTART='0') as server:
        assert not server.said('started')


def test_a_worker_beside_it_runs_jobs_as_their_submitters(
        environment, tmp_path):
    zeo = free_port()

    def edit(files):
        files['zope.conf'] = re.sub(
            r'<filestorage>.*</filestorage>',
            f'<zeoclient>\nserver 127.0.0.1:{zeo}\n</zeoclient>',
            files['zope.conf'], flags=re.S).replace('autostart @tasks', '')
        del files['serve.py']

    with process(environment.script('runzeo'), '-a', f'127.0.0.1:{zeo}',
                 '-f', tmp_path / 'Zeo.fs', cwd=tmp_path):
        wait_until(lambda: answers(zeo))
        files = blocks()
        serve = files['serve.py']

        def with_zeo(files):
            edit(files)
            files['serve.py'] = serve

        with serving(environment, tmp_path, with_zeo) as server:
            ids = [server.proxy().add('greet', str(number))
                   for number in range(5)]
            assert server.proxy().getStatus(ids[0]) == 'queued'
            command = re.search(
                r'\$ PYTHONPATH=\. (remotetask worker .*\n.*)\n',
                HOWTO.read_text(encoding='utf-8')).group(1)
            name, *rest = shlex.split(command.replace('\\\n', '').replace(
                ':8100', f':{zeo}'))
            with process(environment.script(name), *rest, cwd=tmp_path):
                for number, jobid in enumerate(ids):
                    server.wait(jobid)
                    assert server.proxy().getResult(jobid) == (
                        f'Hello {number}, says Jane'), (
                            server.proxy().getError(jobid))


@contextmanager
def process(*command, cwd):
    started = subprocess.Popen(
        [*map(str, command)], cwd=cwd, env={**os.environ, 'PYTHONPATH': '.'})
    try:
        yield started
    finally:
        started.terminate()
        assert started.wait(SECONDS) in (0, -15)


def test_clients_that_add_at_once_get_a_job_for_each_call(server):
    code = ('import sys; from xmlrpc.client import ServerProxy\n'
            'p = ServerProxy(sys.argv[1])\n'
            'print(*[p.add("echo", n) for n in range(15)])')
    url = f'http://jane:secret@{server.address}/tasks'
    clients = [subprocess.Popen([sys.executable, '-c', code, url],
                                stdout=subprocess.PIPE, text=True)
               for _ in range(4)]
    ids = [int(word) for client in clients
           for word in client.communicate(timeout=SECONDS)[0].split()]
    assert len(set(ids)) == 60
    for jobid in ids:
        assert server.wait(jobid) == 'completed'
