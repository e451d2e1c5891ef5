"""XML-RPC: the bytes of a call in, the bytes of its answer out.

The standard library reads and writes the values.  We do three things in our
own way: the parser refuses document types (the standard one expands entity
bombs), integers over 31 bits travel as <i8> (the standard marshaller raises),
and text that XML cannot carry is refused instead of sent broken.
"""

from __future__ import annotations

import datetime
import xmlrpc.client
from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any
from xml.parsers import expat

from lovely.remotetask.errors import InputRejected
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.web import plain
from lovely.remotetask.web.methods import INTROSPECTION
from lovely.remotetask.web.methods import METHODS
from lovely.remotetask.web.methods import ServiceMethods
from lovely.remotetask.web.methods import unknown
from lovely.remotetask.web.xmlrpc_faults import APPLICATION_ERROR
from lovely.remotetask.web.xmlrpc_faults import ILLEGAL
from lovely.remotetask.web.xmlrpc_faults import INVALID_PARAMS
from lovely.remotetask.web.xmlrpc_faults import METHOD_NOT_FOUND
from lovely.remotetask.web.xmlrpc_faults import PARSE_ERROR
from lovely.remotetask.web.xmlrpc_faults import document
from lovely.remotetask.web.xmlrpc_faults import dump_fault
from lovely.remotetask.web.xmlrpc_faults import explain

if TYPE_CHECKING:
    from lovely.remotetask.web.presenter import Run


def respond(body: bytes, run: Run, name: str | None = None) -> bytes:
    """Answer one XML-RPC call.

    Arguments: ``body``, the request's; ``run``, see presenter.Run; ``name``,
    of the method, where the URL names it: then the body's does not count.
    Returns: a methodResponse: the result, or a Fault with a message for
    people.
    Raises: what ``run`` raises, except for RemoteTaskError and ValueError:
    whether a TransientError is tried again is for the caller to decide.
    Source: 0.5.2.
    """
    try:
        named, arguments = parse(body)
        return dump(_call(name or named, arguments, run))
    except xmlrpc.client.Fault as fault:
        return dump_fault(fault.faultCode, fault.faultString)
    except (RemoteTaskError, ValueError) as error:
        return dump_fault(APPLICATION_ERROR, explain(error))


def parse(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """Read a methodCall.

    Returns: the method's name and its arguments.
    Raises: Fault where the body is no methodCall, or has a document type.
    Cost: O(len(body)): nothing is expanded.
    """
    unmarshaller = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    parser = expat.ParserCreate()
    parser.StartElementHandler = unmarshaller.start
    parser.EndElementHandler = unmarshaller.end
    parser.CharacterDataHandler = unmarshaller.data
    # Entities can only be declared in a document type: without one there are
    # none to expand, in any encoding of the text.
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
    # The unmarshaller checks little: a wrong document can raise any error.
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
    found = ILLEGAL.search(text)
    if found:
        raise InputRejected(
            f'the answer holds the character {found.group()!a}, which '
            f'XML cannot carry; ask for it as JSON')
    return document(text)


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
        # XML-RPC has no time zones: every aware datetime is written in UTC.
        value = plain.utc(value)
        if value.utcoffset():
            raise InputRejected(
                f'the answer holds {value}, which is no moment in UTC; ask '
                f'for it as JSON')
        self.dump_datetime(value, write)


def _call(name: str, arguments: tuple[Any, ...], run: Run) -> object:
    # Most clients ask for system.listMethods and so on; the publisher of
    # 0.5.2 answered to the names without the prefix.
    about = name.removeprefix('system.')
    if about in INTROSPECTION:
        expected = 0 if about == 'listMethods' else 1
        _check_count(name, arguments, expected, expected)
        return getattr(ServiceMethods(None, None), about)(*arguments)
    method = METHODS.get(name)
    if method is None:
        raise xmlrpc.client.Fault(METHOD_NOT_FOUND, unknown(name))
    _check_count(name, arguments, method.least, method.most)
    return run(lambda service: getattr(ServiceMethods(service, None), name)(
        *arguments), method.writes)


def _check_count(name: str, arguments: tuple[Any, ...], least: int,
                 most: int) -> None:
    if not least <= len(arguments) <= most:
        wanted = str(least) if least == most else f'{least} to {most}'
        raise xmlrpc.client.Fault(
            INVALID_PARAMS, f'{name} takes {wanted} argument(s), '
            f'not {len(arguments)}')


def _refuse_doctype(*declaration: object) -> None:
    raise xmlrpc.client.Fault(
        PARSE_ERROR, 'the request holds a document type (<!DOCTYPE ...>): '
        'XML-RPC needs none, and entities are not expanded')
