"""What tests of the engine share, on whichever storage they run."""

import pytest
import transaction
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError

from lovely.remotetask.testing import FrozenClock


@pytest.fixture
def ran(register):
    """The inputs of the jobs of the task ``note`` that ran, in their order."""
    ran = []

    @register
    def note(input):
        ran.append(input)
        return input

    return ran


@pytest.fixture
def clock():
    """The clock of services, which moves only when the test says so."""
    with FrozenClock(1_800_000_000.0) as clock:
        yield clock


@pytest.fixture
def without_savepoints():
    """A class of data managers that know no savepoints, as of a mailer."""
    class WithoutSavepoints:
        transaction_manager = transaction.manager

        def sortKey(self):
            return 'without savepoints'

        def abort(self, txn):
            pass

        tpc_begin = commit = tpc_vote = tpc_finish = tpc_abort = abort

        def __repr__(self):
            return '<WithoutSavepoints>'

    return WithoutSavepoints


@pytest.fixture
def lose_record():
    """``lose_record(storage, oid)``: as a pack does that has missed a
    reference; the id of that transaction."""
    def lose_record(storage, oid):
        _, serial = storage.load(oid)
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        try:
            storage.deleteObject(oid, serial, meta)
            storage.tpc_vote(meta)
        except ConflictError:
            storage.tpc_abort(meta)
            raise
        return storage.tpc_finish(meta)

    return lose_record
