"""What breaks things: the chaos run.  chaos_verdict.py judges the result."""

import contextlib
import random
import signal
import threading
import time

import chaos_points
import chaos_tasks
from chaos_processes import DEADLINE
from chaos_processes import Database
from chaos_processes import Producer
from chaos_processes import Server
from chaos_processes import Spawner
from chaos_processes import pids
from chaos_processes import wait_until
from chaos_verdict import Verdict
from transaction.interfaces import TransientError


class Chaos:
    """A whole run.

    Arguments: ``directory``; how many ``jobs``, ``kills``, ``takeovers``
    and ``restarts`` of the server there have to be; ``workers``, how many
    processes; ``scale`` of the times of signs of life; ``seed``.
    """

    def __init__(self, directory, jobs, kills, takeovers, restarts=2,
                 workers=4, scale=0.04, seed=1):
        self.goal = {'kills': kills, 'takeovers': takeovers}
        self.jobs = jobs
        self.restarts = restarts
        self.count = workers
        self.random = random.Random(seed)
        self.done = {'kills': 0, 'takeovers': 0, 'jobsTaken': 0, 'stops': 0,
                     'serverRestarts': 0, 'cancelled': 0}
        self.points = {}
        self.cancelled = set()
        self.dead = scale * 40
        self.server = Server(directory)
        self.database = Database(self.server.address)
        # Many runs of a job may be interrupted here, through no fault of it.
        self.database.make(poison=10**6)
        self.spawner = Spawner(self.server.address, directory, scale)
        self.producer = Producer(self.server.address, directory, seed)
        self.alive = []
        self._next = dict.fromkeys(
            ('takeover', 'stop', 'cancel', 'look'), 0.0)

    def run(self, deadline):
        """Break things until all goals are reached, then judge.

        Arguments: ``deadline``, seconds.  Returns: the figures, a dict.
        """
        began = time.monotonic()
        self._end = began + deadline
        self._break(began)
        self._drain()
        seconds = time.monotonic() - began
        verdict = Verdict(self.database, self.jobs, self.cancelled)
        figures = {'jobs': self.jobs, **verdict.judge(), **self.done,
                   'points': dict(sorted(self.points.items())),
                   'producerConflicts': self.producer.conflicts,
                   'seconds': round(seconds, 1)}
        figures['ok'] = verdict.ok and all(
            self.done[name] >= self.goal[name] for name in self.goal)
        figures['wrong'] = verdict.wrong
        return figures

    def close(self):
        with contextlib.suppress(Exception):
            self.producer.process.kill()
            self.producer.process.wait(DEADLINE)
        self.spawner.close()
        self.database.close()
        self.server.stop()

    # -- breaking -------------------------------------------------------------

    def _share(self):
        """How much of the chaos is done, 0 to 1."""
        return min(1.0, *(self.done[name] / max(1, self.goal[name])
                          for name in self.goal))

    def _break(self, began):
        pause = threading.Event()
        while (share := self._share()) < 1.0:
            assert time.monotonic() < self._end, (self.done, self.points)
            self._bury()
            while len(self.alive) < self.count:
                self._spawn()
            # The jobs come over the whole time.
            self.producer.allow(min(
                self.jobs, int(self.jobs * share) + self.jobs // 12 + 20))
            with contextlib.suppress(TransientError):
                self._act(time.monotonic(), share)
            pause.wait(0.01)
        self.producer.allow(self.jobs)

    def _spawn(self):
        point, count = None, 1
        if self.random.random() < 0.7:
            point = self.random.choice(chaos_points.POINTS)
            count = 1 if point.startswith(
                ('enroll', 'leave', 'retire', 'give', 'beat', 'chain', 'fail')
                ) else self.random.randint(1, 4)
        child = self.spawner.start(
            self.random.choice('ab'), self.random.choice((1, 1, 3)), point,
            count)
        # Who has not come to its point until then is killed wherever it is.
        child.until = time.monotonic() + (
            self.random.uniform(0.3, 4.0) if point is None else 5.0)
        child.orderly = (point is not None and point.startswith(
            ('leave', 'give'))) or self.random.random() < 0.1
        self.alive.append(child)

    def _bury(self):
        for child in list(self.alive):
            code = child.code
            if code is not None:
                self.alive.remove(child)
                if code == -signal.SIGKILL:
                    self.done['kills'] += 1
                    died = child.point is not None and child.says(
                        f'died {child.point}')
                    name = child.point if died else 'anywhere'
                    self.points[name] = self.points.get(name, 0) + 1
                else:
                    log = self.spawner.directory / 'workers.log'
                    assert code == 0, (f'a worker ended with {code}',
                                       log.read_text()[-3000:])

    def _due(self, name, every):
        now = time.monotonic()
        if now < self._next[name]:
            return False
        self._next[name] = now + self.random.uniform(0.5, 1.5) * every
        return True

    def _act(self, now, share):
        for child in self.alive:
            if now > child.until:
                child.until = now + 2
                child.send(signal.SIGTERM if child.orderly
                           else signal.SIGKILL)
                child.orderly = False
        if self._due('takeover', 0.12):
            self._take_over()
        if self._due('stop', 4):
            child = self.random.choice(self.alive)
            child.send(signal.SIGSTOP)
            # By a thread: we may be waiting for the commit of that very
            # process.
            again = threading.Timer(self.dead * 1.5, child.send,
                                    [signal.SIGCONT])
            again.daemon = True
            again.start()
            child.until = max(child.until, now + self.dead * 1.5 + 1)
            self.done['stops'] += 1
        if self._due('cancel', 1):
            self._cancel()
        due = self.done['serverRestarts'] + 1
        if due <= self.restarts and share > due / (self.restarts + 1):
            # Once in an orderly way, once not.
            self.server.stop(signal.SIGTERM if due % 2 else signal.SIGKILL)
            self.server.start()
            self.done['serverRestarts'] = due

    def _take_over(self):
        """Declare a living worker dead that runs a job."""
        living = {child.pid for child in self.alive if child.code is None}

        def take(service):
            queue = service.jobqueue
            names = [name for name in queue.workers
                     if int(name.split(':')[2]) in living
                     and queue.claims_of(name)]
            if not names:
                return []
            return queue.retire(self.random.choice(names),
                                service.clock.now(), charged=False)

        taken = self.database.service(take)
        if taken:
            self.done['takeovers'] += 1
            self.done['jobsTaken'] += len(taken)

    def _cancel(self):
        def cancel(service):
            for jobid in service.jobqueue.running():
                if (service.jobs[jobid].input['kind']
                        not in chaos_tasks.BY_HALVES):
                    service.cancel(jobid)
                    return jobid
            return None

        jobid = self.database.service(cancel)
        if jobid is not None:
            self.cancelled.add(jobid)
            self.done['cancelled'] += 1

    # -- the end --------------------------------------------------------------

    def _drain(self):
        """Let what lives finish everything, then end it in order."""
        assert self.producer.wait() == 0
        for child in self.alive:
            child.send(signal.SIGCONT)
            child.end(signal.SIGKILL)
        self.alive = [self.spawner.start(host, 2) for host in 'ab']
        living = {child.pid for child in self.alive}
        # What has not ended in time is the verdict's to tell.
        with contextlib.suppress(AssertionError):
            wait_until(self._is_drained, min(
                60 + self.jobs / 20, max(1, self._end - time.monotonic())))
            # Those that were killed, too, are found and their slots freed.
            wait_until(lambda: living.issuperset(self.database.look(pids)),
                       self.dead * 3 + 20)
        for child in self.alive:
            assert child.end(signal.SIGTERM) == 0

    def _is_drained(self):
        try:
            return self.database.look(_is_idle)
        except TransientError:
            return False


def _is_idle(service):
    found = service.stats()
    return not (found['queued'] or found['processing']
                or found['scheduled'])
