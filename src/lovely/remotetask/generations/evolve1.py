"""The step from 0.5.2 to 1.0, for zope.generations."""

from typing import Any

from lovely.remotetask.edge.log import log
from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.generations.migration import migrate
from lovely.remotetask.generations.migration import old_services
from lovely.remotetask.generations.migration import without_class
from lovely.remotetask.host import current as current_host
from lovely.remotetask.host.paths import show


def evolve(context: Any) -> None:
    """Migrate the services of 0.5.2, as ``remotetask migrate`` does.

    Txn: of its own, in connections of their own.
    """
    host = current_host()
    # Generation 1 is never evolved again: what is left out would stay behind.
    missing = without_class(context.connection, host)
    if missing:
        raise ConfigurationError('; '.join(missing))
    for path in list(old_services(context.connection, host)):
        found = migrate(path)
        if found is not None:
            log.info('service %s is migrated from 0.5.2: %s', show(path),
                     dict(found.after))
