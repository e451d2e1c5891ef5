"""XML-RPC of 0.5.2: no more than a view permission, and 31-bit numbers."""

import xmlrpc.client

import pytest
import transaction

BIG = 2**40


@pytest.fixture
def client(application, service, register, serve):
    """Makes a client for a user with this password."""
    register(lambda input: input, 'echo')
    address = serve(application.db, 'secret')
    return lambda password: xmlrpc.client.ServerProxy(
        f'http://anybody:{password}@{address}/tasks', allow_none=True)


def test_add_and_cancel_needed_only_the_view_permission(client, service):
    stranger = client('wrong')
    jobid = service.add('echo')
    transaction.commit()
    for call in (lambda: stranger.add('echo', 1),
                 lambda: stranger.cancel(jobid)):
        with pytest.raises(xmlrpc.client.ProtocolError) as caught:
            call()
        assert caught.value.errcode in (401, 403)
    transaction.begin()
    assert list(service.jobs) == [jobid]
    assert service.getStatus(jobid) == 'queued'


def test_64_bit_ids_and_ints_over_31_bits_were_faults(client, service):
    ours = client('secret')
    jobid = ours.add('echo', [])
    transaction.begin()
    assert jobid in service.jobs
    service.jobs[jobid].input = {'size': BIG, 'negative': -BIG}
    service.process()
    transaction.commit()
    assert ours.getResult(jobid) == {'size': BIG, 'negative': -BIG}


def test_a_64_bit_id_is_taken(client, application, service, monkeypatch):
    import BTrees

    from lovely.remotetask import TaskService

    monkeypatch.setattr(TaskService, 'family', BTrees.family64)
    del application.root['tasks']
    transaction.commit()
    service = application.service()
    service._v_nextid = BIG
    assert service.add('echo', 1) == BIG
    transaction.commit()
    ours = client('secret')
    # The client of Python sends no i8; a number as text is one, too.
    assert ours.getStatus(str(BIG)) == 'queued'
    assert ours.cancel(str(BIG)) is True
    assert ours.getStatus(str(BIG)) == 'cancelled'
