"""A manager that joins the task's transaction commits and aborts with it.

A real one: SQLAlchemy's session, joined by zope.sqlalchemy, to SQLite.
"""

import pytest
import transaction
import zope.component
import zope.sqlalchemy
from sqlalchemy import Column
from sqlalchemy import Integer
from sqlalchemy import MetaData
from sqlalchemy import String
from sqlalchemy import Table
from sqlalchemy import create_engine
from sqlalchemy import insert
from sqlalchemy import select
from sqlalchemy.orm import scoped_session
from sqlalchemy.orm import sessionmaker

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask

METADATA = MetaData()
MAILS = Table('mails', METADATA, Column('id', Integer, primary_key=True),
              Column('text', String))


class Mails:
    """A table that tasks write to, as many do."""

    def __init__(self, path):
        self.engine = create_engine(f'sqlite:///{path}')
        METADATA.create_all(self.engine)
        self.session = scoped_session(sessionmaker(bind=self.engine))
        zope.sqlalchemy.register(self.session)

    def send(self, text):
        session = self.session()
        session.execute(insert(MAILS).values(text=text))
        zope.sqlalchemy.mark_changed(session)

    def sent(self):
        with self.engine.connect() as connection:
            return [text for (text,) in connection.execute(
                select(MAILS.c.text).order_by(MAILS.c.id))]


@pytest.fixture
def mails(tmp_path):
    mails = Mails(tmp_path / 'mails.sqlite')
    yield mails
    transaction.abort()
    mails.session.remove()
    mails.engine.dispose()


@pytest.fixture
def run(world):
    """Runs a job of ``function(service, jobid, input)``; gives its status."""
    def run(function, input=None, **options):
        zope.component.provideUtility(
            FunctionTask(function, **options), ITask, 'task')
        jobid = world.add('task', input)
        world.drain()
        return world.status(jobid)

    return run


def test_it_commits_with_the_success(world, mails, run):
    def task(service, jobid, input):
        mails.send('hello')
        world.effect(service, 'hello')
        assert mails.sent() == []

    assert run(task) == 'completed'
    assert mails.sent() == ['hello'] and world.effects() == {'hello': 1}


def test_of_a_failure_nothing_stays(world, mails, run):
    def task(service, jobid, input):
        mails.send('hello')
        raise TaskError('no')

    assert run(task) == 'error'
    assert mails.sent() == []


def test_a_retry_sends_once(world, mails, run):
    def task(service, jobid, input):
        mails.send(f'attempt {currentJob().attempt}')
        if currentJob().attempt < 3:
            raise ValueError

    assert run(task, retry=RetryPolicy(retries=2, base=0.0)) == 'completed'
    assert mails.sent() == ['attempt 3']


def test_of_a_cancelled_run_nothing_stays(world, mails, run):
    def task(service, jobid, input):
        mails.send('hello')
        world.do(lambda service: service.cancel(jobid))

    assert run(task) == 'cancelled'
    assert mails.sent() == []


def test_of_a_retired_run_nothing_stays(world, mails, run):
    def task(service, jobid, input):
        mails.send(f'attempt {currentJob().attempt}')
        if currentJob().attempt == 1:
            worker = service.jobs[jobid].claim[0]
            world.do(lambda service: service.jobqueue.retire(
                worker, service.clock.now(), charged=True))

    assert run(task) == 'completed'
    assert mails.sent() == ['attempt 2']


def test_a_conflict_sends_once(world, mails, run):
    runs = []

    def task(service, jobid, input):
        runs.append(jobid)
        mails.send(f'run {len(runs)}')
        world.effect(service, 'run')
        if len(runs) == 1:
            world.do(lambda service: world.effect(service, 'run'))

    assert run(task) == 'completed'
    assert mails.sent() == ['run 2']


def test_a_task_that_commits_sends_what_it_committed(world, mails, run):
    def task(service, jobid, input):
        mails.send('committed')
        transaction.commit()
        mails.send('lost')
        raise TaskError('no')

    assert run(task) == 'error'
    assert mails.sent() == ['committed']


def test_a_manager_that_fails_fails_the_job(world, mails, run):
    def task(service, jobid, input):
        world.effect(service, 'half')
        mails.send('hello')
        mails.engine.dispose()
        # Whatever happens to the connection before the commit.
        mails.session().connection().connection.driver_connection.close()

    assert run(task, retry=RetryPolicy(retries=0)) == 'error'
    assert mails.sent() == [] and world.effects() == {}
