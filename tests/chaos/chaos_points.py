"""The named points of the protocol at which a worker can kill itself.

``claim`` the commit of a claim; ``started`` JobStarted; ``in-task``;
``own`` a task's own commit; ``checkpoint`` that of one; ``hook`` the guard in
the before-commit hook; ``finish``, ``fail`` the commit of a run; ``vote``,
``tpc-finish`` inside of it, before and after the database's part; ``chain``
the same where it claims the next job, too; ``group`` the commit of several
jobs; ``sweep`` what removes claimed jobs from their lanes; ``give-back``,
``leave``, ``retire``, ``enroll``, ``beat``; ``place`` what puts the follow-up
of a long run into the lanes; ``close`` the commit that closes a group.
"""

import os
import signal
import threading

import transaction
import zope.event

from lovely.remotetask.edge.db import Session
from lovely.remotetask.events import JobStarted
from lovely.remotetask.run import monitor
from lovely.remotetask.run.chain import Chain
from lovely.remotetask.run.checkpoints import CommittedCheckpoints
from lovely.remotetask.run.executor import Executor
from lovely.remotetask.run.followers import Followers
from lovely.remotetask.run.group import Group
from lovely.remotetask.run.guard import Guard
from lovely.remotetask.run.monitor import Monitor
from lovely.remotetask.run.worker import Worker
from lovely.remotetask.store import batches
from lovely.remotetask.store.queue import JobQueue

#: Inside of the two phases of a commit.
PHASES = ('vote-first', 'vote-last', 'tpc-finish-first', 'tpc-finish-last')

#: All of them.  Where the commit counts, before and after it.
POINTS = (
    'enroll-before', 'enroll-after', 'claim-before', 'claim-after',
    'started', 'in-task', 'own-before', 'own-after', 'hook',
    'checkpoint-before', 'checkpoint-after',
    'finish-before', *PHASES, 'finish-after', 'chain-before', 'chain-after',
    'group-before', 'group-after', 'sweep-before', 'sweep-after',
    'fail-before', 'fail-after', 'give-back-before', 'give-back-after',
    'leave-before', 'leave-after', 'retire-before', 'retire-after', 'beat',
    'place-before', 'place-after', 'close-before', 'close-after')


class Points:
    """Kills the process when it comes to a point for the n-th time.

    Arguments: ``armed``, its name, or None; ``count``, which time;
    ``say(text)`` tells the harness.
    Attributes: ``spares_some`` (bool): ``spare`` has an effect; ``spares``
    (bool): not now, see there; ``works`` (bool): a job was claimed.
    """

    def __init__(self, armed, count, say):
        self.armed = armed
        self.count = count
        self.say = say
        self.spares_some = self.spares = self.works = False
        self._lock = threading.Lock()

    def at(self, name):
        if name != self.armed or self.spares:
            return
        with self._lock:
            self.count -= 1
            if self.count == 0:
                self.say(f'died {name}')
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()      # nothing more happens here

    def work(self):
        """Tell that the first job was claimed."""
        if not self.works:
            self.works = True
            self.say('works')

    def spare(self, spares):
        """Begin or end a time in which this process is not killed.

        It runs a job that was killed twice.  Deaths are to meet jobs at
        random: five of the same one are what poison means.
        """
        if self.spares_some and self.spares != spares:
            self.spares = spares
            self.say('spares' if spares else 'spared')


class Killer:
    """A data manager that comes to a point in a phase of the commit."""

    def __init__(self, points):
        self._points = points
        self._first = points.armed.endswith('-first')
        self.transaction_manager = transaction.manager

    def sortKey(self):
        return '!' if self._first else '~~~~'

    def tpc_vote(self, transaction):
        self._points.at('vote-first' if self._first else 'vote-last')

    def tpc_finish(self, transaction):
        self._points.at('tpc-finish-first' if self._first
                        else 'tpc-finish-last')

    def tpc_begin(self, transaction):
        pass

    abort = commit = tpc_abort = tpc_begin


def _wrap(owner, name):
    """Replace a method by a function that gets the original first."""
    # Wrong names must fail here and not leave a point without effect.
    original = getattr(owner, name)

    def replace(function):
        def method(self, *args, **kwargs):
            return function(original, self, *args, **kwargs)
        setattr(owner, name, method)
        return function

    return replace


def install(points):
    """Put the points into the machinery of this process."""
    at = points.at
    now = threading.local()     # what this thread is doing

    def doing():
        return getattr(now, 'doing', None)

    @_wrap(Worker, '_take')
    def _take(original, self, *args):
        claims = original(self, *args)
        if claims:
            at('claim-before')
        return claims

    @_wrap(Worker, 'take_ahead')
    def take_ahead(original, self, *args):
        claims = original(self, *args)
        if claims:
            now.chained = True
        return claims

    @_wrap(Worker, '_claim')
    def _claim(original, self, *args, **kw):
        claims = original(self, *args, **kw)
        if claims:
            points.work()
            at('claim-after')
        return claims

    @_wrap(Worker, '_take_suspect')
    def _take_suspect(original, self, service, *args):
        jobs = original(self, service, *args)
        for job in jobs or ():
            points.spare(job.interruptions >= 2)
        return jobs

    @_wrap(Worker, 'run')
    def run(original, self, claim):
        try:
            original(self, claim)
        finally:
            points.spare(False)

    @_wrap(Executor, '_attempt')
    def _attempt(original, self, *args):
        now.doing, now.chained = 'finish', False
        try:
            return original(self, *args)
        finally:
            now.doing = None

    @_wrap(CommittedCheckpoints, '_save')
    def _save(original, self, *args):
        now.doing, before = 'checkpoint', doing()
        try:
            return original(self, *args)
        finally:
            now.doing = before

    @_wrap(Group, '_together')
    def _together(original, self, *args):
        now.doing, now.chained = 'group', False
        try:
            return original(self, *args)
        finally:
            now.doing = None

    @_wrap(Chain, 'remove_taken')
    def remove_taken(original, self, *args):
        now.doing, now.chained = 'sweep', False
        try:
            return original(self, *args)
        finally:
            now.doing = None

    @_wrap(Executor, '_store_failure')
    def _store_failure(original, self, *args):
        now.doing, now.chained = 'fail', False
        try:
            return original(self, *args)
        finally:
            now.doing = None

    @_wrap(Session, 'commit')
    def commit(original, self):
        names = [doing()] if doing() else []
        if names and now.chained:
            names.append('chain')
        for name in names:
            at(f'{name}-before')
        if names and points.armed in PHASES:
            transaction.get().join(Killer(points))
        original(self)
        for name in names:
            at(f'{name}-after')

    @_wrap(Guard, 'check')
    def check(original, self):
        original(self)
        at('hook')

    @_wrap(Executor, 'give_back')
    def give_back(original, self, *args, **options):
        now.doing = 'give-back'
        try:
            return original(self, *args, **options)
        finally:
            now.doing = None
            at('give-back-after')

    @_wrap(JobQueue, 'requeue')
    def requeue(original, self, *args, **options):
        original(self, *args, **options)
        if doing() == 'give-back':
            at('give-back-before')

    @_wrap(JobQueue, 'retire')
    def retire(original, self, worker, now, charged, **options):
        jobs = original(self, worker, now, charged, **options)
        if jobs:
            at('retire-before' if charged else 'leave-before')
        return jobs

    @_wrap(monitor, 'rescue')
    def rescue(original, worker, *args):
        original(worker, *args)
        at('retire-after')

    @_wrap(Followers, 'place')
    def place(original, self, slot):
        at('place-before')
        original(self, slot)
        at('place-after')

    @_wrap(batches, 'close')
    def close(original, *args):
        left, added = original(*args)
        if added:
            at('close-before')
        return left, added

    @_wrap(Followers, '_close')
    def _close(original, self, *args):
        left = original(self, *args)
        if left == 0:
            at('close-after')
        return left

    @_wrap(Worker, 'leave')
    def leave(original, self):
        left = original(self)
        at('leave-after')
        return left

    @_wrap(JobQueue, 'take_slot')
    def take_slot(original, self, *args):
        slot = original(self, *args)
        at('enroll-before')
        return slot

    @_wrap(Worker, 'enroll')
    def enroll(original, self, *args):
        original(self, *args)
        at('enroll-after')

    @_wrap(Monitor, '_beat')
    def _beat(original, self, *args):
        original(self, *args)
        at('beat')

    zope.event.subscribers.append(
        lambda event: at('started') if isinstance(event, JobStarted)
        else None)
