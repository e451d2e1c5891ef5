"""Processes of a host's environment, forked where its modules are loaded.

There are dozens of them, and most of their CPU would go into imports.  None
of ours is loaded before the fork: each process imports us as a user's does.
The tests of the documents start every process as a user does.
"""

import atexit
import functools
import os

from forked import Forks


@functools.cache
def forks(environment, modules):
    """The Forks of an environment, with these modules."""
    environ = {name: value for name, value in os.environ.items()
               if name != 'PYTHONPATH'}
    made = Forks(environment.python, modules, environ | {
        'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONWARNINGS': 'ignore'})
    atexit.register(made.close)
    return made
