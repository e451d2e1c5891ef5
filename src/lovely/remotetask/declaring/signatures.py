"""How the function of a task takes the input of a job: by its signature.

::

    f(input)                    the input, of any type
    f(service, jobid, input)    the same; it knows the job, too
    f()                         nothing
    f(source, width=100)        a mapping: a value for each parameter
    f(source, **others)         the same, which may have other keys, too
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from lovely.remotetask.errors.bounds import shown

_Kind = inspect.Parameter

# How many keys that are no parameters an error names: a client may send any
# number of them.
_KEYS = 20

_STARS: dict[Any, str] = {_Kind.VAR_POSITIONAL: '*', _Kind.VAR_KEYWORD: '**'}

_BY_POSITION = (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)


class Signature(NamedTuple):
    """How a function takes an input.

    Attributes: ``whole``: it is called as f(service, jobid, input);
    ``single``: the input as it is goes to one parameter; ``names``, of the
    parameters that an input fills, in their order; ``required``, those
    without a default, and ``defaults``, of the others by their names;
    ``by_position``, how many of them can be given by their position, and
    ``unnamed``, how many by that alone; ``others``, the name under which keys
    that are no parameter are taken, too (``others`` of ``**others``), or ''.
    """

    whole: bool
    single: bool
    names: tuple[str, ...]
    required: frozenset[str]
    defaults: dict[str, Any]
    by_position: int
    unnamed: int
    others: str

    def __str__(self) -> str:
        found = [name if name in self.required else f'{name}=...'
                 for name in self.names]
        if self.others:
            found.append(f'**{self.others}')
        return ', '.join(found) or 'no parameters'

    # -- a job that is added --------------------------------------------------

    def violations(self, input: Any, quotes: bool = True) -> list[str]:
        """What is wrong with an input: a sentence for each violation.

        Arguments: ``quotes``: may they have parts of the input in them?
        """
        if self.single:
            return []
        if input is None:
            input = {}
        if not isinstance(input, Mapping):
            if not quotes:
                return [f'the input is no mapping with a value for each '
                        f'parameter ({self})']
            if not self.names and not self.others:
                return [f'the input is {shown(input)}, and the task takes '
                        f'none']
            return [f'the input is {shown(input)}; give a mapping with a '
                    f'value for each parameter ({self})']
        found = [f'{name} is missing' for name in self.names
                 if name in self.required and name not in input]
        unknown = [key for key in input if not isinstance(key, str)
                   or (key not in self.names and not self.others)]
        if unknown and not quotes:
            found.append(f'{len(unknown)} of its keys are no parameters '
                         f'(there are: {self})')
            unknown = []
        found += [self._unknown(key) for key in unknown[:_KEYS]]
        if len(unknown) > _KEYS:
            found.append(f'{len(unknown) - _KEYS} more keys are no '
                         f'parameters')
        by_position = [name in input for name in self.names[:self.unnamed]]
        if True in by_position[by_position.count(True):]:
            found.append(
                f'of {", ".join(self.names[:self.unnamed])}, which the '
                f'function takes by position alone, one is left out before '
                f'another')
        return found

    def _unknown(self, name: Any) -> str:
        return f'{shown(name)} is no parameter (there are: {self})'

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]
             ) -> tuple[Any, list[str]]:
        """The input that stands for the arguments of a call.

        Returns: the input, and a sentence for each violation.
        """
        values = dict(zip(self.names[:self.by_position], args, strict=False))
        found = []
        if len(args) > self.by_position:
            found.append(f'{len(args)} values by position are too many: at '
                         f'most {self.by_position} ({self})')
        for name, value in kwargs.items():
            if name in values:
                found.append(f'{name} is given twice')
            values[name] = value
        if not self.single:
            return values or None, found + self.violations(values)
        name, = self.names
        found += [self._unknown(other) for other in values if other != name]
        if name in self.required and name not in values:
            found.append(f'{name} is missing')
        return values.get(name), found

    # -- a job that runs ------------------------------------------------------

    def arguments(self, input: Any) -> tuple[list[Any], dict[str, Any]]:
        """The arguments that the function is called with for an input.

        They are of an input without violations; of f(service, jobid, input)
        the last one.
        """
        if self.single:
            # A job without an input gets the default of the parameter.
            return [] if input is None and not self.required else [input], {}
        values = dict(input or {})
        args = []
        for name in self.names[:self.unnamed]:
            # Those behind it are left out as well: see violations.
            if name not in values:
                break
            args.append(values.pop(name))
        return args, values


def signature_of(func: Callable[..., Any]) -> Signature:
    """How a function takes the input of a job.

    Raises: TypeError for one that cannot be a task.
    """
    # A call of these would return before any of the work is done.
    if (inspect.iscoroutinefunction(func) or inspect.isgeneratorfunction(func)
            or inspect.isasyncgenfunction(func)):
        raise TypeError(
            f'{func!r} cannot be a task: calling it only makes a coroutine '
            f'or generator, and nobody runs that; use a plain function')
    try:
        given = list(inspect.signature(func).parameters.values())
    except ValueError:
        # So it is for some that are written in C: max, dict.
        raise TypeError(
            f'{func!r} cannot be a task: it does not tell its parameters; '
            f'write a function that calls it') from None
    named = [one for one in given
             if one.kind not in (_Kind.VAR_POSITIONAL, _Kind.VAR_KEYWORD)]
    rest = [one for one in given if one.kind is _Kind.VAR_POSITIONAL]
    others = ''.join(one.name for one in given
                     if one.kind is _Kind.VAR_KEYWORD)
    required = [one for one in named if one.default is _Kind.empty]
    if _is_whole(func, named, required):
        return _single(func, given, 2)
    if _is_input(named, required, others):
        return _single(func, given, 0)
    if rest:
        raise TypeError(
            f'{func!r} cannot be a task: a job has a value for each name, and '
            f'none for *{rest[0].name}; take one parameter with a list '
            f'instead')
    return Signature(
        False, False, tuple(one.name for one in named),
        frozenset(one.name for one in required), _defaults(named),
        sum(one.kind in _BY_POSITION for one in named),
        sum(one.kind is _Kind.POSITIONAL_ONLY for one in named), others)


def _single(func: Any, given: list[inspect.Parameter], place: int
            ) -> Signature:
    """The signature of a function whose parameter at ``place``, and none
    behind it, gets the input as it is."""
    one, *behind = given[place:]
    if behind:
        names = ', '.join(_STARS.get(extra.kind, '') + extra.name
                          for extra in behind)
        rename = '' if place else (
            f', or give {one.name} another name, and a mapping will have a '
            f'value for each')
        raise TypeError(
            f'{func!r} cannot be a task: the whole input of a job goes to its '
            f'parameter {one.name}, and nothing to {names}; leave out {names}'
            f'{rename}')
    return Signature(
        place == 2, True, (one.name,),
        frozenset([one.name] if one.default is _Kind.empty else []),
        _defaults([one]), 1, 0, '')


def _defaults(named: list[inspect.Parameter]) -> dict[str, Any]:
    return {one.name: one.default for one in named
            if one.default is not _Kind.empty}


def _is_whole(func: Any, named: list[inspect.Parameter],
              required: list[inspect.Parameter]) -> bool:
    """Is it called as f(service, jobid, input)?

    By the names of the first two, or of how they begin: f(source, left, top)
    takes three parameters of its own, and would take a service for a source.
    """
    first = [one.name.replace('_', '') for one in named[:2]]
    if first == ['service', 'jobid'] and not (
            len(required) == 3
            and all(one.kind in _BY_POSITION for one in required)):
        raise TypeError(
            f'{func!r} cannot be a task: a function that takes service and '
            f'jobid is called as f(service, jobid, input), with three '
            f'positional arguments')
    return (len(required) == 3 and named[:3] == required
            and all(one.kind in _BY_POSITION for one in required)
            and 'service'.startswith(first[0])
            and 'jobid'.startswith(first[1]))


def _is_input(named: list[inspect.Parameter],
              required: list[inspect.Parameter], others: str) -> bool:
    """Is it called as f(input)?

    The first parameter is the only one, or is called ``input`` and no other
    has to be given: then there must be no other, see _single.
    """
    if not named or named[0].kind not in _BY_POSITION:
        return False
    if named[0].name == 'input':
        return required in ([], named[:1])
    return len(named) == 1 and required == named and not others
