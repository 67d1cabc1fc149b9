"""How far the copy of an embedded database has come, so that a later one that has gone back is told from it.

index   its published resources, which are never removed, and their versions, which only grow
audit   its last record, which every later log has, or has removed in due course (see `audit`)
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pacsbridge.store.audit import broken, continues
from pacsbridge.store.sql import Ask, Sql, sql

Standing = Sequence[Any]
"""Numbers and texts, as JSON has them."""


class Form(NamedTuple):
    """What to ask of one of the two: a table that it has, how far it has come, whether it went back, faults.

    `behind` and `fault` answer in words, None where nothing is wrong.
    """

    table: str
    standing: Callable[[Ask], Standing]
    behind: Callable[[Ask, Standing], str | None]
    fault: Callable[[Ask], str | None]


class Told(NamedTuple):
    """Of a copy: `unfit` where it is no database of ours, `fault` where what it says cannot be, `behind`."""

    unfit: str | None = None
    fault: str | None = None
    behind: str | None = None
    standing: Standing = ()


def look(file: Path, form: Form, before: Standing) -> Told:
    """What there is to say of a copy that nobody uses; `before` is how far the one before had come."""
    try:
        with _asking(file) as ask:
            if ask(sql("PRAGMA quick_check(1)")) != [("ok",)]:
                return Told(unfit="it is damaged")
            if not ask(sql("SELECT 1 FROM sqlite_master WHERE name = ?", form.table)):
                return Told(unfit="it is empty")
            behind = form.behind(ask, before) if before else None
            return Told(None, form.fault(ask), behind, form.standing(ask))
    except sqlite3.Error:
        return Told(unfit="it is damaged")


@contextmanager
def _asking(file: Path) -> Iterator[Ask]:
    address = f"{file.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as connection:

        def ask(question: Sql) -> Sequence[tuple[Any, ...]]:
            return connection.execute(question.text, question.values).fetchall()

        yield ask


def _published(ask: Ask) -> Standing:
    [[last]] = ask(sql("SELECT coalesce(max(pk), 0) FROM resource"))
    return [last, *_until(ask, last)]


def _until(ask: Ask, last: int) -> tuple[Any, ...]:
    """How many of the resources that there were at a moment are there, and how many versions they have."""
    return ask(sql("SELECT count(*), coalesce(sum(version), 0) FROM resource WHERE pk <= ?", last))[0]


def _fewer(ask: Ask, before: Standing) -> str | None:
    last, *known = before
    now = _until(ask, last)
    if all(own >= one for own, one in zip(now, known, strict=True)):
        return None
    return f"{known[0]} resources had {known[1]} published versions; of these are left {now[0]} with {now[1]}"


def _last_record(ask: Ask) -> Standing:
    found = ask(sql("SELECT seq, hash FROM audit_event ORDER BY seq DESC LIMIT 1"))
    [[number, digest]] = found or ask(sql("SELECT through, hash FROM audit_anchor"))
    return [number, bytes(digest).hex()]


def _parted(ask: Ask, before: Standing) -> str | None:
    number, digest = before
    return None if continues(ask, number, digest) else f"its record {number} is not what it was"


def _broken(ask: Ask) -> str | None:
    number = broken(ask)
    return None if number is None else f"record {number} is not what was recorded, or not there"


INDEX_FORM = Form("resource", _published, _fewer, lambda _ask: None)
AUDIT_FORM = Form("audit_event", _last_record, _parted, _broken)
