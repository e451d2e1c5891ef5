"""A child made by fork is a process of its own, with databases of its own."""

import os
import threading
import time
import traceback
from functools import partial

import pytest
import transaction
from ZODB.DB import DB
from ZODB.FileStorage import FileStorage
from ZODB.MappingStorage import MappingStorage

from lovely.remotetask import TaskService
from lovely.remotetask import settings
from lovely.remotetask.edge import db as edge
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.peers import forks
from lovely.remotetask.processor import SimpleProcessor

DEADLINE = 20

pytestmark = pytest.mark.filterwarnings('ignore:.*fork:DeprecationWarning')


def in_child(function):
    """What ``function()`` returns in a child made by fork, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # Nothing but what a child could do: the rest is our parent's.
        try:
            try:
                said = str(function())
            except BaseException:
                said = traceback.format_exc()
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding='utf-8') as answer:
        said = answer.read()
    os.waitpid(child, 0)
    return said


def raised(function):
    try:
        function()
    except ConfigurationError as error:
        return error
    return 'nothing'


def test_a_child_gives_signs_of_life_of_its_own(shared, register):
    register(lambda input: input, 'echo')
    # The parent runs jobs: it has a monitor, and a thread for it.
    shared.start()
    assert shared.until_over(shared.add('echo')) == ['completed']

    def look():
        settings.LOOK_SECONDS = settings.BEAT_SECONDS = 0.05
        shared.db = database = shared._opener()
        processor = shared.start(database).processor
        jobid = shared.add('echo')
        shared.until_over(jobid)

        def beats(service):
            record = service.jobqueue.workers.get(processor.worker.identity.id)
            return record is not None and record.beat.count > 1

        shared.until(beats)
        return sorted(thread.name for thread in threading.enumerate()
                      if thread.name == 'remotetask-monitor')

    assert in_child(look) == "['remotetask-monitor']"


def test_a_database_of_the_parent_is_refused(shared, register):
    """On ZEO, the first load would wait for ever."""
    register(lambda input: input, 'echo')
    # Loaded before the fork, as where an application is loaded first.
    connection = shared.db.open(transaction.TransactionManager())
    service = shared.service(connection)
    service.add('echo')
    processor = shared.processor()

    def look():
        began = time.monotonic()
        said = {str(raised(use)) for use in (
            service.startProcessing,
            lambda: SimpleProcessor(shared.db, shared.path),
            processor.claimNextJob,
            lambda: service.add('echo'))}
        assert time.monotonic() - began < DEADLINE
        return '\n'.join(said)

    line, = in_child(look).splitlines()
    assert 'was opened before this process' in line
    assert 'open it after the fork' in line
    transaction.abort()
    connection.transaction_manager.abort()
    connection.close()


def test_a_child_may_not_wait_for_a_job(shared, register):
    """It would never see the end, on ZEO not even the job."""
    register(lambda input: input, 'echo')
    jobid = shared.add('echo')
    connection = shared.db.open(transaction.TransactionManager())
    service = shared.service(connection)
    said = in_child(lambda: raised(lambda: service.waitFor(jobid, 0)))
    assert 'was opened before this process' in said
    connection.close()


def test_a_processor_of_the_parent_says_so_and_ends(shared, log):
    processor = shared.processor()

    def look():
        thread = threading.Thread(target=processor)
        thread.running = True
        thread.start()
        thread.join(DEADLINE)
        return log if not thread.is_alive() else 'it goes on'

    said = in_child(look)
    assert 'ERROR Processor: the database ' in said


def test_memory_is_a_copy_and_a_file_is_left_to_a_daemon(tmp_path):
    copy = DB(MappingStorage())
    file = DB(FileStorage(str(tmp_path / 'Data.fs')))

    def daemon():
        # Its parent ends, and leaves the file to it.
        if os.fork():
            os._exit(0)
        parent = forks._forked[1]
        deadline = time.monotonic() + DEADLINE
        while os.getppid() == parent and time.monotonic() < deadline:
            pass
        return raised(partial(forks.check_opened_here, file))

    def look():
        return [str(raised(partial(forks.check_opened_here, database)))[:30]
                for database in (copy, file)]

    assert in_child(look) == "['nothing', \"the database 'unnamed' was ope\"]"
    assert in_child(daemon) == 'nothing'
    copy.close()
    file.close()


def test_what_a_child_opens_itself_it_may_use(tmp_path):
    def look():
        database = DB(FileStorage(str(tmp_path / 'Data.fs')))

        def make(connection):
            service = connection.root()['tasks'] = TaskService()
            service.__name__ = 'tasks'

        edge.write(database, make)
        processor = SimpleProcessor(database, ['tasks'])
        return processor.processNext()

    assert in_child(look) == 'False'
