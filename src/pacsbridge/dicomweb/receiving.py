"""An instance while it arrives over HTTP: a small one in memory, a large one in a spool; then to the intake.

`add` is quick and for the event loop; `flush`, `store` and `discard` block. One at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import structlog

from pacsbridge.blobs.spool import Spool
from pacsbridge.bridge.intake import Content, Incoming, Intake
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.part10 import own_head
from pacsbridge.dicom.reader import Header
from pacsbridge.dicomweb.service import DicomwebSettings
from pacsbridge.errors import Mismatch, NotUnderstood, Refused, TooLarge, Unavailable, reason
from pacsbridge.kernel.audit import Who
from pacsbridge.kernel.model import Values
from pacsbridge.kernel.values import uid

_PIECE = 1 << 20
"""Bytes that are written to a spool at once."""

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")

_log = structlog.get_logger("pacsbridge.dicomweb")


@dataclass(frozen=True, slots=True)
class Names:
    """The UIDs of an instance, None where they are not known."""

    study: str | None = None
    series: str | None = None
    instance: str | None = None
    sop_class: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part; no `fault`: it is stored. `patient`: whose it is then, as facts."""

    names: Names
    fault: Exception | None = None
    patient: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where instances go, and under the name of which source; `sender` is who sends them."""

    intake: Intake
    source: Source
    sender: Who | None = None


class Arriving:
    """One part: a Part 10 file of `study`, or of any study where that is None."""

    def __init__(
        self,
        entrance: Entrance,
        settings: DicomwebSettings,
        study: str | None,
        fault: Exception | None = None,
    ) -> None:
        self._entrance = entrance
        self._memory = settings.spool_bytes
        self._largest = settings.object_bytes
        self._study = study
        self._waiting = bytearray()
        self._spool: Spool | None = None
        self._syntax = ""
        self._fault = fault
        self._names = Names()
        self.size = 0

    def add(self, data: bytes) -> bool:
        """Take the next bytes; whether it is time for `flush`. What follows a fault is only counted."""
        self.size += len(data)
        if self._fault is not None:
            return False
        self._waiting += data
        if self.size > self._largest:
            self._fault = TooLarge(f"longer than {self._largest} bytes")
            return True
        return len(self._waiting) > (self._memory if self._spool is None else _PIECE)

    def flush(self) -> None:
        """Bring what waits to the spool; it is begun here. A fault is kept for `store`."""
        try:
            self._flush()
        except Exception as exc:
            self._fault = self._fault or exc
        if self._fault is not None:
            self.discard()

    def _flush(self) -> None:
        if self._spool is None:
            self._spill(self._look(self._waiting))
        elif self._fault is None:
            self._spool.write(self._waiting)
        self._waiting = bytearray()

    def _look(self, content: Content | BinaryIO) -> Header:
        """Read what the file says of itself. Raises NotUnderstood, TooLarge, Mismatch."""
        header = self._entrance.intake.header(content, None, self._entrance.source)
        self._names = _names(header)
        self._syntax = header.transfer_syntax_uid
        self._check_study()
        return header

    def _check_study(self) -> None:
        if self._study and self._names.study and self._study != self._names.study:
            raise Mismatch("the instance belongs to another study than the URL names")

    def _spill(self, header: Header) -> None:
        """From memory to a spool, which begins with a Part 10 head of its own."""
        if self._fault is not None:
            return
        if not (self._names.sop_class and self._names.instance):
            raise NotUnderstood(f"no SOP UIDs within the first {self._memory} bytes")
        content = memoryview(self._waiting)
        head = own_head(content[: header.dataset_offset])
        self._spool = self._entrance.intake.spool(
            self._names.sop_class, self._names.instance, self._syntax, head
        )
        self._spool.write(content[header.dataset_offset :])

    def store(self) -> Outcome:
        """The part is whole: to the intake. Of what is bad a dead letter is kept, and nothing else."""
        try:
            incoming = self._incoming()
        except Exception as exc:
            self.discard()
            self._bury(exc)
            return self._refused(exc)
        try:
            adopted = self._entrance.intake.adopt(incoming)
        except Exception as exc:
            return self._refused(exc)
        facts = adopted.facts
        found = (facts.study["uid"], facts.series["uid"], facts.instance["uid"], facts.instance["sop_class"])
        return Outcome(Names(*found), patient=facts.patient)

    def _incoming(self) -> Incoming:
        if self._fault is not None:
            raise self._fault
        if self._spool is not None:
            self._spool.write(self._waiting)
            self._look_again(self._spool)
            return self._whole(self._spool, None)
        offset = self._look(self._waiting).dataset_offset
        content = memoryview(self._waiting)
        return self._whole(content[offset:], own_head(content[:offset]))

    def _whole(self, dataset: Content | Spool, head: bytes | None) -> Incoming:
        source, sender = self._entrance.source, self._entrance.sender
        label = self._names.instance or ""
        return Incoming(dataset, self._syntax, source, head=head, label=label, sender=sender)

    def _look_again(self, spool: Spool) -> None:
        """For a study that stands behind what was looked at in memory."""
        if self._study and not self._names.study:
            with spool.file() as file:
                self._look(file)

    def _bury(self, fault: Exception) -> None:
        """A dead letter for what the intake has not seen; what can come again needs none."""
        if isinstance(fault, Unavailable | UnsupportedPart):
            return
        self._entrance.intake.refuse(self._names.instance or "", self._entrance.source, reason(fault))

    def _refused(self, fault: Exception) -> Outcome:
        _log.warning("instance refused", sop_instance_uid=self._names.instance, reason=reason(fault))
        return Outcome(self._names, fault)

    def discard(self) -> None:
        """Let go of what was kept."""
        self._waiting = bytearray()
        spool, self._spool = self._spool, None
        if spool is not None:
            spool.discard()


class UnsupportedPart(Refused):
    """A part that is no `application/dicom`, or encoded for transfer."""


def _names(header: Header) -> Names:
    found: Sequence[str | None] = [uid(header.attributes.text(keyword) or "") for keyword in _UIDS]
    return Names(*found)
