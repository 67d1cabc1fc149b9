"""Who has signed in with a browser: tokens stay here, and the cookie is a random name for one."""

import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from secrets import token_bytes, token_urlsafe
from typing import NamedTuple

from aiohttp import web

from pacsbridge.kernel.audit import Who

MOST = 1000
"""Sessions at a time; the one that was used longest ago makes room."""

MOST_OF_ONE = 20
"""Sessions of one caller at a time, so that nobody pushes out all others."""

SECONDS = 12 * 3600.0
"""How long a session lasts at most, whatever its token says."""

ASKED, REPLACED = "asked for", "another sign-in in the same browser"
REFUSED, CROWDED = "its token is no longer taken", "made room for others"
"""Why a session ends before its time."""

LIVE = "X-Pacsbridge-Live"
"""The field of requests that a page makes by itself, without anybody at the browser."""

_NOBODY = Who()
_PLAIN, _SECURE = "pacsbridge", "__Host-pacsbridge"
_PORT = re.compile("[0-9]{1,5}")

Told = Callable[[Who, str], object]
"""Hears whose session has ended before its time, and why; returns at once."""


class _Session(NamedTuple):
    token: str
    who: Who
    until: float
    used: float

    @property
    def owner(self) -> tuple[str, ...]:
        """Whose it is: a user's, an application's, or where the token tells neither, that token's."""
        who = self.who
        return (who.issuer, who.client, who.user) if who.client or who.user else (self.token,)


class Sessions:
    """The sessions of one process, for the loop's thread alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = token_bytes(32)
        self._open: OrderedDict[str, _Session] = OrderedDict()
        self.idle_seconds = inf
        """How long one may be without use."""
        self.tell: Told = lambda _who, _why: None
        """Who hears of each that ends before its time."""

    def begin(self, token: str, who: Who = _NOBODY, seconds: float = SECONDS) -> str:
        """A session for a token that is good for so long; its name, which goes into the cookie."""
        name = token_urlsafe(32)
        now = self._clock()
        begun = _Session(token, who, now + min(seconds, SECONDS), now)
        self._make_room(begun.owner)
        self._open[name] = begun
        return name

    def _make_room(self, owner: tuple[str, ...]) -> None:
        """First those whose time is over go, then the caller's own, then whoever's was used longest ago."""
        for name in [name for name, one in self._open.items() if self._is_over(one)]:
            del self._open[name]
        own = [name for name, one in self._open.items() if one.owner == owner]
        if len(own) >= MOST_OF_ONE:
            self.end(own[0], CROWDED)
        elif len(self._open) >= MOST:
            self.end(next(iter(self._open)), CROWDED)

    def _is_over(self, one: _Session) -> bool:
        now = self._clock()
        return now >= one.until or now - one.used >= self.idle_seconds

    def token(self, name: str, *, used: bool = True) -> str | None:
        """The token of a session that goes on; `used`: somebody sits there, and it is no page by itself."""
        found = self._open.get(name)
        if found is None:
            return None
        if self._is_over(found):
            del self._open[name]
            return None
        if used:
            self._open[name] = found._replace(used=self._clock())
            self._open.move_to_end(name)
        return found.token

    def end(self, name: str, why: str, address: str = "") -> None:
        """Forget a session and its token, for one of the reasons above; `address`: who had it done."""
        found = self._open.pop(name, None)
        if found is not None and not self._is_over(found):
            self.tell(found.who.at(address or found.who.address), why)

    def seal(self, name: str) -> str:
        """What the forms of a session carry, so that nobody else's are taken for them."""
        return hmac.new(self._key, name.encode(errors="replace"), "sha256").hexdigest()

    def is_sealed(self, name: str, seal: str) -> bool:
        """Whether a form carries the seal of a session."""
        return hmac.compare_digest(self.seal(name).encode(), seal.encode(errors="replace"))


def cookie_of(request: web.Request, use: str = "") -> str:
    """The name of the cookie; cookies don't tell ports apart, and two bridges may run on one host."""
    port = request.host.rpartition(":")[2]
    prefix = _SECURE if request.secure else _PLAIN
    return f"{prefix}-{port}{use}" if _PORT.fullmatch(port) else f"{prefix}{use}"


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
