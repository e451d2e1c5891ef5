"""The private parts of Zope that our host uses.

tests/packaging/test_private_parts.py has those of other packages, and says
what for.  Each docstring: what there is, in which release, and what breaks.
"""

import ZPublisher.xmlrpc
from ZPublisher.HTTPResponse import HTTPResponse


def test_the_response_below_that_of_xmlrpc():
    """ZPublisher.xmlrpc.Response of Zope 6.3 keeps the one that it wraps at
    _real.  Without it no call over XML-RPC is answered: the wrapper would
    marshal our answer, which is one already.
    """
    below = HTTPResponse()
    response = ZPublisher.xmlrpc.Response(below)
    assert response._real is below
    assert ZPublisher.xmlrpc.is_xmlrpc_response(response)


def test_the_databases_of_zope():
    """Zope 6.3 keeps its open databases in the list Zope2.opened, which is
    in the module before Zope has started.  Without it a server that ends
    stumbles over the connection of a job that still runs.
    """
    import Zope2
    assert isinstance(Zope2.opened, list)
