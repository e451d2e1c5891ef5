"""What open pages cost a server, and what they leave to others.

    python benchmarks/tabs.py [--tabs 20] [--seconds 60] [--idle 64]
                              [--jobs 20000]

Starts ``remotetask serve`` (4 threads for requests, one for jobs) on a
FileStorage with so many jobs that have ended; opens pages that ask as their
script does, and connections that send a byte now and then; and adds a job each
half second, first without the pages, then beside them.
"""

import argparse
import http.client
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path

from lovely.remotetask.cli import databases
from lovely.remotetask.cli import setup
from lovely.remotetask.edge import db

#: The pages that are open: most people leave the first one open.
PAGES = ['', '', '', '', '', '', '?hours=24', 'jobs', 'jobs', 'jobs',
         'jobs?status=error', 'jobs?status=queued', 'jobs?status=completed',
         'jobs?task=echo', 'workers', 'workers', 'tasks', 'tasks',
         'schedules', 'jobs?status=processing']

#: As in live.js (seconds).
FIRST, SLOW = 3.0, 10.0

#: Between two adds, and between two bytes of an idle connection.
ADDS, BYTES = 0.5, 5.0


@contextmanager
def serving(place, jobs):
    """A server with so many jobs; gives its process and its port."""
    data = place / 'data'
    database = databases.open_directory(data)
    setup.ensure_service(database, None)
    setup.load_tasks((), None)
    for start in range(0, jobs, 1000):
        count = min(1000, jobs - start)

        def fill(connection, count=count):
            service = connection.root()['Application']['tasks']
            queue, now = service.jobqueue, time.time()
            for jobid in service.addMany('echo', [None] * count,
                                         startLater=True):
                job = service.jobs[jobid]
                queue.enqueue(job)
                queue.start(job, ('none', 1), now)
                queue.finish(job, None, 0, now)
        db.write(database, fill)
    db.close(database)
    process = subprocess.Popen(
        [sys.executable, '-m', 'lovely.remotetask.cli', 'serve', '--data',
         str(data), '--port', '0'], cwd=place, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {'XDG_RUNTIME_DIR': str(place)})
    try:
        port = int(re.search(r':(\d+)/tasks', process.stdout.readline())[1])
        process.stdout.readline()
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


class Client(threading.Thread):
    """A thread that talks to the server until it is stopped."""

    def __init__(self, port, token):
        super().__init__(daemon=True)
        self.port = port
        self.headers = {'Authorization': f'Bearer {token}'}
        self.stopped = threading.Event()

    def ask(self, method, path, body=None, **headers):
        """Status, tag and length of an answer, and how long it took (ms)."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port,
                                                timeout=60)
        begun = time.perf_counter()
        connection.request(method, f'/tasks/{path}', body,
                           self.headers | headers)
        answer = connection.getresponse()
        length = len(answer.read())
        took = (time.perf_counter() - begun) * 1000
        connection.close()
        return answer.status, answer.getheader('ETag'), length, took

    def stop(self):
        self.stopped.set()
        self.join(60)


class Tab(Client):
    """A page that is open.  Attributes: ``asked``, (status, ms)."""

    def __init__(self, port, token, path):
        super().__init__(port, token)
        self.path = path
        self.asked = []

    def run(self):
        wait, tag = FIRST, None
        # They were not opened in one moment.
        self.stopped.wait(random.uniform(0, FIRST))
        while not self.stopped.is_set():
            headers = {'X-Remotetask-Live': '1'}
            if tag:
                headers['If-None-Match'] = tag
            status, new, _, took = self.ask('GET', self.path, **headers)
            self.asked.append((status, took))
            if status == 200:
                wait, tag = FIRST, new
            else:
                wait = min(wait * 1.25, SLOW)
            self.stopped.wait(wait * random.uniform(0.9, 1.1))


class Adder(Client):
    """Adds a job now and then.  Attributes: ``took`` (ms)."""

    def __init__(self, port, token):
        super().__init__(port, token)
        self.headers['Content-Type'] = 'application/json'
        self.took = []

    def run(self):
        body = json.dumps({'task': 'echo', 'input': 1})
        while not self.stopped.wait(ADDS):
            status, _, _, took = self.ask('POST', 'api/v1/jobs', body)
            assert status == 201, status
            self.took.append(took)


class Idle(Client):
    """A connection that never ends its request."""

    def run(self):
        while not self.stopped.is_set():
            with suppress(OSError), socket.create_connection(
                    ('127.0.0.1', self.port)) as one:
                one.sendall(b'GET /tasks/ HTTP/1.1\r\nX: ')
                while not self.stopped.wait(BYTES):
                    one.sendall(b'x')


def cpu_seconds(process):
    """How much of a core a process has used so far."""
    fields = Path(f'/proc/{process.pid}/stat').read_text().rpartition(')')[2]
    user, system = map(int, fields.split()[11:13])
    return (user + system) / os.sysconf('SC_CLK_TCK')


def p95(times):
    return statistics.quantiles(times, n=20, method='inclusive')[-1]


def measure(process, clients, seconds):
    """Run clients for a while.  Returns: percent of a core."""
    for client in clients:
        client.start()
    before = cpu_seconds(process)
    begun = time.monotonic()
    # No busy loop and no load of our own.
    threading.Event().wait(seconds)
    used = cpu_seconds(process) - before
    took = time.monotonic() - begun
    for client in clients:
        client.stopped.set()
    for client in clients:
        client.stop()
    return 100 * used / took


def main(arguments):
    options = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    options.add_argument('--tabs', type=int, default=20)
    options.add_argument('--seconds', type=float, default=60)
    options.add_argument('--idle', type=int, default=64)
    options.add_argument('--jobs', type=int, default=20_000)
    given = options.parse_args(arguments)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process, port = stack.enter_context(serving(place, given.jobs))
        token = (place / 'data' / 'token').read_text().strip()
        view = (place / 'data' / 'token-view').read_text().strip()
        # The templates are compiled, and each page was shown once.
        warm = Tab(port, view, '')
        for path in PAGES:
            warm.ask('GET', path)
        figures = {'jobs': given.jobs, 'tabs': given.tabs,
                   'idle_connections': given.idle, 'seconds': given.seconds}
        alone = Adder(port, token)
        figures['cpu_percent_adds_alone'] = measure(
            process, [alone], given.seconds)
        adder = Adder(port, token)
        tabs = [Tab(port, view, PAGES[number % len(PAGES)])
                for number in range(given.tabs)]
        idle = [Idle(port, token) for _ in range(given.idle)]
        figures['cpu_percent'] = measure(
            process, [adder, *tabs, *idle], given.seconds)
        asked = [one for tab in tabs for one in tab.asked]
        figures |= {
            'add_p95_ms_alone': p95(alone.took), 'add_p95_ms': p95(adder.took),
            'polls': len(asked), 'poll_p50_ms': statistics.median(
                took for _, took in asked),
            'poll_p95_ms': p95([took for _, took in asked])}
        for status in sorted({status for status, _ in asked}):
            figures[f'polls_{status}'] = sum(
                one == status for one, _ in asked)
    for name, figure in figures.items():
        print(f'{name:24} {figure:12,.1f}')


if __name__ == '__main__':
    main(sys.argv[1:])
