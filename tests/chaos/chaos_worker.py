"""Worker processes of the chaos run; started by chaos_processes.Spawner.

Everything is imported once; each line on stdin is a JSON object of options,
and a child made by fork, before anything is opened, works with them.  On
stdout: ``spawned PID``, ``exit PID STATUS``, and what workers say,
``PID TEXT``.
"""

import json
import logging
import os
import signal
import sys
import threading

# Before anything else imports numbers from it by their names.
from lovely.remotetask import settings
from lovely.remotetask.edge.log import log
from lovely.remotetask.edge.log import trace

_SCALE = float(os.environ.get('CHAOS_SCALE', '1'))
settings.BEAT_SECONDS *= _SCALE
settings.DEAD_SECONDS *= _SCALE
settings.LOOK_SECONDS *= max(_SCALE, 0.2)
settings.MISSING_FIRST *= _SCALE
settings.MISSING_LAST *= _SCALE
# On a busy machine a task that does nothing may take longer than what shares a
# commit may take, and no group and no chain would come about.
settings.GROUP_SECONDS *= 40

import chaos_inside  # noqa: E402
import chaos_points  # noqa: E402
import chaos_storages  # noqa: E402
import chaos_tasks  # noqa: E402

from lovely.remotetask import TaskService  # noqa: E402
from lovely.remotetask import processor  # noqa: E402
from lovely.remotetask.peers import liveness  # noqa: E402
from lovely.remotetask.run import threads  # noqa: E402

chaos_tasks.LONG = settings.DEAD_SECONDS * 1.5


def say(text):
    # Short lines in one write each are not mixed up with those of others.
    os.write(1, f'{os.getpid()} {text}\n'.encode())


def opened(address):
    """The database; its server may be about to be started again."""
    # A server that is killed meanwhile breaks a client's start in many ways,
    # not all of them transient errors; it is up again within seconds.
    for tries in range(400, -1, -1):
        try:
            return chaos_storages.opened(address)
        except Exception:
            if not tries:
                raise
            chaos_tasks.pause(0.05)
    raise AssertionError


def _end_with(parent):
    """Outlive the tests by no more than a second if they are killed."""
    while os.getppid() == parent:
        chaos_tasks.pause(1)
    os._exit(1)


def work(options):
    """Run jobs until SIGTERM; ``options`` are Spawner.start's."""
    # Waited for below; a handler that sets an event could interrupt the very
    # wait for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Each directory stands for a host: locks say nothing from one to another.
    os.environ['XDG_RUNTIME_DIR'] = options['host']
    points = chaos_points.Points(options['point'], options['count'], say)
    points.spares_some = options['spares']
    chaos_points.install(points)
    chaos_tasks.at[0] = points.at
    chaos_tasks.say[0] = say
    if options['inside'] is not None:
        chaos_tasks.LONG = 1.0      # there are no beats to outlast
    chaos_tasks.register(options['lacks'])
    if options['fast'] is None:
        chaos_tasks.quick_schedules().start()
    else:
        TaskService.clock = chaos_tasks.Fast(*options['fast'])
    threading.Thread(target=_end_with, args=(os.getppid(),),
                     daemon=True).start()
    database = opened(options['address'])
    assert (liveness.for_database(database).announce()
            or options['inside'] is not None)
    if options['threads'] == 1:
        run = processor.SimpleProcessor(database, ['tasks'], waitTime=0.05)
    else:
        run = processor.MultiProcessor(
            database, ['tasks'], waitTime=0.05, maxThreads=options['threads'])
    thread = threading.Thread(target=run, daemon=True,
                              name='remotetasks.tasks')
    thread.running = True
    thread.database = database
    thread.start()
    say('ready')
    if options['inside'] is not None:
        chaos_inside.start(database, options['inside'], say)
    # Not sigtimedwait(): a process that goes on after SIGSTOP gets nonsense
    # from it.
    signal.sigwait({signal.SIGTERM})
    thread.running = False
    threads.end_all(options['grace'])
    say('ended')


def _reap(*args):
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            os.write(1, f'exit {pid} {code}\n'.encode())
    except ChildProcessError:
        pass


def main():
    signal.signal(signal.SIGCHLD, _reap)
    # Jobs fail and servers are away on purpose; CHAOS_LOG=WARNING and
    # CHAOS_TRACE=DEBUG, with run.py --keep, show what the engine says.
    logging.basicConfig(format='%(asctime)s %(process)d %(message)s',
                        level='CRITICAL')
    log.setLevel(os.environ.get('CHAOS_LOG', 'CRITICAL'))
    trace.setLevel(os.environ.get('CHAOS_TRACE', 'CRITICAL'))
    os.write(1, b'spawner ready\n')
    for line in sys.stdin:
        options = json.loads(line)
        # So that the exit of a child cannot be told before its start.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            work(options)
            return
        os.write(1, f'spawned {pid}\n'.encode())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


if __name__ == '__main__':
    main()
