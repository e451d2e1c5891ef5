"""What databases refer to by name, and may therefore never move."""

import pickle

import pytest
from zodbpickle import pickle as zodbpickle

from lovely.remotetask import interfaces
from lovely.remotetask import job
from lovely.remotetask import processor
from lovely.remotetask import service
from lovely.remotetask import task
from lovely.remotetask import testing

BY_REFERENCE = [
    (processor.SimpleProcessor, 'lovely.remotetask.processor'),
    (processor.MultiProcessor, 'lovely.remotetask.processor'),
    (task.TaskError, 'lovely.remotetask.task'),
    (task.SimpleTask, 'lovely.remotetask.task'),
    (task.EchoTask, 'lovely.remotetask.task'),
    (service.TaskService, 'lovely.remotetask.service'),
    (job.Job, 'lovely.remotetask.job'),
    (job.CronJob, 'lovely.remotetask.job'),
    (testing.ITaskStub, 'lovely.remotetask.testing'),
    *((getattr(interfaces, name), 'lovely.remotetask.interfaces')
      for name in ('ITask', 'ITaskService', 'IJob', 'ICronJob',
                   'IProcessor', 'IStartRemoteTasksEvent')),
]


@pytest.mark.parametrize('thing, module', BY_REFERENCE, ids=[
    thing.__name__ for thing, _ in BY_REFERENCE])
def test_by_reference(thing, module):
    assert thing.__module__ == module
    text = f'c{module}\n{thing.__name__}\n'.encode()
    for pickler in (pickle, zodbpickle):
        for protocol in (0, 3):
            pickled = pickler.dumps(thing, protocol)
            assert text in pickled
            assert pickler.loads(pickled) is thing
    # As a database of 0.5.2 has it: protocol 1, the name alone.
    assert pickle.loads(text + b'.') is thing


def test_a_task_error_of_a_database(application):
    error = pickle.loads(
        b"clovely.remotetask.task\nTaskError\n(S'no'\ntR.")
    assert type(error) is task.TaskError and str(error) == 'no'


def test_tasks_round_trip():
    copy = pickle.loads(pickle.dumps(task.SimpleTask(len)))
    assert type(copy) is task.SimpleTask and copy(None, 1, 'four') == 4
    assert type(pickle.loads(pickle.dumps(task.EchoTask()))) is task.EchoTask
