"""Zope's names for the permissions of a service."""

from zope.component import queryUtility
from zope.security.interfaces import IPermission

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW

#: The titles of the permissions in Zope's security tabs; configure.zcml
#: declares them.
TITLES = {
    VIEW: 'Remote tasks: View',
    ADD: 'Remote tasks: Add jobs',
    MANAGE: 'Remote tasks: Manage',
}

#: The title of the permission to add a service itself.
ADD_SERVICE = 'Remote tasks: Add services'


def title(permission: str) -> str:
    """The name that AccessControl has for a permission's id.

    For an unknown permission it is the id: no user has that permission.
    """
    if permission in TITLES:
        return TITLES[permission]
    found = queryUtility(IPermission, permission)
    return permission if found is None else str(found.title)
