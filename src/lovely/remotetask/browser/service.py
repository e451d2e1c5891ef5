"""``jobs.html``, the list of jobs as 0.5.2 showed it, and ``<service>/<id>``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError
from zope.app.publication.traversers import SimpleComponentTraverser
from zope.component import queryMultiAdapter
from zope.location import LocationProxy
from zope.publisher.interfaces import NotFound
from zope.security.proxy import ProxyFactory
from zope.security.proxy import removeSecurityProxy
from zope.traversing.browser.absoluteurl import absoluteURL

from lovely.remotetask.edge.log import web
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import CANCELLED
from lovely.remotetask.interfaces import COMPLETED
from lovely.remotetask.interfaces import ERROR
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import MAX_PAGE
from lovely.remotetask.interfaces import UNKNOWN
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.store.records import look
from lovely.remotetask.web import csrf
from lovely.remotetask.web import many
from lovely.remotetask.web import presenter
from lovely.remotetask.web import surface
from lovely.remotetask.web.pages import acting
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response
from lovely.remotetask.ztk.dashboard import ServiceView

if TYPE_CHECKING:
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService

_SIZE = 10
#: A row asks a view of the application, and that may load the job's input.
_MOST = 200

#: What a redirect tells the next page; {} is a number.
_MESSAGES = {
    'cleaned': 'Cleaned {} Jobs',
    'cancelled': 'Jobs were successfully cancelled.',
    'none': 'No jobs were selected.',
    'all': 'All jobs cancelled',
    'started': 'Processing was started.',
    'stopped': 'Processing was stopped.',
    'added': 'The cron job was added.',
    'edited': 'The cron job was changed.',
}

#: Statuses of jobs that are not over, as figures count them.
_OPEN = ('processing', 'queued', 'scheduled', 'start later')


@functools.cache
def template(name: str) -> Any:
    """A template of this folder."""
    from chameleon import PageTemplateLoader

    folder = resources.files(__package__) / 'templates'
    return PageTemplateLoader(str(folder), '.pt', auto_reload=False)[name]


class JobsOverview(ServiceView):
    """The page; looks with VIEW, and each button has its own permission."""

    def _here(self) -> str:
        return address_of(self._service(), self.request)

    def _respond(self, asked: Request) -> Response:
        return surface.respond_by(self._answer, asked)

    def _answer(self, request: Request) -> Response:
        request.demand(VIEW)
        if request.method in ('GET', 'HEAD'):
            return self._show(request)
        if request.method != 'POST':
            raise Refused(405, f'{request.method:.20} does nothing here; use '
                               f'GET or POST', 'GET, POST')
        form = frame.read_form(request)
        # In the order of 0.5.2.
        for name, (permission, press) in _BUTTONS.items():
            if name in form:
                request.demand(permission)
                csrf.check_form(request, form)
                return press(request, form)
        raise Refused(400, 'the form has none of the buttons of this page')

    # --- what it shows -------------------------------------------------------

    def _show(self, request: Request) -> Response:
        start = _whole(request, 'start', 0)
        size = _whole(request, 'size', _SIZE)
        if not 1 <= size <= _MOST:
            raise Refused(400, f'size has to be from 1 to {_MOST}')
        after = request.query.get('after') or None
        if after is None and start + size > MAX_PAGE:
            raise Refused(400, f'a start alone leads to the first {MAX_PAGE} '
                               f'jobs; the link "Next" leads to the others')
        found: Any = request.run(functools.partial(
            self._look, request, start, size, after), False)
        return frame.render(request, frame.Page(
            template('jobs'), 'Jobs', 'jobs.html', {
                **found, 'here': request.here,
                'add': address_of(self._service(), self.request,
                                  '@@addcronjob.html'),
                'size': request.query.get('size', ''),
                'kept': [(name, request.query[name])
                         for name in ('start', 'size', 'after')
                         if name in request.query]},
            message=_message(request.query)))

    def _look(self, request: Request, start: int, size: int,
              after: str | None, service: TaskService) -> dict[str, Any]:
        # Without a cursor, the jobs before this page are looked at, too.
        before = 0 if after is not None else start
        jobs, following = service.listJobs(start=after, limit=before + size)
        jobs = jobs[before:]
        total = presenter.total(service)
        may_edit = request.may(MANAGE)
        return {
            'rows': [self._row(service, job, place, may_edit)
                     for place, job in enumerate(jobs)],
            'first': words.number(start + 1),
            'last': words.number(start + len(jobs)),
            'total': words.number(max(total, start + len(jobs))),
            'pages': _pages(start, size, following, total),
            'is_processing': service.isProcessing(),
            'tasks': sorted(service.getAvailableTasks()),
        }

    def _row(self, service: TaskService, job: Job, place: int,
             may_edit: bool) -> dict[str, Any]:
        located = ProxyFactory(LocationProxy(job, service, str(job.id)))
        is_lost = job.status == UNKNOWN
        edits = may_edit and not is_lost and queryMultiAdapter(
            (located, self.request), name='editjob') is not None
        told = presenter.summary(job)
        return {
            'id': str(job.id),
            'class': 'even' if place % 2 else 'odd',
            'task': told['task'] or '?',
            'edit': (f'{address_of(service, self.request, str(job.id))}'
                     f'/editjob' if edits else None),
            'status': told['status'],
            'error': told['error'] if is_lost else None,
            'detail': None if is_lost else self._detail(located, told),
            **{name: words.moment(told[f'{name}At'])
               for name in ('created', 'started', 'completed')}}

    def _detail(self, job: Any, told: Mapping[str, Any]) -> str:
        """What a view of the application tells of a job, as HTML.

        It sees the job as any untrusted code does.
        """
        try:
            view = queryMultiAdapter((job, self.request),
                                     name=f'{told["task"]}_detail')
            if view is None:
                view = queryMultiAdapter((job, self.request), name='detail')
            return 'No detail available' if view is None else str(view())
        except TransientError:
            raise
        except Exception:
            web.exception('the detail view of job %s failed', told['id'])
            return 'detail failed'


def address_of(service: TaskService, request: Any, *names: str) -> str:
    """The absolute path of ``jobs.html``, or of something in a service."""
    path = '/'.join(names or ('@@jobs.html',))
    url = f'{absoluteURL(service, request)}/{path}'
    # Links stay on the host and scheme by which the browser came.
    return re.sub(r'^\w+://[^/]*', '', url)


def _whole(request: Request, name: str, default: int) -> int:
    text = request.query.get(name, '').strip()
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Refused(400, f'{name} has to be a whole number, not '
                           f'{text!r:.80}')
    return int(text)


def _pages(start: int, size: int, following: str | None, total: int
           ) -> list[dict[str, str]]:
    """The links to the page before and the one behind."""
    found = []
    if start:
        first = max(0, start - size)
        if first + size <= MAX_PAGE:
            found.append({
                'rel': 'prev', 'query': f'start={first}&size={size}',
                'text': f'Previous ({words.number(first + 1)} to '
                        f'{words.number(first + size)})'})
        else:
            found.append({'rel': 'prev', 'query': f'start=0&size={size}',
                          'text': f'First (1 to {size})'})
    if following is not None:
        first = start + size
        last = max(first + 1, min(first + size, total))
        found.append({
            'rel': 'next', 'query': f'start={first}&size={size}&after='
                                    f'{words.quoted(following)}',
            'text': f'Next ({words.number(first + 1)} to '
                    f'{words.number(last)})'})
    return found


def _message(query: Mapping[str, str]) -> str:
    number = query.get('n', '')
    text = _MESSAGES.get(query.get('done', ''), '')
    if '{}' not in text:
        return text
    return (text.format(int(number)) if number.isascii()
            and number.isdecimal() and len(number) < 20 else '')


# --- what its buttons do -----------------------------------------------------

_Form = dict[str, list[str]]


def _see(request: Request, form: _Form, done: str, n: object = '') -> Response:
    kept = {name: form[name][0] for name in ('start', 'size', 'after')
            if name in form}
    return frame.see_address(request.here, **kept, done=done, n=str(n))


def _start(request: Request, form: _Form) -> Response:
    request.run(lambda service: service.startProcessing(), True)
    acting.note(request, 'started processing')
    return _see(request, form, 'started')


def _stop(request: Request, form: _Form) -> Response:
    request.run(lambda service: service.stopProcessing(), True)
    acting.note(request, 'stopped processing')
    return _see(request, form, 'stopped')


def _cancel(request: Request, form: _Form) -> Response:
    found = acting.ids(form.get('jobs:list', []))
    if not found:
        return _see(request, form, 'none')

    def cancel(service: TaskService) -> None:
        for jobid in found:
            service.cancel(jobid)

    request.run(cancel, True)
    acting.note(request, f'cancelled {len(found)} jobs of a selection')
    return _see(request, form, 'cancelled')


def _clean(name: str, *statuses: str
           ) -> Callable[[Request, _Form], Response]:
    def clean(request: Request, form: _Form) -> Response:
        answer = many.clean(request.transact, statuses,
                            form.get('from', [None])[0])
        removed = sum(answer['removed'].values())
        acting.note(request, f'removed {removed} jobs')
        before = form.get('n', ['0'])[0]
        removed += int(before) if before.isdecimal() else 0
        if answer['next'] is None:
            return _see(request, {}, 'cleaned', removed)
        return _go_on(request, name, f'Cleaned {removed} Jobs.', {
            'n': str(removed), 'from': answer['next']})

    return clean


def _cancel_all(request: Request, form: _Form) -> Response:
    first, start = form.get('status', [_OPEN[0]])[0], form.get('from')
    if first not in _OPEN:
        raise Refused(400, f'no jobs that are not over have the status '
                           f'{first!r:.80}')
    for status in _OPEN[_OPEN.index(first):]:
        answer = many.cancel_all(request.transact, status,
                                 start[0] if start else None)
        start = None
        acting.note(request, f'cancelled {answer["cancelled"]} jobs with the '
                             f'status {status!r}')
        if answer['next'] is not None:
            return _go_on(request, 'CANCEL_ALL', 'Many jobs are cancelled.', {
                'status': status, 'from': answer['next']})
    return _see(request, {}, 'all')


def _go_on(request: Request, name: str, text: str, kept: dict[str, str]
           ) -> Response:
    """A page that sends the same form once more: a request takes 2 s."""
    return frame.render(request, frame.Page(
        'going_on', 'Jobs', 'jobs.html', {
            'action': request.here, 'text': text, 'back': request.here,
            'hidden': [(name, '1'), *kept.items()]}))


_BUTTONS: dict[str, tuple[str, Callable[[Request, _Form], Response]]] = {
    'STARTPROCESSING': (MANAGE, _start),
    'STOPPROCESSING': (MANAGE, _stop),
    'CANCEL': (ADD, _cancel),
    'CLEAN_ALL': (MANAGE, _clean('CLEAN_ALL', CANCELLED, ERROR, COMPLETED)),
    'CLEAN_ERROR': (MANAGE, _clean('CLEAN_ERROR', ERROR)),
    'CLEAN_CANCELLED': (MANAGE, _clean('CLEAN_CANCELLED', CANCELLED)),
    'CLEAN_COMPLETED': (MANAGE, _clean('CLEAN_COMPLETED', COMPLETED)),
    'CANCEL_ALL': (ADD, _cancel_all),
}


# --- a job by its id ---------------------------------------------------------

class ServiceJobTraverser(SimpleComponentTraverser):
    """Finds a job by its id, and views of the service by their names."""

    def publishTraverse(self, request: Any, name: str) -> Any:
        """See IPublishTraverse

        Raises: Unauthorized for an account that may see no job, whether the
        id is one or not; NotFound.
        """
        if re.fullmatch('[0-9]{1,19}', name):
            jobs = removeSecurityProxy(self.context.jobs)
            with_id = _job(removeSecurityProxy(self.context), jobs, int(name))
            if with_id is not None:
                return with_id
            raise NotFound(self.context, name, request)
        return super().publishTraverse(request, name)


def _job(service: TaskService, jobs: Any, jobid: int) -> Any:
    try:
        if service.getStatus(jobid) == UNKNOWN:
            return None
    except JobNotFound:
        return None
    return LocationProxy(look(jobs, jobid), service, str(jobid))
