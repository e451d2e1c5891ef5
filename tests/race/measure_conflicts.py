"""Conflicts, bytes and times of the queue: the figures of docs and README.

    python tests/race/measure_conflicts.py [--large] [PART ...]

Parts: zeo (workers and producers in processes of their own), file (bytes and
times on a FileStorage), default both.  ``--large`` adds a million jobs.
Prints one JSON object; its ratios compare within this run on this machine.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import transaction
import ZEO
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import provideUtility

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db as edge
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run.identity import LOOP
from lovely.remotetask.run.worker import Worker
from lovely.remotetask.store import keys
from lovely.remotetask.task import EchoTask

PATH = ['tasks']

_SERVER = '''
import sys
import ZEO
(host, port), stop = ZEO.server(sys.argv[1])
print(port, flush=True)
sys.stdin.read()
stop()
'''


def service_of(connection):
    return connection.root()['tasks']


def write(database, function):
    return edge.write(database, lambda connection: function(
        service_of(connection)))


def read(database, function):
    return edge.read(database, lambda connection: function(
        service_of(connection)))


def make(database):
    def make(connection):
        service = connection.root()['tasks'] = TaskService()
        service.__parent__ = PersistentMapping()
        service.__name__ = 'tasks'

    edge.write(database, make)


def fill(database, count):
    for _ in range(0, count, 1000):
        write(database, lambda service: [
            service.add('echo', 1) for _ in range(min(count, 1000))])


# --- in processes of their own -----------------------------------------------

class Conflicts:
    """Counts the conflicts of all commits of this process."""

    def __init__(self):
        self.machinery = self.finish = self.enrolling = 0
        commit = transaction.TransactionManager.commit
        counts = self

        def counting(manager):
            try:
                return commit(manager)
            except TransientError:
                # The machinery's managers are explicit, a task's is not.
                if manager.explicit:
                    counts.machinery += 1
                else:
                    counts.finish += 1
                raise

        transaction.TransactionManager.commit = counting


def work(port):
    """Runs jobs until stdin ends; prints what that was like."""
    conflicts = Conflicts()
    database = ZEO.DB(('127.0.0.1', port))
    jobs = []

    class Note(EchoTask):
        def __call__(self, service, jobid, input):
            jobs.append(jobid)
            return input

    provideUtility(Note(), ITask, 'echo')
    enroll = Worker.enroll

    def enrolling(*arguments):
        enroll(*arguments)
        # Four processes that start at once meet; that is no conflict of work.
        conflicts.enrolling += conflicts.machinery
        conflicts.machinery = 0

    Worker.enroll = enrolling
    processor = SimpleProcessor(database, PATH, waitTime=0.05)
    thread = threading.Thread(target=processor)
    thread.running = True
    thread.start()
    print('ready', flush=True)
    sys.stdin.read()
    thread.running = False
    thread.join()
    print(json.dumps({
        'runs': len(jobs), 'claim conflicts': conflicts.machinery,
        'finish conflicts': conflicts.finish,
        'enroll conflicts': conflicts.enrolling,
        'shared': processor.worker.sharedConflicts}), flush=True)
    database.close()


def produce(port, count, rate):
    """Adds jobs, one per commit; prints the number of conflicts."""
    database = ZEO.DB(('127.0.0.1', port))
    manager = transaction.TransactionManager(explicit=True)
    connection = database.open(manager)
    print('ready', flush=True)
    sys.stdin.readline()
    conflicts, begun = 0, time.monotonic()
    for number in range(count):
        if rate:
            time.sleep(max(0, begun + number / rate - time.monotonic()))
        while True:
            manager.begin()
            try:
                service_of(connection).add('echo', number)
                manager.commit()
                break
            except TransientError:
                conflicts += 1
                manager.abort()
    print(json.dumps({'adds': count, 'conflicts': conflicts,
                      'seconds': time.monotonic() - begun}), flush=True)
    connection.close()
    database.close()


class Process:
    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, __file__, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == 'ready\n'

    def go(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()

    def result(self):
        self.process.stdin.close()
        found = json.loads(self.process.stdout.read())
        self.process.wait()
        return found


class Server:
    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [sys.executable, '-c', _SERVER,
             os.path.join(self.directory.name, 'Data.fs')],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            # It reports each transaction that waits for another.
            stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline())
        self.database = ZEO.DB(('127.0.0.1', self.port))
        make(self.database)
        return self

    def __exit__(self, *error):
        self.database.close()
        self.process.stdin.close()
        self.process.wait(20)
        self.directory.cleanup()


def drain(backlog, adds, rate, workers=4):
    """Worker processes and a live producer."""
    with Server() as server:
        fill(server.database, backlog)
        producer = Process('produce', server.port, adds, rate)
        running = [Process('work', server.port) for _ in range(workers)]
        begun = time.monotonic()
        producer.go()
        while read(server.database, lambda service: service.stats()[
                'completed']) < backlog + adds:
            time.sleep(0.1)
            if time.monotonic() - begun > 240:
                break
        seconds = time.monotonic() - begun
        made = producer.result()
        done = [process.result() for process in running]
        stats = read(server.database, lambda service: service.stats())
    jobs = backlog + adds
    total = {name: sum(one[name] for one in done) for name in done[0]}
    return {
        'jobs': jobs, 'completed': stats['completed'],
        'jobs/s': round(jobs / seconds), **total,
        'worker conflicts per 1,000': round(1000 * (
            total['claim conflicts'] + total['finish conflicts']) / jobs, 2),
        'finish re-runs by a shared claim per 1,000': round(
            1000 * total['shared'] / jobs, 2),
        'producer conflicts per 1,000': round(
            1000 * made['conflicts'] / made['adds'], 2)}


def producers(present, count=1000, processes=4):
    with Server() as server:
        fill(server.database, present)
        running = [Process('produce', server.port, count, 0)
                   for _ in range(processes)]
        for process in running:
            process.go()
        done = [process.result() for process in running]
        stored = read(server.database, lambda service: len(service.jobs))
    assert stored == present + count * processes
    return {'adds': count * processes,
            'adds/s': round(sum(one['adds'] / one['seconds']
                                for one in done)),
            'conflicts per 1,000': round(1000 * sum(
                one['conflicts'] for one in done) / (count * processes), 2)}


# --- on a FileStorage --------------------------------------------------------

def median_ms(function, count):
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        function()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


class Operations:
    """add, claim and cancel, one per commit, on one database."""

    def __init__(self, path, backlog):
        self.database = DB(FileStorage(path), cache_size=20_000)
        make(self.database)
        fill(self.database, backlog)
        self.path = path
        self.worker = Worker(self.database, PATH, SimpleProcessor.host)
        self.worker.enroll(LOOP, 1)
        self.manager = transaction.TransactionManager(explicit=True)
        self.connection = self.database.open(self.manager)

    def commit(self, function):
        self.manager.begin()
        result = function(service_of(self.connection))
        self.manager.commit()
        return result

    def add(self):
        self.ids.append(self.commit(
            lambda service: service.add('echo', None)))

    def claim(self):
        begun = time.perf_counter()
        claim = self.worker.claim()
        self.times.append((time.perf_counter() - begun) * 1000)
        self.worker.give_back(claim)
        self.worker._idle.append(claim.slot)

    def round(self, count):
        """Medians in ms, and the bytes of an add."""
        self.ids, self.times = [], []
        before = os.path.getsize(self.path)
        add = median_ms(self.add, count)
        size = (os.path.getsize(self.path) - before) / count
        for _ in range(count):
            self.claim()
        random.shuffle(self.ids)
        cancel = median_ms(lambda: self.commit(
            lambda service: service.cancel(self.ids.pop())), count)
        return add, statistics.median(self.times), cancel, size

    def close(self):
        self.manager.abort() if self.manager._txn else None
        self.connection.close()
        self.database.close()


def operations(backlogs, rounds=7, count=200):
    """Alternating rounds, so that a busy machine is busy for all."""
    with tempfile.TemporaryDirectory() as directory:
        sides = {backlog: Operations(
            os.path.join(directory, f'{backlog}.fs'), backlog)
            for backlog in backlogs}
        found = {backlog: [] for backlog in backlogs}
        for _ in range(rounds):
            for backlog, side in sides.items():
                found[backlog].append(side.round(count))
        for side in sides.values():
            side.close()
    result = {}
    base = [statistics.median(column) for column in zip(
        *found[backlogs[0]], strict=True)]
    for backlog in backlogs:
        row = [statistics.median(column)
               for column in zip(*found[backlog], strict=True)]
        result[f'{backlog:,} queued'] = {
            'add ms': round(row[0], 3), 'claim ms': round(row[1], 3),
            'cancel ms': round(row[2], 3), 'bytes per add': round(row[3]),
            'add ratio': round(row[0] / base[0], 2),
            'claim ratio': round(row[1] / base[1], 2),
            'cancel ratio': round(row[2] / base[2], 2)}
    return result


def resolved(present=1000, count=40):
    """An add that meets another one in its lane, and one that does not."""
    times = {True: [], False: []}
    with tempfile.TemporaryDirectory() as directory:
        database = DB(FileStorage(os.path.join(directory, 'Data.fs')))
        make(database)
        fill(database, present)

        class SameLane:
            def getrandbits(self, bits):
                return 5

        before, keys._random = keys._random, SameLane()
        one, two = (transaction.TransactionManager(explicit=True)
                    for _ in range(2))
        first, second = database.open(one), database.open(two)
        for number in range(count * 2):
            meets = bool(number % 2)
            one.begin()
            begun = time.perf_counter()
            service_of(first).add('echo', None)
            spent = time.perf_counter() - begun
            if meets:
                two.begin()
                service_of(second).add('echo', None)
                two.commit()
            begun = time.perf_counter()
            try:
                one.commit()
            except TransientError:
                # One of the two has split the bucket: nothing resolves that.
                one.abort()
                continue
            times[meets].append(spent + time.perf_counter() - begun)
        keys._random = before
        first.close()
        second.close()
        database.close()
    alone, met = (statistics.median(times[meets]) * 1000
                  for meets in (False, True))
    return {'alone ms': round(alone, 3), 'meets ms': round(met, 3),
            'ratio': round(met / alone, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('parts', nargs='*', default=['zeo', 'file'])
    parser.add_argument('--large', action='store_true')
    options = parser.parse_args()
    provideUtility(EchoTask(), ITask, 'echo')
    found = {}

    def measure(name, function, *arguments):
        found[name] = function(*arguments)
        print(name, json.dumps(found[name]), file=sys.stderr, flush=True)

    if 'zeo' in options.parts:
        measure('4 workers, backlog 0', drain, 0, 1500, 100)
        measure('4 workers, drain of 5,000', drain, 5000, 500, 50)
        measure('4 workers, drain of 15,000', drain, 15000, 1500, 50)
        measure('4 producers, 0 present', producers, 0)
        measure('4 producers, 5,000 present', producers, 5000)
    if 'file' in options.parts:
        measure('a resolved conflict', resolved)
        measure('file', operations, [0, 100_000])
        if options.large:
            measure('file, large', operations, [0, 1_000_000], 5)
    print(json.dumps(found, indent=1))


if __name__ == '__main__':
    if sys.argv[1:2] == ['work']:
        work(int(sys.argv[2]))
    elif sys.argv[1:2] == ['produce']:
        provideUtility(EchoTask(), ITask, 'echo')
        produce(*map(int, sys.argv[2:]))
    else:
        main()
