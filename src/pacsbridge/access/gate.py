"""From a token to what its bearer may have; what was found is kept for a while."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from math import inf
from typing import Any, NamedTuple, Protocol, TypeVar

from pacsbridge.access.introspection import Introspection
from pacsbridge.access.keys import key_ring
from pacsbridge.access.rights import Access
from pacsbridge.access.scopes import granted
from pacsbridge.access.sessions import Sessions
from pacsbridge.access.settings import AccessSettings
from pacsbridge.access.tokens import Jwts
from pacsbridge.errors import Unauthenticated
from pacsbridge.kernel.audit import Who

LONGEST = 8192
"""Characters of a token."""

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""RFC 6750 2.1."""

_ID = re.compile(r"(?:Patient/)?([A-Za-z0-9\-.]{1,64})")
T = TypeVar("T")

_KEPT = 4096
_THREADS = 4


class Verifier(Protocol):
    """Knows good tokens."""

    def ready(self, token: str) -> bool:
        """Whether `claims` can be had at once."""

    def prepare(self, token: str) -> None:
        """Get what `claims` needs; blocks."""

    def claims(self, token: str) -> Mapping[str, Any]:
        """What a good token says. Raises Unauthenticated, Unavailable."""


class _Kept(NamedTuple):
    """What was found of a token: for so long by the monotonic clock, and no longer than the token is good."""

    found: Access | Unauthenticated
    until: float
    ends: float = inf


class Gate:
    """Tells what tokens give access to; for one event loop, which alone may use it."""

    def __init__(
        self,
        settings: AccessSettings,
        verifier: Verifier,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` says what time it is, `timer` how much has passed: a step of the first prolongs nothing."""
        self.settings = settings
        self.sessions = Sessions()
        self._verifier = verifier
        self._clock = clock
        self._timer = timer
        self._good: OrderedDict[bytes, _Kept] = OrderedDict()
        self._bad: OrderedDict[bytes, _Kept] = OrderedDict()
        self._executor = ThreadPoolExecutor(_THREADS, "access")
        asked = settings.introspection_url is not None
        self._seconds = settings.introspection_seconds if asked else settings.token_seconds

    def close(self) -> None:
        """Let the threads go."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def access(self, token: str) -> Access:
        """What the bearer of a token may have. Raises Unauthenticated, Unavailable."""
        if len(token) > LONGEST or not _TOKEN.fullmatch(token):
            raise Unauthenticated("the token cannot be read")
        name = sha256(token.encode()).digest()
        kept = self._good.get(name) or self._bad.get(name)
        if kept is not None and self._timer() < kept.until and self._clock() < kept.ends:
            return _given(kept.found)
        try:
            claims = await self._claims(token)
        except Unauthenticated as exc:
            self._keep(self._bad, name, _Kept(exc, self._timer() + min(self._seconds, 5.0)))
            raise
        self._bad.pop(name, None)
        found = access_of(claims, self.settings)
        self._keep(self._good, name, _Kept(found, self._timer() + self._seconds, found.until))
        return found

    async def ask(self, work: Callable[[], T]) -> T:
        """Run blocking work that asks the issuer: it has threads of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        """On the loop where that takes no waiting, else in a thread."""
        if self._verifier.ready(token):
            return self._verifier.claims(token)
        return await self.ask(partial(self._fetched, token))

    def _fetched(self, token: str) -> Mapping[str, Any]:
        self._verifier.prepare(token)
        return self._verifier.claims(token)

    def _keep(self, among: OrderedDict[bytes, _Kept], name: bytes, kept: _Kept) -> None:
        among[name] = kept
        among.move_to_end(name)
        if len(among) > _KEPT:
            among.popitem(last=False)


def _given(found: Access | Unauthenticated) -> Access:
    if isinstance(found, Unauthenticated):
        raise Unauthenticated(str(found))
    return found


def gate(settings: AccessSettings) -> Gate:
    """The gate of a configuration. Raises Misconfigured."""
    asked = settings.introspection_url is not None
    return Gate(settings, Introspection(settings) if asked else Jwts(settings, key_ring(settings)))


def access_of(claims: Mapping[str, Any], settings: AccessSettings) -> Access:
    """The rights that claims grant. Raises Unauthenticated for a token that is bound to a key (RFC 7800)."""
    if "cnf" in claims:
        raise Unauthenticated("a token that is bound to a key is not taken as a bearer token")
    everywhere, own = granted(_scopes(claims))
    patient = _patient(claims.get(settings.patient_claim), settings.patient_base)
    until = _until(claims, settings.leeway_seconds)
    return Access(everywhere, own if patient else frozenset(), patient, _who(claims, settings), until)


def _until(claims: Mapping[str, Any], leeway: float) -> float:
    """When a token ends, in seconds since 1970: never where it does not say, and now where nobody knows."""
    ends = claims.get("exp", inf)
    return float(ends) + leeway if isinstance(ends, int | float) else 0.0


def _who(claims: Mapping[str, Any], settings: AccessSettings) -> Who:
    """Whose token it is: the application (RFC 9068 2.2, OpenID Connect `azp`), and on behalf of whom."""
    client, user = (_text(claims, names) for names in (("client_id", "azp"), ("sub", "username")))
    return Who(client=client, user="" if user == client else user, issuer=settings.issuer)


def _text(claims: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of some claims that is there."""
    return next((value for name in names if isinstance(value := claims.get(name), str) and value), "")


def _scopes(claims: Mapping[str, Any]) -> str:
    """`scope` is a text (RFC 8693 4.2); some issuers write `scp`, or a list."""
    given = claims.get("scope", claims.get("scp", ""))
    if isinstance(given, list):
        return " ".join(one for one in given if isinstance(one, str))
    return given if isinstance(given, str) else ""


def _patient(given: object, base: str) -> str | None:
    """The reference to the patient of a token, as our resources have it."""
    found = _ID.fullmatch(given) if isinstance(given, str) else None
    return None if found is None else f"{base}/Patient/{found[1]}".removeprefix("/")
