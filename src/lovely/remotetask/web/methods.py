"""The XML-RPC methods of a service: one list, and one view that has them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING
from typing import Any
from typing import NamedTuple
from typing import TypeVar

from lovely.remotetask.errors import UsageError

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService

_F = TypeVar('_F', bound=Callable[..., Any])


class Method(NamedTuple):
    """How a method is called, and the help that is shown for it."""

    signature: tuple[str, ...]      # the result, then the arguments
    writes: bool
    help: str
    least: int                      # how many arguments it needs
    most: int                       # and how many it takes


#: All methods that are published of a service, by their names.
METHODS: dict[str, Method] = {}

#: The methods that tell of these; they need no service.
INTROSPECTION = ('listMethods', 'methodHelp', 'methodSignature')


# Imported at the first call, and not above: a Zope starts without them.

def _changes() -> ModuleType:
    from lovely.remotetask.web import changes

    return changes


def _presenter() -> ModuleType:
    from lovely.remotetask.web import presenter

    return presenter


def _method(*signature: str, writes: bool = False) -> Callable[[_F], _F]:
    """Put a method on the list; ``methodHelp`` shows its docstring.

    Arguments: ``signature``, the types by XML-RPC's names, as in 0.5.2:
    arguments that are newer are not in it.
    """
    def enlist(function: _F) -> _F:
        _, *parameters = inspect.signature(function).parameters.values()
        METHODS[function.__name__] = Method(
            signature, writes, inspect.getdoc(function) or '',
            sum(one.default is one.empty for one in parameters),
            len(parameters))
        return function

    return enlist


class ServiceMethods:
    """The methods of a service that are published over XML-RPC.

    Each has its full signature: publishers count the arguments by it.
    Arguments: ``context`` (ITaskService); ``request``, the host's.
    Raises: all methods, errors of the service; the host makes Faults of them.
    Txn: the host's.  Source: 0.5.2.
    """

    def __init__(self, context: Any, request: Any) -> None:
        self.context = context
        self.request = request

    @_method('list')
    def getAvailableTasks(self) -> Any:
        """Name the tasks that jobs can be added for.

        Returns a sorted list of names.
        """
        return self._answer(_presenter().available_tasks(
            self._service('getAvailableTasks')))

    @_method('int', 'str', 'dict', writes=True)
    def add(self, task: str, input: object = None,
            key: str | None = None) -> Any:
        """Add a job for a task, with an input of plain data.

        With a key nothing is added while another job of that key is not over.

        Returns the id by which the job is known from now on.
        """
        return self._answer(_changes().add(
            self._service('add'), task, input, key=key))

    @_method('bool', 'int', writes=True)
    def cancel(self, jobid: int) -> Any:
        """Cancel a job that has not ended yet.

        Returns True, also for a job that is over or unknown.
        """
        _changes().cancel(self._service('cancel'), jobid)
        return self._answer(True)

    @_method('str', 'int')
    def getStatus(self, jobid: int) -> Any:
        """Tell where a job stands.

        Returns one word, such as queued, processing or completed.
        """
        return self._answer(_presenter().status(
            self._service('getStatus'), jobid))

    @_method('dict', 'int')
    def getResult(self, jobid: int) -> Any:
        """Fetch what the task of a job gave back.

        Returns plain data, and nil as long as there is nothing.
        """
        return self._answer(_presenter().result(
            self._service('getResult'), jobid))

    @_method('str', 'int')
    def getError(self, jobid: int) -> Any:
        """Tell why a job failed.

        Returns a text, the word 'None' where nothing went wrong.
        """
        return self._answer(_presenter().error(
            self._service('getError'), jobid))

    def listMethods(self) -> Any:
        """Name the methods, sorted."""
        return self._answer(sorted(METHODS))

    def methodHelp(self, name: str) -> Any:
        """Tell what a method does; raises UsageError for an unknown one."""
        return self._answer(_known(name).help)

    def methodSignature(self, name: str) -> Any:
        """List the one signature of a method: return type, then arguments.

        Raises: UsageError for an unknown one.
        """
        return self._answer([list(_known(name).signature)])

    def _service(self, name: str) -> TaskService:
        """The service itself, if the caller may call this method of it."""
        # An application may register the view once more with a weaker
        # permission; the one that the class of the service demands holds all
        # the same.
        getattr(self.context, name)
        # The ZTK hands the service over behind a security proxy, which would
        # close tasks and results to us.  While the module is not loaded there
        # is no proxy.
        security = sys.modules.get('zope.security.proxy')
        service: TaskService = (
            self.context if security is None
            else security.removeSecurityProxy(self.context))
        return service

    def _answer(self, value: Any) -> Any:
        """Turn a result into what the host's publisher sends."""
        return value


def unknown(name: object) -> str:
    """The message about a method that does not exist."""
    return (f'there is no method {name!r:.80}; there are '
            f'{", ".join(sorted(METHODS))}')


def _known(name: object) -> Method:
    if not isinstance(name, str) or name not in METHODS:
        raise UsageError(unknown(name))
    return METHODS[name]
