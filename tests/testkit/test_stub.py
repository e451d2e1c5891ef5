"""TaskServiceStub tells what it lacks."""

import traceback

import pytest

from lovely.remotetask.task import EchoTask
from lovely.remotetask.testing import ITaskStub
from lovely.remotetask.testing import TaskServiceStub

ADDS = {
    'add': lambda service, name: service.add(name),
    'addMany': lambda service, name: service.addMany(name, [1]),
    'addCronJob': lambda service, name: service.addCronJob(name, delay=1),
}


@pytest.mark.parametrize('add', ADDS.values(), ids=ADDS)
@pytest.mark.parametrize('name', ['mail', 'mial', None, 1])
def test_a_missing_task_is_told_with_what_is_there(add, name, register):
    register(EchoTask(), 'mail')
    register(EchoTask(), 'index')
    register(EchoTask(), 'stand-in', ITaskStub)
    with pytest.raises(ValueError) as caught:
        add(TaskServiceStub(), name)
    assert type(caught.value) is ValueError
    assert str(caught.value) == 'Task does not exist'
    note, = caught.value.__notes__
    assert note == (
        f"TaskServiceStub has looked for {name!r} among the utilities for "
        f"ITaskStub, which are 'stand-in'.  It does not see those that are "
        f"for ITask alone: 'index', 'mail'.  Register a stand-in in the test: "
        f"provideUtility(task, ITaskStub, {name!r})")
    assert note in ''.join(traceback.format_exception(caught.value))


def test_no_stub_sees_any_task(register):
    register(EchoTask(), 'mail')
    with pytest.raises(ValueError) as caught:
        TaskServiceStub().add('mail')
    assert 'for ITaskStub, which are none.  It' in caught.value.__notes__[0]


def test_many_names_are_cut_short(register):
    for number in range(100):
        register(EchoTask(), f'task{number:03}')
    with pytest.raises(ValueError) as caught:
        TaskServiceStub().add('x')
    note, = caught.value.__notes__
    assert "'task019', and 80 more" in note and 'task020' not in note


def test_nothing_is_told_where_the_stub_sees_all_there_is(register):
    """Doctests of 0.5.2 compare the whole error, with its notes."""
    register(EchoTask(), 'stand-in', ITaskStub)
    with pytest.raises(ValueError, match='^Task does not exist$') as caught:
        TaskServiceStub().add('mail')
    assert not hasattr(caught.value, '__notes__')
