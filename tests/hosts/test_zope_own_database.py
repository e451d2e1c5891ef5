"""A real Zope whose queue is in a database of its own, as zope.conf says."""

import ast
import textwrap

import pytest
import zope_instance as instances
from waiting import wait_until
from ZODB.fsIndex import fsIndex

pytestmark = pytest.mark.environment('zope')

CONF = '''
enable-xmlrpc on
<zodb_db jobs>
  <filestorage>
    path {place}/var/Jobs.fs
  </filestorage>
  mount-point /site/jobs
</zodb_db>
<product-config lovely.remotetask>
  autostart site@tasks
  base-url /site https://www.example.org
</product-config>
'''

TASKS = '''
import transaction
from AccessControl import getSecurityManager
from Acquisition import aq_base
from Acquisition import aq_parent
from zope.component.hooks import getSite


def place(obj):
    return '/'.join(obj.getPhysicalPath())


def databases(service, jobid, input):
    app = service.getPhysicalRoot()
    # The very object of the application, and not that of another connection.
    assert aq_base(input) is aq_base(app.site.document)
    assert app._p_jar.root()['Application'] is aq_base(app)
    input.title = 'by the task itself'
    transaction.commit()
    app.site.title = 'with its end'
    return {'service': service._p_jar.db().database_name,
            'application': app._p_jar.db().database_name,
            'site': place(getSite()), 'input': place(input),
            'users': place(aq_parent(getSecurityManager().getUser())),
            'user': getSecurityManager().getUser().getId()}
'''

ZCML = '''
<configure xmlns="http://namespaces.zope.org/remotetask">
  <task name="databases" handler="aparttasks.databases" />
</configure>
'''

# How the service gets into the database of the jobs: by a mount point in the
# site, or as an item of the site that the main database refers to.
WAYS = {
    'mounted': '''
        from Products.ZODBMountPoint.MountedObject import manage_addMounts
        manage_addMounts(app.site, ['/site/jobs'])
        transaction.savepoint()
        service = add_service(app.site.jobs)
        ''',
    'referred': '''
        service = add_service(app.site)
        app._p_jar.get_connection('jobs').add(aq_base(service))
        '''}

SITE = '''
import transaction
from Acquisition import aq_base
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.zope.service import add_service
from five.localsitemanager import make_objectmanager_site
app.manage_addFolder('site')
make_objectmanager_site(app.site)
app.site.manage_addFolder('document')
app.site.manage_addUserFolder()
app.site.acl_users.userFolderAddUser('jane', 'pw', ['Manager'], [])
transaction.savepoint()
{way}
# Until it is stored, ZODB does not know in which of the two to store it.
transaction.commit()
app.site.getSiteManager().registerUtility(service, ITaskService, 'tasks')
transaction.commit()
assert service._p_jar.db().database_name == 'jobs'
print('/'.join(service.getPhysicalPath()))
'''


class Apart:
    """Instances with one pair of databases, and scripts in them.

    Arguments: ``names``, of the instances; several share the databases by ZEO.
    """

    def __init__(self, environment, place, way, *names):
        self.zeos = []
        self.instances = [instances.Instance(environment, place, name)
                          for name in names]
        (place / 'aparttasks.py').write_text(TASKS)
        for instance in self.instances:
            instance.extend(CONF.format(place=instance.place))
            instance.with_tasks()
            (instance.slug.parent / 'aparttasks-configure.zcml').write_text(
                ZCML)
        # In the order in which they stand in zope.conf.
        for name in ('main', 'jobs') if len(names) > 1 else ():
            (place / name).mkdir()
            zeo = instances.Zeo(environment, place / name)
            self.zeos.append(zeo)
            for instance in self.instances:
                zeo.use(instance)
        self.path = self.script(SITE.format(way=textwrap.dedent(WAYS[way])))

    def script(self, text):
        """What a script says; no services are started in its process."""
        return self.instances[-1].console(
            textwrap.dedent(text), LOVELY_REMOTETASK_AUTOSTART='0').strip()

    def add(self):
        """Let jane add a job with an object of the main database."""
        return int(self.script(f'''
            import transaction
            from AccessControl.SecurityManagement import newSecurityManager
            folder = app.site.acl_users
            newSecurityManager(
                None, folder.getUserById('jane').__of__(folder))
            service = app.unrestrictedTraverse('{self.path}')
            app.site.title = app.site.document.title = ''
            print(service.add('databases', app.site.document))
            transaction.commit()
            '''))

    def seen(self, jobid):
        """What the task saw, and the titles that its job has left."""
        return ast.literal_eval(self.script(f'''
            service = app.unrestrictedTraverse('{self.path}')
            job = service.jobs[{jobid}]
            print([job.status, str(job.error), job.output,
                   app.site.document.title, app.site.title])
            '''))

    def stop(self):
        for one in (*self.instances, *self.zeos):
            one.stop()


@pytest.fixture(scope='module', params=sorted(WAYS))
def apart(environment, tmp_path_factory, request):
    apart = Apart(environment, tmp_path_factory.mktemp(request.param),
                  request.param, 'server', 'beside')
    yield apart
    apart.stop()


SEEN = ['completed', 'None', {
    'service': 'jobs', 'application': 'main', 'site': '/site',
    'input': '/site/document', 'users': '/site/acl_users', 'user': 'jane'},
    'by the task itself', 'with its end']


def test_autostart_in_a_running_zope(apart):
    server, _ = apart.instances
    waiting = apart.add()
    server.start()
    server.status(waiting, 'completed', 'error', path=apart.path)
    assert apart.seen(waiting) == SEEN
    # One that wakes it, and comes by the network.
    proxy = server.proxy(apart.path, 'jane:pw')
    look = proxy.add('look')
    server.status(look, 'completed', 'error', path=apart.path)
    assert proxy.getResult(look) == {
        'site': 'site', 'request': True, 'user': 'jane',
        'url': f'https://www.example.org{apart.path.removeprefix("/site")}'}
    code, told = server.stop()
    assert code == 0 and 'Traceback' not in told, told
    assert 'Traceback' not in server.told(), server.told()


def test_a_worker_beside_it(apart):
    _, beside = apart.instances
    # It finds the service by itself, in the other database.
    worker = instances.Worker(beside)
    assert f'service {apart.path}, ' in worker.ready()
    jobid = apart.add()
    wait_until(lambda: apart.seen(jobid)[0] in ('completed', 'error'),
               lambda: apart.seen(jobid), [worker.process])
    assert apart.seen(jobid) == SEEN
    code, told = worker.end()
    assert code == 0 and 'Traceback' not in told, told


def test_a_worker_closes_both_databases(environment, tmp_path):
    """A FileStorage writes its index when it is closed."""
    apart = Apart(environment, tmp_path, 'referred', 'alone')
    instance, = apart.instances
    jobid = apart.add()
    files = [instance.place / 'var' / name for name in ('Data.fs', 'Jobs.fs')]
    before = [file.stat().st_size for file in files]
    worker = instances.Worker(instance)
    worker.ready()
    # The job writes to both.
    wait_until(lambda: all(file.stat().st_size > size for file, size
                           in zip(files, before, strict=True)),
               processes=[worker.process])
    code, told = worker.end()
    assert code == 0 and 'Traceback' not in told, told
    for file in files:
        known = fsIndex.load(f'{file}.index')['pos']
        assert known == file.stat().st_size, file
    assert apart.seen(jobid) == SEEN
