"""A bare install, from outside: run by ``tox -e core``, without pytest.

What a test environment cannot show, because the extras are in it: the core
stands alone, is small, and the command line says in one line what it lacks.
"""

import subprocess
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

#: design: nothing more goes into the core.
MOST_DISTRIBUTIONS = 17


def check_size() -> str:
    found = {dist.name.lower() for dist in distributions()}
    found -= {'pip', 'setuptools', 'lovely.remotetask'}
    assert len(found) <= MOST_DISTRIBUTIONS, sorted(found)
    return f'{len(found)} distributions besides our own'


def check_import_is_cheap() -> str:
    code = ('import sys, lovely.remotetask; '
            'print([m for m in sys.modules if m.startswith(("zope", "ZODB",'
            '"BTrees"))])')
    printed = subprocess.run(
        [sys.executable, '-c', code], check=True, capture_output=True,
        text=True).stdout
    # .pth files may put the namespace itself there.
    assert printed.strip() in ('[]', "['zope']"), printed
    return 'importing the package loads neither zope.* nor ZODB'


def check_job() -> str:
    import transaction
    import ZODB
    from zope.component import provideUtility

    from lovely.remotetask import TaskService
    from lovely.remotetask.interfaces import ITask
    from lovely.remotetask.task import SimpleTask

    provideUtility(SimpleTask(str.upper), ITask, name='shout')
    with ZODB.DB(None).transaction() as connection:
        service = connection.root()['tasks'] = TaskService()
        jobid = service.add('shout', 'hello')
        service.process()
        assert service.getResult(jobid) == 'HELLO'
    transaction.abort()
    return 'a job runs'


def check_command_line() -> str:
    command = Path(sysconfig.get_path('scripts')) / 'remotetask'
    done = subprocess.run([command, '--help'], capture_output=True, text=True)
    said = done.stderr.strip()
    assert done.returncode != 0, done
    assert 'lovely.remotetask[server]' in said, done
    assert len(said.splitlines()) == 1, said
    return f'remotetask says: {said}'


def check_data() -> str:
    import lovely.remotetask
    here = Path(lovely.remotetask.__file__).parent
    for name in ('py.typed', 'configure.zcml', 'meta.zcml',
                 'lovely.remotetask-configure.zcml'):
        assert (here / name).is_file(), name
    assert not (here.parent / '__init__.py').exists(), 'lovely is a namespace'
    return 'the wheel holds its data files'


def main() -> int:
    failed = 0
    checks = (check_size, check_import_is_cheap, check_data, check_job,
              check_command_line)
    for check in checks:
        try:
            print(f'ok      {check.__name__}: {check()}')
        except Exception as exc:
            failed += 1
            print(f'FAILED  {check.__name__}: {type(exc).__name__}: {exc}')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
