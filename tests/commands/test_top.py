"""remotetask top: frames, and the command in a real terminal."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl

import pytest
from ZODB.DB import DB

from lovely.remotetask.cli import top
from lovely.remotetask.cli.top import Look
from lovely.remotetask.cli.top import frame
from lovely.remotetask.service import make_service

DEADLINE = 30


# -- frames -------------------------------------------------------------------

def stats(**more):
    return {**dict.fromkeys(top._COUNTS, 0), 'oldest': None,
            'completedPerMinute': 0.0, 'errorPerMinute': 0.0,
            'completedTotal': 0, 'errorTotal': 0, 'paused': False, **more}


def worker(*jobs, **more):
    return {'id': 'loop:here:1:x', 'threads': 4, 'live': True, 'stuck': [],
            'jobs': list(jobs), **more}


def running(jobid, **more):
    return {'id': jobid, 'task': 'walk', 'attempt': 1, 'seconds': 3.25,
            **more}


def failure(jobid, **more):
    return {'id': jobid, 'task': 'fails', 'errorType': 'ValueError',
            'error': 'no', 'completedAt': '2027-01-02T03:04:05+00:00', **more}


def look(at=10.0, workers=(), progress=(), failures=(), **more):
    return Look(at, stats(**more), list(workers), list(progress),
                list(failures))


def texts(*arguments, **options):
    return [line.text for line in frame(*arguments, **options)]


def test_an_empty_queue():
    _, counts, rates, *rest = texts(look(), None, None, None)
    assert counts == ('queued 0  processing 0  scheduled 0  start later 0  '
                      'completed 0  error 0  cancelled 0')
    assert rates == ('nothing waits  completed 0.0/min  failed 0.0/min')
    assert rest == ['', 'no worker is there', '', 'nothing has failed']


def test_rates_since_the_look_before():
    before = look(at=10.0, completedTotal=100, errorTotal=7)
    now = look(at=12.0, completedTotal=107, errorTotal=2,
               completedPerMinute=1234.56, oldest=75.0)
    assert texts(now, before, None, None)[2] == (
        'the oldest waits for 1:15 min  completed 1,234.6/min (3.5/s now)  '
        'failed 0.0/min (0.0/s now)')


@pytest.mark.parametrize('seconds, text', [
    (0.04, '0.0 s'), (59.94, '59.9 s'), (60, '1:00 min'), (3599, '59:59 min'),
    (3600, '1:00:00 h'), (100 * 3600 + 61, '100:01:01 h')])
def test_how_long(seconds, text):
    assert top._seconds(seconds) == text


@pytest.mark.parametrize('told, text', [
    ({'done': 5, 'total': 10, 'message': 'page\n\x1b[31m5'},
     '[##########..........] 5 of 10  page [31m5'),
    ({'done': 30, 'total': 10, 'message': ''},
     '[####################] 30 of 10'),
    ({'done': 1500.5, 'total': None, 'message': ''}, '1,500.5 done'),
    ({'done': 0, 'total': 0, 'message': ''}, '0 done')])
def test_what_a_worker_runs(told, text):
    found = texts(look(
        workers=[worker(running(7), stuck=[{'id': 7, 'why': 'was cancelled'}]),
                 worker(id='loop:there:2:y', live=False)],
        progress=[{'id': 7, 'progress': told}]), None, None, None)
    assert found[4:8] == [
        'loop:here:1:x  1 of 4 threads busy  lives',
        f'  7  walk  attempt 1  3.2 s  {text}',
        '  stuck: job 7 was cancelled',
        'loop:there:2:y  0 of 4 threads busy  stale']


def test_the_last_failures():
    found = texts(look(error=2, failures=[
        failure(8, error='not\nthis \x1b[2Jway'),
        failure(9, completedAt=None)]), None, None, None)
    assert found[-3:] == [
        'last failures',
        '  2027-01-02 03:04:05 UTC  8  fails  ValueError: not this [2Jway',
        '  unknown  9  fails  ValueError: no']


def test_a_paused_queue_and_a_server_that_is_away():
    found = texts(look(paused=True, pauseReason='a\ndeploy'), None, None,
                  None, 'it does\nnot answer')
    assert found[3:5] == ['PAUSED: no job is started: a deploy',
                          'what follows is old: it does not answer']


@pytest.mark.parametrize('lines', [5, 8, 12, 24, 100])
@pytest.mark.parametrize('columns', [20, 80])
def test_a_frame_fits_its_terminal(columns, lines):
    now = look(
        workers=[worker(*[running(n) for n in range(30)]) for _ in range(3)],
        failures=[failure(n, error='x' * 300) for n in range(20)])
    found = texts(now, None, columns, lines)
    assert len(found) <= lines
    assert all(len(line) <= columns for line in found)
    if lines >= 12:
        assert any(line.startswith('  ... and ') for line in found)
        assert 'last failures' in found
        # Both have their part.
        assert sum('ValueError' in line for line in found
                   ) >= min(1, columns // 80)
    if lines == 100 and columns == 80:
        assert sum('fails' in line for line in found) == 20


# -- the command --------------------------------------------------------------

def test_one_frame_of_a_server(remotetask, server):
    jobid = remotetask('add', 'fail', '--wait', '--url', server.url)
    assert jobid.returncode == 1
    done = remotetask('top', '--once', '--url', server.url)
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('remotetask top, 20')
    assert '\x1b' not in done.stdout
    assert re.search('threads busy  lives$', done.stdout, re.M)
    assert re.search(r'^  .*UTC  \d+  fail  TaskError: it\[31m|it \[31m does '
                     'not work', done.stdout, re.M)


def test_json_is_what_one_look_finds(remotetask, server):
    done = remotetask('top', '--json', '--url', server.url)
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {
        'stats', 'workers', 'running', 'failures'}


def test_a_file_is_one_frame_and_that_is_said(remotetask, tmp_path):
    database = DB(str(tmp_path / 'Data.fs'))
    with database.transaction() as connection:
        make_service(connection.root(), 'tasks')
    database.close()
    done = remotetask('top', '--db', f'file://{tmp_path}/Data.fs')
    assert done.returncode == 0
    assert 'no worker is there' in done.stdout
    assert 'seen as it was when it was opened' in done.stderr


def test_an_interval_that_is_none(remotetask, server):
    done = remotetask('top', '--interval', '0.1', '--url', server.url)
    assert done.returncode == 2
    assert '--interval is 0.1; give 0.5 or more' in done.stderr


def test_no_server(remotetask):
    done = remotetask('top', '--url', 'http://127.0.0.1:9')
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


class Terminal:
    """A command in a pseudo terminal of 100 columns and 20 lines."""

    def __init__(self, arguments, environ, cwd):
        self.fd, slave = pty.openpty()
        # pytest-xdist sets them, and they count before the terminal's own.
        environ = {name: value for name, value in environ.items()
                   if name not in ('COLUMNS', 'LINES')}
        ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 20, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'lovely.remotetask.cli',
             *map(str, arguments)],
            stdin=slave, stdout=slave, stderr=slave, env=environ, cwd=cwd)
        os.close(slave)
        self.seen = ''

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition(self.seen):
            left = end - time.monotonic()
            assert left > 0, self.seen
            if select.select([self.fd], [], [], left)[0]:
                self.seen += os.read(self.fd, 4096).decode()

    def end(self):
        """Press Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(DEADLINE)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal(environ, tmp_path):
    opened = []

    def terminal(*arguments, **more):
        opened.append(Terminal(arguments, environ | more, tmp_path))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


CLEAR = '\x1b[2J\x1b[1;1H'


def test_a_terminal_shows_what_is_new_until_ctrl_c(
        terminal, remotetask, server):
    def queued(text):
        last = text.rsplit(CLEAR, 1)[-1]
        found = re.search(r'queued (\d+) .*cancelled \d+', last)
        return found and int(found[1])

    remotetask('pause', '--url', server.url)
    try:
        shown = terminal('top', '--interval', '0.5', '--url', server.url,
                         TERM='xterm')
        shown.until(lambda text: queued(text) is not None)
        before = queued(shown.seen)
        jobid = remotetask(
            'add', 'double', '1', '--url', server.url).stdout.strip()
        shown.until(lambda text: queued(text) == before + 1)
        assert 'PAUSED' in shown.seen
        # No line is longer than the terminal, and no frame higher.
        for one in shown.seen.split(CLEAR):
            lines = re.sub('\x1b\\[[0-9;]*m', '', one).split('\r\n')
            assert len(lines) <= 20
            assert max(map(len, lines)) <= 100
        assert shown.end() == 0
        remotetask('cancel', jobid, '--url', server.url)
    finally:
        remotetask('resume', '--url', server.url)


def test_a_dumb_terminal_gets_frames_below_each_other(terminal, server):
    shown = terminal('top', '--interval', '0.5', '--url', server.url,
                     TERM='dumb')
    shown.until(lambda text: text.count('remotetask top,') >= 2)
    assert CLEAR not in shown.seen
    assert shown.end() == 0


def test_it_goes_on_while_the_server_is_away(terminal, serve, tmp_path):
    arguments = ('--data', tmp_path / 'data', '--port', 0)
    first = serve(*arguments).ready()
    shown = terminal('top', '--interval', '0.5', '--url', first.url,
                     TERM='xterm')
    shown.until(lambda text: 'queued 0' in text)
    assert first.stop() == 0
    shown.until(lambda text: 'what follows is old: ' in text)
    again = serve('--data', tmp_path / 'data', '--port', first.port).ready()
    shown.until(lambda text: 'what follows is old: ' not in
                text.rsplit(CLEAR, 1)[-1] and 'queued 0'
                in text.rsplit(CLEAR, 1)[-1])
    assert shown.end() == 0
    assert again.stop() == 0
