"""Numbers that an operator may change: see docs/reference/settings.rst."""

#: How often (seconds) an idle processor looks at its queue without a
#: notification, where notifications work (see peers/wakeup): one may get
#: lost.  A longer waitTime counts instead.
SAFETY_SECONDS = 30.0

#: The longest pickle (bytes) an input or output may have.  Longer ones belong
#: into a Blob: they would fill every connection's cache that lists the job.
PAYLOAD_BYTES = 64 * 2**20

#: How much of a traceback (characters) is stored with an error.
TRACEBACK_CHARS = 16 * 1024

#: How many jobs a bulk operation changes in one transaction: more would hold
#: up whoever commits meanwhile, and lose more to a conflict.
BULK_BATCH = 500

#: A job whose task is missing waits (seconds): first, at most, and until it
#: ends in an error.  A worker may be started before the code is deployed.
MISSING_FIRST = 10.0
MISSING_LAST = 300.0
MISSING_GIVE_UP = 24 * 3600.0

#: The runs of groupable tasks share a commit until it has been so long
#: (seconds), or so many: beyond, a commit is a small part of the cost.
GROUP_SECONDS = 0.05
GROUP_JOBS = 128

#: Sign of life, how long without one a worker counts as dead, and how often
#: others are looked at (seconds).
BEAT_SECONDS = 10.0
DEAD_SECONDS = 40.0
LOOK_SECONDS = 1.0

#: A job that was claimed by hand, and not run, comes back after this
#: (seconds).
MANUAL_SECONDS = 600.0

#: After so many interruptions a job is taken for the cause of them.
POISON = 5

#: What running jobs get at the end of a process to come to theirs (seconds).
END_GRACE = 5.0
