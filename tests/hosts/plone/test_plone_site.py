"""A real Plone: the add-on, its doors, and a worker beside the server."""

import dataclasses
import json
import re
import signal
import subprocess
import textwrap
import xmlrpc.client
from base64 import b64encode
from pathlib import Path

import browser_steps
import pytest
from web_checks import *  # noqa: F403
from web_host import PEOPLE
from web_host import WebHost

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web.api import routes

pytestmark = pytest.mark.environment('plone')

HOW_TO = (Path(__file__).parents[3] / 'docs' / 'howto'
          / 'run-workers-in-plone.rst').read_text()

INSTALLER = '/Plone/prefs_install_products_form'


@pytest.fixture(scope='session')
def before(plone):
    """What the site showed before the add-on was installed."""
    return {'addons': plone.get(INSTALLER), 'log': plone.log.read_text(),
            'tasks': plone.get('/Plone/tasks'),
            'rest': plone.get('/Plone/@remotetask',
                              Accept='application/json')}


@pytest.fixture(scope='session')
def installed(plone, before):
    """The site with the add-on, installed as an administrator does it."""
    answer = plone.post('/Plone/install_products',
                        install_product='lovely.remotetask')
    assert answer[0] == 302, answer
    return plone


@pytest.fixture(scope='session')
def worker(installed):
    """A worker of its own process, over ZEO: as the how-to starts it."""
    command, = re.findall(r'^   \$ (remotetask worker .*)$', HOW_TO, re.M)
    return installed.worker(*command.split())


#: People who may look only, and add only: an integrator's own roles.
ROLES = """
import transaction
for role, user, permission in (('Looker', 'vera', 'Remote tasks: View'),
                               ('Adder', 'ada', 'Remote tasks: Add jobs')):
    app.Plone._addRole(role)
    app.Plone.acl_users.portal_role_manager.addRole(role)
    app.Plone.acl_users.userFolderAddUser(
        user, f'secret-of-{user}', [role], [])
    app.Plone.tasks.manage_permission(permission, [role], 1)
transaction.commit()
"""


@pytest.fixture(scope='session')
def web_host(installed, worker):
    """The pages; the manager is a Site Administrator."""
    installed.script(ROLES)
    people = {'nobody': 'jane', 'viewer': 'vera', 'adder': 'ada',
              'manager': 'sam'}
    return WebHost(
        'plone', installed.port, '/Plone/tasks/dashboard',
        {'anonymous': {}, **{
            who: {'Authorization': 'Basic ' + b64encode(
                f'{user}:secret-of-{user}'.encode()).decode()}
            for who, user in people.items()}},
        tasks=('look', 'make', 'where'), hidden=(302, 401, 403),
        links={'Site Setup': '/Plone/@@overview-controlpanel'})


def test_starts_without_a_slug(before, plone):
    """hosts.md, Plone acceptance 1, second half."""
    assert not (plone.instance / 'etc' / 'package-includes').exists()
    status, _, text = before['addons']
    assert status == 200
    assert 'Remote tasks' in text and 'lovely.remotetask' in text
    assert 'Remote tasks: uninstall' not in text
    assert before['tasks'][0] == 404
    ours = [line for line in before['log'].splitlines()
            if 'lovely.remotetask' in line and ' INFO ' not in line]
    assert ours == []


def test_is_installed_by_the_control_panel(installed):
    """The profile, by HTTP; once more it changes nothing."""
    assert installed.proxy().getAvailableTasks() == [
        'bundle', 'echo', 'fail', 'look', 'make', 'plan', 'tally', 'welcome',
        'where']
    first = installed.proxy().add('echo', 'kept')
    installed.script('''
        from zope.component.hooks import setSite
        import transaction
        setSite(app.Plone)
        for _ in range(2):
            app.Plone.portal_setup.runAllImportStepsFromProfile(
                'profile-lovely.remotetask:default')
        transaction.commit()
        ''')
    assert installed.proxy().getStatus(first) in ('queued', 'completed')


def test_the_service_is_the_site_s_utility(installed):
    assert installed.script('''
        from lovely.remotetask.interfaces import ITaskService
        from zope.component import getUtility
        from zope.component.hooks import setSite
        setSite(app.Plone)
        service = getUtility(ITaskService, 'tasks')
        print('/'.join(service.getPhysicalPath()))
        ''').strip().splitlines()[-1] == '/Plone/tasks'


# --- pages -------------------------------------------------------------------

def test_site_setup_leads_to_the_jobs(installed, web_host):
    """For a Site Administrator; others do not see it."""
    for user, sees in (('sam', True), ('admin', True), ('jane', False)):
        text = installed.get('/Plone/@@overview-controlpanel', user)[2]
        assert (f'{web_host.mount}/"' in text) == sees, user


def test_a_visitor_is_led_to_the_login(web_host):
    answer = web_host.get(who='anonymous')
    assert answer.status == 302
    assert 'require_login' in answer.headers['Location']
    # Not the script of a page that is open, which says so itself.
    answer = web_host.get(who='anonymous', X_Remotetask_Live='1')
    assert answer.status == 403


def test_plone_writes_nothing_into_the_pages(web_host):
    """No theme, no script, and no token but ours, which no address has."""
    answer = web_host.get('jobs')
    assert 'protect.js' not in answer.text
    assert 'plone' not in answer.text.replace('/Plone/', '').lower()
    filters = re.search(r'<form class="filter".*?</form>', answer.text, re.S)
    assert '_authenticator' not in filters.group()


def test_the_login_of_plone(web_host, browser):
    """By its form and its cookie; then pages and forms work."""
    with browser_steps.window(
            browser, web_host, 'anonymous', silent=False) as page:
        page.goto(web_host.url())
        page.locator('#__ac_name').fill('sam')
        page.locator('#__ac_password').fill('secret-of-sam')
        page.locator('#buttons-login').click()
        page.locator('[data-remotetask]').wait_for()
        page.get_by_role('button', name='Pause').click()
        page.wait_for_url('**/?done=paused')
        page.get_by_role('button', name='Resume').click()
        page.wait_for_url('**/?done=resumed')
        page.get_by_role('link', name='Site Setup').click()
        # In the menu, and in the middle of the page.
        page.get_by_role('link', name='Remote tasks').last.click()
        page.locator('[data-remotetask]').wait_for()


def test_a_page_of_the_site_shows_how_a_job_goes(installed, worker, web_host,
                                                 browser):
    """To the user who has added it, who may not look at others."""
    status, headers, _ = installed.post('/Plone/@@order', 'jane')
    assert status == 302
    jobid = headers['Location'].partition('jobid=')[2]
    with browser_steps.window(browser, web_host, 'nobody',
                              silent=False) as page:
        page.goto(headers['Location'])
        page.locator('[data-status=completed]').wait_for()
        assert place_text(page) == f'Job {jobid}: completed'
    with browser_steps.window(browser, web_host, 'nobody', silent=False,
                              java_script_enabled=False) as page:
        page.goto(headers['Location'])
        assert place_text(page) == f'Job {jobid}: completed'
        assert page.locator('[data-status]').count() == 0


def place_text(page):
    return page.locator('[data-remotetask-status]').inner_text().strip()


# --- plone.restapi -----------------------------------------------------------

@pytest.fixture(scope='session')
def rest(installed, web_host):
    """``rest(method, path, data, who)``: (status, headers, answer) of Volto's
    API; ``who``, a name of PEOPLE, or a dict of headers.
    """
    installed.script('''
        from zope.component.hooks import setSite
        import transaction
        setSite(app.Plone)
        app.Plone.portal_setup.runAllImportStepsFromProfile(
            'profile-plone.restapi:default')
        transaction.commit()
        ''')

    def rest(method, path='', data=None, who='manager', mount=REST, **headers):
        login = who if isinstance(who, dict) else web_host.people[who]
        host = dataclasses.replace(
            web_host, people={'them': login}, mount=mount)
        answer = host.ask(
            method, f'{mount}/{path}'.rstrip('/'), raw=True, who='them',
            body=None if data is None else json.dumps(data),
            Accept='application/json', Content_Type='application/json',
            **headers)
        return (answer.status, answer.headers,
                json.loads(answer.text) if answer.text else None)

    return rest


REST = '/Plone/@remotetask'


def test_a_site_without_the_add_on_has_no_service(before):
    status, headers, _ = before['rest']
    assert status == 404
    assert headers['Content-Type'].startswith('application/json')


@pytest.mark.parametrize('mount', [REST, '/Plone/++api++/@remotetask'])
def test_volto_gets_what_the_api_says(rest, web_host, mount):
    """Jobs, schedules, counts; what is changed is stored."""
    status, _, stats = rest('GET', mount=mount)
    assert (status, stats['paused']) == (200, False)
    assert set(stats) == set(json.loads(
        web_host.get('api/v1/stats').text))
    status, headers, made = rest(
        'POST', 'jobs', {'task': 'echo', 'input': {'a': 1}, 'delay': 3600},
        mount=mount)
    assert status == 201
    path = f'jobs/{made["id"]}'
    assert headers['Location'].endswith(f'{REST}/{path}')
    status, headers, job = rest('GET', path, mount=mount)
    assert (status, job['input'], job['submitter']) == (
        200, {'a': 1}, '/Plone/acl_users sam')
    assert rest('GET', path, mount=mount,
                If_None_Match=headers['ETag'])[0] == 304
    assert rest('GET', 'jobs?status=scheduled', mount=mount)[2]['jobs'][0][
        'id'] == made['id']
    assert rest('POST', f'{path}/cancel', {}, mount=mount)[2]['status'] == (
        'cancelled')
    assert rest('DELETE', path, mount=mount)[0] == 204
    assert rest('GET', path, mount=mount)[0] == 404
    status, _, made = rest('POST', 'schedules', {
        'task': 'echo', 'hour': [3]}, mount=mount)
    path = f'schedules/{made["id"]}'
    assert rest('PUT', path, {'hour': [4]}, mount=mount)[0] == 200
    assert rest('GET', path, mount=mount)[2]['schedule']['hour'] == [4]
    rest('POST', f'jobs/{made["id"]}/cancel', {}, mount=mount)
    status, _, told = rest('POST', 'jobs', {'task': 'nothing'}, mount=mount)
    assert status == 400 and 'does not exist' in told['detail']
    assert rest('GET', 'nothing', mount=mount)[0] == 404
    assert rest('PUT', 'jobs', {}, mount=mount)[0] == 405


@pytest.mark.parametrize('who', PEOPLE)
def test_each_role_gets_as_far_as_its_permissions(rest, web_host, who):
    """On each address; nothing is stored, and nothing is told."""
    made = rest('POST', 'jobs', {'task': 'echo', 'input': 'topsecret',
                                 'delay': 3600})[2]
    names = {VIEW: 'View', ADD: 'Add', MANAGE: 'Manage'}
    before = rest('GET')[2]
    for path, methods in routes.ROUTES.items():
        place = path.replace('ID', str(made['id'])).replace('NAME', 'echo')
        for method, route in methods.items():
            allowed = names[route.permission] in PEOPLE[who]
            if allowed and method != 'GET':
                continue
            status, _, told = rest(
                method, place, None if method == 'GET' else {}, who)
            if allowed:
                # The job is no schedule.
                assert status == (400 if path == 'schedules/ID' else 200)
                continue
            assert status == (401 if who == 'anonymous' else 403), place
            assert 'topsecret' not in json.dumps(told)
    after = rest('GET')[2]
    assert {**after, 'oldest': 0} == {**before, 'oldest': 0}
    if 'Add' in PEOPLE[who]:
        own = rest('POST', 'jobs', {'task': 'echo', 'delay': 3600}, who)[2]
        assert rest('GET', f'jobs/{own["id"]}', None, who)[0] == 200
        assert rest('POST', f'jobs/{own["id"]}/cancel', {}, who)[0] == 200
    rest('POST', f'jobs/{made["id"]}/cancel', {})


def test_a_token_of_plone(rest, web_host):
    """Volto logs in by it; a page of another site that has it is trusted."""
    def login(user):
        status, _, answer = rest(
            'POST', '@login', {'login': user, 'password': f'secret-of-{user}'},
            who={}, mount='/Plone')
        assert status == 200, answer
        return {'Authorization': f'Bearer {answer["token"]}'}

    sam, vera = login('sam'), login('vera')
    assert rest('POST', 'pause', {'reason': 'by Volto'}, who=vera)[0] == 403
    assert rest('POST', 'pause', {'reason': 'by Volto'}, who=sam,
                Origin='http://elsewhere.example')[0] == 200
    stats = rest('GET', who=vera)[2]
    assert (stats['paused'], stats['pauseReason']) == (True, 'by Volto')
    assert rest('POST', 'resume', {}, who=sam)[0] == 200
    assert rest('GET', who={'Authorization': 'Bearer nonsense'})[0] == 401


@pytest.mark.parametrize('how', ['basic', 'cookie'])
def test_a_foreign_page_cannot_use_the_login_of_a_browser(
        rest, installed, web_host, how):
    who = 'manager'
    if how == 'cookie':
        answer = installed.get('/Plone/login', None, {
            '__ac_name': 'sam', '__ac_password': 'secret-of-sam',
            'form.submitted': '1', 'buttons.login': 'Log in'})
        cookie, = (one for one in answer[1].get_all('Set-Cookie')
                   if one.startswith('__ac='))
        who = {'Cookie': cookie.partition(';')[0]}
    assert rest('GET', who=who)[0] == 200
    for headers in ({'Origin': 'http://elsewhere.example'},
                    {'Origin': 'null'}, {'Sec_Fetch_Site': 'cross-site'}):
        assert rest('POST', 'pause', {}, who=who, **headers)[0] == 403
    assert rest('GET')[2]['paused'] is False
    assert rest('POST', 'pause', {}, who=who, Origin=web_host.origin)[0] == 200
    assert rest('GET')[2]['paused'] is True
    assert rest('POST', 'resume', {}, who=who)[0] == 200


# --- XML-RPC and plone.protect -----------------------------------------------

def test_what_was_added_by_xmlrpc_is_there_afterwards(installed, worker):
    """hosts.md trap 1, Plone acceptance 2."""
    before = installed.jobs()
    jobid = installed.proxy().add('echo', {'what': 'bär'})
    assert isinstance(jobid, int)
    assert installed.jobs() == before + 1
    assert installed.result(jobid) == {'what': 'bär'}
    assert 'CSRF' not in installed.log.read_text().split(
        'handling event')[-1]


def test_plone_protect_guards_the_rest(installed):
    """hosts.md trap 1: it is switched off for XML-RPC alone."""
    before = installed.jobs()
    form = {'task': 'where'}
    installed.get('/Plone/@@enqueue', 'admin', form)
    installed.get('/Plone/@@enqueue?task=where', 'admin')
    assert installed.jobs() == before
    status, _, text = installed.post('/Plone/@@enqueue', **form)
    assert status == 200 and int(text)
    assert installed.jobs() == before + 1


#: The methods over XML-RPC; int: the id of a job.
VERBS = {'getAvailableTasks': (), 'getStatus': (int,), 'getResult': (int,),
         'getError': (int,), 'listMethods': (), 'methodHelp': ('add',),
         'methodSignature': ('add',), 'add': ('echo',), 'cancel': (int,)}


def outcomes(installed, user, jobid):
    """The status with which each method is refused; 200: it answers."""
    found = {}
    for name, arguments in VERBS.items():
        try:
            getattr(installed.proxy(user), name)(
                *[jobid if one is int else one for one in arguments])
            found[name] = 200
        except xmlrpc.client.ProtocolError as error:
            found[name] = error.errcode
    return found


@pytest.mark.parametrize('user', ['admin', 'sam'])
def test_managers_get_in(installed, user):
    """Site Administrators, as ``sam`` is one, too."""
    jobid = installed.proxy('sam').add('echo')
    assert set(outcomes(installed, user, jobid).values()) == {200}


@pytest.mark.parametrize('user', [None, 'jane'])
def test_nobody_else_gets_in(installed, user):
    """Of a site that everybody may see."""
    jobid = installed.proxy('sam').add('echo')
    before = installed.jobs()
    assert set(outcomes(installed, user, jobid).values()) <= {401, 302}
    for path in ('add?task=echo', '@@xmlrpc/add?task=echo', 'jobs',
                 'processNext'):
        assert installed.get(f'/Plone/tasks/{path}', user)[0] in (
            302, 401, 403, 404)
    assert installed.jobs() == before


def test_mistakes_are_faults(installed):
    """hosts.md trap 7, through all that Plone does with an answer."""
    before = installed.jobs()
    for call, named in ((lambda proxy: proxy.add('nothing'), 'does not exist'),
                        (lambda proxy: proxy.getStatus(12345), '12345')):
        with pytest.raises(xmlrpc.client.Fault) as caught:
            call(installed.proxy())
        assert named in caught.value.faultString
    assert installed.jobs() == before


# --- jobs --------------------------------------------------------------------

def test_a_task_sees_its_site(installed, worker):
    jobid = installed.proxy('sam').add('look')
    assert installed.result(jobid) == {
        'site': 'Plone', 'portal': 'Plone', 'url': 'https://www.example.org',
        'request': True, 'user': 'sam', 'folder': '/Plone/acl_users',
        'language': 'en', 'layer': True, 'skin': 'Plone Default',
        'roles': ['Authenticated', 'Site Administrator']}


def test_a_user_of_the_root(installed, worker):
    seen = installed.result(installed.proxy('admin').add('look'))
    assert (seen['user'], seen['folder']) == ('admin', '/acl_users')


def test_a_task_makes_content_as_its_submitter(installed, worker):
    """hosts.md, Plone acceptance 3."""
    status, _, jobid = installed.post('/Plone/@@enqueue', 'jane',
                                      task='make', id='made')
    assert status == 200
    made = installed.result(int(jobid))
    assert made['url'] == 'https://www.example.org/made'
    assert made['creators'] == ['jane'] and made['owner'] == 'jane'
    assert installed.script(f'''
        from zope.component.hooks import setSite
        setSite(app.Plone)
        found = app.Plone.portal_catalog.unrestrictedSearchResults(
            UID='{made['uid']}')
        print([(brain.getPath(), brain.Creator) for brain in found])
        ''').strip().splitlines()[-1] == "[('/Plone/made', 'jane')]"


def test_content_as_input_keeps_its_place(installed, worker):
    made = int(installed.post('/Plone/@@enqueue', 'jane', task='make',
                              id='given')[2])
    installed.result(made)
    jobid = int(installed.post('/Plone/given/@@enqueue', 'jane',
                               task='where')[2])
    assert installed.result(jobid) == {
        'url': 'https://www.example.org/given', 'title': 'Made by a job',
        'parent': 'Plone', 'local': ['Owner']}


def test_nobody_makes_what_they_may_not(installed, worker):
    """A submitter that is no longer allowed: a final state that says so."""
    installed.script('''
        import transaction
        app.Plone.acl_users.userFolderAddUser(
            'max', 'secret-of-max', ['Contributor'], [])
        transaction.commit()
        ''')
    jobid = int(installed.post('/Plone/@@enqueue', 'max', task='make',
                               id='first')[2])
    installed.result(jobid)
    service = '''
        import transaction
        from zope.component.hooks import setSite
        setSite(app.Plone)
        service = app.Plone.tasks
        '''
    installed.script(service + '''
        service.pause()
        transaction.commit()
        ''')
    denied, gone = (
        int(installed.post('/Plone/@@enqueue', user, task='make',
                           id=f'second-of-{user}')[2])
        for user in ('max', 'jane'))
    installed.script(service + '''
        app.Plone.acl_users.userFolderEditUser('max', None, ['Member'], [])
        app.Plone.acl_users.userFolderDelUsers(['jane'])
        service.resume()
        transaction.commit()
        ''')
    for jobid, user in ((denied, 'max'), (gone, 'jane')):
        assert installed.result(jobid, 'error') is None
        assert user in installed.proxy().getError(jobid)
        assert installed.get(f'/Plone/second-of-{user}')[0] == 404


def test_the_verbs_find_the_only_service(installed, worker):
    """Beside a site with all its tools, and without --service."""
    def ask(*arguments, code=0):
        done = subprocess.run(
            [installed.environment.script('remotetask'), *map(str, arguments),
             '--zope-conf', installed.conf],
            env=installed.environ, text=True, capture_output=True,
            timeout=300)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout or done.stderr

    seen = json.loads(ask('add', 'look', '--wait'))
    assert (seen['site'], seen['user']) == ('Plone', None)
    assert ' completed  look ' in ask('list', '--task', 'look')
    installed.script('''
        import transaction
        from lovely.remotetask.zope.service import add_service
        add_service(app, 'others')
        transaction.commit()
        ''')
    try:
        line = ask('stats', code=1).splitlines()[-1]
        assert '/Plone/tasks' in line and '/others' in line
        assert ask('stats', '--service', 'Plone/tasks')
    finally:
        installed.script('''
            import transaction
            app.manage_delObjects(['others'])
            transaction.commit()
            ''')


# --- the end -----------------------------------------------------------------

def test_the_server_runs_jobs_itself(installed, worker):
    """Autostart; a script beside it does not (hosts.md trap 9).

    The configuration is the how-to's.
    """
    code, told = installed.end(worker, signal.SIGTERM)
    assert code == 0, told
    # Of all that it has run, nothing has gone wrong behind its back.
    assert "Shouldn't load state" not in told and '__del__' not in told
    installed.end(installed.server)
    installed.configure(textwrap.dedent(re.search(
        r'^    <product-config .*?</product-config>\n', HOW_TO,
        re.M | re.S).group()))
    installed.serve()
    assert installed.result(installed.proxy('sam').add('look'))[
        'user'] == 'sam'
    threads = installed.script('''
        import threading
        print([thread.name for thread in threading.enumerate()])
        ''')
    assert 'remotetasks.' not in threads
    installed.end(installed.server)
    installed.configure()
    installed.serve()


def test_uninstalling_waits_for_jobs(installed):
    jobid = installed.proxy().add('echo')

    def uninstall():
        return installed.post('/Plone/uninstall_products',
                              uninstall_product='lovely.remotetask')

    status, headers, _ = uninstall()
    assert status == 302
    page = installed.get(
        INSTALLER, Cookie=headers['Set-Cookie'].partition(';')[0])[2]
    assert '/Plone/tasks still has jobs (1 queued): let the workers' in page
    assert installed.proxy().getStatus(jobid) == 'queued'
    installed.proxy().cancel(jobid)
    assert uninstall()[0] == 302
    assert installed.get('/Plone/tasks')[0] == 404
    assert installed.script('''
        from lovely.remotetask.interfaces import ITaskService
        from zope.component import queryUtility
        from zope.component.hooks import setSite
        setSite(app.Plone)
        print(queryUtility(ITaskService, 'tasks'))
        ''').strip().splitlines()[-1] == 'None'
