"""The pages of `remotetask serve`, and what holds for them in every host.

Colours, widths and keys are the same wherever the same pages are shown (see
web_checks), so that they are tried here alone.
"""

import json

import browser_steps
import pytest
from serve_host import serving
from web_checks import *  # noqa: F403
from web_checks import pages
from web_host import filled


@pytest.fixture(scope='module')
def web_host(serve_host):
    return serve_host


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_everybody_can_use_the_pages(web_host, browser, scheme):
    """axe-core, on each page and in each of its states."""
    seen = 0
    with filled(web_host) as made, browser_steps.window(
            browser, web_host, silent=False, color_scheme=scheme) as page:

        def look(what):
            nonlocal seen
            seen += 1
            assert browser_steps.violations(page) == [], (what, scheme)

        for path in [*pages(made), 'jobs/1', 'nothing', 'jobs?task=nothing',
                     'jobs/add?task=nothing']:
            page.goto(web_host.url(path))
            look(path)
        page.goto(web_host.url('jobs?status=error'))
        page.get_by_text('More', exact=True).click()
        page.get_by_label('Select all on this page').check()
        look('details open, boxes checked')
        page.get_by_role('button', name='Remove', exact=True).click()
        page.get_by_role('heading', name='Remove 1 job?').wait_for()
        look('are you sure')
        page.goto(web_host.url('jobs/add?task=welcome'))
        page.get_by_label('Times').fill('12')
        page.get_by_role('button', name='Add the job').click()
        page.locator('.field .error').first.wait_for()
        look('a form with errors')
        page.goto(web_host.url('schedules/add?task=welcome'))
        page.get_by_label('Hour').fill('25')
        page.get_by_role('button', name='Add the schedule').click()
        page.locator('#line-hour-problem').wait_for()
        look('a schedule with errors')
        page.get_by_text('More options').click()
        page.get_by_label('Time limit').fill('0')
        page.get_by_role('button', name='Add the schedule').click()
        page.locator('#line-timeout-problem').wait_for()
        look('more options with errors')
        job = web_host.wait(web_host.add('bundle', '"tea"'), 'completed')
        group = json.loads(web_host.get(f'api/v1/jobs/{job}').text)['output']
        for path in ('', 'groups', f'groups/{group}'):
            page.goto(web_host.url(path))
            look(f'with a group: {path}')
        page.get_by_role('button', name='Cancel the group').click()
        page.get_by_role('button', name='Cancel the group').click()
        page.wait_for_url(f'**/groups/{group}?done=cancelled&n=2')
        look('a cancelled group')
        page.goto(web_host.url())
        page.get_by_role('button', name='Pause').click()
        page.wait_for_url('**/?done=paused')
        look('paused, with a message')
        page.get_by_role('button', name='Resume').click()
        page.wait_for_url('**/?done=resumed')
    # Without a single job, too.
    with browser_steps.window(browser, web_host, color_scheme=scheme) as page:
        for path in ('', 'jobs', 'schedules'):
            page.goto(web_host.url(path))
            look(f'empty: {path}')
    assert seen > 20


@pytest.mark.parametrize('width', [320, 1280])
def test_no_page_is_wider_than_its_window(web_host, browser, width):
    words = 'W' * 200
    with filled(web_host) as made, browser_steps.window(
            browser, web_host,
            viewport={'width': width, 'height': 640}) as page:
        made['long'] = web_host.add('welcome', delay='3600', **{
            'input.name': words, 'input.times': '1', 'input.tone': 'warm'})
        for path in pages(made):
            page.goto(web_host.url(path))
            assert browser_steps.is_as_wide_as_its_window(page), path


def test_all_is_reached_by_the_keyboard(web_host, browser):
    """In the order of the page, with a ring around what has the focus."""
    with filled(web_host), browser_steps.window(browser, web_host) as page:
        page.goto(web_host.url('jobs?status=error'))
        reached = []
        for _ in range(60):
            page.keyboard.press('Tab')
            one = page.evaluate('''() => {
                const one = document.activeElement;
                if (one === document.body) return null;
                const style = getComputedStyle(one);
                return [one.getAttribute('aria-label') || one.name
                        || one.innerText, style.outlineStyle,
                        style.outlineWidth];
            }''')
            if one is None:
                break
            assert one[1:] == ['solid', '3px'], one
            reached.append(one[0])
        assert reached[0] == 'Skip to the content'
        for name in ('Overview', 'Jobs', 'Live', 'Reload', 'status', 'Show',
                     'Select all on this page', 'Cancel', 'Retry',
                     'Remove', 'Retry all', 'Remove all'):
            assert name in reached, (name, reached)
        order = [reached.index(name) for name in (
            'Overview', 'Workers', 'Show', 'Cancel', 'Retry all')]
        assert order == sorted(order)
        # The link that skips the navigation leads past it.
        page.goto(web_host.url())
        page.keyboard.press('Tab')
        page.keyboard.press('Enter')
        page.keyboard.press('Tab')
        assert page.evaluate(
            "document.querySelector('main').contains(document.activeElement)")
        # And a job is opened and retried without a mouse.
        page.goto(web_host.url('jobs?status=error'))
        page.locator('table.jobs a').first.focus()
        page.keyboard.press('Enter')
        page.wait_for_url('**/jobs/*')
        page.get_by_role('button', name='Retry').focus()
        page.keyboard.press('Enter')
        page.wait_for_url('**/jobs/*done=retried*')
        page.locator('.badge.failed').first.wait_for()


def test_a_part_in_use_is_not_replaced(web_host, browser):
    """A checked box stays checked while the list goes on."""
    with filled(web_host) as made, browser_steps.window(
            browser, web_host) as page:
        page.goto(web_host.url('jobs'))
        box = page.get_by_label(f'Select job {made["failed"]}')
        box.check()
        page.locator('h1').click()
        with page.expect_response(lambda one: one.status == 200):
            web_host.add('echo', '"more"')
        # The next answer shows that the one before has been dealt with.
        with page.expect_response('**/jobs'):
            pass
        assert box.is_checked()


def test_an_account_with_many_pages_open_is_told_of_no_error(web_host,
                                                            browser):
    """Its pages wait for their turn, and then go on."""
    refused = []

    def refuse_twice(route):
        if len(refused) == 2 or 'x-remotetask-live' not in (
                route.request.headers):
            return route.continue_()
        refused.append(1)
        return route.fulfill(status=429, headers={'Retry-After': '1'})

    # The console names each answer that is no success.
    with browser_steps.window(browser, web_host, silent=False) as page:
        page.route('**/jobs', refuse_twice)
        page.goto(web_host.url('jobs'))
        with page.expect_response(lambda one: one.status == 429):
            pass
        with page.expect_response(lambda one: one.status in (200, 304)):
            assert page.locator('#message').inner_text() == ''
        assert len(refused) == 2
        assert page.locator('#message').inner_text() == ''


def test_the_link_of_the_login(tmp_path, browser):
    """It lets one browser in, once, within ten minutes of the start."""
    with serving(tmp_path) as host:
        _log_in_once(host, browser)


def _log_in_once(web_host, browser):
    address = f'{web_host.origin}{web_host.links["login"]}'
    with browser_steps.window(browser, web_host, 'anonymous',
                              silent=False) as page:
        assert page.goto(web_host.url()).status == 401
        assert 'remotetask login' in page.locator('main').inner_text()
        page.goto(address)
        assert page.url == web_host.url()
        cookie, = page.context.cookies()
        assert (cookie['httpOnly'], cookie['sameSite'], cookie['path']) == (
            True, 'Lax', '/tasks')
        page.get_by_role('button', name='Pause').click()
        page.wait_for_url('**/?done=paused')
        page.get_by_role('button', name='Resume').click()
        page.wait_for_url('**/?done=resumed')
    with browser_steps.window(browser, web_host, 'anonymous',
                              silent=False) as page:
        assert page.goto(address).status == 401


def test_addresses_outside_of_the_pages(web_host):
    answer = web_host.ask('GET', '/', raw=True, who='anonymous')
    assert (answer.status, answer.headers['Location'].removeprefix(
        web_host.origin)) == (303, '/tasks/')
    assert web_host.ask('GET', '/favicon.ico', raw=True).status == 204
