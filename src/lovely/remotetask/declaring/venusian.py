"""Lets scans of venusian find decorated functions, such as config.scan().

Where venusian is not installed, nobody scans by it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakSet

from zope.component import getSiteManager

from lovely.remotetask.errors import ConfigurationError
from lovely.remotetask.interfaces import ITask

# The one that Pyramid's config.scan() looks for.
_CATEGORY = 'pyramid'


def attach(func: Callable[..., Any], name: str, made: Any) -> None:
    """Register a task once its module is scanned.

    In Pyramid by the directive ``add_remote_task``; by another scanner in the
    current component registry.
    Arguments: ``func``, which is being decorated; ``made`` (ITask).
    """
    venusian = _venusian()
    if venusian is None:
        return
    # A module may hold a function by two names.
    scanned: WeakSet[Any] = WeakSet()

    def register(scanner: Any, found: str, obj: Any) -> None:
        if scanner in scanned:
            return
        scanned.add(scanner)
        config = getattr(scanner, 'config', None)
        if config is None:
            getSiteManager().registerUtility(made, ITask, name)
            return
        add = getattr(config, 'add_remote_task', None)
        if add is None:
            raise ConfigurationError(
                f"{func.__module__} declares the task {name!r}: call "
                f"config.include('lovely.remotetask.pyramid') before you "
                f"scan it")
        add(name, made)

    venusian.attach(func, register, category=_CATEGORY, depth=_depth(func))


@cache
def _venusian() -> Any:
    try:
        return importlib.import_module('venusian')
    except ImportError:
        return None


def _depth(func: Callable[..., Any]) -> int:
    """How far up from ``attach`` the module of a function is at work.

    venusian takes the module that decorates for that of the function.
    """
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
        if frame.f_globals.get('__name__') == func.__module__:
            return depth
    return 1
