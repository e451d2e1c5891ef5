"""What a task sets for its thread, the next job of the thread does not see."""

import contextvars
import decimal
import sys

import pytest
import transaction

from lovely.remotetask.processor import SimpleProcessor

VARIABLE = contextvars.ContextVar('VARIABLE', default='unset')


def trace(*arguments):
    return None


@pytest.mark.parametrize('raises', [False, True], ids=['ends', 'raises'])
@pytest.mark.parametrize('direct', [False, True], ids=['worker', 'direct'])
def test_what_a_task_sets_is_gone_after_it(
        application, service, register, direct, raises):
    seen = []
    precision = decimal.getcontext().prec
    tracer, profiler = sys.gettrace(), sys.getprofile()

    @register
    def task(input):
        seen.append((VARIABLE.get(), decimal.getcontext().prec))
        VARIABLE.set('of another job')
        decimal.getcontext().prec = 3
        sys.settrace(trace)
        sys.setprofile(trace)
        if raises:
            raise ValueError('no')

    for _ in range(2):
        service.add('task')
    transaction.commit()
    token = VARIABLE.set('of the thread')
    try:
        if direct:
            service.process()
        else:
            processor = SimpleProcessor(application.db, ['tasks'])
            assert processor.processNext() and processor.processNext()
        after = sys.gettrace(), sys.getprofile()
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)
        VARIABLE.reset(token)
    assert seen == [('of the thread', precision)] * 2
    assert after == (tracer, profiler)
    assert decimal.getcontext().prec == precision


def test_a_thread_that_has_no_decimal_context_gets_none_from_a_task(
        application, service, register):
    seen = []
    with decimal.localcontext() as usual:
        usual.prec = 7

        @register
        def task(input):
            seen.append(decimal.getcontext().prec)
            decimal.getcontext().prec = 3

        for _ in range(2):
            service.add('task')
        transaction.commit()
        processor = SimpleProcessor(application.db, ['tasks'])
        # As a new thread begins: no variable is set.
        empty = contextvars.Context()
        assert empty.run(processor.processNext)
        assert empty.run(processor.processNext)
    assert seen == [decimal.DefaultContext.prec] * 2
    assert not [variable for variable in empty
                if variable.name == 'decimal_context']
