"""mypy must find a misspelt name on a service, its queue, a job and a host.

A noun that falls back to ``Any`` (an import that mypy cannot follow, a stub
that is gone) lets every name pass, and no other check notices.
Run by tox -e lint, in the root of the checkout.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

MISSPELT = '''\
from ZODB import DB

from lovely.remotetask.interfaces import IHost
from lovely.remotetask.job import Job
from lovely.remotetask.run.executor import Executor
from lovely.remotetask.service import TaskService


def misspelt(service: TaskService, job: Job, host: IHost, database: DB,
             executor: Executor) -> None:
    service.addd('x')
    service.jobqueue.forgett(job)
    service.jobqueue.ready.takee(1)
    service.jobs[1].statuss
    service.host.permitss(service, 'x')
    job.statuss
    job._p_jarr
    host.permitss(service, 'x')
    database.closee()
    database.open().roott()
    executor.service(database.open()).addd('x')
'''

FIRST = MISSPELT[:MISSPELT.index('    service.addd')].count('\n') + 1
WANTED = set(range(FIRST, MISSPELT.count('\n') + 1))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'misspelt.py')
        file.write_text(MISSPELT)
        done = subprocess.run(
            [sys.executable, '-m', 'mypy', str(file)],
            capture_output=True, text=True, check=False)
    found = {int(line) for line in re.findall(
        r'misspelt\.py:(\d+): error: .* has no attribute', done.stdout)}
    if found == WANTED:
        return 0
    lines = MISSPELT.splitlines()
    print('mypy has not found a name that does not exist in:')
    for line in sorted(WANTED - found):
        print(lines[line - 1])
    print(done.stdout + done.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
