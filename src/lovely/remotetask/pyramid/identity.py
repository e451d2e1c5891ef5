"""Who acts, and how a job's request gets its user back.

The application's own security policy decides: it is asked to remember the
user, and the request is sent what a browser would have sent back.
"""

from __future__ import annotations

import json
from typing import Any

from pyramid.interfaces import ISecurityPolicy

from lovely.remotetask.errors import SubmitterGone

#: In the environ of a job's request: as whom it runs; None: the application's
#: own account.  Nothing that a client sends gets to such a key.
USER = 'remotetask.user'


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
    """The user id that ``write`` made a text of; what is neither a number
    nor a string comes back as a string.
    """
    if text.isdecimal():
        return int(text)
    if text[:1] == '"':
        try:
            return json.loads(text)
        except ValueError:
            return text         # somebody's own runAs
    return text


def introduce(request: Any, submitter: str) -> None:
    """Let a job's request be that of the submitter.

    Raises: SubmitterGone where the security policy does not agree.
    """
    userid = read(submitter)
    environ = request.environ
    environ[USER] = userid
    # What a front end sets that has authenticated by itself.
    environ['REMOTE_USER'] = str(userid)
    policy = request.registry.queryUtility(ISecurityPolicy)
    if policy is not None:
        try:
            headers = policy.remember(request, userid)
        except (AttributeError, NotImplementedError):
            headers = ()        # its users log in elsewhere
        _send_back(request, headers or ())
    known = request.authenticated_userid
    if known is None or write(known) != submitter:
        raise SubmitterGone(
            f'the job is to run as {submitter!r}, whom the security policy '
            f'of the application does not know: that user is gone, or the '
            f'policy does not recognize in a request what its remember() '
            f'gives, and has to look at request.environ[{USER!r}]')


def _send_back(request: Any, headers: Any) -> None:
    """Send cookies of a response with a request, as a browser does."""
    cookies = {}
    for header, value in headers:
        if header.lower() == 'set-cookie':
            # Several for one name differ in their domains only.
            pair = value.partition(';')[0]
            cookies[pair.partition('=')[0]] = pair
    if cookies:
        request.headers['Cookie'] = '; '.join(cookies.values())
