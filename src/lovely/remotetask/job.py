"""Jobs: what is stored about a piece of work.

The engine writes through ``Job.put``, which checks nothing: validation costs
36 us per job.  Applications assign attributes, and these are validated as in
0.5.2.

These classes and their bases carry no class-level type annotations:
zope.annotation keeps its data in an instance attribute of that very name.
"""

from __future__ import annotations

import pickle
from datetime import datetime
from typing import Any

from persistent import Persistent
from ZODB.POSException import POSKeyError
from zope.interface import implementer

from lovely.remotetask import payload
from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.edge.clock import key_time
from lovely.remotetask.errors.bounds import as_local
from lovely.remotetask.errors.bounds import as_utc
from lovely.remotetask.fields.annotations import OwnAnnotations
from lovely.remotetask.fields.edges import Following
from lovely.remotetask.fields.failure import NO_ATTEMPT
from lovely.remotetask.fields.failure import Failure
from lovely.remotetask.fields.failure import keep
from lovely.remotetask.fields.moments import LocalMoment
from lovely.remotetask.fields.moments import Moment
from lovely.remotetask.fields.packing import FIRST
from lovely.remotetask.fields.packing import FORM
from lovely.remotetask.fields.packing import LAST
from lovely.remotetask.fields.packing import WEIGHED
from lovely.remotetask.fields.packing import unpack
from lovely.remotetask.fields.runs import Run
from lovely.remotetask.interfaces import ICronJob
from lovely.remotetask.interfaces import IJob
from lovely.remotetask.retry import of_stored
from lovely.remotetask.schedule.fields import FIELDS
from lovely.remotetask.schedule.plan import TIMES
from lovely.remotetask.schedule.plan import Planned
from lovely.remotetask.schedule.plan import PlannedMoment
from lovely.remotetask.schedule.plan import check_plan
from lovely.remotetask.schedule.rule import Policy
from lovely.remotetask.schedule.rule import Rule

# Goes past Job.__setattr__, which costs more than the rest of a put().
_set_changed = Persistent._p_changed.__set__
_set_attribute = Persistent.__setattr__

# Validated when assigned from outside.
_JOB_FIELDS = {name: IJob[name] for name in (
    'id', 'task', 'status', 'attempts', 'priority')}


@implementer(IJob)
class Job(Following, OwnAnnotations, Persistent):
    """See IJob"""

    _fields = _JOB_FIELDS

    # The types stand in comments: see above.
    id = IJob['id'].default             # type: int
    task = IJob['task'].default         # type: str
    status = IJob['status'].default     # type: str
    attempts = IJob['attempts'].default     # type: int
    priority = IJob['priority'].default     # type: int

    createdAt = Moment(IJob['createdAt'], 'createdAt')
    startedAt = Moment(IJob['startedAt'], 'startedAt')
    completedAt = Moment(IJob['completedAt'], 'completedAt')
    created = LocalMoment(IJob['created'], 'createdAt')
    started = LocalMoment(IJob['started'], 'startedAt')
    completed = LocalMoment(IJob['completed'], 'completedAt')

    # What the engine keeps.  Class attributes are the defaults, and a default
    # takes no room in the record.
    # (name of lanes, key): where the queue holds the job
    position = None     # type: tuple[str, Any] | None
    # (worker id, slot, number): whose run this is
    claim = None        # type: tuple[str, int, int] | None
    failures = 0        # attempts charged to the task since its last success
    # seconds that a run may take, where the job has a limit of its own
    timeout = None      # type: float | None
    # an IRetryPolicy of the application that is its own: see retry
    ownPolicy = None    # type: Any
    conflicts = 0       # how often it has conflicted since, in tens
    # seconds to wait once
    delay = None        # type: float | None
    # from when the delay, schedule or back-off counts, until a look
    anchor = None       # type: float | None
    # since when its task has been missing
    missing_since = None    # type: float | None
    # its key among the ready ones, kept while it runs
    ready_key = None    # type: int | None
    interruptions = 0   # how often its worker died while it ran
    stops = 0           # how often in a row its worker was stopped in order
    # its unique key
    key = None          # type: str | None
    # jobs with the same one run one after another: see gates
    concurrencyKey = None       # type: str | None
    # the name of its queue; None: the default one
    queue = None        # type: str | None
    # the id of the schedule that has added it
    schedule = None     # type: int | None
    # the principal as whom it runs: a text that the host understands
    submitter = None    # type: str | None
    # the keys of its input that may be shown; None: all of it
    shows = None        # type: tuple[str, ...] | None
    # why it rests, where it has not failed
    rests = None        # type: str | None
    # what its runs have reached so far: store/checkpoint.py
    checkpoint = None   # type: Any
    recurring = False
    # of a recurring job that has been ready: the key in ``due`` by which its
    # latest scheduled run became so
    tick = None         # type: int | None
    # how those have ended: LatestRuns
    ends = None         # type: Any
    # of a recurring job that has been placed
    next = None         # type: Any

    def __init__(self, id: int, task: str, input: Any) -> None:
        self.id = id
        self.task = task
        self.input = input
        self.put(createdAt=SYSTEM_CLOCK.now())

    def __setattr__(self, name: str, value: Any) -> None:
        # Not by properties: the engine reads these a dozen times per run.
        # ``type(self)``: self._fields would load a ghost, and ZODB sets
        # _p_serial while it loads one.
        if name[0] == '_' and name != '_p_changed':
            # By ZODB, nearly always, ten times for a job.
            _set_attribute(self, name, value)
            return
        field = type(self)._fields.get(name)
        if field is not None:
            field.bind(self).validate(value)
        # By the application, perhaps after a put() of this transaction: it
        # may have changed the input, too.
        self.__dict__.pop('_v_own', None)
        super().__setattr__(name, value)

    def put(self, **values: Any) -> None:
        """Write attributes without validation: for the engine alone.

        None takes an attribute back to its default, which takes no room in
        the record.
        """
        changed = self._p_changed
        if changed is None:
            self._p_activate()
        state = self.__dict__
        # Tells __getstate__ that the application has not changed the input.
        state['_v_own'] = not changed or state.get('_v_own')
        for name, value in values.items():
            if value is None:
                state.pop(name, None)
            else:
                state[name] = value
        if not changed:
            _set_changed(self, True)

    def __getstate__(self) -> Any:
        # A job marked as changed from outside may have a changed input,
        # which lives in its own record once it is large.
        if not self.__dict__.pop('_v_own', False):
            self.mark_input()
        state = super().__getstate__()
        # One bytes object: ZODB's pickler asks about each single value
        # whether it is persistent, which is most of what a record costs.
        pop = state.pop
        values: list[Any] = [
            FORM, *[pop(name, None) for name in FIRST],
            *[pop(name, None) if (value := state.get(name)) is None
              or payload.weigh(value) is not None
              else None for name in WEIGHED],
            *[pop(name, None) for name in LAST]]
        values += pop('_unknown', ())
        while values[-1] is None:
            values.pop()
        state[''] = pickle.dumps(tuple(values), 3)
        return state

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(unpack(state))

    def mark_input(self) -> None:
        """Let the next commit store the input as it is then."""
        stored = self.__dict__.get('input')
        if type(stored) is not payload.Payload:
            if self._p_oid is not None and not self._p_changed:
                self.put()
        elif stored._p_changed is not None:
            # No code has a reference to what a ghost would hold: it is as it
            # was stored.
            stored._p_changed = True

    @property
    def input(self) -> Any:
        return payload.unwrap(self.__dict__.get('input'))

    @input.setter
    def input(self, value: Any) -> None:
        IJob['input'].bind(self).validate(value)
        self.__dict__['input'] = payload.wrap(
            value, payload.weigh(value) or 0)

    @property
    def output(self) -> Any:
        return payload.unwrap(self.__dict__.get('output'))

    @output.setter
    def output(self, value: Any) -> None:
        IJob['output'].bind(self).validate(value)
        self.__dict__['output'] = payload.wrap(
            value, payload.weigh(value) or 0)

    @property
    def error(self) -> Any:
        stored = self.__dict__.get('error')
        return Failure(*stored) if type(stored) is tuple else stored

    @error.setter
    def error(self, value: Any) -> None:
        IJob['error'].bind(self).validate(value)
        if isinstance(value, BaseException):
            value = Failure.of(value, self.attempts, SYSTEM_CLOCK.now())
        self.__dict__['error'] = (
            tuple(value) if isinstance(value, Failure) else value)

    @property
    def retry(self) -> Any:
        return of_stored(self.__dict__.get('retry'), self.ownPolicy)

    @property
    def errors(self) -> list[Failure]:
        earlier = self.__dict__.get('errors', ())
        latest = self.error
        return [*(Failure(*one) for one in earlier),
                *([latest] if isinstance(latest, Failure)
                  and latest.attempt != NO_ATTEMPT else [])]

    def past_errors(self, latest: Failure | None = None) -> Any:
        """What is kept of the errors so far, once there is a later one.

        Arguments: ``latest``, that; None: the run has ended well.
        """
        return keep(self.__dict__.get('errors', ()),
                    self.__dict__.get('error'), latest)

    def next_run(self, now: float) -> float | None:
        """When this job runs next (seconds since 1970); None: never."""
        return None if self.delay is None else now + self.delay

    @property
    def scheduledAt(self) -> datetime | None:
        seconds = self.due_at()
        return None if seconds is None else as_utc(seconds)

    @property
    def scheduledFor(self) -> datetime | None:
        seconds = self.due_at()
        return None if seconds is None else as_local(seconds)

    def due_at(self) -> float | None:
        """When the queue makes it ready (seconds since 1970), or None."""
        position = self.position
        return (key_time(position[1])
                if position and position[0] in ('due', 'waiting') else None)

    def next_key(self) -> int | None:
        """The key in ``due`` of its next run; None: it has none, or lost it.
        """
        return self.of_next('key', None)

    def of_next(self, name: str, default: Any) -> Any:
        try:
            return default if self.next is None else getattr(self.next, name)
        except POSKeyError:
            return default      # it gets another one

    def coming(self, name: str) -> Any:
        """An attribute as the next run of a schedule has it: see NextRun."""
        edit = self.of_next('edit', {})
        return (payload.unwrap(edit[name]) if name in edit
                else getattr(self, name))

    def kept(self, name: str) -> Any:
        """The same as ``put`` takes it; ``retry`` is kept as plain data."""
        edit = self.of_next('edit', {})
        return edit[name] if name in edit else self.__dict__.get(name)

    def __repr__(self) -> str:
        name = f'{self.__class__.__name__} {self.id!r}'
        # Without a database, as in a stub, it is 0.5.2's: doctests of
        # applications print the jobs of stubs.
        return (f'<{name}>' if self._p_jar is None
                else f'<{name} {self.task!r} {self.status}>')


@implementer(ICronJob)
class CronJob(Job):
    """See ICronJob"""

    _fields = _JOB_FIELDS | {name: ICronJob[name] for name in (
        *FIELDS, 'delay')}

    minute = ICronJob['minute'].default
    hour = ICronJob['hour'].default
    dayOfMonth = ICronJob['dayOfMonth'].default
    month = ICronJob['month'].default
    dayOfWeek = ICronJob['dayOfWeek'].default
    delay = None

    # See Planned.
    plan = None     # type: dict[str, Any] | None
    cron = Planned('cron')
    every = Planned('every')
    at = PlannedMoment('at')
    timezone = Planned('timezone')
    missed = Planned('missed')
    atMost = Planned('atMost')
    deadline = Planned('deadline')
    overlap = Planned('overlap')

    def __init__(self, id: int, task: str, input: Any, minute: Any = (),
                 hour: Any = (), dayOfMonth: Any = (), month: Any = (),
                 dayOfWeek: Any = (), delay: float | None = None) -> None:
        super().__init__(id, task, input)
        self.update(minute, hour, dayOfMonth, month, dayOfWeek, delay)

    def update(self, minute: Any = (), hour: Any = (), dayOfMonth: Any = (),
               month: Any = (), dayOfWeek: Any = (),
               delay: float | None = None, *, cron: Any = None,
               every: Any = None, at: Any = None, timezone: Any = 'UTC',
               missed: Any = 'once', atMost: Any = None, deadline: Any = None,
               overlap: Any = 'skip') -> None:
        fields, delay, plan = check_plan(
            (minute, hour, dayOfMonth, month, dayOfWeek), delay,
            SYSTEM_CLOCK.now(), cron=cron, every=every, at=at,
            timezone=timezone, missed=missed, atMost=atMost,
            deadline=deadline, overlap=overlap)
        (self.minute, self.hour, self.dayOfMonth, self.month,
         self.dayOfWeek) = fields
        self.delay, self.plan = delay, plan
        edit = self.of_next('edit', {})
        if edit and self.next is not None:
            # What comes last counts.
            self.next.edit = {name: edit[name] for name in edit
                              if name not in TIMES}

    @property
    def recurring(self) -> bool:  # type: ignore[override]
        return self.delay is None and self.at is None

    def fields(self) -> Any:
        """The five schedule fields, in the order of ``update``."""
        return tuple(getattr(self, name) for name in FIELDS)

    @property
    def rule(self) -> Rule:
        """When its next runs are, as a value."""
        fields: Any = tuple(self.coming(name) for name in FIELDS)
        return Rule.of(fields, self.delay, self.coming('plan'))

    @property
    def policy(self) -> Policy:
        """What becomes of times that it misses, as a value."""
        return Policy.of(self.coming('plan'))

    def next_run(self, now: float) -> float | None:
        return self.rule.next_time(now)

    @property
    def runs(self) -> tuple[Run, ...]:
        return tuple(self.ends or ())

    @property
    def enabled(self) -> bool:
        return bool(self.of_next('enabled', True))

    def timeOfNextCall(self, now: float | None = None) -> int | None:
        found = self.next_run(SYSTEM_CLOCK.now() if now is None else now)
        return None if found is None else int(found)

    def due_at(self) -> float | None:
        if self.next is not None:
            key = self.next_key() if self.enabled else None
            return None if key is None else key_time(key)
        return super().due_at()
