"""The code of an application that used 0.5.2, for Python 2.7 and 3.

A database holds its classes and functions by the name of this module.
"""

from lovely.remotetask.job import Job
from lovely.remotetask.service import TaskService
from lovely.remotetask.task import TaskError


class PressJob(Job):
    """A job with a field of the application's own."""

    desk = 'none'


class PressService(TaskService):
    """A service of the application's own."""

    title = 'Press'


class PressError(TaskError):
    """An error whose text is not that of its arguments."""

    def __init__(self, page, reason):
        TaskError.__init__(self, page, reason)
        self.page = page
        self.reason = reason

    def __str__(self):
        return 'page %s: %s' % (self.page, self.reason)


class Notice(object):
    """An input: an instance of a plain class."""

    def __init__(self, text):
        self.text = text


def publish(input):
    """A task: what it is given, or an error."""
    text = getattr(input, 'text', input)
    if text == 'jam':
        raise PressError(7, u'no ink')
    return text
