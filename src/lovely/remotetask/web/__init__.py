"""One implementation of every network surface; it knows no host.

::

    requests, routing   a request without its framework, and who answers it
    surface             all routes: pages, JSON, probes, metrics
    presenter, changes  a service -> plain data, and back
    plain, selecting    which data that is; which jobs a request is about
    hiding              what tasks hide of their inputs
    pages               what people see: view models, templates, styles
    kept                what a process remembers of each service
    probes, metrics     what supervisors and Prometheus ask
    bounded             a look for a second at most, beside the request
    api                 JSON: routes, functions, the OpenAPI document
    csrf, guard         whose form it is; who may log in to a server
    methods             the methods of XML-RPC
    xmlrpc_calls        the bytes of a call in, the bytes of its answer out
    xmlrpc_faults       the answers to calls that failed
    app, webob_answers  the WSGI application of ``remotetask serve``
    public              the address by which browsers know that

Each other host brings a thin part of its own in the place of ``app``.
"""
