"""Tasks by which the pages are tried, the same in each host.

The hosts run in environments of their own: ``install`` copies this file.
"""

import shutil

from zope.interface import Interface
from zope.schema import Bool
from zope.schema import Choice
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask.context import currentJob
from lovely.remotetask.follow import Call
from lovely.remotetask.task import task

NAMES = ('fail', 'welcome', 'plan', 'tally', 'bundle')

ZCML = ''.join(
    f'  <remotetask:task name="{name}" handler="web_tasks.{name}" />\n'
    for name in NAMES)


class IGreeting(Interface):

    name = TextLine(title='Name', description='Who is greeted.')
    times = Int(title='Times', min=1, max=9, default=1)
    tone = Choice(title='Tone', values=('plain', 'warm'), default='plain')
    loud = Bool(title='Loud', required=False)


@task(inputSchema=IGreeting)
def welcome(input):
    return f'Hello {input["name"]}'


@task(retry=0)
def fail(input):
    raise ValueError('could not reach <smtp> & co')


@task
def plan(service, jobid, input):
    # No page adds a schedule: a job does it.
    return service.addCronJob('echo', input, minute=(0,), hour=(3,))


@task
def bundle(service, jobid, input):
    # Nor a group, whose jobs wait here: no worker runs them amid a test.
    later = {'delay': 3600}
    return service.addGroup([Call('echo', input, **later),
                             Call('fail', **later)], 'echo')


@task(show=['pipe'])
def tally(pipe, password=''):
    """Tell how far it is, and go on when the test writes to the pipe."""
    currentJob().progress(41, 120, 'page 41')
    with open(pipe) as signal:
        return signal.read()


def install(place):
    """Put this module where a host's Python finds it."""
    shutil.copy(__file__, place / 'web_tasks.py')
