"""Every network surface of a service, below one mount point of a host.

A host brings a Request and sends the Response.  The permission of a route is
asked here, once, so that no host can forget it.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable
from typing import NamedTuple

from transaction.interfaces import TransientError

from lovely.remotetask.edge.log import web
from lovely.remotetask.errors import DuplicateJob
from lovely.remotetask.errors import GroupNotFound
from lovely.remotetask.errors import InvalidTransition
from lovely.remotetask.errors import JobNotFound
from lovely.remotetask.errors import NewerRecord
from lovely.remotetask.errors import NotMigrated
from lovely.remotetask.errors import NotPermitted
from lovely.remotetask.errors import UnreadableRecord
from lovely.remotetask.errors import UsageError
from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import api
from lovely.remotetask.web import assets
from lovely.remotetask.web import metrics
from lovely.remotetask.web import probes
from lovely.remotetask.web.api import openapi
from lovely.remotetask.web.pages import acting
from lovely.remotetask.web.pages import adding
from lovely.remotetask.web.pages import frame
from lovely.remotetask.web.pages import groups
from lovely.remotetask.web.pages import job
from lovely.remotetask.web.pages import jobs
from lovely.remotetask.web.pages import overview
from lovely.remotetask.web.pages import schedules
from lovely.remotetask.web.pages import scheduling
from lovely.remotetask.web.pages import tasks
from lovely.remotetask.web.pages import workers
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response
from lovely.remotetask.web.routing import Table

Answer = Callable[[Request, str], Response]


class Route(NamedTuple):
    """How one address answers one method.

    Attributes: ``permission``, VIEW, ADD or MANAGE; None: it is there for
    everybody; ``answer``, called with the request and the part of the path
    that stands at ID or NAME.
    """

    permission: str | None
    answer: Answer


#: path -> method -> route.  ID is the id of a job, NAME any one name.
ROUTES: dict[str, dict[str, Route]] = {
    '': {'GET': Route(VIEW, frame.page(overview.show))},
    'pause': {'POST': Route(MANAGE, acting.pause)},
    'resume': {'POST': Route(MANAGE, acting.resume)},
    'limits': {'POST': Route(MANAGE, acting.set_limit)},
    'limits/unset': {'POST': Route(MANAGE, acting.unset_limit)},
    'retention': {'POST': Route(MANAGE, acting.retention)},
    'jobs': {'GET': Route(VIEW, frame.page(jobs.show))},
    'jobs/add': {'GET': Route(ADD, frame.page(adding.show)),
                 'POST': Route(ADD, adding.add)},
    'jobs/cancel': {'POST': Route(ADD, acting.cancel_some)},
    'jobs/retry': {'POST': Route(MANAGE, acting.retry_some)},
    'jobs/remove': {'POST': Route(MANAGE, acting.remove_some)},
    'jobs/all/cancel': {'POST': Route(MANAGE, acting.cancel_all)},
    'jobs/all/retry': {'POST': Route(MANAGE, acting.retry_all)},
    'jobs/all/remove': {'POST': Route(MANAGE, acting.remove_all)},
    'jobs/start': {'POST': Route(MANAGE, acting.start_some)},
    'jobs/ID': {'GET': Route(VIEW, frame.page(job.show))},
    'groups': {'GET': Route(VIEW, frame.page(groups.show))},
    'groups/ID': {'GET': Route(VIEW, frame.page(groups.show_one))},
    'groups/ID/cancel': {'POST': Route(MANAGE, groups.cancel)},
    'schedules': {'GET': Route(VIEW, frame.page(schedules.show))},
    'schedules/add': {'GET': Route(MANAGE, frame.page(scheduling.show_new)),
                      'POST': Route(MANAGE, scheduling.add)},
    'schedules/ID/edit': {'GET': Route(MANAGE, frame.page(scheduling.show)),
                          'POST': Route(MANAGE, scheduling.edit)},
    'schedules/pause': {'POST': Route(MANAGE, acting.pause_schedules)},
    'schedules/resume': {'POST': Route(MANAGE, acting.resume_schedules)},
    'tasks': {'GET': Route(VIEW, frame.page(tasks.show))},
    'workers': {'GET': Route(VIEW, frame.page(workers.show))},
    'static/NAME': {'GET': Route(None, assets.serve)},
    'openapi.json': {'GET': Route(None, openapi.serve)},
    'metrics': {'GET': Route(VIEW, metrics.serve)},
    'healthz': {'GET': Route(None, probes.alive)},
    'readyz': {'GET': Route(None, probes.ready)},
}

_TABLE = Table(ROUTES)


def respond(request: Request) -> Response:
    """Answer a request.

    Returns: the answer; of one that failed, a page that says why.
    Raises: TransientError, for the host to try again.
    Txn: the request's, by ``request.run``; several of its own for what is done
    to many jobs.
    """
    return respond_by(_answer, request)


def respond_by(answer: Callable[[Request], Response], request: Request
               ) -> Response:
    """Answer a request by a page of a host's own, which is no route.

    Arguments: ``answer``, called with the request; it asks for the permission
    itself.
    Returns, Raises, Txn: as ``respond``.
    """
    refuse = _refuser(request)
    try:
        return answer(request)
    except TransientError:
        raise
    except Refused as refused:
        return refuse(refused)
    except (JobNotFound, GroupNotFound) as error:
        return refuse(Refused(404, str(error)))
    except (DuplicateJob, InvalidTransition, UnreadableRecord) as error:
        # The request is right, but the job has another status by now.
        return refuse(Refused(409, str(error)))
    except NotPermitted as error:
        return refuse(Refused(403, str(error)))
    except (NewerRecord, NotMigrated) as error:
        return refuse(Refused(503, str(error)))
    except (UsageError, ValueError) as error:
        return refuse(Refused(400, str(error)))
    except Exception:
        # The log has the traceback: it would tell a stranger about the inside
        # of the server.
        number = secrets.token_hex(4)
        web.exception('%s %.200s failed (reference %s)', request.method,
                      request.path, number)
        return refuse(Refused(
            500, f'The server failed. Its log has the reason, under the '
                 f'reference {number}.'))


def _answer(request: Request) -> Response:
    if request.path.startswith(api.PREFIX):
        return api.answer(request)
    route, part = _TABLE.find(request.method, request.path)
    if route.permission is not None:
        request.demand(route.permission)
    return route.answer(request, part)


def _refuser(request: Request) -> Callable[[Refused], Response]:
    """What makes the answer to a request that is refused."""
    if f'{request.path}/'.startswith(('api/', 'readyz/')):
        return api.refusal
    return functools.partial(frame.refusal, request)
