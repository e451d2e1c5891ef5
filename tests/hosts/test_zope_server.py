"""A real Zope: made by mkwsgiinstance, served on a free port."""

import re
import signal
import time
import xmlrpc.client
from base64 import b64encode

import browser_steps
import pytest
import zope_instance as instances
from waiting import wait_until
from web_checks import *  # noqa: F403
from web_host import WebHost
from web_host import filled
from web_host import main

pytestmark = pytest.mark.environment('zope')

PRODUCT = '''
enable-xmlrpc on
<product-config lovely.remotetask>
  autostart site@tasks, site@nothing
  base-url /site https://www.example.org/pub
</product-config>
'''

PEOPLE = '''
import transaction
app.site.manage_addUserFolder()
app.site._addRole('Worker')
app.site._addRole('Reader')
app.site.acl_users.userFolderAddUser('jane', 'pw', ['Worker'], [])
app.site.acl_users.userFolderAddUser('rita', 'pw', ['Reader'], [])
app.site.acl_users.userFolderAddUser('nora', 'pw', [], [])
app.site._addRole('Boss')
app.site.acl_users.userFolderAddUser('mona', 'pw', ['Boss'], [])
app.site.manage_permission('Remote tasks: Manage', ['Boss'], 1)
import ourtasks
app.site._setObject('own', ourtasks.Own('own'))
app.site.manage_permission('Remote tasks: Add jobs', ['Worker'], 1)
app.site.manage_permission('Remote tasks: View', ['Reader'], 1)
transaction.commit()
'''

THREADS = '''
import threading
print([thread.name for thread in threading.enumerate()])
'''


@pytest.fixture(scope='module')
def fresh(environment, tmp_path_factory):
    """An instance with only the slug, in which a site was made by hand."""
    instance = instances.Instance(environment, tmp_path_factory.mktemp('zope'))
    instance.start()
    yield instance
    instance.stop()


@pytest.fixture(scope='module')
def steps(fresh):
    """What the ZMI answered when somebody added a service."""
    answers = {'menu': fresh.get('/manage_main')}
    fresh.get('/manage_addFolder', data={'id': 'site'})
    form = '/site/+/addRemoteTaskService.html'
    answers['anonymous'] = fresh.get(form, user=None)
    answers['form'] = fresh.get(form)
    answers['add'] = fresh.get(form, data={'id': 'tasks', 'register': '1'})
    answers['again'] = fresh.get(form, data={'id': 'tasks'})
    answers['manage'] = fresh.get('/site/manage_main')
    answers['xmlrpc'] = fresh.get(
        '/site/tasks', body=xmlrpc.client.dumps((), 'getAvailableTasks'),
        **{'Content-Type': 'text/xml'})
    answers['log'] = fresh.told()
    return answers


@pytest.fixture(scope='module')
def server(fresh, steps):
    """The instance with its services, users and tasks, restarted."""
    fresh.stop()
    fresh.console(PEOPLE, LOVELY_REMOTETASK_AUTOSTART='0')
    fresh.with_tasks()
    fresh.extend(PRODUCT)
    fresh.start()
    return fresh


@pytest.fixture(scope='module')
def web_host(server):
    """The pages of the service that the ZMI has added."""
    people = {'nobody': 'nora', 'viewer': 'rita', 'adder': 'jane',
              'manager': 'admin'}
    return WebHost(
        'zope', server.port, '/site/tasks/dashboard',
        {'anonymous': {}, **{who: {'Authorization': 'Basic ' + b64encode(
            f'{user}:pw'.encode()).decode()} for who, user in people.items()}},
        tasks=('big', 'count', 'hold', 'look', 'note', 'secret'),
        links={'Back to the folder': '/site/manage_main'})


# --- before anything is configured -------------------------------------------

def test_a_fresh_instance_with_the_slug_is_quiet(steps):
    """hosts.md, Zope acceptance 1, first half."""
    ours = [line for line in steps['log'].splitlines()
            if 'lovely.remotetask' in line and 'Fault' not in line]
    assert not [line for line in ours if ' INFO ' not in line], ours


def test_a_service_is_added_in_the_zmi(steps):
    """hosts.md, Zope acceptance 2 without the page of jobs, and trap 6."""
    assert 'Remote Task Service' in steps['menu'][2]
    assert steps['anonymous'][0] == 401
    status, headers, text = steps['form']
    assert status == 200 and headers.get_content_type() == 'text/html'
    assert 'name="id"' in text
    assert steps['add'][0] == 302
    assert steps['again'][0] == 400
    assert 'fa-tasks' in steps['manage'][2]


def test_xmlrpc_that_is_off_is_told_of(steps, environment):
    """hosts.md, Zope acceptance 8 and trap 4."""
    version = environment.pip('show', 'zope').stdout
    if re.search(r'^Version: [56]\.', version, re.M).group() \
            == 'Version: 6.':
        assert steps['xmlrpc'][0] == 400
        assert 'enable-xmlrpc on' in steps['log']
        assert steps['manage'][0] == 200
    else:
        assert steps['xmlrpc'][0] == 200
        assert 'enable-xmlrpc' not in steps['log']


# --- XML-RPC -----------------------------------------------------------------

def test_xmlrpc_by_the_url_of_the_service(server):
    """hosts.md, Zope acceptance 3; traps 3 and 8 (autostart in Zope)."""
    proxy = server.proxy()
    given = {'foo': 'bär', 'none': None, 'list': [1, 2.5, True],
             'bytes': b'\x00\xff'}
    jobid = proxy.add('echo', given)
    assert isinstance(jobid, int)
    assert server.status(jobid, 'completed')
    result = proxy.getResult(jobid)
    assert result.pop('bytes').data == given.pop('bytes')
    assert result == given
    assert proxy.getError(jobid) == 'None'
    assert proxy.getAvailableTasks() == [
        'big', 'bundle', 'count', 'echo', 'fail', 'hold', 'look', 'note',
        'plan', 'tally', 'welcome']
    assert proxy.cancel(jobid) is True
    assert 'add' in proxy.listMethods()
    assert proxy.methodSignature('add') == [['int', 'str', 'dict']]
    assert 'job' in proxy.methodHelp('add')


@pytest.mark.parametrize('path', ['/site/tasks/', '/site/tasks/@@xmlrpc'])
def test_xmlrpc_by_other_urls(server, path):
    """hosts.md trap 10."""
    assert isinstance(server.proxy(path).add('echo'), int)


def test_large_numbers_travel(server):
    """hosts.md trap 12."""
    jobid = server.proxy().add('big')
    server.status(jobid, 'completed')
    assert server.proxy().getResult(jobid) == 2 ** 40


@pytest.mark.parametrize('call, named', [
    (lambda proxy: proxy.add('nothing'), 'Task does not exist'),
    (lambda proxy: proxy.add('secret'), 'Task does not exist'),
    (lambda proxy: proxy.getStatus(123456), '123456'),
    (lambda proxy: proxy.getResult('x'), "'x'"),
    (lambda proxy: proxy.add(), 'argument'),
    (lambda proxy: proxy.add('echo', None, 'key', 'more'), 'argument'),
])
def test_mistakes_are_faults(server, call, named):
    """hosts.md, Zope acceptance 5 and trap 7."""
    before = job_count(server)
    with pytest.raises(xmlrpc.client.Fault) as caught:
        call(server.proxy())
    assert named in caught.value.faultString
    assert job_count(server) == before


def job_count(server):
    """How many jobs there are, counted where nobody can do it by URL."""
    status, _, text = server.get('/site/count_jobs')
    assert status == 200, text
    return int(text)


#: The methods by the permission that they take, with their arguments.
READING = {'getAvailableTasks': (), 'getStatus': (int,), 'getResult': (int,),
           'getError': (int,), 'listMethods': (), 'methodHelp': ('add',),
           'methodSignature': ('add',)}
WRITING = {'add': ('echo', {}), 'cancel': (int,)}


@pytest.mark.parametrize('user, may', [
    (None, {}), ('nora:pw', {}), ('rita:pw', READING), ('jane:pw', WRITING),
    ('admin:pw', READING | WRITING)])
@pytest.mark.parametrize('path', ['/site/tasks', '/site/tasks/@@xmlrpc'])
def test_who_may_do_what(server, path, user, may):
    """hosts.md trap 2: each verb has its own permission; by default
    managers have it, and a visitor reads no status, result or error."""
    jobid = server.proxy().add('echo', {'secret': 'result'})
    assert server.status(jobid, 'completed')
    proxy, before = server.proxy(path, user), job_count(server)
    for name, arguments in (READING | WRITING).items():
        call = getattr(proxy, name)
        arguments = [jobid if one is int else one for one in arguments]
        if name in may:
            call(*arguments)
        else:
            with pytest.raises(xmlrpc.client.ProtocolError) as caught:
                call(*arguments)
            assert caught.value.errcode == 401, name
    assert job_count(server) == before + ('add' in may)


@pytest.mark.parametrize('user', [None, 'rita:pw'])
@pytest.mark.parametrize('path', ['/site/tasks', '/site/tasks/@@xmlrpc'])
def test_nobody_else_adds(server, user, path):
    """hosts.md, Zope acceptance 4."""
    before = job_count(server)
    with pytest.raises(xmlrpc.client.ProtocolError) as caught:
        server.proxy(path, user).add('echo', {})
    assert caught.value.errcode in (401, 403, 404)
    assert job_count(server) == before


NAMES = ('add', '@@add', '@@xmlrpc/add', 'xmlrpc/add', 'cancel', 'processNext',
         'process', 'startProcessing', 'stopProcessing', 'jobs', 'jobs/1',
         '_queue', 'jobqueue', 'host', 'clock', 'clean', 'pause', 'addMany')


@pytest.mark.parametrize('user', [None, 'jane:pw', 'admin:pw'])
def test_nothing_of_it_is_published(server, user):
    """hosts.md, Zope acceptance 4, traps 2 and 11: GET, POST, XML-RPC."""
    before = job_count(server)
    for name in NAMES:
        path = f'/site/tasks/{name}'
        for answer in (server.get(f'{path}?task=echo', user),
                       server.get(path, user, {'task': 'echo'}),
                       server.get(f'{path}/echo', user)):
            assert answer[0] in (401, 403, 404), (path, answer)
        if name.rpartition('/')[2] not in ('add', 'cancel'):
            with pytest.raises(
                    (xmlrpc.client.ProtocolError, xmlrpc.client.Fault)):
                getattr(server.proxy(user=user), name)()
    assert job_count(server) == before


@pytest.mark.parametrize('user', [None, 'jane:pw', 'admin:pw'])
def test_every_attribute_is_denied_by_url(server, user):
    """hosts.md trap 2: the whole class is walked over."""
    names = server.get('/site/service_names')[2].split()
    assert {'add', 'jobs', 'stats', 'getStatus', 'host'} <= set(names)
    for name in names:
        status, _, text = server.get(f'/site/tasks/{name}', user)
        assert status in (401, 403, 404), (name, status, text)


@pytest.mark.parametrize('user', [None, 'jane:pw', 'admin:pw'])
def test_methods_of_subclasses_are_denied_too(server, user):
    """hosts.md trap 2: deny by default, not by a list of our own names."""
    for path in ('/site/own/purge', '/site/own/jobs', '/site/own/add'):
        assert server.get(path, user)[0] in (401, 403, 404)
    with pytest.raises((xmlrpc.client.ProtocolError, xmlrpc.client.Fault)):
        server.proxy('/site/own', user).purge()
    # What it publishes like any other.
    if user == 'admin:pw':
        assert server.proxy('/site/own', user).listMethods()


def test_the_bare_url(server):
    """No page; and no error of the server."""
    assert server.get('/site/tasks')[0] < 500


# --- pages -------------------------------------------------------------------

def test_a_click_in_the_zmi_leads_to_the_jobs(server, web_host):
    """hosts.md, Zope acceptance 2: the first tab."""
    status, headers, _ = server.get('/site/tasks/manage_workspace')
    assert (status, headers['Location'].removeprefix(web_host.origin)) == (
        302, '/site/tasks/dashboard/')
    text = server.get('/site/tasks/manage_access')[2]
    assert re.search(r'href="[^"]*dashboard/"[^>]*>\s*Jobs', text), text
    # The tab itself is where permissions are given to roles.
    for name in ('View', 'Add jobs', 'Manage'):
        assert f'Remote tasks: {name}' in text


def test_the_address_of_052(server, web_host):
    status, headers, _ = server.get('/site/tasks/jobs.html')
    assert (status, headers['Location'].removeprefix(web_host.origin)) == (
        303, '/site/tasks/dashboard/jobs')
    assert server.get('/site/tasks/jobs.html', user='nora:pw')[0] == 401


def test_a_visitor_is_asked_to_log_in(web_host):
    """By a challenge, and it learns no id, name or count."""
    for path in ('', 'jobs', 'jobs/1'):
        answer = web_host.get(path, who='anonymous')
        assert answer.status == 401
        assert answer.headers['WWW-Authenticate'].startswith('basic ')
        assert 'data-remotetask' not in answer.text
    # Not by the script of a page that is open: no dialog comes up.
    answer = web_host.get(who='anonymous', X_Remotetask_Live='1')
    assert (answer.status, answer.headers['WWW-Authenticate']) == (403, None)


def test_who_may_manage_and_not_look(server, web_host):
    """The permissions are three, and none of them has another in it."""
    mona = {'Authorization': 'Basic ' + b64encode(b'mona:pw').decode()}
    web_host.people['boss'] = mona
    try:
        assert web_host.get('', 'boss').status == 403
        assert 'echo' not in web_host.get('jobs/add', 'boss').text
    finally:
        del web_host.people['boss']


def test_pages_behind_a_proxy(server, web_host):
    """Links, and the origin of forms, are those that the browser knows."""
    outside = '/VirtualHostBase/https/www.example.org:443'
    place = f'{outside}/site/VirtualHostRoot/_vh_admin/tasks/dashboard'
    with filled(web_host) as made:
        text = web_host.ask('GET', f'{place}/jobs', raw=True).text
        assert f'href="/admin/tasks/dashboard/jobs/{made["done"]}"' in text
        assert '/site/' not in main(text)
    name, value = web_host.token()
    for origin, status in (('https://www.example.org', 303),
                           (web_host.origin, 403)):
        answer = web_host.ask('POST', f'{place}/pause', {name: value},
                              raw=True, Origin=origin)
        assert answer.status == status, answer
    assert answer.headers['Location'] is None
    answer = web_host.ask('POST', f'{place}/resume', {name: value}, raw=True,
                          Origin='https://www.example.org')
    assert answer.headers['Location'].removeprefix(
        'https://www.example.org') == '/admin/tasks/dashboard/?done=resumed'


def test_the_pages_in_the_frame_of_the_zmi(web_host, browser):
    with browser_steps.window(browser, web_host, silent=False) as page:
        page.goto(f'{web_host.origin}/site/manage')
        frame = page.frame_locator('frame[name=manage_main]')
        frame.get_by_role('link', name='tasks').first.click()
        frame.locator('[data-remotetask]').wait_for()
        frame.get_by_role('link', name='Jobs', exact=True).click()
        frame.locator('form.list').wait_for()
        frame.get_by_role('link', name='Back to the folder').click()
        frame.locator('form[name=objectItems]').wait_for()


# --- tasks -------------------------------------------------------------------

def test_a_task_sees_site_request_and_user(server):
    """hosts.md, Zope acceptance 6: what a task sees."""
    for user in ('jane', 'admin'):
        jobid = server.proxy(user=f'{user}:pw').add('look')
        server.status(jobid, 'completed', 'error')
        assert server.proxy().getResult(jobid) == {
            'site': 'site', 'request': True, 'user': user,
            'url': 'https://www.example.org/pub/tasks'}


def test_an_unknown_service_is_told_of_and_the_site_starts(server):
    """The issue's bad input: autostart of a service that does not exist."""
    assert re.search(r'ERROR .*service nothing on site site not found',
                     server.told())
    assert 'service tasks on site site started' in server.told()


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_server_gives_jobs_back(server, number):
    """The orderly end; the job is not charged for it."""
    held = server.notes.exists() and server.notes.read_text().count('held')
    jobid = server.proxy().add('hold')
    server.status(jobid, 'processing')
    wait_until(
        lambda: server.notes.exists()
        and server.notes.read_text().count('held') > held, server.told)
    began = time.monotonic()
    code, told = server.stop(number)
    assert time.monotonic() - began < 20, told
    said = server.console(f'''
        import transaction
        job = app.site.tasks.jobs[{jobid}]
        print(job.status, job.interruptions)
        app.site.tasks.cancel({jobid})
        transaction.commit()
        ''', LOVELY_REMOTETASK_AUTOSTART='0')
    assert said.split() == ['queued', '0'], (code, told)
    assert code == 0, told
    # The tests of the pages have jobs that fail.
    assert told.count('Traceback') == told.count(
        'Caught a generic exception'), told
    server.start()
    assert server.proxy().getStatus(jobid) == 'cancelled'


def test_scripts_become_no_workers(server):
    """hosts.md, Zope acceptance 6 and trap 9."""
    server.stop()
    try:
        off = server.console(THREADS, LOVELY_REMOTETASK_AUTOSTART='0')
        on = server.console(THREADS)
    finally:
        server.start()
    assert 'remotetasks' not in off
    # Otherwise the first one proves nothing.
    assert 'remotetasks.site.tasks' in on


def test_a_site_is_renamed_while_the_server_runs(server):
    """By the ZMI; the thread of the running server goes on there, and a
    process that is started later finds the service there, too."""
    def rename(old, new):
        assert server.get('/manage_renameObject', data={
            'id': old, 'new_id': new})[0] == 200

    rename('site', 'moved')
    try:
        proxy = server.proxy('/moved/tasks')
        jobid = proxy.add('echo', 'x')
        wait_until(lambda: proxy.getStatus(jobid) == 'completed', server.told)
        server.stop()
        said = server.console("""
            from zope.component import getUtility
            from zope.component.hooks import setSite
            from lovely.remotetask.interfaces import ITaskService
            setSite(app.moved)
            print(getUtility(ITaskService, 'tasks').absolute_url_path())
            """, LOVELY_REMOTETASK_AUTOSTART='0')
        assert said.split() == ['/moved/tasks']
        server.start()
    finally:
        rename('moved', 'site')
