"""The service ``@remotetask`` of plone.restapi: our JSON API, for Volto.

::

    GET  http://localhost:8080/Plone/++api++/@remotetask            stats
    GET  http://localhost:8080/Plone/++api++/@remotetask/jobs/ID
    POST http://localhost:8080/Plone/++api++/@remotetask/jobs
"""

from __future__ import annotations

import dataclasses

from plone.restapi.services import Service
from zExceptions import NotFound
from zope.component import queryUtility
from zope.interface import implementer
from zope.publisher.interfaces import IPublishTraverse

from lovely.remotetask.interfaces import ITaskService
from lovely.remotetask.plone.setup import NAME as SERVICE
from lovely.remotetask.web.names import Names
from lovely.remotetask.zope.dashboard import Dashboard

NAME = '@remotetask'


@implementer(IPublishTraverse)
class RemoteTask(Names, Service):
    """Answers for the site's own service, by its permissions.

    On the site and not on the service: plone.rest leads to no object that is
    no content.
    """

    def render(self) -> bytes:
        """Answer the request.

        Raises: NotFound in a site without the add-on.
        Txn: the publisher's; doomed unless something is changed by it.
        """
        # Whether plone.restapi may be used at all.
        self.check_permission()
        service = queryUtility(ITaskService, SERVICE, context=self.context)
        if service is None:
            raise NotFound(f'this site has no task service {SERVICE!r}: '
                           f'install the add-on "Remote tasks"')
        view = Dashboard(service, self.request)
        base = f'{self.context.absolute_url_path()}/{NAME}'
        path = '/'.join(self._names) or 'stats'
        _, answer = view.answer(f'api/v1/{path}', base)
        headers = dict(answer.headers)
        if 'Location' in headers:
            headers['Location'] = headers['Location'].replace(
                f'{base}/api/v1/', f'{base}/')
        if answer.status == 403 and view.user() is None:
            # What clients of plone.restapi log in for.
            answer = dataclasses.replace(answer, status=401)
        return view.send(dataclasses.replace(answer, headers=headers))
