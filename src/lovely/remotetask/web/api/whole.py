"""The functions of the API about a service as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

from lovely.remotetask.edge.texts import meant
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import FINAL
from lovely.remotetask.web import changes
from lovely.remotetask.web import many
from lovely.remotetask.web import presenter
from lovely.remotetask.web.api.calls import Call
from lovely.remotetask.web.api.calls import arguments
from lovely.remotetask.web.api.calls import check_query
from lovely.remotetask.web.api.calls import nothing
from lovely.remotetask.web.api.calls import some
from lovely.remotetask.web.requests import Refused

if TYPE_CHECKING:
    from lovely.remotetask.service import TaskService


#: The parameters of a history.
HISTORY = ('hours', 'task')


def look(function: Callable[[TaskService], object]
         ) -> Callable[[Call], object]:
    """A function that shows a fact about the service."""
    def look(call: Call) -> object:
        check_query(call.query)
        return call.run(function, False)

    return look


def do(function: Callable[[TaskService], object]
       ) -> Callable[[Call], object]:
    """A function that changes the service."""
    def do(call: Call) -> object:
        nothing(call.body())
        return call.run(function, True)

    return do


def pause(call: Call) -> object:
    """Let the workers start no more jobs."""
    given = some(call.body(), 'reason', 'queue', 'resumeAt')
    return call.run(lambda service: changes.pause(service, **given), True)


def resume(call: Call) -> object:
    """Let the workers start jobs again."""
    given = some(call.body(), 'queue')
    return call.run(lambda service: changes.resume(service, **given), True)


def set_limit(call: Call) -> object:
    """Limit how many jobs of a task, or with a key, run."""
    given = some(call.body(), 'task', 'key', 'limit', 'rate')
    if not given.keys() & {'limit', 'rate'}:
        # An empty object must not lift a limit by mistake.
        raise UsageError('give a limit or a rate; null lifts it')
    return call.run(lambda service: changes.set_limit(service, **given), True)


def unset_limit(call: Call) -> object:
    """Let the code say again how many jobs run."""
    given = some(call.body(), 'task', 'key')
    return call.run(lambda service: changes.unset_limit(service, **given),
                    True)


def retention(call: Call) -> object:
    """Say how long jobs that are over are kept."""
    wanted = some(call.body(), *FINAL)
    return call.run(lambda service: changes.retention(service, wanted), True)


def history(call: Call) -> object:
    """What has ended lately, by minute or hour."""
    check_query(call.query, *HISTORY)
    text = call.query.get('hours', '1')
    if not text.isascii() or not text.isdecimal() or len(text) > 4:
        raise UsageError(f'hours has to be a whole number from 1 to 720, not '
                         f'{text!r:.80}')
    task = call.query.get('task') or None
    return call.run(lambda service: {
        'history': service.history(int(text), task)}, False)


def task(call: Call) -> object:
    """What one task takes."""
    def run(service: TaskService) -> dict[str, Any]:
        found = presenter.tasks(service)
        if call.part not in found['inputs']:
            raise Refused(
                404, f'Task does not exist: {call.part!r:.80}'
                     f'{meant(call.part, found["tasks"])}')
        return {'name': call.part, 'input': found['inputs'][call.part]}

    return call.run(run, False)


def check(call: Call) -> object:
    """Look for jobs that no worker would ever come to, for some seconds."""
    options = arguments(call.body(), 'repair', 'start')
    if options['repair'] is True:
        return many.check(call.transact, **options)
    return many.check(lambda step: call.run(step, False), **options)
