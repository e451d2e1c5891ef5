"""One flat tuple: 1 MB written per add, O(n) cancels, O(n²) conflicts.

Bytes are counted, and not seconds: they do not depend on the machine.
"""

import pytest
import transaction

QUEUED = 5000


@pytest.fixture(autouse=True)
def echo(register):
    register(lambda input: input, 'echo')


@pytest.fixture
def written(application):
    """How many bytes the storage grew while ``function`` was committed."""
    def written(function):
        size = application.db.storage.getSize
        before = size()
        function()
        transaction.commit()
        return size() - before

    return written


def average(written, function, times=20):
    return sum(written(function) for _ in range(times)) / times


def fill(service, count=QUEUED):
    ids = [service.add('echo', n) for n in range(count)]
    transaction.commit()
    return ids


def test_bytes_written_per_add(service, written):
    empty = average(written, lambda: service.add('echo', 1))
    fill(service)
    full = average(written, lambda: service.add('echo', 1))
    # A bucket of a lane holds up to 120 entries of 16 bytes; the flat tuple
    # of 0.5.2 took 20 bytes per queued job.
    assert full < empty + 3000, (empty, full)


@pytest.mark.parametrize('add', [
    lambda service: service.add('echo', startLater=True),
    lambda service: service.add('echo', delay=1000),
    lambda service: service.addCronJob('echo', hour=(3,))])
def test_bytes_written_per_add_of_other_kinds(service, written, add):
    for _ in range(20):
        add(service)
    empty = average(written, lambda: add(service))
    for _ in range(QUEUED):
        add(service)
    transaction.commit()
    full = average(written, lambda: add(service))
    assert full < 2 * empty + 1000, (empty, full)


def loads(application, service, function):
    """How many records a connection with an empty cache loads for it."""
    connection = application.db.open(transaction.TransactionManager())
    try:
        connection.cacheMinimize()
        again = connection.get(service._p_oid)
        connection.getTransferCounts(clear=True)
        function(again)
        return connection.getTransferCounts()[0]
    finally:
        connection.transaction_manager.abort()
        connection.close()


def test_cancel_of_the_last_of_many(application, service, written):
    ids = fill(service)
    assert written(lambda: service.cancel(ids[-1])) < 6000
    assert loads(application, service,
                 lambda again: again.cancel(ids[-2])) < 120
    assert service.getStatus(ids[-1]) == 'cancelled'
    assert len(service._queue) == QUEUED - 1


def test_a_look_does_not_load_the_queue(application, service):
    """0.5.2 loaded one record, of 100 kB; many small ones are no better."""
    ids = fill(service)
    for look in (lambda again: again.hasJobsWaiting(),
                 lambda again: again.getStatus(ids[-1]),
                 lambda again: again._queue[-1],
                 lambda again: again.claimNextJob()):
        # 64 lanes with their heads, a few blocks, the job.
        assert loads(application, service, look) < 250


def test_a_conflicting_add_was_resolved_in_o_n_2(application, service,
                                                 written):
    """Two connections add many jobs each, from the same snapshot."""
    fill(service)
    again, close = application.fresh(service)
    ours = [service.add('echo', ('ours', n)) for n in range(100)]
    theirs = [again.add('echo', ('theirs', n)) for n in range(100)]
    again._p_jar.transaction_manager.commit()
    # It meets theirs in every lane, and must not raise.
    assert written(lambda: None) < 100 * 6000
    assert len(service._queue) == QUEUED + 200
    assert {service.getStatus(i) for i in ours + theirs} == {'queued'}
    close()


def test_two_connections_add_at_once_and_neither_conflicts(
        application, service):
    """zc.queue resolves this as well; it must not get lost on the way."""
    again, close = application.fresh(service)
    for n in range(50):
        service.add('echo', n)
        again.add('echo', n)
        again._p_jar.transaction_manager.commit()
        transaction.commit()
    transaction.begin()
    assert len(service._queue) == 100
    close()


def test_bytes_written_per_run_do_not_grow(service, written):
    def run():
        assert service.processNext() is True

    fill(service, 200)
    small = average(written, run)
    fill(service)
    large = average(written, run)
    assert large < 2 * small + 1000, (small, large)
