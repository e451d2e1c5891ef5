"""Virtual environments with a real host in each, kept between runs.

An environment is the host as its makers pin it, then our package with the
host's extra, installed as a user would: without the pins.  What that changed
about the host is kept beside it: see ``changed``.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONSTRAINTS = Path(__file__).with_name('constraints')

#: Where they are kept; below tox's own directory, which git ignores.  Not by
#: a name that tox has for an environment of its own.
PLACE = Path(os.environ.get('REMOTETASK_HOSTS_PLACE',
                            ROOT / '.tox' / 'host-environments'))


@dataclass(frozen=True)
class Environment:
    """What a host's virtual environment consists of.

    Arguments: ``extra``, ours; ``host``, requirements of the host itself;
    ``pins``, a constraints file of its makers; ``options``, more for uv;
    ``python``, a version (``3.12``), None: that of the tests; ``tools``,
    what only our tests need, installed with the pins.
    """

    extra: str
    host: tuple[str, ...]
    pins: str | None = None
    options: tuple[str, ...] = ()
    python: str | None = None
    tools: tuple[str, ...] = ('pytest>=8.3',)


# With what the how-to on tests runs them: docs/howto/test-your-tasks.rst.
_ZOPE_TOOLS = ('pytest>=8.3', 'zope.testrunner')
_PLONE_TOOLS = (*_ZOPE_TOOLS, 'plone.app.testing')

# What a small application is made of; the tests bring its ZCML.
_ZTK = ('zope.app.wsgi', 'zope.app.zcmlfiles', 'zope.login', 'zope.password',
        'zope.pluggableauth', 'zope.principalregistry',
        'zope.securitypolicy', 'waitress', 'ZEO')

# With what the narrative of 0.5.2 about its pages was run, as far as it is
# there: a browser without a server, and subscribers for its layer.
_ZTK_TOOLS = ('pytest>=8.3', 'zope.app.wsgi[testlayer]', 'zope.testbrowser')

ENVIRONMENTS = {
    'zope-6.3': Environment(
        'zope', ('Zope==6.3', 'five.localsitemanager', 'Paste', 'ZEO',
                 'Products.ZODBMountPoint'),
        'zope-6.3', tools=_ZOPE_TOOLS),
    'zope-5.14': Environment(
        'zope', ('Zope==5.14.2', 'five.localsitemanager', 'Paste', 'ZEO',
                 'Products.ZODBMountPoint'),
        'zope-5.14.2', python='3.12', tools=_ZOPE_TOOLS),
    # Plone's own pins are not on the package index: what was newest when
    # the release was made stands in for them.  plone.api is what add-ons
    # are written with, and plone.restapi what Volto talks to.
    'plone-6.2': Environment(
        'plone', ('Products.CMFPlone==6.2.2', 'plone.app.layout<7.0a0',
                  'plone.api', 'plone.restapi', 'ZEO'),
        'zope-6.2', ('--exclude-newer', '2026-09-12T00:00:00Z'),
        python='3.13', tools=_PLONE_TOOLS),
    'plone-6.1': Environment(
        'plone', ('Products.CMFPlone==6.1.0', 'setuptools<82', 'plone.api',
                  'plone.restapi', 'ZEO'),
        # Its Zope is younger than itself, by days; it imports pkg_resources.
        'zope-5.13', ('--exclude-newer', '2025-03-20T00:00:00Z'),
        python='3.12', tools=_PLONE_TOOLS),
    'pyramid': Environment(
        'pyramid', ('pyramid', 'pyramid_retry', 'pyramid_zodbconn',
                    'waitress', 'ZEO', 'RelStorage', 'psycopg2-binary'),
        # Pyramid 2.1 imports pkg_resources, newer ones do not have it.
        tools=('pytest>=8.3', 'setuptools<82', 'WebTest')),
    'ztk': Environment('ztk', _ZTK, tools=_ZTK_TOOLS),
    'ztk-3.11': Environment('ztk', _ZTK, python='3.11', tools=_ZTK_TOOLS),
    'ztk-3.12': Environment('ztk', _ZTK, python='3.12', tools=_ZTK_TOOLS),
}

#: What an ordinary run of the tests uses; REMOTETASK_HOSTS=all: every one.
USUAL = ('zope-6.3', 'pyramid', 'ztk')


def chosen():
    """The names of the environments that this run is about."""
    names = os.environ.get('REMOTETASK_HOSTS', '')
    if names == 'all':
        return tuple(ENVIRONMENTS)
    return tuple(names.replace(',', ' ').split()) or USUAL


class Built:
    """A virtual environment that is there.

    Attributes: ``path``; ``python``, its interpreter; ``pins``, as in
    Environment.
    """

    def __init__(self, path, pins):
        self.path = path
        self.pins = pins
        self.python = path / 'bin' / 'python'

    def run(self, *command, **options):
        """Run a module of the environment, such as ``('pytest', 'kit')``."""
        options = {'check': True, 'text': True, 'capture_output': True,
                   **options}
        return subprocess.run(
            [self.python, '-m', *map(str, command)], **options)

    def pip(self, *arguments, check=True):
        """Have uv do there what pip would: the environment has no pip.

        pip takes a minute where uv takes seconds.
        """
        command, *rest = map(str, arguments)
        return subprocess.run(
            [sys.executable, '-m', 'uv', 'pip', command, '--python',
             self.python, *rest],
            check=check, text=True, capture_output=True)

    def script(self, name):
        """The path of one of its scripts."""
        return self.path / 'bin' / name

    def changed(self):
        """What installing us changed: {name: (before, after)}."""
        before, after = json.loads((self.path / 'versions.json').read_text())
        return {name: (before[name], after.get(name)) for name in before
                if before[name] != after.get(name)}

    def unpinned(self):
        """What is there in another version than its makers pin.

        Of ours, too: it may be pinned without being there before.
        Returns: {name: (pinned, installed)}.
        """
        _, installed = json.loads((self.path / 'versions.json').read_text())
        installed = {canonicalize_name(name): version
                     for name, version in installed.items()}
        # Its lib directory is named after it: python3.13.
        library, = self.path.glob('lib/python*')
        python = library.name.removeprefix('python')
        found = {}
        for line in _pins(self.pins).splitlines():
            line = line.partition('#')[0].strip()
            if not line:
                continue
            pin = Requirement(line)
            if pin.marker and not pin.marker.evaluate(
                    {'python_version': python}):
                continue
            there = installed.get(canonicalize_name(pin.name))
            if there is not None and there not in pin.specifier:
                found[pin.name] = (str(pin.specifier), there)
        return found


def build(name):
    """The environment of this name, made if need be, with our newest code.

    Raises: CalledProcessError with uv's words.
    """
    spec = ENVIRONMENTS[name]
    PLACE.mkdir(parents=True, exist_ok=True)
    pins = (CONSTRAINTS / f'{spec.pins}.txt') if spec.pins else None
    recipe = repr(spec) + _pins(spec.pins) + _interpreter(
        spec) + _requirements()
    path = PLACE / f'{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}'
    built = Built(path, spec.pins)
    with _alone('wheel'):
        wheel = _wheel()
    with _alone(path.name):
        if not (path / 'versions.json').exists():
            _make(built, spec, pins, wheel)
        elif (path / 'wheel').read_text() != wheel.parent.name:
            _pip(built, '--no-deps', '--force-reinstall', wheel)
        (path / 'wheel').write_text(wheel.parent.name)
    return built


def upstream():
    """The folder of 0.5.2's package, from its release: we keep none of it.

    Its code is Python 2's; its documents are what tests read.
    """
    place = PLACE / 'upstream-0.5.2'
    with _alone(place.name):
        if not place.exists():
            made = PLACE / f'{place.name}-{os.getpid()}'
            subprocess.run(
                [sys.executable, '-m', 'uv', 'pip', 'install', '-q',
                 '--no-deps', '--no-binary', 'lovely.remotetask', '--target',
                 made, 'lovely.remotetask==0.5.2'], check=True)
            made.rename(place)
    return place / 'lovely' / 'remotetask'


@contextmanager
def _alone(name):
    """Only one process of a test run builds a thing; the others wait."""
    with open(PLACE / f'{name}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(built, spec, pins, wheel):
    shutil.rmtree(built.path, ignore_errors=True)
    subprocess.run([_interpreter(spec), '-m', 'venv', '--without-pip',
                    built.path], check=True)
    pinned = ('-c', pins) if pins else ()
    if spec.host:
        _pip(built, *spec.options, *pinned, *spec.host)
    if spec.tools:
        _pip(built, *spec.options, *pinned, *spec.tools)
    before = _versions(built)
    _pip(built, f'{wheel}[{spec.extra}]')
    (built.path / 'versions.json').write_text(
        json.dumps([before, _versions(built)]))


def _pip(built, *arguments):
    # Compiled: their tests start many processes.
    result = built.pip('install', '-q', '--compile-bytecode', *arguments,
                       check=False)
    if result.returncode:
        raise RuntimeError(f'uv pip install {" ".join(map(str, arguments))}:\n'
                           f'{result.stdout}{result.stderr}')


def _versions(built):
    listed = built.pip('list', '--format', 'json').stdout
    return {entry['name'].lower(): entry['version']
            for entry in json.loads(listed)
            if entry['name'].lower() not in ('pip', 'setuptools')}


def _pins(name):
    return (CONSTRAINTS / f'{name}.txt').read_text() if name else ''


@cache
def _interpreter(spec):
    """The first one of that version on PATH; none: that of the tests."""
    for place in os.get_exec_path() if spec.python else ():
        found = shutil.which(f'python{spec.python}', path=place)
        # pyenv's are scripts that may answer: not this version, not here.
        if found and not subprocess.run(
                [found, '-c', ''], capture_output=True).returncode:
            return found
    return sys.executable


def _requirements():
    """Our own; what else pyproject.toml says makes no new environment."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    return repr((project['dependencies'], project['optional-dependencies']))


def _wheel():
    """A wheel of the checkout as it is now."""
    mark = hashlib.sha256()
    for path in [ROOT / 'pyproject.toml',
                 *sorted((ROOT / 'src').rglob('*'))]:
        if path.is_file() and '__pycache__' not in path.parts \
                and '.egg-info' not in str(path):
            mark.update(str(path.relative_to(ROOT)).encode())
            mark.update(path.read_bytes())
    directory = PLACE / 'wheels' / mark.hexdigest()[:12]
    if not list(directory.glob('*.whl')):
        # Of a copy: building leaves things in the directory.
        source = PLACE / 'wheels' / f'source-{os.getpid()}'
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        for name in ('src', 'pyproject.toml', 'README.rst', 'LICENSE.txt',
                     'CHANGES.rst'):
            place = ROOT / name
            if place.is_dir():
                shutil.copytree(place, source / name,
                                ignore=shutil.ignore_patterns('*.egg-info'))
            else:
                shutil.copy(place, source / name)
        subprocess.run(
            [sys.executable, '-m', 'uv', 'build', '-q', '--wheel', '-o',
             directory, source], check=True)
        shutil.rmtree(source)
    return next(directory.glob('*.whl'))


if __name__ == '__main__':
    for name in sys.argv[1:] or chosen():
        print(name, build(name).path, build(name).changed())
