"""What goes into the Authorization header, and how it is renewed when a server refuses it."""

import base64
import os
import threading
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import orjson

from pacsbridge.errors import BadAnswer, Unavailable
from pacsbridge.remote.outcomes import Answer, transient
from pacsbridge.remote.settings import Auth, Basic, BearerFile, ClientCredentials

REFUSED_SECONDS = 60.0
"""How long a token server is left alone that refuses our credentials: some lock out who insists."""

_EARLY_SECONDS = 30.0
"""A token is renewed so long before it ends."""

_UNSTATED_SECONDS = 300.0
"""How long a token is used whose server does not say how long it lives."""

_LONGEST_TOKEN = 64 * 1024

Post = Callable[[str, Mapping[str, str], bytes], Answer]
"""Sends a form to a URL."""


class Login(Protocol):
    """Credentials; threads may share them. Both methods raise Unavailable where there are none to be had."""

    def header(self) -> str | None:
        """The value of the Authorization header; None for no header."""

    def renewed(self, stale: str | None) -> str | None:
        """A newer value than the one that was refused, or the same where there is none."""


class Fixed:
    """Always the same value."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def header(self) -> str | None:
        """The value."""
        return self._value

    def renewed(self, stale: str | None) -> str | None:
        """There is no newer one."""
        return self._value


class FromFile:
    """A token out of a file, which is read again whenever the file is another one."""

    def __init__(self, settings: BearerFile) -> None:
        self._path = settings.path
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._value: str | None = None

    def header(self) -> str | None:
        """The token that is in the file now."""
        with self._lock:
            try:
                state = os.stat(self._path)  # noqa: PTH116 - the three numbers are what is needed
                seen = (state.st_mtime_ns, state.st_size, state.st_ino)
                if seen != self._seen:
                    self._value = self._read()
                    self._seen = seen
            except OSError:
                raise Unavailable("no token: its file cannot be read") from None
            return self._value

    def renewed(self, stale: str | None) -> str | None:
        """The token that is in the file now, whatever the file's time of change says."""
        with self._lock:
            self._seen = None
        return self.header()

    def _read(self) -> str:
        with self._path.open("rb") as file:
            return _bearer(file.read(_LONGEST_TOKEN).decode("ascii", "replace").strip())


class FromTokenServer:
    """Tokens of an OAuth 2 server: one at a time, kept until shortly before their end."""

    def __init__(
        self, settings: ClientCredentials, post: Post, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._post = post
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._value: str | None = None
        self._until = 0.0

    def header(self) -> str | None:
        """The token at hand, or a new one when its time is over."""
        with self._lock:
            return self._fetched() if self._clock() >= self._until else self._value

    def renewed(self, stale: str | None) -> str | None:
        """A new token, unless another thread has fetched one meanwhile."""
        with self._lock:
            return self._fetched() if self._value in (None, stale) else self._value

    def _fetched(self) -> str:
        self._value, self._until = None, 0.0
        token = self._asked()
        value = _bearer(token.get("access_token"), REFUSED_SECONDS)
        self._until = self._clock() + _seconds(token.get("expires_in")) - _EARLY_SECONDS
        self._value = value
        return value

    def _asked(self) -> Mapping[str, Any]:
        """The token server's answer (RFC 6749 5.1)."""
        try:
            answer = self._post(self._settings.token_url, self._headers(), self._form())
        except Unavailable as exc:
            raise Unavailable(f"no token: {exc}", exc.retry_after) from None
        except BadAnswer as exc:
            raise Unavailable(f"no token: {exc}", REFUSED_SECONDS) from None
        return _token(answer, self._wall)

    def _headers(self) -> Mapping[str, str]:
        """RFC 6749 2.3.1: both parts are form-encoded before they become HTTP Basic."""
        return {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": basic(
                quote(self._settings.client_id, safe=""), quote(self._settings.client_secret, safe="")
            ),
        }

    def _form(self) -> bytes:
        scope = {"scope": self._settings.scope} if self._settings.scope else {}
        return urlencode({"grant_type": "client_credentials", **scope}).encode("ascii")


def login(auth: Auth | None, post: Post, clock: Callable[[], float], wall: Callable[[], float]) -> Login:
    """The credentials that the settings ask for."""
    match auth:
        case Basic():
            return Fixed(basic(auth.username, auth.password))
        case BearerFile():
            return FromFile(auth)
        case ClientCredentials():
            return FromTokenServer(auth, post, clock, wall)
        case None:
            return Fixed(None)


def basic(username: str, password: str) -> str:
    """RFC 7617, in UTF-8."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def _bearer(token: object, retry_after: float | None = None) -> str:
    """RFC 6750 2.1. What could break out of the header is no token."""
    if not isinstance(token, str) or not token:
        raise Unavailable("no token: it is empty", retry_after)
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Unavailable("no token: it has illegal characters", retry_after)
    return f"Bearer {token}"


def _token(answer: Answer, wall: Callable[[], float]) -> Mapping[str, Any]:
    """The JSON object of an answer that grants a token."""
    fault = transient(answer, wall)
    if fault is not None:
        raise Unavailable(f"no token: {fault}", fault.retry_after)
    if answer.status != 200:
        raise Unavailable(f"no token: HTTP {answer.status}", REFUSED_SECONDS)
    try:
        token = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        token = None
    if not isinstance(token, dict):
        raise Unavailable("no token: the answer is no JSON object", REFUSED_SECONDS)
    if str(token.get("token_type", "bearer")).lower() != "bearer":
        raise Unavailable("no token: it is not a bearer token", REFUSED_SECONDS)
    return token


def _seconds(given: object) -> float:
    """How long a token lives; some servers say it as text."""
    try:
        seconds = float(str(given))
    except ValueError:
        return _UNSTATED_SECONDS
    return seconds if isfinite(seconds) else _UNSTATED_SECONDS
