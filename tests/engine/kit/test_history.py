"""What has ended is stored in commits that happen anyway, on each storage."""

import pytest

from lovely.remotetask.edge import db as edge
from lovely.remotetask.errors import TaskError
from lovely.remotetask.run import notes


@pytest.fixture
def commits(monkeypatch):
    """How many transactions were committed: a list."""
    commits = []

    def commit(manager, connection):
        genuine(manager, connection)
        commits.append(manager)

    genuine = edge._commit
    monkeypatch.setattr(edge, '_commit', commit)
    return commits


@pytest.fixture
def tasks(register):
    @register
    def note(input):
        return input

    @register
    def fails(input):
        raise TaskError('no')


def rows(world, *arguments):
    return [(row['start'][11:16], row['done'], row['failed']) for row in
            world.see(lambda service: service.history(*arguments))]


def work(world, worker, task='note', count=1, drains=True):
    world.do(lambda service: service.addMany(task, [None] * count))
    while claims := worker.claim_some():
        worker.work(claims, lambda: True)
    assert world.see(lambda service: service.stats()['queued']) == 0


@pytest.mark.usefixtures('tasks', 'patient')
def test_minutes_go_with_commits_that_happen_anyway(world, clock, commits):
    worker = world.processor().worker
    worker.enroll()
    made = []
    for _ in range(3):
        before = len(commits)
        work(world, worker, count=70)
        work(world, worker, 'fails', 2)
        made.append(len(commits) - before)
        clock.advance(60)
    # In the first minute nothing is stored, later the minute before.
    assert made[0] == made[1] == made[2]
    history = [('08:00', 70, 2), ('08:01', 70, 2), ('08:02', 70, 2)]
    assert rows(world) == history
    # What is stored does not depend on the jobs; what is not yet stored does.
    world.do(lambda service: service.clean())
    assert rows(world) == history[:2]
    before = len(commits)
    worker.leave()
    assert len(commits) == before + 1
    assert rows(world) == history
    assert world.see(lambda service: service.stats())['completedTotal'] == 210
    assert rows(world, 1, 'fails') == [('08:00', 0, 6)]
    assert rows(world, 25) == [('08:00', 210, 6)]
    tasks = world.see(lambda service: service.historyOfTasks())
    assert {name: row['done'] for name, row in tasks.items()} == {
        'note': 210, 'fails': 0}


@pytest.mark.usefixtures('tasks')
def test_a_fold_that_is_not_committed_is_made_again(world, clock, monkeypatch):
    monkeypatch.setattr(notes, '_FOLD_JOBS', 1)
    worker = world.processor().worker
    worker.enroll()
    work(world, worker, count=5)
    clock.advance(60)
    slot = world.see(lambda service: service.jobqueue.slots_of(
        worker.identity.id))[0]
    for _ in range(3):
        # Aborted.
        world.see(lambda service: worker.executor.notes.fold(
            service.jobqueue, slot, clock.now()))
    assert world.see(lambda service: service.jobqueue.slots[
        slot].history.folds) == 0
    for _ in range(3):
        world.do(lambda service: worker.executor.notes.fold(
            service.jobqueue, slot, clock.now()))
    assert rows(world) == [('08:00', 5, 0)]
    worker.leave()
    assert rows(world) == [('08:00', 5, 0)]


@pytest.mark.usefixtures('tasks')
def test_what_a_killed_worker_had_not_stored_is_lost_and_no_more(
        world, clock, monkeypatch):
    monkeypatch.setattr(notes, '_FOLD_JOBS', 1)
    worker = world.processor().worker
    worker.enroll()
    work(world, worker, count=5)
    clock.advance(60)
    work(world, worker, count=3)
    world.dies(worker)
    world.do(lambda service: service.clean())
    assert rows(world) == [('08:00', 5, 0)]
    other = world.processor().worker
    other.enroll()
    work(world, other, count=2)
    other.leave()
    assert rows(world) == [('08:00', 5, 0), ('08:01', 2, 0)]
    assert world.see(lambda service: service.stats())['completedTotal'] == 10


@pytest.mark.usefixtures('tasks')
def test_direct_processing_stores_none_and_shows_its_log(world, clock):
    world.do(lambda service: (service.addMany('note', [1, 2]),
                              service.add('fails'), service.process()))
    assert rows(world) == [('08:00', 2, 1)]
    assert world.see(
        lambda service: service.jobqueue.slots[0].history) is None
    world.do(lambda service: service.clean())
    assert rows(world) == []
    stats = world.see(lambda service: service.stats())
    assert (stats['completedTotal'], stats['errorTotal']) == (2, 1)


@pytest.mark.usefixtures('tasks')
def test_runs_of_schedules_count(world, clock):
    world.do(lambda service: service.addCronJob('note', minute=(0,)))
    worker = world.processor().worker
    worker.enroll()
    for _ in range(3):
        clock.advance(3600)
        worker.work(worker.claim_some(), lambda: True)
    worker.leave()
    assert rows(world, 25) == [
        (f'{hour:02}:00', 1, 0) for hour in (9, 10, 11)]
    assert world.see(lambda service: service.stats())['completedTotal'] == 3
