"""Asks one archive: with credentials, with patience, and never anybody else."""

import random as randomness
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

from pacsbridge.errors import (
    Absent,
    BadAnswer,
    Misconfigured,
    NotAcceptable,
    PacsbridgeError,
    Unavailable,
    WrongKind,
)
from pacsbridge.remote.auth import login
from pacsbridge.remote.circuit import Circuit
from pacsbridge.remote.outcomes import PERSISTENT, REDIRECTS, REFUSALS, Reply, json_like, settled, transient
from pacsbridge.remote.outcomes import Answer as Answer
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.remote.transport import Stream, Transport

R = TypeVar("R", bound=Reply)
Send = Callable[[str, str, Mapping[str, str]], R]
"""Sends a request: method, URL, header fields."""

DICOM_JSON = "application/dicom+json"
JSON = "application/json"

_CREATED = 201

_MOST_REDIRECTS = 3

_LONGEST_WAIT = 30.0
"""Seconds that a request waits between two tries; asked for more patience, it gives up."""

_FIRST_WAIT = 0.5

_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """RFC 6454: whom a URL speaks to. `userinfo` makes it another: we bring our own credentials."""

    scheme: str
    host: str | None
    port: int | None
    userinfo: bool = False


def origin_of(url: str) -> Origin:
    """The origin of an absolute URL. Raises ValueError for what is none."""
    parts = urlsplit(url)
    return Origin(parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme), "@" in parts.netloc)


class Client:
    """Requests to one archive; threads may share it. `circuit` tells whether the archive is asked at all."""

    def __init__(
        self,
        settings: ArchiveSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = randomness.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.circuit = Circuit(clock, random)
        self._base = settings.url.rstrip("/")
        self._origin = _checked_origin(self._base)
        self._headers = _checked_headers(settings.headers)
        self._sleep = sleep
        self._random = random
        self._wall = wall
        self._transport = Transport(settings)
        self._login = login(settings.auth, self._post, clock, wall)

    def get(
        self,
        path_or_url: str,
        params: Sequence[tuple[str, str]] = (),
        accept: str = DICOM_JSON,
        allowed: Collection[int] = (),
        *,
        general: bool = False,
    ) -> Answer:
        """The answer to GET, some kind of JSON; the path, with its slash, is below the archive's URL.

        Raises Unavailable, Declined, WrongKind, BadAnswer. Statuses that are `allowed` are answers like any
        other. A question is `general` where whoever is an archive has an answer: one of the wrong kind then
        is a failure of the archive; else it may be that of a single study.
        """
        url = self._url(path_or_url, params)
        tries = 1 if self.circuit.check() else self.settings.tries
        with self._told(general=general):
            return json_like(settled(self._tried(url, accept, tries), allowed))

    def stream(self, path: str, params: Sequence[tuple[str, str]] = (), accept: str = "*/*") -> Stream:
        """An answer whose body comes in pieces: a success. One try, as somebody waits for it.

        Raises Absent for 404 and 410, NotAcceptable, Unavailable, Declined, BadAnswer.
        """
        url = self._url(path, params)
        self.circuit.check()
        with self._told():
            answer = self._streamed(url, accept)
        return _begun(answer)

    def post(self, path: str, body: bytes, kind: str, allowed: Collection[int] = ()) -> Answer:
        """The answer to POST of a body of that media type. One try: it may not be meant to come twice.

        Raises Unavailable, Declined, BadAnswer, and WrongKind unless something was created, whatever is said
        of it. Statuses that are `allowed` are answers like any other.
        """

        def send(_method: str, url: str, headers: Mapping[str, str]) -> Answer:
            return self._transport.send("POST", url, {**headers, "content-type": kind}, body)

        self.circuit.check()
        with self._told(general=True):
            answer = self._authorized(self._url(path, ()), kind, send)
            fault = transient(answer, self._wall)
            if fault is not None:
                raise fault
            return answer if answer.status == _CREATED else json_like(settled(answer, allowed))

    @contextmanager
    def _told(self, *, general: bool = False) -> Iterator[None]:
        """The circuit hears whether the archive answers, be it badly."""
        try:
            yield
        except BadAnswer as exc:
            if general and isinstance(exc, WrongKind):
                self.circuit.failed(why=str(exc))
            else:
                self.circuit.succeeded()
            raise
        except BaseException as exc:
            self.circuit.failed(exc.retry_after if isinstance(exc, Unavailable) else None, str(exc))
            raise
        self.circuit.succeeded()

    def _streamed(self, url: str, accept: str) -> Stream:
        answer = self._authorized(url, accept, self._transport.open)
        fault = None if answer.status in PERSISTENT else transient(answer, self._wall)
        if fault is None:
            return answer
        answer.close()
        raise fault

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _url(self, path_or_url: str, params: Sequence[tuple[str, str]]) -> str:
        url = self._base + path_or_url if path_or_url.startswith("/") else self._ours(path_or_url, "leads to")
        query = urlencode(params, quote_via=quote, safe=",")
        return f"{url}{'&' if '?' in url else '?'}{query}" if query else url

    def _tried(self, url: str, accept: str, tries: int) -> Answer:
        """The answer to one of so many tries. Raises what the last one came to."""
        for attempt in range(tries):
            outcome = self._outcome(url, accept, last=attempt + 1 >= tries)
            if isinstance(outcome, Answer):
                return outcome
            wait = self._wait(outcome, attempt)
            if attempt + 1 >= tries or wait > _LONGEST_WAIT:
                raise outcome
            self._sleep(wait)
        raise Misconfigured("tries: at least 1")

    def _outcome(self, url: str, accept: str, *, last: bool) -> Answer | Unavailable:
        """What one try came to: an answer, or why it is worth another try."""
        try:
            answer = self._authorized(url, accept, self._transport.send)
        except Unavailable as exc:
            return exc
        if last and answer.status in PERSISTENT:
            return answer
        return transient(answer, self._wall) or answer

    def _wait(self, fault: Unavailable, attempt: int) -> float:
        """As long as the server asks for, or else up to a time that doubles."""
        if fault.retry_after is not None:
            return fault.retry_after
        return self._random() * min(_FIRST_WAIT * 2.0**attempt, _LONGEST_WAIT)

    def _authorized(self, url: str, accept: str, send: Send[R]) -> R:
        """The answer to our credentials, and where it refuses them, to newer ones if there are any."""
        sent = self._login.header()
        answer = self._followed(url, accept, sent, send)
        if answer.status not in REFUSALS:
            return answer
        fresh = self._login.renewed(sent)
        if fresh == sent:
            return answer
        answer.close()
        return self._followed(url, accept, fresh, send)

    def _followed(self, url: str, accept: str, authorization: str | None, send: Send[R]) -> R:
        """The answer behind redirects, as long as they stay at home."""
        headers = {**self._headers, "accept": accept}
        if authorization is not None:
            headers["authorization"] = authorization
        for _ in range(_MOST_REDIRECTS + 1):
            answer = send("GET", url, headers)
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or target is None:
                return answer
            answer.close()
            url = self._ours(_joined(url, target), "redirects to")
        raise BadAnswer(f"more than {_MOST_REDIRECTS} redirects")

    def _ours(self, url: str, how: str) -> str:
        """The URL, if it is one of the archive's own."""
        try:
            same = origin_of(url) == self._origin
        except ValueError:
            same = False
        if not same:
            raise BadAnswer(f"{how} another origin")
        return url

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return self._transport.send("POST", url, headers, body)


def _begun(answer: Stream) -> Stream:
    """A stream of a success; what other statuses stand for is raised."""
    try:
        if answer.status in (404, 410):
            raise Absent("the archive does not have it")
        if answer.status == 406:
            raise NotAcceptable("the archive has it in no form that was asked for")
        if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise BadAnswer("a content coding that was not asked for")
        return settled(answer)
    except PacsbridgeError:
        answer.close()
        raise


def _joined(url: str, target: str) -> str:
    """Where a redirect leads to; nowhere when that cannot be read."""
    try:
        return urljoin(url, target)
    except ValueError:
        return ""


def _checked_origin(url: str) -> Origin:
    """The origin of the archive. Raises Misconfigured."""
    try:
        origin = origin_of(url)
    except ValueError:
        raise Misconfigured("url: not a URL") from None
    if origin.scheme not in _PORTS or not origin.host or origin.userinfo or urlsplit(url).query:
        raise Misconfigured("url: must be http:// or https:// and a host, without credentials and query")
    return origin


def _checked_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The configured headers, their names in small letters. Raises Misconfigured."""
    for name, value in headers.items():
        if not (
            name.isascii() and name.replace("-", "").isalnum() and value.isascii() and value.isprintable()
        ):
            raise Misconfigured(f"headers: {name!r} has characters that no header may have")
    return {name.lower(): value.strip() for name, value in headers.items()}
