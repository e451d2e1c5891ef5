"""Pages of jobs."""

import itertools

import pytest
import transaction


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')
    register(lambda input: input, 'other')


def pages(service, **query):
    found, start = [], None
    while True:
        jobs, start = service.listJobs(start=start, **query)
        found.append([job.id for job in jobs])
        if start is None:
            return found


def test_newest_first_in_pages(service):
    ids = [service.add('echo', n) for n in range(7)]
    assert pages(service, limit=3) == [
        ids[:-4:-1], ids[-4:-7:-1], ids[-7:-8:-1]]
    service.process()
    assert service.listJobs('queued') == ([], None)
    done = pages(service, status='completed', limit=5)
    assert sorted(itertools.chain(*done)) == sorted(ids)
    assert [len(page) for page in done] == [5, 2]


def test_every_status_is_listed_once(service, register):
    def fail(input):
        raise ValueError

    register(fail)
    failed, done = service.add('fail'), service.add('echo')
    service.process()
    by_status = {
        'error': failed, 'completed': done,
        'queued': service.add('echo'),
        'start later': service.add('echo', startLater=True),
        'delayed': service.add('echo', delay=100),
        'cronjob': service.addCronJob('echo', hour=(3,)),
        'cancelled': service.add('echo'),
        'processing': service.add('echo', priority=3),
    }
    service.cancel(by_status['cancelled'])
    assert service.claimNextJob() == by_status['processing']
    transaction.commit()
    for status, jobid in by_status.items():
        assert service.getStatus(jobid) == status
        assert pages(service, status=status) == [[jobid]], status
    everything = itertools.chain(*pages(service, limit=2))
    assert sorted(everything) == sorted(by_status.values())


def test_scheduled_ones_come_next_run_first(service):
    late, soon = service.add('echo', delay=500), service.add('echo', delay=5)
    assert pages(service, status='delayed') == [[soon, late]]


def test_a_filter_by_task_looks_at_a_bounded_number(service, monkeypatch):
    monkeypatch.setattr('lovely.remotetask.store.listing._FILTER_LOOKS', 5)
    wanted = service.add('other')
    for n in range(12):
        service.add('echo', n)
    found = pages(service, task='other')
    assert found == [[], [], [wanted]]


@pytest.mark.parametrize('query', [
    {'status': 'unknown'}, {'limit': 0}, {'limit': 1001},
    {'start': 'nonsense'}, {'start': 'ready.x'},
    {'start': 'error.1', 'status': 'queued'}])
def test_nonsense_is_refused(service, query):
    with pytest.raises(ValueError):
        service.listJobs(**query)


def test_the_queue_can_be_looked_at_from_both_ends(service):
    ids = [service.add('echo', n) for n in range(20)]
    queue = service._queue
    assert len(queue) == 20 and queue
    assert [job.id for job in queue] == ids
    assert queue[0] is service.jobs[ids[0]]
    assert queue[-1] is service.jobs[ids[-1]]
    assert queue[-3].id == ids[-3] and queue[5].id == ids[5]
    assert [job.id for job in queue[2:4]] == ids[2:4]
    for wrong in (20, -21):
        with pytest.raises(IndexError):
            queue[wrong]


def test_jobs_deleted_or_changed_by_hand_do_no_harm(service):
    gone, changed, kept = (service.add('echo', n) for n in range(3))
    del service.jobs[gone]
    service.jobs[changed].status = 'completed'
    transaction.commit()
    service.process()
    assert service.getStatus(kept) == 'completed'
    assert len(service._queue) == 0
    service.clean()
    assert len(service.jobs) == 0
