"""Kills migrations at each of their commits, and lets the next one go on.

A process of its own, without threads: it forks those that it kills.
Arguments: the file as 0.5.2 has left it; where to write copies of it.
"""

import importlib
import os
import shutil
import signal
import sys
from itertools import count

from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.cli import program
from lovely.remotetask.generations import migration


def kill_at(method, number):
    """Kill this process when a storage has done that for the nth time."""
    original = getattr(FileStorage, method)
    calls = count(1)

    def killing(self, *args, **kw):
        result = original(self, *args, **kw)
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(FileStorage, method, killing)


def run(path, *kill):
    """Run the command in a child; its exit code, or minus its signal."""
    pid = os.fork()
    if not pid:
        sys.stdout = open(os.devnull, 'w')
        if kill:
            kill_at(*kill)
        os._exit(program.run([
            'migrate', '--service', '/tasks', '--db', f'file://{path}']))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def found(path):
    """Where each job stands, and in which order."""
    database = DB(FileStorage(str(path)))
    connection = database.open()
    service = connection.root()['Application']['tasks']
    answer = [
        {jobid: (job.status, job.position and job.position[0], str(job.error),
                 job.createdAt, job.startedAt)
         for jobid, job in service.jobs.items()},
        [job.id for job in service._queue],
        *([job.id for job in service.listJobs(status, limit=500)[0]]
          for status in ('completed', 'error', 'cancelled', 'start later',
                         'cronjob', 'delayed')),
        service.jobqueue.counts()]
    connection.close()
    database.close()
    return answer


def main(written, work):
    # Before the forks, or each would import them anew.
    for name in ('lovely.remotetask.cli.migrate',
                 'lovely.remotetask.cli.setup',
                 'lovely.remotetask.cli.server', 'zodburi.resolvers',
                 'zope.site.folder', 'zope.site.site', 'zc.queue', 'press'):
        importlib.import_module(name)
    migration.BATCH = 300
    path = os.path.join(work, 'Data.fs')

    def copy():
        for name in os.listdir(work):
            os.unlink(os.path.join(work, name))
        shutil.copy(written, path)

    copy()
    assert run(path) == 0
    wanted = found(path)
    kills = 0
    # tpc_vote has written all data, and what readers go by not yet.
    for method in ('tpc_vote', 'tpc_finish'):
        for number in count(1):
            copy()
            code = run(path, method, number)
            if code == 0:
                break       # there are no more commits
            assert code == -signal.SIGKILL, code
            kills += 1
            assert run(path) == 0, (method, number)
            assert found(path) == wanted, (method, number)
    print(kills)


if __name__ == '__main__':
    main(*sys.argv[1:])
