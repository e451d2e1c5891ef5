"""100 jobs that each make a document in one folder of a Plone site.

    python benchmarks/plone_documents.py [--rounds 3] [--jobs 100]

They write the same objects (the folder, the catalog), so that a pool of
threads is no faster than one; it must not be much slower.  The rounds take
turns with 1 and 5 threads.  ``seconds``: from the start of the first call to
the end of the last job; ``cpu``: of the worker, from the start of the first
call to that of the last one, for machines that have other work; ``calls``: of
the task, by its own count.
"""

import argparse
import dataclasses
import importlib.util
import json
import statistics
import sys
import tempfile
from pathlib import Path

HOSTS = Path(__file__).parents[1] / 'tests' / 'hosts'
sys.path += [str(HOSTS), str(HOSTS / 'shared')]

import environments  # noqa: E402
import waiting  # noqa: E402

# Python 3.13.0 has a fault (gh-125631, mended in 3.13.1) by which Plone makes
# no document: "'_pickle.Pickler' object attribute 'persistent_id' is
# read-only".  An older one does.
NAME = 'plone-6.2-python-3.12'
environments.ENVIRONMENTS[NAME] = dataclasses.replace(
    environments.ENVIRONMENTS['plone-6.2'], python='3.12')

ADDON = {
    'documents/__init__.py': '',
    'documents-1.0.dist-info/METADATA': (
        'Metadata-Version: 2.1\nName: documents\nVersion: 1.0\n'),
    'documents-1.0.dist-info/entry_points.txt': (
        '[z3c.autoinclude.plugin]\ntarget = plone\n'),
    'documents/configure.zcml': """
<configure xmlns:remotetask="http://namespaces.zope.org/remotetask">
  <include package="lovely.remotetask" />
  <remotetask:task name="document" handler=".tasks.document" />
</configure>
""",
    'documents/tasks.py': """
import os
import time

from plone import api


def document(input):
    with open(os.environ['CALLS'], 'a') as out:
        out.write(f'{time.time()} {time.process_time()}\\n')
    folder, title = input
    api.content.create(api.portal.get()[folder], 'Document', title=title)
""",
}

INSTALL = """
import transaction
from zope.component.hooks import setSite

setSite(app.Plone)
app.Plone.portal_setup.runAllImportStepsFromProfile(
    'profile-lovely.remotetask:default')
transaction.commit()
"""

ADD = """
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from plone import api
from zope.component.hooks import setSite

newSecurityManager(None, app.acl_users.getUser('admin'))
setSite(app.Plone)
app.Plone.tasks.clean()
api.content.create(app.Plone, 'Folder', {folder!r})
app.Plone.tasks.addMany('document', [
    ({folder!r}, f'Document {{number}}') for number in range({jobs})])
transaction.commit()
"""

ENDED = """
import json

jobs = list(app.Plone.tasks.jobs.values())
print(json.dumps({{
    'left': sum(job.completedAt is None for job in jobs),
    'errors': sorted({{str(job.error) for job in jobs if job.error}}),
    'made': len(app.Plone[{folder!r}].objectIds()),
    'ended': max((job.completedAt.timestamp() for job in jobs
                  if job.completedAt), default=None)}}))
"""


def measure(plone, calls, folder, jobs, threads):
    """One round.  Returns: {'threads', 'calls', 'seconds', 'cpu'}."""
    calls.write_text('')
    plone.script(ADD.format(folder=folder, jobs=jobs))
    worker = plone.worker(
        'remotetask', 'worker', '--zope-conf', plone.conf, '--service',
        'Plone/tasks', '--threads', str(threads))
    # The counts are asked for late: that takes a Plone of its own.
    waiting.wait_until(lambda: calls.read_text().count('\n') >= jobs,
                       worker.log.read_text, (worker,))
    found = waiting.wait_until(
        lambda: (seen := ended(plone, folder))['left'] == 0 and seen,
        worker.log.read_text, (worker,))
    _, told = plone.end(worker)
    if found['made'] != jobs:
        raise SystemExit(f'{found}\n{told}')
    began, cpu = zip(*(
        map(float, line.split()) for line in calls.read_text().splitlines()),
        strict=True)
    return {'threads': threads, 'calls': len(began),
            'seconds': round(found['ended'] - began[0], 2),
            'cpu': round(max(cpu) - cpu[0], 2)}


def ended(plone, folder):
    return json.loads(plone.script(
        ENDED.format(folder=folder)).splitlines()[-1])


def load_plone():
    """The class that the tests have for a Plone site."""
    spec = importlib.util.spec_from_file_location(
        'plone_of_tests', HOSTS / 'plone' / 'conftest.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Plone


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--jobs', type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        plone = load_plone()(environments.build(NAME), place)
        calls = place / 'calls'
        plone.environ['CALLS'] = str(calls)
        for name, text in ADDON.items():
            path = place / 'addons' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        try:
            plone.make()
            plone.script(INSTALL)
            found = []
            for turn in range(options.rounds):
                for threads in (1, 5):
                    found.append(measure(
                        plone, calls, f'folder-{turn}-{threads}',
                        options.jobs, threads))
                    print(json.dumps(found[-1]), flush=True)
        finally:
            plone.close()
    more = max(each['calls'] for each in found) / options.jobs - 1
    print(f'5 threads, of one (medians): {ratio(found, "seconds"):.2f} of the '
          f'time, {ratio(found, "cpu"):.2f} of the CPU; at most {more:.0%} '
          f'more calls than jobs')


def ratio(found, figure):
    one, five = (statistics.median(
        each[figure] for each in found if each['threads'] == threads)
        for threads in (1, 5))
    return five / one


if __name__ == '__main__':
    main()
