"""Names and signatures of 0.5.2: what applications import and call."""

import importlib
import inspect
import subprocess
import sys

import BTrees
import pytest
from zope.interface import Interface
from zope.location.interfaces import IContained
from zope.schema import InterfaceField

from lovely.remotetask import interfaces
from lovely.remotetask import job
from lovely.remotetask import processor
from lovely.remotetask import service
from lovely.remotetask import task
from lovely.remotetask import testing
from lovely.remotetask import xmlrpc

NAMES = {
    '': ['TaskService'],
    '.interfaces': [
        'ITask', 'ITaskService', 'IJob', 'ICronJob', 'IProcessor',
        'IStartRemoteTasksEvent', 'QUEUED', 'PROCESSING', 'CANCELLED',
        'ERROR', 'COMPLETED', 'DELAYED', 'CRONJOB', 'STARTLATER'],
    '.task': ['TaskError', 'SimpleTask', 'EchoTask'],
    '.job': ['Job', 'CronJob'],
    '.service': ['TaskService', 'getAutostartServiceNames',
                 'bootStrapSubscriber'],
    '.processor': ['ProcessorRequest', 'ProcessorPublication',
                   'SimpleProcessor', 'MultiProcessor', 'ERROR_MARKER',
                   'THREAD_STARTUP_WAIT'],
    '.testing': ['ITaskStub', 'TaskServiceStub', 'QueueStub',
                 'ExceptionTask'],
    '.xmlrpc': ['RemoteTaskServiceXMLRPCAPI'],
}


@pytest.mark.parametrize('module, name', [
    (module, name) for module, names in NAMES.items() for name in names])
def test_import_path(module, name):
    assert hasattr(importlib.import_module(f'lovely.remotetask{module}'),
                   name)


def test_submodules_come_with_the_package():
    """In a fresh interpreter, where nobody else has imported them."""
    subprocess.run([sys.executable, '-c', (
        'from lovely import remotetask\n'
        'remotetask.task.SimpleTask; remotetask.testing.TaskServiceStub\n'
        'remotetask.interfaces.ITask; remotetask.processor; remotetask.job\n'
        'remotetask.service.TaskService is remotetask.TaskService or 1/0\n'
    )], check=True)


def test_a_name_that_never_was():
    import lovely.remotetask

    with pytest.raises(AttributeError, match='nonsense'):
        lovely.remotetask.nonsense  # noqa: B018


def test_status_strings():
    assert {name: getattr(interfaces, name) for name in (
        'QUEUED', 'PROCESSING', 'CANCELLED', 'ERROR', 'COMPLETED',
        'DELAYED', 'CRONJOB', 'STARTLATER')} == {
            'QUEUED': 'queued', 'PROCESSING': 'processing',
            'CANCELLED': 'cancelled', 'ERROR': 'error',
            'COMPLETED': 'completed', 'DELAYED': 'delayed',
            'CRONJOB': 'cronjob', 'STARTLATER': 'start later'}


def shape(function):
    """A signature without annotations, ``self`` and keyword-only options."""
    signature = inspect.signature(function)
    kept = [p.replace(annotation=p.empty)
            for p in signature.parameters.values()
            if p.name != 'self' and p.kind is not p.KEYWORD_ONLY]
    return str(inspect.Signature(kept))


FIELDS = 'minute=(), hour=(), dayOfMonth=(), month=(), dayOfWeek=()'

SIGNATURES = [
    (task.SimpleTask.__init__, '(func)'),
    (task.SimpleTask.__call__, '(service, jobid, input)'),
    (task.EchoTask.__call__, '(service, jobid, input)'),
    (testing.ExceptionTask.__call__, '(service, jobid, input)'),
    (job.Job.__init__, '(id, task, input)'),
    (job.CronJob.__init__, f'(id, task, input, {FIELDS}, delay=None)'),
    (job.CronJob.update, f'({FIELDS}, delay=None)'),
    (job.CronJob.timeOfNextCall, '(now=None)'),
    (processor.SimpleProcessor.__init__,
     '(db, servicePath, waitTime=1.0)'),
    (processor.SimpleProcessor.__call__, '()'),
    (processor.SimpleProcessor.processNext, '(jobid=None)'),
    (processor.MultiProcessor.__init__, '(*args, **kwargs)'),
    (processor.MultiProcessor.hasJobsWaiting, '()'),
    (processor.MultiProcessor.claimNextJob, '()'),
    (processor.MultiProcessor.processNext, '(jobid=None)'),
    (processor.ProcessorRequest.__init__, '(*args)'),
    (processor.ProcessorPublication.__init__, '(db)'),
    (service.getAutostartServiceNames, '()'),
    (service.bootStrapSubscriber, '(event)'),
    (service.TaskService.getAvailableTasks, '()'),
    # jobClass was the stub's.
    (service.TaskService.add,
     '(task, input=None, startLater=False, jobClass=None)'),
    (service.TaskService.addCronJob,
     f'(task, input=None, {FIELDS}, delay=None)'),
    (service.TaskService.startJob, '(jobid)'),
    (service.TaskService.reschedule, '(jobid)'),
    (service.TaskService.cancel, '(jobid)'),
    (service.TaskService.getStatus, '(jobid)'),
    (service.TaskService.getResult, '(jobid)'),
    (service.TaskService.getError, '(jobid)'),
    (service.TaskService.hasJobsWaiting, '(now=None)'),
    (service.TaskService.claimNextJob, '(now=None)'),
    (service.TaskService.processNext, '(now=None, jobid=None)'),
    (service.TaskService.process, '(now=None)'),
    (service.TaskService.startProcessing, '()'),
    (service.TaskService.isProcessing, '()'),
    (service.TaskService.__init__, '()'),
    (service.TaskService._threadName, '()'),
    (service.TaskService._generateId, '()'),
    (testing.TaskServiceStub.__init__, '()'),
    (testing.TaskServiceStub.add,
     '(task, input=None, startLater=False, jobClass=None)'),
    (testing.QueueStub.pull, '(index=0)'),
    (testing.QueueStub.put, '(item)'),
    (xmlrpc.RemoteTaskServiceXMLRPCAPI.__init__, '(context, request)'),
    (xmlrpc.RemoteTaskServiceXMLRPCAPI.getAvailableTasks, '()'),
    (xmlrpc.RemoteTaskServiceXMLRPCAPI.cancel, '(jobid)'),
    (xmlrpc.RemoteTaskServiceXMLRPCAPI.getStatus, '(jobid)'),
    (xmlrpc.RemoteTaskServiceXMLRPCAPI.getResult, '(jobid)'),
    (xmlrpc.RemoteTaskServiceXMLRPCAPI.getError, '(jobid)'),
]


@pytest.mark.parametrize('function, expected', SIGNATURES, ids=[
    function.__qualname__ for function, _ in SIGNATURES])
def test_signature(function, expected):
    assert shape(function) == expected


@pytest.mark.parametrize('function', [
    xmlrpc.RemoteTaskServiceXMLRPCAPI.add,
    processor.SimpleProcessor.call, service.TaskService.clean,
    service.TaskService.stopProcessing])
def test_signatures_that_allow_more(function):
    """Each 0.5.2 way to call it still binds."""
    bind = inspect.signature(function).bind
    calls = {
        'add': [(None, 'echo', {})],
        'call': [(None, 'm'), (None, 'm', ()), (None, 'm', (), False)],
        'clean': [(None,), (None, ['error'])],
        'stopProcessing': [(None,)]}
    for arguments in calls[function.__name__]:
        assert bind(*arguments)


FIELDS_OF_0_5_2 = {
    interfaces.ITask: 'inputSchema outputSchema __call__',
    interfaces.ITaskService: (
        'jobs taskInterface getAvailableTasks add addCronJob startJob '
        'reschedule clean cancel getStatus getResult getError hasJobsWaiting '
        'processNext process startProcessing stopProcessing isProcessing '
        '__parent__ __name__'),
    interfaces.IJob: (
        'id task status input output error created started completed'),
    interfaces.ICronJob: (
        'minute hour dayOfMonth month dayOfWeek delay scheduledFor update '
        'timeOfNextCall'),
    interfaces.IStartRemoteTasksEvent: 'serviceNames',
    interfaces.IProcessor: 'running __call__',
}


@pytest.mark.parametrize('interface', FIELDS_OF_0_5_2, ids=lambda one: (
    one.__name__))
def test_interfaces_name_what_they_did(interface):
    assert set(FIELDS_OF_0_5_2[interface].split()) <= set(
        interface.names(all=True))


def test_class_attributes_of_the_service():
    made = service.TaskService
    assert made.taskInterface is interfaces.ITask
    assert made.processorFactory is processor.SimpleProcessor
    assert made.processorArguments == {'waitTime': 1.0}
    assert made.family is BTrees.family32
    assert testing.TaskServiceStub.taskInterface is testing.ITaskStub
    assert issubclass(testing.TaskServiceStub, service.TaskService)


def test_interfaces_extend_what_they_did():
    assert interfaces.ITaskService.extends(IContained)
    assert interfaces.ICronJob.extends(interfaces.IJob)
    assert testing.ITaskStub.extends(interfaces.ITask)
    assert interfaces.IStartRemoteTasksEvent.extends(Interface)
    field = interfaces.ITaskService['taskInterface']
    assert isinstance(field, InterfaceField)
    field.validate(interfaces.ITask)


def test_attributes_of_processors(application):
    simple = processor.SimpleProcessor(application.db, ['a', 'b'])
    assert (simple.db, simple.servicePath, simple.waitTime) == (
        application.db, ['a', 'b'], 1.0)
    multi = processor.MultiProcessor(application.db, ['a'], waitTime=0)
    assert (multi.maxThreads, multi.threads, multi.waitTime) == (5, [], 0)
    assert processor.MultiProcessor(
        application.db, ['a'], maxThreads=2).maxThreads == 2
    assert isinstance(multi, processor.SimpleProcessor)
    assert processor.THREAD_STARTUP_WAIT == 0.05


def test_reprs():
    def double(x):
        return 2 * x

    assert repr(task.SimpleTask(double)).startswith(
        '<SimpleTask <function ')
    assert repr(task.EchoTask()) == '<EchoTask>'
    assert repr(testing.ExceptionTask()) == '<ExceptionTask>'
    assert repr(job.Job(1, 'echo', {})) == '<Job 1>'
    assert repr(job.CronJob(2, 'echo', {})) == '<CronJob 2>'


def test_simpletask_calls_its_function_with_the_input():
    assert task.SimpleTask(lambda input: input * 2)(None, 1, 21) == 42
    with pytest.raises(ZeroDivisionError):
        testing.ExceptionTask()(None, 1, None)


def test_taskerror_has_a_message():
    assert str(task.TaskError()).startswith('An error occurred while')
    assert str(task.TaskError('mine')) == 'mine'
    assert issubclass(task.TaskError, Exception)
