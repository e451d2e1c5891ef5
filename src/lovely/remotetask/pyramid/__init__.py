"""How Pyramid finds a service, who acts in it, and as whom a job runs.

::

    config    includeme and the directives
    host      the IHost: a request for each job
    identity  the user of a request, as text, and back
    services  the services that an application has declared
    xmlrpc    the view
    worker    ``remotetask worker --paste``

An application calls ``config.include('lovely.remotetask.pyramid')``.
"""

from lovely.remotetask.pyramid.config import includeme

__all__ = ['includeme']
