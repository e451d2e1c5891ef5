"""What history() tells of jobs that have ended, and of lost records."""

import pytest
import transaction

from lovely.remotetask.errors import UsageError
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import notes
from lovely.remotetask.store import figures


@pytest.fixture
def work(application, service, ran):
    """Runs so many jobs of the task ``note`` in a worker."""
    worker = SimpleProcessor(application.db, ['tasks']).worker
    worker.enroll()

    def work(count, task='note'):
        service.addMany(task, [None] * count)
        transaction.commit()
        while claims := worker.claim_some():
            worker.work(claims, lambda: True)
        transaction.begin()

    work.worker = worker
    yield work
    worker.leave()


def rows(service, *arguments):
    return [(row['start'][11:16], row['done'], row['failed'])
            for row in service.history(*arguments)]


@pytest.mark.parametrize('hours', [0, -1, 721, True, 1.0, '1', None])
def test_hours_that_are_none(service, hours):
    for call in service.history, service.historyOfTasks:
        with pytest.raises(UsageError, match='hours is .*; give a whole numb'):
            call(hours)


@pytest.mark.parametrize('task', [1, b'note', True, ['note']])
def test_tasks_that_are_none(service, task):
    with pytest.raises(UsageError, match='task is .*; give the name'):
        service.history(1, task)
    assert service.history(720, 'unknown') == []


def test_a_service_in_which_nothing_has_ended(service):
    assert service.history() == service.history(720) == []
    assert service.historyOfTasks() == {}


def test_a_row(service, work, clock):
    work(3)
    [row] = service.history()
    assert {name: row[name] for name in (
        'start', 'seconds', 'done', 'failed')} == {
        'start': '2027-01-15T08:00:00+00:00', 'seconds': 60, 'done': 3,
        'failed': 0}
    assert 0 <= row['p50Ms'] <= row['p95Ms'] <= row['longestMs']
    assert sorted(row) == sorted([
        'start', 'seconds', 'done', 'failed', 'runMs', 'waitMs', 'longestMs',
        'p50Ms', 'p95Ms'])


def test_what_is_too_old_is_not_shown(service, work, clock, monkeypatch):
    monkeypatch.setattr(notes, '_FOLD_JOBS', 1)
    for _ in range(4):
        work(1)
        clock.advance(30 * 60)
    assert rows(service, 1) == [('09:30', 1, 0)]
    assert rows(service, 2) == [
        ('08:30', 1, 0), ('09:00', 1, 0), ('09:30', 1, 0)]
    assert rows(service, 3)[0] == ('08:00', 1, 0)
    assert rows(service, 2, 'note') == [('09:00', 2, 0)]
    clock.advance(30 * 86_400)
    assert rows(service, 720) == []


def test_a_busy_minute_is_estimated_from_its_last_jobs(
        service, work, clock, monkeypatch):
    monkeypatch.setattr(figures, '_LOOKS', 20)
    work(70)
    clock.advance(60)
    work(100)
    (first, done, _), (second, more, _) = rows(service)
    assert (first, done, second) == ('08:00', 70, '08:01')
    # But for those of the commit that has stored the minute before.
    assert 90 <= more <= 100
    assert sum(row['done'] for row in service.historyOfTasks().values()) == (
        done + more)


def test_a_queue_that_cannot_be_read_in_part(
        application, service, work, clock, lose_record, monkeypatch):
    monkeypatch.setattr(notes, '_FOLD_JOBS', 1)
    for lost in ('history', 'hour', 'tree'):
        work(3)
        clock.advance(60)
        work(1)
        [history] = [slot.history for slot in service.jobqueue.slots.values()
                     if slot.history is not None]
        hours = history.hours
        oid = {'history': history, 'tree': hours,
               'hour': hours[hours.maxKey()]}[lost]._p_oid
        lose_record(application.db.storage, oid)
        transaction.abort()
        application.db.cacheMinimize()
        assert isinstance(rows(service), list)
        clock.advance(60)
        work(2)
        clock.advance(60)
        work(1)
        assert rows(service)[-2:] == [
            (f'08:{clock.moment.minute - 1:02}', 2, 0),
            (f'08:{clock.moment.minute:02}', 1, 0)]


def test_a_log_that_is_replaced_keeps_its_total(
        application, service, work, lose_record):
    work(50)
    work.worker.leave()
    transaction.begin()
    queue = service.jobqueue
    log = next(slot.completed for slot in queue.slots.values()
               if len(slot.completed))
    oid = log.buckets.values()[0]._p_oid
    assert service.stats()['completedTotal'] == 50
    lose_record(application.db.storage, oid)
    transaction.abort()
    application.db.cacheMinimize()
    assert queue.renew('completed')
    assert service.stats()['completedTotal'] == 50
