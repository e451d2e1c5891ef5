"""The time of each page of the web surface, with a very long list of jobs."""

import statistics
from functools import partial
from urllib.parse import parse_qsl

from listing import BATCH
from listing import end
from listing import look_cold
from listing import look_warm

from lovely.remotetask.web import surface
from lovely.remotetask.web.csrf import DailyTokens
from lovely.remotetask.web.pages.compiled import compile_all
from lovely.remotetask.web.requests import Request

#: How often each page is made: by a connection that has made it before, and
#: by a new one.
WARM, COLD = 40, 15

#: Name of the measure -> the path of the page.
PAGES = {
    'overview': '', 'day': '?hours=24', 'week': '?hours=168', 'jobs': 'jobs',
    'completed': 'jobs?status=completed', 'rare': 'jobs?task=rare',
    'job': 'jobs/{job}', 'schedules': 'schedules', 'tasks': 'tasks',
    'workers': 'workers', 'metrics': 'metrics'}


def pages(bench):
    """Each page, once more and for the first time.

    Half of the jobs are queued, half have ended.
    """
    place, jobs = bench.place, bench.sizes.backlog
    path = place.service('pages')
    for start in range(0, jobs // 2, BATCH):
        count = min(BATCH, jobs // 2 - start)
        place.fill(path, count)
        place.do(path, partial(end, count=count))
    jobid = place.see(path, lambda service: service.listJobs(limit=1)[0][0].id)
    compile_all()
    warm, cold = (1, 1) if bench.sizes.smoke else (WARM, COLD)
    figures = {'jobs': jobs}
    for name, page in PAGES.items():
        look = partial(show, page=page.format(job=jobid))
        figures[f'{name}_warm_ms'] = p95(look_warm(place, path, look, warm))
        looked = [look_cold(place, path, look) for _ in range(cold)]
        figures[f'{name}_cold_ms'] = p95([ms for ms, _ in looked])
        figures[f'{name}_loads'] = looked[-1][1]
        figures[f'{name}_bytes'] = place.see(path, lambda service, look=look: (
            len(look(service).body)))
    return figures


def p95(times):
    """The time that 95 of 100 do not exceed."""
    if len(times) < 2:
        return times[0]
    return statistics.quantiles(times, n=20, method='inclusive')[-1]


def show(service, page):
    """A page, by a user who may do all."""
    path, _, query = page.partition('?')
    answer = surface.respond(Request(
        'GET', path, dict(parse_qsl(query)),
        {}, '', bytes, '/tasks', 'http://localhost', 'jane', lambda _: True,
        DailyTokens(lambda: b'secret', 'jane'),
        lambda function, writes: function(service), None))
    assert answer.status == 200, answer.body
    return answer
