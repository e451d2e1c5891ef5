"""What a run loads of its job: its input, its cursor, the results of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from transaction.interfaces import TransientError

from lovely.remotetask import payload
from lovely.remotetask.errors import TaskError
from lovely.remotetask.errors import WrongWorker

if TYPE_CHECKING:
    from lovely.remotetask.interfaces import IHost
    from lovely.remotetask.job import Job
    from lovely.remotetask.service import TaskService


class ClassMissing(WrongWorker):
    """A class of what a job holds is not there; another release may have it.
    """


def load(name: str, get: Callable[[], Any]) -> Any:
    """What ``get()`` gives, of the database.

    Arguments: ``name``, of that, for the error.
    Raises: ClassMissing; TaskError where it cannot be loaded otherwise.
    """
    try:
        value = get()
        broken = payload.find_broken(value)
    except TransientError:
        raise
    except Exception as error:
        # ZODB raises an error that does not name the cause.
        reason = error.__cause__ or error.__context__ or error
        text = f'cannot load {name}: {type(reason).__name__}: {reason}; '
        if isinstance(reason, ImportError | AttributeError):
            raise ClassMissing(
                text + 'install what brings its class') from error
        raise TaskError(
            text + 'mend its class, then retry the job') from error
    if broken is not None:
        raise ClassMissing(
            f'cannot load {name}: there is no class {broken} any more; '
            f'install what brings it, or give it its old name')
    return value


def load_input(service: TaskService, host: IHost, job: Job) -> Any:
    """A job's input, as the task gets it.  Raises: as ``load``."""
    return host.unpack(service, load('input', lambda: job.input))
