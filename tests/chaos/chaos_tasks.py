"""What the jobs of the chaos run do: transfers in a ledger.

A job moves 1 from account ``a`` to account ``b`` and counts itself in an
effect record.  Only plain classes are stored, so that nobody else needs this
module to read the database.
"""

import math
import os
import random
import signal
import threading
import time
import uuid
from pathlib import Path
from unittest import mock

import transaction
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from zope.component import getGlobalSiteManager
from zope.component import provideUtility

from lovely.remotetask import TaskService
from lovely.remotetask.context import currentJob
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.job import CronJob
from lovely.remotetask.retry import RetryPolicy
from lovely.remotetask.task import FunctionTask

ACCOUNTS = 40
OPENING = 1000
EFFECTS = 64
MARKS = 16

#: The number of a follow-up is its parent's plus this.
FOLLOW = 1_000_000

#: The numbers of the schedules begin here.
SCHEDULE = 3_000_000

#: How often (seconds) schedules tick.
EVERY = 0.5

#: Of so many jobs one kills its process each time it runs.
KILLER_IN = 200

#: kind -> (share of the jobs, how it must end unless it was cancelled).
KINDS = {
    'transfer': (24, 'completed'),
    'shared': (22, 'completed'),
    'shared_fails': (3, 'error'),
    'hot': (4, 'completed'),
    'slow': (10, 'completed'),
    'long': (0.2, 'completed'),
    'commits': (8, 'completed'),
    'reaches': (8, 'completed'),
    'stubborn': (4, 'completed'),
    'follow': (7, 'completed'),
    'flaky': (3, 'completed'),
    'again': (3, 'completed'),
    'later': (2, 'completed'),
    'fails': (4, 'error'),
    'broken': (2, 'error'),
    'exits': (2, 'error'),
    'cancels': (1, 'cancelled'),
    # One of KILLER_IN, and schedules, which the harness cancels at the end.
    'kills': (0, 'error'),
    'ticks': (0, 'cancelled'),
    # Only where a test adds them.
    'holds': (0, 'completed'),
    'holds_commits': (0, 'completed'),
}

#: Those whose first half stays when they are cancelled.
BY_HALVES = ('commits', 'reaches', 'stubborn')

#: Those that the harness does not cancel while others run.
NOT_CANCELLED = (*BY_HALVES, 'kills', 'ticks')

#: What a worker may lack that was started before a deploy; not what other
#: tasks add, for they could not.
MAY_LACK = ('slow', 'shared', 'flaky', 'again', 'ticks')

#: How long (seconds) ``long`` takes; set by the worker.
LONG = 2.0

#: How many jobs of ``metered`` run at once.
LIMIT = 3

#: Called with the name of a point in a task.
at = [lambda name: None]

#: Called with what a task has to tell the harness.
say = [lambda text: None]


def ledger(root):
    """The root object of the database in which the queue is."""
    jar = root._p_jar
    return (jar.get_connection('jobs').root()
            if 'jobs' in jar.db().databases else root)


def make(root, poison=None):
    """An empty service and ledger in a new database."""
    application = root['Application'] = PersistentMapping()
    _store(root)
    root = ledger(root)
    service = root['tasks'] = TaskService()
    service.__parent__ = application
    service.__name__ = 'tasks'
    _store(root)
    application['tasks'] = service
    if poison is not None:
        service.jobqueue.poison = poison
    root['accounts'] = PersistentList(
        PersistentMapping(balance=OPENING) for _ in range(ACCOUNTS))
    root['effects'] = PersistentList(IOBTree() for _ in range(EFFECTS))
    root['halves'] = PersistentList(IOBTree() for _ in range(MARKS))
    root['marks'] = PersistentList(OOBTree() for _ in range(MARKS))
    root['ticks'] = PersistentList(OOBTree() for _ in range(MARKS))
    root['dues'] = IOBTree()
    root['added'] = IOBTree()
    root['cancelled'] = IOBTree()


def _store(root):
    # What another database refers to must have its place before.
    manager = root._p_jar.transaction_manager
    manager.commit()
    manager.begin()


def quick_schedules():
    """A context: schedules that run each minute run each EVERY seconds."""
    return mock.patch.object(CronJob, 'next_run', _next_run)


def _next_run(job, now):
    return (math.floor(now / EVERY) + 1) * EVERY


def pause(seconds):
    threading.Event().wait(seconds)


def _change(root, account, amount):
    root['accounts'][account]['balance'] += amount


def _count(root, n):
    tree = root['effects'][n % EFFECTS]
    tree[n] = tree.get(n, 0) + 1


def _transfer(service, input):
    root = service._p_jar.root()
    _change(root, input['a'], -1)
    at[0]('in-task')
    _change(root, input['b'], +1)
    _count(root, input['n'])


def _mark(root, n, jobid, claim):
    """Note whose run commits this; the verdict looks whether it might."""
    root['marks'][n % MARKS][f'{n}.{uuid.uuid4().hex}'] = PersistentMapping(
        jobid=jobid, claim=claim)


def transfer(service, jobid, input):
    _transfer(service, input)


def slow(service, jobid, input):
    _transfer(service, input)
    for _ in range(random.randint(1, 10)):
        pause(0.03)
        currentJob().check()


def long(service, jobid, input):
    _transfer(service, input)
    pause(LONG)


def commits(service, jobid, input):
    """Commits by itself in the middle, so it has to look how far it came."""
    root, n = service._p_jar.root(), input['n']
    claim = service.jobs[jobid].claim
    halves = root['halves'][n % MARKS]
    if n not in halves:
        _change(root, input['a'], -1)
        halves[n] = 1
    _mark(root, n, jobid, claim)
    at[0]('own-before')
    transaction.commit()
    at[0]('own-after')
    pause(random.uniform(0, 0.2))
    _change(root, input['b'], +1)
    _count(root, n)
    _mark(root, n, jobid, claim)


def reaches(service, jobid, input):
    """The same by a checkpoint, whose cursor tells how far it came."""
    root, n, job = service._p_jar.root(), input['n'], currentJob()
    claim = service.jobs[jobid].claim
    if job.cursor is None:
        _change(root, input['a'], -1)
        _mark(root, n, jobid, claim)
        job.checkpoint({'half': 1})
    assert job.cursor == {'half': 1}
    pause(random.uniform(0, 0.2))
    # Its effect and its result are one commit.
    changed = job.step('half', lambda: _change(root, input['b'], +1) or 2)
    assert changed == 2
    _count(root, n)
    _mark(root, n, jobid, claim)


def walks(service, jobid, input):
    """Has an effect for each of many items, and tells a file of it.

    Of ``input``: ``items``, how many; ``every``, how many to a checkpoint;
    ``way``: 'cursor', or 'step', with one of these for each item.
    """
    root, job = service._p_jar.root(), currentJob()
    told = os.open(input['told'], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    begun = set()

    def item(n):
        begun.add(n)
        os.write(told, f'begun {n}\n'.encode())
        _count(root, n)
        return n

    try:
        if input['way'] == 'step':
            for n in range(input['items']):
                assert job.step(f'item {n}', item, n) == n
                if n in begun:
                    os.write(told, f'stored {n + 1}\n'.encode())
            return
        for n in range(job.cursor or 0, input['items']):
            item(n)
            if (n + 1) % input['every'] == 0:
                job.checkpoint(n + 1)
                os.write(told, f'stored {n + 1}\n'.encode())
    finally:
        os.close(told)


def stubborn(service, jobid, input):
    """Does not take no for an answer: commits, whatever the last one said."""
    root, n = service._p_jar.root(), input['n']
    claim = service.jobs[jobid].claim
    for _ in range(3):
        try:
            _mark(root, n, jobid, claim)
            pause(random.uniform(0, 0.1))
            transaction.commit()
        except Exception:
            transaction.abort()
    _mark(root, n, jobid, claim)
    _transfer(service, input)


def follow(service, jobid, input):
    _transfer(service, input)
    service.add('transfer', dict(input, kind='transfer',
                                 n=input['n'] + FOLLOW))
    pause(random.uniform(0, 0.1))


def flaky(service, jobid, input):
    _transfer(service, input)
    if currentJob().attempt == 1:
        raise ValueError('not at once')


def again(service, jobid, input):
    """Fails and is retried at once, by any thread of a process."""
    _transfer(service, input)
    if currentJob().attempt <= 6:
        raise ValueError('not yet')


def kills(service, jobid, input):
    _transfer(service, input)
    say[0](f'killer {input["n"]}')
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def sleeps(service, jobid, input):
    pause(input['seconds'])


def ticks(service, jobid, input):
    """Counts each claim by which it was run: never is one committed twice."""
    root = service._p_jar.root()
    counts = root['ticks'][input['n'] - SCHEDULE]
    claim = repr(service.jobs[jobid].claim)
    counts[claim] = counts.get(claim, 0) + 1
    at[0]('in-task')
    if random.random() < 0.2:
        raise ValueError('not this time')


class Fast:
    """A clock that runs ``speed`` times as fast, the same in all processes.

    Arguments: ``real``, a moment (seconds since 1970) at which it shows
    ``shown``; ``speed``.
    """

    def __init__(self, real, shown, speed):
        self._real, self._shown, self._speed = real, shown, speed

    def now(self):
        return self._shown + (time.time() - self._real) * self._speed

    def monotonic(self):
        return time.monotonic()


def dues(service, jobid, input):
    """Counts for which minute it was run."""
    minute = int(currentJob().dueAt.timestamp() // 60)
    counts = service._p_jar.root()['dues']
    counts[minute] = counts.get(minute, 0) + 1
    at[0]('in-task')
    say[0](f'due {minute}')


def later(service, jobid, input):
    _transfer(service, input)
    if currentJob().attempt == 1:
        raise RetryLater(1)


def fails(service, jobid, input):
    _transfer(service, input)
    service.add('transfer', dict(input, n=input['n'] + FOLLOW))
    raise TaskError('it has to fail')


def broken(service, jobid, input):
    _transfer(service, input)
    raise ValueError('it has to fail, again and again')


def exits(service, jobid, input):
    _transfer(service, input)
    raise SystemExit(3)


def cancels(service, jobid, input):
    _transfer(service, input)
    raise CancelJob


def _hold(input):
    say[0](f'holds {input["n"]}')
    at[0]('held')
    while not Path(input['go']).exists():
        if input['stops']:
            currentJob().check()
        pause(0.01)


def holds(service, jobid, input):
    """Tells that it runs, and ends when the file ``go`` is there."""
    _transfer(service, input)
    _hold(input)


def holds_commits(service, jobid, input):
    """The same between two commits of its own."""
    root, n = service._p_jar.root(), input['n']
    claim = service.jobs[jobid].claim
    _mark(root, n, jobid, claim)
    transaction.commit()
    _hold(input)
    _mark(root, n, jobid, claim)
    try:
        transaction.commit()
    except BaseException as error:
        say[0](f'refused {n} {type(error).__name__}')
        raise
    _transfer(service, input)


def metered(service, jobid, input):
    """Say when a run begins and ends, by a clock that all processes share."""
    key = input.get('key', '')
    say[0](f'begin {jobid} {key} {time.monotonic()}')
    pause(input['seconds'])
    say[0](f'end {jobid} {key} {time.monotonic()}')


def register(lacks=None):
    """Make the tasks known in this process, but for the one it ``lacks``."""
    policy = RetryPolicy(2, base=0.05, cap=0.1)
    for function in (transfer, slow, long, commits, reaches, walks, stubborn,
                     follow, flaky, later, fails, broken, exits, cancels,
                     kills, ticks, dues, sleeps, holds, holds_commits):
        provideUtility(FunctionTask(function, retry=policy), ITask,
                       name=function.__name__)
    provideUtility(FunctionTask(transfer, retry=policy), ITask, name='hot')
    provideUtility(FunctionTask(again, retry=RetryPolicy(8, base=0.0)), ITask,
                   name='again')
    provideUtility(FunctionTask(metered, retry=policy, limit=LIMIT), ITask,
                   name='metered')
    for function, name in ((transfer, 'shared'), (fails, 'shared_fails')):
        provideUtility(FunctionTask(function, retry=policy, groupable=True),
                       ITask, name=name)
    if lacks is not None:
        assert getGlobalSiteManager().unregisterUtility(
            provided=ITask, name=lacks)


def make_input(n, rng):
    """The input of job ``n``: which kind it is, and what it moves."""
    names = list(KINDS)
    kind = rng.choices(names, [KINDS[name][0] for name in names])[0]
    if n % KILLER_IN == KILLER_IN // 2:
        kind = 'kills'
    a, b = rng.sample(range(1, ACCOUNTS), 2)
    return {'n': n, 'kind': kind, 'a': 0 if kind == 'hot' else a, 'b': b}
