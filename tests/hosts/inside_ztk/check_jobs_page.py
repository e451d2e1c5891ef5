"""``jobs.html`` and ``<service>/<id>``: what they show, and what they cost."""

import html
import logging
import re
import sys
import types
import urllib.parse
from contextlib import contextmanager

import pytest
import transaction
import zope.component
from ZODB.ActivityMonitor import ActivityMonitor
from ZODB.Connection import resetCaches
from zope.configuration import xmlconfig
from zope.interface import Interface
from zope.publisher.browser import BrowserView
from zope.publisher.interfaces.browser import IDefaultBrowserLayer
from zope.security.proxy import isinstance as proxied_isinstance
from zope.security.proxy import removeSecurityProxy
from zope.traversing.browser.absoluteurl import absoluteURL

from lovely.remotetask import settings
from lovely.remotetask.interfaces import IJob
from lovely.remotetask.job import Job
from lovely.remotetask.web import many

BUTTONS = ('STARTPROCESSING', 'CANCEL', 'CLEAN_ALL', 'CLEAN_ERROR',
           'CLEAN_CANCELLED', 'CLEAN_COMPLETED', 'CANCEL_ALL')


@pytest.fixture(autouse=True)
def nothing_runs_on(driver):
    yield
    with driver.world.acting() as service:
        service.stopProcessing(wait=None)


@contextmanager
def detail(view, name='echo_detail'):
    """Have a view of an application tell the details of jobs."""
    registry = zope.component.getGlobalSiteManager()
    adapts = IJob, IDefaultBrowserLayer
    before = registry.adapters.registered(adapts, Interface, name)
    registry.registerAdapter(view, adapts, Interface, name)
    try:
        yield
    finally:
        if before is None:
            registry.unregisterAdapter(view, adapts, Interface, name)
        else:
            registry.registerAdapter(before, adapts, Interface, name)


def cells(text, kind):
    """The texts of one column."""
    return [re.sub(r'\s+', ' ', re.sub('<[^>]*>', '', one)).strip()
            for one in re.findall(
                rf'(?s)<td class="table{kind}">(.*?)</td>', text)]


def add(driver, count=1, task='echo', **options):
    return [driver.add('zope.mgr', task, {'n': number}, **options)
            for number in range(count)]


# --- the rows ----------------------------------------------------------------

def test_a_row_is_written_as_in_0_5_2(driver, visits):
    jobid, = add(driver)
    text = visits.get().text
    row = re.search(r'(?s)<tbody>.*</tbody>', text)[0]
    row = re.sub(r'<time[^>]*>[^<]*</time>', 'T', row)
    assert re.sub(r'\s+', ' ', row) == (
        f'<tbody> <tr class="odd"> <td class=""> <input type="checkbox" '
        f'name="jobs:list" value="{jobid}"> </td> <td class="tableId"> '
        f'{jobid} </td> <td class="tableTask"> echo </td> <td '
        f'class="tableStatus"> <span class="status-queued">queued</span> '
        f'</td> <td class="tableDetail"> No input detail available </td> <td '
        f'class="tableCreated"> T </td> <td class="tableStart"> [not set] '
        f'</td> <td class="tableEnd"> [not set] </td> </tr> </tbody>')
    assert '<base' not in text and text.startswith('<!DOCTYPE html>')


def test_rows_of_each_status(driver, visits):
    def fail(input):
        raise ValueError('broken')

    driver.task('fail', fail, retry=0)
    add(driver)
    add(driver, task='fail')
    driver.run()
    add(driver, startLater=True)
    with driver.world.acting('zope.mgr') as service:
        delayed = service.addCronJob('echo', None, delay=3600)
        cron = service.addCronJob('echo', None, hour=(3,))
    text = visits.get().text
    assert cells(text, 'Status') == [
        'delayed', 'cronjob', 'start later', 'error', 'completed'] or cells(
            text, 'Status') == ['cronjob', 'delayed', 'start later', 'error',
                                'completed']
    assert 'status-start-later' in text
    found = dict(zip(cells(text, 'Id'), cells(text, 'Detail'), strict=True))
    assert re.fullmatch(r'Scheduled for \d{4}-\d\d-\d\d 03:00:00 UTC',
                        found[str(cron)])
    assert found[str(delayed)].startswith('Scheduled for ')
    assert re.findall('class="(odd|even)"', text) == [
        'odd', 'even', 'odd', 'even', 'odd']
    # Cron jobs lead to their form, others have none.
    assert {*re.findall(r'href="([^"]*)/editjob"', text)} == {
        f'/site/tasks/{cron}', f'/site/tasks/{delayed}'}
    with driver.world.acting() as service:
        service.jobs[cron].put(next=None, position=None)
    assert 'not yet scheduled' in cells(visits.get().text, 'Detail')


def test_texts_of_strangers_are_shown_as_texts(driver, visits):
    names = ['<script>alert(1)</script>', '"><img src=x>', "a'b&c\u202e",
             'x' * 200]
    for name in names:
        driver.task(name, lambda input: None)
        add(driver, task=name)
    text = visits.get().text
    assert '<script>alert' not in text and '<img' not in text
    shown = cells(text, 'Task')
    assert sorted(map(html.unescape, shown)) == sorted(names)
    assert html.escape(names[0], quote=False) in text
    for query in ('?done=<b>', '?done=cleaned&n=<b>', '?size=<b>',
                  '?start=<b>', '?after=<b>', '?start=-1', '?size=0',
                  '?size=201', '?start=9999999999', '?start=1000',
                  '?size=\u0664', '?done=cleaned&n=' + '9' * 50):
        answer = visits.get('jobs.html' + urllib.parse.quote(
            query, safe='?=&'))
        assert '<b>' not in answer.text.partition('<main')[2]
        assert answer.status_int in (200, 400), query
        assert 'Cleaned' not in answer.text


def test_a_record_that_cannot_be_read_costs_its_row_alone(
        driver, visits, monkeypatch):
    module = types.ModuleType('vanishing')
    module.Mine = type('Mine', (Job,), {'__module__': 'vanishing'})
    monkeypatch.setitem(sys.modules, 'vanishing', module)
    first, second = add(driver, 2)
    with driver.world.acting() as service:
        before = service.jobs[first]
        mine = service.jobs[first] = module.Mine(first, 'echo', None)
        mine.put(position=before.position, ready_key=before.ready_key)
    monkeypatch.delitem(sys.modules, 'vanishing')
    resetCaches()
    text = visits.get().text
    assert {*cells(text, 'Id')} == {str(first), str(second)}
    assert sorted(cells(text, 'Status')) == ['queued', 'unknown']
    assert sum('vanishing' in one for one in cells(text, 'Detail')) == 1
    assert visits.get(str(first)).status_int == 404
    assert visits.get(f'{second}/detail').status_int == 200


# --- the details -------------------------------------------------------------

def test_a_view_sees_the_job_as_untrusted_code_does(driver, visits):
    seen = {}

    class View(BrowserView):
        def __call__(self):
            job = self.context
            seen['proxied'] = removeSecurityProxy(job) is not job
            seen['class'] = proxied_isinstance(job, Job)
            seen['url'] = absoluteURL(job, self.request)
            for name in ('position', 'claim', '__dict__', 'put'):
                try:
                    getattr(job, name)
                except Exception as error:
                    seen[name] = type(error).__name__
            return f'<b>{job.input["n"]}</b>'

    jobid, = add(driver)
    with detail(View):
        text = visits.get().text
    assert '<td class="tableDetail">\n<b>0</b>\n</td>' in text
    assert seen == {
        'proxied': True, 'class': True,
        'url': f'http://localhost/site/tasks/{jobid}',
        'position': 'ForbiddenAttribute', 'claim': 'ForbiddenAttribute',
        '__dict__': 'ForbiddenAttribute', 'put': 'ForbiddenAttribute'}


@pytest.mark.parametrize('raised', [
    ValueError('secret'), KeyError('secret'), RecursionError('secret')])
def test_a_view_that_raises_costs_its_cell_alone(driver, visits, caplog,
                                                 raised):
    class View(BrowserView):
        def __call__(self):
            if self.context.input['n'] == 1:
                raise raised
            return 'fine'

    add(driver, 3)
    with detail(View), caplog.at_level(logging.ERROR):
        text = visits.get().text
    assert sorted(cells(text, 'Detail')) == ['detail failed', 'fine', 'fine']
    assert 'secret' not in text
    # Who runs the application is told.
    assert 'secret' in caplog.text


def test_a_view_that_cannot_be_made_costs_its_cell_alone(driver, visits):
    class View(BrowserView):
        def __init__(self, context, request):
            raise TypeError('no')

    add(driver)
    with detail(View):
        assert cells(visits.get().text, 'Detail') == ['detail failed']


def test_what_a_view_changes_is_not_stored(driver, visits):
    class View(BrowserView):
        def __call__(self):
            removeSecurityProxy(self.context).input = 'changed'
            return 'changed'

    jobid, = add(driver)
    with detail(View):
        assert cells(visits.get().text, 'Detail') == ['changed']
    with driver.world.acting() as service:
        assert service.jobs[jobid].input == {'n': 0}


def test_a_page_of_an_application_for_jobs(driver, visits):
    """By ZCML, as 0.5.2's users wrote it: also a skin's, and overrides."""
    with add_zcml('''
      <page name="echo_detail" for="lovely.remotetask.interfaces.IJob"
            class="application_of_the_test.Page" permission="zope.View" />
    '''):
        jobid, = add(driver)
        where = f'http://localhost/site/tasks/{jobid}'
        assert cells(visits.get().text, 'Detail') == [where]
        # As a page of its own, too: the job has a place.
        assert visits.get(f'{jobid}/@@echo_detail').text.strip() == where


@contextmanager
def add_zcml(directives):
    module = types.ModuleType('application_of_the_test')
    module.Page = type('Page', (), {
        '__call__': lambda self: absoluteURL(self.context, self.request)})
    sys.modules[module.__name__] = module
    xmlconfig.string(f'''
      <configure xmlns="http://namespaces.zope.org/browser"
                 xmlns:zope="http://namespaces.zope.org/zope">
        <zope:include package="zope.security" file="permissions.zcml" />
        <zope:include package="zope.browserpage" file="meta.zcml" />
        {directives}
      </configure>''')
    try:
        yield
    finally:
        zope.component.getGlobalSiteManager().unregisterAdapter(
            None, (IJob, IDefaultBrowserLayer), Interface, 'echo_detail')
        del sys.modules[module.__name__]


# --- pages of the list -------------------------------------------------------

def test_links_lead_through_all_jobs(driver, visits):
    ids = {str(one) for one in add(driver, 25)}
    path, seen, said = 'jobs.html?size=10', [], []
    while path:
        text = visits.get(path).text
        seen += cells(text, 'Id')
        said.append(re.search(r'<span class="total">([^<]*)', text)[1])
        link = re.search(r'rel="next" href="/site/tasks/@@([^"]*)"', text)
        path = link and html.unescape(link[1])
    assert (len(seen), {*seen}) == (25, ids)
    assert said == ['1 to 10 of 25 found (25 total)',
                    '11 to 20 of 25 found (25 total)',
                    '21 to 25 of 25 found (25 total)']
    assert 'Previous (11 to 20)' in text
    # By the numbers alone, as addresses of 0.5.2 had them.
    assert cells(visits.get('jobs.html?start=20&size=10').text,
                 'Id') == seen[20:]
    assert cells(visits.get('jobs.html').text, 'Id') == seen[:10]
    assert cells(visits.get('jobs.html?size=').text, 'Id') == seen[:10]
    # Behind the end there is nothing, and a way back.
    text = visits.get('jobs.html?start=50&size=10').text
    assert 'No jobs here.' in text and 'Previous (41 to 50)' in text
    # The box for the size leads to a page of that size.
    assert len(cells(visits.get(
        'jobs.html?size=25&SUBMIT_BATCH_SIZE=set+batch+size').text,
        'Id')) == 25


def test_one_of_100_000_jobs_is_loaded_for_each_row(driver, visits,
                                                    monkeypatch):
    """0.5.2 loaded all jobs for each page."""
    jobs = []
    load = Job.__setstate__
    monkeypatch.setattr(
        Job, '__setstate__',
        lambda self, state: (jobs.append(1), load(self, state))[1])
    database, monitor = driver.world.database, ActivityMonitor()

    def loads(path):
        """How many records, and how many jobs, a page loads into caches that
        are empty.
        """
        visits.get(path)    # compiles the template
        for connection in database.pool:
            connection.cacheMinimize()
            connection.getTransferCounts(clear=True)
        jobs.clear()
        database.setActivityMonitor(monitor)
        before = sum(entry[1] for entry in monitor.log)
        answer = visits.get(path)
        database.setActivityMonitor(None)
        assert answer.status_int == 200
        return (sum(entry[1] for entry in monitor.log) - before, len(jobs),
                answer.text)

    def fill(thousands):
        with driver.world.acting() as service:
            for _ in range(thousands):
                service.addMany('echo', [None] * 1000)
                transaction.commit()

    fill(2)
    few, _, _ = loads('jobs.html')
    fill(98)
    assert driver.count() == 100_000
    many, loaded, text = loads('jobs.html')
    assert '1 to 10 of 100\u202f000 found' in text
    # One more than there are rows: the next page begins with it.
    assert (len(cells(text, 'Id')), loaded) == (10, 11)
    # The records are those of the lanes and their counters; each of 64 lanes
    # is a tree, which is two levels higher at most.
    assert many <= few + 128, (few, many)
    link = html.unescape(re.search(
        r'rel="next" href="/site/tasks/@@([^"]*)"', text)[1])
    assert loads(link)[1] == 11
    assert loads('jobs.html?size=200')[1] == 201
    # Without the link's cursor, those before it are looked at.
    assert loads('jobs.html?start=500&size=10')[1] == 511
    assert loads('addcronjob.html')[1] == 0
    print(f'{few} records for a page of 2,000 jobs, {many} of 100,000')


# --- what it does ------------------------------------------------------------

def state(driver):
    with driver.world.acting() as service:
        return ({jobid: job.status for jobid, job in service.jobs.items()},
                service.isProcessing())


def test_an_address_changes_nothing(driver, visits):
    """In 0.5.2 each of these acted."""
    jobid, = add(driver)
    before = state(driver)
    for name in BUTTONS:
        for method in ('GET', 'HEAD'):
            answer = visits.ask(
                method, f'jobs.html?{name}=1&jobs:list={jobid}&'
                        f'csrf={visits.token()}')
            assert answer.status_int == 200
    for method in ('PUT', 'DELETE', 'PATCH'):
        assert visits.ask(method, 'jobs.html?CLEAN_ALL=1').status_int in (
            404, 405)
    assert state(driver) == before


def test_each_button(driver, visits):
    def fail(input):
        raise ValueError('broken')

    def press(**form):
        answer = visits.post(**form)
        assert answer.status_int == 303, answer.text
        place = answer.headers['Location'].rpartition('/')[2]
        return re.search(r'id="message"[^>]*>([^<]*)',
                         visits.get(place).text)[1]

    driver.task('fail', fail, retry=0)
    add(driver)
    add(driver, task='fail')
    driver.run()
    waiting = add(driver, 3)
    assert press(CANCEL='1') == 'No jobs were selected.'
    assert press(CANCEL='1', **{'jobs:list': [waiting[0], 999]}) == (
        'Jobs were successfully cancelled.')
    assert [state(driver)[0][one] for one in waiting] == [
        'cancelled', 'queued', 'queued']
    assert press(CLEAN_CANCELLED='1') == 'Cleaned 1 Jobs'
    assert press(CLEAN_ERROR='1') == 'Cleaned 1 Jobs'
    assert press(CLEAN_COMPLETED='1') == 'Cleaned 1 Jobs'
    assert press(CLEAN_COMPLETED='1') == 'Cleaned 0 Jobs'
    assert {*state(driver)[0]} == {*waiting[1:]}
    with driver.world.acting('zope.mgr') as service:
        service.addCronJob('echo', None, hour=(3,))
        service.addCronJob('echo', None, delay=60)
        service.add('echo', startLater=True)
    assert press(CANCEL_ALL='1') == 'All jobs cancelled'
    assert {*state(driver)[0].values()} == {'cancelled'}
    assert press(CLEAN_ALL='1') == 'Cleaned 5 Jobs'
    assert state(driver) == ({}, False)
    assert press(STARTPROCESSING='1') == 'Processing was started.'
    assert state(driver)[1]
    assert 'Stop Processing' in visits.get().text
    assert press(STOPPROCESSING='1') == 'Processing was stopped.'
    assert not state(driver)[1]
    assert 'Start Processing' in visits.get().text


def test_of_many_jobs_a_request_takes_a_part(driver, visits, monkeypatch):
    """The page goes on by itself, and counts them all."""
    add(driver, 7)
    monkeypatch.setattr(many, 'BULK_SECONDS', -1)
    monkeypatch.setattr(settings, 'BULK_BATCH', 2)

    def press(name):
        answer, requests = visits.post(**{name: '1'}), 1
        while answer.status_int == 200:
            assert 'data-continue' in answer.text
            hidden = re.findall(
                r'<input type="hidden" name="([^"]*)" value="([^"]*)"',
                answer.text.partition('<main')[2])
            answer = visits.ask('POST', 'jobs.html', {
                name: html.unescape(value) for name, value in hidden})
            requests += 1
        assert answer.status_int == 303
        return requests, answer.headers['Location']

    requests, place = press('CANCEL_ALL')
    assert requests > 2 and place.endswith('?done=all')
    assert {*state(driver)[0].values()} == {'cancelled'}
    requests, place = press('CLEAN_ALL')
    assert requests > 2 and place.endswith('?done=cleaned&n=7')
    assert state(driver)[0] == {}


@pytest.mark.parametrize('form', [
    {'CANCEL': '1', 'jobs:list': 'x'}, {'CANCEL': '1', 'jobs:list': '-1'},
    {'CANCEL': '1', 'jobs:list': '9' * 30},
    {'CANCEL': '1', 'jobs:list': '<b>'},
    {'CANCEL_ALL': '1', 'status': '<b>'},
    {'CANCEL_ALL': '1', 'from': 'x'}, {'CLEAN_ALL': '1', 'from': '<b>'},
    {'CLEAN_ALL': '1', 'from': 'cancelled.x'}, {'NOTHING': '1'}, {}])
def test_forms_that_are_wrong(driver, visits, form):
    add(driver)
    before = state(driver)
    answer = visits.post(**form)
    assert answer.status_int == 400, answer.text
    assert '<b>' not in answer.text.partition('<main')[2]
    assert state(driver) == before


@pytest.mark.parametrize('who, may', [
    (None, ()), ('guest', ()), ('jane', ('CANCEL', 'CANCEL_ALL')),
    ('mgr', BUTTONS)])
def test_who_may_press_which_button(driver, visits, who, may):
    jobid, = add(driver)
    token = visits.token()
    text = visits.get(who=who).text
    offered = {name for name in BUTTONS if f'name="{name}"' in text}
    assert offered == {*may}
    for name in BUTTONS:
        if name in may:
            continue
        before = state(driver)
        # With a token that the manager has: permission is another question.
        answer = visits.ask('POST', 'jobs.html', {
            name: '1', 'jobs:list': jobid, 'csrf': token}, who)
        assert answer.status_int == 403, name
        assert 'takes the permission' in answer.text
        assert state(driver) == before


@pytest.mark.parametrize('who, status', [(None, 401), ('guest', 200)])
def test_who_may_look(driver, visits, who, status):
    jobid, = add(driver)
    answer = visits.get(who=who)
    assert answer.status_int == status
    assert (str(jobid) in answer.text) is (status == 200)
    for path in (f'{jobid}/detail', f'{jobid}', '123', '123/detail',
                 f'{jobid}/echo_detail'):
        answer = visits.get(path, who)
        if who is None:
            # It is not told which of these ids there is.
            assert answer.status_int == 401, path
        else:
            assert answer.status_int == (
                200 if path == f'{jobid}/detail' else 404), path


@pytest.mark.parametrize('token', ['', 'x' * 64, 'jane', None])
def test_a_form_without_our_token(driver, visits, token):
    add(driver)
    before = state(driver)
    form = {'CLEAN_ALL': '1', 'CANCEL_ALL': '1'}
    if token is not None:
        form['csrf'] = visits.token('jane') if token == 'jane' else token
    answer = visits.ask('POST', 'jobs.html', form)
    assert answer.status_int == 403
    assert 'Nothing was changed' in answer.text
    assert state(driver) == before


@pytest.mark.parametrize('headers', [
    {'Origin': 'http://elsewhere.example'}, {'Origin': 'null'},
    {'Sec_Fetch_Site': 'cross-site'}])
def test_a_form_from_elsewhere(driver, visits, headers):
    add(driver)
    before = state(driver)
    answer = visits.ask('POST', 'jobs.html', {
        'CANCEL_ALL': '1', 'csrf': visits.token()}, **headers)
    assert answer.status_int == 403
    assert state(driver) == before


# --- jobs by their ids -------------------------------------------------------

def test_a_job_is_found_by_its_id(driver, visits):
    jobid, = add(driver)
    assert visits.get(f'{jobid}/detail').text.strip() == (
        'No input detail available')
    for path in ('1', 'x', '1' * 30, '-1', f'{jobid}x', f'0x{jobid}',
                 f'{jobid}/editjob', f'{jobid}/jobs.html', '9' * 19,
                 f'{jobid}/position', f'{jobid}/input'):
        assert visits.get(path).status_int == 404, path


def test_virtual_hosting(driver, visits):
    """Links lead through the proxy in front."""
    with driver.world.acting('zope.mgr') as service:
        jobid = service.addCronJob('echo', None, hour=(3,))
    import webtest
    from zope.app.wsgi import WSGIPublisherApplication

    app = webtest.TestApp(
        WSGIPublisherApplication(driver.world.database), lint=False)
    answer = app.get('/++vh++https:www.example.com:443/admin/++/site/tasks/'
                     'jobs.html', headers={
                         'Authorization': 'Basic bWdyOnB3'})
    links = re.findall(r'(?:href|action|src)="([^"#]+)"', answer.text)
    assert f'/admin/site/tasks/{jobid}/editjob' in links
    assert '/admin/site/tasks/@@jobs.html' in links
    assert all(one.startswith('/admin/site/tasks/') for one in links), links


def test_the_menus(driver):
    from zope.browsermenu.menu import getFirstMenuItem
    from zope.browsermenu.menu import getMenu
    from zope.publisher.browser import TestRequest

    with driver.world.acting('zope.mgr') as service:
        items = getMenu('zmi_views', service, TestRequest())
        assert [one['title'] for one in items][:3] == [
            'Jobs', 'add cron', 'Dashboard']
        assert getFirstMenuItem('zmi_views', service, TestRequest())[
            'action'] == '@@jobs.html'
    with driver.world.acting('zope.guest') as service:
        assert [one['title'] for one in getMenu(
            'zmi_views', service, TestRequest())][:2] == ['Jobs',
                                                          'Dashboard']
