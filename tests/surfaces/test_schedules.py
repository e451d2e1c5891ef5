"""Schedules are added and edited, by the form and by JSON."""

import datetime
import html
import json
import re
import sys

import pytest
from zope.interface import Interface
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Date
from zope.schema import Datetime
from zope.schema import Int
from zope.schema import Text
from zope.schema import TextLine

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.schedule import crontab
from lovely.remotetask.schedule import zones
from lovely.remotetask.task import FunctionTask

BASE = '/admin/tasks'
TIMES = {'minute': '*', 'hour': '*', 'dayOfMonth': '*', 'month': '*',
         'dayOfWeek': '*', 'delay': '', 'priority': '0'}


class IMail(Interface):

    to = TextLine(title='To')
    copies = Int(title='Copies', min=1, max=9, default=1)
    kind = Choice(title='Kind', values=('text', 'html'), default='text')
    urgent = Bool(title='Urgent', required=False)
    day = Date(title='Day', required=False)


class INote(Interface):

    at = Datetime(title='At', required=False)
    kind = Choice(title='Kind', values=('text', 'html'), required=False)
    text = Text(title='Text', required=False)


@pytest.fixture
def mail(tasks):
    tasks('mail', FunctionTask(lambda input: input, inputSchema=IMail))


@pytest.fixture
def nightly(service):
    """The id of a schedule of ``echo``."""
    return service(lambda service: service.addCronJob(
        'echo', {'a': [1, 'x']}, hour=(3,), minute=(30,), priority=1))


def of(service, jobid):
    def look(service):
        job = service.jobs[jobid]
        return job.task, job.input, job.fields(), job.delay, job.priority

    return service(look)


def edited(site, jobid, **fields):
    """Open the form of a schedule, change fields, and send it."""
    form = form_of(site.text(f'schedules/{jobid}/edit'))
    return site.post(f'schedules/{jobid}/edit', **{**form, **fields})


def form_of(text):
    """The values of the form of a page, by their names."""
    form = text[text.index('<form class="add"'):]
    found = {name: html.unescape(value) for name, value in re.findall(
        r'<input[^>]* name="([^"]+)" value="([^"]*)"', form)}
    for name, value in re.findall(
            r'<textarea[^>]* name="([^"]+)"[^>]*>\n([^<]*)<', form):
        found[name] = html.unescape(value)
    for name, options in re.findall(
            r'(?s)<select[^>]* name="([^"]+)".*?(<option.*?)</select>', form):
        found[name] = ''.join(re.findall(
            r'value="([^"]*)" selected', options))
    found.pop('csrf')
    for box in re.findall(r'<input type="checkbox"[^>]*>', form):
        if 'checked' not in box:
            found.pop(re.search('name="([^"]+)"', box)[1], None)
    return found


def problems(text):
    """What the page says of its fields: id -> text."""
    return {name: html.unescape(told) for name, told in re.findall(
        r'<p class="error" id="([^"]+)-problem">([^<]*)<', text)}


def added(service):
    return service(lambda service: [
        (job.task, job.input, job.fields(), job.delay, job.priority,
         job.enabled) for job in service.jobs.values()])


# --- adding ------------------------------------------------------------------

def test_a_schedule_is_added(site, service):
    assert f'{BASE}/schedules/add' in site.text('schedules')
    assert 'Add the schedule' in site.text('schedules/add?task=echo')
    answer = site.post('schedules/add', **{
        **TIMES, 'task': 'echo', 'minute': '0  30', 'hour': '3, 4',
        'priority': '2', 'input': '{"a": 1}'})
    assert answer.status == 303
    assert answer.headers['Location'] == f'{BASE}/schedules?done=scheduled'
    assert 'The schedule was added.' in site.text('schedules?done=scheduled')
    assert added(service) == [
        ('echo', {'a': 1}, ((0, 30), (3, 4), (), (), ()), None, 2, True)]


@pytest.mark.parametrize(('fields', 'delay', 'enabled'), [
    ({'hour': '5', 'paused': '1'}, None, False),
    ({'delay': '60'}, 60.0, True)])
def test_what_else_is_added(site, service, fields, delay, enabled):
    assert site.post('schedules/add', **{
        **TIMES, 'task': 'echo', 'input': '', **fields}).status == 303
    (found,) = added(service)
    assert (found[1], found[3], found[5]) == (None, delay, enabled)


def test_all_that_is_wrong_is_told_at_once(site, service, mail):
    wrong = {'task': 'mail', 'minute': '0 70', 'hour': 'three',
             'dayOfMonth': '0', 'month': '13', 'dayOfWeek': '7',
             'delay': 'soon', 'priority': '9', 'input.to': '',
             'input.copies': '77', 'input.kind': 'odt', 'input.day': 'x'}
    answer = site.post('schedules/add', **wrong)
    text = answer.body.decode()
    assert answer.status == 400
    told = problems(text)
    assert set(told) == {
        'line-minute', 'line-hour', 'line-dayOfMonth', 'line-month',
        'line-dayOfWeek', 'line-delay', 'line-priority', 'field-1', 'field-2',
        'field-3', 'field-5'}
    assert 'minute contains 70' in told['line-minute']
    assert 'too big' in told['field-2'].lower()
    form = form_of(text)
    for name in ('minute', 'hour', 'month', 'delay', 'priority',
                 'input.copies', 'input.day'):
        assert form[name] == wrong[name], name
    assert added(service) == []


@pytest.mark.parametrize(('fields', 'place', 'told'), [
    ({}, 'line-cron', 'at least'),
    ({'dayOfMonth': '30', 'month': '2'}, 'line-dayOfMonth', 'never occurs'),
    ({'hour': '3', 'delay': '5'}, 'line-minute', 'not two'),
    ({'hour': '3', 'cron': '* * * * *'}, 'line-minute', 'not two'),
    ({'every': '60', 'cron': '* * * * *'}, 'line-cron', 'not two'),
    ({'cron': '* * * *'}, 'line-cron', '4 fields'),
    ({'cron': '* * * * * *'}, 'line-cron', 'seconds are not supported'),
    ({'cron': '61 * * * *'}, 'line-cron', 'bad minute'),
    ({'cron': '* * * * *', 'timezone': 'Wien'}, 'line-timezone', 'unknown'),
    ({'cron': '* * * * *', 'timezone': 'EST'}, 'line-timezone', 'ambiguous'),
    ({'every': 'x'}, 'line-every', 'no number'),
    ({'every': '0.5'}, 'line-every', 'at least 1'),
    ({'every': '60', 'timezone': 'Europe/Vienna'}, 'line-timezone', 'clock'),
    ({'every': '60', 'atMost': '5'}, 'line-atMost', 'bounds'),
    ({'every': '60', 'missed': 'all', 'atMost': '0'}, 'line-atMost', 'whole'),
    ({'every': '60', 'deadline': '0'}, 'line-deadline', 'not 0'),
    ({'delay': '-1'}, 'line-delay', 'seconds'),
    ({'delay': 'nan'}, 'line-delay', 'seconds'),
    ({'delay': '1e99'}, 'line-delay', 'seconds'),
    ({'hour': '3', 'priority': '1.5'}, 'line-priority', 'whole number'),
    ({'hour': '1 ' * 600}, 'line-hour', 'longer than'),
    ({'hour': '٣'}, 'line-hour', 'no whole number'),
    ({'hour': '3', 'input': '{'}, 'input', 'not JSON')])
def test_what_is_wrong_stands_beside_its_field(site, service, fields, place,
                                               told):
    answer = site.post('schedules/add', **{
        **TIMES, 'task': 'echo', 'input': '1', **fields})
    assert answer.status == 400
    found = problems(answer.body.decode())
    assert list(found) == [place]
    assert told in found[place]
    assert added(service) == []


@pytest.mark.parametrize('task', ['nothing', 'hidden', ''])
def test_a_task_that_may_not_be_added(site, service, task):
    assert site.post('schedules/add', **{
        **TIMES, 'task': task, 'hour': '3', 'input': '1'}).status == 400
    assert added(service) == []
    assert task in site.text(f'schedules/add?task={task}')


def test_the_next_runs_are_shown_and_nothing_is_changed(site, service,
                                                        nightly):
    answer = site.post('schedules/add', **{
        **TIMES, 'task': 'echo', 'input': '{"kept": 1}', 'dayOfMonth': '29',
        'month': '2', 'preview': '1'})
    assert answer.status == 200
    text = answer.body.decode()
    shown = re.search(r'(?s)id="preview">(.*?)</ul>', text)[1]
    assert re.findall(r'>(\d{4}-\d\d-\d\d [\d:]+)<', shown) == [
        f'{year}-02-29 00:00:00' for year in (2028, 2032, 2036, 2040, 2044)]
    assert form_of(text)['input'] == '{"kept": 1}'
    before = of(service, nightly)
    answer = edited(site, nightly, hour='5', preview='1')
    assert answer.status == 200
    assert b'05:30:00' in answer.body
    assert of(service, nightly) == before
    assert len(added(service)) == 1


# --- editing -----------------------------------------------------------------

def test_a_schedule_is_edited(site, service, nightly):
    assert f'{BASE}/schedules/{nightly}/edit' in site.text('schedules')
    assert f'{BASE}/schedules/{nightly}/edit' in site.text(f'jobs/{nightly}')
    text = site.text(f'schedules/{nightly}/edit')
    form = form_of(text)
    assert (form['minute'], form['hour'], form['month'], form['priority']) == (
        '30', '3', '*', '1')
    assert json.loads(form['input']) == {'a': [1, 'x']}
    assert '03:30:00' in text
    answer = edited(site, nightly, hour='4 5', minute='0')
    assert answer.headers['Location'] == f'{BASE}/schedules?done=edited'
    assert of(service, nightly) == (
        'echo', {'a': [1, 'x']}, ((0,), (4, 5), (), (), ()), None, 1)
    assert edited(site, nightly, input='[2]', priority='-1').status == 303
    assert of(service, nightly)[1::3] == ([2], -1)


def test_an_edit_without_a_change_writes_nothing(site, service, nightly):
    at = service(lambda service: service.jobs[nightly]._p_serial)
    assert edited(site, nightly).status == 303
    assert service(lambda service: service.jobs[nightly]._p_serial) == at


@pytest.mark.parametrize('fields', [
    {'hour': '24'}, {'hour': '*', 'minute': '*'}, {'priority': '9'},
    {'input': 'tea'}, {'task': 'nothing'}, {'task': 'hidden'},
    {'delay': '5'}, {'token': 'x'}])
def test_a_bad_edit_changes_nothing(site, service, nightly, fields):
    before = of(service, nightly)
    answer = edited(site, nightly, **fields)
    assert answer.status in (400, 403)
    assert of(service, nightly) == before
    if answer.status == 400 and 'task' not in fields:
        kept = form_of(answer.body.decode())
        for name, value in fields.items():
            assert kept[name] == value


def test_the_fields_of_a_schema_are_filled(site, service, mail):
    before = {'to': 'jane', 'copies': 2, 'kind': 'html',
              'day': datetime.date(2026, 12, 24), 'more': (1, 2)}
    jobid = service(lambda service: service.addCronJob(
        'mail', before, hour=(3,)))
    form = form_of(site.text(f'schedules/{jobid}/edit'))
    assert [form[f'input.{name}'] for name in (
        'to', 'copies', 'kind', 'day')] == ['jane', '2', 'html', '2026-12-24']
    at = service(lambda service: service.jobs[jobid]._p_serial)
    assert edited(site, jobid).status == 303
    assert service(lambda service: service.jobs[jobid]._p_serial) == at
    assert edited(site, jobid, **{'input.copies': '3', 'input.day': '',
                                  'input.urgent': '1'}).status == 303
    assert of(service, jobid)[1] == {
        'to': 'jane', 'copies': 3, 'kind': 'html', 'more': (1, 2),
        'urgent': True}
    answer = edited(site, jobid, **{'input.copies': '33', 'input.to': ''})
    assert list(problems(answer.body.decode())) == ['field-1', 'field-2']


def test_another_task_gets_another_input(site, service, nightly, mail):
    text = site.text(f'schedules/{nightly}/edit?task=mail')
    form = {**form_of(text), 'input.to': 'jane'}
    assert form['task'] == 'mail' and form['hour'] == '3'
    assert site.post(f'schedules/{nightly}/edit', **form).status == 303
    task, input, fields, *_ = of(service, nightly)
    assert (task, input['to'], input['copies'], fields[1]) == (
        'mail', 'jane', 1, (3,))


@pytest.mark.parametrize('value', [
    (1, 2), {'a': (1, 2)}, b'bytes', {1: 2}, object])
def test_an_input_that_no_form_can_show_stays(site, service, value):
    jobid = service(lambda service: service.addCronJob(
        'echo', value, hour=(3,)))
    text = site.text(f'schedules/{jobid}/edit')
    assert 'It stays as it is' in text
    assert 'input' not in form_of(text)
    assert edited(site, jobid, hour='4').status == 303
    assert of(service, jobid)[1:3] == (value, ((), (4,), (), (), ()))


@pytest.mark.parametrize(('value', 'is_shown'), [
    # A browser's field for a moment takes none with a zone.
    ({'at': datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}, False),
    ({'at': datetime.datetime(2026, 1, 1)}, True),
    ({'at': '2026-01-01'}, False),
    ({'kind': 'gone'}, False), ({'kind': None}, True),
    ({'text': 'a\r\nb'}, False), ({'text': ' a\nb\n'}, True),
    ({'text': ''}, True), ({'text': None, 'at': None}, True)])
def test_an_untouched_field_changes_nothing(site, service, tasks, value,
                                            is_shown):
    tasks('any', FunctionTask(lambda input: input))
    jobid = service(lambda service: service.addCronJob(
        'any', value, hour=(3,)))
    # A schema that the task has got since.
    tasks('any', FunctionTask(lambda input: input, inputSchema=INote))
    text = site.text(f'schedules/{jobid}/edit')
    assert ('It stays as it is' not in text) == is_shown
    assert edited(site, jobid, hour='4').status == 303
    assert of(service, jobid)[1:3] == (value, ((), (4,), (), (), ()))


@pytest.mark.parametrize('gone', [False, True])
def test_the_times_of_a_task_that_is_not_remote(site, service, tasks, gone):
    jobid = service(lambda service: service.addCronJob(
        'hidden', {'a': 1}, hour=(3,)))
    if gone:
        from zope.component import getGlobalSiteManager

        from lovely.remotetask.interfaces import ITask

        getGlobalSiteManager().unregisterUtility(provided=ITask, name='hidden')
    assert edited(site, jobid, hour='4', priority='2').status == 303
    assert of(service, jobid) == (
        'hidden', {'a': 1}, ((), (4,), (), (), ()), None, 2)
    assert edited(site, jobid, input='2').status == 303
    assert of(service, jobid)[1] == {'a': 1}


def test_two_people_at_once(site, service, nightly):
    """The second one is told, keeps what was typed, and may insist."""
    theirs = form_of(site.text(f'schedules/{nightly}/edit'))
    assert edited(site, nightly, hour='4').status == 303
    answer = site.post(f'schedules/{nightly}/edit', **{
        **theirs, 'hour': '7'})
    assert answer.status == 409
    text = answer.body.decode()
    assert 'another person has changed this' in text
    assert 'minute 30; hour 4' in text
    assert of(service, nightly)[2][1] == (4,)
    again = form_of(text)
    assert again['hour'] == '7'
    assert site.post(f'schedules/{nightly}/edit', **again).status == 303
    assert of(service, nightly)[2][1] == (7,)


def test_a_run_is_no_change(site, service, nightly):
    """Of a schedule that runs each minute a form would never be new enough."""
    form = form_of(site.text(f'schedules/{nightly}/edit'))

    def run(service):
        service.runCronJob(nightly)
        service.process()

    service(run)
    assert site.post(f'schedules/{nightly}/edit', **{
        **form, 'hour': '4'}).status == 303


def test_amid_a_run(site, service, nightly):
    def start(service):
        service.runCronJob(nightly)
        assert service.claimNextJob() == nightly

    service(start)
    answer = edited(site, nightly, hour='4', input='"new"')
    assert answer.headers['Location'].endswith('done=edited_running')
    assert 'goes on as it began' in site.text('schedules?done=edited_running')
    # It is found where schedules are, with its run.
    for path in ('schedules', f'jobs/{nightly}'):
        assert f'{BASE}/schedules/{nightly}/edit' in site.text(path)
    text = site.text('schedules')
    assert 'minute 30; hour 4' in text and '>processing<' in text
    assert 'Run now' not in text
    # What the next run has; elsewhere, what runs.
    form = form_of(site.text(f'schedules/{nightly}/edit'))
    assert (form['input'], form['hour']) == ('"new"', '4')
    assert of(service, nightly)[1] == {'a': [1, 'x']}
    answer = edited(site, nightly, hour='*', minute='*', delay='60')
    assert answer.status == 400
    service(lambda service: service.processNext(jobid=nightly))
    assert edited(site, nightly, priority='0').status == 303
    assert of(service, nightly)[1:3] == ('new', ((30,), (4,), (), (), ()))


def test_what_is_no_schedule(site, service):
    jobid = service(lambda service: service.add('echo', 1))
    assert site.get(f'schedules/{jobid}/edit').status == 400
    assert site.get('schedules/77/edit').status == 404
    over = service(lambda service: service.addCronJob('echo', hour=(3,)))
    service(lambda service: service.cancel(over))
    assert site.get(f'schedules/{over}/edit').status == 409
    assert 'Edit' not in site.text(f'jobs/{over}')


def test_a_schedule_that_is_cancelled_meanwhile(site, service, nightly):
    form = form_of(site.text(f'schedules/{nightly}/edit'))
    service(lambda service: service.cancel(nightly))
    answer = site.post(f'schedules/{nightly}/edit', **form)
    assert answer.status == 409


def test_who_may(site, service, nightly):
    form = form_of(site.text(f'schedules/{nightly}/edit'))
    for may in ((VIEW,), (VIEW, ADD)):
        assert 'Edit' not in site.text('schedules', may=may)
        assert 'Add a schedule' not in site.text('schedules', may=may)
        for path in ('schedules/add', f'schedules/{nightly}/edit'):
            assert site.get(path, may=may).status == 403
            assert site.ask('POST', path, {
                **form, 'csrf': site.csrf.token()}, may=may,
                sec_fetch_site='same-origin').status == 403
    assert site.get('schedules/add', may=(MANAGE,)).status == 200


# --- JSON --------------------------------------------------------------------

@pytest.fixture
def api(site):
    """``api(method, path, data)``: (status, answer)."""
    def api(method, path, data=None, **options):
        answer = site.ask(
            method, f'api/v1/{path}', content_type='application/json',
            body=None if data is None else json.dumps(data).encode(),
            **options)
        return answer.status, json.loads(answer.body or b'null')

    return api


def test_a_schedule_as_json(api, service, nightly):
    status, found = api('GET', f'schedules/{nightly}')
    assert status == 200
    assert (found['task'], found['input'], found['schedule'], found['delay'],
            found['priority'], found['enabled'], found['lastRun']) == (
        'echo', {'a': [1, 'x']}, {
            'minute': [30], 'hour': [3], 'dayOfMonth': [], 'month': [],
            'dayOfWeek': []}, None, 1, True, None)
    status, changed = api('PUT', f'schedules/{nightly}', {
        'hour': [4], 'version': found['version']})
    assert (status, changed) == (200, {'id': nightly, 'status': 'cronjob'})
    assert of(service, nightly) == (
        'echo', {'a': [1, 'x']}, ((30,), (4,), (), (), ()), None, 1)
    status, told = api('PUT', f'schedules/{nightly}', {
        'hour': [5], 'version': found['version']})
    assert status == 409 and 'changed meanwhile' in told['detail']
    assert api('PUT', f'schedules/{nightly}', {
        'task': 'echo', 'input': None, 'priority': 0, 'minute': []})[0] == 200
    assert of(service, nightly)[1:] == (
        None, ((), (4,), (), (), ()), None, 0)


def test_a_delay_as_json(api, service):
    status, made = api('POST', 'schedules', {'task': 'echo', 'delay': 60})
    assert (status, made['status']) == (201, 'delayed')
    assert api('PUT', f'schedules/{made["id"]}', {'delay': 90})[0] == 200
    assert of(service, made['id'])[3] == 90
    assert api('POST', 'schedules', {
        'task': 'echo', 'delay': '60'})[0] == 400


@pytest.mark.parametrize('data', [
    {'hour': 4}, {'hour': [24]}, {'hour': [True]}, {'minute': [], 'hour': []},
    {'task': 'nothing'}, {'task': 'hidden'}, {'task': 7}, {'priority': 9},
    {'delay': 'x'}, {'version': 7, 'hour': [4]}, {'key': 'x'}, []])
def test_json_that_is_refused(api, service, nightly, data):
    before = of(service, nightly)
    status, told = api('PUT', f'schedules/{nightly}', data)
    assert status in (400, 409) and told['detail']
    assert of(service, nightly) == before


def test_a_schedule_is_ended_by_json(api, service, nightly):
    assert api('DELETE', f'schedules/{nightly}', may=(VIEW, ADD))[0] == 403
    assert api('DELETE', f'schedules/{nightly}') == (204, None)
    assert service(lambda service: service.getStatus(nightly)) == 'cancelled'
    assert api('DELETE', f'schedules/{nightly}')[0] == 409
    status, told = api('GET', f'schedules/{nightly}')
    assert status == 404 and 'is over (cancelled)' in told['detail']


def test_json_about_what_is_no_schedule(api, service):
    plain = service(lambda service: service.add('echo', 1))
    for method, data in (('GET', None), ('PUT', {}), ('DELETE', None)):
        assert api(method, f'schedules/{plain}', data)[0] == 400
        assert api(method, 'schedules/77', data)[0] == 404
    assert api('PUT', f'schedules/{plain}', {}, may=(VIEW, ADD))[0] == 403


# -- a plan -------------------------------------------------------------------

PLAN = {'cron': '30 2 * * *', 'timezone': 'Europe/Vienna', 'missed': 'all',
        'atMost': 5, 'deadline': 7200, 'overlap': 'queue'}


def plan_of(service, jobid):
    return service(lambda service: service.jobs[jobid].plan)


def test_a_plan_by_the_form_and_back(site, service):
    typed = {name: str(value) for name, value in PLAN.items()}
    text = site.post('schedules/add', task='echo', **TIMES, **typed,
                     preview='1').body.decode()
    assert text.count('<li>') == 5 and 'Next runs' in text
    assert text.count(' 02:30 in Europe/Vienna)</li>') == 5
    site.post('schedules/add', task='echo', **TIMES, **typed)
    (jobid,) = service(lambda service: list(service.jobs))
    assert plan_of(service, jobid) == PLAN
    form = form_of(site.text(f'schedules/{jobid}/edit'))
    assert {name: form[name] for name in PLAN} == typed
    listed = site.text('schedules')
    assert ('30 2 * * *; in Europe/Vienna; missed: all; at most: 5; '
            'seconds late at most: 7200; overlap: queue') in listed
    # Nothing changes where nothing is changed.
    edited(site, jobid)
    assert plan_of(service, jobid) == PLAN
    # What is emptied goes.
    edited(site, jobid, timezone='', atMost='', deadline='', missed='once',
           overlap='skip')
    assert plan_of(service, jobid) == {'cron': '30 2 * * *'}
    edited(site, jobid, cron='', every='90')
    assert plan_of(service, jobid)['every'] == 90


def test_a_plan_by_json_and_back(api, service):
    status, made = api('POST', 'schedules', {'task': 'echo', **PLAN})
    assert status == 201
    jobid = int(made['id'])
    assert plan_of(service, jobid) == PLAN
    _, shown = api('GET', f'schedules/{jobid}')
    assert shown['plan'] == PLAN
    moment = '2099-03-29T02:30:00'
    assert api('PUT', f'schedules/{jobid}', {'at': moment})[0] == 200
    # Skipped in Vienna on that day: at the change.
    assert api('GET', f'schedules/{jobid}')[1]['plan'] == {
        'at': '2099-03-29T01:00:00+00:00', 'timezone': 'Europe/Vienna'}
    for wrong in ({'at': 'tomorrow'}, {'cron': 7}, {'timezone': None},
                  {'every': '60'}, {'missed': 'twice'}, {'atMost': 1.5}):
        assert api('PUT', f'schedules/{jobid}', wrong)[0] in (400, 422), wrong


@pytest.mark.parametrize('given', [
    {'every': 1234567}, {'every': 90.123456789}, {'delay': 7654321.5},
    {'cron': '@daily', 'deadline': 1000001}], ids=str)
def test_no_digit_is_lost_in_the_form(site, service, given):
    jobid = service(lambda service: service.addCronJob('echo', **given))
    assert edited(site, jobid).status == 303

    def look(service):
        job = service.jobs[jobid]
        return {name: getattr(job, name) for name in given}

    assert service(look) == given


def test_a_period_is_shown_as_it_goes_on(site, service):
    """It counts from when it was given, and not from when one looks."""
    jobid = service(lambda service: service.addCronJob('echo', every=86_400))

    def age(service):
        job = service.jobs[jobid]
        job.plan = {**job.plan, 'since': job.plan['since'] - 40_000}
        service.reschedule(jobid)
        return job.scheduledAt

    first = f'{service(age):%Y-%m-%d %H:%M:%S}'
    assert first in site.text(f'schedules/{jobid}/edit')
    for priority in ('0', '1'):
        text = edited(site, jobid, preview='1',
                      priority=priority).body.decode()
        assert first in text[text.index('id="preview"'):]


@pytest.mark.parametrize('unknown', ['zone', 'cronsim'])
def test_a_schedule_that_this_process_cannot_tell(
        site, api, service, monkeypatch, unknown):
    """Another one has checked it, which has more installed."""
    jobid = service(lambda service: service.addCronJob('echo', **PLAN))
    if unknown == 'zone':
        def unknown_zone(name):
            raise KeyError(name)

        monkeypatch.setattr(zones, 'zone', unknown_zone)
    else:
        crontab._read.cache_clear()
        monkeypatch.setitem(sys.modules, 'cronsim', None)
    for path in ('schedules', f'schedules/{jobid}/edit', f'jobs/{jobid}'):
        assert site.get(path).status == 200, path
    assert edited(site, jobid, priority='1').status == 400
    status, shown = api('GET', f'schedules/{jobid}')
    assert (status, shown['nextRuns'], shown['plan']) == (200, [], PLAN)
    assert api('GET', 'schedules')[0] == 200
    assert api('POST', f'schedules/{jobid}/disable', {})[0] == 200
