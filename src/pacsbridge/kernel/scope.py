"""What a converter is handed besides the attributes: the source's context, the offset, a place for issues."""

from collections.abc import Sequence
from datetime import tzinfo

from pacsbridge.kernel.attributes import Attributes, Issue
from pacsbridge.kernel.dates import utc_offset
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.values import clean

_SHOWN = 64
"""Characters of an offending text that an issue keeps."""

_MOST_ITEMS = 256
"""Items of one sequence that are read; headers have a handful."""


class Scope:
    """One extraction: what holds for all rows of one data set."""

    __slots__ = ("_noted", "context", "issues", "offset", "root", "zone")

    def __init__(self, root: Attributes, context: Context) -> None:
        self.root = root
        self.context = context
        self.zone: tzinfo | None = context.zone
        self.issues: list[Issue] = []
        self._noted: set[tuple[str, str]] = set()
        for issue in root.issues:
            self._add(issue)
        self.offset: str | None = self._offset()

    def note(self, keyword: str, value: str, reason: str) -> None:
        """Record that an attribute could not be used; once a keyword and reason."""
        self._add(Issue(keyword, clean(value[:_SHOWN]), reason))

    def text(self, attributes: Attributes, keyword: str) -> str:
        """The first value that is not blank, cleaned; empty when there is none."""
        value = attributes.text(keyword)
        return clean(value) if value else ""

    def items(self, attributes: Attributes, keyword: str) -> Sequence[Attributes]:
        """The items of a sequence, at most 256."""
        items = attributes.items(keyword)
        if len(items) > _MOST_ITEMS:
            self.note(keyword, str(len(items)), f"only the first {_MOST_ITEMS} items are used")
        return items[:_MOST_ITEMS]

    def _add(self, issue: Issue) -> None:
        key = (issue.keyword, issue.reason)
        if key not in self._noted:
            self._noted.add(key)
            self.issues.append(issue)

    def _offset(self) -> str | None:
        text = self.root.text("TimezoneOffsetFromUTC")
        if not text:
            return None
        offset = utc_offset(text)
        if offset is None:
            self.note("TimezoneOffsetFromUTC", text, "not an offset from UTC")
        return offset
