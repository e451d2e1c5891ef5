"""Scheduled runs of a cron job, where their workers die."""

from zope.component import provideUtility

from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.store.workers import PROCESSOR
from lovely.remotetask.task import FunctionTask


def test_a_run_whose_worker_died_has_its_key_again(world, register, clock):
    seen = []

    @register
    def tick(input):
        seen.append((currentJob().idempotencyKey, currentJob().attempt))

    jobid = world.do(lambda service: service.addCronJob('tick', minute=(0,)))
    ticks = []
    for _ in range(2):
        clock.advance(3600)
        worker = world.processor().worker
        worker.enroll(PROCESSOR, 1)
        assert worker.claim().jobid == jobid
        ticks.append(world.see(lambda service: service.jobs[jobid].tick))
        world.dies(worker)
        clock.advance(10)
        assert world.drain() == 1
        assert world.see(
            lambda service: service.jobs[jobid].tick) == ticks[-1]
        assert world.status(jobid) == 'cronjob'
    assert len(set(ticks)) == 2
    assert [attempt for _, attempt in seen] == [2, 2]
    assert seen[0][0] != seen[1][0]


def test_a_schedule_that_fails_in_several_threads_is_among_the_errors_once(
        world, clock, components):
    def fails(service, jobid, input):
        raise TaskError('no')

    provideUtility(FunctionTask(fails), ITask, 'fails')
    jobid = world.do(lambda service: service.addCronJob('fails', minute=(0,)))
    worker = world.processor().worker
    worker.enroll(PROCESSOR, 3)
    slots = set()
    for number in range(1, 5):
        clock.advance(3600)
        claim = worker.claim()
        slots.add(claim.slot)
        assert world.see(lambda service: service.stats()['error']) == 0
        worker.run(claim)
        assert world.see(lambda service: (
            [job.id for job in service.listJobs('error')[0]],
            service.stats()['error'], len(service.jobs[jobid].runs))) == (
                [jobid], 1, number)
    assert len(slots) == 3
