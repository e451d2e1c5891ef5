"""Runs that conflict are counted for each task; commits carry a note."""

import threading

import transaction
from ZODB.POSException import ConflictError

from lovely.remotetask import settings
from lovely.remotetask.run import monitor


def test_reruns_are_counted_and_noted_in_the_record_of_the_worker(
        service, register, wait_for, monkeypatch):
    monkeypatch.setattr(settings, 'BEAT_SECONDS', 0.05)
    monkeypatch.setattr(settings, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(monitor, '_LOOK_ALONE_SECONDS', 0.05)
    left = [ConflictError('a'), ConflictError('b')]

    def work(input):
        if left:
            raise left.pop()

    register(work)
    jobid = service.add('work')
    transaction.commit()
    service.startProcessing()
    wait_for(service, jobid, 'completed')
    pause = threading.Event()
    for _ in range(400):
        transaction.begin()
        if service.stats()['reruns']:
            break
        pause.wait(0.05)
    assert service.stats()['reruns'] == {'work': 2}
    service.stopProcessing(wait=None)


def test_claims_and_ends_carry_a_note(
        application, service, register, wait_for):
    register(lambda input: input, 'echo')
    jobid = service.add('echo')
    transaction.commit()
    service.startProcessing()
    wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    notes = [entry['description'] for entry in application.db.undoLog(0, 50)]
    assert 'remotetask claim' in notes
    assert f'echo job {jobid}' in notes
