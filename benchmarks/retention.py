"""What retention costs: growth of a file, and conflicts beside busy workers.

    python benchmarks/retention.py growth [JOBS] [KEPT]
    python benchmarks/retention.py conflicts [JOBS] [WORKERS]

``growth`` puts JOBS jobs through a service that keeps the KEPT newest, in a
FileStorage, lets its worker remove the others, packs, and compares the file
with what it was before, when it held KEPT jobs and was packed.  ``conflicts``
has WORKERS processes run JOBS jobs over ZEO, of which the KEPT newest stay,
and prints how often a transaction that removes jobs, and one that ends a job,
was repeated for each 1,000 jobs removed; and how long a job takes with and
without it.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time

from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from zope.component import provideUtility

from lovely.remotetask import settings
from lovely.remotetask.edge import db as edge
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.run import monitor
from lovely.remotetask.run.threads import tell_to_stop
from lovely.remotetask.service import make_service
from lovely.remotetask.task import FunctionTask


def nothing(input):
    return input


def register(groupable=True):
    provideUtility(FunctionTask(nothing, groupable=groupable), ITask,
                   'nothing')


def service_in(connection):
    return connection.root()['tasks']


def add(db, count):
    for _ in range(0, count, 500):
        edge.write(db, lambda connection: service_in(connection).addMany(
            'nothing', [None] * min(500, count)))


def start(db):
    processor = SimpleProcessor(db, ['tasks'], waitTime=0.05)
    thread = threading.Thread(target=processor, daemon=True)
    thread.running = True
    thread.start()
    return thread, processor


def stop(thread):
    tell_to_stop(thread)
    thread.join(60)


def until(db, condition, seconds=600):
    deadline = time.monotonic() + seconds
    while not edge.read(db, lambda connection: condition(
            service_in(connection))):
        assert time.monotonic() < deadline, edge.read(
            db, lambda connection: service_in(connection).stats())
        time.sleep(0.02)


def through(db, count, kept):
    thread, _ = start(db)
    began = time.monotonic()
    add(db, count)
    until(db, lambda service: not service.stats()['queued']
          and not service.stats()['processing'])
    ran = time.monotonic()
    # Of each block of ids that may still grow, one job stays for an hour.
    stay = 300
    until(db, lambda service: service.stats()['completed'] <= kept + stay
          # What its thread leaves behind while it is at work.
          and sum(len(slot.completed.buckets) for slot
                  in service.jobqueue.slots.values()) < kept / 12 + stay)
    done = time.monotonic()
    stop(thread)
    return ran - began, done - ran


def growth(jobs, kept):
    register()
    settings.PRUNE_SECONDS = 1.0
    monitor._LOOK_ALONE_SECONDS = 1.0
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, 'Data.fs')
        db = DB(FileStorage(path))

        def make(connection):
            service = make_service(connection.root(), 'tasks')
            service.setRetention('completed', count=kept)

        edge.write(db, make)
        # Twice: the first jobs make what is there once.
        for _ in range(2):
            through(db, kept, kept)
        db.pack()
        before = os.path.getsize(path)
        run, prune = through(db, jobs, kept)
        grown = os.path.getsize(path)
        db.pack()
        after = os.path.getsize(path)
        db.close()
    print(f'{kept} kept: {before} bytes; {jobs} jobs through in {run:.1f} s, '
          f'the last removed {prune:.1f} s later: {grown} bytes; packed: '
          f'{after} bytes, {(after - before) / before:+.1%}')


_WORKER = '''
import sys
import threading
sys.path.insert(0, sys.argv[2])
import retention
retention.work(sys.argv[1], float(sys.argv[3]))
'''


def work(address, pause):
    """A worker process: prints what it did once its input ends."""
    import ZEO

    register(groupable=False)
    settings.PRUNE_SECONDS = pause
    host, port = address.split(':')
    db = ZEO.DB((host, int(port)))
    thread, processor = start(db)
    print('ready', flush=True)
    sys.stdin.read()
    found = [one[1] for sweeps in (
        one._sweeps for one in monitor._monitors.values())
        for one in sweeps.values()]
    reruns = sum(processor.worker.executor.run_times.reruns.values())
    removed = sum(one.removed for one in found)
    conflicts = sum(one.conflicts for one in found)
    stop(thread)
    print(removed, conflicts, reruns, flush=True)
    os._exit(0)


def conflicts(jobs, workers):
    import socket

    import ZEO

    register()

    here = os.path.dirname(os.path.abspath(__file__))
    for pause in [600.0, 0.2][-int(os.environ.get('RUNS', 2)):]:
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            address = f'127.0.0.1:{free.getsockname()[1]}'
        with tempfile.TemporaryDirectory() as directory:
            server = subprocess.Popen(
                [sys.executable, '-m', 'ZEO.runzeo', '-a', address, '-f',
                 os.path.join(directory, 'Data.fs')], cwd=directory,
                stderr=subprocess.DEVNULL)
            db = ZEO.DB(('127.0.0.1', int(address.split(':')[1])),
                        wait_timeout=30)

            def make(connection):
                service = make_service(connection.root(), 'tasks')
                service.setRetention('completed', count=500)

            edge.write(db, make)
            add(db, 2000)
            crew = [subprocess.Popen(
                [sys.executable, '-c', _WORKER, address, here, str(pause)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                for _ in range(workers)]
            for one in crew:
                assert one.stdout.readline().strip() == 'ready'
            began = time.monotonic()
            tries = 0
            for _ in range(jobs // 20):
                def some(connection):
                    nonlocal tries
                    tries += 1
                    service_in(connection).addMany('nothing', [None] * 20)

                edge.write(db, some)
            until(db, lambda service: not service.stats()['queued']
                  and not service.stats()['processing'])
            seconds = time.monotonic() - began
            if pause < 1:
                until(db, lambda service: service.stats()['completed'] <= 700)
            told = []
            for one in crew:
                out, _ = one.communicate('')
                told.append([int(part) for part in out.split()])
            db.close()
            server.terminate()
            server.wait(30)
        removed, repeated, reruns = map(sum, zip(*told, strict=True))
        per = 1000 / max(removed, 1)
        print(f'{workers} workers, {"with" if pause < 1 else "without"} '
              f'retention: {(jobs + 2000) / seconds:.0f} jobs/s, {removed} '
              f'removed, {repeated} of these transactions repeated '
              f'({repeated * per:.2f} per 1,000), {reruns} runs repeated '
              f'({reruns * per:.2f}), {tries - jobs // 20} adds repeated',
              flush=True)


if __name__ == '__main__':
    name, *numbers = sys.argv[1:]
    {'growth': lambda jobs=100_000, kept=2_000: growth(jobs, kept),
     'conflicts': lambda jobs=6_000, workers=3: conflicts(jobs, workers),
     }[name](*map(int, numbers))
