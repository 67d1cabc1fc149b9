"""Element heads off the hot path: every form, the broken ones too (PS3.5 7.1.2, 7.1.3)."""

from typing import NamedTuple

from pacsbridge.dicom.transfer_syntaxes import LAYOUTS, LONG_VRS, SHORT_VRS, UNDEFINED, Layout, has_vr

_DELIMITER_GROUP = 0xFFFE
_DELIMITER_BYTES = (b"\xfe\xff", b"\xff\xfe")


class Head(NamedTuple):
    """One element's head: entry key, VR where the data set says one, start of the value, its length."""

    key: int
    vr: str | None
    start: int
    length: int


def head_at(layout: Layout, buffer: bytes, position: int, end: int) -> Head | None:
    """The head at `position`, where 8 bytes are there for certain; None if it needs more than there are."""
    key, length = layout.implicit_head(buffer, position)
    if not layout.explicit or key & 0xFFFF == _DELIMITER_GROUP:
        return Head(key, None, position + 8, length)
    _, vr, short_length = layout.explicit_head(buffer, position)
    name = SHORT_VRS.get(vr)
    if name is not None:
        return Head(key, name, position + 8, short_length)
    name = LONG_VRS.get(vr)
    if name is None:
        return _strange_head(layout, buffer, position, end)
    if position + 12 > end:
        return None
    return Head(key, name, position + 12, layout.length(buffer, position + 8)[0])


def _strange_head(layout: Layout, buffer: bytes, position: int, end: int) -> Head:
    """A head whose VR nobody knows.

    Two capitals are a VR of the future, which has the long form if its reserved bytes are zero. Anything else
    is an implicit head that a careless writer put among explicit ones. Where the length that follows from
    this does not fit, it is read as a 16-bit one.
    """
    letters = buffer[position + 4 : position + 6]
    key, _, short = layout.explicit_head(buffer, position)
    _, length = layout.implicit_head(buffer, position)
    if not (letters.isalpha() and letters.isupper()):
        if _fits(length, end - position - 8):
            return Head(key, None, position + 8, length)
    elif position + 12 <= end and not short and not has_vr(buffer, position + 8):
        (length,) = layout.length(buffer, position + 8)
        if _fits(length, end - position - 12):
            return Head(key, "UN", position + 12, length)
    return Head(key, "UN", position + 8, short)


def true_layout(layout: Layout, buffer: bytes, position: int, end: int) -> Layout:
    """The layout of the element at `position`, where `layout` is claimed; the claim wins where both fit.

    Items are now and then written with VRs inside implicit data sets, and without inside explicit ones.
    """
    explicit = has_vr(buffer, position)
    if explicit == layout.explicit or position + 8 > end or at_delimiter(buffer, position):
        return layout
    _, length = layout.implicit_head(buffer, position)
    return layout if _fits(length, end - position - 8) != layout.explicit else LAYOUTS[explicit, layout.big]


def at_delimiter(buffer: bytes, position: int) -> bool:
    """Whether an item or a delimiter starts here, in either byte order."""
    return buffer[position : position + 2] in _DELIMITER_BYTES


def _fits(length: int, room: int) -> bool:
    return length == UNDEFINED or length <= room
