"""What Prometheus scrapes: names, types, and that nothing falls."""

import json
import re
from pathlib import Path

import pytest
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask import TaskService
from lovely.remotetask.edge import db
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.store.history import Sums
from lovely.remotetask.store.workers import Beat
from lovely.remotetask.task import SimpleTask
from lovely.remotetask.testing import FrozenClock
from lovely.remotetask.web import kept

DOCUMENTS = Path(__file__).parents[2] / 'docs' / 'howto'


@pytest.fixture(autouse=True)
def _fresh():
    kept.forget()
    yield
    kept.forget()


def samples(site, query=''):
    from prometheus_client.parser import text_string_to_metric_families

    answer = site.get(f'metrics{query}')
    assert answer.status == 200
    return {(sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(
                answer.body.decode()) for sample in family.samples}


def test_metrics(site, service):
    def work(service):
        service.add('echo', 1)
        service.add('error', None)
        service.process()
        service.add('echo', 1)
        service.pause()

    service(work)
    found = samples(site)
    here = ('service', '/admin/tasks')
    assert found['remotetask_jobs', here, ('status', 'queued')] == 1
    assert found['remotetask_jobs', here, ('status', 'completed')] == 1
    assert found['remotetask_jobs_ended_total', ('outcome', 'completed'),
                 here] == 1
    assert found['remotetask_jobs_ended_total', ('outcome', 'error'),
                 here] == 1
    assert found['remotetask_paused', here] == 1
    assert found['remotetask_workers', here, ('state', 'live')] == 0
    assert found['remotetask_oldest_queued_seconds', here] >= 0
    # A counter does not fall when jobs are removed.
    service(lambda service: service.clean())
    found = samples(site)
    assert found['remotetask_jobs', here, ('status', 'completed')] == 0
    assert found['remotetask_jobs_ended_total', ('outcome', 'completed'),
                 here] == 1


@pytest.fixture
def ends(database, service, tasks):
    """``ends(seconds, task)``: a worker runs a job that takes so long."""
    with FrozenClock() as clock:
        for name in 'slow', 'other':
            tasks(name, SimpleTask(lambda input: clock.advance(input)))
        worker = SimpleProcessor(database, ['tasks']).worker
        worker.enroll()

        def ends(seconds, task='slow', waited=2.0):
            service(lambda service: service.add(task, seconds))
            clock.advance(waited)
            while claims := worker.claim_some():
                worker.work(claims, lambda: True)

        ends.worker, ends.clock = worker, clock
        yield ends
        worker.leave()


def test_run_times_as_a_histogram(site, service, ends):
    for seconds in (0.001, 0.05, 0.05, 3.0, 100.0):
        ends(seconds)
    found, here = samples(site), ('service', '/admin/tasks')
    buckets = {names[1][1]: value for names, value in found.items()
               if names[0] == 'remotetask_job_run_seconds_bucket'}
    assert buckets == {
        '0.005': 1, '0.02': 1, '0.1': 3, '0.5': 3, '2.0': 3, '10.0': 4,
        '60.0': 4, '+Inf': 5}
    assert found['remotetask_job_run_seconds_count', here] == 5
    assert found['remotetask_job_run_seconds_sum', here] == pytest.approx(
        103.101, abs=0.01)
    assert found['remotetask_job_wait_seconds_count', here] == 5
    assert found['remotetask_job_wait_seconds_sum', here] >= 5 * 2
    # They do not fall when jobs are removed.
    service(lambda service: service.clean())
    assert samples(site)['remotetask_job_run_seconds_count', here] == 5
    ends.clock.advance(60)
    for _ in range(70):
        ends(0.05)
    again = samples(site)
    for names, value in found.items():
        if '_seconds_' in names[0] and 'oldest' not in names[0]:
            assert again[names] >= value, names


def test_run_times_by_task(site, service, ends):
    ends(0.001)
    ends(3.0, 'other')

    def counts(query):
        return {dict(names[1:]).get('task'): value
                for names, value in samples(site, query).items()
                if names[0] == 'remotetask_job_run_seconds_count'}

    assert counts('') == counts('?tasks=0') == {None: 2}
    assert counts('?tasks=1') == {'slow': 1, 'other': 1}
    assert site.get('metrics?tasks=2').status == 400


def test_no_more_series_than_tasks_that_were_told_first():
    from lovely.remotetask.web.metrics import _never_less

    told, one = {}, Sums(1, 0, 5, 5, 5, (1, 0, 0, 0, 0, 0, 0, 0))
    for number in range(0, 90, 10):
        found = _never_less(
            told, {f'task {number + more}': one for more in range(10)})
    assert len(found) == 32 and found['task 0'] == one
    # The others of the last look, together.
    assert found['other'].done == 10


def test_metrics_are_what_a_strict_parser_reads(site, service, ends):
    from prometheus_client.openmetrics import parser

    ends(0.001)
    service(lambda service: service.addCronJob('echo', None, minute=(0,)))
    for query in '', '?tasks=1':
        answer = site.get(f'metrics{query}',
                          accept='application/openmetrics-text')
        assert answer.content_type.startswith('application/openmetrics-text')
        families = {family.name: family for family in
                    parser.text_string_to_metric_families(
                        answer.body.decode())}
        assert {name: (family.type, sorted({
            *(label for sample in family.samples for label in sample.labels)}))
            for name, family in families.items()} == {
            'remotetask_jobs': ('gauge', ['service', 'status']),
            'remotetask_jobs_ended': ('counter', ['outcome', 'service']),
            'remotetask_job_run_seconds': (
                'histogram', ['le', 'service', *(['task'] if query else [])]),
            'remotetask_job_wait_seconds': ('summary', ['service']),
            'remotetask_oldest_queued_seconds': ('gauge', ['service']),
            'remotetask_schedule_lag_seconds': ('gauge', ['service']),
            'remotetask_groups_open': ('gauge', ['service']),
            'remotetask_workers': ('gauge', ['service', 'state']),
            'remotetask_worker_threads': ('gauge', ['service', 'state']),
            'remotetask_worker_threads_busy': ('gauge', ['service', 'state']),
            'remotetask_jobs_barred': ('gauge', ['service']),
        'remotetask_queue_paused': ('gauge', ['queue', 'service']),
        'remotetask_queue_ready': ('gauge', ['queue', 'service']),
        'remotetask_paused': ('gauge', ['service']),
            'remotetask_info': ('gauge', ['service', 'storage', 'version'])}
        assert all(family.documentation for family in families.values())


def test_the_lag_of_schedules(site, service):
    here = ('service', '/admin/tasks')

    def lag():
        return samples(site)['remotetask_schedule_lag_seconds', here]

    assert lag() == 0
    with FrozenClock() as clock:
        jobid = service(lambda service: service.addCronJob(
            'echo', None, minute=(0,)))
        assert lag() == 0
        clock.advance(2 * 3600)
        assert 3600 <= lag() <= 7200
        # One that is paused is not late.
        service(lambda service: service.pauseCronJob(jobid))
        assert lag() == 0


def test_a_worker_that_is_silent_is_stale(site, service, ends):
    here = ('service', '/admin/tasks')

    def look():
        found = samples(site)
        kept.forget()
        return ([found['remotetask_workers', here, ('state', state)]
                 for state in ('live', 'stale')],
                site.get('readyz?workers=1').status)

    ends(0.1)
    assert look() == ([1, 0], 200)
    assert 'no longer' not in site.text('workers')
    [name] = service(lambda service: list(service.jobqueue.workers))

    def give_sign(service):
        service.jobqueue.workers[name].beat = beat = Beat()
        beat.at = ends.clock.now()

    # As a worker of a shared database has it.
    service(give_sign)
    ends.clock.advance(39)
    assert look() == ([1, 0], 200)
    ends.clock.advance(2)
    assert look() == ([0, 1], 503)
    assert 'no longer: last sign' in site.text('workers')
    # It is found dead without any beat, too.
    service(lambda service: setattr(
        service.jobqueue.workers[name], 'beat', None))
    assert look() == ([1, 0], 200)
    service(lambda service: setattr(
        service.jobqueue.workers[name], 'evidence',
        (('exclusive', 'of another process'),)))
    assert look() == ([0, 1], 503)
    assert 'No worker runs' not in site.text('')
    service(lambda service: service.add('echo'))
    assert 'No worker runs, and 1 job waits.' in site.text('')


def test_metrics_need_the_permission_and_the_extra(site, monkeypatch):
    import sys

    assert site.get('metrics', may=(ADD, MANAGE)).status == 403
    monkeypatch.setitem(sys.modules, 'prometheus_client', None)
    answer = site.get('metrics')
    assert answer.status == 404
    assert 'lovely.remotetask[metrics]' in answer.body.decode()


@pytest.fixture
def two(database, site):
    """Two services at one address, as virtual hosts of one process show them.

    Gives: a site for each.
    """
    other = type(site)(ZODB.DB(MappingStorage()))

    def make(connection):
        folder = connection.root()['Application'] = PersistentMapping()
        service = folder['tasks'] = TaskService()
        service.__parent__, service.__name__ = folder, 'tasks'
        service.add('echo', 1)
        service.process()
        service.add('echo', 2)

    db.write(other.database, make)
    yield site, other
    other.database.close()


def test_a_probe_answers_for_its_own_service(two):
    site, other = two
    assert json.loads(site.get('readyz').body)['queued'] == 0
    assert json.loads(other.get('readyz').body)['queued'] == 1
    assert json.loads(site.get('readyz').body)['queued'] == 0


def test_counters_are_those_of_their_own_service(two):
    site, other = two
    ended = ('remotetask_jobs_ended_total', ('outcome', 'completed'),
             ('service', '/admin/tasks'))
    assert samples(other)[ended] == 1
    assert samples(site)[ended] == 0


def test_what_the_documentation_queries_is_there(site, service, ends):
    ends(0.1)
    known = {names[0] for names in samples(site, '?tasks=1')}
    for name in 'monitor-a-service.rst', 'grafana.json':
        text = (DOCUMENTS / name).read_text()
        used = set(re.findall(r'\bremotetask_[a-z_]+', text))
        # Families, whose samples have further endings.
        used -= {'remotetask_job_run_seconds', 'remotetask_job_wait_seconds'}
        assert used and used <= known, used - known
        # What an expression selects by is a label of that family.
        labels = {}
        for names in samples(site, '?tasks=1'):
            labels.setdefault(names[0], set()).update(
                label for label, _ in names[1:])
        for family, chosen in re.findall(
                r'(remotetask_[a-z_]+)\{([^}]*)\}', text):
            for label in re.findall(r'(\w+)\s*=', chosen):
                assert label in labels[family], (family, label)
