"""The details of jobs, and the forms by which cron jobs are added and edited.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from typing import Any

from zope.publisher.browser import BrowserView
from zope.security.proxy import removeSecurityProxy

from lovely.remotetask.browser import cron_form
from lovely.remotetask.browser.service import address_of
from lovely.remotetask.browser.service import template
from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.web import changes
from lovely.remotetask.web import csrf
from lovely.remotetask.web import surface
from lovely.remotetask.web.pages import acting
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response
from lovely.remotetask.ztk.dashboard import ServiceView

if TYPE_CHECKING:
    from lovely.remotetask.job import CronJob
    from lovely.remotetask.service import TaskService


class JobDetail(BrowserView):
    """What ``jobs.html`` tells of a job for whose task there is no view."""

    def __call__(self) -> str:
        """The text, as HTML."""
        return 'No input detail available'


class CronJobDetail(BrowserView):
    """The same of a cron job: when it runs next."""

    def __call__(self) -> str:
        """The text, as HTML."""
        at = self.context.scheduledAt
        return ('not yet scheduled' if at is None
                else f'Scheduled for {at:%Y-%m-%d %H:%M:%S} UTC')


class _CronJobForm(ServiceView):
    """What both forms have in common."""

    _title = ''
    #: The button that stores, its label, and the code of what it has done.
    _name = ''
    _label = ''
    _done = ''

    def _respond(self, asked: Request) -> Response:
        return surface.respond_by(self._answer, asked)

    def _answer(self, request: Request) -> Response:
        request.demand(MANAGE)
        if request.method in ('GET', 'HEAD'):
            form: Any = request.run(lambda service: self._form(
                service, request.query.get('form.task')), False)
            return self._render(request, form)
        if request.method != 'POST':
            raise Refused(405, f'{request.method:.20} does nothing here; use '
                               f'GET or POST', 'GET, POST')
        given = frame.read_form(request)
        if 'form.actions.cancel' in given:
            return self._leave()
        if self._name not in given:
            raise Refused(400, f'the form has no button {self._name!r}')
        csrf.check_form(request, given)
        form = request.run(lambda service: self._form(
            service, given.get('form.task', [''])[0]), False)
        return self._take(request, form, given)

    def _take(self, request: Request, form: cron_form.CronForm,
              given: dict[str, list[str]]) -> Response:
        if form.is_planned:
            return self._render(request, form, status=409)
        if form.asks_anew(given.get(cron_form.ASKED, [''])[0]):
            # The page that was sent knew of another task.
            with suppress(InputRejected):
                form.read(given)
            return self._render(request, form, f'Nothing was stored yet: fill '
                                               f'in below what {form.task} '
                                               f'takes.')
        try:
            form.read(given)
            jobid = request.run(lambda service: self._store(service, form),
                                True)
        except InvalidTransition:
            raise
        except (UsageError, ValueError) as error:
            return self._render(request, form, str(error), 400)
        acting.note(request, f'{self._done} cron job {jobid}')
        return self._leave(self._done)

    def _form(self, service: TaskService, task: str | None
              ) -> cron_form.CronForm:
        """The form before anything is typed."""
        raise NotImplementedError

    def _store(self, service: TaskService, form: cron_form.CronForm
               ) -> int:
        """Store what was read.  Returns: the job's id."""
        raise NotImplementedError

    def _leave(self, done: str = '') -> Response:
        return frame.see_address(address_of(self._service(), self.request),
                                 done=done)

    def _render(self, request: Request, form: cron_form.CronForm,
                problem: str = '', status: int = 200) -> Response:
        return frame.render(request, frame.Page(
            template('cronjob'), self._title, 'jobs.html', {
                'form': form, 'here': request.here, 'problem': problem,
                'button': (self._name, self._label)}, status))


class AddCronJob(_CronJobForm):
    """``addcronjob.html``"""

    _title = 'Add a cron job'
    _name = 'form.actions.add'
    _label = 'Add'
    _done = 'added'

    def _here(self) -> str:
        return address_of(self._service(), self.request, '@@addcronjob.html')

    def _form(self, service: TaskService, task: str | None
              ) -> cron_form.CronForm:
        return cron_form.CronForm(service, task)

    def _store(self, service: TaskService, form: cron_form.CronForm
               ) -> int:
        return changes.add_schedule(service, **form.given)


class CronJobEdit(_CronJobForm):
    """``<service>/<id>/editjob``"""

    _title = 'Edit a cron job'
    _name = 'form.actions.apply'
    _label = 'Apply'
    _done = 'edited'

    def _service(self) -> TaskService:
        service: TaskService = removeSecurityProxy(self.context).__parent__
        return service

    def _here(self) -> str:
        return address_of(self._service(), self.request,
                          str(self._job().id), 'editjob')

    def _job(self) -> CronJob:
        job: CronJob = removeSecurityProxy(self.context)
        return job

    def _form(self, service: TaskService, task: str | None
              ) -> cron_form.CronForm:
        job = self._job()
        if job.status in FINAL:
            raise Refused(409, f'job {job.id} is over ({job.status}), and '
                               f'begins no further run: add another one')
        return cron_form.CronForm(service, task, job.id)

    def _store(self, service: TaskService, form: cron_form.CronForm
               ) -> int:
        jobid = self._job().id
        changes.edit_schedule(service, jobid, **form.given)
        return jobid
