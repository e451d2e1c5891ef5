"""A real Zope instance, for the tests that serve one."""

import base64
import http.client
import os
import signal
import socket
import subprocess
import textwrap
import urllib.parse
import xmlrpc.client

import host_forks
import web_tasks
from waiting import free_port
from waiting import wait_until

DEADLINE = 60

SLUG = '<include package="lovely.remotetask" />\n'

TASKS = '''
import os
import threading
import time

from zope.component.hooks import getSite
from AccessControl import getSecurityManager
from Acquisition import aq_base
from Acquisition import aq_parent
from OFS.SimpleItem import SimpleItem
from zope.globalrequest import getRequest

from lovely.remotetask.zope.service import TaskService


def look(service, jobid, input):
    return {'site': getSite().getId(), 'url': service.absolute_url(),
            'request': getRequest() is service.REQUEST,
            'user': getSecurityManager().getUser().getUserName()}


def note(input):
    with open(os.environ['NOTES'], 'a') as out:
        out.write(f'{input} {os.getpid()}\\n')


def count(service, jobid, input):
    aq_parent(service).effects[input].change(1)


def hold(input):
    with open(os.environ['NOTES'], 'a') as out:
        out.write('held\\n')
    threading.Event().wait(30)


def big(input):
    return 2 ** 40


class Own(TaskService):
    """A service of an application's own."""

    def purge(self):
        """Without a declaration, as one forgets it."""
        return 'purged'


class Ask:

    def __init__(self, context, request):
        self.context = context


class CountJobs(Ask):

    def __call__(self):
        return str(len(self.context.tasks.jobs))


class ServiceNames(Ask):

    def __call__(self):
        service = aq_base(self.context.tasks)
        item = {*dir(SimpleItem), *SimpleItem('x').__dict__}
        return ' '.join(sorted({*dir(service), *service.__dict__} - item))
'''

ZCML = '''
<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    xmlns:remotetask="http://namespaces.zope.org/remotetask">
  <include package="lovely.remotetask" />
  <remotetask:task name="look" handler="ourtasks.look" />
  <remotetask:task name="note" handler="ourtasks.note" />
  <remotetask:task name="count" handler="ourtasks.count" />
  <remotetask:task name="hold" handler="ourtasks.hold" />
  <remotetask:task name="big" handler="ourtasks.big" />
  <remotetask:task name="secret" handler="ourtasks.big" remote="no" />
''' + web_tasks.ZCML + '''\
  <browser:page for="*" name="count_jobs" class="ourtasks.CountJobs"
      permission="zope2.View" />
  <browser:page for="*" name="service_names" class="ourtasks.ServiceNames"
      permission="zope2.View" />
</configure>
'''


def forks(environment):
    return host_forks.forks(environment, (
        'OFS.Application', 'Products.Five', 'ZEO.ClientStorage',
        'ZPublisher.WSGIPublisher', 'Zope2.App.startup', 'Zope2.Startup.run',
        'Zope2.Startup.serve', 'click', 'waitress',
        'zope.configuration.xmlconfig'))


class Instance:
    """A Zope instance, and its server while that runs."""

    def __init__(self, environment, place, name='zope'):
        self.environment = environment
        self.place = place / name
        self.notes = place / 'notes'
        made = forks(environment).run(
            ['-d', self.place, '-u', 'admin:pw'], dict(os.environ), place,
            program=environment.script('mkwsgiinstance'))
        assert made.returncode == 0, made.stderr
        includes = self.place / 'etc' / 'package-includes'
        includes.mkdir()
        self.slug = includes / 'lovely.remotetask-configure.zcml'
        self.slug.write_text(SLUG)
        (place / 'ourtasks.py').write_text(TASKS)
        web_tasks.install(place)
        self.conf = self.place / 'etc' / 'zope.conf'
        self.log = self.place / 'var' / 'log' / 'event.log'
        self.environ = {**os.environ, 'PYTHONPATH': str(place),
                        'NOTES': str(self.notes),
                        'PYTHONDONTWRITEBYTECODE': '1'}
        self.port = free_port()
        ini = self.place / 'etc' / 'zope.ini'
        ini.write_text(ini.read_text().replace('8080', str(self.port)))
        self.process = None

    def extend(self, text):
        self.conf.write_text(f'{self.conf.read_text()}\n{text}\n')

    def with_tasks(self):
        (self.slug.parent / 'ourtasks-configure.zcml').write_text(ZCML)
        # Which task directives there are has to be known first.
        (self.slug.parent / 'lovely.remotetask-meta.zcml').write_text(
            '<include package="lovely.remotetask" file="meta.zcml" />\n')

    def start(self):
        with open(os.devnull, 'w') as nowhere:
            self.process = forks(self.environment).start(
                [self.place / 'etc' / 'zope.ini'], self.environ, self.place,
                stdout=nowhere, program=self.environment.script('runwsgi'))

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read())
            try:
                return self.get('/', user=None)
            except OSError:
                return None

        wait_until(answers, lambda: self.told())
        return self

    def stop(self, number=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(number)
        _, told = self.process.communicate(timeout=DEADLINE)
        code, self.process = self.process.returncode, None
        return code, told

    def told(self):
        return self.log.read_text() if self.log.exists() else ''

    def get(self, path, user='admin:pw', data=None, body=None, **headers):
        """(status, headers, text) of a GET, or a POST of form data."""
        if user:
            headers['Authorization'] = 'Basic ' + base64.b64encode(
                user.encode()).decode()
        if data is not None:
            body = urllib.parse.urlencode(data)
            headers['Content-Type'] = 'application/x-www-form-urlencoded'
        connection = http.client.HTTPConnection(
            '127.0.0.1', self.port, timeout=DEADLINE)
        try:
            connection.request(
                'GET' if body is None else 'POST', path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def proxy(self, path='/site/tasks', user='admin:pw'):
        at = f'{user}@' if user else ''
        return xmlrpc.client.ServerProxy(
            f'http://{at}127.0.0.1:{self.port}{path}', allow_none=True)

    def console(self, script, **environ):
        """What a script says that is run by zconsole."""
        file = self.place / 'script.py'
        file.write_text(textwrap.dedent(script))
        done = forks(self.environment).run(
            ['run', self.conf, file], {**self.environ, **environ}, self.place,
            program=self.environment.script('zconsole'))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def remotetask(self, *arguments):
        """Run a verb beside the server; returns what subprocess.run() does."""
        return forks(self.environment).run(
            [*arguments, '--zope-conf', self.conf], self.environ, self.place,
            program=self.environment.script('remotetask'))

    def status(self, jobid, *wanted, path='/site/tasks'):
        """Wait for one of these statuses."""
        proxy = self.proxy(path)
        return wait_until(
            lambda: (status := proxy.getStatus(jobid)) in wanted and status,
            lambda: f'{proxy.getStatus(jobid)}: {proxy.getError(jobid)}')


class Worker:
    """`remotetask worker --zope-conf`, a process."""

    def __init__(self, instance, *options, conf=None):
        self.process = forks(instance.environment).start(
            ['worker', '--zope-conf', conf or instance.conf, *options],
            instance.environ, instance.place,
            program=instance.environment.script('remotetask'))

    def ready(self):
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        return line

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, told = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, told


class Zeo:
    """A ZEO server for databases of instances."""

    def __init__(self, environment, place):
        self.port = free_port()
        self.process = subprocess.Popen(
            [environment.script('runzeo'), '-a', f'127.0.0.1:{self.port}',
             '-f', place / 'Zeo.fs'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def answers():
            try:
                socket.create_connection(('127.0.0.1', self.port)).close()
            except OSError:
                return False
            return True

        wait_until(answers, lambda: 'ZEO')

    def use(self, instance):
        """Let the main database of an instance be this one."""
        text = instance.conf.read_text()
        before, _, rest = text.partition('<filestorage>')
        _, _, after = rest.partition('</filestorage>')
        instance.conf.write_text(
            f'%import ZEO\n{before}<clientstorage>\n'
            f'server 127.0.0.1:{self.port}\nwait-timeout 5\n'
            f'</clientstorage>{after}')

    def stop(self):
        # Not by SIGTERM: runzeo (ZEO 6.2) does not end by one that comes while
        # it starts.
        self.process.kill()
        self.process.wait(DEADLINE)
