"""What the database must look like after a chaos run."""

import chaos_tasks
from BTrees.check import check
from relstorage.storage import RelStorage
from ZODB.utils import p64
from ZODB.utils import u64

from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.job import Job
from lovely.remotetask.store import check as checks

_LOGS = ('completed', 'error')
_LANES = ('ready', 'due', 'waiting', 'later', 'cancelled')


class Verdict:
    """Looks at every job, every account, and every structure.

    Arguments: ``database`` (chaos_processes.Database); ``jobs``, how many were
    to be added.
    Attributes: ``wrong``, some sentences about what is wrong.
    """

    def __init__(self, database, jobs):
        self.database = database
        self.jobs = jobs
        self.wrong = []
        self.figures = dict.fromkeys(
            ('lost', 'doubled', 'partial', 'stuck', 'stale', 'unsound',
             'misjudged', 'innocentErrors', 'findings'), 0)

    @property
    def ok(self):
        return not self.wrong

    def _complain(self, kind, text, count=1):
        self.figures[kind] += count
        if len(self.wrong) < 20:
            self.wrong.append(f'{kind}: {text}')

    def judge(self):
        """Returns: the figures."""
        with self.database.root() as root:
            self._service = root['Application']['tasks']
            self._root = chaos_tasks.ledger(root)
            self.cancelled = set(self._root['cancelled'])
            self._all = dict(self._service.jobs.items())
            self._judge_jobs()
            self._judge_effects()
            self._judge_marks()
            self._judge_ticks()
            self._judge_structures()
            self._judge_places()
            self._judge_workers()
            counts = {status: 0 for status in sorted(FINAL)}
            for job in self._all.values():
                counts[job.status] = counts.get(job.status, 0) + 1
        return {'ended': counts, **self.figures}

    def _judge_jobs(self):
        """Each job that was added is there once, and has ended as it must."""
        added = self._root['added']
        for n in range(1, self.jobs + 1):
            if added.get(n) not in self._all:
                self._complain('lost', f'job number {n} is not there')
        numbers = {}
        for jobid, job in self._all.items():
            numbers.setdefault(job.input['n'], []).append(jobid)
        for n, ids in numbers.items():
            if len(ids) > 1:
                self._complain('doubled', f'number {n} is in {ids}')
            if chaos_tasks.FOLLOW < n < chaos_tasks.SCHEDULE:
                parent = self._all[added[n - chaos_tasks.FOLLOW]]
                if parent.status != 'completed':
                    self._complain('partial', f'{n} follows a job that is '
                                              f'{parent.status}')
        for job in self._all.values():
            kind, n = job.input['kind'], job.input['n']
            if (kind == 'follow' and job.status == 'completed'
                    and n + chaos_tasks.FOLLOW not in numbers):
                self._complain('lost', f'the follow-up of {n}')
            if job.status not in FINAL:
                self._complain('stuck', f'job {job.id} {kind} is '
                                        f'{job.status}, {job.position}')
            elif job.status != chaos_tasks.KINDS[kind][1] and not (
                    job.status == 'cancelled'
                    and job.id in self.cancelled):
                self._complain('misjudged', f'{kind} {job.id} ended as '
                                            f'{job.status}: {job.error}')
            if job.status == 'error':
                self._judge_error(job)
            if job.claim is not None:
                self._complain('stuck', f'{job.id} keeps a claim')

    def _judge_error(self, job):
        """Only what kills its process is poison; and that is nothing else."""
        kind, error = job.input['kind'], str(job.error)
        if kind == 'kills':
            self.figures['poison'] = self.figures.get('poison', 0) + 1
            if not error.startswith('poison'):
                self._complain('misjudged', f'killer {job.id}: {error}')
        elif (error.startswith('poison')
                or chaos_tasks.KINDS[kind][1] != 'error'):
            self._complain('innocentErrors', f'{kind} {job.id}: {error}')

    def _judge_effects(self):
        """Each completed job has its effects once, all others have none."""
        effects = {}
        for tree in self._root['effects']:
            effects.update(tree.items())
        balance = [chaos_tasks.OPENING] * chaos_tasks.ACCOUNTS
        for job in self._all.values():
            if job.input['kind'] == 'ticks':
                continue
            count = effects.pop(job.input['n'], 0)
            if job.status == 'completed':
                balance[job.input['a']] -= 1
                balance[job.input['b']] += 1
                if count == 0:
                    self._complain('lost', f'the effect of {job.input}')
                if count > 1:
                    self._complain('doubled', f'{count} times {job.input}')
            elif count:
                self._complain('partial', f'{job.input} is {job.status} and '
                                          f'has an effect')
        if effects:
            self._complain('partial', f'effects of nobody: {effects}')
        found = [account['balance'] for account in self._root['accounts']]
        for account, (is_, must) in enumerate(zip(found, balance,
                                                  strict=True)):
            if is_ != must:
                self._complain('partial', f'account {account} has {is_} and '
                                          f'not {must}')

    def _judge_ticks(self):
        """No claim of a schedule has been committed twice, and no moment."""
        count, now = 0, self._service.clock.now()
        for number, tree in enumerate(self._root['ticks']):
            for claim, times in tree.items():
                count += 1
                if times > 1:
                    self._complain('doubled', f'schedule {number} has ticked '
                                              f'{times} times by {claim}')
            jobid = self._root['added'].get(chaos_tasks.SCHEDULE + number)
            if jobid is None:
                continue
            seconds = now - self._all[jobid].createdAt.timestamp()
            most = seconds / chaos_tasks.EVERY + 1
            if len(tree) > most:
                self._complain('doubled', f'schedule {number} has ticked '
                                          f'{len(tree)} times in {seconds} s')
        self.figures['ticks'] = count

    def _judge_places(self):
        """No job stands nowhere, and none in two claims: the own check."""
        now, at, findings = self._service.clock.now(), None, []
        while True:
            found, at = checks.step(self._service.jobqueue, at, 1000, now)
            findings += found
            if at is None:
                break
        for finding in findings:
            self._complain('findings', str(finding))

    def _judge_marks(self):
        """No run has committed anything while its job was not its own."""
        connection = self._root._p_jar
        # The connection's own storage knows only its snapshot.
        storage = connection.db().storage
        if isinstance(storage, RelStorage):
            return      # it keeps no history in which to look
        count = 0
        for tree in self._root['marks']:
            for mark in tree.values():
                mark._p_activate()
                job = self._all[mark['jobid']]
                # The job as it was after the commit of the mark.
                _, serial, _ = storage.loadBefore(
                    job._p_oid, p64(u64(mark._p_serial) + 1))
                then = Job.__new__(Job)
                then.__setstate__(connection.oldstate(job, serial))
                count += 1
                # The commit that finishes the job takes the claim away.
                own = (then.claim == mark['claim']
                       or serial == mark._p_serial)
                if not own:
                    self._complain('stale', f'job {job.id}: {mark["claim"]} '
                                            f'while {then.claim}')
        self.figures['ownCommits'] = count

    def _judge_structures(self):
        queue = self._service.jobqueue
        # What a killed worker had claimed lies in the lanes until somebody
        # comes by: this does, and finds nothing that is queued.
        for key, job in queue._queued(queue.ready):
            self._complain('unsound', f'job {job.id} is ready at {key}')
            break
        places = {}
        for name in _LANES:
            lanes = getattr(queue, name)
            lanes = getattr(lanes, '_lanes', lanes)
            for number, tree in enumerate(lanes.trees):
                self._check_tree(tree, f'{name} {number}')
            entries = list(lanes.up())
            if queue.counts()[name] != len(entries):
                self._complain('unsound', f'{name} counts '
                               f'{queue.counts()[name]} and has '
                               f'{len(entries)}')
            for key, jobid in entries:
                places.setdefault(jobid, []).append((name, key))
        for number, slot in queue.slots.items():
            for name in _LOGS:
                log = getattr(slot, name)
                if log.buckets:
                    self._check_tree(log.buckets, f'{name} {number}')
                entries = list(log.down())
                if len(entries) != len(log):
                    self._complain('unsound', f'log {name} {number} counts '
                                   f'{len(log)} and has {len(entries)}')
                for moment, jobid in entries:
                    places.setdefault(jobid, []).append(
                        (name, (number, moment)))
        for jobid, job in self._all.items():
            found = places.pop(jobid, [])
            if found != [job.position]:
                self._complain('unsound', f'job {jobid} {job.status} says '
                                          f'{job.position} and is in {found}')
            elif job.position[0] != job.status and job.status in FINAL:
                self._complain('unsound', f'{job.status} {job.position}')
        if places:
            self._complain('unsound', f'entries of nobody: {places}')

    def _check_tree(self, tree, what):
        try:
            tree._check()
            check(tree)
        except AssertionError as error:
            self._complain('unsound', f'{what}: {error}')

    def _judge_workers(self):
        queue = self._service.jobqueue
        if list(queue.workers):
            self._complain('unsound', f'workers {list(queue.workers)}')
        taken = {number: slot.owner for number, slot in queue.slots.items()
                 if slot.owner is not None or slot.claims.page()
                 or slot.claims.taken}
        if taken:
            self._complain('unsound', f'slots {taken}')
        self.figures['slots'] = len(queue.slots)
