"""The series and instances of studies, asked for many studies at a time where an archive can do that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pacsbridge.bridge.archive_listing import Habits, Row
from pacsbridge.bridge.archive_records import Record, study_of
from pacsbridge.errors import BadAnswer
from pacsbridge.remote.qido import Archive, Rows

STUDIES = 40
"""Studies that are asked for in one go: their UIDs make a URL of less than 3,000 characters."""

INSTANCES = 2_000
"""Instances that are asked for in one go, unless one study alone has more."""

_PAGE = 5_000
"""Rows that are asked for at a time."""

_UNKNOWN = 100
"""Instances that a study is taken to have where the archive does not say."""


def batches(records: Iterable[Record]) -> Iterator[Sequence[Record]]:
    """Records in groups that make one answer of a bounded size each."""
    group: list[Record] = []
    room = INSTANCES
    for one in records:
        size = _UNKNOWN if one.expected is None else one.expected
        if group and (len(group) >= STUDIES or size > room):
            yield group
            group, room = [], INSTANCES
        group.append(one)
        room -= size
    if group:
        yield group


class Details:
    """Asks an archive for what belongs to studies; `level` is "series", "instance" or "metadata"."""

    def __init__(self, archive: Archive, level: str, habits: Habits) -> None:
        self._archive = archive
        self._level = level
        self._ask = archive.series if level == "series" else archive.instances
        self._habits = habits

    def of(self, records: Sequence[Record]) -> Mapping[str, Sequence[Row]]:
        """The rows of each study, by its UID. Raises Unavailable, BadAnswer: perhaps about one of them."""
        if len(records) == 1:
            return {records[0].uid: self._of_one(records[0])}
        if not self._habits.no_lists and self._level != "metadata":
            found = self._listed(records)
            if found is not None:
                return found
            self._habits.no_lists = True
        return {one.uid: self._of_one(one) for one in records}

    def _of_one(self, one: Record) -> Sequence[Row]:
        whole = self._level == "metadata"
        rows = self._archive.metadata(one.uid).rows if whole else self._rows([one])
        return [row for row in rows if study_of(row, one.uid) == one.uid]

    def _listed(self, records: Sequence[Record]) -> Mapping[str, Sequence[Row]] | None:
        """The rows of all studies by one question; None where the archive does not take lists of UIDs."""
        found: dict[str, list[Row]] = {one.uid: [] for one in records}
        try:
            for row in self._rows(records):
                uid = study_of(row, None)
                if uid not in found:
                    return None
                found[uid].append(row)
        except BadAnswer:
            return None
        due = [one.uid for one in records if one.expected]
        return found if all(found[uid] for uid in due) else None

    def _rows(self, records: Sequence[Record]) -> Iterator[Row]:
        """All rows, page by page, until there are as many as are due or nothing new comes."""
        uids = [one.uid for one in records]
        due = sum(one.expected or 0 for one in records)
        limit = max(due, _PAGE)
        rows, offset = self._ask(uids, limit=limit), 0
        yield from rows.rows
        before = rows.rows
        while self._goes_on(rows, offset := offset + len(rows.rows) + rows.dropped, due):
            rows = self._ask(uids, limit=limit, offset=offset)
            if rows.rows[:1] == before[:1]:
                return
            yield from rows.rows

    def _goes_on(self, rows: Rows, have: int, due: int) -> bool:
        return bool(rows.rows) and (rows.more or have < due)
