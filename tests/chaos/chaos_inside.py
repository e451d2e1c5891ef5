"""What the only process that has the database open does to itself.

It adds jobs, declares its own worker dead, and cancels jobs, in a thread
beside those that run the jobs; and it tells when all is done.
"""

import random
import threading

import chaos_acts
import chaos_processes
import chaos_producer
import chaos_tasks
from chaos_storages import DEADLINE
from chaos_storages import is_away


class Inside:
    """The thread.

    Arguments: ``options``: ``allow``, up to which number jobs are added;
    ``seed``; ``drain``: break nothing, tell when everything has ended.
    """

    def __init__(self, database, options, say):
        self._database = chaos_processes.Database(database=database)
        self._options = options
        self._say = say
        self._random = random.Random()

    def run(self):
        last = None
        while True:
            try:
                last = self._step(last)
            except Exception as error:
                if not is_away(error):
                    self._say(f'wrong {error!r}')
                    raise
            chaos_tasks.pause(0.02)

    def _step(self, ticks):
        database, drain = self._database, self._options['drain']
        done, waiting = database.look(lambda service: (
            _added(service), chaos_acts.backlog(service)))
        more = min(self._random.randint(1, 8), self._options['allow'] - done)
        if more > 0 and (drain or waiting < chaos_acts.BACKLOG):
            chaos_producer.add(database.db, range(done + 1, done + more + 1),
                               self._options['seed'])
            done += more
            self._say(f'added {done}')
        if not drain:
            self._break()
            return None
        now = database.look(chaos_acts.ticks)
        if (done < self._options['allow']
                or not database.look(chaos_acts.is_idle)):
            return ticks or now
        # Each schedule still runs.
        if ticks is not None and all(
                one < other for one, other in zip(ticks, now, strict=True)):
            database.service(chaos_acts.end_schedules)
            self._say('drained')
            chaos_tasks.pause(DEADLINE)
        return ticks or now

    def _break(self):
        if self._random.random() < 0.15:
            taken = self._database.service(
                lambda service: chaos_acts.take_over(
                    service, self._random.choice,
                    chaos_acts.pids(service)))
            if taken:
                self._say(f'taken {len(taken)}')
        if self._random.random() < 0.03 and self._database.service(
                chaos_acts.cancel_one) is not None:
            self._say('cancelled')


def _added(service):
    try:
        return service._p_jar.root()['added'].maxKey(chaos_tasks.FOLLOW)
    except ValueError:
        return 0        # none yet


def start(database, options, say):
    """Begin; the thread ends with its process."""
    threading.Thread(target=Inside(database, options, say).run,
                     daemon=True).start()
