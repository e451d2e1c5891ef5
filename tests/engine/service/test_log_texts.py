"""Texts of an application reach the log short, and without control characters.

An exception of a megabyte was logged whole, and a NUL reached the log.
"""

import io
import logging

import pytest
import transaction
import zope.component

from lovely.remotetask import events
from lovely.remotetask.edge.log import runs
from lovely.remotetask.errors import CancelJob
from lovely.remotetask.errors import RetryLater
from lovely.remotetask.errors import TaskError
from lovely.remotetask.processor import SimpleProcessor
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.task import FunctionTask

#: More than any record may be long: message and traceback.
LONGEST = 25_000

BAD = 'begin \0\x1b[2J\r\x9b\ud800 ' + 'x' * 1_000_000


class Broken(Exception):
    def __str__(self):
        raise ZeroDivisionError


class Reason:
    def __str__(self):
        raise ZeroDivisionError


@pytest.fixture
def written():
    """What a handler writes, each record and its fields."""
    stream, records = io.StringIO(), []
    handler = logging.StreamHandler(stream)
    handler.addFilter(lambda record: records.append(record) or True)
    logger = logging.getLogger('lovely.remotetask')
    levels = logger.level, runs.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    runs.setLevel(logging.INFO)

    def written():
        text = stream.getvalue()
        assert records
        for record in records:
            for value in (record.getMessage(), *vars(record).values()):
                if isinstance(value, str):
                    assert len(value) < LONGEST
        return text

    yield written
    logger.removeHandler(handler)
    logger.setLevel(levels[0])
    runs.setLevel(levels[1])


def check(text, count=1):
    assert 'begin' in text
    assert len(text) < LONGEST * count
    for character in text:
        assert character == '\n' or (
            character.isprintable() and not '\ud800' <= character <= '\udfff'
        ), ascii(character)
    text.encode()


def work(application):
    processor = SimpleProcessor(application.db, ['tasks'])
    while processor.processNext():
        pass
    transaction.begin()


@pytest.mark.parametrize('kind', [
    ValueError, TaskError, SystemExit, CancelJob,
    lambda text: RetryLater(60, reason=text)])
@pytest.mark.parametrize('direct', [True, False])
def test_what_a_task_raises(
        application, service, register, written, kind, direct):
    def task(service, jobid, input):
        raise kind(BAD)

    register(FunctionTask(task, retry=NO_RETRY), 'task')
    service.add('task')
    transaction.commit()
    if direct:
        service.process()
        if kind not in (ValueError, SystemExit):
            return              # 0.5.2 logs none of the others
    else:
        work(application)
    check(written(), 2)


def test_what_its_hook_and_a_subscriber_raise(
        application, service, register, written):
    def task(service, jobid, input):
        raise ValueError('why')

    def on_error(context, error):
        raise ValueError(BAD)

    @zope.component.adapter(events.JobFailed)
    def subscriber(event):
        raise ValueError(BAD)

    register(FunctionTask(task, retry=NO_RETRY, on_error=on_error), 'task')
    zope.component.provideHandler(subscriber)
    service.add('task')
    transaction.commit()
    work(application)
    check(written(), 6)


@pytest.mark.parametrize('error', [
    Broken(), TaskError(Reason()), RetryLater(60, reason=Reason())])
@pytest.mark.parametrize('direct', [True, False])
def test_a_text_that_cannot_be_had_fails_no_run(
        application, service, register, wait_for, written, error, direct):
    def task(service, jobid, input):
        raise error

    register(FunctionTask(task, retry=NO_RETRY), 'task')
    jobid = service.add('task')
    transaction.commit()
    if direct:
        service.process()
    else:
        work(application)
    assert service.getStatus(jobid) == (
        'queued' if isinstance(error, RetryLater) else 'error')
