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

    __slots__ = ("_issues", "context", "offset", "root", "zone")

    def __init__(self, root: Attributes, context: Context) -> None:
        self.root = root
        self.context = context
        self.zone: tzinfo | None = context.zone
        self._issues = {(issue.keyword, issue.reason): issue for issue in root.issues}
        self.offset: str | None = self._offset()

    def note(self, keyword: str, value: str, reason: str) -> None:
        """Record that an attribute could not be used; once a keyword and reason."""
        self._issues.setdefault((keyword, reason), Issue(keyword, clean(value[:_SHOWN]), reason))

    @property
    def issues(self) -> tuple[Issue, ...]:
        """What was noted, in order; what the reader of the header met comes first."""
        return tuple(self._issues.values())

    def text(self, attributes: Attributes, keyword: str) -> str:
        """The first value that is not blank, cleaned; empty when there is none."""
        value = attributes.text(keyword)
        return clean(value) if value else ""

    def items(self, attributes: Attributes, keyword: str) -> Sequence[Attributes]:
        """The items of a sequence, at most 256."""
        if keyword not in attributes:
            return ()
        items = attributes.items(keyword)
        if len(items) > _MOST_ITEMS:
            self.note(keyword, str(len(items)), f"only the first {_MOST_ITEMS} items are used")
        return items[:_MOST_ITEMS]

    def _offset(self) -> str | None:
        text = self.root.text("TimezoneOffsetFromUTC")
        if not text:
            return None
        offset = utc_offset(text)
        if offset is None:
            self.note("TimezoneOffsetFromUTC", text, "not an offset from UTC")
        return offset
