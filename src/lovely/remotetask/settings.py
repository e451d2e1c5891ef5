"""Numbers with a reason, and the loggers."""

import logging

#: A processor never looks more often than this (seconds), whatever its
#: waitTime says: waitTime=0.0 made 0.5.2 spin at 100 % CPU.  It costs no
#: latency, because add() wakes the processors.
WAIT_FLOOR = 0.05

#: Where other processes are heard (see wakeup), an idle processor looks by
#: itself so seldom (seconds), or every waitTime if that is longer: a ring may
#: get lost.
SAFETY_SECONDS = 30.0

#: A processor never looks more often than this (seconds) for jobs whose time
#: is just coming.
DUE_FLOOR = 0.01

#: A commit that wrote no more objects than these is taken for that of an add,
#: and a worker on ZEO that it has woken asks for all of them at once.
PREFETCH_OBJECTS = 8

#: How long (seconds) a notification to ourselves may take before the channel
#: counts as broken; and how long to wait before it is opened again, first and
#: at most.
CHANNEL_PATIENCE = 5.0
RECONNECT_FIRST = 1.0
RECONNECT_LAST = 60.0

#: How many scheduled jobs one claim makes ready: bounds its transaction.
DUE_BATCH = 60

#: An input or output whose pickle is longer (bytes) gets a record of its own,
#: so that a change of status does not write it again.
INLINE_BYTES = 2000

#: The longest pickle (bytes) an input or output may have.  Longer ones belong
#: into a Blob: they would fill every connection's cache that lists the job.
PAYLOAD_BYTES = 64 * 2**20

#: How much of a traceback (characters) is stored with an error.
TRACEBACK_CHARS = 16 * 1024

#: How often a short machinery transaction is tried before it gives up, and
#: how long it pauses in between (seconds, the upper bound of the jitter).
CLAIM_TRIES = 20
PAUSE_FIRST = 0.0005
PAUSE_LAST = 0.05

#: While the worker stops, a run that conflicts is tried so often and then
#: given back.
CONFLICTS_WHEN_STOPPING = 3

#: After this many conflicts in a row a run backs off (seconds, doubling).
CONFLICTS_BEFORE_BACKOFF = 10

BACKOFF_FIRST = 0.05
BACKOFF_LAST = 5.0

#: How often a failure is tried to be stored, with a growing back-off: some
#: minutes of a full disk or a lost connection.
STORE_TRIES = 100

#: A job may ask for a rest (RetryLater) no shorter than this (seconds): with
#: 0 a direct process() would never end.
SHORTEST_REST = 1.0

#: How many entries one page of a listing looks at when it filters by task.
PAGE_LOOKS = 1000

#: How many jobs a bulk operation changes in one transaction: more would hold
#: up whoever commits meanwhile, and lose more to a conflict.
BULK_BATCH = 500

#: How many emptied buckets of a log are taken out at once: each is loaded.
PRUNE_BATCH = 64

#: A thread that has ended a job within this time (seconds) is at work: a clean
#: leaves to it what both would write.
BUSY_SECONDS = 5.0

#: How many of its latest entries each log is asked for when rates are told.
RATE_LOOKS = 32

#: The longest unique key (characters): each add with a key writes a bucket
#: of dozens of them.
KEY_CHARS = 200

#: How many bad inputs an error message tells the reasons of, and how much
#: (characters) of each.
REASONS = 20
REASON_CHARS = 200

#: A job whose task is missing waits (seconds): first, at most, and until it
#: ends in an error.  A worker may be started before the code is deployed.
MISSING_FIRST = 10.0
MISSING_LAST = 300.0
MISSING_GIVE_UP = 24 * 3600.0

#: How long a processor looks for a service that it has never seen (seconds):
#: startProcessing() may be called in the transaction that adds the service.
SERVICE_PATIENCE = 30.0

#: How long a processor waits after the database failed it (seconds, doubling
#: up to BACKOFF_LAST).
BROKEN_FIRST = 0.1

#: A task that took longer than this (seconds) finishes in a commit of its own:
#: its snapshot is old, and a claim from it would conflict.
CHAIN_SECONDS = 0.05

#: The runs of groupable tasks share a commit until it has been so long
#: (seconds), or so many: beyond, a commit is a small part of the cost.
GROUP_SECONDS = 0.05
GROUP_JOBS = 32

#: What waits in a group behind a run that takes longer than this (seconds) is
#: given back, for others to run.
GROUP_PATIENCE = 1.0

#: So many jobs are run on one open connection before it is opened anew.
SESSION_JOBS = 100

#: For so long (seconds) a thread that runs one job after another goes on with
#: what it has seen: a job of a higher priority may have to wait that much.
AHEAD_SECONDS = 0.005

#: So many jobs a thread takes before it removes them from their lanes; they
#: are spread over 64 of them, and the more meet in one the better.
SPENT_JOBS = 512

#: While one job follows another in shared commits, what is due is looked for
#: this often (seconds).
DUE_LOOK = 0.05

#: After a conflict of a shared finish and claim a thread finishes so many jobs
#: alone: what conflicts once does so again.
CHAIN_PENALTY = 100

#: How long the head of a foreign lane must lie still before it is taken
#: (seconds): at least, and as a multiple of the own commits' average time.
GRACE_FIRST = 0.05
GRACE_COMMITS = 20

#: So many times longer for a thread that has jobs in its own lanes.
PATIENCE_WITH_WORK = 20

#: Sign of life, how long without one a worker counts as dead, and how often
#: others are looked at (seconds).
BEAT_SECONDS = 10.0
DEAD_SECONDS = 40.0
LOOK_SECONDS = 1.0

#: Where no other process can open the storage there is nobody to look at but
#: our own threads.
LOOK_ALONE_SECONDS = 10.0

#: A job that was claimed by hand, and not run, comes back after this
#: (seconds).
MANUAL_SECONDS = 600.0

#: After so many interruptions a job is taken for the cause of them.
POISON = 5

#: What running jobs get at the end of a process to come to theirs (seconds).
END_GRACE = 5.0

#: The priorities that fit into a ready key.
PRIORITIES = range(-4, 4)

log = logging.getLogger('lovely.remotetask')

# In normal running nothing but the records of 0.5.2 may reach the logger
# above or one below it (applications print everything they find there), so
# diagnostics have a logger that is silent until somebody sets its level.
trace = logging.getLogger('lovely.remotetask.trace')
if trace.level == logging.NOTSET:
    trace.setLevel(logging.CRITICAL + 1)
