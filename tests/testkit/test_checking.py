"""assert_added and refute_added tell what there is."""

import pytest
import transaction

from lovely.remotetask.testing import TaskServiceStub
from lovely.remotetask.testing import assert_added
from lovely.remotetask.testing import refute_added
from lovely.remotetask.testing import stand_in


@pytest.fixture(params=[True, False], ids=['stub', 'service'])
def shop(request, components):
    with stand_in(lambda input: input, 'mail'), stand_in(repr, 'index'):
        yield (TaskServiceStub() if request.param
               else request.getfixturevalue('service'))


def test_jobs_in_their_order(shop):
    ids = [shop.add('mail', name) for name in ('mia', 'tom', 'mia')]
    shop.add('index', 'mia')
    assert [job.id for job in assert_added(shop, 'mail')] == ids
    assert [job.id for job in assert_added(shop, 'mail', 'mia', 2)] == [
        ids[0], ids[2]]
    assert [job.id for job in assert_added(shop, 'mail', input='tom')] == [
        ids[1]]
    refute_added(shop, 'mail', 'eva')
    refute_added(shop, 'none')


def test_none_is_an_input_like_any_other(shop):
    shop.add('mail')
    assert_added(shop, 'mail', None, 1)
    refute_added(shop, 'mail', input=0)


def test_jobs_that_have_ended_count(shop):
    shop.add('mail', 1)
    shop.cancel(shop.add('mail', 2))
    shop.process()
    assert {job.status for job in assert_added(shop, 'mail', count=2)} == {
        'completed', 'cancelled'}


def test_count_zero(shop):
    assert assert_added(shop, 'mail', count=0) == []
    shop.add('mail')
    with pytest.raises(AssertionError, match=r'^0 job\(s\) of'):
        assert_added(shop, 'mail', count=0)


def test_the_message_tells_what_jobs_there_are(shop):
    with pytest.raises(AssertionError) as caught:
        assert_added(shop, 'mail')
    assert str(caught.value) == (
        "at least one job of 'mail' should have been added, and there are "
        "none; the service has no jobs")
    first, second = shop.add('mail', 'mia'), shop.add('index')
    for call, text in (
            (lambda: assert_added(shop, 'mail', 'tom'),
             "at least one job of 'mail' with the input 'tom' should have "
             "been added, and there are none; "),
            (lambda: assert_added(shop, 'mail', count=2),
             "2 job(s) of 'mail' should have been added, and there are 1; "),
            (lambda: refute_added(shop, 'index'),
             "no job of 'index' should have been added, and there are 1; ")):
        with pytest.raises(AssertionError) as caught:
            call()
        assert str(caught.value) == (
            f"{text}the jobs of the service:\n"
            f"  {first}: 'mail' queued, input 'mia'\n"
            f"  {second}: 'index' queued, input None")


def test_a_message_has_an_end(shop):
    shop.addMany('mail', ['x' * 1000] * 100)
    with pytest.raises(AssertionError) as caught:
        refute_added(shop, 'mail')
    text = str(caught.value)
    assert len(text) < 4000 and text.endswith('  and 80 more')


def test_it_looks_at_the_transaction_of_the_test(service, components):
    with stand_in(repr, 'index'):
        service.add('index')
        assert_added(service, 'index')
        transaction.abort()
        refute_added(service, 'index')
