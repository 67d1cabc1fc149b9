"""What came of a request, as our errors: tables of statuses and of network faults.

Texts are made of our own words and of numbers; what a server or a library says is never in them.
"""

import codecs
import http.client
import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol, TypeVar

from requests import exceptions

from pacsbridge.errors import BadAnswer, Declined, PacsbridgeError, Unavailable, WrongKind
from pacsbridge.remote.addresses import Barred
from pacsbridge.remote.settings import ArchiveSettings

LONGEST_RETRY_AFTER = 3600.0
"""Seconds: a server that asks for more patience than this is asked all the same."""

REFUSALS = frozenset({401, 403})
"""Statuses that say that the credentials are at fault."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_TRANSIENT = frozenset({408, 429, *range(500, 600)})

PERSISTENT = frozenset({500, 501})
"""Come again and again, they are about the question: an archive fails at what a file is lost of."""


_VAGUE = frozenset({"", "text/plain", "application/octet-stream"})
"""Media types of servers that send JSON without saying so, or tell in words that there is nothing."""

_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}")


class Answer(NamedTuple):
    """What a server said; names of headers match in any case. Only a success (2xx) keeps its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def close(self) -> None:
        """Nothing: it is all here."""


class Reply(Protocol):
    """What a server said, as far as its head goes; whoever does not want the rest closes it."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields."""

    def close(self) -> None:
        """Give it back."""


def transient(answer: Reply, wall: Callable[[], float]) -> Unavailable | None:
    """The error of a status that may be another one when asked again; None for any other status."""
    if answer.status not in _TRANSIENT:
        return None
    return Unavailable(f"HTTP {answer.status}", retry_after(answer.headers, wall))


Settled = TypeVar("Settled", bound=Reply)


def settled(answer: Settled, allowed: Collection[int] = ()) -> Settled:
    """The answer, if it is a success or its status is allowed. Raises what other statuses stand for."""
    if 200 <= answer.status < 300 or answer.status in allowed:
        return answer
    if answer.status in REFUSALS:
        raise Unavailable(f"refuses our credentials (HTTP {answer.status})")
    if 400 <= answer.status < 500:
        raise Declined(f"HTTP {answer.status}")
    raise BadAnswer(f"HTTP {answer.status}")


def json_like(answer: Answer) -> Answer:
    """The answer of who was asked for JSON. Raises WrongKind where its type and beginning are others.

    Such an answer says nothing of what was asked: a page to log in at, or the portal of a network.
    """
    kind = media_type(answer)
    begins = answer.body.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    if begins in b"[{" or "json" in kind or kind in _VAGUE:
        return answer
    raise WrongKind(not_json(kind))


def media_type(answer: Reply) -> str:
    """What the answer says it is, in small letters and without parameters; "" where it does not."""
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def not_json(kind: str) -> str:
    """That something is no JSON but of a media type, which is named where it is one."""
    return f"not JSON: {kind}" if _MEDIA_TYPE.fullmatch(kind) else "not JSON"


def retry_after(headers: Mapping[str, str], wall: Callable[[], float]) -> float | None:
    """The seconds that a Retry-After header asks for, in either form (RFC 9110 10.2.3); None without one.

    A date is held against the server's own Date where it gives one, as its clock may differ from ours.
    """
    given = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,12}", given):
        return min(float(given), LONGEST_RETRY_AFTER)
    then = _moment(given)
    if then is None:
        return None
    now = _moment(headers.get("Date", ""))
    return min(max(then - (wall() if now is None else now), 0.0), LONGEST_RETRY_AFTER)


def _moment(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date, whose oldest form names no zone; None for what is no date."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


_CERTIFICATE: Mapping[int, str] = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    62: "its certificate is for another host",
    64: "its certificate is for another address",
}
"""OpenSSL's X509_V_ERR_… → why a certificate is not trusted."""

_FAULTS: tuple[tuple[type[BaseException], type[PacsbridgeError], str], ...] = (
    (exceptions.ContentDecodingError, BadAnswer, "its content coding is broken"),
    (ssl.SSLCertVerificationError, Unavailable, "its certificate is not signed by a trusted authority"),
    (ssl.SSLError, Unavailable, "no TLS with it"),
    (exceptions.SSLError, Unavailable, "no TLS with it"),
    (socket.gaierror, Unavailable, "its name cannot be resolved"),
    (Barred, Unavailable, "{1.strerror}"),
    (exceptions.ConnectTimeout, Unavailable, "no connection within {0.connect_seconds:g} s"),
    (ConnectionRefusedError, Unavailable, "connection refused"),
    (exceptions.ReadTimeout, Unavailable, "no answer for {0.silence_seconds:g} s"),
    (TimeoutError, Unavailable, "no answer for {0.silence_seconds:g} s"),
    (exceptions.ChunkedEncodingError, Unavailable, "the answer was cut short"),
    (http.client.RemoteDisconnected, Unavailable, "connection closed without an answer"),
    (ConnectionError, Unavailable, "connection reset"),
    (http.client.HTTPException, Unavailable, "it does not speak HTTP"),
    (exceptions.ConnectionError, Unavailable, "no connection"),
    (exceptions.RequestException, BadAnswer, "not HTTP as it should be"),
    (OSError, Unavailable, "a certificate file cannot be read"),
)
"""The first row whose type is among the causes of a fault tells what it is."""


def network_fault(fault: BaseException, settings: ArchiveSettings) -> PacsbridgeError:
    """What a library raised instead of giving an answer, as one of our errors."""
    causes = list(_causes(fault))
    for kind, error, text in _FAULTS:
        for cause in causes:
            if isinstance(cause, kind):
                code = getattr(cause, "verify_code", 0)
                return error(_CERTIFICATE.get(code, text.format(settings, cause)))
    return BadAnswer("not HTTP as it should be")


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """The fault and all that it was raised for: the libraries keep that in several places."""
    seen: set[int] = set()
    waiting = [fault]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        related = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting.extend(other for other in related if isinstance(other, BaseException))
