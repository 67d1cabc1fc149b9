"""Files into the store: what `import` does with a path."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pacsbridge.bridge.collection import Outcome
from pacsbridge.bridge.intake import Adopted, Incoming, Intake
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.files import find_files, unreadable
from pacsbridge.dicom.part10 import own_head
from pacsbridge.dicom.reader import Header
from pacsbridge.errors import PacsbridgeError, Refused, TooLarge, Unavailable
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.model import Facts

IN_MEMORY = 8 << 20
"""Files up to this size are read whole; larger ones are copied piece by piece."""

_PIECE = 1 << 20


def import_files(paths: Iterable[Path], intake: Intake, source: Source, largest: int) -> Iterator[Outcome]:
    """Store each file below `paths`. Raises Unavailable when nothing more can be kept.

    largest: bytes of a file that is taken at most. Importing again takes up only what is not there yet.
    """
    for path, reason in find_files(paths):
        if reason is not None:
            yield Outcome(path, reason=reason)
            continue
        try:
            adopted = import_file(path, intake, source, largest)
            yield Outcome(path, adopted.new, facts=adopted.facts)
        except Unavailable:
            raise
        except PacsbridgeError as exc:
            yield Outcome(path, reason=str(exc))
        except OSError as exc:
            yield Outcome(path, reason=unreadable(exc))


def import_file(path: Path, intake: Intake, source: Source, largest: int) -> Adopted:
    """Store one file. Raises PacsbridgeError, OSError.

    What is DICOM and refused leaves a dead letter under its SOP Instance UID, or else its path.
    """
    size = path.stat().st_size
    if size > largest:
        raise TooLarge(f"longer than {largest} bytes")
    with path.open("rb") as file:
        header = intake.header(file, None, source)
        offset, syntax = header.dataset_offset, header.transfer_syntax_uid
        label = header.attributes.text("SOPInstanceUID") or str(path.absolute())
        file.seek(0)
        head = file.read(offset)
        if size <= IN_MEMORY:
            return intake.adopt(Incoming(file.read(), syntax, source, head=own_head(head), label=label))
        facts = _facts(header, intake, source, label)
        spool = intake.spool(facts.instance["sop_class"], facts.instance["uid"], syntax, own_head(head))
        try:
            while piece := file.read(_PIECE):
                spool.write(piece)
            return intake.adopt(Incoming(spool, syntax, source, label=label))
        finally:
            spool.discard()


def _facts(header: Header, intake: Intake, source: Source, label: str) -> Facts:
    """What is refused is so before all of a large file is copied."""
    try:
        return extract(header.attributes, source.context)
    except Refused as exc:
        intake.refuse(label, source, str(exc))
        raise
