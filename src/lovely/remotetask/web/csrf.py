"""Tells a form of ours from a form that a foreign page sends.

Each POST of a form passes two checks: the browser says where the form came
from, and a hidden field has a token that only this user could read.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import cast

from lovely.remotetask.edge.clock import SYSTEM_CLOCK
from lovely.remotetask.web.requests import Refused

if TYPE_CHECKING:
    from lovely.remotetask.web.presenter import Run
    from lovely.remotetask.web.requests import Request

_FOREIGN = (
    'Nothing was changed. The form did not come from this site ({reason}). '
    'If it did, your proxy has to pass the Host header on (nginx: '
    'proxy_set_header Host $http_host).')
_OLD = ('Nothing was changed. The page was too old, or another account has '
        'logged in since. Go back, reload the page, and try again.')


class DailyTokens:
    """Tokens for hosts that have none of their own.  See requests.Csrf.

    Arguments: ``secret``, gives bytes that are known to this service alone,
    b'' where there are none; ``user``, who the token is for; ``today``, gives
    the date (UTC).
    """

    field = 'csrf'

    def __init__(self, secret: Callable[[], bytes], user: str,
                 today: Callable[[], datetime.date] | None = None) -> None:
        self._make_secret = secret
        self._user = user
        self._today = today or _today

    @functools.cached_property
    def _secret(self) -> bytes:
        return self._make_secret()

    def token(self) -> str:
        """See Csrf"""
        return self._of(self._today()) if self._secret else ''

    def is_valid(self, token: str) -> bool:
        """See Csrf"""
        from hmac import compare_digest

        if not self._secret:
            return False
        today = self._today()
        # A page that was opened before midnight works until the next one.
        return any(
            compare_digest(token.encode('utf-8', 'replace'),
                           self._of(day).encode())
            for day in (today, today - datetime.timedelta(days=1)))

    def _of(self, day: datetime.date) -> str:
        # Here: a host that only starts needs no token.
        import hmac

        text = f'remotetask csrf\0{self._user}\0{day.isoformat()}'
        return hmac.new(self._secret, text.encode('utf-8', 'replace'),
                        hashlib.sha256).hexdigest()


def of_service(run: Run, user: str) -> DailyTokens:
    """Tokens that are signed with the secret of a service.

    Arguments: ``run``, see presenter.Run; ``user``, who asks.
    """
    return DailyTokens(
        lambda: cast(bytes, run(lambda service: service.formSecret, False)),
        user)


def _today() -> datetime.date:
    return datetime.datetime.fromtimestamp(
        SYSTEM_CLOCK.now(), datetime.UTC).date()


def check_form(request: Request, form: Mapping[str, list[str]]) -> None:
    """Raise Refused for a form that no page of ours has sent."""
    is_proved = check_origin(request)
    # A service made by an earlier release signs nothing: the word of the
    # browser has to do.
    if is_proved and not request.csrf.token():
        return
    tokens = form.get(request.csrf.field, [])
    if len(tokens) != 1 or not request.csrf.is_valid(tokens[0]):
        raise Refused(403, _OLD)


def check_origin(request: Request) -> bool:
    """Raise Refused where the browser names another site.

    Returns: whether the browser has named this one.

    Browsers send Sec-Fetch-Site to https and to loopback alone, and Origin
    with each POST.  A client that sends neither is no browser of today: then
    the token alone decides.
    Source: the rule of Go 1.25's net/http.CrossOriginProtection.
    """
    site = request.headers.get('sec-fetch-site')
    if site is not None:
        if site not in ('same-origin', 'none'):
            raise Refused(403, _FOREIGN.format(
                reason=f'the browser calls it {site[:20]}'))
        return True
    origin = request.headers.get('origin')
    if origin is not None and origin.lower() != request.origin.lower():
        raise Refused(403, _FOREIGN.format(
            reason=f'it came from {origin[:80]}, and this site is '
                   f'{request.origin[:80]}'))
    return origin is not None
