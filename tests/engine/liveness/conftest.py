"""What the kit of liveness needs: real processes that announce themselves."""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time

import pytest

DEADLINE = 20

#: How each detector is made; ``place`` is where its evidence lives.
MAKE = {
    'exclusive': '''
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from lovely.remotetask.peers.liveness import ExclusiveStorage
database = DB(FileStorage(place))
detector = ExclusiveStorage(database)
''',
    'lock': '''
from lovely.remotetask.peers.liveness import LockFile
database = None
detector = LockFile(place)
''',
    'pg': '''
from ZODB.DB import DB
from relstorage.adapters.postgresql import PostgreSQLAdapter
from relstorage.options import Options
from relstorage.storage import RelStorage
from lovely.remotetask.peers.liveness import PostgresLock
options = Options(keep_history=False)
database = DB(RelStorage(PostgreSQLAdapter(place, options), options=options))
detector = PostgresLock(database)
''',
    'beat': '''
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.peers.liveness import Heartbeat
database = None
detector = Heartbeat(SYSTEM_CLOCK, 0.4, 0.1)
''',
    'all': '''
import ZEO
from lovely.remotetask.peers.liveness import Liveness
address, directory = place
database = ZEO.DB(address)
detector = Liveness(database, directory=directory)
''',
}

_PROCESS = '''
import os, pickle, subprocess, sys, threading

place = pickle.loads(bytes.fromhex(sys.argv[1]))
{make}
closed = threading.Event()


def say(*words):
    sys.stdout.write(' '.join(map(str, words)) + chr(10))
    sys.stdout.flush()


def beat():
    count = 0
    while not closed.wait(0.1):
        count += 1
        say('beat', count)


say('evidence', pickle.dumps(detector.announce()).hex())
threading.Thread(target=beat, daemon=True).start()
for line in sys.stdin:
    command = line.strip()
    if command == 'close':
        closed.set()
        detector.close()
        if database is not None:
            database.close()
    elif command == 'lost':
        command = detector.lost
    elif command == 'announce':
        command = pickle.dumps(detector.announce()).hex()
    elif command == 'fork':
        reading, writing = os.pipe()
        command = os.fork()
        if not command:
            # The child has another identity, and lives on for a while.
            os.write(writing, pickle.dumps(detector.announce()))
            os.close(writing)
            detector.close()
            threading.Event().wait(60)
            os._exit(0)
        os.close(writing)
        command = str(command) + ' ' + os.read(reading, 65536).hex()
    elif command == 'fork and end':
        child = os.fork()
        if not child:
            sys.exit()
        command = os.waitpid(child, 0)[1]
    elif command == 'spawn':
        command = subprocess.Popen(
            [sys.executable, '-c', 'import time; time.sleep(60)'],
            close_fds=False).pid
    say('answer', command)
'''


class Announcer:
    """A process that announces itself, and beats every 0.1 s."""

    def __init__(self, kind, place):
        self.children = []
        self.process = subprocess.Popen(
            [sys.executable, '-c', _PROCESS.format(make=MAKE[kind]),
             pickle.dumps(place).hex()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.beat = 0
        self._heard = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.evidence = self._unpickled(self._next('evidence'))

    def _read(self):
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(' ')
            if word == 'beat':
                self.beat = int(rest)
            else:
                self._heard.put((word, rest))

    def _next(self, expected):
        word, rest = self._heard.get(timeout=DEADLINE)
        assert word == expected
        return rest

    def _unpickled(self, text):
        return pickle.loads(bytes.fromhex(text))

    def ask(self, command):
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        return self._next('answer')

    def close(self):
        self.ask('close')

    def announce(self):
        return self._unpickled(self.ask('announce'))

    def fork(self):
        """Fork a child that lives on; returns what it announced."""
        pid, evidence = self.ask('fork').split()
        self.children.append(int(pid))
        return self._unpickled(evidence)

    def spawn(self):
        """Start another program, one that inherits what it can."""
        self.children.append(int(self.ask('spawn')))

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)

    def end(self):
        for pid in self.children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.kill()
        self._reader.join(DEADLINE)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def announcer():
    """``announcer(kind, place)`` starts an Announcer."""
    started = []

    def announcer(kind, place):
        started.append(Announcer(kind, place))
        return started[-1]

    yield announcer
    for process in started:
        process.end()


@pytest.fixture
def made():
    """``made(kind, place)``: a detector of this process, with a database."""
    kept = []

    def made(kind, place):
        names = {'place': place}
        exec(MAKE[kind], names)
        kept.append((names['detector'], names['database']))
        return names['detector']

    yield made
    for detector, database in kept:
        detector.close()
        if database is not None:
            database.close()


@pytest.fixture
def until():
    """Waits until a call gives what is expected; returns the seconds."""
    def until(expected, call, *arguments):
        begun = time.monotonic()
        pause = threading.Event()
        while (found := call(*arguments)) is not expected:
            passed = time.monotonic() - begun
            assert passed < DEADLINE, f'still {found} after {passed:.0f} s'
            pause.wait(0.02)
        return time.monotonic() - begun

    return until


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.seconds = 1000.0

    def now(self):
        return self.seconds

    def monotonic(self):
        return self.seconds


@pytest.fixture
def own_clock():
    return Clock()
