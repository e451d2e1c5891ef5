"""The directives by which an application configures tasks and services."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from pyramid.events import ApplicationCreated
from pyramid.exceptions import ConfigurationError
from pyramid.interfaces import ISecurityPolicy
from pyramid.security import NO_PERMISSION_REQUIRED
from pyramid.settings import asbool

from lovely.remotetask.declaring.scheduled import DeclaredSchedule
from lovely.remotetask.declaring.scheduled import check_schedule_key
from lovely.remotetask.declaring.scheduled import check_task_name
from lovely.remotetask.errors import RemoteTaskError
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.interfaces import IDeclaredSchedule
from lovely.remotetask.interfaces import IHost
from lovely.remotetask.interfaces import ITask
from lovely.remotetask.pyramid import identity
from lovely.remotetask.pyramid import services
from lovely.remotetask.pyramid import web
from lovely.remotetask.pyramid.host import PyramidHost
from lovely.remotetask.pyramid.host import get_connection
from lovely.remotetask.pyramid.xmlrpc import make_view
from lovely.remotetask.run.startup import starts_services
from lovely.remotetask.service import TaskService
from lovely.remotetask.task import FunctionTask
from lovely.remotetask.task import marks
from lovely.remotetask.task import set_options
from lovely.remotetask.task import task_option
from lovely.remotetask.web.pages import compiled

# As many as the command line takes.
_MOST_THREADS = 256

# The setting remotetask.anonymous -> the submitter of jobs of such requests.
_ANONYMOUS = {'everyone': identity.EVERYONE, 'system': None}


def includeme(config: Any) -> None:
    """``config.include('lovely.remotetask.pyramid')``.

    Settings: ``remotetask.base_url``, ``remotetask.connection``,
    ``remotetask.autostart``, ``remotetask.threads``,
    ``remotetask.anonymous``.
    """
    # Without it, no transaction would commit the jobs that a view adds.
    config.include('pyramid_tm')
    settings = config.registry.settings
    config.registry.registerUtility(PyramidHost(
        config.registry,
        config.maybe_dotted(
            settings.get('remotetask.connection') or get_connection),
        _base_url(settings), _anonymous(settings)), IHost)
    config.add_directive('add_remote_task', add_remote_task)
    config.add_directive('add_remotetask_schedule', add_remotetask_schedule)
    config.add_directive('add_task_service', add_task_service)
    config.add_directive('add_remotetask_xmlrpc', add_remotetask_xmlrpc)
    config.add_directive('add_remotetask_web', add_remotetask_web)
    config.add_request_method(services.default_service, 'remotetask',
                              reify=True)
    config.add_request_method(services.task_service, 'task_service')
    config.add_subscriber(services.application_created, ApplicationCreated)


def _base_url(settings: Any) -> str:
    url = settings.get('remotetask.base_url') or 'http://localhost'
    parts = urlsplit(url)
    if parts.scheme not in ('http', 'https') or not parts.netloc:
        raise ConfigurationError(
            f'the setting remotetask.base_url is {url!r}; give the address '
            f'of the application, as in https://www.example.com/app')
    return url.rstrip('/')


def _anonymous(settings: Any) -> str | None:
    wanted = settings.get('remotetask.anonymous') or 'everyone'
    if wanted not in _ANONYMOUS:
        raise ConfigurationError(
            f'the setting remotetask.anonymous is {wanted!r}; give everyone, '
            f'or system if jobs that visitors without a login add are to run '
            f'on the account of the application')
    return _ANONYMOUS[wanted]


def _threads(wanted: Any) -> int | None:
    if wanted in (None, ''):
        return None
    text = str(wanted).strip()      # a text, from a file
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_THREADS:
        raise ConfigurationError(
            f'threads, or the setting remotetask.threads, is {wanted!r}; give '
            f'a whole number from 1 to {_MOST_THREADS}')
    return int(text)


def add_remote_task(config: Any, name: str, task: Any,
                    **options: Any) -> None:
    """Register a task of the application.

    Arguments: ``name`` (str), by which jobs are added; ``task``, a function
    as FunctionTask takes it, an ITask, or the dotted name of either;
    ``options``, as in ITaskOptions, for functions; of one that carries
    ``@task``, those given there hold as far as none are given here.
    Raises: ConfigurationError, here for an object that cannot be a task, at
    the commit for two tasks of one name.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f'the name of a task is a str, not {name!r}')
    made = _made(name, config.maybe_dotted(task), options)
    try:
        check_task_name(name, task_option(made, 'schedule'))
    except RemoteTaskError as error:
        raise ConfigurationError(f'the task {name!r:.80}: {error}') from error
    _register(config, 'task', name, made, ITask)


def _register(config: Any, kind: str, name: str, made: Any, provides: Any
              ) -> None:
    """Register a utility at the commit, and show it to introspection.

    Arguments: ``kind``, ``task`` or ``schedule``: two of one name conflict.
    """
    introspectable = config.introspectable(
        f'remote {kind}s', name, repr(made), f'remote {kind}')
    introspectable.update({'name': name, kind: made})
    config.action(
        (f'remotetask.{kind}', name),
        lambda: config.registry.registerUtility(made, provides, name),
        introspectables=(introspectable,))


def _made(name: str, task: Any, options: dict[str, Any]) -> ITask:
    if ITask.providedBy(task):
        if options:
            raise ConfigurationError(
                f'the task {name!r} is {task!r}, which has its own options: '
                f'set {", ".join(sorted(options))} there')
        return task
    if not callable(task):
        raise ConfigurationError(
            f'the task {name!r} is {task!r}; give a function or an ITask')
    marked = dict(marks(task))
    try:
        if not marked:
            return FunctionTask(task, **options)
        # The options of @task hold as far as none are given here.  A copy:
        # another application may give others.
        made = copy.copy(marked.get(name, next(iter(marked.values()))))
        set_options(made, options)
        return made
    except TypeError as error:
        raise ConfigurationError(f'the task {name!r}: {error}') from error


def add_remotetask_schedule(config: Any, key: str, task: str,
                            **options: Any) -> None:
    """Declare a schedule of a task, beside that of the task itself.

    Arguments: ``key`` (str), by which a later release knows it again;
    ``task``, the name of a task; ``options``, as DeclaredSchedule takes them:
    cron, every, timezone, input and others.
    Raises: ConfigurationError, here for one that cannot be, at the commit for
    two of one key.
    """
    try:
        check_schedule_key(key)
        made = DeclaredSchedule(task, **options)
    except (RemoteTaskError, TypeError) as error:
        raise ConfigurationError(f'schedule {key!r:.80}: {error}') from error
    _register(config, 'schedule', key, made, IDeclaredSchedule)


def add_task_service(config: Any, name: str = '', path: str | None = None,
                     factory: Callable[[], TaskService] | str = TaskService,
                     autostart: bool | None = None,
                     threads: int | None = None) -> None:
    """Declare a task service of the application; it is made where missing.

    Arguments: ``name`` (str), for ``request.task_service(name)``; the service
    without a name is ``request.remotetask``; ``path``, from the root of the
    database (``'site/tasks'``), default ``name``, or ``'tasks'``;
    ``factory``, a callable that makes the service, or its dotted name;
    ``threads``, how many jobs run at once in each of these processes, also
    for a service that is there already; None: as the setting
    ``remotetask.threads`` says, and without it as the service is;
    ``autostart``, whether a thread of each process of the application runs
    its jobs; None: as the setting ``remotetask.autostart`` says.
    Raises: ConfigurationError.
    """
    names = tuple(part for part in (path or name or 'tasks').split('/')
                  if part)
    if not names:
        raise ConfigurationError(
            f"the path of task service {name!r} is {path!r}; give one from "
            f"the root of the database, as in 'tasks'")
    if autostart is None:
        autostart = asbool(
            config.registry.settings.get('remotetask.autostart'))
    if threads is None:
        threads = config.registry.settings.get('remotetask.threads')
    declared = services.Declared(
        name, names, config.maybe_dotted(factory), autostart,
        _threads(threads))
    host = config.registry.getUtility(IHost)
    config.action(('remotetask.service', name),
                  lambda: host.services.update({name: declared}))
    # A conflict of configuration: two names for one service are a mistake.
    config.action(('remotetask.path', names), None)


def add_remotetask_xmlrpc(config: Any, pattern: str,
                          permission: str | None = None,
                          service: str = '') -> None:
    """Answer XML-RPC calls for a service.

    Arguments: ``pattern``, of the route; ``permission``, which the caller
    needs for all methods, in the context of the application's root; None:
    each method takes its own, VIEW or ADD; ``service``, the name of a
    declared service.
    Raises: ConfigurationError at the commit where no security policy would
    check a permission.
    """
    route = f'remotetask.xmlrpc.{service}'
    config.add_route(route, pattern, request_method='POST')
    # Without a CSRF token: no form of a foreign page can send this type.
    config.add_view(
        make_view(service, by_method=permission is None), route_name=route,
        permission=permission or NO_PERMISSION_REQUIRED,
        header=r'Content-Type:text/xml(\s*;|\s*$)', require_csrf=False)

    def check() -> None:
        if permission != NO_PERMISSION_REQUIRED:
            _check_policy(config, f'add_remotetask_xmlrpc({pattern!r})',
                          permission or VIEW)

    config.action(('remotetask.xmlrpc', service), check, order=1)


def add_remotetask_web(config: Any, prefix: str, service: str = '',
                       view: str = VIEW, add: str = ADD,
                       manage: str = MANAGE) -> None:
    """Show the pages of a service below a prefix.

    Arguments: ``prefix``, the path in the application, as in
    ``'/admin/remotetasks'``; ``service``, the name of a declared service;
    ``view``, ``add``, ``manage``, the application's permissions to look, to
    add and cancel jobs, and to do all else, asked in the context of the
    application's root.
    Raises: ConfigurationError for a prefix without a name, and at the commit
    where no security policy would check the permissions.
    """
    prefix = '/' + prefix.strip('/')
    if prefix == '/':
        raise ConfigurationError(
            'the pages need a prefix of their own, as in '
            "config.add_remotetask_web('/admin/remotetasks')")
    route = f'remotetask.web.{service}'
    config.add_route(f'{route}.slash', prefix, request_method=('GET', 'HEAD'))
    config.add_view(web.add_slash, route_name=f'{route}.slash',
                    permission=NO_PERMISSION_REQUIRED)
    # Not "*rest", which matches no line break: what is not there is to be told
    # in our words, also of such a name.
    config.add_route(route, prefix + r'/{rest:[\s\S]*}')
    # The surface asks for the permission and the token itself: it knows which
    # route needs what, and says why it refuses.
    config.add_view(
        web.make_view(service, {VIEW: view, ADD: add, MANAGE: manage}),
        route_name=route, permission=NO_PERMISSION_REQUIRED,
        require_csrf=False)
    config.add_subscriber(_prepare_pages, ApplicationCreated)
    config.action(
        ('remotetask.web', service),
        lambda: _check_policy(config, f'add_remotetask_web({prefix!r})', view),
        order=1)


def _prepare_pages(event: Any) -> None:
    # Workers make the application, too, and show no pages.
    if starts_services():
        compiled.begin()


def _check_policy(config: Any, directive: str, permission: str) -> None:
    if config.registry.queryUtility(ISecurityPolicy) is None:
        raise ConfigurationError(
            f'{directive} needs the permission {permission!r}, and the '
            f'application has no security policy that checks it: every caller '
            f'would be let in; set one, or give NO_PERMISSION_REQUIRED if you '
            f'want that')
