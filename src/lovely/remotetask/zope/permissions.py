"""The permissions of a service, by Zope's names for them."""

from zope.component import queryUtility
from zope.security.interfaces import IPermission

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW

#: What a permission is called in Zope's security tabs.  configure.zcml
#: declares them but the first, which is Zope's own.
TITLES = {
    VIEW: 'View',
    ADD: 'Remote tasks: Add jobs',
    MANAGE: 'Remote tasks: Manage',
}

#: To add a service itself.
ADD_SERVICE = 'Remote tasks: Add services'


def title(permission: str) -> str:
    """The name that AccessControl has for a permission's id.

    Of an unknown one it is the id: nobody has that permission.
    """
    if permission in TITLES:
        return TITLES[permission]
    found = queryUtility(IPermission, permission)
    return permission if found is None else str(found.title)
