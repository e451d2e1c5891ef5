"""Side by side with Celery on Redis and on RabbitMQ.

    python benchmarks/celery_brokers.py [--jobs N] [--rounds N] [--json FILE]
        [--table FILE]

Redis and RabbitMQ are those that REMOTETASK_REDIS and REMOTETASK_RABBITMQ name
(URLs; by default the servers on this machine); results are kept in Redis with
both.  Ours is a FileStorage, and a thread of this process runs the jobs: a
drain is measured from its start to the last commit.  Celery's worker is a
process of one thread (the pool ``solo``): its first and its last task tell the
time, and the CPU of that process.  Ratios are medians of the rounds.

They do not promise the same.  A message is in the memory of its broker:
RabbitMQ writes it to the disk some time later, Redis a snapshot now and then,
as they are configured here.  Celery acknowledges a message before its task
runs (*late*: after it, with ``task_acks_late``), and stores the result apart
from both.  We wait for the disk at each commit, and store the result and the
end with the task's own writes.
"""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from contextlib import contextmanager

from beside import DEADLINE
from beside import Ours
from beside import medians
from beside import options_of
from beside import print_figures
from beside import ratio
from celery import Celery
from redis import Redis

from lovely.remotetask.bench import tasks
from lovely.remotetask.bench.pace import Speed
from lovely.remotetask.bench.pace import speed

REDIS = os.environ.get('REMOTETASK_REDIS', 'redis://127.0.0.1:6379/0')

BROKERS = {
    'Redis': REDIS,
    'RabbitMQ': os.environ.get('REMOTETASK_RABBITMQ',
                               'amqp://guest:guest@127.0.0.1:5672//')}

#: The first argument of a process of this file that is Celery's worker.
WORKER = '--worker'


def application(name, broker, late):
    """A Celery application with a queue of its own.

    Only what is in the way of other users of the servers is changed.
    """
    app = Celery(name, broker=broker, backend=REDIS)
    app.conf.update(
        task_default_queue=name, task_default_exchange=name,
        task_default_routing_key=name, task_acks_late=late,
        result_backend_transport_options={'global_keyprefix': name})
    app.task(name='noop')(noop)
    app.task(name='moment')(moment)
    return app


def noop():
    return tasks.RESULT


def moment():
    """The time, by the clock that all processes share, and our CPU."""
    return time.monotonic(), time.process_time()


class Theirs:
    """A Celery application, and its worker."""

    def __init__(self, broker, late):
        self.name = f'remotetask-bench-{uuid.uuid4().hex[:8]}'
        self.arguments = self.name, broker, late
        self.app = application(*self.arguments)

    def add(self):
        self.app.send_task('noop')

    @contextmanager
    def worker(self):
        process = subprocess.Popen(
            [sys.executable, __file__, WORKER, *map(str, self.arguments)],
            stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait(DEADLINE)

    def drain(self, count):
        """Also runs what was added before, untimed."""
        first = self.app.send_task('moment')
        for _ in range(count):
            self.add()
        last = self.app.send_task('moment')
        with self.worker():
            # One thread runs them in their order.
            ended, cpu = last.get(timeout=DEADLINE)
            began, cpu_before = first.get(timeout=DEADLINE)
        return Speed(count / (ended - began), (cpu - cpu_before) / count * 1e6)

    def close(self):
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            channel.queue_delete(self.name)
            channel.exchange_delete(self.name)
        with Redis.from_url(REDIS) as redis:
            keys = list(redis.scan_iter(f'*{self.name}*', count=1000))
            for start in range(0, len(keys), 1000):
                redis.delete(*keys[start:start + 1000])
        self.app.close()


def measure(jobs, rounds):
    """Returns: name -> the Speed of each round."""
    found = {}

    def note(name, speed):
        print(f'{name}: {speed.per_second:.0f} a second', file=sys.stderr,
              flush=True)
        found.setdefault(name, []).append(speed)

    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        ours = Ours(f'file://{os.path.join(directory, "Data.fs")}')
        stack.callback(ours.close)
        theirs = {}
        for broker, url in BROKERS.items():
            for late in (False, True):
                one = Theirs(url, late)
                stack.callback(one.close)
                theirs[broker + (', late' if late else '')] = one
        for _ in range(rounds):
            singles = max(1, jobs // 10)
            for name, function in (
                    ('raw', ours.client.raw), ('add: ours', ours.add),
                    *((f'add: {broker}', theirs[broker].add)
                      for broker in BROKERS)):
                function()
                note(name, speed(function, singles))
            # The jobs that were added run here, untimed.
            ours.drain(1, 'noop')
            note('drain: ours', ours.drain(jobs, 'noop'))
            note('drain: ours grouped', ours.drain(jobs, 'grouped'))
            for name, one in theirs.items():
                note(f'drain: {name}', one.drain(jobs))
    return found


def report(speeds):
    """The figures by name: rates, CPU, ratios."""
    found = medians(speeds)
    for broker in BROKERS:
        for one, two in (('add: ours', 'add: '), ('drain: ours', 'drain: '),
                         ('drain: ours grouped', 'drain: ')):
            found[f'{one} / {broker}'] = ratio(speeds, one, two + broker)
        found[f'drain: ours / {broker}, late'] = ratio(
            speeds, 'drain: ours', f'drain: {broker}, late')
    return found


def work(name, broker, late):
    application(name, broker, late == 'True').worker_main([
        'worker', '--pool=solo', '--loglevel=ERROR'])


if __name__ == '__main__' and sys.argv[1:2] == [WORKER]:
    work(*sys.argv[2:])
elif __name__ == '__main__':
    options = options_of(__doc__, jobs=1000, rounds=5)
    print_figures(report(measure(options.jobs, options.rounds)), options,
                  'celery', 'kombu', 'redis')
