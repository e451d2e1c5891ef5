"""The rarely used options in the forms that add a job, add and edit a
schedule.
"""

import html
import html.parser
import re

import pytest

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask

BASE = '/admin/tasks'
ALL = ('key', 'queue', 'concurrencyKey', 'retry', 'timeout')
TYPED = {'key': 'orders', 'queue': 'imports', 'concurrencyKey': 'printer',
         'retry': '2', 'timeout': '1.5'}
FORMS = {'jobs/add': {'task': 'echo', 'input': '1'},
         'schedules/add': {'task': 'echo', 'input': '1', 'cron': '@daily'}}

FORM = pytest.mark.parametrize('path', FORMS)


class Fields(html.parser.HTMLParser):
    """The values of the inputs and text areas of a page, by their names."""

    def __init__(self, text):
        super().__init__()
        self.values = {}
        self._area = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == 'input' and found.get('type') != 'checkbox':
            self.values[found.get('name')] = found.get('value') or ''
        elif tag == 'textarea':
            self._area = found['name']
            self.values[self._area] = ''

    def handle_endtag(self, tag):
        if tag == 'textarea':
            self._area = None

    def handle_data(self, data):
        if self._area is not None:
            self.values[self._area] += data.lstrip('\n')


def is_open(text):
    return '<details class="field" open="open">' in text


def problems(text):
    return {name: html.unescape(told) for name, told in re.findall(
        r'<p class="error" id="line-([^"]+)-problem">([^<]*)<', text)}


@pytest.fixture
def stored(service):
    """The options of each job."""
    return lambda: service(lambda service: [
        (job.key, job.queue, job.concurrencyKey, job.retry, job.timeout)
        for job in service.jobs.values()])


# --- adding ------------------------------------------------------------------

@FORM
def test_all_of_them_are_taken(site, stored, path):
    text = site.text(f'{path}?task=echo')
    assert '<summary>More options</summary>' in text and not is_open(text)
    assert set(ALL) <= set(Fields(text).values)
    assert site.post(path, **FORMS[path], **TYPED).status == 303
    assert stored() == [('orders', 'imports', 'printer', 2, 1.5)]


@FORM
def test_empty_ones_are_as_the_task_has_them(site, stored, path):
    assert site.post(path, **FORMS[path], **dict.fromkeys(ALL, '  ')
                     ).status == 303
    assert stored() == [(None, None, None, None, None)]


@FORM
@pytest.mark.parametrize(('name', 'text', 'told'), [
    ('key', 'x' * 201, '1 to 200'), ('queue', 'a b', 'ASCII'),
    ('queue', 'ü', 'ASCII'), ('queue', 'x' * 65, 'ASCII'),
    ('concurrencyKey', 'x' * 201, '1 to 200'),
    ('retry', '-1', 'whole number'), ('retry', '1.5', 'whole number'),
    ('retry', 'many', 'whole number'), ('retry', '9' * 5000, 'whole number'),
    ('timeout', '0', 'more than 0'), ('timeout', '-1', 'more than 0'),
    ('timeout', 'nan', 'more than 0'), ('timeout', '1e300', 'more than 0'),
    ('timeout', 'inf', 'more than 0'), ('timeout', 'long', 'more than 0')])
def test_what_is_wrong_stands_beside_its_field(site, stored, path, name,
                                               text, told):
    answer = site.post(path, **FORMS[path], **{name: text})
    page = answer.body.decode()
    assert answer.status == 400
    found = problems(page)
    assert list(found) == [name] and told in found[name]
    assert is_open(page)
    # All that was typed is kept.
    assert Fields(page).values[name] == text
    assert stored() == []


@FORM
def test_all_that_is_wrong_is_told_at_once(site, stored, path):
    wrong = {'key': 'x' * 300, 'queue': '.', 'concurrencyKey': 'y' * 300,
             'retry': 'z', 'timeout': '0', 'priority': '9', 'delay': 'soon'}
    page = site.post(path, **{**FORMS[path], **wrong}).body.decode()
    assert set(problems(page)) == set(wrong)
    values = Fields(page).values
    assert {name: values[name] for name in wrong} == wrong
    assert stored() == []


@FORM
def test_a_problem_elsewhere_leaves_them_open_where_one_was_typed(site, path):
    for typed, expected in (({}, False), ({'queue': 'imports'}, True)):
        answer = site.post(path, **FORMS[path], priority='9', **typed)
        assert answer.status == 400
        assert is_open(answer.body.decode()) is expected


def test_a_hostile_text_is_shown_and_does_nothing(site):
    text = '"><script>alert(1)</script>'
    page = site.post('jobs/add', **FORMS['jobs/add'], queue=text
                     ).body.decode()
    assert '<script>alert' not in page
    assert Fields(page).values['queue'] == text


def test_the_form_needs_no_script(site):
    """More options are an element of HTML, and inside of the form."""
    text = site.text('jobs/add?task=echo')
    form = re.search('(?s)<form class="add".*?</form>', text)[0]
    assert '<details' in form and 'name="timeout"' in form
    assert '<script' not in form


# --- who may -----------------------------------------------------------------

def test_retry_and_time_limit_take_the_permission_to_manage(site, stored):
    for may in (VIEW, ADD), (ADD,):
        names = Fields(site.text('jobs/add?task=echo', may=may)).values
        assert {'key', 'queue', 'concurrencyKey'} <= set(names)
        assert not {'retry', 'timeout'} & set(names)
    form = {**FORMS['jobs/add'], 'csrf': site.csrf.token()}

    def ask(may, **options):
        return site.ask('POST', 'jobs/add', {**form, **options}, may=may,
                        sec_fetch_site='same-origin')

    for options in {'retry': '0'}, {'timeout': '5'}, {'retry': 'x'}:
        answer = ask((VIEW, ADD), **options)
        assert answer.status == 403
        assert b'Remote tasks: Manage' in answer.body
    assert stored() == []
    # An empty field is as one that was not sent.
    assert ask((VIEW, ADD), retry='', timeout=' ').status == 303
    assert ask((VIEW, ADD), queue='imports', key='k').status == 303
    assert ask((ADD, MANAGE), retry='0', timeout='5').status == 303
    assert sorted(stored(), key=repr) == sorted([
        (None,) * 5, ('k', 'imports', None, None, None),
        (None, None, None, 0, 5.0)], key=repr)
    # The page of an account without Manage that has made a mistake.
    answer = ask((VIEW, ADD), priority='9', retry='')
    assert answer.status == 400
    assert not {'retry', 'timeout'} & set(
        Fields(answer.body.decode()).values)


# --- a unique key ------------------------------------------------------------

@FORM
def test_a_key_that_a_job_has_leads_to_that_job(site, service, path):
    holder = service(lambda service: service.add('echo', key='orders'))
    answer = site.post(path, **FORMS[path], key='orders')
    assert answer.status == 303
    assert answer.headers['Location'] == f'{BASE}/jobs/{holder}?done=there'
    assert 'Nothing was added: a job with this unique key is there' in (
        site.text(f'jobs/{holder}?done=there'))
    assert service(lambda service: list(service.jobs)) == [holder]
    # Once that one is over, another may have the key.
    service(lambda service: service.process())
    answer = site.post(path, **FORMS[path], key='orders')
    assert 'done=there' not in answer.headers['Location']
    assert service(lambda service: len(service.jobs)) == 2


def test_who_may_not_look_is_told_and_not_led_there(site, service):
    service(lambda service: service.add('echo', key='orders'))
    answer = site.ask('POST', 'jobs/add', {
        **FORMS['jobs/add'], 'key': 'orders', 'csrf': site.csrf.token()},
        may=(ADD,), sec_fetch_site='same-origin')
    assert answer.headers['Location'] == f'{BASE}/jobs/add?done=there'
    assert 'Nothing was added' in site.text('jobs/add?done=there', may=(ADD,))


# --- editing -----------------------------------------------------------------

@pytest.fixture
def schedule(site, service):
    """``schedule(**options)`` adds one; ``edit(jobid, **fields)`` sends its
    form with these fields changed.
    """
    return lambda **options: service(lambda service: service.addCronJob(
        'echo', 1, cron='@daily', **options))


@pytest.fixture
def edit(site):
    def edit(jobid, **fields):
        values = Fields(site.text(f'schedules/{jobid}/edit')).values
        return site.post(f'schedules/{jobid}/edit', **{
            **{name: value for name, value in values.items()
               if name not in (None, 'csrf')}, **fields})

    return edit


@pytest.fixture
def own(service):
    return lambda jobid: service(lambda service: (
        service.jobs[jobid].retry, service.jobs[jobid].timeout))


def test_retry_and_time_limit_of_a_schedule_are_edited(site, schedule, edit,
                                                       own):
    jobid = schedule()
    assert not is_open(site.text(f'schedules/{jobid}/edit'))
    assert edit(jobid, retry='3', timeout='60').status == 303
    assert own(jobid) == (3, 60.0)
    text = site.text(f'schedules/{jobid}/edit')
    values = Fields(text).values
    assert (values['retry'], values['timeout']) == ('3', '60')
    assert is_open(text)
    # What is left stays, and what is emptied is as the task has it.
    assert edit(jobid, priority='2').status == 303
    assert own(jobid) == (3, 60.0)
    assert edit(jobid, retry='').status == 303
    assert own(jobid) == (None, 60.0)
    answer = edit(jobid, timeout='0', retry='x')
    assert answer.status == 400
    assert set(problems(answer.body.decode())) == {'retry', 'timeout'}
    assert own(jobid) == (None, 60.0)


def test_a_policy_stays_until_another_one_is_typed(site, schedule, edit, own):
    policy = RetryPolicy(2, 1.0, 60)
    jobid = schedule(retry=policy)
    values = Fields(site.text(f'schedules/{jobid}/edit')).values
    assert values['retry'].startswith('2, after up to 1 s')
    assert edit(jobid, timeout='5').status == 303
    assert own(jobid) == (policy, 5.0)
    assert edit(jobid, retry='1').status == 303
    assert own(jobid) == (1, 5.0)


def test_a_form_that_lacks_them_leaves_them(site, schedule, own):
    """As one that was opened before they were there."""
    jobid = schedule(retry=3, timeout=60)
    values = Fields(site.text(f'schedules/{jobid}/edit')).values
    assert site.post(f'schedules/{jobid}/edit', **{
        name: value for name, value in values.items()
        if name not in (None, 'csrf', 'retry', 'timeout', 'queue',
                        'concurrencyKey')}).status == 303
    assert own(jobid) == (3, 60)


def test_an_input_that_no_form_shows_hinders_no_edit(
        site, service, tasks, edit, own):
    tasks('inner', FunctionTask(lambda input: None, remote=False))
    jobid = service(lambda service: service.addCronJob(
        'inner', 1, cron='@daily'))
    assert edit(jobid, retry='4').status == 303
    assert own(jobid) == (4, None)


def test_what_an_edit_does_not_change_is_told(site, schedule):
    text = site.text(f'schedules/{schedule()}/edit')
    assert 'It keeps' not in text and 'key' not in Fields(text).values
    text = site.text('schedules/{}/edit'.format(schedule(key='<b>')))
    assert 'It keeps the unique key &lt;b&gt;.' in text


def test_a_schedule_is_moved_to_another_queue(site, service, schedule, edit):
    def where():
        return service(lambda service: (
            service.jobs[jobid].queue, service.jobs[jobid].concurrencyKey))

    jobid = schedule()
    assert edit(jobid, queue=' imports ', concurrencyKey='one').status == 303
    assert where() == ('imports', 'one')
    text = site.text(f'schedules/{jobid}/edit')
    found = Fields(text).values
    assert (found['queue'], found['concurrencyKey']) == ('imports', 'one')
    assert is_open(text)
    answer = edit(jobid, queue='a b', concurrencyKey='k' * 201)
    assert answer.status == 400 and where() == ('imports', 'one')
    text = answer.body.decode()
    assert 'The queue has to be a name' in text
    assert 'The concurrency key has to have' in text
    assert edit(jobid, queue='', concurrencyKey='').status == 303
    assert where() == (None, None)


def test_a_preview_keeps_what_was_typed(site, service):
    answer = site.post('schedules/add', **FORMS['schedules/add'], **TYPED,
                       preview='1')
    text = answer.body.decode()
    assert answer.status == 200 and is_open(text)
    assert {name: Fields(text).values[name] for name in ALL} == TYPED
    assert service(lambda service: len(service.jobs)) == 0
