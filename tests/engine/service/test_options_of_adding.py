"""Each argument of the calls that add jobs has its effect in each of them."""

import inspect
from datetime import UTC
from datetime import datetime

import pytest

from lovely.remotetask import TaskService
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.interfaces import SYSTEM
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job

DAY = 86400
THEN = datetime(2100, 1, 1, tzinfo=UTC)


class Special(Job):
    pass


def runs_after(seconds):
    return lambda job: round((
        job.scheduledAt - job.createdAt).total_seconds()) == seconds


def calls_at(seconds):
    """The first time of a schedule, counted from 1970, a Thursday."""
    return lambda job: job.timeOfNextCall(0) == seconds


def followed(job):
    return [one['on'] for one in job.followUps]


#: What is given, and what is true of the job then, and not without it.
ARGUMENTS = {
    'task': ('other', lambda job: job.task == 'other'),
    'input': ('given', lambda job: job.input == 'given'),
    'inputs': (['given'], lambda job: job.input == 'given'),
    'startLater': (True, lambda job: job.status == 'start later'),
    'jobClass': (Special, lambda job: type(job) is Special),
    'priority': (3, lambda job: job.priority == 3),
    'runAt': (THEN, lambda job: getattr(job, 'scheduledAt', None) == THEN),
    'key': ('mine', lambda job: job.key == 'mine'),
    'runAs': (SYSTEM, lambda job: job.submitter == SYSTEM),
    'onSuccess': ('other', lambda job: 'success' in followed(job)),
    'onFailure': ('other', lambda job: 'failure' in followed(job)),
    'concurrencyKey': ('one', lambda job: job.concurrencyKey == 'one'),
    'keys': (['mine'], lambda job: job.key == 'mine'),
    'queue': ('slow', lambda job: job.queue == 'slow'),
    'retry': (7, lambda job: job.retry == 7),
    'timeout': (2.5, lambda job: job.timeout == 2.5),
    'enabled': (False, lambda job: not getattr(job, 'enabled', True)),
    'minute': ((5,), calls_at(300)),
    'hour': ((3,), calls_at(3 * 3600)),
    'dayOfMonth': ((2,), calls_at(DAY)),
    'month': ((2,), calls_at(31 * DAY)),
    'dayOfWeek': ((0,), calls_at(4 * DAY)),
    'delay': (60, lambda job: getattr(job, 'scheduledAt', None) is not None
              and runs_after(60)(job)),
}

ARGUMENTS |= {
    'cron': ('5 * * * *', calls_at(300)),
    'every': (90, lambda job: getattr(job, 'every', None) == 90
              and job.timeOfNextCall(job.plan['since']) == int(
                  job.plan['since'] + 90)),
    'at': (THEN, lambda job: getattr(job, 'at', None) == THEN
           and job.timeOfNextCall(0) == THEN.timestamp()),
    # Thirty minutes past an hour there.
    'timezone': ('Asia/Kolkata', calls_at(29 * 60)),
    'missed': ('all', lambda job: job.missed == 'all'),
    'atMost': (3, lambda job: job.atMost == 3),
    'deadline': (60, lambda job: job.deadline == 60),
    'overlap': ('allow', lambda job: job.overlap == 'allow'),
}

#: Without these an argument counts for nothing.
WITH = {'atMost': {'missed': 'all'}}

SCHEDULE = {'minute', 'hour', 'dayOfMonth', 'month', 'dayOfWeek', 'delay',
            'cron', 'every', 'at'}

#: What a call cannot do without; a schedule that fits none of the above.
NEEDED = {'add': {'task': 'echo'}, 'addMany': {'task': 'echo', 'inputs': [0]},
          'addCronJob': {'task': 'echo', 'minute': (59,)}}


def arguments():
    for method in NEEDED:
        names = list(inspect.signature(
            getattr(TaskService, method)).parameters)
        for name in names[1:]:
            # See test_unique_keys.
            if name not in ('onDuplicate', 'keyUntil'):
                yield method, name


@pytest.fixture(autouse=True)
def tasks(register):
    register(lambda input: input, 'echo')
    register(lambda input: input, 'other')


def added(service, method, **options):
    needed = dict(NEEDED[method])
    if SCHEDULE & set(options):
        needed.pop('minute', None)
    found = getattr(service, method)(**{**needed, **options})
    return service.jobs[found[0] if method == 'addMany' else found]


# A new argument has no entry above, and fails here.
@pytest.mark.parametrize('method, name', list(arguments()))
def test_each_counts(service, method, name):
    value, holds = ARGUMENTS[name]
    assert not holds(added(service, method))
    assert holds(added(service, method, **{name: value}, **WITH.get(name, {})))


@pytest.mark.parametrize('method', ['add', 'addCronJob'])
def test_onDuplicate_counts(service, method):
    first = added(service, method, key='mine')
    assert added(service, method, key='mine') is first
    with pytest.raises(DuplicateJob):
        added(service, method, key='mine', onDuplicate='error')


@pytest.mark.parametrize('name', sorted(SCHEDULE))
def test_update_takes_the_same(name):
    value, holds = ARGUMENTS[name]
    job = CronJob(1, 'echo', None, minute=(59,))
    job.update(**{name: value})
    if name == 'delay':
        assert job.timeOfNextCall(0) == value
    else:
        assert holds(job)
