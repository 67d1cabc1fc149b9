"""How data sets are laid out: byte order, explicit or implicit VR, deflated (PS3.5 7.1, annex A).

The element heads of all encodings come out in one form: the tag as an integer with the element number in its
upper and the group in its lower half (what four little endian bytes give), the VR likewise from its two
letters. `entry key` below means this form.
"""

from collections.abc import Callable, Iterable
from struct import Struct
from typing import NamedTuple

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
GE_PRIVATE = "1.2.840.113619.5.2"

DEFLATED = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)

UNDEFINED = 0xFFFFFFFF
ITEM = 0xE000FFFE
ITEM_END = 0xE00DFFFE
SEQUENCE_END = 0xE0DDFFFE


def vr_key(vr: str) -> int:
    """The two letters of a VR as one integer."""
    return int.from_bytes(vr.encode("ascii"), "little")


def tag_key(tag: int) -> int:
    """The entry key of a tag written 0xGGGGEEEE."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def tag_of(key: int) -> int:
    """The tag 0xGGGGEEEE of an entry key."""
    return (key & 0xFFFF) << 16 | key >> 16


def _keys(names: str) -> dict[int, str]:
    return {vr_key(name): name for name in names.split()}


SHORT_VRS = _keys("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US")
"""VRs whose explicit head has 8 bytes, a 16-bit length the last two of them (PS3.5 table 7.1-2)."""

LONG_VRS = _keys("OB OD OF OL OV OW SQ SV UC UN UR UT UV")
"""VRs whose explicit head has 12 bytes: behind the VR two reserved, then a 32-bit length (table 7.1-1)."""

VRS = {**SHORT_VRS, **LONG_VRS}


class Layout(NamedTuple):
    """One encoding of element heads. Each `…_head` reads (buffer, position)."""

    explicit: bool
    big: bool
    explicit_head: Callable[[bytes, int], tuple[int, int, int]]
    """entry key, VR key, 16-bit length"""
    implicit_head: Callable[[bytes, int], tuple[int, int]]
    """entry key, 32-bit length; item heads and delimiters look so in every encoding"""
    length: Callable[[bytes, int], tuple[int]]
    """32-bit length"""


_BIG_EXPLICIT = Struct(">HHBBH").unpack_from
_BIG_IMPLICIT = Struct(">HHL").unpack_from


def _big_explicit(buffer: bytes, position: int) -> tuple[int, int, int]:
    group, element, first, second, length = _BIG_EXPLICIT(buffer, position)
    return element << 16 | group, second << 8 | first, length


def _big_implicit(buffer: bytes, position: int) -> tuple[int, int]:
    group, element, length = _BIG_IMPLICIT(buffer, position)
    return element << 16 | group, length


def _little(explicit: bool) -> Layout:
    heads = Struct("<LHH").unpack_from, Struct("<LL").unpack_from, Struct("<L").unpack_from
    return Layout(explicit, False, *heads)


def _big(explicit: bool) -> Layout:
    return Layout(explicit, True, _big_explicit, _big_implicit, Struct(">L").unpack_from)


_UIDS = {
    (True, False): EXPLICIT_LITTLE,
    (False, False): IMPLICIT_LITTLE,
    (True, True): EXPLICIT_BIG,
    (False, True): EXPLICIT_BIG,
}

LAYOUTS = {
    (layout.explicit, layout.big): layout
    for layout in (_little(True), _little(False), _big(True), _big(False))
}
"""By (explicit, big endian); implicit big endian is in no standard, but occurs inside broken sequences."""


def layout_of(transfer_syntax_uid: str) -> Layout:
    """The layout of a transfer syntax. Whatever is not named here is explicit little endian (PS3.5 A.4)."""
    explicit = transfer_syntax_uid not in (IMPLICIT_LITTLE, GE_PRIVATE)
    return LAYOUTS[explicit, transfer_syntax_uid == EXPLICIT_BIG]


def transfer_syntax_of(layout: Layout) -> str:
    """The uncompressed transfer syntax that has this layout."""
    return _UIDS[layout.explicit, layout.big]


def has_vr(buffer: bytes, position: int) -> bool:
    """Whether the two bytes where an explicit head has its VR are one that the standard knows."""
    return int.from_bytes(buffer[position + 4 : position + 6], "little") in VRS


# The first element of a bare data set: group 0002 to 0040, as PS3.6 has them; 0008 in nearly all.
_FIRST_GROUPS: Iterable[int] = frozenset(
    (0x0002, 0x0004, 0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040)
)


def detect(buffer: bytes, position: int) -> Layout | None:
    """The layout of the data set at `position`, from its first element; None if it looks like none."""
    head = buffer[position : position + 8]
    if len(head) < 8:
        return None
    explicit = has_vr(buffer, position)
    big = head[0] == 0 and head[1] != 0
    group = int.from_bytes(head[:2], "big" if big else "little")
    if group not in _FIRST_GROUPS and not (explicit and group < 0x7FE0):
        return None
    layout = LAYOUTS[explicit, big]
    length = layout.implicit_head(head, 0)[1]
    if not explicit and length != UNDEFINED and length > len(buffer) - position:
        return None
    return layout
