"""The pages, asked without HTTP: rights, forms, hostile texts, live parts."""

import datetime
import html.parser
import json
import urllib.parse
from pathlib import Path

import pytest
from zope.interface import Interface
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask.edge import db
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.store import declared
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.web import surface
from lovely.remotetask.web.csrf import DailyTokens
from lovely.remotetask.web.pages import frame

BASE = '/admin/tasks'
ORIGIN = 'http://127.0.0.1:8080'
FORM = 'application/x-www-form-urlencoded'
HOSTILE = ['<script>alert(1)</script>', '"\'><img src=x onerror=alert(1)>',
           '${1+1} <?python?> &amp;', 'nul\0byte', 'half \ud800 a character',
           'a \u202etxt.exe', 'x' * 10_000, 'tal:content="structure x"']


class Elements(html.parser.HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.words = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)


def locations(answer):
    assert answer.status == 303, answer.body.decode()
    return answer.headers['Location']


# --- who may do what ---------------------------------------------------------

ALL = [(path, method, route.permission)
       for path, methods in surface.ROUTES.items()
       for method, route in methods.items()]


def put_ids(path, jobid, group):
    """The path of a route, with the id of a group or of a job in it."""
    return path.replace('groups/ID', f'groups/{group}').replace(
        'ID', str(jobid)).replace('NAME', 'x.css')


@pytest.mark.parametrize(('path', 'method', 'permission'), ALL)
def test_a_route_asks_for_its_permission(site, service, path, method,
                                         permission):
    jobid = service(lambda service: service.add('echo', 1))
    group = service(lambda service: service.addGroup(['echo']))
    path = put_ids(path, jobid, group)
    others = tuple({VIEW, ADD, MANAGE} - {permission})
    form = {'job': str(jobid), 'csrf': site.csrf.token(), 'sure': '1',
            'status': 'queued', 'task': 'echo'}
    answer = site.ask(method, path, form if method == 'POST' else None,
                      may=others, sec_fetch_site='same-origin')
    if permission is None:
        assert answer.status == (404 if 'static' in path else 200)
        return
    assert answer.status == 403
    assert b'takes the permission' in answer.body
    assert site.writes == []
    # Nothing of the job is told either.
    assert b'echo' not in answer.body
    answer = site.ask(method, path, form if method == 'POST' else None,
                      sec_fetch_site='same-origin')
    assert answer.status in (200, 303, 400), answer.body.decode()


@pytest.mark.parametrize('path', [path for path in surface.ROUTES])
def test_other_methods_are_refused(site, path):
    path = path.replace('ID', '1').replace('NAME', 'x')
    answer = site.ask('DELETE', path)
    assert answer.status == 405
    assert answer.headers['Allow']


def test_a_look_never_writes(site, service):
    jobid = service(lambda service: service.addCronJob(
        'echo', 1, hour=(3,)))
    group = service(lambda service: service.addGroup(['echo']))
    for path, method, _ in ALL:
        if method == 'GET' and 'NAME' not in path:
            site.text(put_ids(path, jobid, group))
    assert set(site.writes) == {False}


def test_buttons_are_shown_to_those_who_may_press_them(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    service(lambda service: service.addCronJob('echo', 1, minute=(0,)))
    group = service(lambda service: service.addGroup(['echo']))
    for path in ('', 'jobs?status=queued', f'jobs/{jobid}', 'schedules',
                 f'groups/{group}'):
        assert 'formaction' in site.text(path)
        assert 'formaction' not in site.text(path, may=(VIEW,))
    text = site.text('jobs?status=queued', may=(VIEW, ADD))
    assert 'jobs/cancel' in text
    assert 'jobs/remove' not in text
    assert 'Add a job' not in site.text('', may=(VIEW,))


# --- forms of others ---------------------------------------------------------

@pytest.mark.parametrize(('headers', 'told'), [
    ({'sec_fetch_site': 'cross-site'}, 'cross-site'),
    ({'sec_fetch_site': 'same-site'}, 'same-site'),
    ({'origin': 'http://evil.example'}, 'evil.example'),
    ({'origin': 'null'}, 'null'),
    ({'origin': 'https://127.0.0.1:8080'}, 'https:'),
    ({'sec_fetch_site': 'cross-site', 'origin': ORIGIN}, 'cross-site')])
def test_a_form_of_another_site_is_refused(site, service, headers, told):
    jobid = service(lambda service: service.add('echo', 1))
    answer = site.ask('POST', 'jobs/cancel', {
        'job': jobid, 'csrf': site.csrf.token()}, **headers)
    assert answer.status == 403
    assert told in answer.body.decode()
    assert 'Nothing was changed' in answer.body.decode()
    assert 'Host header' in answer.body.decode()
    assert service(lambda service: service.getStatus(jobid)) == 'queued'


@pytest.mark.parametrize('headers', [
    {}, {'origin': ORIGIN}, {'origin': ORIGIN.upper()},
    {'sec_fetch_site': 'same-origin'}, {'sec_fetch_site': 'none'}])
def test_a_form_of_ours_is_taken(site, service, headers):
    jobid = service(lambda service: service.add('echo', 1))
    answer = site.ask('POST', 'jobs/cancel', {
        'job': jobid, 'csrf': site.csrf.token()}, **headers)
    assert answer.status == 303
    assert service(lambda service: service.getStatus(jobid)) == 'cancelled'


@pytest.mark.parametrize('token', ['', 'x' * 64, '\u20ac', 'a' * 10_000])
def test_a_wrong_token_is_refused(site, service, token):
    jobid = service(lambda service: service.add('echo', 1))
    answer = site.post('jobs/cancel', token=token, job=jobid)
    assert answer.status == 403
    assert 'too old' in answer.body.decode()
    assert service(lambda service: service.getStatus(jobid)) == 'queued'


def test_a_token_is_of_one_user_and_two_days(site):
    token = site.csrf.token()
    for secret, user in ((b'secret', 'john'), (b'other', 'jane'),
                         (b'', 'jane')):
        others = DailyTokens(lambda: secret, user, site.today)  # noqa: B023
        assert not others.is_valid(token)
    site.today.date += datetime.timedelta(days=1)
    assert site.csrf.is_valid(token)
    site.today.date += datetime.timedelta(days=1)
    assert not site.csrf.is_valid(token)


def test_a_service_without_a_secret_needs_the_word_of_the_browser(site):
    site.csrf = DailyTokens(lambda: b'', 'jane')
    assert site.ask('POST', 'pause', {'csrf': ''}).status == 403
    for headers in ({'origin': ORIGIN}, {'sec_fetch_site': 'same-origin'}):
        assert site.ask('POST', 'pause', {'csrf': ''},
                        **headers).status == 303


def test_a_token_given_twice_is_refused(site):
    token = site.csrf.token()
    assert site.ask('POST', 'pause', {'csrf': [token, 'x']}).status == 403


@pytest.mark.parametrize(('content_type', 'body', 'status'), [
    ('application/json', b'{}', 415), ('text/plain', b'a=1', 415),
    ('', b'', 415), (FORM, b'\xff=1', 400), (FORM, b'nothing', 400),
    (FORM, b'a=1&' * 3000, 400)])
def test_a_broken_form_is_refused(site, content_type, body, status):
    answer = site.ask('POST', 'pause', content_type=content_type, body=body)
    assert answer.status == status
    assert site.writes == []


# --- texts of strangers ------------------------------------------------------

@pytest.mark.parametrize('text', HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_is_shown_and_does_nothing(site, service, tasks, text):
    def fail(input):
        raise ValueError(text)

    name = text[:60].encode('utf-8', 'replace').decode()
    tasks(name, FunctionTask(fail, retry=0))

    def add(service):
        jobid = service.add(name, {'text': text, text: 1},
                            key=text[:40] if '\ud800' not in text else 'k')
        service.process()
        return jobid

    jobid = service(add)
    group = service(lambda service: service.addGroup([name], name))
    service(lambda service: service.process())
    quiet = Elements(site.text('jobs')).elements
    for path in ('', 'jobs', f'jobs/{jobid}', 'jobs?status=error', 'tasks',
                 'groups', f'groups/{group}',
                 'schedules', 'jobs/add?' + urllib.parse.urlencode(
                     {'task': name}), 'jobs?' + urllib.parse.urlencode(
                     {'task': name})):
        found = Elements(site.text(path)).elements
        assert not [one for one in found if one[0] in ('img', 'script')
                    and not one[1].get('src', '').startswith(BASE)]
        for tag, attributes in found:
            assert not [one for one in attributes
                        if one.startswith('on') or one == 'style'], tag
    assert quiet
    assert '\ud800' not in site.text(f'jobs/{jobid}')


def test_nothing_is_told_by_the_address(site):
    text = site.text('?done=You+have+won&n=9&left=x')
    assert 'You have won' not in text
    assert '3 jobs were cancelled.' in site.text('jobs?done=cancelled&n=3')
    assert '1 job was cancelled.' in site.text('jobs?done=cancelled&n=1')
    assert 'cancelled.' in site.text('jobs?done=cancelled&n=<b>')


@pytest.mark.parametrize('path', [
    'jobs?status=nonsense', 'jobs?start=x', 'jobs?id=x',
    'jobs?id=99999999999999999999', 'jobs?start=ready.99999999999999999999',
    'schedules?start=x', 'groups?start=x'])
def test_a_bad_address_is_400_and_says_why(site, path):
    answer = site.get(path)
    assert answer.status == 400
    assert b'class="banner bad"' in answer.body


@pytest.mark.parametrize('path', [
    'nothing', 'jobs/x', 'jobs/99999999999999999999', 'static/x.css',
    'jobs/77', 'jobs?id=77', 'static/..', 'jobs/', 'groups/77', 'groups/-1',
    'groups/9999999999999999999', 'groups/x', 'groups/', 'groups/77/cancel/'])
def test_what_is_not_there_is_404(site, path):
    assert site.get(path).status == 404


def test_a_fault_of_the_program_shows_a_reference_alone(site, monkeypatch,
                                                        caplog):
    def broken(*arguments):
        raise LookupError('/secret/path')

    monkeypatch.setattr(site, 'run', broken)
    answer = site.get('')
    assert answer.status == 500
    assert '/secret' not in answer.body.decode()
    (record,) = caplog.records
    assert record.args[-1] in answer.body.decode()


# --- headers -----------------------------------------------------------------

def test_pages_have_a_strict_policy_and_no_inline_code(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    group = service(lambda service: service.addGroup(['echo']))
    for path in ('', 'jobs', f'jobs/{jobid}', 'nothing', 'jobs/add?task=echo',
                 'groups', f'groups/{group}'):
        answer = site.get(path)
        policy = answer.headers['Content-Security-Policy']
        assert "default-src 'none'" in policy
        assert 'unsafe' not in policy
        assert answer.headers['X-Frame-Options'] == 'SAMEORIGIN'
        assert answer.headers['Cache-Control'] == 'private, no-store'
        assert answer.body.startswith(b'<!DOCTYPE html>\n<html')
        assert len(answer.body) < 100_000


def test_no_template_lets_markup_in_but_that_of_details():
    """All else is escaped: only a view of an application returns HTML, and
    Zope has the frame of its ZMI.
    """
    folder = Path(frame.__file__).parents[2]
    found = {str(path.relative_to(folder)): text.count('structure')
             for path in folder.rglob('*.pt')
             if 'structure' in (text := path.read_text())}
    assert found == {'browser/templates/jobs.pt': 1, 'zope/add.pt': 2}
    assert len([*folder.rglob('*.pt')]) > 12


def test_assets_may_be_kept_for_ever_and_fit(site):
    found = [attributes.get('href') or attributes.get('src')
             for tag, attributes in Elements(site.text('')).elements
             if tag in ('link', 'script')]
    assert len(found) == 3
    sizes = {}
    for address in found:
        answer = site.get(address.removeprefix(f'{BASE}/'), may=())
        assert answer.status == 200
        assert 'immutable' in answer.headers['Cache-Control']
        sizes[address.rpartition('.')[2]] = len(answer.body)
    # With the one for pages of the application.
    answer = site.get('static/status.js', may=())
    assert answer.status == 302
    assert answer.headers['Cache-Control'] == 'no-cache'
    answer = site.get(answer.headers['Location'].removeprefix(f'{BASE}/'),
                      may=())
    assert 'immutable' in answer.headers['Cache-Control']
    assert sizes['js'] + len(answer.body) <= 6_000
    assert sizes['css'] <= 10_000


# --- live --------------------------------------------------------------------

def test_a_live_answer_has_no_frame_and_no_token(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    group = service(lambda service: service.addGroup(['echo']))
    for path in ('', 'jobs', f'jobs/{jobid}', 'groups', f'groups/{group}',
                 'tasks', 'workers', 'schedules'):
        answer = site.get(path, x_remotetask_live='1')
        text = answer.body.decode()
        assert site.csrf.token() not in text
        assert '<nav' not in text
        assert 'data-part=' in text
        tag = answer.headers['ETag']
        if path == '':
            continue        # it says how long the job has waited
        again = site.get(path, x_remotetask_live='1', if_none_match=tag)
        assert (again.status, again.body) == (304, b'')
    service(lambda service: service.cancel(jobid))
    answer = site.get('jobs', x_remotetask_live='1', if_none_match=tag)
    assert answer.status == 200


def test_each_live_part_is_in_the_whole_page_once(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    group = service(lambda service: service.addGroup(['echo']))
    for path in ('', 'jobs', f'jobs/{jobid}', 'groups', f'groups/{group}'):
        whole, live = ([one[1]['data-part'] for one in
                        Elements(site.text(path, **headers)).elements
                        if 'data-part' in one[1]]
                       for headers in ({}, {'x_remotetask_live': '1'}))
        assert whole == live
        assert len(set(whole)) == len(whole)


# --- what the buttons do -----------------------------------------------------

def statuses(service, *jobids):
    return service(lambda service: [
        service.getStatus(one) if one in service.jobs else None
        for one in jobids])


def failed(service, number=1):
    def add(service):
        found = [service.add('error', None) for _ in range(number)]
        service.process()
        return found

    return service(add)


def test_pause_and_resume(site, service):
    assert locations(site.post('pause')) == f'{BASE}/?done=paused'
    assert 'Paused.' in site.text('')
    assert locations(site.post('resume')) == f'{BASE}/?done=resumed'
    assert 'Paused.' not in site.text('')


def test_cancel_selected(site, service):
    one, two = service(lambda service: [service.add('echo', 1),
                                        service.add('echo', 2)])
    (over,) = failed(service)
    service(lambda service: [service.startJob, None])
    three = service(lambda service: service.add('echo', 3))
    answer = site.post('jobs/cancel', job=[three, over], back='jobs',
                       status='queued')
    assert statuses(service, three, over) == ['cancelled', 'error']
    assert locations(answer) == (f'{BASE}/jobs?status=queued&done=cancelled'
                                 f'&n=1&left=over&m=1')
    text = site.text('jobs?done=cancelled&n=1&left=over&m=1')
    assert '1 job was cancelled. 1 was over already.' in text
    assert one != two


def test_cancel_of_a_running_job_is_asked_first(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    service(lambda service: service.claimNextJob())
    answer = site.post('jobs/cancel', job=jobid)
    assert answer.status == 200
    assert b'Cancel running jobs?' in answer.body
    assert statuses(service, jobid) == ['processing']
    form = {attributes['name']: attributes['value'] for tag, attributes in
            Elements(answer.body.decode()).elements
            if tag == 'input' and 'value' in attributes}
    del form['csrf']
    assert site.post('jobs/cancel', **form).status == 303
    assert statuses(service, jobid) == ['cancelled']


def test_retry_selected(site, service):
    (jobid,) = failed(service)
    queued = service(lambda service: service.add('echo', 1))
    assert 'n=1&left=stays&m=2' in locations(
        site.post('jobs/retry', job=[jobid, queued, 77]))
    assert statuses(service, jobid, queued) == ['queued', 'queued']


def test_retry_of_a_job_whose_key_another_has(site, service):
    def add(service):
        first = service.add('error', None, key='k')
        service.process()
        return first, service.add('echo', 1, key='k')

    first, second = service(add)
    answer = site.post('jobs/retry', job=first)
    assert locations(answer).endswith('?left=stays&m=1')
    assert statuses(service, first, second) == ['error', 'queued']


def test_remove_is_asked_first_and_spares_what_is_not_over(site, service):
    (jobid,) = failed(service)
    queued = service(lambda service: service.add('echo', 1))
    answer = site.post('jobs/remove', job=[jobid, queued])
    assert b'Remove 2 jobs?' in answer.body
    assert statuses(service, jobid) == ['error']
    answer = site.post('jobs/remove', job=[jobid, queued], sure='1')
    assert 'done=removed&n=1&left=open&m=1' in locations(answer)
    assert statuses(service, jobid, queued) == [None, 'queued']
    stats = service(lambda service: service.stats())
    assert (stats['error'], stats['queued']) == (0, 1)
    assert service(lambda service: list(service.listJobs('error')[0])) == []


def test_nothing_selected(site):
    for path in ('jobs/cancel', 'jobs/retry', 'jobs/remove'):
        assert 'done=none' in locations(site.post(path, back='jobs'))
    assert 'No jobs were selected.' in site.text('jobs?done=none')


@pytest.mark.parametrize('job', ['x', '-1', '1' * 20, '', '\u0661'])
def test_a_wrong_id_is_refused(site, job):
    for path in ('jobs/cancel', 'jobs/retry', 'jobs/remove'):
        assert site.post(path, job=job).status == 400
    assert site.writes == []


def test_all_that_match(site, service):
    found = failed(service, 3)
    answer = site.post('jobs/all/retry', status='error')
    assert b'Retry all 3 failed jobs?' in answer.body
    assert statuses(service, *found) == ['error'] * 3
    answer = site.post('jobs/all/retry', status='error', sure='1')
    assert locations(answer).endswith('status=error&done=retried&n=3')
    assert statuses(service, *found) == ['queued'] * 3
    site.post('jobs/all/cancel', status='queued', task='error', sure='1')
    assert statuses(service, *found) == ['cancelled'] * 3
    answer = site.post('jobs/all/remove', status='cancelled', sure='1')
    assert locations(answer).endswith('done=removed&n=3')
    assert statuses(service, *found) == [None] * 3


def test_all_of_many_go_on_in_steps(site, service, monkeypatch):
    from lovely.remotetask import settings
    from lovely.remotetask.web import many

    monkeypatch.setattr(settings, 'BULK_BATCH', 2)
    monkeypatch.setattr(many, 'BULK_SECONDS', -1)
    found = failed(service, 5)
    form = {'status': 'error', 'sure': '1'}
    steps = 0
    while True:
        answer = site.post('jobs/all/retry', **form)
        if answer.status == 303:
            break
        steps += 1
        assert b'data-continue' in answer.body
        form = {attributes['name']: attributes['value'] for tag, attributes in
                Elements(answer.body.decode()).elements
                if tag == 'input' and 'value' in attributes}
        del form['csrf']
    assert steps == 2
    assert locations(answer).endswith('n=5')
    assert statuses(service, *found) == ['queued'] * 5


@pytest.mark.parametrize(('path', 'form'), [
    ('jobs/all/retry', {'status': 'completed'}),
    ('jobs/all/cancel', {'status': 'error'}),
    ('jobs/all/remove', {'status': 'queued'}),
    ('jobs/all/remove', {'status': 'error', 'task': 'echo'}),
    ('jobs/all/cancel', {'status': 'queued', 'start': 'x'}),
    ('jobs/all/cancel', {'status': ''})])
def test_a_wrong_status_is_refused(site, service, path, form):
    jobid = service(lambda service: service.add('echo', 1))
    assert site.post(path, sure='1', **form).status == 400
    assert statuses(service, jobid) == ['queued']


def test_each_action_is_logged_with_its_user(site, service, caplog):
    jobid = service(lambda service: service.add('echo', 1))
    caplog.set_level('INFO', 'lovely.remotetask.trace')
    site.post('jobs/cancel', job=jobid)
    assert f'jane cancelled {jobid} (10.0.0.4)' in caplog.messages


# --- adding ------------------------------------------------------------------

class IMail(Interface):

    to = TextLine(title='To')
    copies = Int(title='Copies', min=1, max=9, default=1)
    kind = Choice(title='Kind', values=['html', 'text'], default='html')
    urgent = Bool(title='Urgent', required=False)


def test_add_by_json(site, service):
    answer = site.post('jobs/add', task='echo', input='{"a": [1, "ü"]}',
                       priority='2', delay='60')
    jobid = int(locations(answer).partition('?')[0].rpartition('/')[2])
    job = service(lambda service: (service.jobs[jobid].input,
                                   service.jobs[jobid].priority,
                                   service.jobs[jobid].status))
    assert job == ({'a': [1, 'ü']}, 2, 'delayed')


@pytest.mark.parametrize(('fields', 'told'), [
    ({'input': '{a: 1}'}, 'not JSON'), ({'input': 'hello'}, 'double quotes'),
    ({'input': '[' * 100_000}, 'nested|not JSON'),
    ({'priority': '9'}, 'priority'), ({'priority': 'x'}, 'Priority'),
    ({'delay': 'x'}, 'delay'), ({'delay': '-1'}, 'delay'),
    ({'delay': 'nan'}, 'delay'), ({'delay': '1e300'}, 'delay'),
    ({'task': 'hidden'}, 'Task does not exist'),
    ({'task': ''}, 'Task does not exist')])
def test_a_job_that_cannot_be_added(site, service, fields, told):
    import re

    answer = site.post('jobs/add', **{'task': 'echo', **fields})
    assert answer.status == 400
    assert re.search(told, answer.body.decode())
    assert service(lambda service: list(service.jobs)) == []
    if 'input' in fields and len(fields['input']) < 100:
        # The text that was typed is still there.
        assert fields['input'] in ''.join(
            Elements(answer.body.decode()).words)


def test_add_by_the_fields_of_a_schema(site, service, tasks):
    tasks('mail', FunctionTask(lambda input: input, inputSchema=IMail))
    text = site.text('jobs/add?task=mail')
    names = [attributes.get('name') for _, attributes in
             Elements(text).elements if 'name' in attributes]
    assert {'input.to', 'input.copies', 'input.kind', 'input.urgent'} <= set(
        names)
    wrong = {'input.to': '', 'input.copies': '77', 'input.kind': 'odt'}
    answer = site.post('jobs/add', task='mail', **wrong)
    text = answer.body.decode()
    assert answer.status == 400
    for told in ('this is needed', 'choose one of the list', 'value="77"'):
        assert told in text
    assert service(lambda service: list(service.jobs)) == []
    answer = site.post('jobs/add', task='mail', **{
        **wrong, 'input.to': 'x', 'input.kind': 'text'})
    assert answer.status == 400
    assert 'too big' in answer.body.decode().lower()
    answer = site.post('jobs/add', task='mail', **{
        'input.to': 'jane', 'input.copies': '2', 'input.kind': 'text',
        'input.urgent': '1'})
    jobid = int(locations(answer).partition('?')[0].rpartition('/')[2])
    assert service(lambda service: service.jobs[jobid].input) == {
        'to': 'jane', 'copies': 2, 'kind': 'text', 'urgent': True}


def test_links_lead_to_a_task_of_any_name(site, service, tasks):
    """Of what an address has signs for nothing is lost."""
    name = 'a&b #1? é+%'
    tasks(name, FunctionTask(lambda input: None, remote=True))
    service(lambda service: service.add(name, 1))
    links = [attributes['href'] for tag, attributes in Elements(
        site.text('tasks')).elements if tag == 'a'
        and name in attributes.get('aria-label', '')]
    assert len(links) == 2
    for link in links:
        assert name in ''.join(Elements(
            site.text(link.removeprefix(f'{BASE}/'))).words)


def test_the_parameters_of_a_function_are_shown(site, tasks):
    tasks('resize', FunctionTask(lambda source, width=100: None))
    text = ''.join(Elements(site.text('jobs/add?task=resize')).words)
    assert '"source": null' in text
    assert '"width": 100' in text


# --- what a job shows --------------------------------------------------------

def test_the_page_of_a_failed_job(site, service):
    (jobid,) = failed(service)
    text = site.text(f'jobs/{jobid}')
    assert 'An error occurred.' in text
    assert 'Retry' in text
    assert 'Traceback' in text


def test_a_large_input_is_cut_and_can_be_got(site, service):
    jobid = service(lambda service: service.add('echo', 'x' * 200_000))
    answer = site.get(f'jobs/{jobid}')
    assert len(answer.body) < 100_000
    assert f'{BASE}/api/v1/jobs/{jobid}'.encode() in answer.body


def test_a_job_that_cannot_be_read_is_shown(site, service, database):
    jobid = service(lambda service: service.add('echo', object))
    assert 'cannot be sent as JSON' in site.text(f'jobs/{jobid}')


def test_filters(site, service):
    failed(service)
    service(lambda service: service.add('echo', 1, key='k1'))
    rows = lambda path: [  # noqa: E731
        attributes['value'] for tag, attributes in
        Elements(site.text(path)).elements
        if tag == 'input' and attributes.get('name') == 'job']
    assert len(rows('jobs')) == 2
    assert len(rows('jobs?status=error')) == 1
    assert len(rows('jobs?task=echo')) == 1
    assert len(rows('jobs?key=k1')) == 1
    assert rows('jobs?error=nonsense') == []
    (jobid,) = rows('jobs?key=k1')
    assert f'Job {jobid}' in site.text(f'jobs?id={jobid}')


def test_pages_of_a_long_list(site, service):
    service(lambda service: [service.add('echo', n) for n in range(120)])
    seen, path = [], 'jobs?status=queued'
    for _ in range(5):
        elements = Elements(site.text(path)).elements
        seen += [attributes['value'] for tag, attributes in elements
                 if tag == 'input' and attributes.get('name') == 'job']
        more = [attributes['href'] for tag, attributes in elements
                if attributes.get('rel') == 'next']
        if not more:
            break
        path = more[0].removeprefix(f'{BASE}/')
    assert len(seen) == len(set(seen)) == 120


def test_the_page_of_a_schedule(site, service):
    def add(service):
        return service.addCronJob('echo', 1, minute=(0, 30), hour=(3,),
                                  dayOfWeek=(0,))

    service(add)
    text = site.text('schedules')
    assert 'minute 0, 30; hour 3; day of the week Monday' in text


def test_a_service_that_is_empty_tells_the_next_step(site):
    assert 'No jobs yet' in site.text('')
    assert 'remotetask worker' in site.text('workers')
    assert 'addCronJob' in site.text('schedules')


def test_a_queue_without_a_worker_says_so(site, service):
    service(lambda service: service.add('echo', 1))
    assert 'No worker runs, and 1 job waits.' in site.text('')
    service(lambda service: service.add('echo', 1))
    assert 'No worker runs, and 2 jobs wait.' in site.text('')


def test_the_database_is_left_alone_by_all_of_it(database):
    assert db.read(database, lambda connection: len(
        connection.root()['Application']['tasks'].jobs)) == 0


# --- schedules, progress, charts ---------------------------------------------

def test_a_schedule_is_run_paused_and_resumed(site, service):
    jobid = service(lambda service: service.addCronJob(
        'echo', 1, hour=(3,)))
    for path, done in (('schedules/pause', 'disabled'),
                       ('schedules/resume', 'enabled'),
                       ('jobs/start', 'started')):
        answer = site.post(path, job=jobid, back='schedules')
        assert locations(answer) == (
            f'{BASE}/schedules?done={done}&n=1')
        assert ('Resume' in site.text('schedules')) == (done == 'disabled')
    service(lambda service: service.process())
    assert 'badge completed' in site.text('schedules')
    plain = service(lambda service: service.add('echo', 1))
    answer = site.post('schedules/pause', job=[plain, 77])
    assert 'left=stays&m=2' in locations(answer)


def test_a_job_that_waits_is_started(site, service):
    jobid = service(lambda service: service.add('echo', 1, startLater=True))
    assert 'Run now' in site.text(f'jobs/{jobid}')
    site.post('jobs/start', job=jobid)
    assert statuses(service, jobid) == ['queued']
    assert 'Run now' not in site.text(f'jobs/{jobid}')


def test_a_pause_tells_who_when_and_why(site):
    site.post('pause', reason='the <disk> is full')
    text = ' '.join(Elements(site.text('')).words)
    assert 'the <disk> is full' in text
    assert 'since' in text
    assert site.post('pause', reason='x' * 300).status == 400


def test_the_charts_tell_what_has_ended(site, service):
    failed(service, 2)
    service(lambda service: [service.add('echo', n) for n in range(3)])
    service(lambda service: service.process())
    text = site.text('')
    assert '3 jobs completed and 2 failed in the last hour.' in text
    for hours in (24, 168):
        assert 'role="img"' in site.text(f'?hours={hours}')
    for hours in ('2', 'x', '', '-1'):
        assert site.get(f'?hours={hours}').status in (200, 400)
    assert site.get('?hours=2').status == 400


def test_tasks_tell_how_their_runs_have_ended(site, service):
    failed(service, 1)
    service(lambda service: [service.add('error', None),
                             service.add('echo', 1)])
    service(lambda service: service.process())
    text = ' '.join(Elements(site.text('tasks')).words)
    assert '100\u202f%' in text
    assert '0\u202f%' in text


def test_how_long_jobs_are_kept_is_shown_and_set(site, service):
    page = Elements(site.get('').body.decode())
    fields = {given['name']: given.get('value') for tag, given
              in page.elements if tag == 'input' and 'name' in given}
    assert fields['days-completed'] == '7'
    assert fields['count-error'] == '10000'
    assert locations(site.post('retention', **{
        **{name: value for name, value in fields.items()
           if name.startswith(('days-', 'count-'))},
        'days-completed': ' 0.5 ', 'count-error': ''})) == (
            f'{BASE}/?done=kept')
    found = service(lambda service: service.getRetention())
    assert found['completed'] == {'days': 0.5, 'count': 100_000}
    assert found['error'] == {'days': 90, 'count': None}
    for wrong in ('seven', '-1', '0', 'nan', '1e999'):
        assert site.post('retention', **{
            'days-completed': wrong}).status == 400
    assert service(lambda service: service.getRetention()) == found


def test_a_schedule_of_the_code_says_so(site, service):
    def make(service):
        jobid = service.addCronJob('echo', every=60, key='code:echo')
        # As a worker does it; a person's pause would be the person's.
        service.jobqueue.pause_schedule(service.jobs[jobid])
        declared.note(service.jobqueue, 'code:echo', declared.Record(
            declared.GONE, (), {'task': 'echo'}, True))
        return jobid, service.addCronJob('echo', every=60)

    ours, theirs = service(make)
    found = {one['id']: one for one in json.loads(site.text(
        'api/v1/schedules'))['jobs']}
    why = 'no longer declared by the code'
    assert (found[ours]['declared'], found[ours]['pausedBecause']) == (
        True, why)
    assert not found[theirs].keys() & {'declared', 'pausedBecause'}
    text = site.text('schedules')
    assert text.count('by the code</span>') == 1 + text.count(why)
    assert why in text
    text = site.text(f'jobs/{ours}')
    assert why in text and 'is declared by the code' in text
    assert 'declared' not in site.text(f'jobs/{theirs}')
    # A person has it go on.
    service(lambda service: service.resumeCronJob(ours))
    assert why not in site.text('schedules') + site.text(f'jobs/{ours}')
