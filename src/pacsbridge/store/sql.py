"""Pieces of SQL with their values, put together as text: what a search asks differs each time.

The query builder would cost several times what the database does. Texts come from this package alone;
whatever a client sent is a value. A `?` stands for a value.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

READER_SECONDS = 5
"""How long a statement that reads may take."""


class Patience(NamedTuple):
    """How long the statements of one session may take together.

    `yields` is asked now and then while they run, by the thread that waits for them: True ends them at once.
    """

    seconds: float = READER_SECONDS
    yields: Callable[[], bool] = lambda: False


PATIENT = Patience()
"""Nobody waits meanwhile."""


@dataclass(slots=True, unsafe_hash=True)
class Sql:
    """A text and the values of its marks, in order. Never changed, though not frozen, which costs more."""

    text: str
    values: tuple[Any, ...] = ()

    def __add__(self, other: "Sql") -> "Sql":
        """One behind the other."""
        return Sql(f"{self.text} {other.text}", self.values + other.values)


Ask = Callable[[Sql], Sequence[tuple[Any, ...]]]
"""Runs a statement: the rows that it finds."""


def sql(text: str, *values: Any) -> Sql:
    """A piece."""
    return Sql(text, values)


def joined(separator: str, pieces: Iterable[Sql]) -> Sql:
    """Pieces with a separator between them; none: an empty piece."""
    parts = list(pieces)
    return Sql(separator.join(p.text for p in parts), tuple(value for p in parts for value in p.values))


def every(pieces: Iterable[Sql]) -> Sql:
    """A condition that holds where all do."""
    return joined(" AND ", pieces)


def either(pieces: Iterable[Sql]) -> Sql:
    """A condition that holds where one does."""
    parts = list(pieces)
    return parts[0] if len(parts) == 1 else bracketed(joined(" OR ", parts))


def negated(condition: Sql) -> Sql:
    """A condition that holds where another does not."""
    return Sql(f"NOT ({condition.text})", condition.values)


def among(column: str, values: Iterable[Any]) -> Sql:
    """A condition on a column: one of the values."""
    known = tuple(values)
    if not known:
        return Sql("FALSE")
    return Sql(f"{column} IN ({', '.join('?' * len(known))})", known)


def bracketed(piece: Sql) -> Sql:
    """A condition that stands for itself among others."""
    return Sql(f"({piece.text})", piece.values)


def ordered(keys: Iterable[str], directions: Iterable[bool]) -> str:
    """An order of rows: by each key, descending or not."""
    pairs = zip(keys, directions, strict=True)
    return ", ".join(f"{key} {'DESC' if descends else 'ASC'}" for key, descends in pairs)


def beyond(keys: Sequence[str], directions: Sequence[bool], values: Sequence[Any]) -> Sql:
    """What stands behind a position; the first part is for the index, the other exact."""
    signs = ["<" if descends else ">" for descends in directions]
    first = sql(f"{keys[0]} {signs[0]}= ?", values[0])
    steps = [
        every([
            *(sql(f"{key} = ?", value) for key, value in zip(keys[:place], values[:place], strict=True)),
            sql(f"{keys[place]} {signs[place]} ?", values[place]),
        ])
        for place in range(len(keys))
    ]  # fmt: skip
    return every((first, either(steps)))
