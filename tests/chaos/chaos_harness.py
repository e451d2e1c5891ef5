"""What breaks things: the chaos run.  chaos_verdict.py judges the result."""

import contextlib
import json
import random
import signal
import sys
import threading
import time

import chaos_acts
import chaos_points
import chaos_tasks
from chaos_processes import Database
from chaos_processes import Producer
from chaos_processes import Spawner
from chaos_storages import DEADLINE
from chaos_storages import STORAGES
from chaos_storages import is_away
from chaos_storages import wait_until
from chaos_verdict import Verdict

# How often (seconds) the figures are told.
_PROGRESS = 30


class Chaos:
    """A whole run.

    Arguments: ``directory``; how many ``jobs``, ``kills``, ``takeovers`` and
    ``restarts`` of the server there have to be; ``workers``, how many
    processes; ``scale`` of the times of signs of life; ``seed``; ``storage``,
    one of STORAGES.
    """

    def __init__(self, directory, jobs, kills, takeovers, restarts=2,
                 workers=4, scale=0.04, seed=1, storage='zeo'):
        self.goal = {'jobs': jobs, 'kills': kills, 'takeovers': takeovers}
        self.jobs = jobs
        self.restarts = restarts
        self.seed = seed
        self.random = random.Random(seed)
        self.done = {'jobs': 0, 'kills': 0, 'takeovers': 0, 'jobsTaken': 0,
                     'stops': 0, 'restarts': 0, 'cancelled': 0}
        self.points = {}
        self.dead = scale * 40
        self.server = STORAGES[storage](directory)
        self.shared = self.server.shared
        self.count = workers if self.shared else 1
        self.restarts = restarts if self.shared else 0
        self.producer = self._database = None
        with contextlib.closing(Database(self.server.address)) as database:
            database.make()
            database.service(chaos_acts.add_schedules)
        self.spawner = Spawner(self.server.address, directory, scale,
                               self._hear)
        if self.shared:
            self._database = Database(self.server.address)
            self.producer = Producer(self.server.address, directory, seed)
        self.alive = []
        self._waiting = 0
        self._drained = False
        self._next = dict.fromkeys(
            ('takeover', 'stop', 'cancel', 'look', 'tell'), 0.0)

    def run(self, seconds):
        """Break things until all goals are reached, then judge.

        Arguments: ``seconds``, after which it ends with what was reached.
        Returns: the figures, a dict.
        """
        self._began = time.monotonic()
        self._end = self._began + seconds
        self._break()
        self._drain()
        if not self.shared:
            self._database = Database(self.server.address)
        verdict = Verdict(self._database, self.jobs)
        figures = {**self.done, **verdict.judge(),
                   'points': dict(sorted(self.points.items()))}
        figures['jobs'] = self.jobs
        if self.shared:
            figures['producerHung'] = self.producer.hung
        figures['seconds'] = round(time.monotonic() - self._began, 1)
        figures['reached'] = all(
            figures[name] >= self.goal[name] for name in self.goal)
        figures['ok'] = verdict.ok
        figures['wrong'] = verdict.wrong
        return figures

    def close(self):
        with contextlib.suppress(Exception):
            self.producer.process.kill()
            self.producer.process.wait(DEADLINE)
        self.spawner.close()
        if self._database is not None:
            self._database.close()
        self.server.stop()

    def _hear(self, text):
        """Note what a worker says; called in another thread."""
        name, _, rest = text.partition(' ')
        if name == 'added':
            self.done['jobs'] = int(rest)
        elif name == 'taken':
            self.done['takeovers'] += 1
            self.done['jobsTaken'] += int(rest)
        elif name == 'cancelled':
            self.done['cancelled'] += 1
        elif name == 'drained':
            self._drained = True
        elif name == 'wrong':
            print(text, file=sys.stderr)

    # -- breaking -------------------------------------------------------------

    def _share(self):
        """How much of the chaos is done, 0 to 1."""
        return min(1.0, *(self.done[name] / max(1, self.goal[name])
                          for name in ('kills', 'takeovers')))

    def _allowed(self):
        """Up to which number jobs may be added: they come all the time."""
        return min(self.jobs,
                   int(self.jobs * self._share()) + self.jobs // 12 + 20)

    def _break(self):
        pause = threading.Event()
        while time.monotonic() < self._end:
            if self._share() >= 1.0 and self._all_are_added():
                return
            self._bury()
            if self.shared:
                self.producer.revive()
            while len(self.alive) < self.count:
                self._spawn()
            if self.shared and self._waiting < chaos_acts.BACKLOG:
                self.producer.allow(min(self._allowed(),
                                        self.producer.added + 50))
            try:
                self._act(time.monotonic(), self._share())
            except Exception as error:
                if not is_away(error):
                    raise
            self._tell()
            pause.wait(0.01)
        # As many as there are by now.
        self.jobs = (self.producer.allowed if self.shared
                     else self.done['jobs'] + 8)

    def _all_are_added(self):
        if self.shared:
            self.done['jobs'] = self.producer.added
        return self.done['jobs'] >= self.jobs

    def _spawn(self):
        point, count = None, 1
        if self.random.random() < 0.7:
            point = self.random.choice(chaos_points.POINTS)
            count = 1 if point.startswith(
                ('enroll', 'leave', 'retire', 'give', 'beat', 'chain', 'fail')
                ) else self.random.randint(1, 4)
        lacks = (self.random.choice(chaos_tasks.MAY_LACK)
                 if self.random.random() < 0.2 else None)
        inside = self._inside(False)
        if lacks and inside:
            inside['allow'] = 0     # add() refuses what is missing
        child = self.spawner.start(
            self.random.choice('ab'), self.random.choice((1, 1, 3, 5)), point,
            count, grace=0.5, lacks=lacks, inside=inside, spares=True)
        # Who has not come to its point until then, seconds after it has
        # claimed its first job, is killed wherever it is.
        child.lives = (self.random.uniform(0.0, 3.0) if point is None
                       else 3.0)
        child.born = time.monotonic()
        child.orderly = (point is not None and point.startswith(
            ('leave', 'give'))) or self.random.random() < 0.1
        self.alive.append(child)

    def _inside(self, drain):
        """What a process does to itself that has the database alone."""
        if self.shared:
            return None
        return {'allow': self.jobs if drain else self._allowed(),
                'seed': str(self.seed), 'drain': drain}

    def _bury(self):
        for child in list(self.alive):
            code = child.code
            if code is not None:
                self.alive.remove(child)
                if code == -signal.SIGKILL:
                    self.done['kills'] += 1
                    name = 'anywhere'
                    if child.point and child.says(f'died {child.point}'):
                        name = child.point
                    elif child.said and child.said[-1].startswith('killer'):
                        name = 'killer'
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
            if child.until is None:
                # Some are killed while they start, or have nothing to do.
                if (child.says('works') or child.lives < 0.2
                        or now > child.born + 10):
                    child.until = now + child.lives
                continue
            if now > child.until and not child.spares:
                child.until = now + 2
                child.send(signal.SIGTERM if child.orderly
                           else signal.SIGKILL)
                child.orderly = False
        if not self.shared:
            return
        if self._due('look', 1):
            self._waiting = self._database.look(chaos_acts.backlog)
        if self._due('takeover', 0.12):
            self._take_over()
        if self._due('stop', 8):
            self._stop(self.random.choice(self.alive), now)
        if self._due('cancel', 1) and self._database.service(
                chaos_acts.cancel_one) is not None:
            self.done['cancelled'] += 1
        due = self.done['restarts'] + 1
        if (due <= self.restarts and share > due / (self.restarts + 1)
                # A cut session can look as a death does.
                and not any(child.spares for child in self.alive)):
            self.server.restart(due)
            self.done['restarts'] = due

    def _stop(self, child, now):
        """Stop a process for longer than it takes to count as dead."""
        if child.spares:
            return
        child.send(signal.SIGSTOP)
        # By a thread: we may be waiting for the commit of that very process.
        again = threading.Timer(self.dead * 1.5, child.send,
                                [signal.SIGCONT])
        again.daemon = True
        again.start()
        child.until = max(child.until or 0, now + self.dead * 1.5 + 1)
        self.done['stops'] += 1

    def _take_over(self):
        """Declare a living worker dead that runs a job."""
        living = {child.pid for child in self.alive if child.code is None}
        taken = self._database.service(lambda service: chaos_acts.take_over(
            service, self.random.choice, living))
        if taken:
            self.done['takeovers'] += 1
            self.done['jobsTaken'] += len(taken)

    def _tell(self):
        if self._due('tell', 2 / 3 * _PROGRESS):
            if self.shared:
                self.done['jobs'] = self.producer.added
            seconds = time.monotonic() - self._began
            print(f'{seconds:.0f} s', json.dumps(
                {**self.done, 'waiting': self._waiting}), file=sys.stderr,
                flush=True)

    # -- the end --------------------------------------------------------------

    def _drain(self):
        """Let what lives finish everything, then end it in order."""
        if self.shared:
            self.producer.allow(self.jobs)
            assert self.producer.wait() == 0
        for child in self.alive:
            child.send(signal.SIGCONT)
            child.end(signal.SIGKILL)
        self.alive.clear()
        self._ticks = None
        # What has not ended in time is the verdict's to tell.
        with contextlib.suppress(AssertionError):
            wait_until(self._is_drained, 120 + self.jobs / 5)
            # Those that were killed, too, are found and their slots freed.
            wait_until(self._are_found, self.dead * 3 + 20)
        for child in self.alive:
            assert child.end(signal.SIGTERM) == 0

    def _is_drained(self):
        # Jobs that kill their process go on with it.
        self._bury()
        while len(self.alive) < (2 if self.shared else 1):
            self.alive.append(self.spawner.start(
                'ab'[len(self.alive)], 2, inside=self._inside(True)))
        self._tell()
        if not self.shared:
            return self._drained
        try:
            return self._database.service(self._end_schedules)
        except Exception as error:
            if not is_away(error):
                raise
            return False

    def _end_schedules(self, service):
        """End them if all else has ended, and each has ticked since."""
        self._waiting = chaos_acts.backlog(service)
        ticks = chaos_acts.ticks(service)
        self._ticks = self._ticks or ticks
        if not chaos_acts.is_idle(service) or not all(
                one < other
                for one, other in zip(self._ticks, ticks, strict=True)):
            return False
        chaos_acts.end_schedules(service)
        return True

    def _are_found(self):
        if not self.shared:
            return True
        living = {child.pid for child in self.alive if child.code is None}
        try:
            return living.issuperset(self._database.look(chaos_acts.pids))
        except Exception as error:
            if not is_away(error):
                raise
            return False
