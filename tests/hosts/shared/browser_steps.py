"""The pages in a real browser: the same twelve steps in each host."""

import re
import shutil
from contextlib import contextmanager

import pytest
from web_host import FORM  # noqa: F401
from web_host import SECONDS

#: Names by which systems install it.
_PROGRAMS = ('chromium', 'chromium-browser', 'google-chrome')

# No word with its maker while tests run, and no sandbox, which root lacks.
_ARGUMENTS = ('--no-sandbox', '--disable-gpu', '--disable-sync',
              '--disable-background-networking', '--no-first-run',
              '--disable-component-update')

#: Rules of axe-core: WCAG 2.2 at level AA, and what its makers advise.
_TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
         'best-practice']

PHONE = {'width': 320, 'height': 640}


@contextmanager
def browsing():
    """Start the Chromium of this system; skip the test where there is none.
    """
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        pytest.skip(f'no browser on PATH: {", ".join(_PROGRAMS)}')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=list(_ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def window(browser, host, who='manager', silent=True, **options):
    """A window of its own, in which ``who`` is logged in.

    With ``silent``, the browser must have nothing to complain about: no
    script that fails, nothing that the content security policy stops, nothing
    that is missing.
    """
    context = browser.new_context(
        extra_http_headers=host.people[who], **options)
    context.set_default_timeout(SECONDS * 1000)
    said = []
    try:
        page = context.new_page()
        page.on('console', lambda one: said.append(one.text))
        page.on('pageerror', lambda one: said.append(str(one)))
        yield page
        assert not silent or said == []
    finally:
        context.close()


def twelve_steps(browser, host):
    """Do what people do with the pages, in the order of a working day.

    Returns: the names of the steps.
    """
    for step in STEPS:
        step(browser, host)
    return [step.__name__ for step in STEPS]


def overview(browser, host):
    with window(browser, host) as page:
        page.goto(host.url())
        assert page.title() == 'Overview – Remote tasks'
        assert page.evaluate('document.compatMode') == 'CSS1Compat'
        assert page.locator('h1').all_inner_texts() == ['Overview']
        # Its styles have arrived.
        assert page.locator('.counts').evaluate(
            'one => getComputedStyle(one).display') == 'grid'


def a_live_count_rises(browser, host):
    with window(browser, host) as page:
        page.goto(host.url())
        count = page.locator('.counts li', has_text='Scheduled').locator('b')
        before = int(count.inner_text())
        jobid = host.add('echo', '"live"', delay='3600')
        # Without a reload, by the script of the page.
        page.wait_for_function(
            '''([before]) => [...document.querySelectorAll('.counts li')].some(
                   one => one.textContent.includes('Scheduled')
                   && Number(one.querySelector('b').textContent) > before)''',
            arg=[before])
        host.post('jobs/cancel', job=jobid)


def filter_the_list(browser, host):
    with window(browser, host) as page:
        page.goto(host.url('jobs'))
        page.get_by_label('Status').select_option('error')
        page.get_by_label('Task', exact=True).fill('fail')
        page.get_by_role('button', name='Show').click()
        page.wait_for_url('**/jobs?status=error&task=fail*')
        assert set(page.locator('table.jobs .badge').all_inner_texts()) == {
            'error'}


def open_a_failed_job(browser, host):
    with window(browser, host) as page:
        page.goto(host.url('jobs?status=error'))
        link = page.locator('table.jobs a').first
        jobid = link.inner_text()
        link.click()
        page.wait_for_url(f'**/jobs/{jobid}')
        assert page.locator('h1').inner_text() == f'Job {jobid}'
        assert 'could not reach <smtp> & co' in page.locator(
            'main').inner_text()
        # Of a task that is not tried again, the attempt stands open.
        assert page.locator('pre').first.is_visible()
        assert 'web_tasks.py' in page.locator('pre').first.inner_text()


def retry_a_job(browser, host):
    with window(browser, host) as page:
        page.goto(host.url('jobs?status=error'))
        page.locator('table.jobs a').first.click()
        page.get_by_role('button', name='Retry').click()
        page.wait_for_url('**/jobs/*done=retried*')
        assert page.get_by_role('status').inner_text() == (
            '1 job is queued again.')
        jobid = re.search(r'/jobs/(\d+)', page.url)[1]
        page.locator('.badge.failed').first.wait_for()
    host.wait(jobid, 'error')


def select_and_cancel(browser, host):
    made = [host.add('echo', '"select"', delay='3600') for _ in range(3)]
    with window(browser, host) as page:
        page.goto(host.url('jobs?status=scheduled&task=echo'))
        for jobid in made[:2]:
            page.get_by_label(f'Select job {jobid}').check()
        page.get_by_role('button', name='Cancel', exact=True).click()
        page.wait_for_url('**/jobs?*done=cancelled*')
        assert page.get_by_role('status').inner_text() == (
            '2 jobs were cancelled.')
    assert [host.status(jobid) for jobid in made] == [
        'cancelled', 'cancelled', 'delayed']
    host.post('jobs/cancel', job=made[2])


def pause_and_resume(browser, host):
    with window(browser, host) as page:
        page.goto(host.url())
        page.get_by_role('button', name='Pause').click()
        page.wait_for_url('**/?done=paused')
        assert 'Paused' in page.locator('.banner').inner_text()
        page.get_by_role('button', name='Resume').click()
        page.wait_for_url('**/?done=resumed')
        assert page.locator('.banner').count() == 0


def add_by_a_form_with_an_error_first(browser, host):
    # The answer with the error has the status 400, which a console shows.
    with window(browser, host, silent=False) as page:
        page.goto(host.url('jobs/add'))
        page.get_by_label('Task').select_option('welcome')
        page.get_by_role('button', name='Choose').click()
        page.wait_for_url('**/jobs/add?task=welcome')
        page.get_by_label('Name').fill('Grüße <b>')
        page.get_by_label('Times').fill('12')
        page.get_by_role('button', name='Add the job').click()
        problem = page.locator('.field .error')
        problem.wait_for()
        assert 'big' in problem.inner_text() or '9' in problem.inner_text()
        # What was typed is still there.
        assert page.get_by_label('Name').input_value() == 'Grüße <b>'
        page.get_by_label('Times').fill('2')
        page.get_by_role('button', name='Add the job').click()
        page.wait_for_url('**/jobs/*done=added*')
        page.locator('.badge.completed').wait_for()
        assert 'Hello Grüße <b>' in page.locator('main').inner_text()


def the_schedules(browser, host):
    with window(browser, host) as page:
        page.goto(host.url('schedules'))
        row = page.locator('tbody tr', has_text='hour 3')
        assert 'minute 0; hour 3' in row.first.inner_text()
        row.first.get_by_role('link').click()
        page.wait_for_url('**/jobs/*')


def the_message_when_signed_out(browser, host):
    with window(browser, host, silent=False) as page:
        page.goto(host.url())
        page.context.set_extra_http_headers({})
        page.context.clear_cookies()
        page.get_by_text('You are signed out.').wait_for()


def without_a_script(browser, host):
    with window(browser, host, java_script_enabled=False) as page:
        page.goto(host.url())
        assert not page.locator('#live').is_visible()
        page.get_by_role('button', name='Pause').click()
        page.wait_for_url('**/?done=paused')
        page.get_by_role('button', name='Resume').click()
        page.wait_for_url('**/?done=resumed')
        page.get_by_role('link', name='Jobs', exact=True).click()
        page.locator('table.jobs a').first.click()
        page.wait_for_url('**/jobs/*')


def a_phone(browser, host):
    with window(browser, host, viewport=PHONE) as page:
        for path in ('', 'jobs', 'schedules', 'tasks', 'workers', 'jobs/add'):
            page.goto(host.url(path))
            assert is_as_wide_as_its_window(page), path


STEPS = (overview, a_live_count_rises, filter_the_list, open_a_failed_job,
         retry_a_job, select_and_cancel, pause_and_resume,
         add_by_a_form_with_an_error_first, the_schedules,
         the_message_when_signed_out, without_a_script, a_phone)


def is_as_wide_as_its_window(page):
    """Does nobody have to scroll sideways to read it?"""
    return page.evaluate('document.documentElement.scrollWidth '
                         '<= document.documentElement.clientWidth')


def violations(page):
    """What axe finds in the page as it is shown now."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={
        'runOnly': {'type': 'tag', 'values': _TAGS}}).response
    # What a rule could not judge is left out.
    return [(one['id'], node['target'], node.get('failureSummary'))
            for one in found['violations'] for node in one['nodes']]


# --- what must not work ------------------------------------------------------

def send_from_elsewhere(browser, host, foreign, path='pause', **form):
    """Have a page of another port send a form.  Returns: the answer's text."""
    name, value = host.token()
    fields = ''.join(f'<input name="{one}" value="{text}">'
                     for one, text in {**form, name: value}.items())
    foreign.text = (f'<form method="post" action="{host.url(path)}">{fields}'
                    f'<button>Win a prize</button></form>')
    with window(browser, host, silent=False) as page:
        page.goto(foreign.url)
        with page.expect_navigation():
            page.get_by_role('button').click()
        return page.locator('body').inner_text()


def is_framed(browser, host, foreign):
    """Can a page of another port show ours in a frame?"""
    foreign.text = f'<h1>Win</h1><iframe src="{host.url()}"></iframe>'
    with window(browser, host, silent=False) as page:
        with page.expect_response(lambda one: one.url == host.url()):
            page.goto(foreign.url)
        page.wait_for_load_state('load')
        frame, = page.main_frame.child_frames
        # The browser's own page about what it refused has a heading, too.
        return bool(frame.locator('[data-remotetask]').count())
