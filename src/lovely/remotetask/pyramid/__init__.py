"""Pyramid: ``config.include('lovely.remotetask.pyramid')``.

::

    config    directives -> host, services, xmlrpc
    host      what the framework decides; a request for each job
    identity  who acts, and how a job's request gets its user back
    services  the services that an application has declared
    xmlrpc    the view
    worker    for ``remotetask worker --paste``
"""

from lovely.remotetask.pyramid.config import includeme

__all__ = ['includeme']
