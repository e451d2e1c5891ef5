"""The pages of 0.5.2 in a ZTK that is served: accounts, forms, a browser."""

import re
import urllib.parse
from contextlib import ExitStack

import browser_steps
import pytest
import web_tasks
from foreign import foreign_page
from web_checks import browser  # noqa: F401
from web_host import WebHost
from web_host import filled
from ztk_instance import HOWTO
from ztk_instance import VISITORS
from ztk_instance import basic
from ztk_instance import python
from ztk_instance import serving
from ztk_instance import with_people

pytestmark = pytest.mark.environment('ztk')

#: A detail view as applications of 0.5.2 have registered it.
DETAILS = '''
  <include package="zope.browserpage" file="meta.zcml" />
  <browser:page xmlns:browser="http://namespaces.zope.org/browser"
                for="lovely.remotetask.interfaces.IJob"
                name="welcome_detail" class="shop_details.Welcome"
                permission="lovely.remotetask.View" />
  <browser:page xmlns:browser="http://namespaces.zope.org/browser"
                for="lovely.remotetask.interfaces.IJob"
                name="fail_detail" class="shop_details.Broken"
                permission="lovely.remotetask.View" />
'''
CODE = '''
import html


class Welcome:
    def __call__(self):
        return f'for <i>{html.escape(self.context.input["name"])}</i>'


class Broken:
    def __call__(self):
        raise ValueError(self.context.input)
'''

@pytest.fixture(scope='module')
def web_host(environment, tmp_path_factory):
    place = tmp_path_factory.mktemp('ztk-jobs')
    web_tasks.install(place)
    (place / 'shop_details.py').write_text(CODE)

    def edit(files):
        with_people(files)
        files['site.zcml'] = files['site.zcml'].replace(
            '</configure>',
            web_tasks.ZCML + DETAILS + VISITORS + '</configure>')

    people = {'nobody': 'nora', 'viewer': 'guest', 'adder': 'adder',
              'manager': 'boss'}
    with serving(environment, place, edit) as server:
        yield WebHost('ztk', server.port, '/tasks/@@dashboard', {
            'anonymous': {}, **{who: {'Authorization': basic(user)}
                                for who, user in people.items()}},
            tasks=('greet',))


def ask(host, method, path, form=None, who='manager', **headers):
    return host.ask(method, f'/tasks/{path}', form, who, raw=True, **headers)


def press(host, name, **form):
    """Press a button of the page.  Returns: what it says then."""
    field, value = host.token()
    answer = ask(host, 'POST', 'jobs.html', {
        name: '1', **form, field: value}, Origin=host.origin)
    assert answer.status == 303, answer
    place = urllib.parse.urlsplit(answer.headers['Location'])
    assert place.path == '/tasks/@@jobs.html'
    text = ask(host, 'GET', f'@@jobs.html?{place.query}').text
    return re.search(r'id="message"[^>]*>([^<]*)', text)[1]


@pytest.fixture
def open_page(web_host, browser):  # noqa: F811
    """A page of ours in a window of its own."""
    def open_page(path, **options):
        page = windows.enter_context(browser_steps.window(
            browser, web_host, **options))
        page.goto(f'{web_host.origin}/tasks/{path}')
        return page

    with ExitStack() as windows:
        yield open_page


# --- accounts ----------------------------------------------------------------

@pytest.mark.parametrize('who', ['anonymous', 'nobody', 'viewer', 'adder'])
def test_who_may_do_what(web_host, who):
    """Nothing is stored, and nothing told, for an account that may not."""
    jobid = web_host.add('welcome', delay='3600', **{
        'input.name': 'topsecret', 'input.times': '1', 'input.tone': 'warm'})
    field, value = web_host.token()
    for method, path, form in (
            ('GET', 'jobs.html', None), ('GET', '@@jobs.html', None),
            ('GET', 'addcronjob.html', None), ('GET', f'{jobid}/detail', None),
            ('GET', f'{jobid}/welcome_detail', None),
            ('GET', '123/detail', None),
            ('POST', 'jobs.html', {'CLEAN_ALL': '1'}),
            ('POST', 'jobs.html', {'STOPPROCESSING': '1'}),
            ('POST', 'jobs.html', {'CANCEL_ALL': '1'}),
            ('POST', 'jobs.html', {'CANCEL': '1', 'jobs:list': jobid}),
            ('POST', 'addcronjob.html', {
                'form.task': 'echo', 'form.hour': '3',
                'form.actions.add': '1'})):
        answer = ask(web_host, method, path, form and {
            **form, field: value}, who, Origin=web_host.origin)
        if who == 'viewer' and method == 'GET' and path not in (
                'addcronjob.html', '123/detail'):
            assert answer.status == 200, (path, answer)
            continue
        if who == 'viewer' and path == '123/detail':
            assert answer.status == 404
            continue
        assert answer.status in (401, 403), (method, path, answer)
        for word in ('topsecret', jobid):
            told = re.sub(rf'\w+(/|%2F){jobid}', '', answer.text)
            assert word not in told, (path, answer)
        assert web_host.status(jobid) == 'delayed'
        assert 'value="Stop Processing"' in ask(
            web_host, 'GET', 'jobs.html').text
    web_host.post('jobs/cancel', job=jobid)


@pytest.mark.parametrize('headers, token', [
    ({'Origin': 'null'}, True), ({'Origin': 'http://elsewhere.example'}, True),
    ({'Sec_Fetch_Site': 'cross-site'}, True), ({}, False)])
@pytest.mark.parametrize('path, form', [
    ('jobs.html', {'CANCEL_ALL': '1'}), ('addcronjob.html', {
        'form.task': 'echo', 'form.hour': '3', 'form.actions.add': '1'})])
def test_forms_from_elsewhere(web_host, headers, token, path, form):
    with filled(web_host) as made:
        field, value = web_host.token()
        answer = ask(web_host, 'POST', path, {
            **form, field: value if token else 'x'}, **headers)
        assert answer.status == 403
        assert 'Nothing was changed' in answer.text
        assert web_host.status(made['later']) == 'delayed'
        assert len(web_host.schedules()) == 2


def test_buttons_and_messages(web_host):
    with filled(web_host) as made:
        assert press(web_host, 'CANCEL') == 'No jobs were selected.'
        assert press(web_host, 'CANCEL', **{'jobs:list': made['later']}) == (
            'Jobs were successfully cancelled.')
        assert web_host.status(made['later']) == 'cancelled'
        assert press(web_host, 'CLEAN_ERROR') == 'Cleaned 1 Jobs'
        assert press(web_host, 'CLEAN_COMPLETED') == 'Cleaned 2 Jobs'
        assert press(web_host, 'CANCEL_ALL') == 'All jobs cancelled'
        assert web_host.status(made['schedule']) == 'cancelled'
        assert press(web_host, 'CLEAN_ALL') == 'Cleaned 3 Jobs'
        assert 'No jobs here.' in ask(web_host, 'GET', 'jobs.html').text
        # The thread that runs jobs is this server's.
        assert press(web_host, 'STOPPROCESSING') == 'Processing was stopped.'
        jobid = web_host.add('echo', '"waits"')
        assert press(web_host, 'STARTPROCESSING') == 'Processing was started.'
        web_host.wait(jobid, 'completed')


def test_details_of_an_application(web_host):
    web_host.add('welcome', delay='3600', **{
        'input.name': '<b>Zoë', 'input.times': '1', 'input.tone': 'warm'})
    web_host.add('fail', '"secret"', delay='3600')
    try:
        text = ask(web_host, 'GET', 'jobs.html').text
        assert 'for <i>&lt;b&gt;Zoë</i>' in text
        assert 'detail failed' in text and 'secret' not in text
    finally:
        press(web_host, 'CANCEL_ALL')
        press(web_host, 'CLEAN_ALL')


def test_the_details_of_the_howto(environment, tmp_path):
    def edit(files):
        assert '<include file="details.zcml" />' in HOWTO.read_text()
        with_people(files)
        files['site.zcml'] = files['site.zcml'].replace(
            '<securityPolicy',
            '<include file="details.zcml" /><securityPolicy')

    with serving(environment, tmp_path, edit) as server:
        host = WebHost('ztk', server.port, '/tasks/@@dashboard', {
            'manager': {'Authorization': basic('boss')}})
        server.wait(server.proxy().add('greet', 'you <b>'))
        assert 'greets <b>you &lt;b&gt;</b>' in ask(
            host, 'GET', 'jobs.html').text


_OURS = '<include package="lovely.remotetask" />'
_MENUS = '<include package="zope.app.zcmlfiles" />'


@pytest.mark.parametrize('includes', [_OURS, _OURS + _MENUS, _MENUS + _OURS])
def test_menus_are_there_where_an_application_has_some(
        environment, tmp_path, includes):
    """In either order; and without zope.app.zcmlfiles there are none."""
    has_menus = _MENUS in includes
    said = python(environment, tmp_path, f'''
import sys

if not {has_menus}:
    sys.modules['zope.app.zcmlfiles'] = None    # it is not installed
import zope.component
from zope.browsermenu.interfaces import IBrowserMenu
from zope.configuration import xmlconfig
from zope.publisher.browser import TestRequest

from lovely.remotetask import TaskService

xmlconfig.string("""<configure xmlns="http://namespaces.zope.org/zope"
    i18n_domain="shop">{includes}</configure>""")
found = TaskService(), TestRequest()
print(zope.component.queryMultiAdapter(found, name='jobs.html') is not None,
      zope.component.queryUtility(IBrowserMenu, 'zmi_views') is not None)
''')
    assert said == f'True {has_menus}\n'


# --- in a browser ------------------------------------------------------------

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [320, 1280])
def test_everybody_can_use_the_pages(web_host, open_page, scheme, width):
    """By axe-core; no page is wider than its window."""
    with filled(web_host) as made:
        web_host.add('welcome', delay='3600', **{
            'input.name': 'W' * 200, 'input.times': '1',
            'input.tone': 'warm'})
        page = open_page('jobs.html', silent=False, color_scheme=scheme,
                         viewport={'width': width, 'height': 700})

        def look(what):
            assert browser_steps.violations(page) == [], (what, scheme)
            assert browser_steps.is_as_wide_as_its_window(page), what

        look('jobs')
        page.get_by_label(f'Select job {made["later"]}').check()
        look('a box checked')
        page.get_by_role('button', name='Cancel selected').click()
        page.wait_for_url('**/@@jobs.html?done=cancelled*')
        look('a message')
        page.goto(f'{web_host.origin}/tasks/jobs.html?size=2')
        look('pages of two')
        page.goto(f'{web_host.origin}/tasks/jobs.html?size=x')
        look('refused')
        for path in ('addcronjob.html', 'addcronjob.html?form.task=welcome',
                     f'{made["schedule"]}/editjob'):
            page.goto(f'{web_host.origin}/tasks/{path}')
            look(path)
        page.get_by_label('Hours').fill('24')
        page.get_by_role('button', name='Apply').click()
        page.locator('.field .error').wait_for()
        look('a form with an error')
    page.goto(f'{web_host.origin}/tasks/jobs.html')
    look('empty')


def test_the_browser_has_nothing_to_complain_about(web_host, open_page):
    with filled(web_host) as made:
        page = open_page('jobs.html')
        assert page.evaluate('document.compatMode') == 'CSS1Compat'
        page.get_by_role('link', name=made['done'], exact=True).click()
        page.wait_for_url(f'**/@@dashboard/jobs/{made["done"]}')
        for path in ('addcronjob.html', f'{made["schedule"]}/editjob'):
            page.goto(f'{web_host.origin}/tasks/{path}')


def test_the_list_is_live(web_host, open_page):
    with filled(web_host):
        page = open_page('jobs.html')
        jobid = web_host.add('echo', '"live"', delay='3600')
        # Without a reload; with its link and the name of its box.
        page.get_by_role('link', name=jobid, exact=True).wait_for()
        page.get_by_label(f'Select job {jobid}').wait_for()


def test_enter_in_the_box_for_the_size_sets_the_size(web_host, open_page):
    """In the one form of 0.5.2 it pressed the first button: stop."""
    page = open_page('jobs.html')
    page.locator('[name=size]').fill('2')
    page.locator('[name=size]').press('Enter')
    page.wait_for_url('**/@@jobs.html?size=2&SUBMIT_BATCH_SIZE=*')
    assert page.get_by_role('button', name='Stop Processing').is_visible()


def test_without_a_script(web_host, open_page):
    with filled(web_host) as made:
        page = open_page('jobs.html', java_script_enabled=False)
        page.locator(f'[name="jobs:list"][value="{made["later"]}"]').check()
        page.get_by_role('button', name='Cancel selected').click()
        page.wait_for_url('**/@@jobs.html?done=cancelled*')
        assert page.get_by_role('status').inner_text() == (
            'Jobs were successfully cancelled.')
        page.get_by_role('link', name='echo', exact=True).click()
        page.wait_for_url(f'**/tasks/{made["schedule"]}/editjob')
        page.get_by_label('Months').fill('*')
        page.get_by_role('button', name='Apply').click()
        page.wait_for_url('**/@@jobs.html?done=edited')
        page.get_by_role('link', name='Add a cron job').click()
        page.get_by_label('Task').select_option('welcome')
        page.get_by_label('Hours').fill('4')
        page.get_by_role('button', name='Add', exact=True).click()
        # Now it asks for what this task takes.
        page.get_by_label('Name').fill('Zoë')
        page.get_by_role('button', name='Add', exact=True).click()
        page.wait_for_url('**/@@jobs.html?done=added')
        row = page.locator('table.list tr', has_text='welcome')
        assert 'for Zoë' in row.inner_text()


def test_a_foreign_page_can_do_nothing(web_host, browser):  # noqa: F811
    with filled(web_host) as made, foreign_page('localhost') as foreign:
        said = browser_steps.send_from_elsewhere(
            browser, web_host, foreign, '../@@jobs.html', CANCEL_ALL='1')
        assert 'did not come from this site' in said
        assert web_host.status(made['later']) == 'delayed'


def test_a_browser_logs_in(web_host, browser):  # noqa: F811
    """By the challenge of the application, and then a form works."""
    assert ask(web_host, 'GET', 'jobs.html', who='anonymous').headers[
        'WWW-Authenticate'].startswith('basic ')
    with browser_steps.window(
            browser, web_host, 'anonymous', silent=False, http_credentials={
                'username': 'boss', 'password': 'secret'}) as page:
        page.goto(f'{web_host.origin}/manage')
        page.get_by_role('link', name='tasks', exact=True).click()
        page.wait_for_url('**/tasks/@@jobs.html')
        page.get_by_role('button', name='Cancel all').click()
        page.wait_for_url('**/@@jobs.html?done=all')
