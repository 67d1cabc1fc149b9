"""Data sets of messages, small ones in memory, taken apart strictly: what does not fit is refused."""

from collections.abc import Iterator
from typing import NamedTuple

from pacsbridge.dicom.heads import Head, head_at
from pacsbridge.dicom.transfer_syntaxes import ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Layout
from pacsbridge.errors import NotUnderstood

_NESTING = 8


class Strict(NamedTuple):
    """A data set; every position and end is one of `data`. All raise NotUnderstood."""

    data: bytes
    layout: Layout

    def elements(self, position: int, end: int) -> Iterator[tuple[Head, int]]:
        """Each element with the position behind it."""
        while position < end:
            head = self._head(position, end)
            position = self._behind(head, end, 0)
            yield head, position

    def items(self, sequence: Head, end: int) -> Iterator[tuple[int, int]]:
        """Where the elements of each item of a sequence begin and end; the sequence itself ends at `end`."""
        position = sequence.start
        while position < end and self._item_head(position, end)[0] != SEQUENCE_END:
            start, stop, position = self._item(position, end, 1)
            yield start, stop

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
