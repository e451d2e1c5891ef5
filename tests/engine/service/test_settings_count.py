"""Numbers of the settings that no test of their own subject changes."""

import pytest

from lovely.remotetask import settings
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.retry import NO_RETRY
from lovely.remotetask.task import FunctionTask


@pytest.fixture
def change(monkeypatch):
    def change(name, number):
        assert getattr(settings, name) != number
        monkeypatch.setattr(settings, name, number)

    return change


def test_the_longest_input_and_result(service, register, change):
    register(FunctionTask(lambda input: 'x' * input, retry=NO_RETRY), 'long')
    register(lambda input: input, 'echo')
    service.add('echo', 'x' * 900)
    change('PAYLOAD_BYTES', 800)
    with pytest.raises(InputRejected, match='longer than 800 bytes'):
        service.add('echo', 'x' * 900)
    jobid = service.add('long', 900)
    service.process()
    assert 'longer than 800 bytes' in service.getError(jobid)


def test_how_much_of_an_error_is_kept(service, register, change):
    def fail(input):
        raise ValueError('x' * 900)

    register(FunctionTask(fail, retry=NO_RETRY), 'fail')
    change('TRACEBACK_CHARS', 300)
    jobid = service.add('fail')
    service.process()
    error = service.jobs[jobid].error
    assert len(error.message) == 300
    kept, cut = error.traceback, '\n...\n'
    assert cut in kept and len(kept) == 300 + len(cut)

