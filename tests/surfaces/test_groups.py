"""The pages of groups: the list, one group, what follows it, its cancel."""

import html
import re

import pytest
import ZODB
from persistent.mapping import PersistentMapping

from lovely.remotetask.edge import db
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.service import make_service
from lovely.remotetask.web import grouped
from lovely.remotetask.web import kept

BASE = '/admin/tasks'


def words_of(text):
    """The text of a page, in one line."""
    text = re.sub(r'<[^>]*>', ' ', text.partition('<main')[2])
    return ' '.join(html.unescape(text).split())


@pytest.fixture
def group(service):
    """``group(calls, then=None, ...)``: the id of a group that has run."""
    def add(calls, then=None, **options):
        number = service(
            lambda service: service.addGroup(calls, then, **options))
        service(lambda service: service.process())
        return number

    return add


# --- the list ----------------------------------------------------------------

def test_open_groups_are_listed_the_newest_first(site, service):
    groups = [service(lambda service: service.addGroup(
        ['echo'] * 3, 'echo')) for _ in range(3)]
    text = site.text('groups')
    assert re.findall(rf'href="{BASE}/groups/(\d+)"', text) == [
        str(number) for number in reversed(groups)]
    assert '3 groups are open, the newest first.' in words_of(text)
    assert '3 not over' in text and 'first 20' not in text
    service(lambda service: service.process())
    assert 'No group is open.' in site.text('groups')


def test_the_list_is_paged(site, service):
    groups = [service(lambda service: service.addGroup(['echo']))
              for _ in range(27)]
    first = site.text('groups')
    more = re.search(rf'rel="next" href="{BASE}/(groups\?start=[^"]+)"',
                     first)[1]
    second = site.text(more)
    assert 'rel="next"' not in second and 'First page' in second
    assert re.findall(r'/groups/(\d+)"', first + second) == [
        str(number) for number in reversed(groups)]


def test_a_long_group_is_looked_at_in_part(site, service):
    number = service(lambda service: service.addGroup(['echo'] * 30))
    shown = words_of(site.text('groups'))
    assert '20 not over of the first 20' in shown
    assert 'up to 20 jobs of each are looked at' in shown
    assert '30 Completed' not in shown
    shown = words_of(site.text(f'groups/{number}'))
    assert 'Not over 30' in shown and 'Looked at the first' not in shown
    assert '20 of 30 are shown.' in shown


def test_the_overview_leads_to_them_while_one_is_open(site, service):
    assert f'href="{BASE}/groups"' not in site.text('')
    number = service(lambda service: service.addGroup(['echo']))
    assert f'<a href="{BASE}/groups">1 group is open</a>' in site.text('')
    service(lambda service: service.addGroup(['echo']))
    assert f'<a href="{BASE}/groups">2 groups are open</a>' in site.text('')
    live = site.get('', x_remotetask_live='1').body.decode()
    assert '2 groups are open' in live
    service(lambda service: service.cancelGroup(number))
    service(lambda service: service.process())
    text = site.text('')
    assert f'href="{BASE}/groups"' not in text
    assert 'data-part="groups"' in text         # for the script to fill


def test_lost_groups_hide_no_jobs(site, service, database):
    """The overview counts none, and can be seen."""
    service(lambda service: service.addGroup(['echo']))

    def lose(service):
        return [length._p_oid for length in
                service.jobqueue.batches.open.lengths]

    for oid in service(lose):
        del database.storage._data[oid]
    database.cacheMinimize()
    assert 'open</a>' not in site.text('')


# --- one group ---------------------------------------------------------------

def test_an_open_group(site, service):
    number = service(lambda service: service.addGroup(
        ['echo', 'error'], 'echo', policy='continue'))
    text = site.text(f'groups/{number}')
    assert '<span class="badge open">open</span>' in text
    assert 'Cancel the group' in text
    shown = words_of(text)
    for told in ('2 jobs', 'continue: all have to be over',
                 'Completed 0 Failed 0 Cancelled 0 Not over 2',
                 'echo is to follow', 'Added by –'):
        assert told in shown, told
    # A job leads to its group, and the group to its jobs.
    for jobid in service(lambda service: service.getGroup(number)['jobs']):
        assert f'href="{BASE}/jobs/{jobid}"' in text
        assert f'href="{BASE}/groups/{number}"' in site.text(f'jobs/{jobid}')


def test_a_stuck_group_says_why_and_shows_what_failed_first(
        site, service, group):
    number = group(['echo'] * 25 + ['error'], 'echo')
    failed = service(lambda service: service.getGroup(number)['jobs'][-1])
    text = site.text(f'groups/{number}')
    assert '<span class="badge failed">stuck</span>' in text
    assert 'one of its jobs has failed or was cancelled' in text
    assert re.search(r'href="[^"]*/jobs/(\d+)"', text.partition(
        'id="jobs"')[2])[1] == str(failed)
    assert 'An error occurred.' in text
    shown = words_of(text)
    assert 'Completed 25 Failed 1' in shown
    assert 'echo is stuck' in shown
    assert '20 of 26 are shown, those that failed first.' in shown
    # The list looks at fewer of them.
    assert '20 completed of the first 20' in words_of(site.text('groups'))
    group(['error'], 'echo')
    assert 'stuck one of its jobs has failed' in words_of(site.text('groups'))


def test_a_group_that_is_done_leads_to_what_followed(site, service, group):
    number = group(['echo', 'echo'], 'echo')
    then = service(lambda service: service.getGroup(number)['then'])
    text = site.text(f'groups/{number}')
    assert '<span class="badge completed">done</span>' in text
    assert f'echo was added: <a href="{BASE}/jobs/{then}">' in text
    assert 'Cancel the group' not in text
    assert '<li class="past"><b>Ended</b>' in text
    assert 'are shown' not in text
    assert f'href="{BASE}/groups/{number}"' not in site.text('groups')


def test_a_broken_group_says_so(site, service, group):
    number = group(['echo', 'error'], 'echo')
    service(lambda service: service.clean(['error']))
    for _ in range(2):      # seen by the page first, then by a worker
        text = site.text(f'groups/{number}')
        assert '<span class="badge failed">broken</span>' in text
        assert 'what was to follow never comes' in text
        assert 'echo never follows' in words_of(text)
        assert ('1 of 2 are shown, those that failed first; those that were '
                'removed are left out.') in text
        service(lambda service: service.process())


def test_a_group_without_jobs_and_without_a_follow_up(site, service, group):
    number = group([])
    shown = words_of(site.text(f'groups/{number}'))
    assert 'done 0 jobs' in shown
    assert 'Nothing follows this group.' in shown


def test_removed_jobs_are_left_out(site, service, group):
    number = group(['echo', 'echo', 'error'], policy='continue')
    service(lambda service: service.clean(['completed']))
    text = site.text(f'groups/{number}')
    assert 'Completed 2 Failed 1' in words_of(text)
    assert len(re.findall(r'/jobs/\d+"', text)) == 1
    assert ('1 of 3 are shown, those that failed first; those that were '
            'removed are left out.') in text


def test_cancelled_jobs_come_behind_failed_ones(site, service):
    number = service(lambda service: service.addGroup(
        ['echo', 'echo', 'error', 'echo'], policy='continue'))
    jobs = service(lambda service: service.getGroup(number)['jobs'])
    service(lambda service: service.cancel(jobs[1]))
    service(lambda service: service.process())
    text = site.text(f'groups/{number}')
    assert re.findall(r'/jobs/(\d+)"', text) == [
        str(jobs[place]) for place in (2, 1, 0, 3)]


def test_a_job_whose_record_is_lost_is_shown(site, service, database):
    number = service(lambda service: service.addGroup(['echo'] * 3))
    lost = service(lambda service: service.getGroup(number)['jobs'][1])
    del database.storage._data[service(
        lambda service: service.jobs[lost]._p_oid)]
    database.cacheMinimize()
    text = site.text(f'groups/{number}')
    assert re.search(rf'>unknown</span> <a href="{BASE}/jobs/{lost}">', text)
    assert 'Not over 3' in words_of(text)
    assert '3 not over' in site.text('groups')


def test_an_unknown_group_is_told(site):
    answer = site.get('groups/77')
    assert answer.status == 404
    assert b'No group has the id 77' in answer.body
    assert site.post('groups/77/cancel').status == 404
    assert site.post('groups/77/cancel', sure='1').status == 404


# --- cancel ------------------------------------------------------------------

def test_a_cancel_is_asked_first(site, service, group):
    number = service(lambda service: service.addGroup(
        ['echo'] * 3, 'echo'))
    path = f'groups/{number}/cancel'
    answer = site.post(path)
    text = answer.body.decode()
    assert answer.status == 200
    assert f'Cancel group {number}?' in text
    assert 'echo does not follow' in text
    assert f'href="{BASE}/groups/{number}"' in text
    assert 'Leave it as it is' in text
    state = service(lambda service: service.getGroup(number)['state'])
    assert state == 'open'
    answer = site.post(path, sure='1')
    assert answer.headers['Location'] == (
        f'{BASE}/groups/{number}?done=cancelled&n=3')
    text = site.text(f'groups/{number}?done=cancelled&n=3')
    assert '3 jobs were cancelled.' in text
    assert '<span class="badge cancelled">cancelled</span>' in text
    assert 'echo does not follow' in words_of(text)
    # A second one finds nothing to do.
    assert site.post(path, sure='1').headers['Location'].endswith('&n=0')


def test_a_cancel_takes_the_permission_and_a_token(site, service, caplog):
    number = service(lambda service: service.addGroup(['echo']))
    path = f'groups/{number}/cancel'
    assert 'Cancel the group' not in site.text(
        f'groups/{number}', may=(VIEW, ADD))
    form = {'sure': '1', 'csrf': site.csrf.token()}
    for options in ({'may': (VIEW, ADD), 'sec_fetch_site': 'same-origin'},
                    {'sec_fetch_site': 'cross-site'}):
        assert site.ask('POST', path, form, **options).status == 403
    assert site.post(path, 'x' * 64, sure='1').status == 403
    assert service(lambda service: service.getGroup(number)['state']) == (
        'open')
    caplog.set_level('INFO', 'lovely.remotetask.trace')
    site.post(path, sure='1')
    assert f'jane cancelled group {number}, 1 job of it (10.0.0.4)' in (
        caplog.messages)


# --- what it costs -----------------------------------------------------------

@pytest.fixture
def large(tasks):
    """A database with a group of 10,000 jobs.  Gives: it, the group's id."""
    database = ZODB.DB(None)

    def fill(connection):
        root = connection.root()['Application'] = PersistentMapping()
        service = make_service(root, 'tasks')
        return service.addGroup([Call('echo')] * 10_000, 'echo')

    yield database, db.write(database, fill)
    kept.forget()
    database.close()


def test_a_group_of_10_000_jobs_costs_as_much_as_the_first_of_them(
        large, site_of, loads):
    database, number = large
    site = site_of(database)
    loaded, asked = loads

    def look(path):
        database.cacheMinimize()
        loaded.clear()
        asked.clear()
        shown = words_of(site.text(path))
        return shown, len(loaded), len(set(loaded) - set(asked))

    shown, all_of_them, alone = look(f'groups/{number}')
    assert 'Not over 1 000' in shown
    assert 'Looked at the first 1 000 of 10 000 jobs.' in shown
    assert '20 of 10 000 are shown.' in shown
    # What getGroup looks at anyway, and no job more.
    assert (all_of_them <= 1_100, alone <= 40) == (True, True), (
        all_of_them, alone)
    shown, all_of_them, alone = look('groups')
    assert '20 not over of the first 20' in shown
    assert (all_of_them <= 80, alone <= 40) == (True, True), (
        all_of_them, alone)

    # Once it is over, how its jobs ended is known.
    def end(connection):
        service = connection.root()['Application']['tasks']
        batch = service.jobqueue.batches.all[number]
        service.jobqueue.batches.end(batch, 'done', 1.0)
        batch.ends = {'completed': 9_000, 'error': 1_000, 'cancelled': 0,
                      'gone': 0}

    db.write(database, end)
    shown, all_of_them, alone = look(f'groups/{number}')
    assert 'Completed 9 000 Failed 1 000' in shown
    assert ('20 of 10 000 are shown, those that failed first, as far as they '
            'are among the first 100.') in shown
    assert (all_of_them <= 160, alone <= 40) == (True, True), (
        all_of_them, alone)
    assert grouped.MOST_SHOWN == 20
