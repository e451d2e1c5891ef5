"""The task service as an object of Zope.

``lovely.remotetask.zope.service.TaskService`` is a name inside databases.
"""

from __future__ import annotations

from typing import Any

from AccessControl import ClassSecurityInfo
from AccessControl.class_init import InitializeClass
from OFS.SimpleItem import SimpleItem

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.service import TaskService as CoreTaskService
from lovely.remotetask.zope import host
from lovely.remotetask.zope import permissions

# The attributes that instances have and the class has not.
_ATTRIBUTES = ('jobs', 'jobqueue')


class TaskService(CoreTaskService, SimpleItem):
    """See ITaskService; an item of a folder in Zope.

    Trusted code can call all methods; restricted code, and a URL, reaches
    none of its methods and attributes.  For these there are views, each with
    its permission.
    """

    meta_type = 'Remote Task Service'
    zmi_icon = 'fas fa-tasks'
    # First, so that a click on the service leads to its jobs.
    manage_options = (
        {'label': 'Jobs', 'action': 'dashboard/'}, *SimpleItem.manage_options)

    host = host.ZOPE
    # From SimpleItem, where it is the id: that of the core's service is None.
    __name__ = SimpleItem.__name__

    security = ClassSecurityInfo()
    security.declareObjectProtected(permissions.TITLES[VIEW])
    # Public are only the attributes that a folder's contents page shows.
    security.setDefaultAccess(
        {'id': 1, 'title': 1, 'meta_type': 1, 'zmi_icon': 1})
    # So that its tab "Security" lists them, beside that to look.
    for _name in (ADD, MANAGE):
        security.setPermissionDefault(permissions.TITLES[_name], ('Manager',))
    # A method without a declaration would be as public as its object.
    for _name in {*dir(CoreTaskService), *_ATTRIBUTES, 'host'}:
        if not _name.startswith('_'):
            security.declarePrivate(_name)
    del _name

    def __init__(self, id: str = 'tasks', title: str = '') -> None:
        super().__init__()
        self.id = id
        self.title = title


InitializeClass(TaskService)


def add_service(container: Any, id: str = 'tasks', title: str = ''
                ) -> TaskService:
    """Put a service into a folder.

    Arguments: ``container``, the folder; ``id``, ``title`` (str).
    Returns: the service, wrapped in its folder.
    Raises: the folder's errors about the id.
    Txn: the caller commits.
    """
    return container[container._setObject(id, TaskService(id, title))]
