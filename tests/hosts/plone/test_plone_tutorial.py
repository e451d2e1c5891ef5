"""The tutorial "first Plone add-on", from an empty folder."""

import re
import shutil
import socket
import subprocess
import textwrap
import urllib.parse
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

pytestmark = pytest.mark.environment('plone')

TUTORIAL = (Path(__file__).parents[3] / 'docs' / 'tutorial'
            / 'first-plone-add-on.rst')

_BLOCK = re.compile(
    r'^\.\. code-block:: (?P<kind>\w+)\n(?:   :caption: (?P<file>\S+)\n)?\n'
    r'(?P<text>(?:   .*\n|\n)+)', re.M)

#: Commands that go on until somebody ends them.
SERVERS = ('runzeo', 'runwsgi', 'remotetask worker')


@pytest.fixture
def shell(environment, tmp_path, unused_ports):
    """A folder with nothing in it, and Plone's environment activated."""
    shell = Shell(environment, tmp_path, unused_ports)
    yield shell
    shell.close()


@pytest.fixture
def unused_ports():
    taken = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
    ports = [str(one.getsockname()[1]) for one in taken]
    for one in taken:
        one.close()
    return ports


class Shell:

    def __init__(self, environment, place, ports):
        self.zeo, self.port = ports
        self.folder = place / 'empty'
        self.folder.mkdir()
        self.processes = []
        self.environ = {'PATH': f'{self._layer(environment, place)}:/bin:'
                                '/usr/bin', 'HOME': str(place)}

    def _layer(self, environment, place):
        # The environment is kept for other tests, which the tutorial's
        # add-on must not get into: it goes into a layer upon it.
        layer = place / 'layer'
        subprocess.run([environment.python, '-m', 'venv', layer], check=True)
        packages, = layer.glob('lib/*/site-packages')
        below, = environment.path.glob('lib/*/site-packages')
        (packages / 'below.pth').write_text(f'{below}\n')
        for name in ('mkwsgiinstance', 'runwsgi', 'runzeo', 'zconsole',
                     'remotetask'):
            script = layer / 'bin' / name
            script.write_text(environment.script(name).read_text().replace(
                str(environment.path), str(layer)))
            shutil.copymode(environment.script(name), script)
        return layer / 'bin'

    def local(self, text):
        """With ports that are free here."""
        return text.replace('9991', self.zeo).replace('8080', self.port)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.local(text))

    def type_in(self, command, expected, wait_until):
        if not command.startswith(SERVERS):
            done = subprocess.run(
                command, shell=True, cwd=self.folder, env=self.environ,
                text=True, capture_output=True, timeout=300)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            if command.startswith('mkwsgiinstance'):
                ini = self.folder / 'instance' / 'etc' / 'zope.ini'
                ini.write_text(self.local(ini.read_text()))
            return
        log = self.folder / f'{len(self.processes)}.log'
        process = subprocess.Popen(
            command.split(), cwd=self.folder, env=self.environ,
            stdout=log.open('w'), stderr=subprocess.STDOUT)
        self.processes.append(process)

        def ready():
            assert process.poll() is None, log.read_text()
            if expected:
                return expected in log.read_text()
            try:
                socket.create_connection(('127.0.0.1', int(
                    self.zeo if 'zeo' in command else self.port))).close()
            except OSError:
                return False
            return True

        wait_until(ready, log.read_text)

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(60)


class Browser:
    """What the reader does by hand."""

    def __init__(self, user, password):
        self.headers = {'Authorization': 'Basic ' + b64encode(
            f'{user}:{password}'.encode()).decode()}

    def open(self, url, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(urllib.request.Request(
                url, data, self.headers), timeout=60) as answer:
            return answer.read().decode()


def test_the_tutorial(shell, wait_until):
    text = TUTORIAL.read_text()
    commands = 0
    job = None
    for block in _BLOCK.finditer(text):
        content = textwrap.dedent(block['text']).strip() + '\n'
        if block['kind'] != 'console':
            assert block['file'], content
            shell.write(block['file'], content)
            continue
        for part in re.split(r'^\$ ', content, flags=re.M)[1:]:
            command, _, expected = part.partition('\n')
            shell.type_in(command, expected.strip(), wait_until)
            commands += 1
        if command.startswith('runwsgi'):
            job = plan_a_year(shell, text)
            assert told(job) == ('queued', '')
    assert commands == 6
    result, = re.findall(r'``(http://\S+ of \w+)``', text)
    wait_until(lambda: told(job) == ('completed', shell.local(result)),
               lambda: told(job))
    url = shell.local(result).split()[0]
    assert url in job[0].open(f'{url}/12')


def plan_a_year(shell, text):
    """Fill in the form; returns the browser, and the link to look again."""
    url, = re.findall(r'^Open (http://\S+) in a browser', text, re.M)
    user, password, year = re.search(
        r'log in as ``(\w+)``\s+with the password ``(\S+)``, and let it plan '
        r'the year ``(\d+)``', text).groups()
    browser = Browser(user, password)
    page = browser.open(shell.local(url))
    token = re.search(r'name="_authenticator"\s+value="(\w+)"', page).group(1)
    page = browser.open(shell.local(url), year=year, _authenticator=token)
    link = re.search(r'href="(\?job=\d+)"', page).group(1)
    return browser, shell.local(url) + link


def told(job):
    """What the page says: status, result."""
    browser, url = job
    return re.search(r'<b>(\w+)</b>\s*<i>(.*?)</i>', browser.open(url),
                     re.S).groups()
