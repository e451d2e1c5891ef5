"""The user of a request as a text that is stored, and back to the user.

The application's own security policy decides: it is asked to remember the
user, and the job's request carries the cookies that a browser would send.
"""

from __future__ import annotations

import json
from typing import Any

from pyramid.authorization import Everyone
from pyramid.interfaces import ISecurityPolicy

from lovely.remotetask.errors import SubmitterGone

#: The key in the environ of a job's request for the user as whom it runs;
#: None: the application's own account.  A job of a visitor without a login has
#: no such key.  No header of a client is stored under it.
USER = 'remotetask.user'

#: The submitter of a job that a request without a user has added.
EVERYONE = Everyone


def write(userid: Any) -> str:
    """A user id as text; ``read`` gives it back.

    Many applications have numbers as ids, many others have strings of digits,
    and their policies do not take the one for the other.
    """
    text = str(userid)
    if isinstance(userid, str) and (text.isdecimal() or text[:1] == '"'):
        return json.dumps(text)
    return text


def read(text: str) -> Any:
    """The user id that ``write`` made a text of.

    An id that is neither a number nor a string comes back as a string.
    """
    if text.isdecimal():
        return int(text)
    if text[:1] == '"':
        try:
            return json.loads(text)
        except ValueError:
            return text         # a runAs that ``write`` has not made
    return text


def introduce(request: Any, submitter: str) -> None:
    """Make a job's request one of the submitter's.

    Raises: SubmitterGone where the security policy sees another user in it.
    """
    if submitter == EVERYONE:
        _introduce_visitor(request)
        return
    userid = read(submitter)
    environ = request.environ
    environ[USER] = userid
    # A front end that authenticates by itself sets it.
    environ['REMOTE_USER'] = str(userid)
    policy = request.registry.queryUtility(ISecurityPolicy)
    if policy is not None:
        try:
            headers = policy.remember(request, userid)
        except (AttributeError, NotImplementedError):
            headers = ()        # users log in by another program
        _send_back(request, headers or ())
    known = request.authenticated_userid
    if known is None or write(known) != submitter:
        raise SubmitterGone(
            f'the job is to run as {submitter!r}, whom the security policy '
            f'of the application does not know: that user is gone, or the '
            f'policy does not recognize in a request what its remember() '
            f'gives, and has to look at request.environ[{USER!r}]')


def _introduce_visitor(request: Any) -> None:
    # As in a request that brings nothing along: a policy must not take
    # ``system.Everyone`` for the name of a user.
    request.environ.pop(USER, None)
    known = request.authenticated_userid
    if known is not None:
        raise SubmitterGone(
            f'the job was added by a request without a user, and is to run as '
            f'a visitor without a login, but the security policy of the '
            f'application takes its request for one of {known!r}: let the '
            f'policy ask for something that a request brings along')


def _send_back(request: Any, headers: Any) -> None:
    """Send cookies of a response with a request, as a browser does."""
    cookies = {}
    for header, value in headers:
        if header.lower() == 'set-cookie':
            # Several cookies of one name differ in their domains only.
            pair = value.partition(';')[0]
            cookies[pair.partition('=')[0]] = pair
    if cookies:
        request.headers['Cookie'] = '; '.join(cookies.values())
