"""One `remotetask worker` for several services: real processes on a ZEO."""

import json
import signal

import pytest
import ZODB
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from worker_process import DEADLINE
from worker_process import heard
from ZODB.Connection import TransactionMetaData
from zope.component import provideUtility

from lovely.remotetask.cli.worker import _Work
from lovely.remotetask.edge import db
from lovely.remotetask.host.plain import PLAIN
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask

SOON = {'LOVELY_REMOTETASK_SERVICES_SECONDS': '0.2'}


class Sites:
    """An application of several sites, each with a service ``tasks``."""

    def __init__(self, producer):
        self.producer = producer

    def make(self, *names):
        for name in names:
            self.producer.make('Application', name, 'tasks')

    def service(self, name):
        return self.producer.service(('Application', name, 'tasks'))

    def add(self, name, task, input=None, **options):
        with self.service(name) as service:
            return service.add(task, input, **options)

    def ended(self, name, jobid, status='completed'):
        with self.service(name) as service:
            assert service.waitFor(jobid, DEADLINE).status == status

    def workers(self, name):
        with self.service(name) as service:
            return service.listWorkers()


@pytest.fixture
def sites(producer, environ, monkeypatch):
    # The fixture's own service is one more.
    with producer.root() as root:
        del root['Application']['tasks']
    for name, value in SOON.items():
        monkeypatch.setitem(environ, name, value)
    sites = Sites(producer)
    sites.make('a', 'b', 'c')
    return sites


def test_named_services(zeo, sites, worker):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '/a/tasks', '--service', 'b/tasks', '--threads',
                     '2').ready()
    assert process.line == (
        'remotetask: worker ready: 2 services (/a/tasks, /b/tasks), '
        '2 threads, tasks: count, echo, hold, meet, note, walk\n')
    for name in ('a', 'b'):
        sites.ended(name, sites.add(name, 'note', name))
    assert sites.workers('c') == []
    assert process.stop() == 0
    assert process.rest().endswith('remotetask: worker stopped\n')
    assert sites.workers('a') == sites.workers('b') == []


def test_one_service_that_is_named_twice(zeo, sites, worker):
    process = worker('--db', zeo.uri, '--service', '/a/tasks', '--service',
                     'a/tasks').ready()
    assert 'service /a/tasks, 5 threads' in process.line
    assert process.stop() == 0


def test_all_services_also_those_that_come_and_go(zeo, sites, worker):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '-v',
                     '--service', '*').ready()
    assert '3 services (/a/tasks, /b/tasks, /c/tasks), ' in process.line
    sites.ended('c', sites.add('c', 'note', 'c'))
    sites.make('d')
    sites.ended('d', sites.add('d', 'note', 'd'))
    process.wait_for('service /d/tasks: this worker runs its jobs')
    with sites.producer.root() as root:
        del root['Application']['a']
        moved = root['Application']['e'] = root['Application']['b']
        del root['Application']['b']
        moved.__name__ = 'e'
    sites.ended('e', sites.add('e', 'note', 'moved'))
    sites.ended('d', sites.add('d', 'note', 'd'))
    assert process.stop() == 0
    told = process.rest()
    assert 'Traceback' not in told
    for text in ('a/tasks', 'b/tasks'):
        assert f'{text} any more: this worker goes on without it' in told \
            or f'{text} is gone: this worker goes on without it' in told


def test_no_service_yet(zeo, sites, worker):
    with sites.producer.root() as root:
        for name in ('a', 'b', 'c'):
            del root['Application'][name]
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*').ready()
    assert 'worker ready: no service yet, 5 threads' in process.line
    sites.make('d')
    sites.ended('d', sites.add('d', 'note'))
    assert process.stop() == 0


def test_the_last_named_service_is_removed(zeo, sites, worker):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     'a/tasks', '--service', 'b/tasks').ready()
    with sites.producer.root() as root:
        del root['Application']['a']
    sites.ended('b', sites.add('b', 'note'))
    with sites.producer.root() as root:
        del root['Application']['b']
    assert process.end() == 1
    assert ('the worker of /a/tasks, /b/tasks has ended by itself'
            in process.rest())


@pytest.mark.parametrize(('options', 'code', 'text'), [
    (['--service', '*', '--service', 'a/tasks'], 2, 'leave out the others'),
    (['--service', 'a/tasks', '--service', 'x'], 1,
     'there is no task service at /x'),
    ([], 1, 'this database holds several task services'),
])
def test_refused(zeo, sites, worker, options, code, text):
    process = worker('--db', zeo.uri, *options)
    assert process.end() == code
    assert text in process.rest()


def test_a_busy_service_starves_no_other(zeo, sites, worker):
    """There is one thread, and the queue of a is long."""
    with sites.producer.root() as root:
        for name in ('a', 'b', 'c'):
            root['Application'][name]['effects'] = OOBTree({1: Length()})
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*', '--threads', '1').ready()
    sites.ended('c', sites.add('c', 'note'))
    with sites.service('a') as service:
        service.addMany('count', [1] * 2000)
    others = {name: sites.add(name, 'count', 1) for name in ('b', 'c')}
    for name, jobid in others.items():
        sites.ended(name, jobid)
    with sites.service('a') as service:
        assert service.hasJobsWaiting()
    assert process.stop() == 0


def test_a_paused_service(zeo, sites, worker):
    with sites.service('a') as service:
        service.pause()
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*').ready()
    process.wait_for('the queue of /a/tasks is paused: none of its jobs is '
                     'started until: remotetask resume --service /a/tasks')
    waiting = sites.add('a', 'note')
    sites.ended('b', sites.add('b', 'note'))
    with sites.service('a') as service:
        assert service.getStatus(waiting) == 'queued'
        service.resume()
    sites.ended('a', waiting)
    assert process.stop() == 0


def test_a_signal_amid_jobs_of_three_services(zeo, sites, worker, directory):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*', '--threads', '3', '--grace', '0.1').ready()
    jobs = hold_in(sites, directory)
    assert process.stop() == 0
    assert process.rest().endswith(
        'remotetask: worker stopped: 3 running jobs were given back\n')
    for name, jobid in jobs.items():
        with sites.service(name) as service:
            assert service.getStatus(jobid) == 'queued'
            assert service.jobs[jobid].interruptions == 0


def test_a_kill_amid_jobs_of_three_services(zeo, sites, worker, directory):
    options = ('--db', zeo.uri, '--tasks', 'thetasks', '--service', '*',
               '--threads', '3')
    first = worker(*options).ready()
    jobs = hold_in(sites, directory)
    second = worker(*options).ready()
    (directory / 'go').touch()
    # Nobody reads the pipe any more.
    (directory / 'running').unlink()
    first.send(signal.SIGKILL)
    first.end()
    for name, jobid in jobs.items():
        sites.ended(name, jobid)
        with sites.service(name) as service:
            assert len(service.listWorkers()) == 1
    assert second.stop() == 0


def hold_in(sites, directory):
    """A job of each of three services runs, until there is a file ``go``."""
    jobs = {}
    for name in ('a', 'b', 'c'):
        jobs[name] = sites.add(name, 'hold')
        assert heard(directory / 'running')
    return jobs


def damage(sites, obj):
    """Let the record of an object be one that cannot be read."""
    storage, oid = sites.producer.database.storage, obj._p_oid
    written = TransactionMetaData()
    storage.tpc_begin(written)
    storage.store(oid, storage.load(oid)[1], b'damaged', '', written)
    storage.tpc_vote(written)
    storage.tpc_finish(written)


def test_a_broken_service_holds_up_no_other(zeo, sites, worker):
    """The record of a queue is damaged; a job of another service runs."""
    with sites.service('b') as service:
        lane = service.jobqueue.ready
    damage(sites, lane)
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*').ready()
    for number in range(30):
        jobid = sites.add('a', 'note', number)
    sites.ended('a', jobid)
    sites.ended('c', sites.add('c', 'note'))
    assert process.stop() == 0
    told = process.rest()
    assert told.count('ERROR lovely.remotetask: service /b/tasks failed') == 1


def test_a_service_that_has_lost_its_jobs(zeo, sites, worker):
    """Without the mapping of all jobs none is found, and none is missed."""
    with sites.service('b') as service:
        jobs = service.jobs
    damage(sites, jobs)
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*').ready()
    assert '2 services (/a/tasks, /c/tasks), ' in process.line
    process.wait_for('ERROR lovely.remotetask: service /b/tasks failed')
    for name in ('a', 'c'):
        sites.ended(name, sites.add(name, 'note'))
    assert process.stop() == 0
    told = process.rest()
    assert told.count(' ERROR lovely.remotetask: ') == 1
    assert ('A record of service /b/tasks is lost or damaged, and ZODB has '
            'logged which: run remotetask check --repair, and restore from a '
            'backup what that cannot mend' in told)
    assert "Couldn't load state for lovely.remotetask.store.blocks" in told
    process = worker('--db', zeo.uri, '--service', '/a/tasks', '--service',
                     '/b/tasks')
    assert process.end() == 1
    assert ('service /b/tasks cannot run: a record of this service is damaged '
            '(UnpicklingError: ' in process.rest())


def test_the_log_tells_of_which_service_it_speaks(zeo, sites, worker):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '-v',
                     '--service', '*').ready()
    with sites.service('a') as service:
        provideUtility(EchoTask(), ITask, name='gone')
        service.add('gone')
    process.wait_for('Task "gone" not found! (service /a/tasks)')
    jobid = sites.add('c', 'note', 'c')
    process.wait_for(f'Job {jobid} (task \'note\'')
    assert process.told[-1].endswith(' s (service /c/tasks)\n')
    assert process.stop() == 0
    told = process.rest()
    assert 'service /a/tasks: this worker runs its jobs\n' in told


def test_workers_and_show_tell_of_each_service(zeo, sites, worker,
                                               remotetask):
    process = worker('--db', zeo.uri, '--tasks', 'thetasks', '--service',
                     '*', '--threads', '2').ready()
    names = set()
    for name in ('a', 'b'):
        jobid = sites.add(name, 'note')
        sites.ended(name, jobid)
        told = remotetask('workers', '--db', zeo.uri, '--service',
                          f'{name}/tasks', '--json')
        record, = json.loads(told.stdout)['workers']
        assert len(record['slots']) == 2
        names.add(record['id'])
        shown = remotetask('show', str(jobid), '--db', zeo.uri, '--service',
                           f'{name}/tasks')
        assert 'completed' in shown.stdout
    assert len(names) == 2
    assert process.stop() == 0


def test_each_database_has_a_connection_for_each_thread():
    """A queue may have a database of its own; each run has both open."""
    databases = {}
    main, jobs = [ZODB.DB(None, databases=databases, database_name=name)
                  for name in ('main', 'jobs')]
    try:
        _Work(main, PLAIN, ('*',), 20)
        assert min(main.getPoolSize(), jobs.getPoolSize()) > 20
    finally:
        db.close(main)
