"""Who has signed in with a browser: tokens stay here, and the cookie is a random name for one."""

import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from secrets import token_bytes, token_urlsafe
from typing import NamedTuple

from aiohttp import web

MOST = 1000
"""Sessions at a time; the one that was used longest ago makes room."""

SECONDS = 12 * 3600.0
"""How long a session lasts at most, whatever its token says."""

_PLAIN, _SECURE = "pacsbridge", "__Host-pacsbridge"
_PORT = re.compile("[0-9]{1,5}")


class _Session(NamedTuple):
    token: str
    until: float


class Sessions:
    """The sessions of one process, for the loop's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = token_bytes(32)
        self._open: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, token: str) -> str:
        """A session for a token; its name, which goes into the cookie."""
        name = token_urlsafe(32)
        self._open[name] = _Session(token, self._clock() + SECONDS)
        while len(self._open) > MOST:
            self._open.popitem(last=False)
        return name

    def token(self, name: str) -> str | None:
        """The token of a session that goes on."""
        found = self._open.get(name)
        if found is None or self._clock() >= found.until:
            self.end(name)
            return None
        self._open.move_to_end(name)
        return found.token

    def end(self, name: str) -> None:
        """Forget a session and its token."""
        self._open.pop(name, None)

    def seal(self, name: str) -> str:
        """What the forms of a session carry, so that nobody else's are taken for them."""
        return hmac.new(self._key, name.encode(errors="replace"), "sha256").hexdigest()

    def is_sealed(self, name: str, seal: str) -> bool:
        """Whether a form carries the seal of a session."""
        return hmac.compare_digest(self.seal(name).encode(), seal.encode(errors="replace"))


def cookie_of(request: web.Request) -> str:
    """The name of the cookie; cookies don't tell ports apart, and two bridges may run on one host."""
    port = request.host.rpartition(":")[2]
    prefix = _SECURE if request.secure else _PLAIN
    return f"{prefix}-{port}" if _PORT.fullmatch(port) else prefix


def name_of(request: web.Request) -> str:
    """The session that a request's cookie names; empty without one."""
    return request.cookies.get(cookie_of(request), "")


def set_cookie(request: web.Request, response: web.Response, name: str) -> None:
    """Have the browser keep a session's name (RFC 6265bis 4.1.3); an empty one has it forgotten."""
    age = int(SECONDS) if name else 0
    response.set_cookie(
        cookie_of(request),
        name,
        max_age=age,
        path="/",
        secure=request.secure,
        httponly=True,
        samesite="Strict",
    )
