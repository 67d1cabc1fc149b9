"""Storage Commitment, push model: what its data sets say (PS3.4 J.3, PS3.3 C.14).

The data sets hold two UIDs for each of up to 100,000 instances and little else, so they are read and written
by hand: objects of a general library would take a gigabyte and many seconds.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pacsbridge.bridge.commitment import Reference, Report
from pacsbridge.dicom.heads import Head, head_at
from pacsbridge.dicom.transfer_syntaxes import (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Layout,
    layout_of,
    tag_key,
)
from pacsbridge.dimse.command import padded, uid
from pacsbridge.errors import NotUnderstood, TooLarge

INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance that every request and report is about."""

REQUEST_COMMITMENT = 1
ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""The Action Type ID of a request, the Event Type IDs of reports."""

MOST = 100_000
"""Instances of one request."""

BYTES = 20 << 20
"""Bytes of one request; as many instances with the longest UIDs have 16 million."""

_TRANSACTION, _REFERENCED = tag_key(0x00081195), tag_key(0x00081199)
_SOP_CLASS, _SOP_INSTANCE = tag_key(0x00081150), tag_key(0x00081155)
_NESTING = 8
_ELEMENT = struct.Struct("<HHL")
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sHL")


def read(data: bytes, transfer_syntax: str) -> tuple[str, list[Reference]]:
    """Transaction UID and references of an N-ACTION's data set. Raises NotUnderstood, TooLarge."""
    reading = _Reading(data, layout_of(transfer_syntax))
    transaction, references = None, list[Reference]()
    for head, behind in reading.elements(0, len(data)):
        if head.key == _TRANSACTION:
            transaction = uid(data[head.start : behind])
        elif head.key == _REFERENCED:
            references = list(reading.references(head, behind))
    if transaction is None:
        raise NotUnderstood("no usable Transaction UID (0008,1195)")
    if not references:
        raise NotUnderstood("no items in Referenced SOP Sequence (0008,1199)")
    return transaction, references


class _Reading(NamedTuple):
    """A data set, taken apart strictly: what does not fit raises NotUnderstood."""

    data: bytes
    layout: Layout

    def elements(self, position: int, end: int) -> Iterator[tuple[Head, int]]:
        """Each element with the position behind it."""
        while position < end:
            head = self._head(position, end)
            position = self._behind(head, end, 0)
            yield head, position

    def references(self, sequence: Head, end: int) -> Iterator[Reference]:
        """What the items name. Raises TooLarge too."""
        position = sequence.start
        for number in range(MOST + 1):
            if position >= end or self._item_head(position, end)[0] == SEQUENCE_END:
                return
            if number == MOST:
                raise TooLarge(f"more than {MOST} references")
            start, stop, position = self._item(position, end, 1)
            yield self._reference(start, stop, number + 1)

    def _reference(self, start: int, stop: int, number: int) -> Reference:
        found = {head.key: uid(self.data[head.start : end]) for head, end in self.elements(start, stop)}
        sop_class, sop_instance = found.get(_SOP_CLASS), found.get(_SOP_INSTANCE)
        if sop_class is None or sop_instance is None:
            raise NotUnderstood(f"reference {number} has no usable UIDs")
        return Reference(sop_class, sop_instance)

    def _head(self, position: int, end: int) -> Head:
        head = head_at(self.layout, self.data, position, end) if position + 8 <= end else None
        if head is None:
            raise NotUnderstood("the data set ends within an element")
        return head

    def _behind(self, head: Head, end: int, depth: int) -> int:
        """The position behind an element; one of undefined length is a sequence."""
        if head.length != UNDEFINED:
            return _within(head.start + head.length, end)
        if depth >= _NESTING:
            raise NotUnderstood(f"sequences nested deeper than {_NESTING}")
        position = head.start
        while self._item_head(position, end)[0] != SEQUENCE_END:
            _, _, position = self._item(position, end, depth + 1)
        return position + 8

    def _item_head(self, position: int, end: int) -> tuple[int, int]:
        _within(position + 8, end)
        return self.layout.implicit_head(self.data, position)

    def _item(self, position: int, end: int, depth: int) -> tuple[int, int, int]:
        """Where an item's elements begin and end, and where it ends itself."""
        key, length = self._item_head(position, end)
        if key != ITEM:
            raise NotUnderstood("something other than an item in a sequence")
        start = position + 8
        if length != UNDEFINED:
            stop = _within(start + length, end)
            return start, stop, stop
        stop = start
        while (head := self._head(stop, end)).key != ITEM_END:
            stop = self._behind(head, end, depth)
        return start, stop, stop + 8


def _within(position: int, end: int) -> int:
    if position > end:
        raise NotUnderstood("an element is longer than what it stands in")
    return position


def event_type(report: Report) -> int:
    """The Event Type ID of a report."""
    return FAILURES_EXIST if report.failed else ALL_COMMITTED


def encode(report: Report, transfer_syntax: str, retrieve_ae: str) -> bytes:
    """The data set of an N-EVENT-REPORT (PS3.4 table J.3-2)."""
    put = {IMPLICIT_LITTLE: _implicit, EXPLICIT_LITTLE: _explicit}[transfer_syntax]
    failed = [
        _reference(put, one) + put(0x1197, b"US", why.to_bytes(2, "little")) for one, why in report.failed
    ]
    committed = [_reference(put, one) for one in report.committed]
    title = retrieve_ae.encode("ascii")
    return b"".join(
        (
            put(0x0054, b"AE", title + b" " * (len(title) % 2)) if committed else b"",
            put(0x1195, b"UI", padded(report.transaction_uid)),
            put(0x1198, b"SQ", _items(failed)) if failed else b"",
            put(0x1199, b"SQ", _items(committed)) if committed else b"",
        )
    )


class _Put(NamedTuple):
    """How an element of group 0008 is written."""

    explicit: bool

    def __call__(self, element: int, vr: bytes, value: bytes) -> bytes:
        if not self.explicit:
            return _ELEMENT.pack(8, element, len(value)) + value
        if vr == b"SQ":
            return _LONG.pack(8, element, vr, 0, len(value)) + value
        return _SHORT.pack(8, element, vr, len(value)) + value


_implicit, _explicit = _Put(explicit=False), _Put(explicit=True)


def _reference(put: _Put, one: Reference) -> bytes:
    return put(0x1150, b"UI", padded(one.sop_class_uid)) + put(0x1155, b"UI", padded(one.sop_uid))


def _items(items: Iterable[bytes]) -> bytes:
    return b"".join(_ELEMENT.pack(0xFFFE, 0xE000, len(item)) + item for item in items)
