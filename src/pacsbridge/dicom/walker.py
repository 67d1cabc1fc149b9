"""The walk over the elements of a data set: keeps the wanted ones, passes over all others.

Theory. Only the heads of elements are looked at. What is not in `kernel.attributes` is passed by its length;
sequences and items of undefined length are walked to their delimiters without keeping anything (PS3.5 7.5).
The walk ends at the first element with a 32-bit length (explicit) or any element (implicit) beyond the group of
the last wanted tag: pixel data and the per-frame groups are never touched.

A walk sees a *window*: the whole data set, or, of a file or a deflated stream, a piece of it. `run` returns the
position of the first root element that it could not finish, and the caller comes again with a window from there.

`_explicit` and `_implicit` are the hot loops. They finish the common case, a short ASCII value of the VR that the
dictionary has, in their own body, and leave everything else to `_other`. One shared iterator counts the elements
of all levels, which costs the loops nothing.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from typing import NamedTuple

from pacsbridge.dicom.charsets import ESC, Charset, charset_of
from pacsbridge.dicom.limits import Limits
from pacsbridge.dicom.transfer_syntaxes import (
    ITEM,
    ITEM_END,
    LAYOUTS,
    LONG_VRS,
    SEQUENCE_END,
    SHORT_VRS,
    UNDEFINED,
    Layout,
    has_vr,
    tag_key,
    vr_key,
)
from pacsbridge.dicom.values import PADDING, decode
from pacsbridge.errors import TooLarge
from pacsbridge.kernel.attributes import BY_TAG, Attributes, Element, Issue

Values = dict[str, tuple[str, ...] | tuple[Attributes, ...]]

_Entry = tuple[str, int, Element]
"""Keyword; VR key if the hot loops may take it, else -1; the row of the dictionary."""

_HOT_VRS = frozenset({"CS", "DA", "DT", "IS", "LO", "PN", "SH", "TM", "UI"})
_CHARSET = "SpecificCharacterSet"
_LAST_GROUP = max(BY_TAG) >> 16
_LONG_VALUE = 256
_SHOWN = 64
_ISSUES = 100
_DATA_SET = "DataSet"
_DELIMITER_GROUPS = (b"\xfe\xff", b"\xff\xfe")


def _entry(element: Element) -> _Entry:
    hot = element.vr in _HOT_VRS and element.keyword != _CHARSET
    return element.keyword, vr_key(element.vr) if hot else -1, element


_ENTRIES: Mapping[int, _Entry] = {tag_key(tag): _entry(element) for tag, element in BY_TAG.items()}
_NOTHING: Mapping[int, _Entry] = {}


class _Level(NamedTuple):
    """Where a loop is: the layout of its elements, its end, whether its end is known, how deep, what it keeps."""

    layout: Layout
    end: int
    closed: bool
    depth: int
    entries: Mapping[int, _Entry]


class _Head(NamedTuple):
    """One element's head: entry key, VR where the data set says one, where the value starts, its length."""

    key: int
    vr: str | None
    start: int
    length: int


class _State(NamedTuple):
    """What is set back when a root element has to be read again from a larger window."""

    position: int
    steps: Iterator[int]
    items: int
    kept: int
    issues: int
    charset: Charset


class _Starved(Exception):
    """The window ends inside a root element, and there is more of the data set behind it."""


class Walker:
    """Reads one data set, window by window. `values` and `issues` grow; `finished` once nothing more is wanted."""

    def __init__(self, layout: Layout, charset: Charset, limits: Limits) -> None:
        self.values: Values = {}
        self.issues: list[Issue] = []
        self.finished = False
        self._layout = layout
        self._limits = limits
        self._fallback = self._charset = charset
        self._steps: Iterator[int] = iter(range(limits.elements))
        self._items_left = limits.items
        self._values_left = limits.values
        self._buffer = b""
        self._window_end = 0
        self._last = True
        self._mark(0)

    def run(self, buffer: bytes, position: int, last: bool) -> int:
        """Walks from `position` to the end of `buffer`; returns the position of the first root element not done.

        `last` says that the data set ends with the buffer. Raises TooLarge.
        """
        self._buffer, self._window_end, self._last = buffer, len(buffer), last
        level = _Level(self._layout, len(buffer), True, 0, _ENTRIES)
        try:
            position = self._elements(self.values, position, level)
        except _Starved:
            return self._rewind()
        if last and not self.finished:
            self._close(position)
        return position

    def issue(self, keyword: str, reason: str, value: str = "") -> None:
        """Puts a fault on record."""
        issue = Issue(keyword, value[:_SHOWN], reason)
        if len(self.issues) < _ISSUES and issue not in self.issues:
            self.issues.append(issue)

    def _close(self, position: int) -> None:
        if position > self._window_end or self._buffer[position:].strip(b"\0"):
            self.issue(_DATA_SET, "truncated")

    def _rewind(self) -> int:
        state = self._state
        self._steps, self._items_left, self._values_left = state.steps, state.items, state.kept
        del self.issues[state.issues :]
        self._charset = state.charset
        return state.position

    def _mark(self, position: int) -> None:
        steps, issues = copy(self._steps), len(self.issues)
        self._state = _State(position, steps, self._items_left, self._values_left, issues, self._charset)

    def _elements(self, values: Values, position: int, level: _Level) -> int:
        if level.layout.explicit:
            return self._explicit(values, position, level)
        return self._implicit(values, position, level)

    def _explicit(self, values: Values, position: int, level: _Level) -> int:  # noqa: C901 hot loop
        buffer, head, get = self._buffer, level.layout.explicit_head, level.entries.get
        short, end, padding, esc = SHORT_VRS, level.end, PADDING, ESC
        full = end - 8
        for _ in self._steps:
            if position > full:
                return position
            key, vr, length = head(buffer, position)
            entry = get(key)
            if vr in short:
                start = position + 8
                stop = start + length
                if entry is None:
                    position = stop
                    continue
                if vr == entry[1] and length <= 256 and stop <= end:
                    raw = buffer[start:stop]
                    if raw.isascii() and esc not in raw:
                        text = raw.decode("ascii").strip(padding)
                        if "\\" in text:
                            values[entry[0]] = tuple([part.strip(padding) for part in text.split("\\")])
                        elif text:
                            values[entry[0]] = (text,)
                        position = stop
                        continue
            position = self._other(values, position, level, entry)
            if position < 0:
                return ~position
        raise TooLarge(f"more than {self._limits.elements} elements")

    def _implicit(self, values: Values, position: int, level: _Level) -> int:  # noqa: C901 hot loop
        buffer, head, get = self._buffer, level.layout.implicit_head, level.entries.get
        end, padding, esc, last_group, undefined = level.end, PADDING, ESC, _LAST_GROUP, UNDEFINED
        full = end - 8
        for _ in self._steps:
            if position > full:
                return position
            key, length = head(buffer, position)
            entry = get(key)
            start = position + 8
            stop = start + length
            if entry is None:
                if length != undefined and key & 0xFFFF <= last_group:
                    position = stop
                    continue
            elif entry[1] >= 0 and length <= 256 and stop <= end:
                raw = buffer[start:stop]
                if raw.isascii() and esc not in raw:
                    text = raw.decode("ascii").strip(padding)
                    if "\\" in text:
                        values[entry[0]] = tuple([part.strip(padding) for part in text.split("\\")])
                    elif text:
                        values[entry[0]] = (text,)
                    position = stop
                    continue
            position = self._other(values, position, level, entry)
            if position < 0:
                return ~position
        raise TooLarge(f"more than {self._limits.elements} elements")

    def _other(self, values: Values, position: int, level: _Level, entry: _Entry | None) -> int:
        """One element that the hot loops leave; returns the next position, or its complement to leave the level."""
        if not level.depth and not self._last:
            self._mark(position)
        head = self._head(position, level)
        if head is None:
            return ~self._short(level)
        if head.key & 0xFFFF > _LAST_GROUP:
            return self._beyond(position, level, head)
        if entry is not None and _is_sequence(head, entry[2]):
            return self._sequence(values, level, entry[0], head)
        if head.length == UNDEFINED:
            return self._skip(level, head)
        stop = head.start + head.length
        if entry is None:
            return stop
        if stop > level.end:
            return ~self._short(level, entry[0])
        self._keep(values, level, entry[2], head)
        return stop

    def _head(self, position: int, level: _Level) -> _Head | None:
        """The head at `position`, where 8 bytes are there for certain; None if it needs more than there are."""
        layout, buffer = level.layout, self._buffer
        key, length = layout.implicit_head(buffer, position)
        if not layout.explicit or key & 0xFFFF == 0xFFFE:
            return _Head(key, None, position + 8, length)
        _, vr, short_length = layout.explicit_head(buffer, position)
        name = SHORT_VRS.get(vr)
        if name is None:
            return self._long_head(position, level, key, vr)
        return _Head(key, name, position + 8, short_length)

    def _long_head(self, position: int, level: _Level, key: int, vr: int) -> _Head | None:
        """A head with a 32-bit length (PS3.5 table 7.1-1), or one with a VR that nobody knows."""
        name = LONG_VRS.get(vr)
        if name is None:
            return self._strange_head(position, level, key)
        if position + 12 > level.end:
            return None
        return _Head(key, name, position + 12, level.layout.length(self._buffer, position + 8)[0])

    def _strange_head(self, position: int, level: _Level, key: int) -> _Head:
        """Two capitals are a VR of the future, which has the long form if its reserved bytes are zero.

        Anything else is an implicit head that a careless writer put among explicit ones. Where the length that
        follows from this does not fit, it is read as a 16-bit one.
        """
        layout, buffer = level.layout, self._buffer
        letters = buffer[position + 4 : position + 6]
        _, _, short = layout.explicit_head(buffer, position)
        _, length = layout.implicit_head(buffer, position)
        if not (letters.isalpha() and letters.isupper()):
            if length == UNDEFINED or length <= level.end - position - 8:
                return _Head(key, None, position + 8, length)
        elif position + 12 <= level.end and not short and not has_vr(buffer, position + 8):
            (length,) = layout.length(buffer, position + 8)
            if length == UNDEFINED or length <= level.end - position - 12:
                return _Head(key, "UN", position + 12, length)
        return _Head(key, "UN", position + 8, short)

    def _beyond(self, position: int, level: _Level, head: _Head) -> int:
        """A delimiter, or an element behind the last wanted one."""
        if head.key == ITEM_END and level.depth:
            return ~(position + 8)
        if head.key == SEQUENCE_END and level.depth:
            return ~position
        if head.key & 0xFFFF == 0xFFFE:
            return position + 8
        if level.closed:
            self.finished = self.finished or not level.depth
            return ~level.end
        if head.length == UNDEFINED:
            return self._skip(level, head)
        return head.start + head.length

    def _short(self, level: _Level, keyword: str = _DATA_SET) -> int:
        """The level ends inside an element: the window must grow, or the rest of the level is lost."""
        if level.end == self._window_end and not self._last:
            raise _Starved
        self.issue(keyword, "truncated" if level.end == self._window_end else "longer than what it stands in")
        if not level.depth:
            self.finished = True
        return level.end

    def _keep(self, values: Values, level: _Level, element: Element, head: _Head) -> None:
        length = head.length
        if length > _LONG_VALUE:
            length = self._charge(element.keyword, length)
        raw = self._buffer[head.start : head.start + length]
        if element.vr == "SQ" or head.vr == "SQ":
            self.issue(element.keyword, f"VR {head.vr} where the dictionary has {element.vr}")
            return
        decoded, problem = decode(raw, head.vr, element.vr, self._charset, level.layout.big)
        if problem:
            self.issue(element.keyword, problem, "\\".join(decoded))
        if decoded:
            values[element.keyword] = decoded
        if element.keyword == _CHARSET:
            self._switch(decoded)

    def _charge(self, keyword: str, length: int) -> int:
        """How much of a long value is kept."""
        if length > self._limits.value:
            self.issue(keyword, f"cut at {self._limits.value} bytes")
            length = self._limits.value
        self._values_left -= length
        if self._values_left < 0:
            raise TooLarge(f"more than {self._limits.values} bytes of text")
        return length

    def _switch(self, terms: tuple[str, ...]) -> None:
        """(0008,0005) holds for the rest of its data set or item (PS3.3 C.12.1.1.2)."""
        self._charset = charset_of(terms, self._fallback)
        if self._charset.problem:
            self.issue(_CHARSET, self._charset.problem, "\\".join(terms))

    def _sequence(self, values: Values, level: _Level, keyword: str, head: _Head) -> int:
        """A wanted sequence; returns the position behind it."""
        stop = level.end if head.length == UNDEFINED else head.start + head.length
        if stop > level.end:
            self._overrun(level, keyword)
            stop = level.end
        inner = level._replace(end=stop, layout=_layout_in(level, head))
        items, position = self._items(inner, head)
        if items:
            values[keyword] = tuple(items)
        return stop if head.length != UNDEFINED else position

    def _overrun(self, level: _Level, keyword: str) -> None:
        if level.end == self._window_end and not self._last:
            raise _Starved
        self.issue(keyword, "truncated")

    def _skip(self, level: _Level, head: _Head) -> int:
        """The position behind a value of undefined length that is not wanted: items or fragments, or plain bytes."""
        if head.start + 4 <= level.end and self._is_plain(head):
            return self._find_end(level, head)
        _, position = self._items(level._replace(entries=_NOTHING, layout=_layout_in(level, head)), head)
        return position

    def _is_plain(self, head: _Head) -> bool:
        return self._buffer[head.start : head.start + 2] not in _DELIMITER_GROUPS

    def _find_end(self, level: _Level, head: _Head) -> int:
        """Some writers give values that are no sequences an undefined length too."""
        mark = b"\xff\xfe\xe0\xdd" if level.layout.big else b"\xfe\xff\xdd\xe0"
        found = self._buffer.find(mark, head.start, level.end)
        return found + 8 if found >= 0 else self._short(level)

    def _items(self, level: _Level, head: _Head) -> tuple[list[Attributes], int]:
        """The items of a sequence from `head.start`, and the position behind it (PS3.5 7.5.1, 7.5.2)."""
        if level.depth >= self._limits.nesting:
            raise TooLarge(f"sequences nested deeper than {self._limits.nesting}")
        items: list[Attributes] = []
        position, keep = head.start, bool(level.entries)
        while position + 8 <= level.end:
            key, length = level.layout.implicit_head(self._buffer, position)
            if key == SEQUENCE_END:
                return items, position + 8
            if key != ITEM:
                return items, self._no_item(level)
            self._items_left -= 1
            if self._items_left < 0:
                raise TooLarge(f"more than {self._limits.items} sequence items")
            if keep or length == UNDEFINED:
                item, position = self._item(level, position + 8, length)
                items.extend(item)
            else:
                position += 8 + length
        if head.length == UNDEFINED or position > level.end:
            self._short(level)
        return items, level.end

    def _no_item(self, level: _Level) -> int:
        self.issue(_DATA_SET, "something other than an item in a sequence")
        if level.end == self._window_end and not self._last:
            raise _Starved
        return level.end

    def _item(self, level: _Level, position: int, length: int) -> tuple[tuple[Attributes, ...], int]:
        """One item and the position behind it; none where its level keeps nothing."""
        stop = level.end if length == UNDEFINED else position + length
        if stop > level.end:
            self._overrun(level, _DATA_SET)
            stop = level.end
        layout = self._layout_of_item(level, position, stop)
        inner = _Level(layout, stop, length != UNDEFINED, level.depth + 1, level.entries)
        charset, values = self._charset, Values()
        behind = self._elements(values, position, inner)
        self._charset = charset
        behind = behind if length == UNDEFINED else stop
        return ((Attributes(values),) if level.entries else ()), behind

    def _layout_of_item(self, level: _Level, position: int, stop: int) -> Layout:
        """Items are now and then written with VRs inside implicit data sets, and without inside explicit ones."""
        if position + 8 > stop or self._buffer[position : position + 2] in _DELIMITER_GROUPS:
            return level.layout
        return true_layout(level.layout, self._buffer, position, stop)


def true_layout(layout: Layout, buffer: bytes, position: int, stop: int) -> Layout:
    """The layout of the element at `position`, for which `layout` is claimed; the claim wins where both fit."""
    explicit = has_vr(buffer, position)
    if explicit == layout.explicit or position + 8 > stop:
        return layout
    _, length = layout.implicit_head(buffer, position)
    fits = length == UNDEFINED or length <= stop - position - 8
    return layout if fits != layout.explicit else LAYOUTS[explicit, layout.big]


def _layout_in(level: _Level, head: _Head) -> Layout:
    """Inside UN of undefined length all is implicit little endian (PS3.5 6.2.2); items check themselves."""
    if head.vr == "UN" and head.length == UNDEFINED:
        return LAYOUTS[False, False]
    return level.layout


def _is_sequence(head: _Head, element: Element) -> bool:
    """Whether a wanted value consists of items: the dictionary says so, and the data set does not contradict."""
    return element.vr == "SQ" and head.vr in (None, "SQ", "UN", "OB", "OW")
