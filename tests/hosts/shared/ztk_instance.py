"""A ZTK application as our how-to sets it up, served for real."""

import os
import re
import subprocess
import textwrap
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from xmlrpc.client import ServerProxy

import host_forks
from waiting import answers
from waiting import free_port
from waiting import wait_until

DOCS = Path(__file__).parents[3] / 'docs'
HOWTO = DOCS / 'howto' / 'run-in-a-ztk-application.rst'
REFERENCE = DOCS / 'reference' / 'ztk.rst'
SECONDS = 40


def basic(user):
    return 'Basic ' + b64encode(f'{user}:secret'.encode()).decode()


BOSS = basic('boss')

#: More people: who may do everything, and who may only look.
PEOPLE = '''
  <principal id="shop.boss" title="Boss" login="boss" password="secret" />
  <grant role="zope.Manager" principal="shop.boss" />
  <principal id="shop.guest" title="Guest" login="guest" password="secret" />
  <grant permissions="zope.View lovely.remotetask.View"
         principal="shop.guest" />
  <principal id="shop.adder" title="Adder" login="adder" password="secret" />
  <grant permissions="zope.View lovely.remotetask.Add"
         principal="shop.adder" />
  <principal id="shop.nora" title="Nora" login="nora" password="secret" />
  <grant permission="zope.View" principal="shop.nora" />
</configure>
'''

#: Visitors get as far as a service: what it tells them is its own affair.
VISITORS = '  <grant permission="zope.View" principal="shop.anybody" />\n'

def blocks(page=HOWTO):
    """The files of a page, by name; the test and the text are one."""
    found = re.findall(
        r'\.\. code-block:: \w+\n    :caption: (.+)\n\n((?:    .*\n|\n)+)',
        page.read_text(encoding='utf-8'))
    return {name: textwrap.dedent(text).strip() + '\n'
            for name, text in found}


class Server:
    """The how-to's application, running."""

    def __init__(self, port, log):
        self.port = port
        self.log = log
        self.address = f'127.0.0.1:{port}'

    def proxy(self, user='jane', path='tasks'):
        who = f'{user}:secret@' if user else ''
        return ServerProxy(f'http://{who}{self.address}/{path}',
                           allow_none=True, use_builtin_types=True)

    def wait(self, jobid, user='jane', path='tasks'):
        proxy = self.proxy(user, path)
        wait_until(lambda: proxy.getStatus(jobid) in ('completed', 'error'))
        return proxy.getStatus(jobid)

    def said(self, pattern):
        return re.findall(pattern, self.log.read_text())


@contextmanager
def serving(environment, directory, edit=lambda files: None):
    """Write the how-to's files, edited, and run its server."""
    files = blocks()
    files.pop('what it prints')
    edit(files)
    for name, text in files.items():
        (directory / name).write_text(text)
    with running(environment, directory) as server:
        yield server


def forks(environment):
    return host_forks.forks(environment, (
        'ZEO.ClientStorage', 'ZODB.FileStorage', 'click', 'waitress',
        'zope.app.appsetup.appsetup', 'zope.app.publication.zopepublication',
        'zope.app.wsgi', 'zope.configuration.xmlconfig',
        'zope.publisher.xmlrpc', 'zope.security.checker'))


@contextmanager
def running(environment, directory, **environ):
    port = free_port()
    for name in ('serve.py', 'client.py'):
        text = (directory / name).read_text()
        (directory / name).write_text(
            re.sub(r'127\.0\.0\.1:\d+', f'127.0.0.1:{port}', text))
    log = directory / 'server.log'
    with log.open('w') as stream:
        process = forks(environment).start(
            [], {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1', **environ},
            directory, stderr=stream, program=directory / 'serve.py')
        try:
            wait_until(lambda: answers(port), processes=[process])
            yield Server(port, log)
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
    assert process.returncode == 0, log.read_text()


def python(environment, directory, code):
    """What this code prints, run in the directory."""
    done = subprocess.run(
        [environment.python, '-c', code],
        cwd=directory, text=True, capture_output=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_people(files):
    files['site.zcml'] = files['site.zcml'].replace('</configure>\n', PEOPLE)
