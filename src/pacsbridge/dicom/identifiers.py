"""Identifiers of queries: data sets to keys, records to data sets (PS3.4 C.4.1.1.3, PS3.5 7)."""

import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pacsbridge.dicom.charsets import UNKNOWN, Charset, charset_of, codec_of
from pacsbridge.dicom.heads import Head
from pacsbridge.dicom.strict import Strict
from pacsbridge.dicom.transfer_syntaxes import (
    EXPLICIT_LITTLE,
    LONG_VRS,
    layout_of,
    tag_of,
    vr_key,
)
from pacsbridge.dicom.values import decode as decode_value
from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.finding import Asked, Keys
from pacsbridge.kernel.query_keys import VRS, Record

CHARACTER_SET = "00080005"
UTF_8 = "ISO_IR 192"

_LONGEST = 0xFFFE
_NESTING = 4
_LONG = frozenset(LONG_VRS.values())
_IMPLICIT_HEAD = struct.Struct("<HHL")
_EXPLICIT_START = struct.Struct("<HHH")
_LONG_HEAD = struct.Struct("<HHHHL")


# data set → keys


@dataclass(frozen=True, slots=True)
class Identifier:
    """What a request asks: its keys without the character set, and the terms of that."""

    keys: Keys
    character_set: tuple[str, ...] = ()


def read(data: bytes, transfer_syntax: str) -> Identifier:
    """The keys of an identifier; a sequence has one item at most. Raises NotUnderstood."""
    strict = Strict(data, layout_of(transfer_syntax))
    raw = _by_tag(strict, 0, len(data))
    terms: tuple[str, ...] = ()
    if CHARACTER_SET in raw:
        head, end = raw.pop(CHARACTER_SET)
        terms, _problem = decode_value(data[head.start : end], "CS", "CS", UNKNOWN, False)
    charset = charset_of(terms)
    if terms and charset.problem == "unknown character set":
        raise NotUnderstood("the character set (0008,0005) is not known", "SpecificCharacterSet")
    return Identifier(_keys(strict, raw, charset, 0), terms)


def _by_tag(strict: Strict, start: int, stop: int) -> dict[str, tuple[Head, int]]:
    """The elements of a data set, each of which it has once at most (PS3.5 7.1)."""
    raw: dict[str, tuple[Head, int]] = {}
    for head, end in strict.elements(start, stop):
        tag = f"{tag_of(head.key):08X}"
        if tag in raw:
            name = f"({tag[:4]},{tag[4:]})"
            raise NotUnderstood(f"{name}: given more than once", name)
        raw[tag] = (head, end)
    return raw


def _keys(strict: Strict, raw: Mapping[str, tuple[Head, int]], charset: Charset, depth: int) -> Keys:
    return {
        tag: _asked(strict, tag, head, end, charset, depth)
        for tag, (head, end) in raw.items()
        if not tag.endswith("0000")  # a group's length
    }


def _asked(strict: Strict, tag: str, head: Head, end: int, charset: Charset, depth: int) -> Asked:
    name = f"({tag[:4]},{tag[4:]})"
    vr = VRS.get(tag, "UN")
    if vr == "SQ":
        return Asked(name, item=_item(strict, name, head, end, charset, depth))
    if vr == "UN":
        return Asked(name)
    values, problem = decode_value(strict.data[head.start : end], head.vr, vr, charset, False)
    if problem:
        raise NotUnderstood(f"{name}: {problem}", name)
    return Asked(name, tuple(value.strip() for value in values))


def _item(strict: Strict, name: str, head: Head, end: int, charset: Charset, depth: int) -> Keys | None:
    items = list(strict.items(head, end))
    if not items:
        return None
    if len(items) > 1 or depth == _NESTING:
        raise NotUnderstood(f"{name}: more than one item, or nested too deep", name)
    [(start, stop)] = items
    return _keys(strict, _by_tag(strict, start, stop), charset, depth + 1)


# record → data set


@dataclass(frozen=True, slots=True)
class _Slot:
    """One element of every answer: how its head is made, and the slots of its items, None for all."""

    tag: str
    vr: str
    head: Callable[[int], bytes]
    item: "tuple[_Slot, ...] | None"


class Writer:
    """Writes the answers to one request: the keys that it asks for, those without a value empty.

    The character set is ASCII where that is enough, else the request's, else UTF-8: (0008,0005) says which.
    """

    def __init__(self, identifier: Identifier, tags: Sequence[str], transfer_syntax: str) -> None:
        self._explicit = transfer_syntax == EXPLICIT_LITTLE
        self._slots = self._made(identifier.keys, tags)
        terms = identifier.character_set
        asked = codec_of(terms) if terms else None
        known = [(asked, self._term(terms[0]))] if asked else []
        self._charsets = [("ascii", b""), *known, ("utf_8", self._term(UTF_8))]

    def _made(self, keys: Keys, tags: Sequence[str]) -> tuple[_Slot, ...]:
        return tuple(self._slot(tag, keys[tag].item if tag in keys else None) for tag in sorted(tags))

    def _slot(self, tag: str, item: Keys | None) -> _Slot:
        vr = VRS[tag]
        known = [one for one in item or () if one in VRS]
        return _Slot(
            tag, vr, _head(tag, vr, self._explicit), self._made(item or {}, known) if known else None
        )

    def _term(self, term: str) -> bytes:
        value = _padded(term.encode("ascii"), "CS")
        return _head(CHARACTER_SET, "CS", self._explicit)(len(value)) + value

    def write(self, record: Record) -> bytes:
        """The data set of one answer."""
        *others, (codec, term) = self._charsets
        for first, named in others:
            with suppress(UnicodeEncodeError):
                return named + self._elements(self._slots, record, first)
        return term + self._elements(self._slots, record, codec)

    def _elements(self, slots: Sequence[_Slot], record: Record, codec: str) -> bytes:
        parts: list[bytes] = []
        for slot in slots:
            value = self._value(slot, record.get(slot.tag), codec)
            parts += (slot.head(len(value)), value)
        return b"".join(parts)

    def _value(self, slot: _Slot, values: Sequence[Any] | None, codec: str) -> bytes:
        if not values:
            return b""
        if slot.vr == "SQ":
            return b"".join(self._item(slot, item, codec) for item in values)
        if slot.vr == "US":
            return b"".join(_unsigned(value) for value in values)
        value = _padded("\\".join(values).encode(codec), slot.vr)
        return value if len(value) <= _LONGEST else _padded(values[0].encode(codec)[:_LONGEST], slot.vr)

    def _item(self, slot: _Slot, record: Record, codec: str) -> bytes:
        slots = tuple(self._slot(tag, None) for tag in sorted(record)) if slot.item is None else slot.item
        value = self._elements(slots, record, codec)
        return _IMPLICIT_HEAD.pack(0xFFFE, 0xE000, len(value)) + value


def _head(tag: str, vr: str, explicit: bool) -> Callable[[int], bytes]:
    """What makes the head of an element from the length of its value."""
    group, element = int(tag[:4], 16), int(tag[4:], 16)
    if not explicit:
        return lambda length: _IMPLICIT_HEAD.pack(group, element, length)
    letters = vr_key(vr)
    if vr in _LONG:
        return lambda length: _LONG_HEAD.pack(group, element, letters, 0, length)
    start = _EXPLICIT_START.pack(group, element, letters)
    return lambda length: start + length.to_bytes(2, "little")


def _padded(value: bytes, vr: str) -> bytes:
    return value if len(value) % 2 == 0 else value + (b"\0" if vr == "UI" else b" ")


def _unsigned(text: str) -> bytes:
    number = int(text) if text.isascii() and text.isdigit() else 0
    return min(number, 0xFFFF).to_bytes(2, "little")
