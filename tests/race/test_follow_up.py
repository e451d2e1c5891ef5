"""What a long task adds at its end, while others have added meanwhile."""

import threading

import pytest
import transaction
import zope.component

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import FunctionTask


# With 500 others a lane gets eight entries in each round, and a bucket that is
# split meanwhile conflicts.  Reckoned by the size of buckets that is one round
# of eight; six of twenty were met once.
@pytest.mark.parametrize('foreign, most', [(50, 5), (200, 5), (500, 9)])
def test_a_follow_up_seldom_runs_a_long_task_again(
        application, service, foreign, most):
    """With ids drawn from the old snapshot 15 to 21 of 40 conflicted.

    Ids that are reserved with the claim leave only the lanes to meet in.
    """
    runs = []

    def meanwhile():
        manager = transaction.TransactionManager()
        connection = application.db.open(manager)
        other = connection.get(service._p_oid)
        for number in range(foreign):
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
    assert service.stats()['completed'] == rounds
    assert len(runs) - rounds <= most
    follow_ups = [job for job in service.jobs.values()
                  if job.input == 'follow-up']
    assert len(follow_ups) == rounds
