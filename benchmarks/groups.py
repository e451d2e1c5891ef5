"""What a group of jobs costs, beside as many that are added by addMany.

    python benchmarks/groups.py

Each round adds 1,000 jobs in one transaction and runs them with a worker of
four threads, plain ones and those of a group in turn, until the last has
ended; a group until the job that comes after it has.  Prints the median
ratio of the times, and of the bytes, on a FileStorage and on ZEO; of jobs
that do nothing and may share a commit, and of such that may not.
"""

import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import transaction
import ZEO
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import provideUtility

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db as edge
from lovely.remotetask.follow import Call
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import MultiProcessor
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask

JOBS = 1000
ROUNDS = 7

_ended = threading.Event()
_left = [0]
_lock = threading.Lock()


def work(input):
    with _lock:
        _left[0] -= 1
        if not _left[0]:
            _ended.set()


def add_plain(service, task):
    service.addMany(task, range(JOBS + 1))


def add_group(service, task):
    service.addGroup([Call(task, n) for n in range(JOBS)], task)


def timed(database, add, task):
    """The seconds that it takes to add and run all."""
    _ended.clear()
    _left[0] = JOBS + 1
    began = time.perf_counter()
    edge.write(database, lambda connection: add(
        connection.root()['tasks'], task))
    assert _ended.wait(120)
    return time.perf_counter() - began


def ratio(plain, group, which):
    """The median of what each round takes more."""
    return round(statistics.median(
        b[which] / a[which] for a, b in zip(plain, group, strict=True)), 3)


def measure(database, path):
    edge.write(database, lambda connection: make_service(
        connection.root(), 'tasks', TaskService))
    processor = MultiProcessor(database, ['tasks'], waitTime=1.0,
                               maxThreads=4)
    thread = threading.Thread(target=processor, daemon=True)
    thread.running, thread.database = True, database
    thread.start()
    found = {}
    try:
        for task in ('single', 'short'):
            figures = {add: [] for add in (add_plain, add_group)}
            for _ in range(ROUNDS):
                for add, rounds in figures.items():
                    size = os.path.getsize(path)
                    seconds = timed(database, add, task)
                    # What is removed from lanes after the last job.
                    time.sleep(0.3)
                    rounds.append((seconds, os.path.getsize(path) - size))
            plain, group = figures[add_plain], figures[add_group]
            found[task] = {
                'jobs_per_second': round(JOBS / statistics.median(
                    one[0] for one in plain)),
                'time_ratio': ratio(plain, group, 0),
                'bytes_ratio': ratio(plain, group, 1)}
    finally:
        thread.running = False
        processor._listener.wake_event.set()
        thread.join(30)
    return found


def main():
    provideUtility(FunctionTask(work), ITask, 'single')
    provideUtility(FunctionTask(work, groupable=True), ITask, 'short')
    figures = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / 'Data.fs'
        database = DB(FileStorage(str(path)))
        figures['filestorage'] = measure(database, path)
        transaction.abort()
        database.close()
        path = Path(directory) / 'zeo.fs'
        address, stop = ZEO.server(str(path))
        database = ZEO.DB(address)
        figures['zeo'] = measure(database, path)
        transaction.abort()
        database.close()
        stop()
    print(json.dumps(figures))


if __name__ == '__main__':
    main()
