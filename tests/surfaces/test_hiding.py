"""``show`` of a task: what is hidden of an input stands nowhere."""

import json

import pytest
from zope.component import getGlobalSiteManager
from zope.interface import Interface
from zope.interface import Invalid
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Text
from zope.schema import TextLine

from lovely.remotetask.commands import CommandTask
from lovely.remotetask.host.plain import PlainHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import marks
from lovely.remotetask.task import shown_keys
from lovely.remotetask.task import task
from lovely.remotetask.web import api

SECRET = 'hunter2'
TIMES = {'minute': '*', 'hour': '3', 'dayOfMonth': '*', 'month': '*',
         'dayOfWeek': '*', 'delay': '', 'priority': '0'}


def refuses_all(value):
    raise Invalid(f'{value} is no password')


class ILogin(Interface):

    user = TextLine(title='User', max_length=9)
    password = TextLine(title='Password', default=SECRET, max_length=9)
    note = Text(title='Note', required=False, max_length=9)


class IAccount(Interface):

    user = TextLine()
    password = TextLine()


class IFlag(Interface):

    user = TextLine()
    agreed = Bool()
    kind = Choice(values=('a', 'b'))


class IRefused(Interface):

    password = TextLine(constraint=refuses_all)


@pytest.fixture
def login(tasks):
    """Tasks that hide the password, by each way to say so."""
    def log_in(user, password=SECRET):
        raise ValueError('wrong')

    def log_in_whole(input):
        raise ValueError('wrong')

    tasks('some', FunctionTask(log_in, show=('user',), retry=0))
    tasks('none', FunctionTask(log_in_whole, show=False, retry=0))
    tasks('form', FunctionTask(log_in_whole, show=['user'], retry=0,
                               inputSchema=ILogin))


DATA = {'user': 'mia', 'password': SECRET}


def all_texts(site, service, jobid):
    """What is told of a job, in each place."""
    found = [site.text(path) for path in (
        '', 'jobs', f'jobs/{jobid}', 'schedules', 'tasks',
        'jobs?status=error')]
    for path in (f'jobs/{jobid}', 'jobs', 'schedules', 'tasks', 'events',
                 'tasks/some', 'tasks/form'):
        found.append(site.get(f'api/v1/{path}').body.decode())
    return found


@pytest.mark.parametrize(('name', 'data', 'shown', 'note'), [
    ('some', DATA, {'user': 'mia'}, 'hides 1 of its 2 keys'),
    ('form', DATA, {'user': 'mia'}, 'hides 1 of its 2 keys'),
    ('none', DATA, None, 'is hidden'), ('none', SECRET, None, 'is hidden'),
    ('none', [SECRET], None, 'is hidden'), ('none', None, None, None),
    ('some', {'user': 'mia'}, {'user': 'mia'}, None)])
@pytest.mark.parametrize('status', ['queued', 'error'])
def test_nothing_that_is_hidden_is_shown(site, service, login, name, data,
                                         shown, note, status):
    def add(service):
        jobid = service.add(name, data)
        if status == 'error':
            service.process()
        return jobid

    jobid = service(add)
    assert service(lambda service: service.getStatus(jobid)) == status
    for text in all_texts(site, service, jobid):
        assert SECRET not in text
    job = json.loads(site.get(f'api/v1/jobs/{jobid}').body)
    assert job['input'] == shown
    assert note is None or note in job['inputNote']
    assert ('inputNote' in job) == (note is not None)
    text = site.text(f'jobs/{jobid}')
    assert note is None or note in text
    assert shown is None or 'mia' in text
    # The task itself gets all of it.
    assert service(lambda service: service.jobs[jobid].input) == data


def test_the_one_who_added_it_is_shown_no_more(site, service, login,
                                               monkeypatch):
    """A browser that is left open is no secret place."""
    monkeypatch.setattr(PlainHost, 'submitter', lambda self: 'mia')
    jobid = service(lambda service: service.add('some', DATA))
    answer = site.get(f'api/v1/jobs/{jobid}', may=())
    assert answer.status == 200
    assert json.loads(answer.body)['input'] == {'user': 'mia'}


def test_a_process_without_the_task_hides_it_too(site, service, login):
    """A server that only shows pages has no tasks."""
    jobid = service(lambda service: service.add('some', DATA))
    cron = service(lambda service: service.addCronJob(
        'some', DATA, hour=(3,)))
    getGlobalSiteManager().unregisterUtility(provided=ITask, name='some')
    for one in (jobid, cron):
        assert SECRET not in site.text(f'jobs/{one}')
        assert 'mia' in site.text(f'jobs/{one}')
    assert SECRET not in site.text(f'schedules/{cron}/edit')


def test_a_job_that_is_older_than_the_option(site, service, tasks, login):
    def log_in(user, password):
        pass

    tasks('late', FunctionTask(log_in))
    jobid = service(lambda service: service.add('late', DATA))
    assert SECRET in site.text(f'jobs/{jobid}')
    tasks('late', FunctionTask(log_in, show=('user',)))
    assert SECRET not in site.text(f'jobs/{jobid}')
    # Both have a say.
    other = service(lambda service: service.add('late', DATA))
    tasks('late', FunctionTask(log_in, show=('password',)))
    assert SECRET not in site.text(f'jobs/{other}')
    assert 'mia' not in site.text(f'jobs/{other}')


def test_the_command_line_shows_as_much(site, service, login):
    """It asks here, also where it has opened the database by itself."""
    jobid = service(lambda service: service.add('some', DATA))
    found = api.respond('GET', f'jobs/{jobid}', {}, lambda: b'', site.run)
    assert found['input'] == {'user': 'mia'}


def test_many_jobs_at_once(site, service, login):
    for jobid in service(lambda service: service.addMany('some', [DATA] * 2)):
        assert SECRET not in site.text(f'jobs/{jobid}')


# --- errors that quote an input ----------------------------------------------

@pytest.mark.parametrize('name', ['some', 'form'])
@pytest.mark.parametrize('data', [
    {'user': 'mia', SECRET: 1}, {'user': 'mia', 'password': SECRET * 2},
    {'password': SECRET}, SECRET, [SECRET], {'user': SECRET * 2 + 'x' * 9}])
def test_an_error_quotes_nothing(site, service, login, name, data):
    answer = site.ask('POST', 'api/v1/jobs', content_type='application/json',
                      body=json.dumps({'task': name, 'input': data}).encode())
    if answer.status == 201:
        return
    assert answer.status == 400
    if data != {'user': SECRET * 2 + 'x' * 9}:
        # That one is a key that is shown.
        assert SECRET not in answer.body.decode()


def test_the_words_of_a_constraint_are_not_told(service, tasks):
    tasks('refused', FunctionTask(lambda input: None, show=False,
                                  inputSchema=IRefused))
    with pytest.raises(ValueError) as caught:
        service(lambda service: service.add('refused', {'password': SECRET}))
    assert 'password: Invalid' in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_error_of_a_job_quotes_nothing(site, service, tasks, login):
    """Its parameters were changed after it was added."""
    jobid = service(lambda service: service.add('none', {SECRET: 1}))
    tasks('none', FunctionTask(lambda a, b: None, show=False, retry=0))
    service(lambda service: service.process())
    error = service(lambda service: service.getError(jobid))
    assert 'a is missing' in error and SECRET not in error


@pytest.mark.parametrize('value', [f'-{SECRET}', f'{SECRET}\ud800',
                                   f'{SECRET}\0'])
def test_a_command_quotes_nothing(site, service, tasks, value):
    tasks('run', CommandTask(['true', '{password}'], show=()))

    def run(service):
        jobid = service.add('run', {'password': value})
        service.process()
        return service.getError(jobid)

    error = service(run)
    assert 'password in the input of true' in error and SECRET not in error
    tasks('run', CommandTask(['true', '{password}']))
    if value.startswith('-'):
        assert SECRET in service(run)


# --- forms -------------------------------------------------------------------

def test_a_form_does_not_send_back_what_is_hidden(site, service, login):
    text = site.text('jobs/add?task=form')
    assert SECRET not in text and 'type="password"' in text
    assert SECRET not in site.text('jobs/add?task=some')
    answer = site.post('jobs/add', task='form', **{
        'input.user': 'mia is too long', 'input.password': SECRET * 2,
        'input.note': f'{SECRET} and more'})
    text = answer.body.decode()
    assert answer.status == 400
    assert 'mia is too long' in text
    assert SECRET not in text
    assert text.lower().count('too long') >= 3


def test_an_edit_keeps_what_is_hidden(site, service, login):
    def of(service):
        job = service.jobs[jobid]
        return job.input, job.hour

    def form(**fields):
        text = site.text(f'schedules/{jobid}/edit')
        assert SECRET not in text
        version = text.partition('name="version" value="')[2][:16]
        return site.post(f'schedules/{jobid}/edit', **{
            **TIMES, 'task': name, 'version': version, **fields})

    for name, typed, kept in (
            ('form', {'input.user': 'john', 'input.password': ''},
             {'user': 'john', 'password': SECRET}),
            ('some', {'input': '{"user": "john"}'},
             {'user': 'john', 'password': SECRET}),
            ('none', {'input': ''}, DATA)):
        jobid = service(lambda service: service.addCronJob(
            name, DATA, hour=(2,)))  # noqa: B023
        assert form(**typed).status == 303
        assert service(of) == (kept, (3,)), name
    for name, typed in (
            ('form', {'input.user': 'john', 'input.password': 'new'}),
            ('some', {'input': '{"user": "john", "password": "new"}'})):
        jobid = service(lambda service: service.addCronJob(
            name, DATA, hour=(2,)))  # noqa: B023
        assert form(**typed).status == 303
        assert service(of)[0] == {'user': 'john', 'password': 'new'}


def test_a_hidden_yes_is_not_made_a_no(site, service, tasks):
    tasks('flag', FunctionTask(lambda input: None, show=['user'],
                               inputSchema=IFlag))
    given = {'user': 'mia', 'agreed': True, 'kind': 'b'}
    jobid = service(lambda service: service.addCronJob(
        'flag', given, hour=(3,)))
    text = site.text(f'schedules/{jobid}/edit')
    assert 'checkbox' not in text and 'selected' in text
    version = text.partition('name="version" value="')[2][:16]
    form = {**TIMES, 'task': 'flag', 'version': version, 'input.user': 'mia',
            'input.agreed': '', 'input.kind': '', 'hour': '4'}
    assert site.post(f'schedules/{jobid}/edit', **form).status == 303
    assert service(lambda service: service.jobs[jobid].input) == given
    assert site.post('schedules/add', **{**form, 'input.kind': 'a'}
                     ).status == 400
    assert site.post('schedules/add', **{
        **form, 'input.kind': 'a', 'input.agreed': '0'}).status == 303


def test_json_keeps_what_is_hidden(site, service, login):
    jobid = service(lambda service: service.addCronJob(
        'some', DATA, hour=(3,)))

    def put(**data):
        return site.ask('PUT', f'api/v1/schedules/{jobid}',
                        content_type='application/json',
                        body=json.dumps(data).encode())

    found = json.loads(site.get(f'api/v1/schedules/{jobid}').body)
    assert found['input'] == {'user': 'mia'}
    assert put(input={'user': 'john'}, version=found['version']).status == 200
    assert service(lambda service: service.jobs[jobid].input) == {
        'user': 'john', 'password': SECRET}
    # The version tells nothing by which a guess could be tried out.
    again = json.loads(site.get(f'api/v1/schedules/{jobid}').body)
    service(lambda service: service.editCronJob(
        jobid, input={'user': 'john', 'password': 'other'}))
    assert json.loads(site.get(f'api/v1/schedules/{jobid}').body)[
        'version'] == again['version']


@pytest.mark.parametrize('data', [{'task': 'echo'}, {
    'task': 'echo', 'input': {'user': 'x'}}])
@pytest.mark.parametrize(('name', 'given'), [
    ('some', DATA), ('none', DATA), ('none', SECRET)])
def test_no_other_task_gets_what_is_hidden(site, service, login, data, name,
                                           given):
    """``echo`` would show it."""
    jobid = service(lambda service: service.addCronJob(
        name, given, hour=(3,)))
    answer = site.ask('PUT', f'api/v1/schedules/{jobid}',
                      content_type='application/json',
                      body=json.dumps(data).encode())
    found = service(lambda service: service.jobs[jobid].input)
    if 'input' in data:
        assert answer.status == 200 and found == {'user': 'x'}
    else:
        assert answer.status == 400 and found == given
        assert SECRET not in answer.body.decode()
        # The application may; it is hidden all the same.
        service(lambda service: service.editCronJob(jobid, task='echo'))
        assert service(lambda service: service.jobs[jobid].task) == 'echo'
    assert SECRET not in site.text(f'schedules/{jobid}/edit')


def test_a_form_hides_what_its_task_has_hidden_before(site, service, tasks):
    tasks('mail', FunctionTask(lambda input: None, show=['user'],
                               inputSchema=IAccount))
    jobid = service(lambda service: service.addCronJob(
        'mail', DATA, hour=(3,)))
    tasks('mail', FunctionTask(lambda input: None, inputSchema=IAccount))
    text = site.text(f'schedules/{jobid}/edit')
    assert SECRET not in text and 'type="password"' in text
    version = text.partition('name="version" value="')[2][:16]
    assert site.post(f'schedules/{jobid}/edit', **{
        **TIMES, 'hour': '4', 'task': 'mail', 'version': version,
        'input.user': 'mia', 'input.password': ''}).status == 303
    assert service(lambda service: (service.jobs[jobid].input,
                                    service.jobs[jobid].hour)) == (DATA, (4,))
    assert SECRET not in site.text(f'schedules/{jobid}/edit')
    version = site.text(f'schedules/{jobid}/edit').partition(
        'name="version" value="')[2][:16]
    assert site.post(f'schedules/{jobid}/edit', **{
        **TIMES, 'task': 'mail', 'version': version,
        'input.user': 'ann', 'input.password': ''}).status == 303
    assert service(lambda service: service.jobs[jobid].input) == {
        'user': 'ann', 'password': SECRET}
    assert SECRET not in site.text(f'schedules/{jobid}/edit')
    # Another job of this task, and one that is added, have nothing to hide.
    assert 'type="password"' not in site.text('schedules/add?task=mail')
    other = service(lambda service: service.addCronJob(
        'mail', DATA, hour=(3,)))
    assert SECRET in site.text(f'schedules/{other}/edit')


def test_an_edit_amid_a_run(site, service, login):
    def start(service):
        jobid = service.addCronJob('echo', 'plain', hour=(3,))
        service.runCronJob(jobid)
        service.claimNextJob()
        service.editCronJob(jobid, task='none', input=SECRET)
        return jobid

    jobid = service(start)
    for path in (f'jobs/{jobid}', f'schedules/{jobid}/edit',
                 f'api/v1/schedules/{jobid}', f'api/v1/jobs/{jobid}'):
        assert SECRET not in site.get(path).body.decode()
    service(lambda service: service.processNext(jobid=jobid))
    service(lambda service: service.runCronJob(jobid))
    assert SECRET not in site.text(f'jobs/{jobid}')


# --- declaring ---------------------------------------------------------------

@pytest.mark.parametrize(('given', 'keys'), [
    (None, None), (True, None), (False, ()), ((), ()), ([], ()),
    (['a', 'b'], ('a', 'b')), (('a',), ('a',))])
def test_what_show_may_be(given, keys):
    @task(show=given)
    def made(input):
        pass

    ((_, found),) = marks(made)
    assert shown_keys(found) == keys


@pytest.mark.parametrize('given', ['to', 1, {'a': 1}, [1], b'to'])
def test_what_show_may_not_be(given):
    with pytest.raises(TypeError, match='show is'):
        FunctionTask(lambda input: None, show=given)


def test_an_attribute_of_an_older_task_is_no_option(site, service, tasks):
    class Old(FunctionTask):
        def show(self):
            """Of the application."""

    tasks('old', Old(lambda input: None))
    jobid = service(lambda service: service.add('old', {'a': 1}))
    assert '"a": 1' in site.text(f'jobs/{jobid}').replace('&quot;', '"')
