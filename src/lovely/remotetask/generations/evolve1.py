"""The step from 0.5.2 to 1.0, for zope.generations."""

from typing import Any

from lovely.remotetask.host import current as current_host
from lovely.remotetask.host.paths import show
from lovely.remotetask.log import log
from lovely.remotetask.migration import migrate
from lovely.remotetask.migration import old_services


def evolve(context: Any) -> None:
    """Migrate the services of 0.5.2, as ``remotetask migrate`` does.

    Txn: of its own, in connections of their own.
    """
    for path in list(old_services(context.connection, current_host())):
        found = migrate(path)
        if found is not None:
            log.info('service %s is migrated from 0.5.2: %s', show(path),
                     dict(found.after))
