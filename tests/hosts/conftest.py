"""Real hosts: their virtual environments, and runs inside of them."""

import faulthandler
import importlib.util
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Tests and what they ask, in modules that files of tests import.
pytest.register_assert_rewrite('web_checks', 'web_host', 'browser_steps')


def _environments():
    # pytest imports tests without their directory on sys.path.
    name = 'remotetask_environments'
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, HERE / 'environments.py')
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@cache
def _build(name):
    # It takes as long as the network does: no sign of a test that hangs.
    faulthandler.cancel_dump_traceback_later()
    return _environments().build(name)


def pytest_generate_tests(metafunc):
    """``environment``: each chosen one whose name starts as the mark says.

    ``pytestmark = pytest.mark.environment('zope')`` for a module.
    """
    if 'environment' not in metafunc.fixturenames:
        return
    mark = metafunc.definition.get_closest_marker('environment')
    names = [name for name in _environments().chosen()
             if name.startswith(mark.args)]
    metafunc.parametrize('environment', names or [pytest.param(
        None, marks=pytest.mark.skip(
            reason=f'only with REMOTETASK_HOSTS=all: {mark.args}'))],
        indirect=True, scope='session')


@pytest.fixture(scope='session')
def environment(request):
    """A virtual environment with a host in it, see environments.Built."""
    return _build(request.param)


@pytest.fixture(scope='session')
def upstream():
    """The folder of 0.5.2's package, see environments.upstream."""
    faulthandler.cancel_dump_traceback_later()
    return _environments().upstream()


@pytest.fixture
def inside(environment, tmp_path):
    """Run tests in the interpreter of the environment: ``inside(world, ...)``.

    Arguments: ``world``, the module of ``worlds/`` that the kit is to use;
    ``paths``, below this directory, default the kit.
    """
    def run(world, *paths):
        environ = {**os.environ, 'REMOTETASK_WORLD': world,
                   'PYTHONDONTWRITEBYTECODE': '1'}
        result = subprocess.run(
            [environment.python, '-m', 'pytest', '-q', '-c',
             HERE / 'inside.ini', '--rootdir', HERE,
             '--confcutdir', HERE,
             *(HERE / path for path in paths or ('kit',))],
            env=environ, cwd=tmp_path, text=True, capture_output=True,
            timeout=600)
        assert result.returncode == 0, result.stdout + result.stderr
        # An empty run, or one that skips what matters, proves nothing.
        assert ' passed' in result.stdout
        assert 'skipped' not in result.stdout.splitlines()[-1], result.stdout
        return result.stdout

    return run


@pytest.fixture(scope='session')
def serve_host(tmp_path_factory):
    """`remotetask serve` with the tasks of web_tasks, see WebHost."""
    # Not above: this file is also loaded inside of hosts.
    from serve_host import serving

    with serving(tmp_path_factory.mktemp('serve')) as host:
        yield host
