"""The walk over the elements of a data set: keeps the wanted ones, passes over all others.

Theory. Only the heads of elements are looked at. What is not in `kernel.attributes` is passed by its length;
sequences and items of undefined length are walked to their delimiters without keeping anything (PS3.5 7.5).
The walk ends at the first element with a 32-bit length (explicit) or at any element (implicit) beyond the
group of the last wanted tag: pixel data and the per-frame groups are never touched.

A walk sees a *window*: the whole data set, or, of a file or a deflated stream, a piece of it. `run` returns
the position of the first root element that it could not finish, and the caller comes again with a window
from there.

`_explicit` and `_implicit` are the hot loops. They finish the common case, a short ASCII value of the VR that
the dictionary has, in their own body, and leave everything else to `_other`. One shared iterator counts the
elements of all levels, which costs the loops nothing.
"""

from collections.abc import Iterator, Mapping
from copy import copy
from typing import NamedTuple

from pacsbridge.dicom.charsets import ESC, Charset, charset_of
from pacsbridge.dicom.heads import Head, at_delimiter, head_at, true_layout
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
    tag_key,
    vr_key,
)
from pacsbridge.dicom.values import PADDING, decode
from pacsbridge.errors import TooLarge
from pacsbridge.kernel.attributes import BY_TAG, TRUNCATED, Attributes, Element, Issue

Values = dict[str, tuple[str, ...] | tuple[Attributes, ...]]

_Entry = tuple[str, int, Element]
"""Keyword; VR key if the hot loops may take it, else -1; the row of the dictionary."""

_HOT_VRS = frozenset({"CS", "DA", "DT", "IS", "LO", "PN", "SH", "TM", "UI"})
_CHARSET = "SpecificCharacterSet"
_LAST_GROUP = max(BY_TAG) >> 16
_DELIMITER_GROUP = 0xFFFE
_HOT_LENGTH = 256
_SHOWN = 64
_ISSUES = 100
_DATA_SET = "DataSet"
_SEQUENCE_VRS = (None, "SQ", "UN", "OB", "OW")


def _entry(element: Element) -> _Entry:
    hot = element.vr in _HOT_VRS and element.keyword != _CHARSET
    return element.keyword, vr_key(element.vr) if hot else -1, element


_ENTRIES: Mapping[int, _Entry] = {tag_key(tag): _entry(element) for tag, element in BY_TAG.items()}
_NOTHING: Mapping[int, _Entry] = {}


class _Level(NamedTuple):
    """Where a loop is: how its elements are laid out, where they end, how deep it is, what it keeps.

    `closed` says that `end` is the true end, not only that of what the level stands in.
    """

    layout: Layout
    end: int
    closed: bool
    depth: int
    entries: Mapping[int, _Entry]


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
    """Reads one data set, window by window.

    `values` and `issues` grow; `finished` turns true once nothing more is wanted. `reach` is then the end, in
    the last window, that the element claims at which the walk has stopped; 0 where it has no defined length.
    """

    def __init__(self, layout: Layout, charset: Charset, limits: Limits) -> None:
        self.values: Values = {}
        self.issues: list[Issue] = []
        self.finished = False
        self.reach = 0
        self._layout = layout
        self._limits = limits
        self._fallback = self._charset = charset
        self._steps: Iterator[int] = iter(range(limits.elements))
        self._items_left = limits.items
        self._values_left = limits.values
        self._buffer = b""
        self._window_end = 0
        self._last = True
        self._state = _State(0, self._steps, limits.items, limits.values, 0, charset)

    def run(self, buffer: bytes, position: int, last: bool) -> int:
        """Walks from `position` on; returns the position of the first root element that is not done.

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

    def truncated(self) -> None:
        """Puts on record that the data set breaks off, however many faults there are already."""
        if TRUNCATED not in self.issues:
            self.issues.append(TRUNCATED)

    def _close(self, position: int) -> None:
        if position > self._window_end or self._buffer[position:].strip(b"\0"):
            self.truncated()

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

    def _explicit(self, values: Values, position: int, level: _Level) -> int:  # noqa: C901 the hot loop
        buffer, head, long_length = self._buffer, level.layout.explicit_head, level.layout.length
        get, short, long, padding, esc = level.entries.get, SHORT_VRS, LONG_VRS, PADDING, ESC
        end = level.end
        full = end - 8
        for _ in self._steps:
            if position > full:
                return position
            key, vr, length = head(buffer, position)
            entry = get(key)
            if entry is None:
                if vr in short:
                    position += length + 8
                    continue
                if vr in long and position + 4 <= full and key & 0xFFFF <= _LAST_GROUP:
                    (length,) = long_length(buffer, position + 8)
                    if length != UNDEFINED:
                        position += length + 12
                        continue
            elif vr == entry[1] and length <= _HOT_LENGTH:
                start = position + 8
                stop = start + length
                raw = buffer[start:stop]
                if raw.isascii() and esc not in raw and stop <= end:
                    text = raw.decode().strip(padding)
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

    def _implicit(self, values: Values, position: int, level: _Level) -> int:  # noqa: C901 the hot loop
        buffer, head, get = self._buffer, level.layout.implicit_head, level.entries.get
        end, padding, esc = level.end, PADDING, ESC
        full = end - 8
        for _ in self._steps:
            if position > full:
                return position
            key, length = head(buffer, position)
            entry = get(key)
            if entry is None:
                if length != UNDEFINED and key & 0xFFFF <= _LAST_GROUP:
                    position += length + 8
                    continue
            elif length <= _HOT_LENGTH and entry[1] >= 0:
                start = position + 8
                stop = start + length
                raw = buffer[start:stop]
                if raw.isascii() and esc not in raw and stop <= end:
                    text = raw.decode().strip(padding)
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
        """An element that the hot loops leave; the next position, or its complement to leave the level."""
        if not level.depth and not self._last:
            self._mark(position)
        head = head_at(level.layout, self._buffer, position, level.end)
        if head is None:
            return ~self._short(level)
        if head.key & 0xFFFF > _LAST_GROUP:
            return self._beyond(position, level, head)
        if entry is not None:
            return self._wanted(values, level, entry[2], head)
        return self._skip(level, head)

    def _beyond(self, position: int, level: _Level, head: Head) -> int:
        """A delimiter, or an element behind the last wanted one."""
        if head.key == ITEM_END and level.depth:
            return ~(position + 8)
        if head.key == SEQUENCE_END and level.depth:
            return ~position
        if head.key & 0xFFFF == _DELIMITER_GROUP:
            return position + 8
        if level.closed:
            if not level.depth:
                self.finished = True
                self.reach = head.start + head.length if head.length != UNDEFINED else 0
            return ~level.end
        return self._skip(level, head)

    def _wanted(self, values: Values, level: _Level, element: Element, head: Head) -> int:
        if element.vr == "SQ" and head.vr in _SEQUENCE_VRS:
            return self._sequence(values, level, element.keyword, head)
        if "SQ" in (element.vr, head.vr) or head.length == UNDEFINED:
            self.issue(element.keyword, f"not of the value representation {element.vr}")
            return self._skip(level, head)
        stop = head.start + head.length
        if stop > level.end:
            return ~self._short(level, element.keyword)
        self._keep(values, level, element, head)
        return stop

    def _keep(self, values: Values, level: _Level, element: Element, head: Head) -> None:
        length = head.length if head.length <= _HOT_LENGTH else self._charge(element.keyword, head.length)
        raw = self._buffer[head.start : head.start + length]
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

    def _sequence(self, values: Values, level: _Level, keyword: str, head: Head) -> int:
        """A wanted sequence; returns the position behind it."""
        stop = level.end if head.length == UNDEFINED else head.start + head.length
        if stop > level.end:
            stop = self._short(level, keyword)
        items: list[Attributes] = []
        inner = _Level(_layout_in(level, head), stop, level.closed, level.depth, level.entries)
        position = self._items(items, inner, head)
        if items:
            values[keyword] = tuple(items)
        return stop if head.length != UNDEFINED else position

    def _skip(self, level: _Level, head: Head) -> int:
        """The position behind a value that is not wanted: by its length, or behind its items or fragments."""
        if head.length != UNDEFINED:
            return head.start + head.length
        if head.start + 4 <= level.end and not at_delimiter(self._buffer, head.start):
            return self._find_end(level, head)
        inner = _Level(_layout_in(level, head), level.end, level.closed, level.depth, _NOTHING)
        return self._items([], inner, head)

    def _find_end(self, level: _Level, head: Head) -> int:
        """Some writers give values that are no sequences an undefined length too."""
        mark = b"\xff\xfe\xe0\xdd" if level.layout.big else b"\xfe\xff\xdd\xe0"
        found = self._buffer.find(mark, head.start, level.end)
        return found + 8 if found >= 0 else self._short(level)

    def _items(self, items: list[Attributes], level: _Level, head: Head) -> int:
        """Adds the items from `head.start` on; returns the position behind them (PS3.5 7.5.1, 7.5.2)."""
        if level.depth >= self._limits.nesting:
            raise TooLarge(f"sequences nested deeper than {self._limits.nesting}")
        position = head.start
        while position + 8 <= level.end:
            key, length = level.layout.implicit_head(self._buffer, position)
            if key == SEQUENCE_END:
                return position + 8
            if key != ITEM:
                self.issue(_DATA_SET, "something other than an item in a sequence")
                return level.end
            position = self._item(items, level, position + 8, length)
        return self._short(level) if head.length == UNDEFINED else level.end

    def _item(self, items: list[Attributes], level: _Level, position: int, length: int) -> int:
        """Adds one item, if its level keeps anything; returns the position behind it."""
        self._items_left -= 1
        if self._items_left < 0:
            raise TooLarge(f"more than {self._limits.items} sequence items")
        stop = level.end if length == UNDEFINED else position + length
        if not level.entries and length != UNDEFINED:
            return stop
        if stop > level.end:
            stop = self._short(level)
        layout = true_layout(level.layout, self._buffer, position, stop)
        charset, values = self._charset, Values()
        inner = _Level(layout, stop, length != UNDEFINED, level.depth + 1, level.entries)
        behind = self._elements(values, position, inner)
        self._charset = charset
        if level.entries:
            items.append(Attributes(values))
        return behind if length == UNDEFINED else stop

    def _short(self, level: _Level, keyword: str = _DATA_SET) -> int:
        """The level ends inside an element: the window must grow, or what is left of the level is lost."""
        if level.end < self._window_end:
            self.issue(keyword, "longer than what it stands in")
        elif self._last:
            self.truncated()
        else:
            raise _Starved
        return level.end


def _layout_in(level: _Level, head: Head) -> Layout:
    """Inside UN of undefined length all is implicit little endian (PS3.5 6.2.2); items check themselves."""
    if head.vr == "UN" and head.length == UNDEFINED:
        return LAYOUTS[False, False]
    return level.layout
