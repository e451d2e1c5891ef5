"""``addcronjob.html`` and ``editjob``: what is typed, and what is stored."""

import datetime
import html
import re

import pytest
import transaction
from persistent import Persistent
from zope.interface import Interface
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Datetime
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import set_options

TIMES = ('hour', 'minute', 'dayOfMonth', 'month', 'dayOfWeek')


class IGreeting(Interface):

    name = TextLine(title='Name')
    times = Int(title='Times', min=1, max=9, default=1)
    tone = Choice(title='Tone', values=('plain', 'warm'), default='plain')
    loud = Bool(title='Loud', required=False)
    at = Datetime(title='At', required=False)


class Basket(Persistent):
    """Something that no form can show."""


@pytest.fixture
def greet(driver):
    """A task whose input has a schema."""
    made = FunctionTask(lambda input: None)
    set_options(made, {})
    made.inputSchema = IGreeting
    driver.world.register('greet', made)
    return made


def typed(**values):
    """A form as it is sent: empty but for these."""
    return {'form.task': 'echo', **{f'form.{name}': '' for name in (
        *TIMES, 'delay')}, **{name if '.' in name or name.startswith('task')
                              else f'form.{name}': value
                              for name, value in values.items()}}


def add(visits, who='mgr', **values):
    return visits.post('addcronjob.html', who, **{
        **typed(**values), 'form.actions.add': 'Add'})


def edit(visits, jobid, **values):
    """Send the form as it is shown, but for these."""
    page = visits.get(f'{jobid}/editjob')
    assert page.status_int == 200, page.text
    return visits.ask('POST', f'{jobid}/editjob', {
        **shown(page.text), **values, 'form.actions.apply': 'Apply'})


def shown(text):
    """What the fields of a page would send."""
    text = text.partition('<main')[2]
    found = dict(re.findall(
        r'<input type="(?:hidden|text)"[^>]*? name="([^"]*)" value="([^"]*)"',
        text))
    for attributes in re.findall(r'<input ([^>]*)>', text):
        one = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        if one.get('type') == 'checkbox':
            if 'checked' in one:
                found[one['name']] = one['value']
        elif one.get('type') != 'submit':
            found[one['name']] = one.get('value', '')
    for name, options in re.findall(
            r'(?s)<select [^>]*?name="([^"]*)"[^>]*>(.*?)</select>', text):
        values = re.findall(r'<option value="([^"]*)"( selected)?', options)
        found[name] = next((value for value, mark in values if mark),
                           values[0][0])
    for name, value in re.findall(
            r'(?s)<textarea [^>]*?name="([^"]*)"[^>]*>\n(.*?)</textarea>',
            text):
        found[name] = value
    return {name: html.unescape(value) for name, value in found.items()}


def job_of(driver, jobid=None):
    """The one job, as plain values."""
    with driver.world.acting() as service:
        job = (next(iter(service.jobs.values())) if jobid is None
               else service.jobs[jobid])
        return {name: getattr(job, name) for name in (
            'id', 'task', 'input', 'delay', 'submitter', 'priority', *TIMES)}


def problems(answer):
    return [html.unescape(one) for one in re.findall(
        r'<p class="error"[^>]*>([^<]*)', answer.text)]


# --- to add ------------------------------------------------------------------

@pytest.mark.parametrize('name, values', [
    ('hour', tuple(range(24))), ('minute', tuple(range(60))),
    ('dayOfMonth', tuple(range(1, 32))), ('month', tuple(range(1, 13))),
    ('dayOfWeek', tuple(range(7)))])
def test_an_asterisk_means_all(driver, visits, name, values):
    """In 0.5.2 it missed December and the 31st, and gave 0 instead."""
    assert add(visits, **{name: ' * '}).status_int == 303
    job = job_of(driver)
    assert job[name] == values
    assert all(job[other] == () for other in TIMES if other != name)
    page = shown(visits.get(f'{job["id"]}/editjob').text)
    assert page[f'form.{name}'] == '*'


def test_a_cron_job_as_it_is_typed(driver, visits):
    answer = add(visits, hour='4  16', minute='30 0', dayOfMonth='1 31',
                 month='12', dayOfWeek='6 0', taskinput='{"a": [1]}')
    assert answer.status_int == 303
    assert answer.headers['Location'] == (
        '/site/tasks/@@jobs.html?done=added')
    job = job_of(driver)
    assert [job[name] for name in TIMES] == [
        (4, 16), (0, 30), (1, 31), (12,), (0, 6)]
    assert (job['task'], job['input'], job['delay'], job['submitter']) == (
        'echo', {'a': [1]}, None, 'zope.mgr')
    assert 'The cron job was added.' in visits.get(
        'jobs.html?done=added').text


def test_a_delay(driver, visits):
    assert add(visits, delay='3600').status_int == 303
    assert job_of(driver)['delay'] == 3600
    assert job_of(driver)['input'] is None
    # 0 beside a schedule is none: 0.5.2's form always sent one.
    assert add(visits, delay='0', hour='3').status_int == 303
    with driver.world.acting() as service:
        assert {job.delay for job in service.jobs.values()} == {3600, None}


@pytest.mark.parametrize('values, problem', [
    ({'hour': '24'}, 'hour contains 24'),
    ({'hour': '-1'}, 'hour contains -1'),
    ({'minute': '60'}, 'minute contains 60'),
    ({'month': '0'}, 'month contains 0'),
    ({'month': '13'}, 'month contains 13'),
    ({'dayOfMonth': '0'}, 'dayOfMonth contains 0'),
    ({'dayOfWeek': '7'}, 'dayOfWeek contains 7'),
    ({'hour': '1,2'}, 'These have to be whole numbers'),
    ({'hour': '1 *'}, 'These have to be whole numbers'),
    ({'hour': '<b>'}, 'These have to be whole numbers'),
    ({'hour': '9' * 5000}, 'These have to be whole numbers'),
    ({'hour': '1.5'}, 'These have to be whole numbers'),
    ({'delay': 'soon'}, 'This has to be a number of seconds'),
    ({'delay': 'nan'}, 'delay is nan'),
    ({'delay': 'inf'}, 'delay is inf'),
    ({'delay': '-1'}, 'delay is -1')])
def test_what_cannot_be_read_is_said_beside_its_field(
        driver, visits, values, problem):
    answer = add(visits, dayOfWeek='1', **values)\
        if 'dayOfWeek' not in values else add(visits, **values)
    assert answer.status_int == 400
    found, = problems(answer)
    assert problem in found
    # What was typed is still there, and harmless.
    (name, value), = values.items()
    assert shown(answer.text)[f'form.{name}'] == value
    assert '<b>' not in answer.text
    assert driver.count() == 0


@pytest.mark.parametrize('values, problem', [
    ({}, 'no schedule: give at least one of'),
    ({'dayOfMonth': '30', 'month': '2'}, 'dayOfMonth 30 never occurs'),
    ({'hour': '1', 'form.task': 'nothing'}, 'Task does not exist'),
    ({'hour': '1', 'form.task': ''}, 'Task does not exist'),
    ({'hour': '1', 'taskinput': '{'}, 'The input is not JSON'),
    ({'hour': '1', 'taskinput': '[' * 100_000}, 'nested too deeply'),
    ({'hour': '1', 'form.task': '<script>'}, 'Task does not exist')])
def test_what_makes_no_cron_job_is_said_above(driver, visits, values,
                                              problem):
    answer = add(visits, **values)
    assert answer.status_int == 400
    assert problem in html.unescape(answer.text)
    assert '<script>' not in answer.text
    assert driver.count() == 0


def test_a_task_with_a_schema_asks_for_its_input(driver, visits, greet):
    # The page that was sent did not know yet which task it would be.
    answer = add(visits, hour='3', **{'form.task': 'greet'})
    assert answer.status_int == 200
    assert 'fill in below what greet takes' in answer.text
    form = shown(answer.text)
    assert form['form.hour'] == '3'
    assert {name for name in form if name.startswith('taskinput.')} == {
        'taskinput.name', 'taskinput.times', 'taskinput.tone',
        'taskinput.at'}
    assert driver.count() == 0
    answer = visits.ask('POST', 'addcronjob.html', {
        **form, 'taskinput.name': 'Zoë <b>', 'taskinput.times': '12',
        'form.actions.add': 'Add'})
    assert answer.status_int == 400 and len(problems(answer)) == 1
    form = shown(answer.text)
    assert form['taskinput.name'] == 'Zoë <b>'
    answer = visits.ask('POST', 'addcronjob.html', {
        **form, 'taskinput.times': '2', 'taskinput.loud': '1',
        'form.actions.add': 'Add'})
    assert answer.status_int == 303
    assert job_of(driver)['input'] == {
        'name': 'Zoë <b>', 'times': 2, 'tone': 'plain', 'loud': True}
    # By an address, the fields are there at once.
    assert 'name="taskinput.name"' in visits.get(
        'addcronjob.html?form.task=greet').text


def test_tasks_that_are_not_remote_are_not_offered(driver, visits):
    driver.task('secret', lambda input: None, remote=False)
    assert 'secret' not in visits.get('addcronjob.html').text.partition(
        '<main')[2]
    assert add(visits, hour='1', **{'form.task': 'secret'}).status_int == 400
    assert driver.count() == 0


# --- to edit -----------------------------------------------------------------

def cron(driver, task='echo', input=None, **options):
    with driver.world.acting('zope.mgr') as service:
        return service.addCronJob(task, input, **{'hour': (3,), **options})


@pytest.mark.parametrize('input', [
    None, 'tea', {'a': {'b': [1, 2.5, None, True]}}, [1], 'line\nline', '',
    (1, 2), {1: 2}, b'bytes', {'x': {1, 2}}, 'Zoë', '\u202e', 2 ** 70])
def test_the_input_stays(driver, visits, input):
    """0.5.2 dropped it."""
    jobid = cron(driver, input=input)
    answer = edit(visits, jobid, **{'form.hour': '5'})
    assert answer.status_int == 303, problems(answer)
    job = job_of(driver)
    assert job['hour'] == (5,)
    assert (job['input'], type(job['input'])) == (input, type(input))


def test_an_input_that_is_an_object_stays(driver, visits):
    with driver.world.acting() as service:
        basket = service.__parent__.basket = Basket()
        transaction.commit()
        jobid = service.addCronJob('echo', basket, hour=(3,))
        oid = basket._p_oid
    text = visits.get(f'{jobid}/editjob').text
    assert 'It stays as it is: ' in text and '<textarea' not in text
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303
    with driver.world.acting() as service:
        assert service.jobs[jobid].hour == (5,)
        assert service.jobs[jobid].input._p_oid == oid


def test_an_input_can_be_changed(driver, visits):
    jobid = cron(driver, input={'a': 1})
    assert edit(visits, jobid, taskinput='{"a": 2}').status_int == 303
    assert job_of(driver)['input'] == {'a': 2}
    assert edit(visits, jobid, taskinput='').status_int == 303
    assert job_of(driver)['input'] is None


def test_the_fields_of_a_schema(driver, visits, greet):
    """What the schema does not name stays, too."""
    jobid = cron(driver, 'greet', {
        'name': 'Zoë', 'times': 3, 'tone': 'warm', 'loud': True, 'more': 1})
    form = shown(visits.get(f'{jobid}/editjob').text)
    assert [form[f'taskinput.{name}'] for name in (
        'name', 'times', 'tone', 'loud')] == ['Zoë', '3', 'warm', '1']
    assert edit(visits, jobid, **{'taskinput.times': '4'}).status_int == 303
    assert job_of(driver)['input'] == {
        'name': 'Zoë', 'times': 4, 'tone': 'warm', 'loud': True, 'more': 1}
    answer = edit(visits, jobid, **{'taskinput.times': '10',
                                    'form.hour': '7'})
    assert answer.status_int == 400 and len(problems(answer)) == 1
    assert (job_of(driver)['input']['times'], job_of(driver)['hour']) == (
        4, (3,))


def test_a_program_that_sends_no_input_leaves_it(driver, visits, greet):
    """As one that was written for 0.5.2's form without a sub-form."""
    input = {'name': 'Zoë', 'times': 3, 'tone': 'warm'}
    jobid = cron(driver, 'greet', input)
    answer = visits.post(f'{jobid}/editjob', **{
        **typed(hour='9'), 'form.task': 'greet',
        'form.actions.apply': 'Apply'})
    assert answer.status_int == 303
    assert (job_of(driver)['input'], job_of(driver)['hour']) == (input, (9,))


def test_a_moment_with_a_zone_stays(driver, visits, greet):
    """A browser's field for it takes none."""
    class IWhen(Interface):
        at = Datetime(title='At', required=False)

    greet.inputSchema = IWhen
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    jobid = cron(driver, 'greet', {'at': at})
    assert 'It stays as it is: ' in visits.get(f'{jobid}/editjob').text
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303
    assert job_of(driver)['input'] == {'at': at}


def test_another_task(driver, visits, greet):
    jobid = cron(driver, input='tea')
    answer = edit(visits, jobid, **{'form.task': 'greet'})
    assert answer.status_int == 200
    form = shown(answer.text)
    assert form['form.task'] == 'greet' and 'taskinput.name' in form
    assert job_of(driver)['task'] == 'echo'
    answer = visits.ask('POST', f'{jobid}/editjob', {
        **form, 'taskinput.name': 'Zoë', 'form.actions.apply': 'Apply'})
    assert answer.status_int == 303
    job = job_of(driver)
    assert (job['task'], job['input']['name'], job['hour']) == (
        'greet', 'Zoë', (3,))


def test_it_keeps_whom_it_runs_as_and_its_priority(driver, visits):
    jobid = cron(driver, runAs='zope.jane', priority=2)
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303
    job = job_of(driver)
    assert (job['submitter'], job['priority'], job['hour']) == (
        'zope.jane', 2, (5,))


def test_it_runs_by_the_new_schedule(driver, visits):
    jobid = cron(driver)
    with driver.world.acting() as service:
        before = service.jobs[jobid].scheduledAt
    assert edit(visits, jobid, **{'form.hour': '4'}).status_int == 303
    with driver.world.acting() as service:
        after = service.jobs[jobid].scheduledAt
        assert (before.hour, after.hour) == (3, 4)
        assert f'{after:%Y-%m-%d} 04:00:00 UTC' in visits.get().text
    # A delay instead of the schedule, and back.
    assert edit(visits, jobid, **{'form.hour': '',
                                  'form.delay': '60'}).status_int == 303
    assert 'delayed' in visits.get().text
    assert edit(visits, jobid, **{'form.hour': '4',
                                  'form.delay': ''}).status_int == 303
    assert 'cronjob' in visits.get().text


def test_a_task_of_the_application_alone_can_be_edited(driver, visits):
    driver.task('secret', lambda input: None, remote=False)
    jobid = cron(driver, 'secret')
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303
    assert job_of(driver)['hour'] == (5,)


def test_a_task_that_is_not_registered_here_is_not_changed_unseen(
        driver, visits):
    driver.task('fleeting', lambda input: None)
    jobid = cron(driver, 'fleeting', 'tea')
    import zope.component

    from lovely.remotetask.interfaces import ITask

    zope.component.getGlobalSiteManager().unregisterUtility(
        provided=ITask, name='fleeting')
    form = shown(visits.get(f'{jobid}/editjob').text)
    assert form['form.task'] == 'fleeting' and 'taskinput' not in form
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303
    job = job_of(driver)
    assert (job['task'], job['input'], job['hour']) == (
        'fleeting', 'tea', (5,))


@pytest.mark.parametrize('status', ['cancelled', 'completed'])
def test_a_job_that_is_over(driver, visits, status):
    jobid = cron(driver, hour=(), delay=0)
    if status == 'cancelled':
        with driver.world.acting() as service:
            service.cancel(jobid)
    else:
        driver.run()
    answer = visits.get(f'{jobid}/editjob')
    assert answer.status_int == 409
    assert f'is over ({status})' in answer.text
    answer = visits.post(f'{jobid}/editjob', **{
        **typed(hour='5'), 'form.actions.apply': 'Apply'})
    assert answer.status_int == 409


def test_one_that_runs_meanwhile_is_not_lost(driver, visits):
    """The edit is stored, and the run stays its own."""
    jobid = cron(driver)
    with driver.world.acting() as service:
        service.runCronJob(jobid)
    driver.run()
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303
    with driver.world.acting() as service:
        job = service.jobs[jobid]
        assert (job.hour, job.status, len(job.runs)) == ((5,), 'cronjob', 1)


def test_amid_a_run_the_form_has_what_the_next_one_has(driver, visits):
    jobid = cron(driver, input={'tea': 'green'})
    with driver.world.acting() as service:
        service.runCronJob(jobid)
        service.claimNextJob()
        service.editCronJob(jobid, hour=(7,), input={'tea': 'black'})
    form = shown(visits.get(f'{jobid}/editjob').text)
    assert form['form.hour'] == '7' and 'black' in form['taskinput']
    assert edit(visits, jobid, **{'form.minute': '5'}).status_int == 303
    with driver.world.acting() as service:
        job = service.jobs[jobid]
        assert (job.status, job.hour, job.minute, job.input) == (
            'processing', (3,), (), {'tea': 'green'})
        assert [job.coming(name) for name in ('hour', 'minute', 'input')] == [
            (7,), (5,), {'tea': 'black'}]
    # It goes on as it began, and then has no schedule to be changed to this.
    answer = edit(visits, jobid, **{'form.hour': '', 'form.minute': '',
                                    'form.delay': '60'})
    assert answer.status_int == 409


# --- a plan ------------------------------------------------------------------

@pytest.mark.parametrize('plan', [
    {'hour': (), 'cron': '*/5 * * * *'}, {'hour': (), 'every': 300},
    {'timezone': 'Europe/Vienna'}, {'missed': 'skip'},
    {'overlap': 'cancel'},
    {'hour': (), 'at': datetime.datetime(2999, 1, 1, tzinfo=datetime.UTC)}])
def test_a_plan_is_edited_on_the_dashboard(driver, visits, plan):
    """The form of 0.5.2 would tell a part of it, and store that."""
    def times(job):
        return (job.plan, job.fields(), job.task, job.input, job.scheduledAt)

    jobid = cron(driver, input='tea', **plan)
    with driver.world.acting() as service:
        before = times(service.jobs[jobid])
        assert before[0]
    place = f'/site/tasks/@@dashboard/schedules/{jobid}/edit'
    for answer, status in (
            (visits.get(f'{jobid}/editjob'), 200),
            (visits.get(f'{jobid}/editjob?form.task=echo'), 200),
            # As a page that was shown before it had a plan.
            (visits.post(f'{jobid}/editjob', **{
                **typed(hour='5', taskinput='"coffee"'),
                'taskinput-of': 'echo', 'form.actions.apply': 'Apply'}), 409),
            (visits.post(f'{jobid}/editjob', **{
                'form.task': 'echo', 'form.actions.apply': 'Apply'}), 409)):
        assert answer.status_int == status
        assert f'it is edited <a href="{place}">' in answer.text
        assert 'form.hour' not in answer.text
        with driver.world.acting() as service:
            assert times(service.jobs[jobid]) == before
    assert visits.get(place.removeprefix('/site/tasks/')).status_int == 200
    # Both pages list it.
    assert f'{jobid}/editjob' in visits.get().text


def test_a_plan_that_the_next_run_has(driver, visits):
    jobid = cron(driver)
    with driver.world.acting() as service:
        service.runCronJob(jobid)
        service.claimNextJob()
        service.editCronJob(jobid, every=60)
        assert service.jobs[jobid].plan is None
    assert 'it is edited <a ' in visits.get(f'{jobid}/editjob').text
    with driver.world.acting() as service:
        service.editCronJob(jobid, hour=(4,))
        assert service.jobs[jobid].coming('plan') is None
    assert edit(visits, jobid, **{'form.hour': '5'}).status_int == 303


# --- what a task hides -------------------------------------------------------

SECRET = 'xyzzy'
DATA = {'name': 'Zoë', 'times': 3, 'tone': 'warm', 'password': SECRET}


class ILogin(IGreeting):

    password = TextLine(title='Password', max_length=9)


@pytest.fixture
def hiding(driver):
    """Tasks that hide the password, all of the input, and one with fields.
    """
    shown = ['name', 'times', 'tone']
    driver.task('some', lambda input: None, show=shown)
    driver.task('none', lambda input: None, show=False)
    made = FunctionTask(lambda input: None, inputSchema=ILogin)
    set_options(made, {'show': shown})
    driver.world.register('login', made)


@pytest.mark.parametrize('name, input', [
    ('some', DATA), ('none', DATA), ('login', DATA), ('none', SECRET),
    ('some', SECRET), ('some', {**DATA, 'more': SECRET}),
    ('login', {**DATA, 'more': SECRET})])
def test_what_is_hidden_is_never_shown_and_never_lost(
        driver, visits, hiding, name, input):
    jobid = cron(driver, name, input)
    for path in ('jobs.html', f'{jobid}/editjob', f'{jobid}/detail',
                 f'{jobid}/editjob?form.task=echo',
                 f'{jobid}/editjob?form.task=greet',
                 f'{jobid}/editjob?form.task=none', 'addcronjob.html',
                 f'addcronjob.html?form.task={name}'):
        answer = visits.get(path)
        assert answer.status_int == 200 and SECRET not in answer.text, path
    answer = edit(visits, jobid, **{'form.hour': '5'})
    assert answer.status_int == 303, problems(answer)
    assert (job_of(driver)['input'], job_of(driver)['hour']) == (input, (5,))
    # Nor where the form is refused.
    answer = edit(visits, jobid, **{'form.hour': '24'})
    assert answer.status_int == 400 and SECRET not in answer.text
    assert job_of(driver)['input'] == input


@pytest.mark.parametrize('name, given', [
    ('some', {'taskinput': '{"name": "Ann"}'}),
    ('login', {'taskinput.name': 'Ann', 'taskinput.times': '3'})])
def test_an_edit_of_what_is_shown_keeps_what_is_hidden(
        driver, visits, hiding, name, given):
    jobid = cron(driver, name, DATA)
    assert 'its task hides 1 of its 4 keys' in visits.get(
        f'{jobid}/editjob').text
    assert edit(visits, jobid, **given).status_int == 303
    input = job_of(driver)['input']
    assert (input['name'], input['password']) == ('Ann', SECRET)


@pytest.mark.parametrize('name, given', [
    ('some', {'taskinput': '{"name": "Ann", "password": "new"}'}),
    ('none', {'taskinput': '{"name": "Ann", "password": "new"}'}),
    ('login', {'taskinput.password': 'new'})])
def test_what_is_hidden_can_be_given_anew(driver, visits, hiding, name,
                                          given):
    jobid = cron(driver, name, DATA)
    assert edit(visits, jobid, **given).status_int == 303
    assert job_of(driver)['input']['password'] == 'new'


def test_what_was_typed_into_a_hidden_field_is_not_sent_back(
        driver, visits, hiding):
    form = shown(visits.get('addcronjob.html?form.task=login').text)
    answer = visits.ask('POST', 'addcronjob.html', {
        **form, 'form.hour': '3', 'taskinput.name': 'Zoë',
        'taskinput.password': SECRET * 2, 'form.actions.add': 'Add'})
    assert answer.status_int == 400 and problems(answer)
    assert SECRET not in answer.text and 'type="password"' in answer.text
    assert driver.count() == 0


@pytest.mark.parametrize('task', ['echo', 'greet', 'some'])
@pytest.mark.parametrize('name, input', [
    ('some', DATA), ('none', DATA), ('login', DATA), ('none', SECRET)])
def test_no_other_task_gets_what_is_hidden(driver, visits, greet, hiding,
                                           name, input, task):
    if task == name:
        return
    jobid = cron(driver, name, input)
    answer = edit(visits, jobid, **{'form.task': task})
    if task == 'greet':     # it asks for fields, and has stored nothing yet
        assert answer.status_int == 200
    else:
        assert answer.status_int == 400
        assert 'give another input with it' in html.unescape(answer.text)
    assert SECRET not in answer.text
    assert job_of(driver)['task'] == name and job_of(driver)['input'] == input
    form = shown(answer.text)
    assert form['form.task'] == task
    answer = visits.ask('POST', f'{jobid}/editjob', {
        **form, 'taskinput': '{"name": "Ann"}', 'taskinput.name': 'Ann',
        'form.actions.apply': 'Apply'})
    assert answer.status_int == 303, problems(answer)
    job = job_of(driver)
    assert (job['task'], job['input']['name']) == (task, 'Ann')
    assert SECRET not in str(job['input'])


def test_what_a_task_has_hidden_before_stays_hidden(driver, visits, hiding):
    jobid = cron(driver, 'login', DATA)
    made = FunctionTask(lambda input: None, inputSchema=ILogin)
    set_options(made, {})
    driver.world.register('login', made)
    assert SECRET not in visits.get(f'{jobid}/editjob').text
    assert edit(visits, jobid, **{'taskinput.name': 'Ann'}).status_int == 303
    assert job_of(driver)['input'] == {**DATA, 'name': 'Ann'}
    assert SECRET not in visits.get(f'{jobid}/editjob').text


# --- for both ----------------------------------------------------------------

@pytest.mark.parametrize('page', ['addcronjob.html', 'editjob'])
def test_cancel_leaves(driver, visits, page):
    jobid = cron(driver)
    path = page if page != 'editjob' else f'{jobid}/editjob'
    answer = visits.post(path, **{**typed(hour='x'),
                                  'form.actions.cancel': 'Cancel'})
    assert (answer.status_int, answer.headers['Location']) == (
        303, '/site/tasks/@@jobs.html')
    assert driver.count() == 1 and job_of(driver)['hour'] == (3,)


@pytest.mark.parametrize('who, status', [
    (None, 401), ('guest', 403), ('jane', 403), ('mgr', 200)])
@pytest.mark.parametrize('page', ['addcronjob.html', 'editjob'])
def test_who_may(driver, visits, page, who, status):
    jobid = cron(driver)
    path = page if page != 'editjob' else f'{jobid}/editjob'
    answer = visits.get(path, who)
    assert answer.status_int == status
    token = visits.token()
    if status == 200:
        return
    for headers in ({}, {'Origin': 'http://localhost:80'}):
        answer = visits.ask('POST', path, {
            **typed(hour='5'), 'csrf': token, 'form.actions.add': '1',
            'form.actions.apply': '1'}, who, **headers)
        assert answer.status_int in (401, 403)
    assert driver.count() == 1 and job_of(driver)['hour'] == (3,)


@pytest.mark.parametrize('token', ['', 'x' * 64, None])
@pytest.mark.parametrize('page', ['addcronjob.html', 'editjob'])
def test_without_our_token(driver, visits, page, token):
    jobid = cron(driver)
    path = page if page != 'editjob' else f'{jobid}/editjob'
    form = {**typed(hour='5'), 'form.actions.add': '1',
            'form.actions.apply': '1'}
    if token is not None:
        form['csrf'] = token
    answer = visits.ask('POST', path, form)
    assert answer.status_int == 403
    assert 'Nothing was changed' in answer.text
    assert driver.count() == 1 and job_of(driver)['hour'] == (3,)


@pytest.mark.parametrize('page', ['addcronjob.html', 'editjob'])
def test_an_address_changes_nothing(driver, visits, page):
    jobid = cron(driver)
    path = page if page != 'editjob' else f'{jobid}/editjob'
    query = '&'.join(f'{name}={value}' for name, value in {
        **typed(hour='5'), 'form.actions.add': '1',
        'form.actions.apply': '1', 'csrf': visits.token()}.items())
    assert visits.get(f'{path}?{query}').status_int == 200
    assert visits.ask('PUT', path).status_int in (404, 405)
    assert visits.post(path, **typed(hour='5')).status_int == 400
    assert driver.count() == 1 and job_of(driver)['hour'] == (3,)
