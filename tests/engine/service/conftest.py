"""One storage for all tests here: no other one can change their outcome."""

import threading

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage

from lovely.remotetask.context import currentJob
from lovely.remotetask.processor import SimpleProcessor

DEADLINE = 20


@pytest.fixture
def world(tmp_path, make_world):
    """A service of its own in a FileStorage."""
    with make_world(lambda: DB(FileStorage(str(tmp_path / 'Data.fs'))),
                    shared=False) as world:
        yield world


@pytest.fixture
def runs(register):
    """For what time each run was, as '11:00'; and what is called amid it."""
    class Runs(list):
        during = ()

        def times(self):
            found, self[:] = list(self), []
            return found

    runs = Runs()

    def work(input):
        job = currentJob()
        runs.append(f'{job.dueAt:%H:%M}' if job.dueAt else 'beside')
        calls, runs.during = runs.during, ()
        for call in calls:
            call()

    register(work, 'work')
    return runs


@pytest.fixture
def drain(application, service, clock):
    """Run what is due; the clock goes on by a second where times are owed."""
    def drain(most=200):
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        for _ in range(most):
            if not processor.processNext():
                transaction.begin()
                if not any(job.of_next('owed', None)
                           for job in service.jobs.values()):
                    return
                clock.advance(1)
        raise AssertionError(f'more than {most} runs')

    return drain


@pytest.fixture
def elsewhere(application):
    """Do what another worker would: look once, in a thread of its own."""
    def look():
        failures = []

        def work():
            try:
                SimpleProcessor(application.db, ['tasks']).processNext()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(DEADLINE)
        assert not thread.is_alive() and not failures, failures

    return look
