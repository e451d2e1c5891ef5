"""Tests of the pages that hold in each host.

A file of tests imports them, and has a fixture ``web_host`` (see WebHost) of
the scope ``module`` and a fixture ``serve_host``, the host to compare with.
"""

import json
import os
import re
import threading
import time
from base64 import b64encode

import browser_steps
import pytest
from foreign import foreign_page
from web_host import PEOPLE
from web_host import SECONDS
from web_host import clear
from web_host import filled
from web_host import main
from web_host import without_host

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import surface
from lovely.remotetask.web.api import routes
from lovely.remotetask.web.pages.frame import HEADERS

_IN_EACH_RUN = ('serve', 'pyramid')
_NAMES = {VIEW: 'View', ADD: 'Add', MANAGE: 'Manage'}

#: Each route of the pages and of the API, with what it takes.
ALL = [(path, method, route.permission)
       for table, prefix in ((surface.ROUTES, ''), (routes.ROUTES, 'api/v1/'))
       for path, methods in ((prefix + path, methods)
                             for path, methods in table.items())
       for method, route in methods.items()]


def pages(made):
    """The paths of all pages, and of those with an error."""
    return ['', 'jobs', 'jobs?status=error&task=fail', 'jobs?status=queued',
            *(f'jobs/{jobid}' for jobid in made.values()), 'schedules',
            'groups', 'tasks', 'workers', 'jobs/add', 'jobs/add?task=welcome',
            'jobs/add?task=echo', 'jobs/add?task=tally', 'schedules/add',
            'schedules/add?task=welcome',
            f'schedules/{made["schedule"]}/edit',
            f'schedules/{made["schedule"]}/edit?task=tally']


def test_each_page_is_that_of_serve(web_host, serve_host):
    """But for the mount point, the token and the user."""
    if web_host is serve_host:
        pytest.skip('serve is what the others are compared with')
    with filled(serve_host) as theirs, filled(web_host) as ours:
        for their, our in zip(pages(theirs), pages(ours), strict=True):
            want, got = serve_host.get(their), web_host.get(our)
            assert (got.status, got.headers['Content-Type']) == (
                200, want.headers['Content-Type'])
            assert got.text.startswith('<!DOCTYPE html>\n<html ')
            assert '<base' not in got.text
            for name, value in HEADERS.items():
                assert got.headers[name] == value, name
            assert without_host(got.text, web_host) == without_host(
                want.text, serve_host), our


def test_a_group_is_shown_and_cancelled(web_host):
    jobid = web_host.wait(web_host.add('bundle', '"tea"'), 'completed')
    try:
        group = json.loads(web_host.get(f'api/v1/jobs/{jobid}').text)['output']
        here = f'{web_host.mount}/groups/{group}'
        assert f'href="{web_host.mount}/groups"' in web_host.get('').text
        assert f'href="{here}"' in web_host.get('groups').text
        text = web_host.get(f'groups/{group}').text
        assert 'class="badge open">open<' in text
        for one in json.loads(web_host.get(f'api/v1/groups/{group}').text)[
                'jobs']:
            assert f'href="{web_host.mount}/jobs/{one}"' in text
            assert f'href="{here}"' in web_host.get(f'jobs/{one}').text
        assert web_host.get('groups/1').status == 404
        place = web_host.post(f'groups/{group}/cancel', sure='1')
        assert place == f'{here}?done=cancelled&n=2'
        text = web_host.get(f'groups/{group}?done=cancelled&n=2').text
        assert 'class="badge cancelled">cancelled<' in text
        assert 'Cancel the group' not in text
    finally:
        clear(web_host)


def test_a_missing_slash_leads_to_the_page(web_host):
    answer = web_host.ask('GET', web_host.mount, raw=True)
    if answer.status == 200:
        assert main(answer.text) == main(web_host.get().text)
    else:
        assert answer.status in (301, 302, 303, 308)
        assert answer.headers['Location'].removeprefix(
            web_host.origin) == f'{web_host.mount}/'


def test_links_stay_below_the_mount_point(web_host):
    """Absolute paths, so that neither a slash nor a base can bend them."""
    text = web_host.get('jobs?status=error').text
    places = re.findall(r'(?:href|src|action)="([^"]*)"', text)
    ours = [place for place in places
            if place not in web_host.links.values() and place != '#main']
    assert len(ours) > 10
    for place in ours:
        assert place.startswith(f'{web_host.mount}/'), place
    for place in re.findall(r'(?:href|src)="([^"]*/static/[^"]*)"', text):
        answer = web_host.ask('GET', place, raw=True, who='anonymous')
        assert answer.status == 200 and answer.text
        assert 'immutable' in answer.headers['Cache-Control']


def test_a_supervisor_is_answered(web_host):
    """By a look in a thread of its own, which finds the service, too."""
    for path, word in ('healthz', 'ok\n'), ('readyz', 'ready\n'):
        answer = web_host.get(path, who='anonymous')
        assert (answer.status, answer.text) == (200, word)
    found = json.loads(web_host.get('readyz').text)
    assert found['ready'] and not found['paused'] and found['queued'] >= 0
    assert web_host.get('readyz?workers=99',
                        who='anonymous').text == 'not ready\n'


def test_a_name_of_odd_characters(web_host):
    """What is not there is told in our words, and links lead back."""
    answer = web_host.get('api/v1/tasks/a%0Ab%C3%A4')
    assert answer.status == 404
    assert 'application/problem+json' in answer.headers['Content-Type']
    answer = web_host.get('n%C3%A4/x%0A')
    assert answer.status == 404
    assert f'href="{web_host.mount}/jobs"' in answer.text


def test_a_script_that_looks_again(web_host):
    """It gets the parts of the page alone, and nothing if they are as before.
    """
    answer = web_host.get('jobs?status=error', X_Remotetask_Live='1')
    assert answer.status == 200
    assert answer.text.startswith('<main data-remotetask=""')
    # A token would make each answer another one.
    assert f'name="{web_host.token()[0]}"' not in answer.text
    again = web_host.get('jobs?status=error', X_Remotetask_Live='1',
                         If_None_Match=answer.headers['ETag'])
    assert (again.status, again.text) == (304, '')
    with filled(web_host):
        # An answer counts for a second: see pages/live.py.
        deadline, pause = time.monotonic() + SECONDS, threading.Event()
        while web_host.get('jobs?status=error', X_Remotetask_Live='1',
                           If_None_Match=answer.headers['ETag']
                           ).status != 200:
            assert time.monotonic() < deadline
            pause.wait(0.1)


def _state(host):
    """What a change would change: the counts and whether it is paused."""
    text = main(host.get().text)
    return (re.findall(r'<b>([^<]*)</b>', text), 'Paused' in text,
            host.schedules())


@pytest.mark.parametrize('who', PEOPLE)
def test_who_may_do_what(web_host, who):
    """On each route: nothing is stored, and nothing is told."""
    if who not in web_host.people:
        pytest.skip(f'{web_host.name} knows no {who}')
    jobid = web_host.add('welcome', delay='3600', **{
        'input.name': 'topsecret', 'input.times': '1', 'input.tone': 'warm'})
    may = PEOPLE[who]
    # A token that the manager has: permission is another question.
    name, value = web_host.token()
    before = _state(web_host)
    for path, method, permission in ALL:
        if permission is None or _NAMES[permission] in may:
            continue
        form = {'job': jobid, 'sure': '1', 'status': 'scheduled',
                'task': 'echo', 'input': '1', name: value}
        place = path.replace('ID', jobid).replace('NAME', 'welcome')
        if path.startswith('api/'):
            answer = web_host.ask(
                method, place, body=None if method == 'GET' else '{}',
                who=who, Content_Type='application/json')
        else:
            answer = web_host.ask(
                method, place, form if method == 'POST' else None, who,
                Origin=web_host.origin)
        if who == 'anonymous':
            assert answer.status in web_host.hidden, (path, answer)
        else:
            assert answer.status in (401, 403), (path, answer)
            if answer.status == 403:
                assert 'takes the permission' in answer.text, path
        for word in ('welcome', 'topsecret', jobid):
            # The form of a browser's login has the address in it.
            told = re.sub(rf'\w+(/|%2F)({jobid}|welcome)', '', answer.text)
            assert word not in told, (path, answer)
        assert _state(web_host) == before, path
    if 'View' in may:
        assert 'topsecret' in web_host.get(f'jobs/{jobid}', who).text
    if may == ('View',):
        # Buttons that would be refused are not offered.
        assert '<button' not in main(web_host.get(f'jobs/{jobid}', who).text)
    if may == ('Add',):
        assert web_host.get('jobs/add', who).status == 200
    web_host.post('jobs/cancel', job=jobid)


@pytest.mark.parametrize('headers, token, status', [
    ({'Origin': 'null'}, True, 403),
    ({'Origin': 'http://elsewhere.example'}, True, 403),
    ({'Sec-Fetch-Site': 'cross-site'}, True, 403),
    ({'Sec-Fetch-Site': 'same-site'}, True, 403),
    ({'Sec-Fetch-Site': 'same-origin'}, False, 403),
    ({'Sec-Fetch-Site': 'same-origin', 'Origin': 'null'}, True, 303),
    # Clients that are no browsers send neither: their token decides.
    ({}, False, 403),
    ({}, True, 303),
])
def test_forms_from_elsewhere(web_host, headers, token, status):
    name, value = web_host.token()
    before = _state(web_host)
    answer = web_host.ask(
        'POST', 'pause', {name: value if token else 'x' * len(value)},
        **{key.replace('-', '_'): one for key, one in headers.items()})
    assert answer.status == status, answer
    if status == 403:
        assert 'Nothing was changed' in answer.text
        assert _state(web_host) == before
    else:
        assert _state(web_host) != before
        web_host.post('resume')
        assert _state(web_host) == before


@pytest.mark.parametrize('method, path, status', [
    ('GET', 'jobs/999', 404), ('GET', 'nothing', 404),
    ('GET', 'jobs/1/2', 404), ('GET', 'jobs/9999999999999999999', 404),
    ('GET', 'jobs/12345678901234567890', 404),
    ('GET', 'static/nothing.css', 404), ('GET', 'jobs?start=x', 400),
    ('GET', 'pause', 405), ('POST', 'jobs', 405), ('DELETE', 'jobs', 405),
    ('PUT', 'jobs', 405),
    ('HEAD', 'jobs', 200)])
def test_other_addresses(web_host, method, path, status):
    answer = web_host.ask(method, path)
    assert answer.status == status, answer
    assert 'Traceback' not in answer.text
    if method == 'HEAD':
        assert answer.text == ''
    if status == 405:
        assert answer.headers['Allow']


@pytest.mark.parametrize('body, content_type, status', [
    ('x=1', 'text/plain', 415), ('%ff=1', browser_steps.FORM, 400),
    ('{}', 'application/json', 415), ('', browser_steps.FORM, 403)])
def test_bodies_that_are_no_forms(web_host, body, content_type, status):
    answer = web_host.ask('POST', 'pause', body=body, Origin=web_host.origin,
                          Content_Type=content_type)
    assert answer.status == status, answer


def caller(host):
    """What calls the API: ``call(method, path, data)``: (status, answer)."""
    def call(method, path, data=None, **headers):
        answer = host.ask(
            method, f'api/v1/{path}', body=None if data is None
            else json.dumps(data), Content_Type='application/json', **headers)
        return answer.status, json.loads(answer.text or 'null')

    return call


def test_programs_are_answered_in_json(web_host):
    """By the account of the request, without a token of a form."""
    call = caller(web_host)
    data = {'name': 'Zoë', 'times': 1, 'tone': 'warm', 'loud': False}
    status, added = call('POST', 'jobs', {'task': 'welcome', 'delay': 3600,
                                          'input': data})
    assert status == 201
    path = f'jobs/{added["id"]}'
    status, job = call('GET', path)
    assert (status, job['input']) == (200, data)
    status, told = call('POST', 'jobs', {'task': 'nothing'})
    assert status == 400 and 'does not exist' in told['detail']
    # A token is sent by no browser on its own; all other logins are.
    kind, _, token = web_host.people['manager'].get(
        'Authorization', '').partition(' ')
    headers = {} if kind != 'Bearer' else {
        'Authorization': 'Basic ' + b64encode(f'me:{token}'.encode()).decode()}
    for origin in ('null', 'http://elsewhere.example'):
        status, told = call('POST', f'{path}/cancel', {}, Origin=origin,
                            **headers)
        assert status == 403 and 'did not come from this site' in told[
            'detail']
    if kind == 'Bearer':
        assert call('POST', f'{path}/cancel', {}, Origin='null')[0] == 200
    assert call('POST', f'{path}/cancel', {})[1]['status'] == 'cancelled'
    assert call('DELETE', path)[0] == 204
    assert call('GET', path)[0] == 404


def test_a_schedule_is_added_and_edited(web_host):
    """By the form and by JSON; what is refused changes nothing."""
    times = {'minute': '0', 'hour': '3 4', 'dayOfMonth': '*', 'month': '*',
             'dayOfWeek': '*', 'delay': '', 'priority': '1'}
    name, value = web_host.token()
    answer = web_host.ask('POST', 'schedules/add', {
        **times, 'task': 'echo', 'minute': '60', 'hour': 'x',
        'input': '"typed"', name: value}, Origin=web_host.origin)
    assert answer.status == 400
    assert answer.text.count('class="error"') == 2
    assert '&quot;typed&quot;' in answer.text or '"typed"' in answer.text
    assert web_host.schedules() == []
    place = web_host.post('schedules/add', task='echo', input='"tea"', **times)
    assert place == f'{web_host.mount}/schedules?done=scheduled'
    jobid, = web_host.schedules()
    try:
        call = caller(web_host)
        status, found = call('GET', f'schedules/{jobid}')
        assert (status, found['input'], found['schedule']['hour']) == (
            200, 'tea', [3, 4])
        page = web_host.get(f'schedules/{jobid}/edit').text
        version = re.search('name="version" value="([^"]+)"', page)[1]
        assert version == found['version']
        assert call('PUT', f'schedules/{jobid}', {
            'hour': [5], 'version': version}) == (
            200, {'id': int(jobid), 'status': 'cronjob'})
        # Another person had the form open meanwhile.
        name, value = web_host.token()
        answer = web_host.ask('POST', f'schedules/{jobid}/edit', {
            **times, 'task': 'echo', 'input': '"tea"', 'version': version,
            name: value}, Origin=web_host.origin)
        assert answer.status == 409 and 'hour 5' in answer.text
        version = re.search('name="version" value="([^"]+)"', answer.text)[1]
        web_host.post(f'schedules/{jobid}/edit', task='echo', input='[1]',
                      version=version, **times)
        found = call('GET', f'schedules/{jobid}')[1]
        assert (found['input'], found['schedule']['hour'],
                found['priority']) == ([1], [3, 4], 1)
        assert call('PUT', f'schedules/{jobid}', {'hour': [24]})[0] == 400
        assert call('PUT', 'schedules/1', {})[0] == 404
    finally:
        assert caller(web_host)('DELETE', f'schedules/{jobid}') == (204, None)
    assert web_host.status(jobid) == 'cancelled'


def test_what_a_task_hides(web_host):
    """On pages, in JSON and in forms; the rest of the input is shown."""
    call = caller(web_host)
    given = {'pipe': '/dev/null', 'password': 'topsecret'}
    jobid = call('POST', 'jobs', {
        'task': 'tally', 'delay': 3600, 'input': given})[1]['id']
    cron = call('POST', 'schedules', {
        'task': 'tally', 'hour': [3], 'input': given})[1]['id']
    try:
        for path in (f'jobs/{jobid}', f'api/v1/jobs/{jobid}',
                     f'jobs/{cron}', f'api/v1/schedules/{cron}',
                     f'schedules/{cron}/edit'):
            text = web_host.get(path).text
            assert '/dev/null' in text and 'topsecret' not in text, path
    finally:
        web_host.post('jobs/cancel', job=[jobid, cron])


def test_one_sees_one_s_own_job(web_host):
    """With the permission to add alone; the job of another one is not told."""
    if 'adder' not in web_host.people:
        pytest.skip(f'{web_host.name} knows one account')
    call = caller(web_host)
    status, own = call('POST', 'jobs', {'task': 'echo', 'input': 'mine',
                                        'delay': 3600}, who='adder')
    assert status == 201
    others = call('POST', 'jobs', {'task': 'echo', 'delay': 3600})[1]
    status, job = call('GET', f'jobs/{own["id"]}', who='adder')
    assert (status, job['input'], job['status']) == (200, 'mine', 'delayed')
    for path, who in ((f'jobs/{others["id"]}', 'adder'), ('jobs/7', 'adder'),
                      (f'jobs/{own["id"]}', 'nobody')):
        answer = web_host.get(f'api/v1/{path}', who)
        assert answer.status in (401, 403), path
        assert 'mine' not in answer.text
    tag = web_host.get(f'api/v1/jobs/{own["id"]}', 'adder').headers['ETag']
    answer = web_host.get(f'api/v1/jobs/{own["id"]}', 'adder',
                          If_None_Match=tag)
    assert (answer.status, answer.text) == (304, '')
    web_host.post('jobs/cancel', job=[own['id'], others['id']])


# --- in a browser ------------------------------------------------------------

@pytest.fixture(scope='module')
def browser(web_host):
    """A browser: in an ordinary run, for serve and one host."""
    if web_host.name not in _IN_EACH_RUN and not os.environ.get(
            'REMOTETASK_HOSTS'):
        pytest.skip(f'only with REMOTETASK_HOSTS: {web_host.name} in a '
                    f'browser')
    with browser_steps.browsing() as made:
        yield made


def test_the_twelve_steps(web_host, browser):
    with filled(web_host):
        assert len(browser_steps.twelve_steps(browser, web_host)) == 12


def test_a_browser_finds_nothing_to_complain_about(web_host, browser):
    """No script that fails, nothing stopped by the policy, nothing missing."""
    with filled(web_host) as made:
        if folder := os.environ.get('REMOTETASK_PICTURES'):
            # For a person who wants to look at the pages in each host.
            browser_steps.take_pictures(browser, web_host, folder, {
                'overview': '', 'jobs': 'jobs', 'schedules': 'schedules',
                'job': f'jobs/{made["failed"]}'})
        _complaints(browser, web_host, made)


def _complaints(browser, web_host, made):
    with browser_steps.window(browser, web_host) as page:
        for path in pages(made):
            page.goto(web_host.url(path))
            # A second look, by the script.
            page.locator('main').wait_for()


def test_a_page_of_the_application_shows_how_a_job_goes(web_host, browser,
                                                        tmp_path):
    """Its own job to a user who may not look at others."""
    who = 'adder' if 'adder' in web_host.people else 'manager'
    browser_steps.watch_a_job(browser, web_host, who, tmp_path / 'pipe')


@pytest.mark.parametrize('name', ['127.0.0.1', 'localhost'])
def test_a_foreign_page_can_do_nothing(web_host, browser, name):
    """Of the same site, as browsers call another port, and of another."""
    before = _state(web_host)
    with foreign_page(name) as foreign:
        for path, form in (('pause', {}), ('jobs/add', {
                'task': 'echo', 'input': '1'})):
            said = browser_steps.send_from_elsewhere(
                browser, web_host, foreign, path, **form)
            assert 'did not come from this site' in said
        assert not browser_steps.is_framed(browser, web_host, foreign)
    assert _state(web_host) == before
