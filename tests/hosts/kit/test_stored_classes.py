"""The paths of the classes that a host adds to databases.

tests/packaging/test_stored_classes.py says why they never change.
"""

import importlib
import os
import pkgutil

from persistent import Persistent

#: World -> the rooms of the package that it brings in.
ROOMS = {'plain': (), 'pyramid': ('pyramid',), 'ztk': ('ztk', 'generations'),
         'zope': ('zope',), 'plone': ('zope', 'plone')}

#: World -> the persistent classes there.
STORED = {'zope': {'lovely.remotetask.zope.service.TaskService'}}
STORED['plone'] = STORED['zope']


def modules(room):
    package = importlib.import_module(f'lovely.remotetask.{room}')
    yield package
    for found in pkgutil.walk_packages(package.__path__,
                                       f'{package.__name__}.'):
        # This one says by an ImportError that no Zope runs.
        if found.name != 'lovely.remotetask.zope.started':
            yield importlib.import_module(found.name)


def test_no_stored_class_moves_and_none_is_new():
    world = os.environ.get('REMOTETASK_WORLD', 'plain')
    found = {f'{thing.__module__}.{thing.__qualname__}'
             for room in ROOMS[world] for module in modules(room)
             for thing in vars(module).values()
             if isinstance(thing, type) and issubclass(thing, Persistent)
             and thing.__module__ == module.__name__}
    assert found == STORED.get(world, set())


def test_wrapped_inputs_keep_their_path():
    """Not persistent, but part of jobs' inputs; it imports nothing of Zope."""
    from lovely.remotetask.zope.inputs import Wrapped
    assert (Wrapped.__module__, Wrapped.__qualname__) == (
        'lovely.remotetask.zope.inputs', 'Wrapped')
