"""How applications ran tasks: participations, transactions, threads."""

import subprocess
import sys
import threading

import pytest
import transaction
import zope.component
import zope.interface
from ZODB.POSException import ConflictError
from zope.component.hooks import getSite
from zope.component.hooks import setSite
from zope.publisher.base import BaseRequest
from zope.security.management import endInteraction
from zope.security.management import getInteraction
from zope.security.management import newInteraction
from zope.security.management import queryInteraction
from zope.security.testing import Participation

from lovely.remotetask import TaskService
from lovely.remotetask import processor
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.processor import ProcessorRequest
from lovely.remotetask.retry import NO_RETRY

DEADLINE = 20


def test_am_i_in_a_job(general, work, task):
    """vivi: isinstance(interaction.participations[0], ProcessorRequest)."""
    @task
    def ask(service, jobid, input):
        return isinstance(getInteraction().participations[0],
                          ProcessorRequest)

    jobid = general.add('ask')
    work(general)
    assert general.getResult(jobid) is True


def test_the_participation_takes_a_principal(general, work, task):
    """gocept.async: runs a function as the principal of the caller."""
    @task
    def as_principal(service, jobid, input):
        (participation,) = getInteraction().participations
        assert participation.principal is None
        participation.setPrincipal(input)
        return participation.principal

    first, second = (general.add('as_principal', name) for name in 'ab')
    work(general)
    assert general.getResult(first) == 'a'
    # The second began with no principal: its own interaction.
    assert general.getResult(second) == 'b'


class IUrl(zope.interface.Interface):
    pass


def test_the_participation_is_adapted(general, work, task):
    """vivi: a multi-adapter for ProcessorRequest gives absolute URLs."""
    assert issubclass(ProcessorRequest, BaseRequest)
    zope.component.provideAdapter(
        lambda context, request: f'job:{context}', (str, ProcessorRequest),
        IUrl)

    @task
    def url(service, jobid, input):
        request = getInteraction().participations[0]
        return zope.component.getMultiAdapter((input, request), IUrl)

    jobid = general.add('url', 'article')
    work(general)
    assert general.getResult(jobid) == 'job:article'


def test_the_publication_stands_beside_it(application):
    """vivi subclasses and imports ProcessorPublication with the request."""
    assert processor.ProcessorPublication(application.db).db is application.db
    assert ProcessorRequest('a', 1).getPositionalArguments() == ('a', 1)


def test_direct_process_keeps_the_caller_s_interaction(cms, general, task):
    """All of them: process() in tests, under an interaction of their own."""
    seen = []

    @task
    def look(service, jobid, input):
        seen.append((getSite(), getInteraction(), transaction.get()))

    participation = Participation('somebody')
    newInteraction(participation)
    setSite(cms)
    transaction.commit()
    general.add('look')
    current = transaction.get()
    interaction = getInteraction()
    general.process()
    assert seen == [(cms, interaction, current)]
    assert seen[0][1] is interaction
    assert getInteraction() is interaction and getSite() is cms
    assert transaction.get() is current
    endInteraction()
    setSite(None)


def test_a_task_that_commits_several_times(application, general, work, task):
    """vivi: transaction.commit() in the task, also several times."""
    @task
    def steps(service, jobid, input):
        root = service._p_jar.root()
        for n in range(3):
            root[f'step{n}'] = n
            transaction.commit()
        return 'done'

    jobid = general.add('steps')
    work(general)
    assert general.getStatus(jobid) == 'completed'
    assert general.getResult(jobid) == 'done'
    assert {'step0', 'step1', 'step2'} <= set(application.connection.root())


def test_a_task_that_tries_again_by_itself(application, general, work, task):
    """vivi: on a ConflictError abort, a pause, the same again; thrice."""
    tries = []

    @task
    def stubborn(service, jobid, input):
        for attempt in range(3):
            try:
                service._p_jar.root()['try'] = attempt
                tries.append(attempt)
                if attempt < 2:
                    raise ConflictError
                transaction.commit()
                return attempt
            except ConflictError:
                transaction.abort()

    jobid = general.add('stubborn')
    work(general)
    assert tries == [0, 1, 2]
    assert general.getResult(jobid) == 2
    assert application.connection.root()['try'] == 2


@pytest.mark.parametrize('direct', [True, False])
def test_a_task_that_aborts_logs_and_returns(
        direct, application, general, work, task):
    """vivi: on another exception abort(), log, return normally."""
    @task
    def careful(service, jobid, input):
        try:
            service._p_jar.root()['half'] = 1
            raise KeyError('article')
        except KeyError:
            transaction.abort()
            return 'logged'

    jobid = general.add('careful')
    transaction.commit()
    if direct:
        general.process()
        transaction.commit()
    else:
        work(general)
    assert general.getStatus(jobid) == 'completed'
    assert general.getResult(jobid) == 'logged'
    assert 'half' not in application.connection.root()


def test_joining_the_thread_by_its_name(cms, general):
    """vivi: joins the thread named _threadName() after stopProcessing()."""
    general.startProcessing()
    name = general._threadName()
    assert name == 'remotetasks.cms.++etc++site.tasks.general'
    (thread,) = (t for t in threading.enumerate() if t.name == name)
    general.stopProcessing()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    # What they wished for: a call that does it.
    general.startProcessing()
    general.stopProcessing(wait=None)
    assert name not in [t.name for t in threading.enumerate()]


def test_stop_and_start_again_in_one_process(general, task, wait_for):
    """vivi's test layers: stop and start again, many times."""
    @task
    def echo(service, jobid, input):
        return input

    for n in range(3):
        general.startProcessing()
        jobid = general.add('echo', n)
        transaction.commit()
        wait_for(general, jobid, 'completed')
        assert general.getResult(jobid) == n
        general.stopProcessing(wait=None)
        assert general.isProcessing() is False


def test_settings_on_the_persistent_instance(application, cms, general):
    """vivi: MultiProcessor and {'maxThreads': 1} set on the instance.

    The dict is changed in place before startProcessing(), in the same
    transaction.
    """
    general.processorFactory = MultiProcessor
    general.processorArguments = {'maxThreads': 1}
    transaction.commit()
    again, close = application.fresh(general)
    assert again.processorFactory is MultiProcessor
    assert again.processorArguments == {'maxThreads': 1}
    again.processorArguments['waitTime'] = 0
    again.startProcessing()
    (thread,) = (t for t in threading.enumerate()
                 if t.name == again._threadName())
    made = thread.processor
    assert type(made) is MultiProcessor
    assert (made.maxThreads, made.waitTime) == (1, 0)
    again.stopProcessing(wait=None)
    close()


def test_six_services_in_one_process(cms, general, task, wait_for):
    """vivi: general, highprio, lowprio, homepage, events, solr."""
    @task
    def where(service, jobid, input):
        return threading.current_thread().name

    services = [general]
    manager = cms.getSiteManager()
    for name in ('highprio', 'lowprio', 'homepage', 'events', 'solr'):
        service = manager[f'tasks.{name}'] = TaskService()
        manager.registerUtility(service, ITaskService, name)
        services.append(service)
    transaction.commit()
    for service in services:
        service.startProcessing()
    names = [t.name for t in threading.enumerate()
             if t.name.startswith('remotetasks.')]
    assert sorted(names) == sorted(
        f'remotetasks.cms.++etc++site.{s.__name__}' for s in services)
    for service in services:
        jobid = service.add('where')
        transaction.commit()
        wait_for(service, jobid, 'completed')
        assert service.getResult(jobid) == service._threadName()
    for service in services:
        service.stopProcessing(wait=None)
        assert zope.component.queryUtility(
            ITaskService, service.__name__.removeprefix('tasks.'),
            context=cms) is service


def test_external_programs(general, work, task, caplog):
    """lovely: media conversion; stdin from the job, output into the log."""
    import logging

    script = 'import sys; print(sys.stdin.read().upper())'

    @task
    def convert(service, jobid, input):
        done = subprocess.run(
            [sys.executable, '-c', script], input=input, text=True,
            capture_output=True, check=True)
        logging.getLogger('convert').info('%s', done.stdout)
        return done.returncode

    caplog.set_level(logging.INFO, 'convert')
    jobid = general.add('convert', 'movie')
    work(general)
    assert general.getResult(jobid) == 0
    assert 'MOVIE' in caplog.text


def test_nothing_is_left_behind_for_the_next_job(
        cms, general, application, task):
    """z3c.celery always ends the interaction; so do we, whatever happens."""
    seen = []

    def messy(service, jobid, input):
        (participation,) = getInteraction().participations
        seen.append((getSite().__name__, participation.principal))
        participation.setPrincipal('mess')
        setSite(None)
        endInteraction()
        newInteraction(Participation('other'))
        if input == 'fail':
            raise ValueError('no')
        if input == 'exit':
            raise SystemExit

    task(messy).retry = NO_RETRY
    for input in ('return', 'fail', 'exit', 'return'):
        general.add('messy', input)
    transaction.commit()
    runs = processor.SimpleProcessor(
        application.db, general.host.path_of(general))
    while runs.processNext():
        # Nor in the thread itself.
        assert queryInteraction() is None and getSite() is None
    assert seen == [('cms', None)] * 4
