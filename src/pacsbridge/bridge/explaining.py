"""What is known of a UID, an accession or a patient ID, in words: the same for the command and the page."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

HEADINGS: Mapping[str, str] = {
    "studies": "study",
    "instances": "instance",
    "issues": "issue",
    "conflicts": "conflict",
    "dead_letters": "dead letter",
    "reports": "report of an archive",
}
"""Kind of record, as `Store.why` names it → what one of them is called."""

NOTHING = "nothing is known under that key"


class Fact(NamedTuple):
    """A name and its value, as the record has them."""

    name: str
    value: Any


class Section(NamedTuple):
    """All records of one kind: each by its facts; `more` are on record and not shown."""

    kind: str
    heading: str
    records: Sequence[Sequence[Fact]]
    more: int

    @property
    def rest(self) -> str | None:
        """What is said of those that are not shown."""
        return f"… and {self.more} more {self.kind.replace('_', ' ')}" if self.more else None


def sections(found: Mapping[str, Any]) -> Sequence[Section]:
    """The answer of `Store.why`, without kinds of which there is nothing, and without empty values."""
    return [
        Section(kind, HEADINGS[kind], [_facts(row) for row in found[kind]], count - len(found[kind]))
        for kind, count in found["counts"].items()
        if count
    ]


def _facts(row: Mapping[str, Any]) -> Sequence[Fact]:
    return [Fact(name, value) for name, value in row.items() if value is not None]
