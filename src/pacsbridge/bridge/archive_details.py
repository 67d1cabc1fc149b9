"""The series and instances of studies, asked for many studies at a time where an archive can do that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pacsbridge.bridge.archive_listing import ROUND, Habits, Row, count
from pacsbridge.bridge.archive_records import Record, study_of
from pacsbridge.errors import BadAnswer, Declined, Unavailable
from pacsbridge.kernel.values import unsigned
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


class _Repeats(Exception):
    """The archive pays no heed to offsets: only a part can be had this way."""


class Details:
    """Asks an archive for what belongs to studies; `level` is "series", "instance" or "metadata"."""

    def __init__(self, archive: Archive, level: str, habits: Habits) -> None:
        self._archive = archive
        self._level = level
        self._ask = archive.series if level == "series" else archive.instances
        self._habits = habits

    def of(self, records: Sequence[Record]) -> Mapping[str, Sequence[Row] | Exception]:
        """The rows of each study, by its UID, or why they could not be had. Raises Unavailable."""
        listed = self._listed(records)
        found: dict[str, Sequence[Row] | Exception] = {**(listed or {})}
        for one in records:
            if one.uid not in found:
                found[one.uid] = rows = self._alone(one)
                self._habits.no_lists |= listed is not None and not isinstance(rows, Exception) and bool(rows)
        return found

    def _alone(self, one: Record) -> Sequence[Row] | Exception:
        """The rows of one study, or why they could not be had."""
        try:
            whole = self._level == "metadata"
            rows = self._archive.metadata(one.uid).rows if whole else list(self._rows([one]))
        except Unavailable:
            raise
        except Exception as exc:
            return exc
        return [row for row in rows if study_of(row, one.uid) == one.uid]

    def _listed(self, records: Sequence[Record]) -> Mapping[str, Sequence[Row]] | None:
        """The rows of all studies by one question, without studies that should have some and have none.

        None where the question was not asked, or the answer is of no use.
        """
        if len(records) == 1 or self._level == "metadata" or self._habits.no_lists:
            return None
        found: dict[str, list[Row]] = {one.uid: [] for one in records}
        try:
            for row in self._rows(records):
                found[study_of(row, None) or ""].append(row)
        except (Declined, KeyError):  # refused, or answered with studies that nobody asked for
            self._habits.no_lists = True
            return None
        except (BadAnswer, _Repeats):
            return None
        return {one.uid: found[one.uid] for one in records if found[one.uid] or self._due(one) == 0}

    def _rows(self, records: Sequence[Record]) -> Iterator[Row]:
        """All rows, page by page, until there are as many as are due or nothing new comes."""
        uids = [one.uid for one in records]
        counts = [self._due(one) for one in records]
        due = None if None in counts else sum(filter(None, counts))
        limit = max(due or 0, _PAGE)
        rows, offset = self._ask(uids, limit=limit), 0
        yield from rows.rows
        while self._goes_on(rows, offset := offset + count(rows), due, limit):
            before, rows = rows, self._ask(uids, limit=limit, offset=offset)
            if rows.rows[:1] == before.rows[:1]:
                if len(uids) > 1:
                    raise _Repeats
                return
            yield from rows.rows

    def _goes_on(self, rows: Rows, have: int, due: int | None, limit: int) -> bool:
        number = count(rows)
        lacks = number == limit or number in ROUND if due is None else have < due
        return number > 0 and (rows.more or lacks)

    def _due(self, one: Record) -> int | None:
        """How many rows a study has, None where the archive does not say."""
        if self._level == "series":
            return unsigned(one.attributes.text("NumberOfStudyRelatedSeries") or "")
        return one.expected
