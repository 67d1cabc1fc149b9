"""One pass over the heads of a data set, to where a value stands, without reading any value on the way.

Positions never go back, so that deflated data sets can be walked too. Of a file, 4 KiB are read at a time.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pacsbridge.dicom.feeds import Feed, View
from pacsbridge.dicom.heads import Head, at_delimiter, head_at, true_layout
from pacsbridge.dicom.limits import Limits
from pacsbridge.dicom.transfer_syntaxes import (
    ITEM,
    ITEM_END,
    LAYOUTS,
    SEQUENCE_END,
    UNDEFINED,
    Layout,
    tag_of,
)
from pacsbridge.errors import TooLarge

NO_END = 1 << 62
"""Stands for the end of a data set whose end is not known."""

_BLOCK = 4 << 10
_ENDS = (ITEM_END, SEQUENCE_END)


class Element(NamedTuple):
    """Where the value of an element stands, and how what is in it is laid out."""

    tag: int
    vr: str | None
    start: int
    length: int
    layout: Layout

    @property
    def open_ended(self) -> bool:
        """Whether it is of undefined length: a sequence, or encapsulated."""
        return self.length == UNDEFINED


class Elements:
    """Walks over one feed, once."""

    def __init__(self, feed: Feed, limits: Limits) -> None:
        self.peek = View(feed, _BLOCK).peek
        self._limits = limits
        self._elements_left = limits.elements
        self._items_left = limits.items
        self._behind = 0

    @property
    def behind(self) -> int:
        """The position behind what was walked over last."""
        return self._behind

    def level(self, position: int, end: int, layout: Layout, depth: int = 0) -> Iterator[Element]:
        """The elements from `position` to `end` or the end of their item, in their order. Raises TooLarge."""
        if depth > self._limits.nesting:
            raise TooLarge(f"sequences nested deeper than {self._limits.nesting}")
        self._behind = position
        while (head := self._head(position, end, layout)) is not None:
            if head.key in _ENDS:
                self._behind = head.start if head.key == ITEM_END else position
                return
            self._elements_left -= 1
            if self._elements_left < 0:
                raise TooLarge(f"more than {self._limits.elements} elements")
            element = Element(tag_of(head.key), head.vr, head.start, head.length, _inside(head, layout))
            yield element
            position = self._skip(element, end, depth)
            self._behind = position

    def items(self, element: Element, end: int = NO_END) -> Iterator[Element]:
        """The items, or fragments, of an element. One of undefined length must be walked by `level`."""
        stop = end if element.open_ended else min(end, element.start + element.length)
        position = self._behind = element.start
        while (item := self._head(position, stop, element.layout)) is not None:
            self._behind = item.start if item.key == SEQUENCE_END else stop
            if item.key != ITEM:
                return
            self._items_left -= 1
            if self._items_left < 0:
                raise TooLarge(f"more than {self._limits.items} sequence items")
            raw = self.peek(item.start, 12)
            layout = true_layout(element.layout, raw, 0, stop - item.start if len(raw) == 12 else len(raw))
            yield Element(0, None, item.start, item.length, layout)
            position = self._behind if item.length == UNDEFINED else item.start + item.length
        self._behind = stop

    def find(self, path: Sequence[int], start: int, layout: Layout) -> Element | None:
        """The element at a path of tags and, between them, numbers of items from 1. Raises TooLarge."""
        position, end = start, NO_END
        for depth, tag in enumerate(path[::2]):
            found = next((one for one in self.level(position, end, layout, depth) if one.tag == tag), None)
            if found is None or 2 * depth + 1 >= len(path):
                return found
            item = self._item(found, path[2 * depth + 1], end, depth)
            if item is None:
                return None
            position, layout = item.start, item.layout
            end = end if item.open_ended else item.start + item.length
        return None

    def _item(self, element: Element, number: int, end: int, depth: int) -> Element | None:
        for count, item in enumerate(self.items(element, end), 1):
            if count == number:
                return item
            self._pass(item, end, depth)
        return None

    def _pass(self, item: Element, end: int, depth: int) -> None:
        """Over the elements of an item of undefined length: nothing else tells where it ends."""
        if item.open_ended:
            for _ in self.level(item.start, end, item.layout, depth + 1):
                pass

    def _skip(self, element: Element, end: int, depth: int) -> int:
        if not element.open_ended:
            return element.start + element.length
        for item in self.items(element, end):
            self._pass(item, end, depth)
        return self._behind

    def _head(self, position: int, end: int, layout: Layout) -> Head | None:
        """The head at `position`, its value's start counted like it; None at the end."""
        raw = self.peek(position, min(12, max(0, end - position)))
        if len(raw) < 8:
            return None
        head = head_at(layout, raw, 0, end - position if len(raw) == 12 else len(raw))
        return head and head._replace(start=position + head.start)


def holds_items(elements: Elements, element: Element) -> bool:
    """Whether the value begins with an item or is none at all."""
    return element.length == 0 or at_delimiter(elements.peek(element.start, 4), 0)


def _inside(head: Head, layout: Layout) -> Layout:
    """Inside UN of undefined length all is implicit little endian (PS3.5 6.2.2)."""
    return LAYOUTS[False, False] if head.vr == "UN" and head.length == UNDEFINED else layout
