"""The faults of XML-RPC: their codes, and the document that carries one."""

import re
import xmlrpc.client

# The codes of the "specification for fault code interoperability".
PARSE_ERROR = -32700
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
APPLICATION_ERROR = -32500
INTERNAL_ERROR = -32603

#: Characters that no XML 1.0 document may hold, not even escaped.
ILLEGAL = re.compile(
    '[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')


def dump_fault(code: int, message: str) -> bytes:
    """Write a methodResponse that is a Fault.  Never fails.

    Arguments: ``code``, one of the above.
    """
    message = ILLEGAL.sub('\ufffd', message)
    return document(xmlrpc.client.Marshaller().dumps(
        xmlrpc.client.Fault(code, message)))


def explain(error: BaseException) -> str:
    """An error as a text that starts with the name of its type."""
    return f'{type(error).__name__}: {error}'


def document(text: str) -> bytes:
    """The methodResponse around a result or a Fault."""
    # A bare carriage return would reach the reader as a line feed.
    text = text.replace('\r', '&#13;')
    return (f"<?xml version='1.0'?>\n<methodResponse>\n{text}"
            f"</methodResponse>\n").encode()
