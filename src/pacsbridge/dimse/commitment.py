"""Storage Commitment, push model: what its data sets say (PS3.4 J.3, PS3.3 C.14).

The data sets hold two UIDs for each of up to 100,000 instances and little else, so they are read and written
by hand: objects of a general library would take a gigabyte and many seconds.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pacsbridge.bridge.commitment import Reference, Report
from pacsbridge.dicom.heads import Head
from pacsbridge.dicom.strict import Strict
from pacsbridge.dicom.transfer_syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE, layout_of, tag_key
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
_ELEMENT = struct.Struct("<HHL")
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sHL")


def read(data: bytes, transfer_syntax: str) -> tuple[str, list[Reference]]:
    """Transaction UID and references of an N-ACTION's data set. Raises NotUnderstood, TooLarge."""
    reading = Strict(data, layout_of(transfer_syntax))
    transaction, references = None, list[Reference]()
    for head, behind in reading.elements(0, len(data)):
        if head.key == _TRANSACTION:
            transaction = uid(data[head.start : behind])
        elif head.key == _REFERENCED:
            references = list(_references(reading, head, behind))
    if transaction is None:
        raise NotUnderstood("no usable Transaction UID (0008,1195)")
    if not references:
        raise NotUnderstood("no items in Referenced SOP Sequence (0008,1199)")
    return transaction, references


def _references(data: Strict, sequence: Head, end: int) -> Iterator[Reference]:
    """What the items name. Raises TooLarge too."""
    for number, (start, stop) in enumerate(data.items(sequence, end), 1):
        if number > MOST:
            raise TooLarge(f"more than {MOST} references")
        yield _reference_in(data, start, stop, number)


def _reference_in(data: Strict, start: int, stop: int, number: int) -> Reference:
    found = {head.key: uid(data.data[head.start : end]) for head, end in data.elements(start, stop)}
    sop_class, sop_instance = found.get(_SOP_CLASS), found.get(_SOP_INSTANCE)
    if sop_class is None or sop_instance is None:
        raise NotUnderstood(f"reference {number} has no usable UIDs")
    return Reference(sop_class, sop_instance)


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
