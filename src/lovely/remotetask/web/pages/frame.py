"""What all pages share: their frame, their headers, and how they are made."""

from __future__ import annotations

import functools
import hashlib
import json
import urllib.parse
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from typing import Any

from lovely.remotetask.interfaces import ADD
from lovely.remotetask.interfaces import MANAGE
from lovely.remotetask.interfaces import VIEW
from lovely.remotetask.web import assets
from lovely.remotetask.web.pages import live
from lovely.remotetask.web.pages import words
from lovely.remotetask.web.pages.compiled import template
from lovely.remotetask.web.requests import DEFAULT_LIMIT
from lovely.remotetask.web.requests import Refused
from lovely.remotetask.web.requests import Request
from lovely.remotetask.web.requests import Response

#: path of a section -> (its title, the permission to see it)
NAVIGATION = {
    '': ('Overview', VIEW),
    'jobs': ('Jobs', VIEW),
    'schedules': ('Schedules', VIEW),
    'tasks': ('Tasks', VIEW),
    'workers': ('Workers', VIEW),
    'jobs/add': ('Add a job', ADD),
}

#: No inline code and nothing from elsewhere.  'self' in frame-ancestors: the
#: ZMI shows the pages in a frame of its own.
HEADERS = {
    'Content-Security-Policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        "img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'self'; frame-ancestors 'self'",
    'X-Frame-Options': 'SAMEORIGIN',
    'X-Content-Type-Options': 'nosniff',
    # With no-referrer, browsers would send "Origin: null" with our own forms.
    'Referrer-Policy': 'same-origin',
    'Cache-Control': 'private, no-store',
    'Vary': 'Cookie, Authorization, X-Remotetask-Live',
}

_TITLES = {400: 'That did not work', 401: 'Please log in',
           403: 'Not allowed', 404: 'Nothing here', 405: 'Not this way',
           409: 'Nothing was changed', 413: 'Too large',
           415: 'Wrong kind of data', 429: 'Too often',
           500: 'The server failed', 503: 'Try again'}

#: What a redirect tells the next page: code -> text for one, text for many.
#: A code and a number, because a text in an address could say anything.
DONE = {
    'added': ('The job was added.', ''),
    'there': ('Nothing was added: a job with this unique key is there, and '
              'not over.', ''),
    'cancelled': ('1 job was cancelled.', '{} jobs were cancelled.'),
    'retried': ('1 job is queued again.', '{} jobs are queued again.'),
    'removed': ('1 job was removed.', '{} jobs were removed.'),
    'started': ('1 job runs as soon as a worker is free.',
                '{} jobs run as soon as a worker is free.'),
    'disabled': ('1 schedule begins no further run.',
                 '{} schedules begin no further run.'),
    'scheduled': ('The schedule was added.', ''),
    'edited': ('The schedule was changed.', ''),
    'edited_running': ('The schedule was changed. The run that is under way '
                       'goes on as it began.', ''),
    'enabled': ('1 schedule goes on.', '{} schedules go on.'),
    'paused': ('Workers start no more jobs.', ''),
    'kept': ('Jobs are kept as it says below.', ''),
    'resumed': ('Workers start jobs again.', ''),
    'limited': ('The limit holds from now on.', ''),
    'unlimited': ('The code says again how many jobs run.', ''),
    'none': ('No jobs were selected.', ''),
}
#: The same of the jobs at which nothing could be done.
LEFT = {
    'over': ('1 was over already.', '{} were over already.'),
    'open': ('1 is not over yet.', '{} are not over yet.'),
    'stays': ('1 stays as it is: its status does not allow that, or another '
              'job has its key.',
              '{} stay as they are: their status does not allow that, or '
              'other jobs have their keys.'),
}


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes: ``template``, the name of its file without the end, or the
    template itself of a page that a host brings; ``title``, of the page;
    ``section``, the path of its entry in the navigation; ``data``, plain data
    for the template; ``status``, HTTP's; ``message``, what the last change has
    done, where no code of DONE says it.
    """

    template: Any
    title: str
    section: str
    data: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    message: str = ''


def page(view: Callable[[Request, str], Page]
         ) -> Callable[[Request, str], Response]:
    """An answer that shows what ``view`` finds."""
    def answer(request: Request, part: str) -> Response:
        def make() -> Response:
            return render(request, view(request, part))

        return live.answer(request, make) if request.is_live else make()

    return answer


def render(request: Request, page: Page) -> Response:
    """A page as HTML.

    For the script of a page that is open, without the frame and its token, so
    that an answer in which nothing has changed has the tag of the one before.
    """
    is_live = request.is_live
    shown = (template(page.template) if isinstance(page.template, str)
             else page.template)
    text = shown.render(
        layout=template('live' if is_live else 'layout'),
        parts=template('parts'),
        page=page, base=request.base, words=words, may=_may(request),
        # No asset and no token changes in what is asked again and again.
        csrf=None if is_live else {'name': request.csrf.field,
                                'value': request.csrf.token()},
        asset=functools.partial(assets.address, request.base),
        styles=assets.address(request.base, 'styles.css'),
        script=assets.address(request.base, 'live.js'),
        icon=assets.address(request.base, 'icon.svg'),
        navigation=_navigation(request, page), links=request.links,
        user=request.user, message='' if is_live else (
            page.message or _message(request.query)),
        reload=_address(request),
        **page.data)
    if is_live:
        body = text.encode('utf-8', 'replace')
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        return Response(page.status, 'text/html; charset=utf-8', body,
                        {**HEADERS, 'ETag': tag})
    # Chameleon leaves the document type out.
    body = f'<!DOCTYPE html>\n{text}'.encode('utf-8', 'replace')
    return Response(page.status, 'text/html; charset=utf-8', body, HEADERS)


def refusal(request: Request, refused: Refused) -> Response:
    """A page that says why not."""
    text = refused.message
    shown = render(request, Page(
        'message', _TITLES.get(refused.status, 'That did not work'), '',
        {'text': text[:1].upper() + text[1:]}, refused.status))
    return Response(shown.status, shown.content_type, shown.body,
                    {**shown.headers, **refused.headers()})


def see(request: Request, path: str, **query: object) -> Response:
    """Send the browser to another page, which it loads by GET."""
    return see_address(f'{request.base}/{path}', **query)


def see_address(address: str, **query: object) -> Response:
    """The same, with the absolute path of that page."""
    given = urllib.parse.urlencode(
        {name: value for name, value in query.items() if value})
    place = address + (f'?{given}' if given else '')
    return Response(303, 'text/plain; charset=utf-8', b'',
                    {**HEADERS, 'Location': place})


def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a form.  Raises: Refused."""
    if request.content_type != 'application/x-www-form-urlencoded':
        raise Refused(415, 'the Content-Type of a form has to be '
                           'application/x-www-form-urlencoded')
    body = request.body()
    if len(body) > DEFAULT_LIMIT:
        raise Refused(413, f'the form is larger than {DEFAULT_LIMIT} bytes')
    try:
        return urllib.parse.parse_qs(
            body.decode(), keep_blank_values=True, strict_parsing=bool(body),
            errors='strict', max_num_fields=2000)
    except ValueError as error:
        raise Refused(400, f'the form cannot be read: {error}') from None


def as_json(data: object) -> str:
    """Data as people read it."""
    return json.dumps(data, indent=2, ensure_ascii=False)


def _may(request: Request) -> dict[str, bool]:
    return {'add': request.may(ADD), 'manage': request.may(MANAGE)}


def _navigation(request: Request, page: Page) -> list[dict[str, Any]]:
    return [{'title': title, 'url': f'{request.base}/{path}',
             'current': 'page' if path == page.section else None}
            for path, (title, permission) in NAVIGATION.items()
            if request.may(permission)]


def _message(query: Mapping[str, str]) -> str:
    """What the last change has done, by the codes of its redirect."""
    found = []
    for texts, code, number in ((DONE, query.get('done'), query.get('n')),
                                (LEFT, query.get('left'), query.get('m'))):
        if code not in texts:
            continue
        one, many = texts[code]
        times = int(number) if number and number.isdecimal() else 1
        found.append(one if times == 1 or not many
                     else many.format(words.number(times)))
    return ' '.join(found)


def _address(request: Request) -> str:
    # Without the message of the last change: it is over when one reloads.
    kept = {name: value for name, value in request.query.items()
            if name not in ('done', 'n', 'left', 'm')}
    return (request.here or f'{request.base}/{request.path}') + (
        f'?{urllib.parse.urlencode(kept)}' if kept else '')
