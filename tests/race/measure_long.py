"""Long tasks: what issue 4's table asks of them, measured.

::

    python tests/race/measure_long.py watched     # ~60 s
    python tests/race/measure_long.py scheduled   # ~6 minutes

``watched``: a task that runs for 500 beats while a second process, with beats
and verdicts scaled to 0.1 and 0.4 s, watches its worker over ZEO and would
take the job over.  ``scheduled``: a task of 90 s, scheduled every minute.
Prints one JSON line; exit code 0 if every target was met.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import transaction
import zope.component
from persistent.mapping import PersistentMapping
from ZEO.ClientStorage import ClientStorage
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

import lovely.remotetask.peers.liveness as liveness
from lovely.remotetask import settings

BEAT, DEAD, BEATS = 0.1, 0.4, 500


def scaled(database):
    # Locks would tell at once; only the beats are of interest here.
    life = liveness.for_database(
        database, beat_seconds=BEAT, dead_seconds=DEAD)
    life._detectors = (life._beats,)
    life._locks = ()


def scale():
    """Before lovely.remotetask.run.monitor is imported."""
    settings.BEAT_SECONDS, settings.DEAD_SECONDS = BEAT, DEAD
    settings.LOOK_SECONDS = BEAT


def make(database):
    from lovely.remotetask import TaskService

    connection = database.open()
    root = connection.root()['Application'] = PersistentMapping()
    service = root['tasks'] = TaskService()
    service.__parent__, service.__name__ = root, 'tasks'
    root['effects'] = 0
    transaction.commit()
    return root, service


def register(function):
    from lovely.remotetask.interfaces import ITask
    from lovely.remotetask.task import FunctionTask

    zope.component.provideUtility(FunctionTask(function), ITask, 'long')


def work(address, seconds):
    """A worker process; says ``runs`` for each execution of the task."""
    scale()
    from lovely.remotetask.processor import SimpleProcessor

    database = DB(ClientStorage(('127.0.0.1', int(address))))
    scaled(database)

    def long(service, jobid, input):
        print('runs', flush=True)
        threading.Event().wait(float(seconds))
        root = service._p_jar.root()['Application']
        root['effects'] += 1

    register(long)
    thread = threading.current_thread()
    thread.running = True
    SimpleProcessor(database, ['tasks'], waitTime=0.05)()


def watched():
    scale()
    import ZEO

    folder = tempfile.mkdtemp()
    address, stop = ZEO.server(str(Path(folder) / 'Data.fs'))
    database = DB(ClientStorage(address))
    scaled(database)
    root, service = make(database)
    seconds = BEAT * BEATS * 1.1
    register(lambda service, jobid, input: None)
    jobid = service.add('long')
    transaction.commit()
    workers = [subprocess.Popen(
        [sys.executable, __file__, 'work', str(address[1]), str(seconds)],
        stdout=subprocess.PIPE, text=True) for _ in range(2)]
    pause = threading.Event()
    beats = 0
    for _ in range(int(seconds * 2 / 0.5)):
        pause.wait(0.5)
        transaction.begin()
        for name, record in service.jobqueue.workers.items():
            if service.jobqueue.claims_of(name):
                beats = max(beats, record.beat.count)
        if service.getStatus(jobid) == 'completed':
            break
    for worker in workers:
        worker.kill()
    runs = sum(worker.communicate()[0].count('runs') for worker in workers)
    job = service.jobs[jobid]
    found = {'seconds': seconds, 'beats': beats, 'status': job.status,
             'executions': runs, 'effects': root['effects'],
             'interruptions': job.interruptions}
    stop()
    found['ok'] = (beats >= BEATS and runs == 1 and root['effects'] == 1
                   and job.status == 'completed')
    return found


def scheduled():
    database = DB(FileStorage(str(Path(tempfile.mkdtemp()) / 'Data.fs')))
    root, service = make(database)
    calls = []

    def long(service, jobid, input):
        calls.append(jobid)
        threading.Event().wait(90)
        root = service._p_jar.root()['Application']
        root['effects'] += 1

    register(long)
    service.addCronJob('long', minute=tuple(range(60)))
    transaction.commit()
    service.startProcessing()
    pause = threading.Event()
    for _ in range(360):
        pause.wait(1)
        transaction.begin()
        if root['effects'] == 3:
            break
    service.stopProcessing(wait=None)
    transaction.begin()
    # What was called has committed, each time.
    return {'executions': len(calls), 'commits': root['effects'],
            'ok': len(calls) == root['effects'] >= 3}


if __name__ == '__main__':
    if sys.argv[1] == 'work':
        work(*sys.argv[2:])
    else:
        result = {'watched': watched, 'scheduled': scheduled}[sys.argv[1]]()
        print(json.dumps(result))
        sys.exit(not result['ok'])
