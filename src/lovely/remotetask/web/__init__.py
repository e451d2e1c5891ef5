"""One implementation of every network surface; it knows no host.

::

    presenter, plain    a service -> plain data
    methods, rpc        the methods of XML-RPC, and how they are called
    api                 the JSON API: a table of routes
    app, guard          the WSGI application of ``remotetask serve``

A host brings a thin part of its own in the place of ``app``.
"""
