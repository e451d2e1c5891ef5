"""Open pages ask again and again, and must be no load."""

import dataclasses

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import surface
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import jobs
from lovely.remotetask.web.pages import live


def test_open_pages_are_made_once_a_second(site, service):
    """Each look at the service is one page that was made."""
    now = 0.0

    def look(path, who='jane', may=(VIEW, ADD, MANAGE), **headers):
        request = dataclasses.replace(site.request(
            'GET', path, may=may, x_remotetask_live='1', **headers), user=who)
        return live.answer(
            request, lambda: frame.render(request, jobs.show(request, '')),
            lambda: now)

    answers = [look('jobs') for _ in range(20)]
    assert len(site.writes) == 1
    assert {one.body for one in answers} == {answers[0].body}
    tag = answers[0].headers['ETag']
    assert look('jobs', if_none_match=tag).status == 304
    # As a proxy that compresses passes it.
    assert look('jobs', if_none_match=f'W/{tag}').status == 304
    # Others have pages of their own, and so has who may do less.
    look('jobs', 'john')
    assert b'With selected' not in look('jobs', may=(VIEW,)).body
    assert len(site.writes) == 3
    now = 0.9
    service(lambda service: service.add('echo', 1))
    assert look('jobs', if_none_match=tag).status == 304
    now = 1.1
    assert look('jobs', if_none_match=tag).status == 200
    assert len(site.writes) == 4


def test_an_account_with_many_pages_open_waits(site):
    def look(number, who='jane'):
        request = dataclasses.replace(site.request(
            'GET', f'jobs?task=t{number}', x_remotetask_live='1'), user=who)
        return surface.respond(request)

    statuses = [look(number).status for number in range(12)]
    assert statuses == [200] * live.MOST + [429] * 2
    refused = look(11)
    assert refused.headers['Retry-After'] == '1'
    assert b'too many pages open' in refused.body
    # What is there costs nothing, and others are not held up.
    assert look(0).status == look(11, 'john').status == 200
    # A page that is no live answer is never refused.
    assert site.get('jobs?task=t11').status == 200
