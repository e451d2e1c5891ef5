"""Pages of a long list by a connection that has nothing in its cache.

On a server each load is a round trip, and those that a prefetch has asked for
are there by then: so what counts is the loads, and those that came alone.
"""

import time

import pytest
import ZODB.Connection
from persistent.mapping import PersistentMapping
from zope.component import getGlobalSiteManager

from lovely.remotetask.edge import db
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.host import current
from lovely.remotetask.host import visit
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.service import make_service
from lovely.remotetask.store import listing
from lovely.remotetask.store.selection import Selection
from lovely.remotetask.task import EchoTask
from lovely.remotetask.web import kept

JOBS = 2_000

#: How many objects a page may load, and how many of them alone.
MOST, ALONE = 1_100, 150


@pytest.fixture(scope='module')
def crowded():
    """A database whose service has many jobs, queued and ended."""
    database = ZODB.DB(None)
    registry = getGlobalSiteManager()
    echo = EchoTask()
    registry.registerUtility(echo, ITask, name='echo')

    def fill(connection):
        root = connection.root()['Application'] = PersistentMapping()
        service = make_service(root, 'tasks')
        queue, now = service.jobqueue, time.time()
        for start in range(0, JOBS, 500):
            service.addMany('echo', [None] * 500)
            for number, jobid in enumerate(service.addMany(
                    'echo', [None] * 500, startLater=True)):
                job, now = service.jobs[jobid], now + 0.001
                queue.enqueue(job)
                queue.start(job, ('none', 1), now)
                if (start + number) % 100:
                    queue.finish(job, None, 0, now)
                else:
                    queue.fail(job, Failure(
                        'Error', 'no', '', 1, now), now)

    db.write(database, fill)
    registry.unregisterUtility(echo, ITask, name='echo')
    yield database
    kept.forget()
    database.close()


@pytest.mark.parametrize('path', [
    '', 'jobs', 'jobs?status=completed', 'jobs?task=rare',
    'jobs?status=completed&task=rare', 'tasks', 'workers', 'schedules',
    'metrics'])
def test_loads(crowded, site_of, loads, path):
    loaded, asked = loads
    crowded.cacheMinimize()
    answer = site_of(crowded).get(path)
    assert answer.status == 200, answer.body
    alone = len(set(loaded) - set(asked))
    assert (len(loaded) <= MOST, alone <= ALONE) == (True, True), (
        len(loaded), alone)


def test_a_look_with_a_filter_ends_in_time(crowded):
    """By a clock of its own, at which it looks from the 100th job on."""
    moments = iter([0.0, *[0.1] * 50, *[0.2] * 2000])

    def look(service):
        wanted = Selection(task='rare')
        page = listing.page(service.jobqueue, 'completed', wanted, None, 50,
                            0.15, lambda: next(moments))
        assert page.jobs == [] and page.looked == 150
        # A page gets further, however late it is.
        further = listing.page(service.jobqueue, 'completed', wanted,
                               page.next, 50, 0.0, lambda: 0.0)
        assert further.looked == 100 and further.next != page.next

    visit(crowded, ('tasks',), current(), look, False)


def test_a_filtered_page_says_how_far_it_has_looked(crowded, site_of):
    site = site_of(crowded)
    shown = site.text('jobs?status=completed&task=rare')
    assert 'of 1\u202f980 jobs, completed, found none.' in shown
    assert 'No job of these matches.' in shown
    assert '>Look further</a>' in shown
    shown = site.text('jobs?status=error&task=echo')
    assert 'Looked at 20 of 20 jobs, failed, found 20.' in shown
    assert 'Look further' not in shown
    shown = site.text('jobs')
    assert 'Looked at' not in shown and '>More jobs</a>' in shown


def test_history_of_many_runs_is_told_by_some_of_them(crowded):
    """1,000 of the latest are looked at, and 250 jobs are loaded."""
    def look(service):
        return service.history(1), service.historyOfTasks(1)

    rows, by_task = visit(crowded, ('tasks',), current(), look, False)
    for found in (rows, by_task.values()):
        done = sum(row['done'] for row in found)
        failed = sum(row['failed'] for row in found)
        assert 985 <= done <= 995
        # One in a hundred: those are counted, and not estimated.
        assert failed == 10
