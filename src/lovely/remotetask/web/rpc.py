"""XML-RPC: bytes in, bytes out, with the method table of 0.5.2.

The standard library reads and writes the values.  Three things are ours: the
parser refuses document types (the stock one expands entity bombs), integers
over 31 bits travel as <i8> (the stock marshaller faults), and what XML cannot
carry is refused instead of sent broken.
"""

import datetime
import re
import xmlrpc.client
from collections.abc import Callable
from typing import Any
from typing import NamedTuple
from xml.parsers import expat

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.web import presenter

# The fault codes of the "specification for fault code interoperability".
PARSE_ERROR = -32700
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
APPLICATION_ERROR = -32500
INTERNAL_ERROR = -32603

#: ``run(function, writes)`` calls ``function(service)`` in a transaction.
Run = Callable[[Callable[[Any], object], bool], object]

# What no XML 1.0 document may hold, not even escaped.
_ILLEGAL = re.compile(
    '[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')


class Method(NamedTuple):
    """A method of the service: what it is called with, and what it does."""

    function: Callable[..., object]
    signature: tuple[str, ...]      # what it returns, then its arguments
    required: int                   # how many arguments it needs
    writes: bool
    help: str
    more: int = 0       # arguments that 0.5.2's signature does not tell of


METHODS = {
    'getAvailableTasks': Method(
        presenter.available_tasks, ('list',), 0, False,
        'Name the tasks that jobs can be added for.\n\n'
        'Returns a sorted list of names.'),
    'add': Method(
        lambda service, task, input=None, key=None:
            presenter.add(service, task, input, key=key),
        ('int', 'str', 'dict'), 1, True,
        'Add a job for a task, with an input of plain data.\n\n'
        'With a key nothing is added while another job of that key is not '
        'over.\n\n'
        'Returns the id by which the job is known from now on.', more=1),
    'cancel': Method(
        lambda service, jobid: _cancel(service, jobid),
        ('bool', 'int'), 1, True,
        'Cancel a job that has not ended yet.\n\n'
        'Returns True, whatever the job was doing.'),
    'getStatus': Method(
        presenter.status, ('str', 'int'), 1, False,
        'Tell where a job stands.\n\n'
        'Returns one word, such as queued, processing or completed.'),
    'getResult': Method(
        presenter.result, ('dict', 'int'), 1, False,
        'Fetch what the task of a job gave back.\n\n'
        'Returns plain data, and nil as long as there is nothing.'),
    'getError': Method(
        presenter.error, ('str', 'int'), 1, False,
        'Tell why a job failed.\n\n'
        "Returns a text, the word 'None' where nothing went wrong."),
}


def list_methods() -> list[str]:
    """The names of the methods, sorted.  Source: 0.5.2."""
    return sorted(METHODS)


def method_help(name: object) -> str:
    """What a method does.  Raises: UsageError.  Source: 0.5.2."""
    return _method(name).help


def method_signature(name: object) -> list[list[str]]:
    """A list with one signature: return type, then arguments.

    Raises: UsageError.  Source: 0.5.2.
    """
    return [list(_method(name).signature)]


_INTROSPECTION: dict[str, tuple[Callable[..., object], int]] = {
    'listMethods': (list_methods, 0),
    'methodHelp': (method_help, 1),
    'methodSignature': (method_signature, 1),
}
# Most clients ask by these names, 0.5.2's publisher answered to the others.
_INTROSPECTION.update(
    {f'system.{name}': entry for name, entry in _INTROSPECTION.items()})


def respond(body: bytes, run: Run) -> bytes:
    """Answer one XML-RPC call.

    Arguments: ``body``, the request's; ``run``, see ``Run``.
    Returns: a methodResponse: the result, or a Fault with a message for
    people.
    Raises: what ``run`` raises besides a RemoteTaskError or a ValueError
    (TransientErrors, faults of the program): the caller knows what to do.
    Source: 0.5.2.
    """
    try:
        name, arguments = parse(body)
    except xmlrpc.client.Fault as fault:
        return dump_fault(fault.faultCode, fault.faultString)
    return answer(name, arguments, run)


def answer(name: str, arguments: tuple[Any, ...], run: Run) -> bytes:
    """The same for a call that was read already, from ``parse``."""
    try:
        return dump(_call(name, arguments, run))
    except xmlrpc.client.Fault as fault:
        return dump_fault(fault.faultCode, fault.faultString)
    except (RemoteTaskError, ValueError) as error:
        return dump_fault(APPLICATION_ERROR, explain(error))


def explain(error: BaseException) -> str:
    """An error as one readable text, starting with its type's name."""
    return f'{type(error).__name__}: {error}'


def parse(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """Read a methodCall.

    Returns: the method's name and its arguments.
    Raises: Fault for anything else, a document type included.
    Cost: O(len(body)): nothing is expanded.
    """
    unmarshaller = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    parser = expat.ParserCreate()
    parser.StartElementHandler = unmarshaller.start
    parser.EndElementHandler = unmarshaller.end
    parser.CharacterDataHandler = unmarshaller.data
    # Entities can only be declared in a document type: without one there is
    # nothing to expand, whatever the encoding of the text.
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        # expat decodes already: the unmarshaller must not do so again.
        unmarshaller.xml(None, None)  # type: ignore[arg-type]
        parser.Parse(body, True)
        arguments = unmarshaller.close()
    except xmlrpc.client.Fault:
        raise
    except expat.ExpatError as error:
        raise xmlrpc.client.Fault(
            PARSE_ERROR, f'the request is not well-formed XML: {error}'
            ) from None
    # The unmarshaller meets nonsense with whatever happens to break.
    except Exception as error:
        raise xmlrpc.client.Fault(
            PARSE_ERROR, f'the request is not an XML-RPC call: '
            f'{explain(error)}') from None
    name = unmarshaller.getmethodname()
    if not name:
        raise xmlrpc.client.Fault(
            PARSE_ERROR, 'the request names no method: it is no XML-RPC call')
    return name, arguments


def dump(value: Any) -> bytes:
    """Write a methodResponse.

    Raises: InputRejected where XML-RPC cannot carry the value.
    """
    text = _Marshaller(allow_none=True).dumps((value,))
    found = _ILLEGAL.search(text)
    if found:
        raise InputRejected(
            f'the answer holds the character {found.group()!a}, which '
            f'XML cannot carry; ask for it as JSON')
    return _document(text)


def dump_fault(code: int, message: str) -> bytes:
    """Write a methodResponse that is a Fault.  Never fails."""
    message = _ILLEGAL.sub('\ufffd', message)
    return _document(_Marshaller().dumps(xmlrpc.client.Fault(code, message)))


class _Marshaller(xmlrpc.client.Marshaller):

    def __init__(self, allow_none: bool = False) -> None:
        super().__init__(allow_none=allow_none)
        # The base class calls these with itself as first argument.
        ours: dict[Any, Any] = {int: _Marshaller.dump_any_int,
                                datetime.datetime: _Marshaller.dump_utc}
        self.dispatch = self.dispatch | ours

    def dump_any_int(self, value: int, write: Callable[[str], object]
                     ) -> None:
        if xmlrpc.client.MININT <= value <= xmlrpc.client.MAXINT:
            write(f'<value><int>{value}</int></value>\n')
        elif -2 ** 63 <= value < 2 ** 63:
            write(f'<value><i8>{value}</i8></value>\n')
        else:
            raise InputRejected(
                'the answer holds an integer beyond the 64 bits that '
                'XML-RPC can carry; ask for it as JSON')

    def dump_utc(self, value: datetime.datetime,
                 write: Callable[[str], object]) -> None:
        # XML-RPC has no time zones: everything aware is told in UTC.
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC)
        self.dump_datetime(value, write)


def _document(text: str) -> bytes:
    # A bare carriage return would reach the reader as a line feed.
    text = text.replace('\r', '&#13;')
    return (f"<?xml version='1.0'?>\n<methodResponse>\n{text}"
            f"</methodResponse>\n").encode()


def _call(name: str, arguments: tuple[Any, ...], run: Run) -> object:
    if name in _INTROSPECTION:
        function, expected = _INTROSPECTION[name]
        _check_count(name, arguments, expected, expected)
        return function(*arguments)
    method = METHODS.get(name)
    if method is None:
        raise xmlrpc.client.Fault(
            METHOD_NOT_FOUND, f'there is no method {name!r:.80}; there are '
            f'{", ".join(list_methods())}')
    _check_count(name, arguments, method.required,
                 len(method.signature) - 1 + method.more)
    return run(lambda service: method.function(service, *arguments),
               method.writes)


def _cancel(service: Any, jobid: object) -> bool:
    presenter.cancel(service, jobid)
    return True


def _check_count(name: str, arguments: tuple[Any, ...], least: int,
                 most: int) -> None:
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f'{least} to {most}'
        raise xmlrpc.client.Fault(
            INVALID_PARAMS, f'{name} takes {wanted} argument(s), '
            f'not {len(arguments)}')


def _method(name: object) -> Method:
    if not isinstance(name, str) or name not in METHODS:
        raise UsageError(f'there is no method {name!r:.80}; there are '
                         f'{", ".join(list_methods())}')
    return METHODS[name]


def _refuse_doctype(*declaration: object) -> None:
    raise xmlrpc.client.Fault(
        PARSE_ERROR, 'the request holds a document type (<!DOCTYPE ...>): '
        'XML-RPC needs none, and entities are not expanded')
