"""What the storage does wrong is not charged to the job that meets it."""

import pytest
import transaction
import ZEO
from persistent.mapping import PersistentMapping
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db as edge
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import FunctionTask


class AtVote:
    """A data manager that acts when all others have voted."""

    def __init__(self, act):
        self.act = act
        self.transaction_manager = transaction.manager
        transaction.get().join(self)

    def sortKey(self):
        return '~~~~'

    def tpc_vote(self, running):
        self.act()

    def abort(self, running):
        pass

    tpc_begin = commit = tpc_finish = tpc_abort = abort


def seen(world, jobid):
    """Status, failures and attempts that were noted."""
    return world.see(lambda service: (
        service.getStatus(jobid), service.jobs[jobid].failures,
        service.jobs[jobid].attempts))


@pytest.fixture
def task(register):
    """Registers ``function(service, jobid, input)`` under its name."""
    return lambda function: register(
        FunctionTask(function), function.__name__)


@pytest.fixture
def cut(pg):
    """Ends every session of the database, the next ``times`` times."""
    def cut():
        if cut.times:
            cut.times -= 1
            pg.ask('SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
                   f" WHERE datname = '{pg.name}'")

    cut.times = 2
    return cut


def test_sessions_that_end_amid_a_commit(pg, task, cut, log):
    @task
    def work(service, jobid, input):
        pg.effect(service, 'work')
        AtVote(cut)

    jobid = pg.add('work')
    pg.drain()
    assert seen(pg, jobid) == ('completed', 0, 1)
    assert pg.effects() == {'work': 1}
    line, = (line for line in log if 'database failed' in line)
    assert line.startswith(f'WARNING Job {jobid}: the database failed, and '
                           f'the job runs again, uncharged: OperationalError:')


def test_a_database_of_the_task_that_ends_is_the_tasks_failure(
        pg, task, postgresql):
    import psycopg2

    @task
    def work(service, jobid, input):
        connection = psycopg2.connect(postgresql)
        pid = connection.info.backend_pid
        pg.ask(f'SELECT pg_terminate_backend({pid})')
        connection.cursor().execute('SELECT 1')

    jobid = pg.add('work')
    pg.drain(1)
    assert seen(pg, jobid) == ('queued', 1, 1)


class Broken(Exception):
    """An error that a ZEO client has never heard of."""


@pytest.mark.parametrize('method', ['tpc_vote', 'tpc_finish'])
def test_a_zeo_server_that_fails_amid_a_commit(
        components, task, monkeypatch, log, method):
    """Whether that commit is through is not known."""
    address, stop = ZEO.server(storage_conf='<mappingstorage>\n'
                                            '</mappingstorage>')
    database = ZEO.DB(address)

    def make(connection):
        service = connection.root()['tasks'] = TaskService()
        service.__name__ = 'tasks'
        connection.root()['effects'] = PersistentMapping(work=0)

    edge.write(database, make)
    do = getattr(MappingStorage, method)
    refusals = []

    def refuse(self, *arguments, **options):
        answer = do(self, *arguments, **options)
        if not refusals:
            refusals.append(method)
            raise Broken('out of order')
        return answer

    def refuse_from_now_on():
        monkeypatch.setattr(MappingStorage, method, refuse)

    @task
    def work(service, jobid, input):
        service._p_jar.root()['effects']['work'] += 1
        if not refusals:
            refuse_from_now_on()

    jobid = edge.write(database, lambda connection: connection.root()[
        'tasks'].add('work'))
    assert SimpleProcessor(database, ['tasks']).processNext()
    assert refusals
    assert edge.read(database, lambda connection: (
        connection.root()['tasks'].getStatus(jobid),
        connection.root()['tasks'].jobs[jobid].failures,
        connection.root()['effects']['work'])) == ('completed', 0, 1)
    line, = (line for line in log if 'database failed' in line)
    assert 'ServerException' in line
    database.close()
    stop()
