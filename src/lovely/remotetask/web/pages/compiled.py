"""The templates, compiled: 0.1 to 0.4 s for each, so before it is needed."""

from __future__ import annotations

import functools
import os
import threading
from importlib import resources
from typing import Any

from lovely.remotetask.edge.log import trace

# Held while one is compiled: two threads would take twice as long for it.
_lock = threading.Lock()

# A child that was forked meanwhile would wait for ever, here or for a module
# that our thread was importing.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release,
                    after_in_child=_lock.release)

# How long (seconds) the thread waits: a host has more to do at its start.
_PAUSE = 1.0

# What the first page that people see is made of.
_FIRST = ('layout', 'parts', 'overview')

# A pause (seconds) in which a request gets the template that it waits for.
_BETWEEN = 0.005

_begun = False


def _folder() -> Any:
    return resources.files(__package__) / 'templates'


@functools.cache
def _loader() -> Any:
    from chameleon import PageTemplateLoader

    return PageTemplateLoader(str(_folder()), '.pt', auto_reload=False)


def template(name: str) -> Any:
    """The template of a file, without the end of its name; compiled."""
    with _lock:
        found = _loader()[name]
        found.cook_check()
    return found


def compile_all() -> None:
    """Compile each template now, those of the first page first."""
    with _lock:
        # The first look for a folder imports modules: see above.
        names = [file.name.removesuffix('.pt') for file in _folder().iterdir()
                 if file.name.endswith('.pt')]
    for name in sorted(names, key=lambda name: (name not in _FIRST, name)):
        template(name)
        # A lock goes to the thread that asks first, and that would be we.
        threading.Event().wait(_BETWEEN)


def begin(pause: float = _PAUSE) -> None:
    """Compile them in a thread, for the first page that is asked for.

    Once in a process: a later call does nothing.
    Arguments: ``pause``, how long (seconds) to wait first: for the host, which
    has more to do at its start, and for programs that end soon.
    """
    global _begun
    if _begun:
        return
    _begun = True
    threading.Thread(target=_compile, args=(pause,), daemon=True,
                     name='remotetask.templates').start()


def _compile(pause: float) -> None:
    threading.Event().wait(pause)
    try:
        with _lock:
            # All that a page needs.
            from lovely.remotetask.web import surface  # noqa: F401
        compile_all()
    except Exception:
        # The first page finds the same, and its log tells of it.
        trace.exception('the pages could not be prepared')
