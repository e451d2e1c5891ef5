"""One implementation of every network surface; it knows no host.

::

    presenter, plain    a service -> plain data
    methods             the methods of XML-RPC
    xmlrpc_calls        the bytes of a call in, the bytes of its answer out
    xmlrpc_faults       the answers to calls that failed
    api                 the JSON API: a table of routes
    app, guard          the WSGI application of ``remotetask serve``

A host brings a thin part of its own in the place of ``app``.
"""
