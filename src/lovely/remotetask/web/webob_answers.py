"""Between the surface and WebOb: what is asked, and how answers are sent."""

from __future__ import annotations

import json

import webob

from lovely.remotetask.web import api
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Response


def sent(response: Response) -> webob.Response:
    """An answer of the surface, as WebOb sends it."""
    found = webob.Response(status=response.status, body=response.body)
    found.headers['Content-Type'] = response.content_type
    # Where nothing has changed there is no body, and no length of one.
    if response.status == 304:
        found.content_length = None
    found.headers.update(response.headers)
    return found


def query_of(request: webob.Request) -> dict[str, str]:
    """The parameters of a request; each may be given once.

    Raises: Refused.
    """
    try:
        pairs = list(request.GET.items())
    except UnicodeDecodeError:
        raise Refused(400, 'the query is not UTF-8') from None
    query: dict[str, str] = {}
    for name, value in pairs:
        if name in query:
            raise Refused(
                400, f'the parameter {name!r:.80} is given twice')
        query[name] = value
    return query


def as_json(status: int, data: object) -> webob.Response:
    """Data as an answer."""
    return webob.Response(
        status=status, content_type='application/json', charset='utf-8',
        body=json.dumps(data, allow_nan=False).encode('ascii') + b'\n')


def refusal(refused: Refused) -> webob.Response:
    """An answer that says why not, and to whom it would be otherwise."""
    response = sent(api.refusal(refused))
    if refused.status == 401:
        response.headers.add('WWW-Authenticate', 'Bearer realm="remotetask"')
        response.headers.add('WWW-Authenticate', 'Basic realm="remotetask"')
    return response
