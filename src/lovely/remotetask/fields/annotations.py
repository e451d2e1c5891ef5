"""Keeps zope.annotation's data of one job out of the class of all jobs."""

from __future__ import annotations

from typing import Any


class _InstanceAnnotations(dict):  # type: ignore[type-arg]
    """Keeps ``__annotations__`` an attribute of instances.

    A descriptor, so that a class never answers for its instances; and the
    dict of the class's own annotations, which is what ``typing`` and
    ``inspect`` expect to find there.
    """

    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is None:
            return self
        instance._p_activate()
        try:
            return instance.__dict__['__annotations__']
        except KeyError:
            raise AttributeError('__annotations__') from None

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__['__annotations__'] = value

    def __delete__(self, instance: Any) -> None:
        try:
            del instance.__dict__['__annotations__']
        except KeyError:
            raise AttributeError('__annotations__') from None


class OwnAnnotations:
    """Base of persistent classes whose instances may be annotated.

    zope.annotation keeps its data in the instance attribute
    ``__annotations__``.  Merely reading that of a class (inspect does) makes
    Python put an empty dict into the class; zope.annotation would then find
    that and write one job's annotations into it, for every job to see.  So
    each class, an application's subclasses included, gets a descriptor there.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.__annotations__ = _InstanceAnnotations(
            cls.__dict__.get('__annotations__', {}))
