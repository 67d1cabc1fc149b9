"""The public keys of whoever signs tokens (RFC 7517), fetched or read, kept and changed in good time."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
import orjson
import structlog

from pacsbridge.access.settings import ALGORITHMS, AccessSettings
from pacsbridge.errors import BadAnswer, PacsbridgeError, Unavailable
from pacsbridge.remote.client import JSON, Client
from pacsbridge.remote.settings import ArchiveSettings

PAUSE_SECONDS = 60.0
"""Between two looks for keys, whatever tokens are sent."""

_FIRST_PAUSE_SECONDS = 5.0
"""The same while there are no keys at all."""

_LONGEST = 1 << 20
_MOST_KEYS = 100
_LEAST_BITS = 2048
"""Of an RSA key (RFC 7518 3.3)."""

_FITTING: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): tuple(name for name in ALGORITHMS if name.startswith(("RS", "PS"))),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
"""Type and curve of a key → the algorithms that it is for (RFC 7518 6.1); no secret is among them."""

_log = structlog.get_logger("pacsbridge.access")


class Key(NamedTuple):
    """A key, and the algorithms that may be used with it."""

    public: Any
    algorithms: frozenset[str]


Keys = Mapping[str, Key]
"""By `kid`; the key of a set that names none is under ""."""


class KeyRing:
    """The keys by their ids. `ready` and `of` are quick, `refresh` blocks; threads may share it."""

    def __init__(
        self,
        look: Callable[[], bytes],
        settings: AccessSettings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Keys = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")

    def ready(self, kid: str | None) -> bool:
        """Whether `of` may be asked at once: a look for newer keys is not due, or would be too soon.

        Whoever has a key that is not known waits for a look that is under way.
        """
        if self._find(kid) is None:
            return not (self._may_look() or self._lock.locked())
        return self._age() < self._settings.jwks_seconds or not self._may_look()

    def of(self, kid: str | None) -> Key | None:
        """The key with an id, None where there is none. Raises Unavailable without keys to trust."""
        if self._age() > self._settings.jwks_stale_seconds:
            raise Unavailable("the keys of the token's issuer cannot be had")
        return self._find(kid)

    def refresh(self) -> None:
        """Look for newer keys, unless somebody has meanwhile; what cannot be had leaves the old ones."""
        with self._lock:
            if not self._may_look():
                return
            self._tried = self._clock()
            try:
                keys = dict(_keys(self._look(), self._settings.algorithms))
            except PacsbridgeError as exc:
                _log.warning("keys not fetched", reason=str(exc))
                return
            self._keys, self._fetched = keys, self._clock()
            _log.info("keys fetched", count=len(keys))

    def _find(self, kid: str | None) -> Key | None:
        """Without an id the only key there is."""
        keys = self._keys
        if kid is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    def _age(self) -> float:
        return self._clock() - self._fetched

    def _may_look(self) -> bool:
        pause = PAUSE_SECONDS if self._keys else _FIRST_PAUSE_SECONDS
        return self._clock() - self._tried >= pause


def _keys(document: bytes, allowed: tuple[str, ...]) -> Iterator[tuple[str, Key]]:
    """The keys of a set that verify signatures. Raises BadAnswer for what is no set."""
    try:
        members = orjson.loads(document)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
        raise BadAnswer("not a set of keys") from exc
    if not isinstance(members, list) or len(members) > _MOST_KEYS:
        raise BadAnswer(f"not a set of at most {_MOST_KEYS} keys")
    for member in members:
        if isinstance(member, dict) and (key := _key(member, allowed)) is not None:
            yield str(member.get("kid", "")), key


def _key(member: Mapping[str, Any], allowed: tuple[str, ...]) -> Key | None:
    """A key for signatures by a pair of keys; None for any other: secrets verify nothing here."""
    stated = member.get("alg")
    among = _FITTING.get((str(member.get("kty")), member.get("crv")), ())
    fitting = [name for name in among if stated in (None, name)]
    if not fitting or member.get("use", "sig") != "sig":
        return None
    try:
        public = jwt.PyJWK(dict(member), algorithm=fitting[0]).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if hasattr(public, "private_bytes") or (member["kty"] == "RSA" and public.key_size < _LEAST_BITS):
        return None
    return Key(public, frozenset(fitting).intersection(allowed))


def key_ring(settings: AccessSettings) -> KeyRing:
    """The keys that the settings name: at a URL or in a file."""
    if settings.jwks_file is not None:
        return KeyRing(lambda: _of_file(settings.jwks_file or Path()), settings)
    url = settings.jwks_url or ""
    client = Client(remote_settings(url, settings))
    return KeyRing(lambda: client.get(url, accept=JSON).body, settings)


def _of_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST)
    except OSError as exc:
        raise Unavailable("the file of keys cannot be read") from exc


def remote_settings(url: str, settings: AccessSettings) -> ArchiveSettings:
    """How the server of tokens is asked: briefly, once, and at the origin of `url` alone."""
    parts = urlsplit(url)
    return ArchiveSettings(
        name="auth",
        url=f"{parts.scheme}://{parts.netloc}",
        verify=settings.verify,
        connect_seconds=3,
        silence_seconds=5,
        answer_seconds=8,
        answer_bytes=_LONGEST,
        tries=1,
    )
