"""A command does not outlive the process that runs it."""

import subprocess
import sys
import textwrap
import time

import pytest

DEADLINE = 20

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
    # Free as soon as the last one that inherited it is gone.
    assert subprocess.run(['flock', '-w', str(DEADLINE), tmp_path / 'lock',
                           'true']).returncode == 0


#: The process ends while a command has been started and this is not yet
#: known: its start returns only after the end has begun.
SLOW_TO_KNOW = textwrap.dedent('''
    import atexit, subprocess, threading
    from lovely.remotetask.commands import childprocess

    ending = threading.Event()

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
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
    assert subprocess.run(['flock', '-w', str(DEADLINE), tmp_path / 'lock',
                           'true']).returncode == 0


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
