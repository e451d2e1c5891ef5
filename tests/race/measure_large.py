"""listJobs and stats with a million jobs: times, and objects loaded.

    python tests/race/measure_large.py [JOBS]

Half of the jobs are queued, half have ended.  Looks at them warm, on a
FileStorage, and cold, through a ZEO client that has nothing in its cache.
Prints one JSON object.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import ZEO
from persistent.mapping import PersistentMapping
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import provideUtility

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db as edge
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import EchoTask

_SERVER = '''
import sys
import ZEO
(host, port), stop = ZEO.server(sys.argv[1])
print(port, flush=True)
sys.stdin.read()
stop()
'''

LOOKS = {
    'stats': lambda service, cursor: service.stats(),
    'first page': lambda service, cursor: service.listJobs(),
    'completed': lambda service, cursor: service.listJobs('completed'),
    'deep among completed': lambda service, cursor: service.listJobs(
        'completed', start=cursor),
    'of a task': lambda service, cursor: service.listJobs(
        'queued', task='echo'),
}


def service_of(connection):
    return connection.root()['tasks']


def make(connection):
    service = connection.root()['tasks'] = TaskService()
    service.__parent__ = PersistentMapping()
    service.__name__ = 'tasks'


def fill(database, jobs):
    """Returns: a cursor in the middle of the completed ones."""

    def queued(connection):
        service_of(connection).addMany('echo', range(1000))

    def ended(connection):
        service = service_of(connection)
        for jobid in service.addMany('echo', range(1000), startLater=True):
            job, queue = service.jobs[jobid], service.jobqueue
            # As a finish does it, without the run.
            queue.enqueue(job)
            queue.start(job, ('nobody', 0, 1), time.time())
            queue.finish(job, None, 0, time.time())

    for number in range(0, jobs // 2, 1000):
        edge.write(database, queued)
        edge.write(database, ended)
        if number == jobs // 4 // 1000 * 1000:
            cursor = edge.read(database, lambda connection: service_of(
                connection).listJobs('completed', limit=1)[0][0].place)
    name, (_, _, moment) = cursor
    return f'{name}.{moment}'


def look_at(database, look, cursor, times):
    """Median time and the objects loaded by the last of these looks."""
    took = []
    loads = Loads()
    database.setActivityMonitor(loads)
    for _ in range(times):
        loads.loads = 0
        begun = time.perf_counter()
        edge.read(database, lambda connection: look(
            service_of(connection), cursor))
        took.append((time.perf_counter() - begun) * 1000)
    return {'ms': round(statistics.median(took), 2),
            'objects loaded': loads.loads}


class Loads:
    """An activity monitor of ZODB that counts loads."""

    loads = 0

    def closedConnection(self, connection):
        loads, _ = connection.getTransferCounts(True)
        self.loads += loads


def main(jobs):
    provideUtility(EchoTask(), ITask, 'echo')
    result = {'jobs': jobs}
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, 'Data.fs')
        database = DB(FileStorage(path), cache_size=5000)
        edge.write(database, make)
        begun = time.monotonic()
        cursor = fill(database, jobs)
        result['us per job'] = round(
            (time.monotonic() - begun) / jobs * 1_000_000, 1)
        result['FileStorage, warm'] = {
            name: look_at(database, look, cursor, 15)
            for name, look in LOOKS.items()}
        database.close()
        server = subprocess.Popen(
            [sys.executable, '-c', _SERVER, path], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        port = int(server.stdout.readline())
        result['ZEO, cold'] = {}
        for name, look in LOOKS.items():
            # Each with a client that has nothing in its cache.
            database = ZEO.DB(('127.0.0.1', port))
            result['ZEO, cold'][name] = look_at(database, look, cursor, 1)
            database.close()
        server.stdin.close()
        server.wait(60)
    print(json.dumps(result, indent=1))


if __name__ == '__main__':
    main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
