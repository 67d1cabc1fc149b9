"""Header reading, the hot path of the product: bytes or a file in, the attributes that pacsbridge maps out.

Only heads of elements and wanted values are looked at, pixel data never (PS3.5 7, PS3.10 7.1).
"""

from dataclasses import dataclass

from pacsbridge.dicom.charsets import UNKNOWN, charset_of
from pacsbridge.dicom.feeds import Feed, Source
from pacsbridge.dicom.limits import DEFAULT, Limits
from pacsbridge.dicom.opening import BLOCK, Window, locate
from pacsbridge.dicom.walker import Walker
from pacsbridge.errors import NotUnderstood, TooLarge
from pacsbridge.kernel.attributes import Attributes

__all__ = ["DEFAULT", "Header", "Limits", "Source", "read_header"]


@dataclass(frozen=True, slots=True)
class Header:
    """What was read, its transfer syntax (claimed or detected), and where its data set starts.

    `attributes.issues` holds the faults met; the reason "truncated" means that the data set breaks off.
    """

    attributes: Attributes
    transfer_syntax_uid: str
    dataset_offset: int


def read_header(
    source: Source,
    transfer_syntax_uid: str | None = None,
    charset: str = "",
    limits: Limits = DEFAULT,
) -> Header:
    """Reads the mapped attributes of one instance.

    `source`: the bytes, or a seekable binary file, read from its start in blocks without its pixel data.
    `transfer_syntax_uid`: given, `source` is a bare data set so encoded; None, it is a Part 10 file, with or
    without its preamble, or a bare data set whose encoding is detected.
    `charset`: the terms of PS3.3 C.12.1.1.2, joined by backslashes, that hold where (0008,0005) is absent.

    Raises NotUnderstood if nothing in it can be read as DICOM, TooLarge beyond `limits`, OSError of the file.
    Anything less is an issue of the attributes.
    """
    found = locate(source, transfer_syntax_uid, limits)
    known = charset_of(tuple(charset.split("\\"))) if charset else UNKNOWN
    walker = Walker(found.layout, known, limits)
    _walk(walker, found.window, found.start, limits)
    if not walker.values:
        raise NotUnderstood("no DICOM element that pacsbridge knows")
    if found.contradicted:
        walker.issue("TransferSyntaxUID", "the data set is encoded otherwise", found.transfer_syntax_uid)
    attributes = Attributes(walker.values, tuple(walker.issues))
    return Header(attributes, found.transfer_syntax_uid, found.dataset_offset)


def _ends_before(feed: Feed | None, position: int) -> bool:
    total = feed.total() if feed is not None else 0
    return total is not None and total < position


def _walk(walker: Walker, first: Window, start: int, limits: Limits) -> None:
    """Window after window, each from the first element that the walk could not finish in the one before."""
    feed, window, last = first
    base, size = 0, BLOCK
    while True:
        behind = walker.run(window, start - base, last)
        if walker.finished or last or feed is None:
            if walker.reach > len(window) and (last or _ends_before(feed, base + walker.reach)):
                walker.truncated()
            return
        size = BLOCK if base + behind > start else size * 4
        if size > limits.window:
            raise TooLarge(f"a sequence of more than {limits.window} bytes")
        start = base + behind
        base = max(start - 1, 0)  # one byte before shows whether `start` lies behind the end
        window, last = feed.window(base, size)
