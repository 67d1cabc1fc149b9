"""Accept negotiation (PS3.18 8.7.5): media ranges with quality, `type=` and `transfer-syntax=`.

Reading is total: what cannot be read is left out. Quoted and bare parameter values mean the same, since
many clients send `type=application/dicom` without its quotes.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pacsbridge.errors import NotAcceptable

_QUOTED = r'"(?:[^"\\]|\\.)*+"?'
_ELEMENT = re.compile(rf'(?:[^,"]|{_QUOTED})++', re.DOTALL)
_PARAMETER = re.compile(rf'(?:[^;"]|{_QUOTED})++', re.DOTALL)
_TYPE = re.compile(r"(?:\*/\*|[\w!#$&^.+-]+/(?:\*|[\w!#$&^.+-]+))", re.ASCII)
_QUALITY = re.compile(r"\d+\.?\d*|\.\d+", re.ASCII)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

ANY_SYNTAX = "*"
"""Stands for the transfer syntax of a representation that has none, such as JSON."""


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One element of an Accept header: `type` and parameter names in lower case, `quality` from 0 to 1."""

    type: str
    parameters: Mapping[str, str]
    quality: float


@dataclass(frozen=True, slots=True)
class Offer:
    """A representation that a resource has; `root` is the `type` parameter of a multipart."""

    type: str
    root: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What was agreed on: the offer, and which of the stored transfer syntaxes may be sent in it."""

    offer: Offer
    syntaxes: frozenset[str]


def media_ranges(header: str) -> tuple[MediaRange, ...]:
    """The legible elements of an Accept header (RFC 9110 12.5.1), in their order."""
    ranges = (_media_range(element) for element in _ELEMENT.findall(header))
    return tuple(found for found in ranges if found is not None)


def negotiate(header: str, offers: Sequence[Offer], syntaxes: Collection[str]) -> Choice:
    """The best of `offers` for a client that sent `header`; `syntaxes` are those of the stored instances.

    Highest quality first, then the offer that the client names most precisely, then the order of `offers`.
    No header accepts everything. A range without `transfer-syntax` accepts what is stored: PS3.18 8.7.3.5.2
    would have Explicit VR Little Endian then, but pixels are never transcoded here.
    Raises NotAcceptable when nothing fits.
    """
    ranges = media_ranges(header) if header.strip() else (MediaRange("*/*", {}, 1.0),)
    best = max(offers, key=lambda offer: _rank(offer, ranges, syntaxes))
    accepted = frozenset(uid for uid in syntaxes if _best(best, uid, ranges)[0] > 0)
    if not accepted:
        raise NotAcceptable(_refusal(offers, syntaxes))
    return Choice(best, accepted)


def _media_range(element: str) -> MediaRange | None:
    name, *rest = [piece.strip() for piece in _PARAMETER.findall(element)] or [""]
    parameters = dict(_parameter(piece) for piece in rest if "=" in piece)
    quality = _quality(parameters.pop("q", "1"))
    if quality is None or not _TYPE.fullmatch(name):
        return None
    return MediaRange(name.lower(), parameters, quality)


def _parameter(piece: str) -> tuple[str, str]:
    name, _, value = piece.partition("=")
    return name.strip().lower(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPED.sub(r"\1", value[1:-1] if value.endswith('"') and len(value) > 1 else value[1:])


def _quality(text: str) -> float | None:
    return min(float(text), 1.0) if _QUALITY.fullmatch(text) else None


def _rank(offer: Offer, ranges: Iterable[MediaRange], syntaxes: Iterable[str]) -> tuple[float, int]:
    return max((_best(offer, uid, ranges) for uid in syntaxes), default=(0.0, 0))


def _best(offer: Offer, syntax: str, ranges: Iterable[MediaRange]) -> tuple[float, int]:
    """Quality and precision of the most precise range that covers the offer in that transfer syntax."""
    covering = [(_precision(offer, syntax, found), found.quality) for found in ranges]
    precision, quality = max((pair for pair in covering if pair[0]), default=(0, 0.0))
    return quality, precision


def _precision(offer: Offer, syntax: str, found: MediaRange) -> int:
    """0: does not cover it; else higher the more precisely (RFC 9110 12.5.1)."""
    by_type = next((rank for rank, covers in _TYPE_RANKS if covers(offer, found)), 0)
    named = found.parameters.get("transfer-syntax", ANY_SYNTAX)
    if not by_type or (syntax != ANY_SYNTAX and named not in (ANY_SYNTAX, syntax)):
        return 0
    return 2 * by_type + (named == syntax)


def _main(offer: Offer) -> str:
    return offer.type.partition("/")[0]


def _root(found: MediaRange) -> str:
    return found.parameters.get("type", "").lower()


def _roots(offer: Offer) -> tuple[str, ...]:
    """What may stand for the root of an offer; some clients send `type="*/*"`."""
    return "", "*/*", offer.root.partition("/")[0] + "/*", offer.root


_TYPE_RANKS: tuple[tuple[int, Callable[[Offer, MediaRange], bool]], ...] = (
    (4, lambda offer, found: found.type == offer.type and offer.root == _root(found) != ""),
    (3, lambda offer, found: found.type == offer.type and _root(found) in _roots(offer)),
    (2, lambda offer, found: found.type == _main(offer) + "/*" and _root(found) in _roots(offer)),
    (1, lambda _offer, found: found.type == "*/*"),
)
"""How precisely a range names an offer: type and root, type, main type, anything."""


def _refusal(offers: Iterable[Offer], syntaxes: Collection[str]) -> str:
    named = ", ".join(f'{o.type}; type="{o.root}"' if o.root else o.type for o in offers)
    stored = ", ".join(sorted(set(syntaxes) - {ANY_SYNTAX}))
    return f"available as {named}" + (f" in transfer syntax {stored}" if stored else "")
