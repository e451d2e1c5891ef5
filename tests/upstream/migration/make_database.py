"""Writes a database with lovely.remotetask 0.5.2, on Python 2.7.

make.sh runs this, and converts what it wrote; the tests read the result.
Argument: the path of the file to write.
"""

import datetime
import sys
import time

import transaction
import ZODB
import zope.component
from press import Notice
from press import PressJob
from press import PressService
from press import publish
from zope.component.hooks import setHooks
from zope.component.hooks import setSite
from zope.security.management import endInteraction
from zope.site.folder import Folder
from zope.site.folder import rootFolder
from zope.site.site import LocalSiteManager

import lovely.remotetask.job
import lovely.remotetask.service
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.job import CronJob
from lovely.remotetask.service import TaskService
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.task import TaskError
from lovely.remotetask.testing import ExceptionTask

#: All happens around this moment: 10 November 2010, 10:00 UTC.
START = 1289383200


class Clock(object):
    """Stands in for the modules ``time`` and ``datetime`` of 0.5.2."""

    now = START

    class datetime(object):
        fromtimestamp = datetime.datetime.utcfromtimestamp

        @staticmethod
        def now():
            return datetime.datetime.utcfromtimestamp(Clock.now)

    def time(self):
        return self.now

    def gmtime(self, seconds=None):
        return time.gmtime(self.now if seconds is None else seconds)


def fail(error):
    def task(input):
        Clock.now += 1
        raise error
    return task


def take(seconds):
    def task(input):
        Clock.now += seconds
        return input
    return task


def register():
    for name, task in [
            (u'echo', SimpleTask(take(1))), (u'publish', SimpleTask(publish)),
            (u'divide', ExceptionTask()),
            (u'refuse', SimpleTask(fail(TaskError(u'the page is t\xf6rn')))),
            (u'lookup', SimpleTask(fail(KeyError('no such page'))))]:
        zope.component.provideUtility(task, ITask, name)


def end_all(service):
    """What its thread did: a failing task is tried four times."""
    while True:
        try:
            ran = service.processNext(Clock.now)
        except (KeyError, ZeroDivisionError):
            # 0.5.2's processor aborts: the job is in the queue again.
            transaction.abort()
            continue
        transaction.commit()
        if not ran:
            return


def fill(service):
    """A service with jobs of each kind, in each state."""
    # 1. Ended: completed, failed, cancelled.
    for number in range(120):
        Clock.now += 1
        service.add(u'echo', {'number': number, 'text': u'\xe4\xf6\xfc'})
    service.add(u'publish', Notice(u'front page'))
    for task in (u'divide', u'refuse', u'lookup'):
        service.add(task, task)
    service.add(u'publish', Notice('jam'))
    service.add(u'echo', 'x' * 10000)
    # A run of a schedule that failed, and one that went well.
    service.addCronJob(u'divide', 'hourly', minute=(0,))
    service.addCronJob(u'echo', 'nightly', hour=(2,), minute=(30,))
    # 0.5.2 had the service's thread run this one once.
    service.addCronJob(u'echo', 'soon', delay=5)
    transaction.commit()
    end_all(service)
    Clock.now += 17 * 3600      # to 03:00 of the next day
    end_all(service)
    for number in range(10):
        service.cancel(service.add(u'echo', 'cancelled %d' % number))
    service.cancel(service.addCronJob(u'echo', 'never', month=(1,)))

    # 2. Taken from the queue by a thread that was killed: nowhere any more.
    service.add(u'echo', 'lost 0')
    service.add(u'echo', 'lost 1')
    transaction.commit()
    service.claimNextJob(Clock.now)
    service.claimNextJob(Clock.now)
    transaction.commit()

    # 3. Waiting.
    later = [service.add(u'echo', 'later %d' % number, startLater=True)
             for number in range(15)]
    for number in range(620):
        Clock.now += 1
        service.add(u'echo', number)
    # Behind all others, although it was added before them.
    service.startJob(later.pop())
    service.add(u'publish', Notice(u'late edition'))
    one = service.add(u'echo', 'an application said so')
    service._queue.pull(-1)
    service.jobs[one].status = 'processing'
    own = PressJob(service._generateId(), u'publish', u'sports')
    own.desk = u'sports'
    service.jobs[own.id] = own
    own.status = 'queued'
    service._queue.put(own)
    # Its task is no more.
    unknown = service.add(u'echo', 'unknown')
    service.jobs[unknown].task = u'fax'

    # 4. Scheduled.  Seen by a thread ...
    service.addCronJob(u'echo', 'every hour', minute=(0,))
    service.addCronJob(u'echo', 'mondays', minute=(15,), hour=(8, 20),
                       dayOfWeek=(0,))
    service.addCronJob(u'echo', 'new year', dayOfMonth=(1,), month=(1,))
    service.addCronJob(u'echo', 'in an hour', delay=3600)
    service.addCronJob(u'echo', 'in twenty days', delay=20 * 86400)
    service.hasJobsWaiting(Clock.now)
    queue = service._queue
    service._queue = ()         # or it would not look at the schedules
    service.hasJobsWaiting(Clock.now)
    service._queue = queue
    # ... and not yet seen.
    service.addCronJob(u'echo', 'first', delay=60)
    service.addCronJob(u'echo', 'second', delay=30)
    service.addCronJob(u'echo', 'quarters', minute=(0, 15, 30, 45))
    # No calendar has this: it kept the thread of 0.5.2 busy for ever.
    service.addCronJob(u'echo', 'impossible', dayOfMonth=(30,), month=(2,))
    # 0.5.2 let it run every ten minutes.
    every = service.addCronJob(u'echo', 'every ten minutes', minute=(10,))
    service.jobs[every].update(delay=600)
    # Made, and never added.
    made = CronJob(service._generateId(), u'echo', 'made', minute=(1,))
    service.jobs[made.id] = made
    transaction.commit()


def main(path):
    lovely.remotetask.service.time = Clock()
    lovely.remotetask.service.datetime = Clock
    lovely.remotetask.job.time = Clock()
    lovely.remotetask.job.datetime = Clock
    # The same ids each time.
    import random
    random.seed(2010)
    setHooks()
    register()
    endInteraction()

    connection = ZODB.DB(path).open()
    root = connection.root()
    root['Application'] = application = rootFolder()
    application['tasks'] = TaskService()
    application['site1'] = site = Folder()
    site.setSiteManager(LocalSiteManager(site))
    manager = site.getSiteManager()
    manager['default']['mail'] = mail = PressService()
    manager.registerUtility(mail, ITaskService, 'mail')
    setSite(site)
    application['upgraded'] = upgraded = TaskService()
    transaction.commit()

    fill(application['tasks'])
    for number in range(3):
        mail.add(u'echo', 'mail %d' % number)
    mail.addCronJob(u'echo', 'digest', hour=(6,))
    # Written by 0.2, which had no schedules; 0.5.2 opened it.
    upgraded.add(u'echo', 'from 0.2')
    del upgraded._scheduledJobs
    del upgraded._scheduledQueue
    transaction.commit()

    # What a page of it would have shown.
    for name, service in sorted(application.items()) + [('mail', mail)]:
        if isinstance(service, TaskService):
            counts = {}
            for job in service.jobs.values():
                counts[job.status] = counts.get(job.status, 0) + 1
            sys.stdout.write('%s %r\n' % (name, sorted(counts.items())))
    connection.close()
    connection.db().close()


if __name__ == '__main__':
    main(sys.argv[1])
