"""Two processors on one service: 39 task calls for 20 jobs."""

import subprocess
import sys
import threading
from pathlib import Path

import transaction
import ZEO

from lovely.remotetask import TaskService
from lovely.remotetask.processor import SimpleProcessor

DEADLINE = 60
JOBS = 20


def test_two_threads_after_a_double_startprocessing(
        service, register, wait_for):
    calls = []
    register(calls.append, 'note')
    service.startProcessing()
    service.startProcessing()
    assert len([t for t in threading.enumerate()
                if t.name == 'remotetasks.tasks']) == 1
    ids = [service.add('note', n) for n in range(JOBS)]
    transaction.commit()
    for jobid in ids:
        wait_for(service, jobid, 'completed')
    service.stopProcessing(wait=None)
    assert service.isProcessing() is False
    assert sorted(calls) == list(range(JOBS))


def test_two_starts_at_the_same_moment(application, service):
    """Each from a thread and connection of its own."""
    together = threading.Barrier(2)

    def start():
        again, close = application.fresh(service)
        together.wait(DEADLINE)
        again.startProcessing()
        close()

    starters = [threading.Thread(target=start) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(DEADLINE)
    assert len([t for t in threading.enumerate()
                if t.name == 'remotetasks.tasks']) == 1
    service.stopProcessing(wait=None)


def test_two_processors_in_two_threads(application, service, register):
    calls = []
    register(calls.append, 'note')
    for n in range(JOBS):
        service.add('note', n)
    transaction.commit()
    together = threading.Barrier(2)

    def drain():
        processor = SimpleProcessor(application.db, ['tasks'])
        together.wait(DEADLINE)
        while processor.processNext():
            pass

    threads = [threading.Thread(target=drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(calls) == list(range(JOBS))


def test_two_processes_over_zeo(tmp_path, components, register):
    register(lambda input: None, 'note')
    (host, port), stop = ZEO.server(str(tmp_path / 'Data.fs'))
    db = ZEO.DB((host, port))
    try:
        connection = db.open()
        service = connection.root()['tasks'] = TaskService()
        for n in range(JOBS):
            service.add('note', n)
        transaction.commit()
        log = tmp_path / 'calls.log'
        script = Path(__file__).with_name('drain_over_zeo.py')
        drains = [subprocess.Popen(
            [sys.executable, str(script), host, str(port), str(log)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
        for drain in drains:
            assert drain.stdout.readline() == 'ready\n'
        for drain in drains:
            drain.stdin.write('go\n')
            drain.stdin.flush()
        for drain in drains:
            drain.communicate(timeout=DEADLINE)
            assert drain.returncode == 0
        calls = [line.split() for line in log.read_text().splitlines()]
        transaction.begin()
        connection.sync()
        assert {job.status for job in service.jobs.values()} == {'completed'}
        assert sorted(int(n) for n, _ in calls) == list(range(JOBS))
        connection.close()
    finally:
        db.close()
        stop()
