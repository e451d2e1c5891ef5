"""One worker for two Plone sites: each job runs in its own."""

import json

import pytest

pytestmark = pytest.mark.environment('plone')

#: Site -> the roles that jane has there, by the same login.
ROLES = {'Plone': ['Authenticated', 'Contributor'],
         'other': ['Authenticated', 'Site Administrator']}

#: Of each site and each task.
JOBS = 15

SITES = """
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from Products.CMFPlone.factory import addPloneSite
from Testing.makerequest import makerequest
from zope.component.hooks import setSite

app = makerequest(app)
newSecurityManager(None, app.acl_users.getUser('admin'))
other = addPloneSite(app, 'other',
                     extension_ids=('plone.app.contenttypes:default',))
other.acl_users.userFolderAddUser('jane', 'secret', ['Site Administrator'], [])
for site in (app.Plone, other):
    setSite(site)
    site.portal_setup.runAllImportStepsFromProfile(
        'profile-lovely.remotetask:default')
transaction.commit()
"""

ADD = f"""
import json
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from zope.component.hooks import setSite

added = {{}}
for number in range({JOBS}):
    # In turn, so that threads change from site to site.
    for site in (app.Plone, app.other):
        setSite(site)
        newSecurityManager(None, site.acl_users.getUser('jane').__of__(
            site.acl_users))
        added.setdefault(site.getId(), []).append((
            site.tasks.add('look'), site.tasks.add(
                'make', {{'in': site, 'id': f'made-{{number}}'}})))
transaction.commit()
print(json.dumps(added))
"""

SEEN = """
import json
from zope.component.hooks import setSite

seen = {}
for site in (app.Plone, app.other):
    setSite(site)
    seen[site.getId()] = {
        'jobs': {job.id: (job.status, job.output, str(job.error))
                 for job in site.tasks.jobs.values()},
        # By path, of what jane has made: of both sites, if one job has
        # written into the wrong catalog.
        'made': sorted(
            (brain.getPath(), brain.Creator, brain.UID)
            for brain in site.portal_catalog.unrestrictedSearchResults(
                Title='Made by a job'))}
print(json.dumps(seen))
"""


def last_line(plone, script):
    return json.loads(plone.script(script).splitlines()[-1])


def test_each_job_runs_in_its_site(own_plone, wait_until):
    """As its user there, in its portal, with its catalog."""
    own_plone.script(SITES)
    added = last_line(own_plone, ADD)
    worker = own_plone.worker('remotetask', 'worker', '--zope-conf',
                              own_plone.conf, '--service', '*')
    assert '2 services' in worker.log.read_text()

    def over():
        seen = last_line(own_plone, SEEN)
        return all(status in ('completed', 'error') for site in seen.values()
                   for status, _, _ in site['jobs'].values()) and seen

    seen = wait_until(over, worker.log.read_text)
    code, told = own_plone.end(worker)
    assert code == 0, told
    for site, roles in ROLES.items():
        jobs, made = seen[site]['jobs'], []
        assert len(jobs) == 2 * JOBS
        for look, make in added[site]:
            status, found, error = jobs[str(look)]
            assert status == 'completed', error
            wanted = {'site': site, 'portal': site, 'request': True,
                      'user': 'jane', 'folder': f'/{site}/acl_users',
                      'roles': roles, 'skin': 'Plone Default'}
            assert {name: found[name] for name in wanted} == wanted
            status, found, error = jobs[str(make)]
            assert status == 'completed', error
            assert (found['creators'], found['owner']) == (['jane'], 'jane')
            made.append(found['uid'])
        assert seen[site]['made'] == sorted(
            [f'/{site}/made-{number}', 'jane', uid]
            for number, uid in enumerate(made))
