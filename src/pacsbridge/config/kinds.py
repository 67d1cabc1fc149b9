"""What a key of the configuration may hold: a kind says so in words, reads it, and refuses the rest."""

import ipaddress
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pacsbridge.kernel.values import is_uri

_AE_TITLE = re.compile(r"(?=.*[!-~])[ -\[\]-~]{1,16}")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]+)*\.?")
_TERM = r"(?:ISO_IR \d{1,3}|ISO 2022 IR \d{1,3}|GB18030|GBK)"
_CHARSET = re.compile(rf"{_TERM}?(?:\\{_TERM})*")
_MOST = 2**63 - 1
_SOURCE_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_USER_NAME = re.compile(r"(?=.*\S)[^:\x00-\x1f\x7f]+")
_COMMON_NAME = re.compile(r"(?! )[^\x00-\x1f\x7f]{1,253}(?<! )")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"(?![ \t])[\t -~\x80-\xff]*(?<![ \t])")
_URL_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)|(?<=password=)[^&]*")

MASK = "***"
MIB = 1 << 20


class Planned(Exception):
    """A value that has a meaning which this version cannot give it yet; the text names the feature."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`expects` completes "… must be"; `read` returns the value to keep, raises ValueError or Planned.

    `literal`: the text of an environment variable is the value itself. `masked`: how a secret of this kind
    is shown.
    """

    expects: str
    read: Callable[[Any], Any]
    literal: bool = False
    masked: Callable[[Any], Any] = lambda _: MASK

    def from_text(self, text: str) -> Any:
        """What the text of an environment variable says, before `read`: JSON, else TOML, else itself."""
        if self.literal:
            return text
        for parse in (json.loads, _toml_value):
            try:
                return parse(text)
            except ValueError:
                continue
        return text


def _toml_value(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


def _typed(kind: type, value: Any) -> Any:
    """`value` itself when it is of this very type: a bool is no int here."""
    if type(value) is not kind:
        raise ValueError
    return value


def _matching(test: Callable[[str], object]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        text: str = _typed(str, value)
        if not test(text):
            raise ValueError
        return text

    return read


def whole(low: int, high: int = _MOST) -> Kind:
    """Whole numbers in a range, both ends included."""

    def read(value: Any) -> int:
        number: int = _typed(int, value)
        if not low <= number <= high:
            raise ValueError
        return number

    return Kind(
        f"a whole number from {low} to {high}" if high < _MOST else f"a whole number from {low}", read
    )


def number(low: float, high: float) -> Kind:
    """Numbers in a range, both ends included; a whole number will do."""

    def read(value: Any) -> float:
        given = float(value if type(value) is int else _typed(float, value))
        if not math.isfinite(given) or not low <= given <= high:
            raise ValueError
        return given

    return Kind(f"a number from {low:g} to {high:g}", read)


def choice(*words: str) -> Kind:
    """One of a few words."""
    *most, last = [f'"{word}"' for word in words]
    expects = f"{', '.join(most)} or {last}" if most else last
    return Kind(expects, _matching(words.__contains__), literal=True)


def list_of(kind: Kind, distinct: str) -> Kind:
    """A list; `distinct` names its members in the plural."""

    def read(value: Any) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(kind.read(one) for one in _typed(list, value)))

    return Kind(f"a list of {distinct}", read)


def planned(kind: Kind, later: Iterable[tuple[Callable[[Any], bool], str]]) -> Kind:
    """`kind`, with values for which this version has no feature yet: (which, its name)."""
    rules = tuple(later)

    def read(value: Any) -> Any:
        for applies, feature in rules:
            if applies(value):
                raise Planned(feature)
        return kind.read(value)

    return Kind(kind.expects, read, kind.literal)


def _http(text: str) -> bool:
    """Whether this is an http or https URL without credentials and fragment; a port out of range raises."""
    parts = urlsplit(text)
    return (
        is_uri(text)
        and parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and parts.username is None
        and not parts.fragment
        and parts.port != 0
    )


def _syslog(text: str) -> bool:
    """Whether this is the address of a syslog receiver; a port out of range raises."""
    parts = urlsplit(text)
    bare = not (parts.path.strip("/") or parts.query or parts.fragment) and parts.username is None
    return parts.scheme in ("udp", "tcp", "tls") and bool(parts.hostname) and bare and parts.port != 0


def _base_url(value: Any) -> str:
    text: str = _typed(str, value).rstrip("/")
    if not _http(text) or urlsplit(text).query:
        raise ValueError
    return text


def _database(text: str) -> bool:
    return text == "sqlite" or (text.startswith(("postgresql://", "postgres://")) and len(text) > 13)


def is_address(text: str) -> bool:
    """Whether this is an IP address or a host name."""
    return _parses(ipaddress.ip_address, text) or bool(_HOST_NAME.fullmatch(text))


def _is_caller(text: str) -> bool:
    return _parses(ipaddress.ip_network, text, strict=True) or is_address(text)


def _parses(parse: Callable[..., object], text: str, **options: Any) -> bool:
    try:
        parse(text, **options)
    except ValueError:
        return False
    return True


def _zone(value: Any) -> str:
    try:
        return ZoneInfo(_typed(str, value)).key
    except (KeyError, OSError) as exc:
        raise ValueError from exc


def _path(value: Any) -> Path:
    text: str = _typed(str, value)
    if not text.strip() or "\0" in text:
        raise ValueError
    return Path(text).expanduser()


def _systems(value: Any) -> dict[str, str]:
    given: dict[str, Any] = _typed(dict, value)
    if not all(name and is_uri(str(system)) for name, system in given.items()):
        raise ValueError
    return {str(name): str(system) for name, system in given.items()}


def _headers(value: Any) -> dict[str, str]:
    given: dict[str, Any] = _typed(dict, value)
    once = len({name.lower() for name in given}) == len(given)
    if not once or not all(
        _FIELD_NAME.fullmatch(name) and _is_field_value(one) for name, one in given.items()
    ):
        raise ValueError
    return dict(given)


def _is_field_value(value: Any) -> bool:
    return bool(_FIELD_VALUE.fullmatch(_typed(str, value)))


def _masked_members(value: Mapping[str, Any]) -> dict[str, str]:
    return dict.fromkeys(value, MASK)


def _masked_url(value: str) -> str:
    return _URL_PASSWORD.sub(MASK, value)


def _certificate(value: Any) -> str:
    """A pin as `tls.pins` compares it."""
    text = str(_typed(str, value)).lower()
    if not text.startswith("sha256:"):
        return _matching(_COMMON_NAME.fullmatch)(text)
    digest = text.removeprefix("sha256:").replace(":", "")
    return "sha256:" + _matching(_SHA256.fullmatch)(digest)


FLAG = Kind("true or false", lambda value: _typed(bool, value))
TEXT = Kind("a text that is not blank", _matching(str.strip), literal=True)
PORT = whole(0, 65535)
PEER_PORT = whole(1, 65535)
AE_TITLE = Kind(
    "an AE title: 1 to 16 ASCII characters, no backslash (PS3.5 6.2)",
    _matching(_AE_TITLE.fullmatch),
    literal=True,
)
ADDRESS = Kind("an IP address or a host name", _matching(is_address), literal=True)
CALLER = Kind(
    "an IP address, a network such as 10.0.0.0/24 or a host name", _matching(_is_caller), literal=True
)
NETWORK = Kind(
    "an IP address or a network such as 10.0.0.0/24",
    _matching(lambda text: _parses(ipaddress.ip_network, text, strict=True)),
    literal=True,
)
ZONE = Kind('an IANA time zone such as "Europe/Berlin"', _zone, literal=True)
CHARSET = Kind(
    r'defined terms of (0008,0005) such as "ISO_IR 100", several with a backslash between them',
    _matching(_CHARSET.fullmatch),
    literal=True,
)
BASE_URL = Kind("an http or https URL without query and credentials", _base_url, literal=True)
URL = Kind("an http or https URL without credentials", _matching(_http), literal=True)
SYSLOG = Kind(
    "the address of a syslog receiver such as tls://audit.example:6514 (udp, tcp, tls)",
    _matching(_syslog),
    literal=True,
)
VIEWER = Kind(
    "an http or https URL with {study_uid} in it",
    _matching(lambda text: text.count("{study_uid}") == 1 and _http(text.replace("{study_uid}", "1.2"))),
    literal=True,
)
URI = Kind(
    "an absolute URI such as urn:oid:1.2.3 or http://hospital.example/ids", _matching(is_uri), literal=True
)
SYSTEMS = Kind('a table of names and absolute URIs such as { "HOSP_A" = "urn:oid:1.2.3" }', _systems)
PATH = Kind("a path", _path, literal=True)
DATABASE = Kind(
    '"sqlite" or a URL such as postgresql://user@host/database',
    _matching(_database),
    literal=True,
    masked=_masked_url,
)
SOURCE_NAME = Kind(
    "1 to 64 letters, digits, hyphens, underscores or dots", _matching(_SOURCE_NAME.fullmatch), literal=True
)
USER_NAME = Kind(
    "a user name without colon and control characters (RFC 7617)",
    _matching(_USER_NAME.fullmatch),
    literal=True,
)
CERTIFICATE = Kind(
    "a DNS name or common name in a certificate, or sha256: and 64 hexadecimal digits, colons between or not",
    _certificate,
    literal=True,
)
HEADERS = Kind(
    'a table of HTTP fields (RFC 9110 5), each once, such as { "X-Site" = "north" }',
    _headers,
    masked=_masked_members,
)
