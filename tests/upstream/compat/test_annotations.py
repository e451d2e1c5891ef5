"""Real zope.annotation on services and jobs.

It keeps its data in the instance attribute ``__annotations__``: with a class
annotated in its body, or only looked at, one job's annotations went into the
class, for every job to see.
"""

import inspect
import typing

import pytest
import transaction
from persistent import Persistent
from zope.annotation.attribute import AttributeAnnotations
from zope.annotation.interfaces import IAnnotations
from zope.component import provideAdapter

from lovely.remotetask import TaskService
from lovely.remotetask.interfaces import IJob
from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.job import CronJob
from lovely.remotetask.job import Job

LOOKS = [
    lambda cls: None,
    lambda cls: cls.__annotations__,
    lambda cls: inspect.get_annotations(cls),
    lambda cls: typing.get_type_hints(cls),
]
IDS = ['no look', '__annotations__', 'get_annotations', 'get_type_hints']


@pytest.fixture
def annotatable(components, register):
    # What the ZCML says: both are IAttributeAnnotatable.
    for interface in (IJob, ITaskService):
        provideAdapter(AttributeAnnotations, (interface,), IAnnotations)
    register(lambda input: input, 'echo')


@pytest.mark.parametrize('look', LOOKS, ids=IDS)
def test_annotations_are_each_object_s_own(
        look, application, service, annotatable):
    for cls in (Job, CronJob, TaskService):
        look(cls)
    first, second = service.add('echo'), service.addCronJob(
        'echo', hour=(3,))
    jobs = service.jobs
    assert 'key' not in IAnnotations(jobs[first])
    IAnnotations(jobs[first])['key'] = 'first'
    assert 'key' not in IAnnotations(jobs[second])
    IAnnotations(service)['key'] = 'service'
    IAnnotations(jobs[second])['other'] = 'second'
    transaction.commit()
    for cls in (Job, CronJob, TaskService):
        look(cls)
    # In a reopened database.
    application.connection.cacheMinimize()
    again, close = application.fresh(service)
    assert dict(IAnnotations(again)) == {'key': 'service'}
    assert dict(IAnnotations(again.jobs[first])) == {'key': 'first'}
    assert dict(IAnnotations(again.jobs[second])) == {'other': 'second'}
    assert dict(IAnnotations(Job(1, 'echo', None))) == {}
    close()


@pytest.mark.parametrize('look', LOOKS, ids=IDS)
def test_a_ghost_is_loaded_for_its_annotations(
        look, application, service, annotatable):
    jobid = service.add('echo')
    IAnnotations(service.jobs[jobid])['key'] = 1
    transaction.commit()
    job = service.jobs[jobid]
    job._p_deactivate()
    look(Job)
    assert job._p_changed is None
    assert IAnnotations(job)['key'] == 1


def test_they_survive_the_run(application, service, annotatable):
    jobid = service.add('echo', 'x')
    IAnnotations(service.jobs[jobid])['key'] = 1
    service.process()
    transaction.commit()
    again, close = application.fresh(service)
    assert again.getResult(jobid) == 'x'
    assert IAnnotations(again.jobs[jobid])['key'] == 1
    close()


@pytest.mark.parametrize('cls', [TaskService, Job, CronJob])
def test_no_class_of_ours_is_annotated_in_its_body(cls):
    for base in cls.__mro__:
        if base.__module__.startswith('lovely.') and issubclass(
                base, Persistent):
            assert inspect.get_annotations(base) == {}, base


class SubJob(Job):
    """An application's own kind of job."""


class AnnotatedJob(Job):
    """One whose author annotates attributes, as one does today."""

    colour: str = 'red'


class SubService(TaskService):
    """An application's own kind of service."""

    size: int = 1


@pytest.mark.parametrize('look', LOOKS, ids=IDS)
@pytest.mark.parametrize('cls', [SubJob, AnnotatedJob])
def test_subclasses_of_applications_as_well(
        cls, look, application, annotatable):
    service = application.service(factory=SubService)
    look(cls)
    look(SubService)
    first, second = (service.add('echo', jobClass=cls) for _ in range(2))
    IAnnotations(service.jobs[first])['key'] = 'first'
    assert dict(IAnnotations(service.jobs[second])) == {}
    IAnnotations(service)['key'] = 'service'
    transaction.commit()
    look(cls)
    look(SubService)
    again, close = application.fresh(service)
    assert dict(IAnnotations(again)) == {'key': 'service'}
    assert dict(IAnnotations(again.jobs[first])) == {'key': 'first'}
    assert dict(IAnnotations(again.jobs[second])) == {}
    close()
