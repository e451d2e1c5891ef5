"""The contracts of lovely.remotetask: read this first.

An implementation says "See I...", and adds only what is its own.  A docstring
here promises in one line; then come arguments, Returns, Raises, Txn (who
commits, what conflicts) and Cost.  "Source: 0.5.2" stands where a promise is
kept from lovely.remotetask 0.5.2.
"""

from zope.interface import Attribute
from zope.interface import Interface
from zope.interface.common.mapping import IMapping
from zope.location.interfaces import IContained
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Datetime
from zope.schema import Int
from zope.schema import InterfaceField
from zope.schema import List
from zope.schema import Object
from zope.schema import Real
from zope.schema import TextLine
from zope.schema import Tuple

from lovely.remotetask.errors.bounds import is_seconds

QUEUED = 'queued'
PROCESSING = 'processing'
CANCELLED = 'cancelled'
ERROR = 'error'
COMPLETED = 'completed'
DELAYED = 'delayed'
CRONJOB = 'cronjob'
STARTLATER = 'start later'

#: Shown in place of a status where a job's record cannot be read.
UNKNOWN = 'unknown'

#: A job in one of these is over; ``clean`` may remove it.
FINAL = (CANCELLED, ERROR, COMPLETED)

#: The principal of a job that runs with all rights: see ``runAs`` of ``add``.
SYSTEM = 'lovely.remotetask.system'

#: The permissions of a service: to read, to add and cancel, and to manage it.
VIEW = 'lovely.remotetask.View'
ADD = 'lovely.remotetask.Add'
MANAGE = 'lovely.remotetask.Manage'

STATUSES = (QUEUED, PROCESSING, CANCELLED, ERROR, COMPLETED, DELAYED, CRONJOB,
            STARTLATER)

#: Delayed jobs and cron jobs, where jobs are selected by their status.
SCHEDULED = 'scheduled'

#: A job in one of these can be cancelled.
NOT_OVER = tuple(status for status in STATUSES if status not in FINAL)
#: Those from which jobs may be queued once more.
RETRIED = (ERROR, CANCELLED)

#: What ``add`` may do about another job with its key: see ``onDuplicate``.
ON_DUPLICATE = ('keep', 'any', 'replace', 'error')
#: The same of ``addCronJob``.
#: How long a job has its unique key, for an add with that key.
KEY_UNTIL = ('ended', 'started')

ON_DUPLICATE_CRON = ('keep', 'update', 'error')

#: The largest number of jobs in one page of ``listJobs``.
MAX_PAGE = 1000


# --- tasks -------------------------------------------------------------------

class ITask(Interface):
    """Work that can be done: a utility that ``add`` looks up by its name."""

    inputSchema = Object(
        title='Input schema',
        description='A zope.schema field, or an interface whose fields name '
                    'the keys or attributes of the input; None: anything.',
        schema=Interface,
        required=False)

    outputSchema = Object(
        title='Output schema',
        description='The same for the result.',
        schema=Interface,
        required=False)

    def __call__(service, jobid, input):
        """Do the work and return the result.

        Arguments: ``service`` (ITaskService), the service that runs the job;
        ``jobid`` (int); ``input``, the object given to ``add``.
        Returns: anything that can be pickled; it becomes the job's output.
        Raises: TaskError, a failure that is final at once; RetryLater,
        CancelJob; a TransientError runs the task again from the start,
        uncharged; anything else is retried by the task's policy.
        Txn: writes commit together with the job's completion, and vanish
        with any exception.  A task may commit by itself; what it committed
        stays.
        Source: 0.5.2.
        """


class ITaskOptions(Interface):
    """Optional attributes of a task, so that 0.5.2 tasks still are ITask."""

    retry = Attribute(
        'How often a failed job is tried again: a number from 0 on (int), '
        'for RetryPolicy(number); or an IRetryPolicy; None: three times.')
    timeout = Attribute('Seconds (float) a run may last, or None.')
    groupable = Attribute('True: short runs may share one commit.')
    remote = Attribute('True/False: may XML-RPC or JSON add this task?  '
                       "None: the service's ``remoteDefault``.")
    show = Attribute(
        'Which keys of an input may be shown on pages, in JSON and by '
        '``remotetask show``: a list or tuple of str; False: none, and '
        'nothing of an input that is no mapping; None, True: all.  What it '
        'names by then is noted with each job that is added.  It hides '
        'nothing else: a result, a progress, a cursor and the errors of a '
        'task show what the task has put into them.')
    limit = Attribute(
        'How many jobs of this task run at once, in all workers together: a '
        'whole number from 1 on; None: any number.')
    rate = Attribute(
        'How many jobs of this task begin in a span of time: ``(number, '
        'seconds)``; None: any number.')
    keyLimit = Attribute(
        'How many jobs of this task with the same concurrencyKey run at once; '
        'None: one.')
    queue = Attribute(
        'The name of the queue for jobs of this task that name none: 1 to 64 '
        'ASCII letters, digits, "-" and "_"; None: ``default``.')
    keep = Attribute(
        'For how long jobs of this task are kept once they are over: seconds '
        '(number greater than 0) or a timedelta, in place of what the service '
        'says about days and count; None: as the service keeps them.  A '
        'worker notes it when it starts.  Of a class that does not implement '
        'ITaskOptions a timedelta counts alone.')
    schedule = Attribute(
        'When the task runs by itself: a dict of cron or every or fields, and '
        'timezone, missed, atMost, deadline, overlap as of addCronJob; None: '
        'it does not.  @task takes these by their names.')
    on_error = Attribute(
        '``on_error(context, error)``, or None: called after each attempt '
        'that failed, in the transaction that stores the failure.  '
        '``context`` is what currentJob() gives, ``error`` the exception.  '
        'What it raises is logged, and its own writes are undone.')


class IDeclaredSchedule(Interface):
    """A schedule that the code declares: a utility, named by its key.

    A worker settles it with its service when it starts: what is not there is
    added, what the code has changed is changed, and what it declares no
    longer is paused.  What a person has changed, paused or ended stays.
    """

    task = Attribute('The name of the task.')
    service = Attribute('The path of the one service that has it, or None: '
                        'each service whose workers declare it.')
    declaration = Attribute(
        'All that can change, as a dict that JSON can hold: task, input, '
        'priority, and what says when it runs.')


class IRetryPolicy(Interface):
    """When a failed attempt is tried again."""

    def delay(failures, rng):
        """How long to wait before the next attempt.

        Arguments: ``failures`` (int >= 1), attempts that failed so far;
        ``rng`` (random.Random), the source of jitter.
        Returns: seconds (int or float, from 0 to two hundred years), or
        None: give up, the job ends in ``error``.  So it does with the error
        of a policy that raises, or answers anything else.
        Txn: asked once for each failure, in a snapshot that is aborted.
        """


# --- jobs --------------------------------------------------------------------

class IJob(Interface):
    """One piece of work: which task, with what input, and how it went.

    Values are checked when assigned.  Datetimes are naive local time, as in
    0.5.2; ``createdAt`` and its like are the same instants, aware, in UTC.
    A stored instant that no datetime can show reads as None.
    """

    id = Int(
        title='Id',
        description='The number by which the service knows the job.',
        required=True)

    task = TextLine(
        title='Task',
        description='The name of the task utility.',
        required=True)

    status = Choice(
        title='Status',
        description='Where the job stands.',
        values=STATUSES,
        required=True)

    input = Object(
        title='Input',
        description='What the task is called with.',
        schema=Interface,
        required=False)

    output = Object(
        title='Output',
        description='What the task returned.',
        schema=Interface,
        required=False,
        default=None)

    error = Object(
        title='Error',
        description='Why the job failed: a text record, never the live '
                    'exception; str() gives its message.',
        schema=Interface,
        required=False,
        default=None)

    errors = Attribute(
        'The errors of the last five attempts that failed, oldest first '
        '(a conflict, or a worker that is missing, is none): '
        'records with type, message, traceback, attempt (int) and time '
        '(seconds since 1970).  Of all but the latest the end of the '
        'traceback is kept.')

    scheduledAt = Attribute(
        'When a job that is scheduled, or waits for another attempt, runs '
        'next (aware datetime in UTC), or None.')

    follows = Attribute(
        'The id of the job that it follows (int), or None: see '
        'ITaskService.add and addChain.')

    followUps = Attribute(
        'What follows it: a list of dicts with ``on``, success or failure; '
        '``task``; ``state``: waits, added, off (the job has ended in the '
        'other way) or stuck, and ``note`` says why; ``id``, of the job that '
        'was added, of a schedule the latest one; ``behind``, how many calls '
        'follow that in turn.')

    group = Attribute(
        'The id of the group that it belongs to, or comes after (int), or '
        'None: see ITaskService.addGroup.')

    rests = Attribute(
        'Why a job waits that has not failed (str), or None: its task has '
        'raised RetryLater, or its worker was stopped again and again.')

    created = Datetime(
        title='Created',
        description='When the job was added (naive local time).',
        required=True)

    started = Datetime(
        title='Started',
        description='When its latest run began (naive local time).',
        required=False)

    completed = Datetime(
        title='Completed',
        description='When its latest run ended (naive local time).',
        required=False)

    createdAt = Datetime(title='Created (UTC)', required=False)
    startedAt = Datetime(title='Started (UTC)', required=False)
    completedAt = Datetime(title='Completed (UTC)', required=False)

    attempts = Int(
        title='Attempts',
        description='How often a run of this job has begun.',
        required=False,
        default=0)

    priority = Int(
        title='Priority',
        description='Larger runs earlier.',
        min=-4,
        max=3,
        required=False,
        default=0)

    retry = Attribute(
        'How it was added to be tried again: an int or an IRetryPolicy; '
        'None: as its task has it.')
    timeout = Attribute(
        'How long (seconds) a run of it may last; None: as its task has it.')

    submitter = TextLine(
        title='Submitter',
        description='The principal as whom the job runs, as the host writes '
                    "it; None: on the application's own account.",
        required=False,
        readonly=True)


class ICronJob(IJob):
    """A job that runs at certain times, or once after a delay.

    It has one rule: the fields, or one of ``cron``, ``every``, ``at`` and
    ``delay``.  Of the fields, the smallest given one sets the granularity,
    finer ones are at their minimum, and all given ones must match.
    """

    minute = Tuple(
        title='Minutes', description='0 to 59',
        value_type=Int(min=0, max=59), default=(), required=False)

    hour = Tuple(
        title='Hours', description='0 to 23',
        value_type=Int(min=0, max=23), default=(), required=False)

    dayOfMonth = Tuple(
        title='Days of the month', description='1 to 31',
        value_type=Int(min=1, max=31), default=(), required=False)

    month = Tuple(
        title='Months', description='1 to 12',
        value_type=Int(min=1, max=12), default=(), required=False)

    dayOfWeek = Tuple(
        title='Days of the week', description='0 (Monday) to 6 (Sunday)',
        value_type=Int(min=0, max=6), default=(), required=False)

    delay = Real(
        title='Delay',
        description='Run once, this many seconds from now; the fields do '
                    'not count then.  None: no delay.',
        min=0,
        constraint=is_seconds,
        default=None,
        required=False)

    cron = Attribute(
        'A crontab string (str) of five fields, or @hourly, @daily, @weekly, '
        '@monthly, @yearly; None.  Sunday is 0, and of the two days one is '
        'enough, as crontab(5) has it.')

    every = Attribute(
        'A period (float, seconds), from the call on that gave it; None.')

    at = Attribute('The moment of its one run (aware UTC datetime), or None.')

    timezone = Attribute(
        'The name of the time zone (str) whose clock the fields and ``cron`` '
        "ask; 'UTC'.  A fixed time that is skipped when clocks are set runs "
        'then, and one that comes twice runs once; with a ``*`` in minute or '
        'hour, or no hour among the fields, each real minute that matches.')

    missed = Attribute(
        'What becomes of times at which no worker was there (str): '
        "``'once'``, the last one is run; ``'skip'``, none; ``'all'``, each.")

    atMost = Attribute(
        "With missed='all', how many are run: the latest ones (int); None: "
        'all.')

    deadline = Attribute(
        'How late a run may begin (float, seconds), or it does not; None: as '
        "late as it is, with missed='skip' a minute.")

    overlap = Attribute(
        'What becomes of a time that comes while a run waits or is under way '
        "(str): ``'skip'``, nothing; ``'allow'``, a job of its own runs "
        "beside one that is under way; ``'queue'``, it runs when the other "
        "one has ended; ``'cancel'``, the other one is cancelled for it.")

    scheduledFor = Datetime(
        title='Scheduled for',
        description='When it runs next (naive local time).',
        default=None,
        required=False)

    scheduledAt = Datetime(
        title='Scheduled for (UTC)', default=None, required=False)

    enabled = Attribute(
        'False (bool): the schedule is paused: see ``pauseCronJob``.')

    runs = Attribute(
        'How the latest 20 runs of the schedule have ended, the latest first '
        '(tuple): each has ``endedAt`` (aware UTC datetime), ``seconds`` '
        "(float), ``outcome`` ('completed', 'error', 'cancelled' or "
        "'skipped') "
        'and ``error``, its first words (str) or None.')

    def update(minute=(), hour=(), dayOfMonth=(), month=(), dayOfWeek=(),
               delay=None, *, cron=None, every=None, at=None, timezone='UTC',
               missed='once', atMost=None, deadline=None, overlap='skip'):
        """Replace the whole schedule; call ``reschedule`` afterwards.

        Arguments: tuples of int as the fields say; ``delay``, seconds; ``at``,
        a datetime, of the clock of ``timezone`` if it is naive; the others as
        the attributes say.
        ``delay=0`` beside fields means no delay.
        Raises: InvalidSchedule (a ValueError) naming field and value, and
        then changes nothing.
        Txn: the caller commits.  Source: 0.5.2.
        """

    def timeOfNextCall(now=None):
        """When the job runs next.

        Arguments: ``now``, seconds since 1970 (int or float), default the
        clock.
        Returns: seconds since 1970 (int), strictly after ``now`` unless the
        delay is 0; None where there is no schedule.
        Cost: O(days searched), at most those of 40 years.
        Source: 0.5.2.
        """


# --- the service -------------------------------------------------------------

class ITaskService(IContained):
    """Adds jobs, runs them, and tells how they went."""

    jobs = Object(
        title='Jobs',
        description='All jobs by id; behaves like an IOBTree.',
        schema=IMapping)

    taskInterface = InterfaceField(
        title='Task interface',
        description='The interface by which task utilities are looked up.',
        default=ITask)

    def getAvailableTasks():
        """The tasks a job can be added for.

        Returns: a new dict, name (str) -> ITask.
        Source: 0.5.2.
        """

    def add(task, input=None, startLater=False, jobClass=None, *,
            priority=0, delay=None, runAt=None, key=None,
            onDuplicate='keep', runAs=None, concurrencyKey=None,
            queue=None, keyUntil='ended', retry=None, timeout=None,
            onSuccess=None, onFailure=None):
        """Add a job; it runs once your transaction has committed.

        Arguments: ``task`` (str), the name of a task, or the function that
        ``@task`` has decorated; ``input``, anything
        that pickles: plain data, or persistent objects of this database; for
        a task with parameters of its own a mapping that has their values;
        ``startLater`` (bool): wait for ``startJob``; ``jobClass``, a factory
        ``(id, task, input) -> IJob``; ``priority`` (int, -4 to 3), larger
        runs earlier; ``delay`` (seconds, from 0 to two hundred years) or
        ``runAt`` (aware datetime of the years 2 to 9998): not before then;
        ``key`` (str, 1 to 200 characters): no two jobs of
        this service that are not over have the same; ``onDuplicate``, what
        becomes of an add whose key another job has: ``'keep'``, nothing is
        added; ``'any'``, nor is it where that job is over, until it is
        cleaned: for a request that is sent again; ``'replace'``, the
        other one is cancelled, or, if it is running already, goes on without
        the key, and with its run a schedule ends; ``'error'``; ``runAs``
        (str), the principal as whom the job runs: None, the one who acts now;
        SYSTEM; or another one, as the host writes its principals;
        ``concurrencyKey`` (str, 1 to 200 characters): jobs with the same one
        run one after another, in the order in which they were added; or as
        many at once as the ``keyLimit`` of the task says; ``queue`` (str), the
        name of the queue, None: that of the task, or ``default``; a queue is
        made at its first job; ``keyUntil``: ``'started'``: a job that runs
        already keeps no key from this add: for work that has to be done once
        more after each change; ``retry`` (int or IRetryPolicy, which has to
        pickle) and ``timeout`` (seconds), of this job: None, as its task has
        them: see ITaskOptions; ``onSuccess``, ``onFailure``: what follows the
        job once it is completed, or has failed for good, each a
        ``follow.Call``, the name of a task or a decorated function.  It is
        added in the commit that ends the job, for the submitter of the job,
        and not where that is cancelled.  A retry that completes is followed by
        ``onSuccess``; each final failure by ``onFailure``.
        Returns: the job's id (int); with ``'keep'`` or ``'any'`` that of the
        other one.
        Raises: ValueError('Task does not exist'); InputRejected with the
        reason, or all points at which the input does not fit the task;
        DuplicateJob; NotPermitted for ``runAs`` without the
        permission ``lovely.remotetask.Manage``; UsageError for options that
        exclude each other or are out of bounds, and for more than 1,000 calls
        that follow, or one that follows itself.  What follows is checked as
        the job is, and a note of the error names it.  Nothing is stored then.
        Txn: joins the caller's; abort leaves no job.  The input is stored as
        it is at commit.  Where the caller has changed a mapping by then, it is
        checked against parameters and inputSchema again, and the commit raises
        InputRejected where it does not fit any more.  Concurrent adders do
        not conflict, unless their keys are the same: the second one's retry
        sees the first one's job.  A transaction that kept a job conflicts if
        that one starts or ends before it commits.
        Cost: O(log n).
        Source: 0.5.2; everything behind ``*`` is new.
        """

    def addMany(task, inputs, startLater=False, jobClass=None, *,
                priority=0, delay=None, runAt=None, runAs=None,
                concurrencyKey=None, queue=None, keys=None,
                onDuplicate='keep', keyUntil='ended', retry=None,
                timeout=None, onSuccess=None, onFailure=None):
        """Add a job for each input; they run in the order of the inputs.

        Arguments: ``inputs``, an iterable; ``keys``, an iterable with a unique
        key for each of them, or None; the others as ``add``, for all jobs
        alike: each of them is followed by what follows.  ``addGroup`` adds
        what comes after all of them.
        Returns: the ids, a list of int in the order of the inputs; of a key
        that another job keeps that one's.
        Raises: as ``add``; InputRejected names all inputs that are refused,
        by their ``indexes`` (list of int).  Nothing is stored then.
        Txn: joins the caller's, all or nothing.
        Cost: O(n log n); a tenth of n calls of ``add`` with a commit each.
        """

    def addCronJob(task, input=None, minute=(), hour=(), dayOfMonth=(),
                   month=(), dayOfWeek=(), delay=None, *, cron=None,
                   every=None, at=None, timezone='UTC', missed='once',
                   atMost=None, deadline=None, overlap='skip', priority=0,
                   key=None, onDuplicate='keep', runAs=None, enabled=True,
                   concurrencyKey=None, queue=None, retry=None, timeout=None,
                   onSuccess=None, onFailure=None):
        """Add a job that runs at given times, or once after ``delay``.

        Arguments: tuples of int as ICronJob says, or one of ``cron``,
        ``every``, ``at`` (a datetime, of the clock of ``timezone`` if it is
        naive) and ``delay`` (seconds); the other words of the schedule as
        ICronJob says; ``key``: if another job has it that is not over, nothing
        is added;
        ``onDuplicate``, what becomes of that job: ``'keep'``, it stays as it
        is, and a difference of the schedules is logged as a WARNING, once in
        each process; ``'update'``, it gets the task, input, schedule,
        priority, principal, retry and timeout of this call, as by
        ``editCronJob``, and also a delay amid a run, which that run fulfils;
        ``'error'``; ``runAs``, ``retry``, ``timeout`` as ``add``;
        ``enabled`` (bool), False: it does not run until
        ``resumeCronJob``.  An update leaves it as it is: an operator may have
        paused the schedule; ``concurrencyKey``,
        ``queue`` as ``add``; ``onSuccess``, ``onFailure`` as ``add``: each run
        is followed by them.
        Returns: the job's id (int), or that of the other one.
        Raises: ValueError('Task does not exist'); InvalidSchedule for times
        that never occur, more than one rule or none; ConfigurationError for
        ``cron`` without the extra [cron]; InputRejected; DuplicateJob, also
        where a job that is no cron job would have to be updated.
        Txn, Cost: as ``add``.  An update that changes nothing writes nothing.
        Source: 0.5.2.
        """

    def startJob(jobid):
        """Queue a job that was added with ``startLater=True``.

        Returns: True if it was waiting for that, else False.
        Raises: JobNotFound (a KeyError).
        Txn: the caller commits.  Source: 0.5.2.
        """

    def startNow(jobid):
        """Queue a job now that waits for its time, for another attempt, for
        a worker that has its task, or for ``startJob``.

        Returns: True; False if it is ready to run already, or runs.
        Raises: JobNotFound (a KeyError); InvalidTransition for a job that is
        over; UsageError for a schedule, see ``runCronJob``.
        Txn: the caller commits.
        """

    def runCronJob(jobid):
        """Let a schedule run once now, as it would at one of its times.

        The run has an idempotency key, a first attempt and an entry in
        ``runs`` of its own.  The times of the schedule stay, also those of one
        that is paused; a run that is due already is this one.
        Returns: True; False if a run waits or is under way: as at one of its
        times, none is added to it.
        Raises: JobNotFound (a KeyError); UsageError for a job without a
        schedule; InvalidTransition for one that is over.
        Txn: the caller commits.  At the same moment as another call, or as
        one of its times, one of both conflicts, and its repetition finds the
        run.
        """

    def pauseCronJob(jobid):
        """Let a schedule begin no further run until ``resumeCronJob``.

        It stays listed, last of the scheduled ones, without a next time.  A
        run that waits or is under way goes on, and is not undone.
        Raises: as ``runCronJob``.
        Txn: the caller commits.
        """

    def resumeCronJob(jobid):
        """Undo ``pauseCronJob``: the schedule runs at its next time.

        Raises: as ``runCronJob``; InvalidSchedule where no time comes.
        Txn: the caller commits.
        """

    def editCronJob(jobid, **changes):
        """Change a cron job; what is not named stays as it is.

        Arguments: ``changes``, of ``task``, ``input``, ``priority``,
        ``runAs``, ``retry``, ``timeout``, ``queue``, ``concurrencyKey`` and
        the words of the schedule, as ``addCronJob`` takes them.  Each rule
        takes the place of the one that was there; ``queue=None`` is that of
        the task.  It goes on to run as the
        same principal, unless ``runAs`` is given, and stays paused if it was.
        A run that is under way goes on as it began, with its further attempts;
        until the next one begins, the job's attributes are those of that run,
        and its ``scheduledAt`` is the new time.
        Raises: JobNotFound (a KeyError); UsageError for a job that is no cron
        job, or a change that there is not; InvalidTransition for one that is
        over, and for a change from or to a delay while it runs; what
        ``addCronJob`` raises.  Nothing is changed then.
        Txn: the caller commits.  A job that runs is not written, so that its
        run is not undone.  Two edits at once conflict, and so do an edit and
        the begin of a run: one is repeated, and sees the other.
        """

    def reschedule(jobid):
        """Compute a cron job's next run anew, after ``update``.

        Raises: JobNotFound; InvalidSchedule for a job that has no schedule,
        or none that comes; nothing is stored then.
        Txn: the caller commits.  Source: 0.5.2.
        """

    def clean(status=(CANCELLED, ERROR, COMPLETED)):
        """Remove jobs that are over.

        Arguments: ``status``, an iterable of the final statuses to remove.
        Raises: ValueError for any other status; nothing is removed then.
        Txn: the caller commits.  Of many jobs that is a large transaction,
        which conflicts with much: ``lovely.remotetask.bulk`` makes small
        ones.
        Cost: O(jobs removed).
        Source: 0.5.2.
        """

    def getRetention():
        """How long jobs that are over are kept, if no task says otherwise.

        Returns: status (completed, error, cancelled) -> {'days': number or
        None, 'count': int or None}: a job is removed once that many days have
        passed since its end, or once that many of its status have ended later
        and are still there; None: that is no reason.  A service that nobody
        has told otherwise keeps completed jobs for 7 days, the newest 100,000
        of them, others for 90 days, 10,000 of each status.
        """

    def setRetention(status, **changes):
        """Say how long jobs that are over are kept.

        Workers remove the others by themselves, some at a time: within about
        a minute (PRUNE_SECONDS).  A task has its own age by its option
        ``keep``.
        Arguments: ``status``, one that is final; ``days``, a number greater
        than 0 or None; ``count``, a whole number from 1 on or None; what is
        not given stays.
        Raises: UsageError; nothing is changed then.
        Txn: the caller commits.
        """

    def cancel(jobid):
        """Cancel a job: queued, scheduled or running; else do nothing.

        A job that is not over and whose record cannot be read is deleted.
        Returns: None, also for ids that are unknown or no ids at all.
        Raises: NewerRecord.
        Txn: once the caller commits, a run in progress loses its effects.
        Cost: O(log n); O(jobs) for a record that is lost.  Source: 0.5.2.
        """

    def cancelMany(jobids):
        """Cancel jobs, as ``cancel`` does each.

        Returns: how many were cancelled (int).
        Txn: the caller commits.  For any number of jobs, in transactions of
        their own, see ``lovely.remotetask.bulk``.
        Cost: O(log n) each.
        """

    def getStatus(jobid):
        """Where the job stands (str, one of STATUSES).

        UNKNOWN for a job whose record cannot be read, as its class is gone.
        Raises: JobNotFound (a KeyError); NewerRecord.  Source: 0.5.2.
        """

    def getResult(jobid):
        """What the task returned; None until then, and after a failure.

        Raises: JobNotFound (a KeyError).  Source: 0.5.2.
        """

    def getError(jobid):
        """The message of the latest failure (str), ``'None'`` without one.

        Raises: JobNotFound (a KeyError).  Source: 0.5.2.
        """

    def getProgress(jobid):
        """How far a running job has come, as its task has told.

        Returns: a tuple with ``done`` (number), ``total`` (number or None),
        ``message`` (str) and ``at`` (seconds since 1970); None where it does
        not run, or its task tells nothing: see ``progress`` of currentJob().
        Raises: JobNotFound (a KeyError); NewerRecord.
        """

    def waitFor(jobid, timeout):
        """Wait until a job is over, in whichever process it runs.

        Arguments: ``timeout``, how long at most (seconds).
        Returns: the job, which is completed, in error or cancelled.
        Raises: WaitTimeout (a TimeoutError) where it is not over by then;
        JobNotFound; ServiceNotFound where the service is deleted, or moved,
        meanwhile; UsageError while a task runs in this thread, for a
        schedule, and for a transaction that has something to commit.
        Txn: looks in short ones of its own.  So that the job can be seen as
        it is now, the caller's, in which nothing was done, is begun anew:
        objects that were read before may have changed.  Not so where the job
        is over already.
        Cost: idle; a commit wakes it on ZEO and FileStorage, elsewhere it
        looks once a second.
        """

    def listJobs(status=None, task=None, start=None, limit=50):
        """One page of jobs: newest first within a status, scheduled ones by
        their next run; what runs or waits before what is over.

        Arguments: ``status`` (str), SCHEDULED too, or None for all; ``task``
        (str): only
        jobs of this task, among the next 750 looked at; ``start``: the
        cursor of the page before; ``limit`` (int, 1 to 1,000).
        Returns: ``(jobs, cursor)``: a list of IJob and the ``start`` of the
        next page (str), None at the end.  For a job whose record cannot be
        read, an object with its id, the status UNKNOWN and the reason as its
        error; at every status whose jobs may stand where it does.
        A schedule whose latest run has failed is listed at ERROR, too.
        Raises: ValueError for an unknown status or a limit out of bounds;
        InvalidCursor (a ValueError) for a cursor of no page of this listing.
        Cost: O(limit + log n).
        """

    def addChain(calls, *, policy='stop'):
        """Add jobs of which each begins when the one before is completed.

        Arguments: ``calls``, an iterable of what ``add`` takes for
        ``onSuccess``; RESULT in the input of one stands for the result of the
        one before; ``policy``, what becomes of the others where one fails for
        good, unless its Call says so itself: ``'stop'``, they wait until
        ``retryJob`` lets it complete; ``'continue'``, they go on, with None
        for its result.  What is cancelled stops the chain, until it is
        retried.
        Returns: the id of the first job (int).  The others are added one by
        one; each names the one before it in ``follows``.
        Raises: as ``add``.
        Txn: joins the caller's.
        Cost: O(calls); they are stored once.
        """

    def addGroup(calls, then=None, *, policy='stop', runAs=None):
        """Add jobs that run side by side, and one that comes after all.

        Arguments: ``calls``, an iterable of at most 10,000, each a
        ``follow.Call``, the name of a task or a decorated function; ``then``,
        as those, what follows once all jobs are over, or None; RESULT in its
        input stands for a dict: ``group``, its id; ``of``, how many jobs it
        has; ``jobs``, their ids; ``completed``, ``error``, ``cancelled`` and
        ``gone``, how many have ended so (``gone``: deleted by ``del``);
        ``policy``: ``'stop'``, all have to be completed; what has failed or
        was cancelled may be retried, and until then what follows waits.
        ``'continue'``: all have to be over; one that is retried after that
        does not count once more.  ``runAs`` as ``add``.
        A group without jobs is over at once.
        Returns: the id of the group (int), for ``getGroup``, ``cancelGroup``.
        Raises: as ``add``; UsageError for more than 10,000 jobs.  Nothing is
        stored then.
        Txn: joins the caller's.  The end of a job of a group writes nothing
        that the others write; what follows is added in a short transaction
        behind the last end, exactly once.
        Cost: as ``addMany``, and one look at each job at the end.
        """

    def getGroup(group):
        """A group, in plain data.

        Returns: a dict: ``id``; ``state``: ``'open'``, ``'stuck'``
        (``note`` says why), ``'done'``, ``'cancelled'`` or ``'broken'``: a
        job was deleted that had not completed, and what was to follow never
        comes; ``policy``; ``of``, ``jobs``, as for RESULT; ``completed``,
        ``error``, ``cancelled``, ``gone``, ``open``, how many of the first
        ``looked`` jobs have ended so, or have not; ``task``, of what follows,
        and ``then``, the id of its job once there is one; ``createdAt``,
        ``endedAt`` (ISO texts); ``submitter``.
        Raises: GroupNotFound.
        Cost: looks at 1,000 jobs at most; none where the group is over.
        """

    def listGroups(start=None, limit=50):
        """A page of the groups that are not over, the newest first.

        Arguments: as ``listJobs``.
        Returns: the groups, each as ``getGroup`` gives it, without ``jobs``,
        and counted among its first 20 jobs; and the ``start`` of the next
        page, None at the end.
        Raises: InvalidCursor; UsageError.
        Cost: O(limit).
        """

    def cancelGroup(group):
        """Cancel the jobs of a group that are not over, and what follows.

        What follows single jobs of it does not come either: see ``add``.
        Returns: how many jobs are cancelled (int).
        Raises: GroupNotFound.
        Txn: as ``cancel``; writes each job.
        """

    def retryJob(jobid, *, anew=False):
        """Queue a job that failed or was cancelled once more.

        One that waits for another attempt is ready at once.  Of a schedule,
        whose latest run has failed, that run is queued.
        Arguments: ``anew`` (bool): True: the job forgets its checkpoint and
        the results of its steps, and begins at the beginning; False: it goes
        on from them: see ``checkpoint`` of currentJob().
        Raises: JobNotFound; InvalidTransition, naming both states;
        DuplicateJob where another job, not over, has got its key; UsageError.
        Txn: the caller commits.
        """

    def pause(reason=None, *, queue=None, resumeAt=None):
        """Let the workers start no further job.

        ``stats()`` tells who has paused them, when, why and until when.
        Arguments: ``reason`` (str, 1 to 200 characters), or None; ``queue``
        (str), the name of the one that rests, None: all; ``resumeAt`` (aware
        datetime), when jobs are started again, None: by ``resume`` alone.
        Where they rest already, a reason or a moment takes the place of what
        was noted.
        Raises: UsageError for any other reason, for a queue that there is not,
        and for a moment that is not to come; nothing is stored then.
        Txn: the caller commits.
        """

    def resume(*, keepJobs=False, queue=None):
        """Undo ``pause``; let a copy or an import run jobs.

        What was paused for one queue stays paused when all are resumed.

        Arguments: ``keepJobs`` (bool), for a service that ``importFile`` of a
        ZODB connection has brought: True keeps the jobs that were not over
        when it was exported; False cancels them, for the original runs them.
        Where the copy was settled when it was made, it changes nothing;
        ``queue`` (str), the name of the one that was paused, None: all.
        Raises: UsageError for a queue that there is not.
        Txn: the caller commits.
        Cost: flat; of such a service once O(jobs that are not over).
        """

    def listQueues():
        """The queues of this service.

        Returns: a list of dicts, ``default`` first: ``name`` (str); ``ready``
        (int), how many jobs wait for a thread; ``paused`` and the like as
        ``stats()`` has them, of this queue alone.
        Cost: O(lanes of all queues).
        """

    def setLimit(task=None, *, key=None, limit=None, rate=None):
        """Limit how many jobs of a task, or with a concurrencyKey, run.

        It takes the place of what the code says, at once and in all workers.
        Arguments: ``task``, as ``add`` takes it, or ``key`` (str, 1 to 200
        characters); ``limit`` (int, from 1 on), how many run at once, and
        ``rate`` (number, seconds), how many begin in each span of that length;
        None: any number.
        Raises: UsageError for what is no such number, and for both or none of
        task and key; nothing is stored then.
        Txn: the caller commits.
        """

    def unsetLimit(task=None, *, key=None):
        """Let the code decide again: undo ``setLimit``.

        Arguments, Raises, Txn: as ``setLimit``.
        """

    def listLimits():
        """The limits that hold, as this process knows the tasks.

        Returns: a list of dicts: ``kind``, ``task`` or ``key``; ``name``;
        ``limit`` (int) and ``rate`` ([number, seconds]), or None (both, and
        not ``set``: jobs wait for a task that this process lacks); ``set``
        (bool), by ``setLimit``, and not by the code; ``running`` (int);
        ``waiting`` (int, at most 1,000), how many jobs it keeps back.  Of the
        keys without a limit of their own those are listed for which jobs wait,
        at most 100.
        Cost: O(limits, and the jobs that run under them).
        """

    def stats():
        """Figures for monitoring.

        Returns: a dict: the number of jobs (int) by where they are
        (``queued``, ``processing``, ``scheduled``, ``start later``,
        ``completed``, ``error``, ``cancelled``; a schedule whose latest run
        has failed counts at ``error`` as well); ``oldest``, seconds the
        oldest job has been waiting that could run, or that was set aside
        because no worker can run it, or None;
        ``completedPerMinute`` and ``errorPerMinute`` (float), about the last
        minute, without what has been cleaned; ``completedTotal`` and
        ``errorTotal`` (int), how many runs have ever ended so, also of jobs
        that have been cleaned: they never fall (direct runs of schedules do
        not count); ``workers`` (int);
        ``paused`` (bool); ``pausedBy``, the principal as the host writes it
        (str), ``pausedAt``, ``resumeAt`` (ISO 8601) and ``pauseReason`` (str),
        each None where it is not known; ``reruns``, name of a task -> how
        often its jobs ran again because of a conflict, in the workers that
        are there now.
        Cost: flat.
        """

    def history(hours=1, task=None):
        """How many runs have ended lately, and how long they took.

        Runs in workers; of direct processing, the latest as far as the log has
        them.  What a worker that was killed had not stored yet is missing: the
        runs of some minutes.  Where more than 200 runs have ended that are
        not stored yet, the figures of these are estimated.
        Arguments: ``hours`` (int, 1 to 720), how far back; ``task`` (str): of
        this task alone.  Of each hour the first 31 tasks have figures of their
        own, the rest has those of ``'other'``.
        Returns: a list of dicts, the earliest first, for each minute in which
        anything has ended; for each hour, where ``hours`` is over 24 or a
        ``task`` is given: ``start`` (ISO 8601), ``seconds`` (60 or 3600),
        ``done``, ``failed`` (int), ``runMs`` and ``waitMs``, the sums of run
        times and of times from ready to start (ms), ``longestMs``, ``p50Ms``
        and ``p95Ms``, estimated from eight bins, None where nothing has ended.
        Raises: UsageError.
        Cost: O(slots * hours), and some 250 jobs at most.
        """

    def historyOfTasks(hours=24):
        """The same by task, over all of the hours together.

        Returns: a dict, name of the task -> a dict as those of ``history``,
        without ``start`` and ``seconds``.
        """

    def listWorkers():
        """Who runs jobs of this service.

        Returns: a list of dicts: ``id``, ``role`` (``'loop'``, ``'processor'``
        or ``'direct'``), ``host`` (str); ``pid`` (int or None); ``threads``
        (int), how many it has; ``since`` (ISO 8601, or None); ``lastSign``,
        its latest sign of life (ISO 8601; by its own clock), None where it
        gives none, as no other process can open the storage; ``jobs``, what
        runs: dicts of ``id``, ``task``, ``attempt``,
        ``slot`` (int), the thread's, ``since`` (ISO 8601) and ``seconds``;
        ``stuck``, what its threads run although it was cancelled or is over
        its limit: dicts of ``id`` and ``why``;
        ``evidence`` (list of str), ``claims`` (list of job ids), ``slots``
        (list of int), ``lacks``, tasks it does not have.
        """

    def hasJobsWaiting(now=None):
        """Is there a job that could run now?

        Arguments: ``now``, seconds since 1970, default the clock.
        Returns: bool.
        Txn: writes nothing, unless an explicit ``now`` lies before a
        scheduled job was added (see ``process``).
        Source: 0.5.2.
        """

    def claimNextJob(now=None):
        """Take the next job, of any queue, to run it by ``processNext``.

        Returns: its id (int), or None.
        Txn: the caller commits.  Source: 0.5.2.
        """

    def processNext(now=None, jobid=None, *, force=False):
        """Run one job here and now, in the caller's transaction and site.

        Arguments: ``now`` as in ``process``; ``jobid``: this job, if it is
        ready to run, or was claimed by ``claimNextJob`` of this process;
        ``force``: this job also if it waits for its time, for another attempt
        or for ``startJob``, and while the queue is paused; not if it is over,
        nor if a worker runs it.
        Returns: True if a job was run, or set aside after ten conflicts in a
        row, else False; False while the queue is paused.
        Raises: TransientError from the task, and the job is as before;
        RollbackImpossible: a failure cannot be stored in this transaction,
        abort it; the next call stores it; with the service's ``raiseErrors``
        the task's own exception, after it was stored.
        Txn: the caller commits.  Source: 0.5.2.
        """

    def process(now=None):
        """Run all jobs that are due, in the caller's transaction.

        Arguments: ``now``, seconds since 1970, default the clock.  Only an
        explicit ``now`` before the moment a scheduled job was added moves
        that job's start to ``now``, at its first look, so that made-up
        clocks work.
        Raises, Txn: as ``processNext``.  Source: 0.5.2.
        """

    def startProcessing():
        """Start a thread that runs jobs; call it after each start-up.

        Does nothing where one runs already.
        Raises: ConfigurationError for a service that has no place (no
        ``__parent__`` or no ``__name__``) or is in no database: a thread
        could not find it.
        Txn: neither begins nor ends one.  Source: 0.5.2, which did nothing
        for a service without a place.
        """

    def stopProcessing(wait=1.0):
        """Tell the thread to stop and wait for it.

        Arguments: ``wait``, seconds at most, None: until it has ended.
        ``isProcessing()`` is False when this returns; what still runs then
        is logged.
        Source: 0.5.2; ``wait`` is new.
        """

    def isProcessing():
        """Does a thread of this process run jobs of this service (bool)?

        Source: 0.5.2.
        """


class IStartRemoteTasksEvent(Interface):
    """Names the services that a start-up is to start."""

    serviceNames = List(
        title='Services to start',
        value_type=TextLine(),
        default=[],
        required=False)


class IProcessor(Interface):
    """Runs the jobs of one service; meant to be a thread's target.

    Factories are called as ``factory(db, servicePath, **arguments)`` with the
    service's ``processorArguments``.
    """

    running = Bool(
        title='Running',
        description="The running flag of the thread that asks.",
        readonly=True)

    def __call__():
        """Run jobs until the thread's ``running`` is False.

        Txn: each job has its own connection and transaction.
        Source: 0.5.2.
        """


# --- inside ------------------------------------------------------------------

class IHost(Interface):
    """The decisions of a framework: the one seam to it.

    The package of a framework registers its host as a utility, or finds it by
    other means (host.finders).  A service asks for the host with each call; a
    worker keeps the host that it was started with.
    """

    def roots(connection):
        """The objects of a database that may be the application's root.

        Returns: an iterator, the likeliest first.
        """

    def find_service(connection, path):
        """The service at a path of names, from the application's root.

        Arguments: ``connection`` (ZODB connection); ``path`` (sequence of
        str).
        Returns: ITaskService, or None if there is none.
        """

    def tasks(service, interface):
        """The task utilities of a service: a new dict, name -> task."""

    def task(service, interface, name):
        """The task utility of this name, or None.

        Cost: flat, because each ``add`` asks.
        """

    def default_service():
        """The service that ``delay`` of a task adds to, outside of a job.

        The only one, or the one without a name, of those that are registered
        for the calling code (ITaskService): in the current site; in Pyramid,
        of those that the application has declared, in the current request.
        Raises: ServiceNotFound where there is none, or several.
        """

    def running(service, job):
        """A context manager: the site, request and principal of a run.

        Arguments: ``job``, which is run as its submitter; None: as the
        system.  Afterwards all of these are as before, also where the task has
        changed them.
        Gives: the service as the task is to see it.
        Raises: SubmitterGone.
        """

    def submitter():
        """The principal who is acting now.

        Returns: a text (str) by which ``running`` finds that principal again;
        None: the code runs on the application's own account.
        Cost: flat, because each ``add`` asks.
        """

    def permits(service, permission):
        """Has the acting principal this permission on the service (bool)?

        Arguments: ``permission``, its id (str).  Code that runs on the
        application's own account has all of them.
        """

    def pack(value):
        """An input in the form in which it is stored with a job.

        Raises: InputRejected for an object that ends with its request.
        """

    def unpack(service, value):
        """A stored input in the form in which a task gets it.

        Raises: TaskError where an object that it refers to is gone.
        """

    def cannot_heal(error):
        """Would another attempt meet this error of a task again (bool)?

        Asked where the task has no retry policy of its own.
        """

    def path_of(service):
        """The names that lead to a service, root first: a list of str."""

    def product_configuration(name):
        """A section of the host's product configuration: dict, or None."""


class IClock(Interface):
    """Where time comes from; tests pass their own."""

    def now():
        """Seconds since 1970 (float), the wall clock."""

    def monotonic():
        """Seconds (float) that never go back, for durations."""


class ILiveness(Interface):
    """Detects whether another process of this database still lives.

    A wrong answer costs repeated work, never correctness.  Txn: none.
    """

    lost = Attribute(
        'True (bool): the evidence that announce() last returned is void, '
        'although close() was not called.')

    def announce():
        """Give evidence by which others see that this process lives.

        From then on the process holds the thing that the evidence names, as a
        lock.  It is called again with every beat, and returns the same
        evidence while that is valid, and new evidence after it was lost.
        Returns: plain data that pickles: a tuple, first its kind (str); ()
        where this detector does not work here, for a reason that is logged
        once.
        """

    def alive(evidence, beat):
        """Does the process that announced this evidence still live?

        Arguments: ``evidence``, from announce() of any detector and release;
        ``beat``, the Beat of the worker's record as this observer now sees
        it, or its count (int), or None.
        Returns: True; False; None: this detector cannot know.
        Raises: nothing for evidence that it cannot understand.
        """

    def close():
        """Make the evidence void; idempotent."""
