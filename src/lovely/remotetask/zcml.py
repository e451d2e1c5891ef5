"""The ZCML directives: ``<remotetask:task>``, and one for configure.zcml.

They need the extra [zcml].
"""

from __future__ import annotations

import copy
import inspect
import json
from typing import Any

from zope.component.zcml import handler as call_registry
from zope.configuration.exceptions import ConfigurationError
from zope.configuration.fields import Bool
from zope.configuration.fields import GlobalInterface
from zope.configuration.fields import GlobalObject
from zope.configuration.fields import Tokens
from zope.interface import Interface
from zope.interface import classImplements
from zope.schema import Float
from zope.schema import Int
from zope.schema import TextLine

from lovely.remotetask.declaring.scheduled import DeclaredSchedule
from lovely.remotetask.declaring.scheduled import check_schedule_key
from lovely.remotetask.declaring.scheduled import check_task_name
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import marks
from lovely.remotetask.task import set_options
from lovely.remotetask.task import task_option


class IScheduleOptions(Interface):
    """What says when a task runs by itself."""

    cron = TextLine(
        title='Cron',
        description='A crontab string: when the task runs by itself.',
        required=False)

    every = Float(
        title='Every',
        description='The same as a period, in seconds.',
        required=False)

    timezone = TextLine(
        title='Time zone',
        description='Whose clock counts for cron, as Europe/Vienna.',
        required=False)

    missed = TextLine(
        title='Missed',
        description='What becomes of times at which no worker was there: '
                    'once, skip, all.',
        required=False)

    overlap = TextLine(
        title='Overlap',
        description='What becomes of times amid a run: skip, queue, allow, '
                    'cancel.',
        required=False)


class ITaskDirective(IScheduleOptions):
    """Register a task: a utility that jobs name."""

    name = TextLine(
        title='Name',
        description='The name by which jobs are added.',
        min_length=1,
        required=True)

    handler = GlobalObject(
        title='Handler',
        description='The dotted name of a function, as @task takes it, of '
                    'an ITask, or of a class or factory that implements '
                    'ITask.',
        required=True)

    retry = Int(
        title='Retries',
        description='How often a failed job is tried again.',
        required=False)

    timeout = Float(
        title='Time limit',
        description='Seconds a run may last.',
        required=False)

    groupable = Bool(
        title='Groupable',
        description='May short runs share one commit?',
        required=False)

    remote = Bool(
        title='Remote',
        description='May XML-RPC or JSON add this task?',
        required=False)

    show = Tokens(
        title='Show',
        description='The keys of an input that may be shown, apart by '
                    'spaces; empty: none.',
        value_type=TextLine(),
        required=False)

    keep = Float(
        title='Keep',
        description='Seconds for which jobs of this task are kept once they '
                    'are over; not given: as long as the service keeps them.',
        required=False)

    limit = Int(
        title='Limit',
        description='How many of its jobs run at once.',
        required=False)

    keyLimit = Int(
        title='Limit of a key',
        description='How many of its jobs with one concurrencyKey run at '
                    'once.',
        required=False)

    rate = TextLine(
        title='Rate',
        description='How many of its jobs begin in so many seconds: 100/60.',
        required=False)

    queue = TextLine(
        title='Queue',
        description='The queue of its jobs that name none.',
        required=False)


def task(_context: Any, name: str, handler: Any, **options: Any) -> None:
    """The directive ``<remotetask:task>``.  See ITaskDirective

    Raises: zope.configuration's ConfigurationError for a handler that cannot
    be a task.
    """
    try:
        made = _made_of(name, handler)
        if options:
            # A copy: other directives may name the same object of a module
            # with other options.
            made = copy.copy(made)
            if 'rate' in options:
                options['rate'] = _rate(options['rate'])
            set_options(made, options)
        check_task_name(name, task_option(made, 'schedule'))
    # An object that takes no attributes is an AttributeError.
    except (TypeError, ValueError, AttributeError, UsageError) as error:
        raise ConfigurationError(f'task {name!r}: {error}') from error
    _context.action(
        # The discriminator of <utility>: it conflicts with that, too.
        discriminator=('utility', ITask, name),
        callable=call_registry,
        args=('registerUtility', made, ITask, name, _context.info))


def _rate(text: str) -> tuple[int, float]:
    """The rate that a text like 100/60 gives.  Raises: ValueError."""
    number, _, seconds = text.partition('/')
    try:
        return int(number), float(seconds)
    except ValueError:
        raise ValueError(
            f'rate is {text!r:.80}; give how many jobs may begin, and in how '
            f'many seconds: 100/60') from None


def _made_of(name: str, handler: Any) -> Any:
    """The task that a handler is or makes, or that is made of a function."""
    if ITask.providedBy(handler):
        return handler
    # A function is called only if it declares that it makes tasks: one that
    # lacks an argument by mistake must not do its work while ZCML is read.
    if inspect.isclass(handler) or (callable(handler)
                                    and ITask.implementedBy(handler)):
        made = handler()
        if not ITask.providedBy(made):
            raise TypeError(f'{handler!r} makes {made!r}, which does not '
                            f'provide ITask; declare it with '
                            f'@implementer(ITask)')
        return made
    if not callable(handler):
        raise TypeError(f'{handler!r} is neither a function nor an ITask; '
                        f'name one of these as the handler')
    marked = dict(marks(handler))
    if marked:
        # The options of @task hold as far as the directive gives none.
        return marked.get(name) or next(iter(marked.values()))
    return FunctionTask(handler)


class IScheduleDirective(IScheduleOptions):
    """Declare a schedule of a task, beside that of the task itself."""

    key = TextLine(
        title='Key',
        description='The name by which a later release knows it again.',
        min_length=1,
        required=True)

    task = TextLine(
        title='Task',
        description='The name of the task.',
        min_length=1,
        required=True)

    input = TextLine(
        title='Input',
        description='What the task gets, as JSON.',
        required=False)

    priority = Int(
        title='Priority',
        description='Larger runs earlier: -4 to 3.',
        required=False)

    service = TextLine(
        title='Service',
        description='The path of the one service that has it; not given: '
                    'each whose workers load this.',
        required=False)

    atMost = Int(
        title='At most',
        description="How many missed times missed='all' makes up.",
        required=False)

    deadline = Float(
        title='Deadline',
        description='How many seconds late a run may begin.',
        required=False)


def schedule(_context: Any, key: str, task: str, input: str | None = None,
             **options: Any) -> None:
    """The directive ``<remotetask:schedule>``.  See IScheduleDirective

    Raises: zope.configuration's ConfigurationError for one that cannot be.
    """
    try:
        check_schedule_key(key)
        made = DeclaredSchedule(
            task, input=None if input is None else json.loads(input),
            **options)
    except ValueError as error:
        raise ConfigurationError(
            f'schedule {key!r}: the input is not JSON: {error}') from error
    except RemoteTaskError as error:
        raise ConfigurationError(f'schedule {key!r:.80}: {error}') from error
    _context.action(
        discriminator=('utility', IDeclaredSchedule, key),
        callable=call_registry,
        args=('registerUtility', made, IDeclaredSchedule, key, _context.info))


class IImplementsDirective(Interface):
    """Declare that a class implements an interface.

    ``<class>`` would do, but it brings zope.security.
    """

    class_ = GlobalObject(
        title='Class',
        description='The dotted name of the class.',
        required=True)

    interface = GlobalInterface(
        title='Interface',
        description='The interface that its instances provide.',
        required=True)


def implements(_context: Any, class_: type, interface: Any) -> None:
    """The directive ``<remotetask:implements>``.  See IImplementsDirective
    """
    # No discriminator: the same declaration twice is no conflict.
    _context.action(
        discriminator=None,
        callable=classImplements,
        args=(class_, interface))
