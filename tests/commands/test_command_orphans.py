"""A command does not outlive the process that runs it."""

import contextlib
import glob
import os
import select
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from lovely.remotetask.commands.orphans import Orphans

DEADLINE = 20


def is_free(lock):
    """Is the lock free, as it is when the last one that holds it is gone?"""
    return subprocess.run(['flock', '-w', str(DEADLINE), lock, 'true']
                          ).returncode == 0


def holder(lock):
    """A process in a group of its own, with a child; both hold the lock."""
    process = subprocess.Popen(
        ['sh', '-c', 'exec 9>"$1"; flock 9; sleep 600 & echo; wait', '-',
         lock], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b'\n'
    process.stdout.close()
    return process

#: Runs a command in a daemon thread, as a worker does, and ends without
#: waiting for it.  The command holds a lock, and so does what it starts.
WORKER = textwrap.dedent('''
    import sys, threading
    from lovely.remotetask.commands import CommandTask
    from lovely.remotetask.errors import RetryLater

    place, command = sys.argv[1:]
    task = CommandTask(['sh', '-c', command], cwd=place)

    def run():
        try:
            task(None, 1, None)
        except RetryLater as error:
            print('run again:', error.reason, flush=True)

    threading.Thread(target=run, daemon=True).start()
    # Opening a pipe waits for the other end: the command runs by then.
    open(place + '/started').read()
''')

PATIENT = 'exec 9>lock; flock 9; echo go > started; sleep 600 & wait'
STUBBORN = f'trap "" TERM; {PATIENT}; wait'


@pytest.mark.parametrize('command', [PATIENT, STUBBORN],
                         ids=['patient', 'stubborn'])
def test_commands_end_with_their_process(tmp_path, command):
    subprocess.run(['mkfifo', tmp_path / 'started'], check=True)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-c', WORKER, tmp_path, command],
        capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < DEADLINE / 2
    assert is_free(tmp_path / 'lock')


#: The process ends while a command has been started and this is not yet
#: known: its start returns only after the end has begun.
SLOW_TO_KNOW = textwrap.dedent('''
    import atexit, subprocess, threading
    from lovely.remotetask.commands import childprocess

    ending = threading.Event()

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            if options['stderr'] != subprocess.PIPE:
                return      # no command
            ending.wait()
            childprocess._ending.wait()

    subprocess.Popen = Popen
    # What comes first at the end of a process was registered last.
    atexit.register(ending.set)
''')


def test_commands_end_with_a_process_that_ends_while_they_start(tmp_path):
    subprocess.run(['mkfifo', tmp_path / 'started'], check=True)
    done = subprocess.run(
        [sys.executable, '-c', SLOW_TO_KNOW + WORKER, tmp_path, PATIENT],
        capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, '')
    assert is_free(tmp_path / 'lock')


def test_such_a_job_asks_to_run_again(tmp_path):
    subprocess.run(['mkfifo', tmp_path / 'started'], check=True)
    # What comes first at the end of a process was registered last.
    hold = ('import atexit, threading\n'
            'atexit.register(lambda: [\n'
            '    thread.join() for thread in threading.enumerate()\n'
            '    if thread.daemon])\n')
    done = subprocess.run(
        [sys.executable, '-c', hold + WORKER, tmp_path, PATIENT],
        capture_output=True, text=True, timeout=DEADLINE)
    assert done.stdout == 'run again: the process that ran sh ended\n'


# --- SIGKILL -----------------------------------------------------------------

TASKS = f'''
from zope.component import provideUtility
from lovely.remotetask.commands import CommandTask
from lovely.remotetask.interfaces import ITask

provideUtility(CommandTask(
    ['sh', '-c', {STUBBORN!r}], remote=True), ITask, name='patient')
provideUtility(CommandTask(['true'], remote=True), ITask, name='quick')
'''


def test_commands_end_with_a_killed_worker(serve, remotetask, tmp_path):
    (tmp_path / 'own.py').write_text(TASKS)
    os.mkfifo(tmp_path / 'started')
    server = serve('--port', '0', '--tasks', 'own').ready()
    # Others before it, which have ended.
    for _ in range(3):
        done = remotetask('add', 'quick', '--wait', '--url', server.url)
        assert done.returncode == 0, done.stderr
    remotetask('add', 'patient', '--url', server.url)
    assert (tmp_path / 'started').read_text() == 'go\n'
    server.stop(signal.SIGKILL)
    # Held by the command, which ignores SIGTERM, and by its child.
    assert is_free(tmp_path / 'lock')


def test_a_command_that_comes_in_a_fork_is_the_forks(tmp_path):
    """A forked child keeps nothing alive, and its commands end with it."""
    for name in ('started', 'over'):
        os.mkfifo(tmp_path / name)
    program = WORKER.replace('threading.Thread', textwrap.dedent('''
        CommandTask(['true'])(None, 1, None)
        import os, signal
        if os.fork():
            # The parent is killed; its child goes on.
            open(place + '/over').read()
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Thread''').strip(), 1)
    program = program.replace(
        "open(place + '/started').read()",
        "open(place + '/started').read(); open(place + '/over', 'w').close();"
        "sys.stdin.read(); os.kill(os.getpid(), signal.SIGKILL)")
    process = subprocess.Popen(
        [sys.executable, '-c', program, tmp_path, PATIENT],
        stdin=subprocess.PIPE)
    assert process.wait(DEADLINE) == -signal.SIGKILL
    # The command of the child still holds it.
    assert subprocess.run(['flock', '-n', tmp_path / 'lock', 'true']
                          ).returncode == 1
    process.stdin.close()
    assert is_free(tmp_path / 'lock')


def test_what_has_been_forgotten_is_left_alone(tmp_path):
    watched, forgotten = (holder(tmp_path / name) for name in 'ab')
    orphans = Orphans()
    for process in (forgotten, watched):
        orphans.watch(process.pid)
    orphans.forget(forgotten.pid)
    # As the end of this process would.
    orphans.close()
    assert is_free(tmp_path / 'a')
    assert watched.wait(DEADLINE) == -signal.SIGKILL
    assert forgotten.poll() is None
    os.killpg(forgotten.pid, signal.SIGKILL)
    assert forgotten.wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'),
                    reason='the shell is found by /proc')
def test_a_shell_that_was_killed_is_replaced(tmp_path):
    early, late = (holder(tmp_path / name) for name in 'ab')
    orphans = Orphans()
    orphans.watch(early.pid)
    os.kill(shell_of(orphans), signal.SIGKILL)
    gone = select.poll()
    gone.register(orphans._pipe, select.POLLERR)
    assert gone.poll(DEADLINE * 1000)
    orphans.watch(late.pid)
    orphans.close()
    for process in (early, late):
        assert process.wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'),
                    reason='the shell is found by /proc')
def test_a_shell_that_is_stopped_holds_up_no_command(caplog):
    orphans = Orphans()
    orphans.prepare()
    shell = shell_of(orphans)
    os.kill(shell, signal.SIGSTOP)
    try:
        # More than any pipe takes; a number that no group has.
        for _ in range(10_000):
            orphans.forget(2 ** 30)
    finally:
        os.kill(shell, signal.SIGCONT)
        orphans.close()
    assert 'does not read' in caplog.text


def shell_of(orphans):
    """The number of the process at the other end of the pipe."""
    pipe = os.readlink(f'/proc/self/fd/{orphans._pipe}')
    found = set()
    for name in glob.glob('/proc/[0-9]*/fd/*'):
        # Processes end meanwhile.
        with contextlib.suppress(OSError):
            if os.readlink(name) == pipe:
                found.add(int(name.split('/')[2]))
    pid, = found - {os.getpid()}
    return pid
