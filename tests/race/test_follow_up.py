"""What a long task adds at its end, while others have added meanwhile."""

import threading

import transaction
import zope.component

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import FunctionTask

# With 50 of them the ids would seldom meet, reserved or not.
OTHERS = 200


def test_a_follow_up_seldom_runs_a_long_task_again(application, service):
    """With ids drawn from the old snapshot 11 of 20 conflict.

    Ids that are reserved with the claim leave only the lanes to meet in.
    """
    runs = []

    def meanwhile():
        manager = transaction.TransactionManager()
        connection = application.db.open(manager)
        other = connection.get(service._p_oid)
        for number in range(OTHERS):
            other.add('quiet', number)
            manager.commit()
        connection.close()

    def long(service, jobid, input):
        runs.append(jobid)
        # This run's snapshot is made; now others add.
        len(service.jobs)
        adding = threading.Thread(target=meanwhile)
        adding.start()
        adding.join()
        service.add('quiet', 'follow-up')

    for function in (long, lambda input: None):
        zope.component.provideUtility(
            FunctionTask(function), ITask,
            'long' if function is long else 'quiet')
    processor = SimpleProcessor(application.db, ['tasks'])
    rounds = 20
    for _ in range(rounds):
        service.add('long', priority=3)
        transaction.commit()
        assert processor.processNext()
        transaction.begin()
        # Lanes that grow from round to round split their buckets, and a split
        # conflicts by chance: each round begins with short ones.
        service.cancelMany([job.id for job in service.jobs.values()
                            if job.status == 'queued'
                            and job.input != 'follow-up'])
        transaction.commit()
    assert service.stats()['completed'] == rounds
    assert len(runs) - rounds <= 2
    follow_ups = [job for job in service.jobs.values()
                  if job.input == 'follow-up']
    assert len(follow_ups) == rounds
