"""The private parts of Pyramid and its add-ons that our host uses.

tests/packaging/test_private_parts.py has those of other packages, and says
what for.  Each docstring: what there is, in which release, and what breaks.
"""

import pyramid_zodbconn
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.threadlocal import manager
from ZODB.DB import DB


def test_the_databases_of_a_registry(tmp_path):
    """pyramid_zodbconn 0.8.1 keeps them by name in registry._zodb_databases,
    and the connection of a request at request._primary_zodb_conn.  Without
    the two a job's views open a second connection, and see another state of
    the database than the job.
    """
    config = Configurator(settings={
        'zodbconn.uri': f'file://{tmp_path}/Data.fs'})
    config.include(pyramid_zodbconn)
    config.commit()
    database = config.registry._zodb_databases['']
    assert isinstance(database, DB)
    request = Request.blank('/')
    request.registry = config.registry
    connection = database.open()
    request._primary_zodb_conn = connection
    assert pyramid_zodbconn.get_connection(request) is connection
    connection.close()
    database.close()


def test_finished_callbacks():
    """Pyramid 2.1 calls them by request._process_finished_callbacks().
    Without it what a job's code has asked for at the end of its request never
    happens: add-ons close their connections there.
    """
    request, called = Request.blank('/'), []
    request.add_finished_callback(called.append)
    assert request.finished_callbacks
    request._process_finished_callbacks()
    assert called == [request]


def test_the_stack_of_threadlocals():
    """Pyramid 2.1 keeps them in pyramid.threadlocal.manager.stack, a list.
    Without it what a job pushes and does not pop is there for the next one.
    """
    before = manager.stack[:]
    manager.push({'registry': None, 'request': 'mine'})
    assert manager.stack[-1]['request'] == 'mine'
    manager.stack[:] = before
    assert manager.stack == before
