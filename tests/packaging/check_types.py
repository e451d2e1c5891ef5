"""mypy must find what is wrong in code that uses this package.

A misspelt name on a service, its queue, a job and a host; an argument that
does not fit a decorated function.  A noun that falls back to ``Any`` (an
import that mypy cannot follow, a stub that is gone) lets all pass, and no
other check notices.
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

DECORATED = '''\
from typing import assert_type

from lovely.remotetask.service import TaskService
from lovely.remotetask.task import task


@task
def resize(source: str, width: int = 100) -> float:
    return 1.5


@task('report', timeout=600, retry=3)
def make_report(service: TaskService, jobid: int, input: str) -> list[int]:
    return [jobid]


@task()
def tidy_up() -> None:
    pass


def right(service: TaskService) -> None:
    assert_type(resize('a', width=3), float)
    assert_type(resize.delay('a', width=3), int)
    assert_type(resize.delay(source='a'), int)
    assert_type(resize.apply_async(('a',), {'width': 3}, countdown=5), int)
    assert_type(make_report(service, 1, 'x'), list[int])
    assert_type(make_report.delay('x'), int)
    assert_type(make_report.delay(input='x'), int)
    assert_type(tidy_up.delay(), int)
    assert_type(service.add(resize, {'source': 'a'}), int)
    assert_type(service.addMany(make_report, ['x']), list[int])
    assert_type(resize.__name__, str)


def wrong(service: TaskService) -> None:
    resize(5)
    resize.delay()
    resize.delay(5)
    resize.delay('a', colour='red')
    resize.delay('a', 3, 4)
    resize.apply_async(('a',), countdown='soon')
    resize.apply_async(('a',), until=5)
    resize.later('a')
    make_report.delay(5)
    make_report.delay(service, 1, 'x')
    tidy_up.delay(5)
    tidy_up.apply_async(eta=5)
    service.add(5)
'''


def check(text: str, after: str) -> bool:
    """Does mypy --strict find an error in each line behind ``after``?

    And in none before.
    """
    lines = text.splitlines()
    wanted = set(range(lines.index(after) + 2, len(lines) + 1))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, 'checked.py')
        file.write_text(text)
        done = subprocess.run(
            [sys.executable, '-m', 'mypy', '--strict', str(file)],
            capture_output=True, text=True, check=False)
    found = {int(line) for line in re.findall(
        r'checked\.py:(\d+): error: ', done.stdout)}
    if found == wanted:
        return True
    for line in sorted(wanted - found):
        print(f'mypy has found no error in: {lines[line - 1].strip()}')
    for line in sorted(found - wanted):
        print(f'mypy has found an error in: {lines[line - 1].strip()}')
    print(done.stdout + done.stderr)
    return False


def main() -> int:
    results = [
        check(MISSPELT, '             executor: Executor) -> None:'),
        check(DECORATED, 'def wrong(service: TaskService) -> None:')]
    return 0 if all(results) else 1


if __name__ == '__main__':
    sys.exit(main())
