"""What applications put into jobs, and read out of services."""

import json
from pathlib import Path

import pytest
import transaction
import zope.component
import zope.event
from persistent import Persistent
from zope.component.hooks import setSite
from zope.container.contained import Contained
from zope.interface import implementer
from zope.security.checker import NamesChecker
from zope.security.proxy import Proxy

from lovely.remotetask import TaskService
from lovely.remotetask import events
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.job import Job
from lovely.remotetask.task import TaskError


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


class Article(Persistent, Contained):
    def __init__(self, title):
        self.title = title
        self.log = ()


class Plain:
    """gocept.async: a description of a call, an instance of a plain class."""

    def __init__(self, name, site):
        self.name = name
        self.site = site


# --- reading a service -------------------------------------------------------

def test_getavailabletasks_is_a_real_dict(general):
    """vivi: sorts, copies and changes what it returns."""
    tasks = general.getAvailableTasks()
    assert type(tasks) is dict and list(tasks) == ['echo']
    tasks.clear()
    assert list(general.getAvailableTasks()) == ['echo']


def test_jobs_with_in_list_and_len(general):
    """vivi and the aggregator: ``in``, ``list()``, ``len()``, items()."""
    ids = [general.add('echo', n) for n in range(5)]
    assert ids[0] in general.jobs and ids[0] - 1 not in general.jobs
    assert list(general.jobs) == sorted(ids) and len(general.jobs) == 5
    # The aggregator's upgrade steps.
    assert [job.task for _, job in general.jobs.items()] == ['echo'] * 5
    assert list(general.jobs.keys()) == sorted(ids)
    assert all(type(job) is Job for job in general.jobs.values())


def test_the_queue_is_monitored(application, general):
    """vivi: len(_queue) for Nagios, _queue[-1] for the job just added.

    Both on a queue of thousands.
    """
    for n in range(3000):
        general.add('echo', n)
    transaction.commit()
    jobid = general.add('echo', 'last')
    assert len(general._queue) == 3001
    last = general._queue[-1]
    assert type(last) is Job and last is general.jobs[jobid]
    assert last.input == 'last'
    transaction.commit()
    # Neither of them loads what lies between.
    connection = application.db.open(transaction.TransactionManager())
    connection.cacheMinimize()
    again = connection.get(general._p_oid)
    connection.getTransferCounts(clear=True)
    assert len(again._queue) == 3001 and again._queue[-1].id == jobid
    assert connection.getTransferCounts()[0] < 250
    connection.transaction_manager.abort()
    connection.close()


def test_a_failed_job(general, register, work):
    """vivi: its result is None, getError holds the exception's text."""
    @register
    def fails(input):
        raise TaskError('the image is broken')

    jobid = general.add('fails')
    work(general)
    assert general.getStatus(jobid) == 'error'
    assert general.getResult(jobid) is None
    assert 'the image is broken' in general.getError(jobid)


def test_job_ids_are_stored_in_content(cms, general, work):
    """vivi: the id in the article; later getStatus, KeyError means gone."""
    article = cms['article'] = Article('a')
    article.publish_id = general.addCronJob('echo', 'x', delay=3600)
    article.retract_id = general.add('echo', 'y')
    transaction.commit()
    if general.getStatus(article.publish_id) == 'delayed':
        general.cancel(article.publish_id)
    work(general)
    assert general.getStatus(article.publish_id) == 'cancelled'
    assert general.getResult(article.retract_id) == 'y'
    assert general.getError(article.retract_id) == 'None'
    general.clean()
    with pytest.raises(KeyError):
        general.getStatus(article.publish_id)


def test_a_browser_polls(general, register, work):
    """vivi: status, result and error as JSON until the job is over."""
    @register
    def fails(input):
        raise TaskError('no')

    def poll(jobid):
        return json.loads(json.dumps({
            'status': general.getStatus(jobid),
            'result': general.getResult(jobid),
            'error': general.getError(jobid)}))

    ids = [general.add('echo', [1]), general.add('fails'),
           general.add('echo')]
    general.cancel(ids[2])
    assert poll(ids[0]) == {
        'status': 'queued', 'result': None, 'error': 'None'}
    work(general)
    assert [poll(i) for i in ids] == [
        {'status': 'completed', 'result': [1], 'error': 'None'},
        {'status': 'error', 'result': None, 'error': 'no'},
        {'status': 'cancelled', 'result': None, 'error': 'None'}]


# --- scheduling --------------------------------------------------------------

def test_mail_later(general):
    """lovely.mail: addCronJob('remotemail', {...}, delay=n).

    The status is 'delayed' at once, the same id is 'completed' later.
    """
    @implementer(ITask)
    class RemoteMail(Persistent, Contained):
        inputSchema = outputSchema = None

        def __call__(self, service, jobid, input):
            return f'to {input["to"]}'

    zope.component.provideUtility(RemoteMail(), ITask, 'remotemail')
    jobid = general.addCronJob('remotemail', {'to': 'you'}, delay=5)
    assert general.getStatus(jobid) == 'delayed'
    general.process()
    assert general.getStatus(jobid) == 'delayed'
    general.process(general.clock.now() + 6)
    assert general.getStatus(jobid) == 'completed'
    assert general.getResult(jobid) == 'to you'


def test_dates_in_the_past_are_added_plainly(general, work):
    """vivi: a release date that has passed uses add() instead."""
    jobid = general.add('echo', 'now')
    work(general)
    assert general.getResult(jobid) == 'now'


def test_a_date_after_2030(general):
    """vivi had to forbid them: times were 32-bit."""
    jobid = general.addCronJob('echo', delay=100 * 366 * 86400)
    assert general.getStatus(jobid) == 'delayed'
    assert general.jobs[jobid].scheduledAt.year > 2100
    general.process()
    general.cancel(jobid)
    assert general.getStatus(jobid) == 'cancelled'


# --- inputs ------------------------------------------------------------------

def test_inputs(cms, general, register, work):
    """gocept.async, vivi: a plain instance, persistent objects, the site."""
    @register
    def use(input):
        if isinstance(input, Plain):
            return input.name, input.site.__name__
        input.title = 'changed'
        return input.title

    cms['article'] = Article('a')
    transaction.commit()
    plain = general.add('use', Plain('index', cms))
    stored = general.add('use', cms['article'])
    work(general)
    assert general.getResult(plain) == ('index', 'cms')
    assert general.getResult(stored) == 'changed'
    assert cms['article'].title == 'changed'
    assert general.jobs[stored].input is cms['article']


def test_inputs_that_are_not_stored_yet(cms, general, register, work):
    """vivi: the article is created and sent off in one transaction."""
    @register
    def title(input):
        article = input['article'] if isinstance(input, dict) else input
        return article.title

    article = Article('new')
    direct, held = general.add('title', article), general.add(
        'title', {'article': article})
    cms['article'] = article
    work(general)
    assert general.getResult(direct) == general.getResult(held) == 'new'
    assert general.jobs[direct].input is cms['article']


def test_the_input_is_of_the_service_s_connection(
        cms, general, task, work):
    """vivi: writes to the article it was given."""
    @task
    def same(service, jobid, input):
        return input._p_jar is service._p_jar

    cms['article'] = Article('a')
    transaction.commit()
    jobid = general.add('same', cms['article'])
    work(general)
    assert general.getResult(jobid) is True


def test_a_security_proxy_is_refused(cms, general):
    """vivi: objects came proxied from views and failed at commit."""
    cms['article'] = Article('a')
    proxied = Proxy(cms['article'], NamesChecker())
    for input in (proxied, {'article': proxied}, Plain('x', proxied)):
        with pytest.raises(InputRejected) as caught:
            general.add('echo', input)
        message = str(caught.value)
        assert 'removeSecurityProxy' in message
        assert 'checked again when the job runs as its submitter' in message
    assert len(general.jobs) == 0
    transaction.commit()


# --- utilities and services --------------------------------------------------

@implementer(ITask)
class Feed(Persistent, Contained):
    """The aggregator: one local, persistent, named task per feed."""

    inputSchema = outputSchema = None

    def __init__(self, url):
        self.url = url
        self.runs = 0

    def __call__(self, service, jobid, input):
        self.runs += 1
        return self.url


def test_local_persistent_tasks(cms, general, work):
    """The aggregator: tasks in the site manager, cron jobs per feed."""
    manager = cms.getSiteManager()
    feed = manager['feed'] = Feed('a.rss')
    manager.registerUtility(feed, ITask, 'feed a')
    transaction.commit()
    with pytest.raises(ValueError):
        general.addCronJob('feed a', minute=(0,))       # not in the site
    setSite(cms)
    try:
        assert 'feed a' in general.getAvailableTasks()
        jobid = general.add('feed a')
        cron = general.addCronJob('feed a', hour=(3,))
    finally:
        setSite(None)
    work(general)
    assert general.getResult(jobid) == 'a.rss' and feed.runs == 1
    assert general.getStatus(cron) == 'cronjob'


def test_tasks_that_add_jobs_to_another_service(cms, general, task, work):
    """vivi: publishing adds the index update to the service of solr."""
    manager = cms.getSiteManager()
    solr = manager['tasks.solr'] = TaskService()
    manager.registerUtility(solr, ITaskService, 'solr')

    @task
    def publish(service, jobid, input):
        return zope.component.getUtility(ITaskService, 'solr').add(
            'echo', input)

    jobid = general.add('publish', 'index me')
    work(general)
    index = general.getResult(jobid)
    assert solr.getStatus(index) == 'queued'
    work(solr)
    assert solr.getResult(index) == 'index me'


class PloneService(TaskService):
    """The Plone examples: a subclass of TaskService in a site."""

    title = 'Tasks'


def test_a_subclass_found_by_context(cms, work):
    """Plone: getUtility(ITaskService, name=..., context=site)."""
    manager = cms.getSiteManager()
    manager['plone'] = PloneService()
    manager.registerUtility(manager['plone'], ITaskService, 'plone')
    transaction.commit()
    service = zope.component.getUtility(
        ITaskService, name='plone', context=cms)
    assert service.title == 'Tasks'
    jobid = service.add('echo', 1)
    work(service)
    assert service.getResult(jobid) == 1


def test_lovely_is_shared(tmp_path):
    """lovely.mail lives in the same namespace: no lovely/__init__.py."""
    import lovely.remotetask

    assert not hasattr(lovely, '__file__') or lovely.__file__ is None
    package = Path(lovely.remotetask.__file__).parent
    assert not (package.parent / '__init__.py').exists()


# --- what follows for us -----------------------------------------------------

@pytest.fixture
def subscribe():
    before = list(zope.event.subscribers)
    yield zope.event.subscribers.append
    zope.event.subscribers[:] = before


def test_a_failed_task_leaves_a_trace(cms, general, register, work, subscribe):
    """vivi: what the error handler writes has to survive the rollback."""
    def note(event):
        if isinstance(event, events.JobFailed):
            article = event.job.input
            article.log += (str(event.job.error),)

    subscribe(note)

    @register
    def publish(input):
        input.title = 'half'
        raise TaskError('no template')

    cms['article'] = Article('a')
    transaction.commit()
    general.add('publish', cms['article'])
    work(general)
    assert cms['article'].log == ('no template',)
    assert cms['article'].title == 'a'


def test_cancel_on_purpose(cms, general, register, work):
    """z3c.celery's Abort: done, but roll back."""
    @register
    def publish(input):
        input.title = 'half'
        raise CancelJob

    cms['article'] = Article('a')
    transaction.commit()
    jobid = general.add('publish', cms['article'])
    work(general)
    assert general.getStatus(jobid) == 'cancelled'
    assert cms['article'].title == 'a'


def test_the_undo_log_names_task_and_job(application, general, work):
    """z3c.celery annotates the transaction, to be seen in the undo log."""
    jobid = general.add('echo')
    work(general)
    (entry,) = application.db.undoLog(0, 1)
    assert 'echo' in entry['description']
    assert str(jobid) in entry['description']
