"""The pages in a real browser: the same twelve steps in each host."""

import json
import os
import re
import shutil
from contextlib import contextmanager
from contextlib import suppress

from required import missing
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
    """Start the Chromium of this system; see ``missing``."""
    found = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        missing(f'no browser on PATH: {", ".join(_PROGRAMS)}')
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


def take_pictures(browser, host, folder, paths):
    """Pictures of some pages: light, dark and on a phone.

    Arguments: ``folder``, where they go; ``paths``, name -> page.
    """
    for look, scheme, width in (('light', 'light', 1280),
                                ('dark', 'dark', 1280),
                                ('phone', 'light', 360)):
        with window(browser, host, color_scheme=scheme,
                    viewport={'width': width, 'height': 800}) as page:
            for name, path in paths.items():
                page.goto(host.url(path))
                page.screenshot(path=f'{folder}/{host.name}-{name}-{look}.png',
                                full_page=True)


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
        row.first.get_by_role('link').first.click()
        page.wait_for_url('**/jobs/*')
    # With an error first, which a console shows.
    with window(browser, host, silent=False) as page:
        page.goto(host.url('schedules'))
        page.get_by_role('link', name='Add a schedule').click()
        page.get_by_label('Task').select_option('welcome')
        page.get_by_role('button', name='Choose').click()
        page.wait_for_url('**/schedules/add?task=welcome')
        page.get_by_label('Hour').fill('25')
        page.get_by_label('Name').fill('Grüße <b>')
        page.get_by_role('button', name='Add the schedule').click()
        page.locator('#line-hour-problem').wait_for()
        assert page.get_by_label('Name').input_value() == 'Grüße <b>'
        page.get_by_label('Hour').fill('5 6')
        page.get_by_role('button', name='Show the next runs').click()
        page.locator('#preview').wait_for()
        assert page.locator('#preview li').count() == 5
        page.get_by_role('button', name='Add the schedule').click()
        page.wait_for_url('**/schedules?done=scheduled')
        row = page.locator('tbody tr', has_text='hour 5, 6')
        jobid = row.locator('.id').inner_text().removeprefix('#')
        row.get_by_role('link', name='Edit').click()
        page.wait_for_url(f'**/schedules/{jobid}/edit')
        assert page.get_by_label('Name').input_value() == 'Grüße <b>'
        page.get_by_label('Hour').fill('7')
        page.get_by_role('button', name='Save').click()
        page.wait_for_url('**/schedules?done=edited')
        page.locator('tbody tr', has_text='hour 7').wait_for()
    host.post('jobs/cancel', job=jobid)


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
        for path in ('', 'jobs', 'schedules', 'groups', 'tasks', 'workers',
                     'jobs/add', 'schedules/add?task=welcome'):
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


# --- on a page of the application --------------------------------------------

def status_page(host, jobid):
    """A page that an application might make, as the how-to has it."""
    return (f'<!DOCTYPE html><html lang="en"><title>Orders</title>'
            f'<p data-remotetask-status="{host.mount}/api/v1/jobs/{jobid}">'
            f'Job {jobid} was added.</p>'
            f'<script src="{host.mount}/static/status.js" defer></script>')


def watch_a_job(browser, host, who, pipe):
    """See a job wait, run and end, without a reload."""
    os.mkfifo(pipe)
    try:
        _watch(browser, host, who, pipe)
    finally:
        # A task that still waits for our word holds a thread of the host.
        with suppress(OSError):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def _watch(browser, host, who, pipe):
    def call(method, path, data, who='manager'):
        answer = host.ask(method, f'api/v1/{path}', body=json.dumps(data),
                          who=who, Content_Type='application/json')
        assert answer.status in (200, 201), answer
        return json.loads(answer.text)

    jobid = str(call('POST', 'jobs', {
        'task': 'tally', 'delay': 3600, 'input': {'pipe': str(pipe)}},
        who)['id'])
    address = f'{host.origin}/a-page-of-the-application'
    for scripted in (False, True):
        with window(browser, host, who, java_script_enabled=scripted) as page:
            # The page alone is ours; script and job come from the host.
            page.route(address, lambda route: route.fulfill(
                content_type='text/html', body=status_page(host, jobid)))
            page.goto(address)
            place = page.locator('[data-remotetask-status]')
            if not scripted:
                assert place.inner_text() == f'Job {jobid} was added.'
                continue
            place.get_by_text('delayed').wait_for()
            assert place.inner_text().strip() == f'Job {jobid}: delayed'
            page.evaluate('''() => {
                window.seen = [];
                addEventListener('remotetask-status', (event) => {
                    window.seen.push(event.detail.status);
                });
            }''')
            call('POST', f'jobs/{jobid}/start', {})
            place.get_by_text('41 of 120 page 41').wait_for()
            if host.name == 'serve':
                from axe_playwright_python.sync_playwright import Axe

                assert Axe().run(page, '[data-remotetask-status]').response[
                    'violations'] == []
            assert place.locator('progress').evaluate(
                'one => [one.value, one.max]') == [41, 120]
            assert place.get_attribute('data-status') == 'processing'
            # As soon as the task opens it: it waits for us there.
            pipe.write_text('over')
            place.get_by_text('completed').wait_for()
            assert place.inner_text().strip() == f'Job {jobid}: completed'
            assert page.evaluate('window.seen.at(-1)') == 'completed'


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
