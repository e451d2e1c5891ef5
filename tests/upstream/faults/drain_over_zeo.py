"""A process that drains a service over ZEO; see test_two_processors.

Usage: drain_over_zeo.py HOST PORT LOG
"""

import os
import sys

import ZEO
from zope.component import provideUtility

from lovely.remotetask.interfaces import ITask
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.task import SimpleTask

host, port, log = sys.argv[1:]


def note(input):
    # One write of a few bytes to a file opened for appending is whole.
    with open(log, 'a') as out:
        out.write(f'{input} {os.getpid()}\n')


provideUtility(SimpleTask(note), ITask, 'note')
db = ZEO.DB((host, int(port)))
processor = SimpleProcessor(db, ['tasks'])
print('ready', flush=True)
sys.stdin.readline()
while processor.processNext():
    pass
db.close()
