"""A Plone site: its database on a ZEO server, served on a free port."""

import os
import signal
import subprocess
import textwrap
import urllib.error
import urllib.parse
import urllib.request
import xmlrpc.client
from base64 import b64encode

import documents
import pytest
import waiting
import web_tasks

DEADLINE = 90

ZEO = """\
<zeo>
  address 127.0.0.1:{zeo}
</zeo>
<blobstorage 1>
  blob-dir {place}/blobs
  <filestorage>
    path {place}/Data.fs
  </filestorage>
</blobstorage>
"""

ZOPE = """\
%define INSTANCE {instance}
instancehome $INSTANCE
enable-xmlrpc on
{more}
<zodb_db main>
  mount-point /
  <zeoclient>
    server 127.0.0.1:{zeo}
    storage 1
    blob-dir {place}/blobs
    shared-blob-dir on
  </zeoclient>
</zodb_db>
"""

#: Where jobs are not run by the server itself.
CONFIGURATION = """\
<product-config lovely.remotetask>
  base-url /Plone https://www.example.org
</product-config>
"""

SITE = """
from AccessControl.SecurityManagement import newSecurityManager
from Products.CMFPlone.factory import addPloneSite
from Testing.makerequest import makerequest
import transaction

app = makerequest(app)
newSecurityManager(None, app.acl_users.getUser('admin'))
site = addPloneSite(
    app, 'Plone', extension_ids=('plone.app.contenttypes:default',))
site.acl_users.userFolderAddUser('jane', 'secret-of-jane', ['Contributor'], [])
site.acl_users.userFolderAddUser('sam', 'secret-of-sam',
                                 ['Site Administrator'], [])
transaction.commit()
"""

PAGE = documents.HOWTO / 'show-a-job-on-a-page.rst'

#: An add-on as people write them; found by its entry point alone.
ADDON = {
    'plonejobs/__init__.py': '',
    'plonejobs-1.0.dist-info/METADATA': (
        'Metadata-Version: 2.1\nName: plonejobs\nVersion: 1.0\n'),
    'plonejobs-1.0.dist-info/entry_points.txt': (
        '[z3c.autoinclude.plugin]\ntarget = plone\n'),
    'plonejobs/configure.zcml': """
<configure xmlns="http://namespaces.zope.org/zope"
    xmlns:browser="http://namespaces.zope.org/browser"
    xmlns:remotetask="http://namespaces.zope.org/remotetask">
  <include package="lovely.remotetask" />
  <remotetask:task name="look" handler=".tasks.look" />
  <remotetask:task name="make" handler=".tasks.make" />
  <remotetask:task name="where" handler=".tasks.where" />
""" + web_tasks.ZCML + """
  <browser:page for="*" name="token" class=".tasks.Token"
      permission="zope2.View" />
  <browser:page for="*" name="enqueue" class=".tasks.Enqueue"
      permission="cmf.AddPortalContent" />
  <browser:page for="*" name="order" class=".order.Order"
      permission="cmf.AddPortalContent" />
  <browser:page for="*" name="count_jobs" class=".tasks.Count"
      permission="zope2.View" />
</configure>
""",
    'plonejobs/order.py': documents.file_of(PAGE, 'order.py'),
    'plonejobs/order.pt': documents.file_of(PAGE, 'order.pt'),
    'plonejobs/tasks.py': """
from AccessControl import getSecurityManager
from Acquisition import aq_base
from Acquisition import aq_parent
from plone import api
from plone.app.z3cform.interfaces import IPloneFormLayer
from plone.protect import createToken
from Products.Five.browser import BrowserView
from zope.component import getUtility
from zope.component.hooks import getSite
from zope.globalrequest import getRequest

from lovely.remotetask.interfaces import ITaskService


def look(service, jobid, input):
    user = getSecurityManager().getUser()
    portal = api.portal.get()
    return {
        'site': getSite().getId(),
        'portal': portal.getId(),
        'url': portal.absolute_url(),
        'request': getRequest() is portal.REQUEST,
        'user': api.user.get_current().getId(),
        'folder': '/'.join(aq_parent(user).getPhysicalPath())
                  if user.getId() else None,
        'language': api.portal.get_current_language(),
        'layer': IPloneFormLayer.providedBy(getRequest()),
        'skin': portal.getCurrentSkinName(),
        'roles': sorted(api.user.get_roles(
            username=user.getId())) if user.getId() else [],
    }


def make(input):
    made = api.content.create(
        container=input['in'], type='Folder', id=input['id'],
        title='Made by a job')
    return {'url': made.absolute_url(), 'creators': list(made.creators),
            'owner': made.getOwner().getId(), 'uid': made.UID()}


def where(input):
    return {'url': input.absolute_url(), 'title': input.title,
            'parent': aq_parent(input).getId(),
            'local': input.get_local_roles_for_userid('jane')}


class Token(BrowserView):

    def __call__(self):
        return createToken()


class Enqueue(BrowserView):

    def __call__(self):
        form = self.request.form
        service = getUtility(ITaskService, 'tasks')
        given = (self.context if form['task'] == 'where'
                 else {'in': self.context, 'id': form.get('id')})
        return str(service.add(form['task'], given))


class Count(BrowserView):

    def __call__(self):
        return str(len(getUtility(ITaskService, 'tasks').jobs))
""",
}


class Plone:
    """A Plone site, and the processes about it."""

    def __init__(self, environment, place):
        self.environment = environment
        self.place = place
        self.instance = place / 'instance'
        self.conf = self.instance / 'etc' / 'zope.conf'
        self.log = self.instance / 'var' / 'log' / 'event.log'
        self.port = waiting.free_port()
        self.zeo = waiting.free_port()
        self.processes = []
        self.server = None
        # Scripts are no workers; see serve().
        self.environ = {**os.environ, 'LOVELY_REMOTETASK_AUTOSTART': '0',
                        'PYTHONPATH': str(place / 'addons'),
                        'PYTHONDONTWRITEBYTECODE': '1'}

    def make(self):
        subprocess.run(
            [self.environment.script('mkwsgiinstance'), '-d', self.instance,
             '-u', 'admin:secret-of-admin'], check=True, capture_output=True)
        self.configure()
        for name, text in ADDON.items():
            path = self.place / 'addons' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        web_tasks.install(self.place / 'addons')
        ini = self.instance / 'etc' / 'zope.ini'
        ini.write_text(ini.read_text().replace('8080', str(self.port)))
        (self.place / 'zeo.conf').write_text(ZEO.format(
            zeo=self.zeo, place=self.place))
        self._spawn('zeo.log', 'runzeo', '-C', self.place / 'zeo.conf')
        self.script(SITE)

    def configure(self, more=CONFIGURATION):
        """Write zope.conf, for servers that are to be started."""
        self.conf.write_text(ZOPE.format(
            instance=self.instance, place=self.place, zeo=self.zeo,
            more=more))

    def _spawn(self, log, script, *arguments):
        process = subprocess.Popen(
            [self.environment.script(script), *arguments],
            env={**self.environ, 'LOVELY_REMOTETASK_AUTOSTART': '1'},
            cwd=self.instance, stdout=(self.place / log).open('w'),
            stderr=subprocess.STDOUT)
        process.log = self.place / log
        self.processes.append(process)
        return process

    def script(self, text):
        """Run a script in a Zope of its own.  Returns: what it prints."""
        path = self.place / 'script.py'
        path.write_text(textwrap.dedent(text))
        result = subprocess.run(
            [self.environment.script('zconsole'), 'run', self.conf, path],
            env=self.environ, cwd=self.place, text=True, capture_output=True,
            timeout=DEADLINE)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def serve(self):
        self.server = self._spawn('web.log', 'runwsgi',
                                  self.instance / 'etc' / 'zope.ini')

        def answers():
            assert self.server.poll() is None, self.server.log.read_text()
            try:
                return self.get('/', user=None)[0] == 200
            except OSError:
                return False

        waiting.wait_until(answers, self.server.log.read_text)

    def worker(self, *command):
        """A worker beside the server, once it is ready."""
        process = self._spawn('worker.log', *command)

        def ready():
            told = process.log.read_text()
            assert process.poll() is None, told
            return 'worker ready' in told

        waiting.wait_until(ready, process.log.read_text)
        return process

    def end(self, process, number=signal.SIGTERM):
        """End a process.  Returns: its exit code, and what it has told."""
        process.send_signal(number)
        code = process.wait(DEADLINE)
        self.processes.remove(process)
        return code, process.log.read_text()

    def get(self, path, user='admin', data=None, **headers):
        """GET, or POST of form data: (status, headers, text)."""
        if user:
            headers['Authorization'] = 'Basic ' + b64encode(
                f'{user}:secret-of-{user}'.encode()).decode()
        if isinstance(data, dict):
            data = urllib.parse.urlencode(data).encode()
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}{path}', data, headers)
        try:
            with OPENER.open(request, timeout=DEADLINE) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def post(self, path, user='admin', **data):
        """POST as a form of the site's own does it, with its token."""
        _, _, token = self.get('/Plone/@@token', user)
        return self.get(path, user, {**data, '_authenticator': token.strip()})

    def proxy(self, user='admin', path='/Plone/tasks'):
        at = f'{user}:secret-of-{user}@' if user else ''
        return xmlrpc.client.ServerProxy(
            f'http://{at}127.0.0.1:{self.port}{path}', allow_none=True)

    def jobs(self):
        return int(self.get('/Plone/@@count_jobs')[2])

    def result(self, jobid, status='completed'):
        """The result of a job, once it has that status."""
        proxy = self.proxy()

        def ended():
            found = proxy.getStatus(jobid)
            assert found == status or found not in ('error', 'completed'), (
                found, proxy.getError(jobid))
            return found == status

        waiting.wait_until(ended, lambda: (proxy.getStatus(jobid),
                                   proxy.getError(jobid)))
        return proxy.getResult(jobid)

    def close(self):
        # The ZEO server last: the others still have something to say to it.
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments):
        return None


OPENER = urllib.request.build_opener(_Stay)


@pytest.fixture(scope='session')
def plone(environment, tmp_path_factory):
    """A site without our add-on, served."""
    plone = Plone(environment, tmp_path_factory.mktemp('plone'))
    try:
        plone.make()
        plone.serve()
        yield plone
    finally:
        plone.close()


@pytest.fixture(scope='module')
def own_plone(environment, tmp_path_factory):
    """A site that the tests of a module have for themselves, not served."""
    plone = Plone(environment, tmp_path_factory.mktemp('plone'))
    try:
        plone.make()
        yield plone
    finally:
        plone.close()


@pytest.fixture
def wait_until():
    """``wait_until(condition, what)``, for tests without ``plone``."""
    return waiting.wait_until
