"""What the undo log says of the transactions of workers.

An administrator chooses there what to undo: on a shared storage a worker
commits a beat every ten seconds, among the changes of people.
"""

import re

import pytest
from ZODB.POSException import ConflictError

from lovely.remotetask import settings
from lovely.remotetask.edge import db as edge
from lovely.remotetask.errors import TaskError
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.run import monitor
from lovely.remotetask.store.workers import LOOP

#: Larger than all that a test commits.
ALL = 10_000


@pytest.fixture
def quick(monkeypatch):
    """Beats and looks as often as a test has time for."""
    for name in ('BEAT_SECONDS', 'LOOK_SECONDS'):
        monkeypatch.setattr(settings, name, 0.05)
    monkeypatch.setattr(monitor, '_LOOK_ALONE_SECONDS', 0.05)


def entries(world):
    """What the undo log has, the latest first."""
    return world.db.undoInfo(0, ALL)


@pytest.fixture
def life(quick, zeo, register):
    """A world in which a worker has done all that workers do.

    Returns: the entries of the undo log since then.
    """
    broken = [ValueError('once')] * 2 + [ConflictError()] * 10

    def flaky(input):
        if broken:
            raise broken.pop()

    def fail(input):
        raise TaskError('for good')

    register(lambda input: None, 'work')
    register(flaky)
    register(fail)
    known = {one['id'] for one in entries(zeo)}

    def add(task, **options):
        # The adder's transaction has a name of its own.
        return edge.write(zeo.db, lambda connection: zeo.service(
            connection).add(task, **options), note='a request')

    thread = zeo.start(factory=MultiProcessor, maxThreads=2)
    ids = [add(task) for task in ('work', 'work', 'flaky', 'fail')]
    zeo.until(lambda service: service.jobs[ids[2]].conflicts)
    zeo.until(lambda service: {service.getStatus(one) for one in (
        ids[0], ids[1], ids[3])} == {'completed', 'error'})
    # One that died: its jobs are taken from it.
    gone = zeo.processor().worker
    gone.enroll(LOOP, 1)
    name = gone.identity.id
    edge.write(zeo.db, lambda connection: zeo.service(
        connection).jobqueue.workers[name].__setattr__(
            'evidence', (('exclusive', 'f' * 32),)), note='a test')
    zeo.until(lambda service: name not in service.jobqueue.workers)
    # One without the task of a job.
    zeo.until(lambda service: any(
        record.beat and record.beat.count > 2
        for record in service.jobqueue.workers.values()))
    assert thread.is_alive()
    zeo.stop()
    return [one for one in entries(zeo) if one['id'] not in known]


def test_each_transaction_of_a_worker_has_a_name(life):
    assert not [one for one in life if not one['description']]
    names = {re.sub(r'\d+', 'N', one['description']) for one in life}
    assert names >= {
        'remotetask worker starts', 'remotetask beat', 'remotetask claim',
        'remotetask rescue', 'remotetask worker ends', 'work job N',
        'fail job N failed', 'flaky job N waits'}


def test_those_of_the_machinery_are_of_no_user(life):
    """Hosts that list by user what can be undone leave them out."""
    for one in life:
        if one['description'].startswith('remotetask '):
            assert not one['user_name'], one
