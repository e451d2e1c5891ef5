"""The form of the ZMI that adds a service to a folder."""

from __future__ import annotations

from typing import Any

from Products.Five.browser import BrowserView
from Products.Five.browser.pagetemplatefile import ViewPageTemplateFile
from zExceptions import BadRequest

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.zope.service import add_service
from lovely.remotetask.zope.sites import register


class AddForm(BrowserView):
    """Asks for an id; adds the service when it is posted.

    Context: zope.browser.interfaces.IAdding.
    """

    template = ViewPageTemplateFile('add.pt')

    def __call__(self) -> Any:
        """The form, or after a POST the way back to the folder.

        Raises: BadRequest for an id that the folder refuses.
        Txn: the publisher's.
        """
        form = self.request.form
        if self.request.method != 'POST':
            return self.template()
        container = self.context.context
        id = form.get('id', '').strip()
        if not id:
            raise BadRequest('give the service an id')
        service = add_service(container, id, form.get('title', ''))
        if form.get('register'):
            try:
                register(service)
            except ConfigurationError as error:
                raise BadRequest(str(error)) from error
        self.request.response.redirect(
            f'{container.absolute_url()}/manage_main')
        return ''
