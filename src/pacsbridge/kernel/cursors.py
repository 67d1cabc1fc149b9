"""Positions in a result, as the links of a Bundle carry them: opaque outside, and good for one search only.

A position is the place of an entry in an order, not a number of entries, so that a page begins where the one
before it ended whatever has arrived meanwhile. What can change while somebody pages (when a study started,
when it was last updated) is taken as it was at the `moment` of the first page.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from pacsbridge.errors import NotUnderstood

Order = tuple[tuple[str, bool], ...]
"""Field and whether it descends, most significant first."""

_JSON = json.JSONEncoder(separators=(",", ":"))

_LENGTH = 600
_SEAL = 12
_KEY = 64
"""Bytes of a seal, and of its key at most."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """An entry's place: one key for each field of `order`, and the number of its row.

    `back`: the page before that place is asked for, not the one behind it. `moment` is that of the newest
    version there was when the first page was read, in microseconds since 1970.
    """

    order: Order
    keys: tuple[int | str, ...]
    moment: int
    back: bool = False

    def encode(self, secret: bytes, scope: str) -> str:
        """The cursor as it stands in a link, sealed for one search (`scope`)."""
        plain = _JSON.encode([self.order, self.keys, self.moment, self.back]).encode()
        return urlsafe_b64encode(_seal(plain, secret, scope) + plain).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, secret: bytes, scope: str) -> "Cursor":
        """The cursor of a link. NotUnderstood unless `encode` made it with this secret for this search."""
        opened = _opened(text)
        seal, plain = opened[:_SEAL], opened[_SEAL:]
        if not (plain and compare_digest(seal, _seal(plain, secret, scope))):
            raise NotUnderstood("not a cursor that this server gave out for this search")
        order, keys, moment, back = json.loads(plain)
        return cls(tuple(_pairs(order)), tuple(keys), moment, back)


def _pairs(order: list[list[object]]) -> Iterator[tuple[str, bool]]:
    return ((str(field), bool(descends)) for field, descends in order)


def _opened(text: str) -> bytes:
    if len(text) > _LENGTH or not text.isascii():
        return b""
    try:
        opened = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (Base64Error, ValueError):
        return b""
    return opened if urlsafe_b64encode(opened).decode().rstrip("=") == text else b""


def _seal(plain: bytes, secret: bytes, scope: str) -> bytes:
    told = scope.encode("utf-8", "surrogatepass") + b"\0" + plain
    return blake2b(told, key=secret[:_KEY], digest_size=_SEAL).digest()
