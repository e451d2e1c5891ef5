"""Which service the command line finds in a database of somebody else's."""

import pytest
import transaction
from persistent import Persistent
from persistent.mapping import PersistentMapping

from lovely.remotetask import TaskService
from lovely.remotetask.cli import find_service
from lovely.remotetask.cli.failures import Failure
from lovely.remotetask.edge import db
from lovely.remotetask.host import walk
from lovely.remotetask.host.plain import PLAIN


@pytest.fixture
def find(application):
    """``find(path)`` in the database of an application of zope.site."""
    def find(path=None):
        transaction.commit()
        return db.read(application.db, lambda connection: list(
            find_service.find(connection, path, PLAIN)))

    return find


def test_a_utility_of_a_site_is_found(application, find):
    site = application.site('shop')
    service = TaskService()
    site.getSiteManager()['default']['jobs'] = service
    path = ['shop', '++etc++site', 'default', 'jobs']
    assert find() == path
    assert find('/'.join(path)) == path
    found = db.read(application.db, lambda connection: find_service.find(
        connection, None, PLAIN))
    # The object is meant, and not only what has that path.
    assert found.oid == service._p_oid


def test_the_nearest_ones_come_first(application, find):
    application.site('b')['tasks'] = TaskService()
    application.root['a'] = TaskService()
    application.connection.root()['Other'] = PersistentMapping(
        {'tasks': TaskService()})
    with pytest.raises(Failure, match='services: /a, /b/tasks, /Other/tasks'):
        find()
    assert find('Other/tasks') == ['Other', 'tasks']


def test_circles_and_odd_members_do_no_harm(application, find):
    root = application.root
    odd = root['odd'] = PersistentMapping(
        {1: TaskService(), 'a/b': TaskService(), 'text': 'tasks',
         'plain': {'tasks': 5}, 'object': Persistent()})
    odd['me'] = odd
    root['tasks'] = TaskService()
    assert find() == ['tasks']


def test_what_lies_deep_is_left_alone(application, find):
    folder = application.root
    for name in 'abcd':
        folder[name] = PersistentMapping()
        folder = folder[name]
    folder['tasks'] = TaskService()
    with pytest.raises(Failure, match='holds no task service'):
        find()
    # Who knows it may name it.
    assert find('a/b/c/d/tasks') == ['a', 'b', 'c', 'd', 'tasks']


def test_only_a_part_of_a_large_folder_is_looked_at(application, find):
    application.root['many'] = PersistentMapping(
        {f'm{number:05}': PersistentMapping()
         for number in range(walk.IN_CONTAINER)})
    application.root['many']['zzz'] = TaskService()
    with pytest.raises(Failure, match='holds no task service'):
        find()
    assert find('many/zzz') == ['many', 'zzz']
