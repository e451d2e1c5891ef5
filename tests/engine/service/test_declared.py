"""Schedules that the code declares, settled by workers of several releases."""

import pytest
import transaction
import zope.component

from lovely.remotetask import settings
from lovely.remotetask.declaring.scheduled import DeclaredSchedule
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store import copies
from lovely.remotetask.store import declared
from lovely.remotetask.store.workers import LOOP
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import task

KEY = 'code:report'


def report():
    pass


@pytest.fixture
def releases(application, service, components, clock):
    """``releases(report={'cron': ...}, ...)``: a worker of a release.

    Arguments: name of a task -> options of its schedule, or the task itself;
    None: no schedule.
    """
    transaction.commit()
    manager = zope.component.getGlobalSiteManager()
    known = []

    def start(schedules=None, **tasks):
        for name in known:
            manager.unregisterUtility(provided=ITask, name=name)
        for name, _ in list(manager.getUtilitiesFor(IDeclaredSchedule)):
            manager.unregisterUtility(provided=IDeclaredSchedule, name=name)
        known[:] = tasks
        for name, options in tasks.items():
            made = (options if isinstance(options, FunctionTask)
                    else FunctionTask(report, **(options or {})))
            manager.registerUtility(made, ITask, name)
        for key, one in (schedules or {}).items():
            manager.registerUtility(one, IDeclaredSchedule, key)
        worker = SimpleProcessor(application.db, ['tasks']).worker
        worker.enroll(LOOP, 1)
        worker.declared.settle()
        transaction.begin()
        return worker

    return start


def look(*workers):
    for worker in workers:
        worker.declared._look()
    transaction.begin()


@pytest.fixture
def schedule(service):
    """``schedule()``: the only one there is, as it is stored now."""
    def schedule(key=KEY):
        transaction.begin()
        jobs = [job for job in service.jobs.values() if job.key == key]
        assert len(jobs) <= 1
        return jobs[0] if jobs else None

    return schedule


NIGHT = {'cron': '30 2 * * *', 'timezone': 'Europe/Vienna'}
NOON = {'cron': '0 12 * * *'}


def lines(log):
    found = [line for line in log if ' of the code ' in line]
    log.clear()
    return found


def test_a_schedule_is_added_once(releases, schedule, log):
    releases(report=NIGHT)
    job = schedule()
    assert (job.task, job.cron, job.timezone, job.enabled) == (
        'report', '30 2 * * *', 'Europe/Vienna', True)
    line, = lines(log)
    assert line == (f'INFO schedule code:report of the code was added as job '
                    f"{job.id}: task='report', cron='30 2 * * *', "
                    f"timezone='Europe/Vienna'")
    releases(report=NIGHT)
    assert schedule().id == job.id and lines(log) == []


def test_nothing_is_written_where_nothing_is_new(application, releases):
    worker = releases(report=NIGHT)
    before = application.db.lastTransaction()
    look(worker)
    assert application.db.lastTransaction() == before


def test_a_change_of_the_code_is_taken_over(releases, schedule, log):
    releases(report=NIGHT).leave()
    first = schedule().id
    lines(log)
    releases(report={**NOON, 'overlap': 'queue'}).leave()
    job = schedule()
    assert (job.id, job.cron, job.timezone, job.overlap) == (
        first, '0 12 * * *', 'UTC', 'queue')
    line, = lines(log)
    assert "cron='0 12 * * *'" in line and "overlap='queue'" in line
    releases(report={'every': 600}).leave()
    job = schedule()
    assert (job.id, job.every, job.cron, job.overlap) == (
        first, 600, None, 'skip')
    releases(report={'hour': (3,), 'minute': (5,)}).leave()
    job = schedule()
    assert (job.id, job.every, job.hour, job.minute) == (
        first, None, (3,), (5,))


def test_what_a_person_has_changed_stays(releases, schedule, service, log):
    releases(report=NIGHT).leave()
    service.editCronJob(schedule().id, cron='0 5 * * *')
    transaction.commit()
    lines(log)
    releases(report=NIGHT).leave()
    assert schedule().cron == '0 5 * * *'
    # What the code says of another part counts.
    releases(report={**NOON, 'missed': 'skip'}).leave()
    assert (schedule().cron, schedule().missed) == ('0 5 * * *', 'skip')
    line, = lines(log)
    assert 'keeps the times that a person gave it' in line
    assert "missed='skip'" in line


def test_what_a_person_has_paused_stays_so(releases, schedule, service, log):
    releases(report=NIGHT).leave()
    service.pauseCronJob(schedule().id)
    transaction.commit()
    releases(report=NOON).leave()
    assert not schedule().enabled and schedule().cron == NOON['cron']
    # Also where the code declares it no longer, and then again.
    releases(report=None).leave()
    releases(report=NOON).leave()
    assert not schedule().enabled


def test_what_is_declared_no_longer_is_paused(releases, schedule, service,
                                              log):
    releases(report=NIGHT).leave()
    first = schedule().id
    lines(log)
    releases(report=None).leave()
    job = schedule()
    assert (job.id, job.enabled, job.cron) == (first, False, NIGHT['cron'])
    assert declared.why_paused(service.jobqueue, job) == (
        'no longer declared by the code')
    line, = lines(log)
    assert 'is no longer declared: job' in line
    releases(report=NIGHT).leave()
    assert schedule().id == first and schedule().enabled
    assert declared.why_paused(service.jobqueue, schedule()) is None
    line, = lines(log)
    assert 'declared again' in line


def test_a_person_may_resume_it(releases, schedule, service):
    releases(report=NIGHT).leave()
    releases(report=None).leave()
    service.resumeCronJob(schedule().id)
    transaction.commit()
    releases(report=None).leave()
    assert schedule().enabled


def test_what_a_person_has_ended_is_not_added_again(releases, schedule,
                                                    service, log):
    releases(report=NIGHT).leave()
    service.cancel(schedule().id)
    transaction.commit()
    for options in (NIGHT, NOON, None, NOON):
        releases(report=options).leave()
        assert schedule().status == 'cancelled'
    assert any('ended by a person' in line for line in lines(log))


def test_a_task_that_is_gone_pauses_its_schedule_after_a_while(
        releases, schedule, clock, monkeypatch):
    releases(report=NIGHT, other=None).leave()
    worker = releases(other=None)
    look(worker)
    assert schedule().enabled
    monkeypatch.setattr(settings, 'GONE_SECONDS', 0.0)
    look(worker)
    assert not schedule().enabled


def test_workers_of_another_kind_pause_nothing(releases, schedule,
                                               monkeypatch):
    monkeypatch.setattr(settings, 'GONE_SECONDS', 0.0)
    one = releases(report=NIGHT)
    other = releases(other=None)
    look(one, other, other)
    assert schedule().enabled
    # Only when the last one that knows the task is gone.
    one.leave()
    look(other)
    assert not schedule().enabled
    releases(report=NIGHT)
    assert schedule().enabled


def test_no_run_is_lost_while_no_worker_knows_the_task(
        releases, schedule, clock, service, monkeypatch):
    monkeypatch.setattr(settings, 'GONE_SECONDS', 0.0)
    releases(report={'every': 3600}).leave()
    due = schedule().due_at()
    other = releases(other=None)
    look(other)
    assert not schedule().enabled
    clock.advance(2 * 3600)
    releases(report={'every': 3600})
    assert schedule().enabled and schedule().due_at() == pytest.approx(due)
    assert service.jobqueue.has_due(clock.now())


def test_two_releases_side_by_side_do_not_fight(releases, schedule, log):
    old = releases(report=NIGHT)
    new = releases(report=NOON)
    assert schedule().cron == NOON['cron']
    lines(log)
    for _ in range(3):
        # A worker of the old release crashes, and starts once more.
        old.leave()
        old = releases(report=NIGHT)
        assert schedule().cron == NOON['cron']
        look(old, new, old)
        assert schedule().cron == NOON['cron']
    told = lines(log)
    assert told and all('another release' in line for line in told)
    old.leave()
    look(new)
    assert schedule().cron == NOON['cron']


def test_so_it_is_where_the_old_one_declares_nothing(releases, schedule):
    old = releases(report=None)
    new = releases(report=NOON)
    for _ in range(2):
        old.leave()
        old = releases(report=None)
        look(old, new)
        assert schedule().enabled


def test_so_it_is_where_the_new_one_declares_nothing(releases, schedule):
    old = releases(report=NIGHT)
    new = releases(report=None)
    look(old, new)
    # Before the schedule was added, nothing was declared, too: which of the
    # two is the newer one shows when the other one is gone.
    assert schedule().enabled
    old.leave()
    look(new)
    assert not schedule().enabled
    for _ in range(2):
        old = releases(report=NIGHT)
        look(old, new)
        assert not schedule().enabled
        old.leave()


def test_after_a_rollback_the_old_release_takes_over(releases, schedule):
    releases(report=NIGHT).leave()
    new = releases(report=NOON)
    old = releases(report=NIGHT)
    assert schedule().cron == NOON['cron']
    new.leave()
    look(old)
    assert schedule().cron == NIGHT['cron']
    new = releases(report=NOON)
    assert schedule().cron == NIGHT['cron']
    old.leave()
    look(new)
    assert schedule().cron == NOON['cron']


def test_a_worker_that_was_retired_says_it_anew(application, releases,
                                                schedule, service):
    new = releases(report=NOON)
    service.jobqueue.retire(new.identity.id, 0.0, charged=True)
    transaction.commit()
    new.enroll()
    look(new)
    assert declared.said(service.jobqueue, KEY) == [
        declared.records(service.jobqueue)[KEY].digest]


def test_schedules_of_their_own(releases, schedule, log):
    declares = DeclaredSchedule('report', every=60, priority=2)
    elsewhere = DeclaredSchedule('report', every=60, service='/others')
    releases({'one': declares, 'here': DeclaredSchedule(
        'report', every=7, service='tasks'), 'there': elsewhere}, report=NOON)
    assert schedule('one').every == 60 and schedule('one').priority == 2
    assert schedule('here').every == 7
    assert schedule('there') is None
    assert schedule().cron == NOON['cron']


def test_one_that_cannot_be_settled_keeps_none_from_it(releases, schedule,
                                                       log):
    releases({'bad': DeclaredSchedule('nothing', every=60)}, report=NOON)
    assert schedule().cron == NOON['cron'] and schedule('bad') is None
    line, = (line for line in lines(log) if 'ERROR' in line)
    assert 'bad' in line and 'Task does not exist' in line


@pytest.mark.parametrize('options', [
    {'cron': '* * *'}, {'timezone': 'UTC'}, {'every': 0}, {'minute': (61,)},
    {'cron': '* * * * *', 'every': 60}, {'every': 60, 'missed': 'never'},
    {'cron': '* * * * *', 'timezone': 'Vienna'}, {'schedule': 'daily'}])
def test_a_mistake_is_told_at_its_line(options):
    with pytest.raises(TypeError):
        FunctionTask(report, **options)


LONG = 'x' * 196


def test_so_is_a_name_that_is_too_long_for_its_schedule():
    told = ("the name is 'x+.*, of 196 characters; the schedule of a task "
            "has the key 'code:' and its name: give one of at most 195 "
            "characters")
    with pytest.raises(TypeError, match=told):
        task(LONG, every=60)(report)
    assert task(LONG)(report) and task(LONG[1:], every=60)(report)


@pytest.mark.parametrize('key', ['', 'k' * 201])
def test_so_it_is_where_one_was_registered_by_hand(releases, schedule, log,
                                                   key):
    """Nobody knows of the key before the worker does."""
    releases({key: DeclaredSchedule('report', every=60)}, report=NOON,
             **{LONG: {'every': 60}})
    assert schedule().cron == NOON['cron']
    assert [line for line in lines(log) if 'ERROR' in line] == [
        f'ERROR schedule {one} of the code is left out: key is '
        f'{one!r:.80}; give a text of 1 to 200 characters'
        for one in ('code:' + LONG, key)]


@pytest.mark.parametrize('options', [
    {'at': None}, {'every': 60, 'input': object()}, {'every': 60,
                                                     'priority': 9}, {},
    {'every': 60, 'service': 7}, {'every': 60, 'input': float('nan')},
    # Compared with another release, it would keep all from being settled.
    {'every': 60, 'input': {'days': {1: 'mon', 'b': 'tue'}}}])
def test_so_is_one_of_a_schedule_of_its_own(options):
    with pytest.raises(UsageError):
        DeclaredSchedule('report', **options)


def test_a_pause_by_a_person_stays_also_where_the_code_has_paused_before(
        releases, schedule, service):
    releases(report=NOON).leave()
    releases(report={}).leave()
    assert declared.why_paused(service.jobqueue, schedule()) is not None
    jobid = schedule().id
    service.resumeCronJob(jobid)
    service.pauseCronJob(jobid)
    transaction.commit()
    assert declared.why_paused(service.jobqueue, schedule()) is None
    releases(report=NOON)
    assert not schedule().enabled


def test_the_queue_is_that_of_the_task(releases, schedule, service, log):
    releases(report={**NIGHT, 'queue': 'slow'}).leave()
    first = schedule()
    assert first.queue == 'slow'
    releases(report={**NIGHT, 'queue': 'quick'}).leave()
    assert (schedule().id, schedule().queue) == (first.id, 'quick')
    assert "was changed: queue='quick'" in lines(log)[-1]
    releases(report=NIGHT).leave()
    assert schedule().queue is None
    service.editCronJob(first.id, queue='by-hand')
    transaction.commit()
    lines(log)
    releases(report={**NIGHT, 'queue': 'slow'}).leave()
    assert schedule().queue == 'by-hand'
    assert 'keeps the queue that a person gave it' in lines(log)[-1]


def test_in_a_copy_it_is_cancelled_and_a_worker_says_so(
        releases, schedule, service, log):
    releases(report=NOON, other=NIGHT).leave()
    service.cancel(schedule('code:other').id)
    copies.settle(service.jobqueue, service.clock.now())
    service.resume()
    transaction.commit()
    jobid = schedule().id
    told = ('WARNING schedule code:report of the code was cancelled when this '
            f'service was copied or imported: retryJob of job {jobid} lets it '
            f'go on')
    lines(log)
    worker = releases(report=NOON, other=NIGHT)
    look(worker)
    assert lines(log) == [told]
    worker.leave()
    releases(report={'every': 60}, other=NIGHT).leave()
    assert lines(log) == ['INFO schedule code:report of the code is cancelled '
                          'in this copy', told]
    assert schedule().status == 'cancelled'
    service.retryJob(jobid)
    transaction.commit()
    releases(report={'every': 60}, other=NIGHT).leave()
    assert (schedule().status, schedule().every) == ('cronjob', 60)


@pytest.mark.parametrize('gone', [False, True])
def test_what_the_code_changes_meanwhile_holds_once_it_is_retried(
        application, releases, schedule, service, log, gone):
    """It is not taken for what a person has changed, nor passed by."""
    releases(report=NIGHT).leave()
    jobid = schedule().id
    service.cancel(jobid)
    transaction.commit()
    if gone:
        releases(report=None).leave()
    worker = releases(report={**NOON, 'overlap': 'queue'})
    before = application.db.lastTransaction()
    lines(log)
    look(worker, worker)
    assert application.db.lastTransaction() == before and lines(log) == []
    service.retryJob(jobid)
    transaction.commit()
    assert schedule().cron == NIGHT['cron']
    look(worker)
    job = schedule()
    assert (job.id, job.cron, job.timezone, job.overlap, job.enabled) == (
        jobid, NOON['cron'], 'UTC', 'queue', True)
    worker.leave()
    releases(report={'every': 600}).leave()
    assert schedule().every == 600
    assert not any('a person gave' in line for line in lines(log))


ALL = {'missed': 'all'}


@pytest.mark.parametrize('first, by_person, coded, expected', [
    ({}, {'missed': 'skip'}, {**ALL, 'atMost': 5}, ('skip', None)),
    ({}, {**ALL, 'atMost': 3}, ALL, ('all', 3)),
    ({}, {'overlap': 'queue'}, {**ALL, 'atMost': 5}, ('all', 5)),
    (ALL, {'atMost': 3}, {}, ('all', 3)),
    ({**ALL, 'atMost': 9}, {'overlap': 'queue'}, {}, ('once', None)),
    ({**ALL, 'atMost': 9}, {'atMost': None}, {}, ('all', None))])
def test_what_depends_on_what_a_person_has_changed_stays_too(
        releases, schedule, service, log, first, by_person, coded, expected):
    """Else no schedule comes of both, and nothing of the code would hold."""
    releases(report={**NIGHT, **first}).leave()
    service.editCronJob(schedule().id, **by_person)
    transaction.commit()
    releases(report={**NOON, **coded}).leave()
    job = schedule()
    assert (job.cron, job.missed, job.atMost) == (NOON['cron'], *expected)
    assert not any('ERROR' in line for line in log)


def test_a_task_may_take_other_arguments_in_the_next_release(
        releases, schedule, service):
    def whole(service, jobid, input):
        pass

    def named(days=7):
        pass

    releases({'nightly': DeclaredSchedule('report', **NIGHT)},
             report=None).leave()
    for function in (whole, named, whole):
        made = FunctionTask(function)
        worker = releases({'nightly': DeclaredSchedule('report', **NIGHT)},
                          report=made)
        job = schedule('nightly')
        assert service.runCronJob(job.id)
        service.process()
        assert service.jobs[job.id].runs[0].outcome == 'completed'
        transaction.commit()
        worker.leave()
