"""The task service as an object of Zope.

``lovely.remotetask.zope.service.TaskService`` is a name inside databases.
"""

from __future__ import annotations

from typing import Any

from AccessControl import ClassSecurityInfo
from AccessControl.class_init import InitializeClass
from OFS.SimpleItem import SimpleItem

from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.service import TaskService as CoreTaskService
from lovely.remotetask.zope import host
from lovely.remotetask.zope import permissions

# Instances have them besides what the class has.
_ATTRIBUTES = ('jobs', 'jobqueue')


class TaskService(CoreTaskService, SimpleItem):
    """See ITaskService; an item of a folder in Zope.

    Code calls it as it likes; by URL, and from restricted code, none of its
    methods and attributes is to be had by anybody.  What is meant for them
    are views, each with its permission.
    """

    meta_type = 'Remote Task Service'
    zmi_icon = 'fas fa-tasks'
    # The views of jobs bring a tab of their own.
    manage_options = SimpleItem.manage_options

    host = host.ZOPE
    # As of every item; the core's service has no id.
    __name__ = SimpleItem.__name__

    security = ClassSecurityInfo()
    security.declareObjectProtected(permissions.TITLES[VIEW])
    # What a folder's contents page shows of each item; nothing else.
    security.setDefaultAccess(
        {'id': 1, 'title': 1, 'meta_type': 1, 'zmi_icon': 1})
    # Without a declaration of its own a method is as public as its object.
    for _name in {*dir(CoreTaskService), *_ATTRIBUTES, 'host'}:
        if not _name.startswith('_'):
            security.declarePrivate(_name)
    del _name

    def __init__(self, id: str = 'tasks', title: str = '') -> None:
        super().__init__()
        self.id = id
        self.title = title


InitializeClass(TaskService)


def add_service(container: Any, id: str = 'tasks', title: str = '') -> Any:
    """Put a service into a folder.

    Arguments: ``container``, the folder; ``id``, ``title`` (str).
    Returns: the service, as it is found in the folder.
    Raises: what the folder has against the id.
    Txn: the caller commits.  Source: new.
    """
    return container[container._setObject(id, TaskService(id, title))]
