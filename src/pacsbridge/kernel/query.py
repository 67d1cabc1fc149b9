"""A search as one value, and the index rows that answer it; nothing here knows HTTP or SQL.

A Query is what was understood: clauses that all must hold (AND), each with values of which one must match
(OR). A published resource becomes rows (`search_parameters.index_rows`); a clause names rows by `param`:

    clause kind   rows          a value matches a row when
    token         TokenRow      value and system are equal, where the value states them
    reference     ReferenceRow  target is equal, and type, where the value states it
    date          DateRow       the two ranges stand as the prefix says (`DateValue`)
    string        StringRow     the normalised text begins with the value's text
    id, updated   none          the resource's own id, or the moment of its version
    held          none          the study holds the instance of that SOP Instance UID: the store's facts know

A clause with modifier "not" holds where no row matches; with "missing" it holds where there is no row at
all of that param (the value is true) or at least one (false).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pacsbridge.errors import NotUnderstood


class Kind(StrEnum):
    """How a clause is answered."""

    TOKEN = "token"  # noqa: S105 - a kind of search parameter, no secret
    REFERENCE = "reference"
    DATE = "date"
    STRING = "string"
    ID = "id"
    UPDATED = "updated"
    HELD = "held"


class TokenRow(NamedTuple):
    """A code or identifier; `system` is "" where the resource states none."""

    param: str
    system: str
    value: str


class ReferenceRow(NamedTuple):
    """A reference: `target` is a logical id (relative references) or an absolute URL; `type` may be ""."""

    param: str
    type: str
    target: str


class DateRow(NamedTuple):
    """A moment or period: microseconds since 1970, `low` inclusive, `high` exclusive."""

    param: str
    low: int
    high: int


class StringRow(NamedTuple):
    """A text, normalised by `search_values.normalised`."""

    param: str
    value: str


Row = TokenRow | ReferenceRow | DateRow | StringRow


class TokenValue(NamedTuple):
    """`system` None: any, "": none; `value` None: any. An id clause has the id in `value`."""

    system: str | None
    value: str | None


class ReferenceValue(NamedTuple):
    """`type` None: any; `target` as in ReferenceRow."""

    type: str | None
    target: str


class DateValue(NamedTuple):
    """A range asked for, and how a row's range [l, h) must stand to it (FHIR R4 search, "prefixes").

    eq: l >= low and h <= high    ne: not eq       gt: h > high     lt: l < low
    ge: gt or eq                  le: lt or eq     sa: l >= high    eb: h <= low
    ap: h > low and l < high (the parser has widened the range)

    `local`: the query named no zone, so that wall clocks are compared: the rows of `param` + ":local".
    """

    prefix: str
    low: int
    high: int
    local: bool = False


class StringValue(NamedTuple):
    """A normalised text that rows begin with."""

    text: str


class MissingValue(NamedTuple):
    """The value of the modifier "missing"."""

    missing: bool


Value = TokenValue | ReferenceValue | DateValue | StringValue | MissingValue


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition; `values` is never empty."""

    param: str
    kind: Kind
    modifier: str | None
    values: tuple[Value, ...]


_CURSOR_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Cursor:
    """The position of a page's last entry: small integers (row number first), opaque outside."""

    values: tuple[int, ...]

    def encode(self) -> str:
        """The cursor as it stands in a `next` link."""
        text = ".".join(map(str, self.values))
        return urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """The cursor of a link. NotUnderstood unless `encode` made exactly this text."""
        if len(text) <= _CURSOR_LENGTH and text.isascii():
            cursor = cls(_integers(text))
            if cursor.values and cursor.encode() == text:
                return cursor
        raise NotUnderstood("not a cursor that this server gave out")


def _integers(text: str) -> tuple[int, ...]:
    try:
        plain = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        values = tuple(int(part) for part in plain.split("."))
    except (Base64Error, ValueError):
        return ()
    return values if all(abs(value) < 2**63 for value in values) else ()


@dataclass(frozen=True, slots=True)
class Query:
    """One search of one resource type.

    `count` is the page size (0: only the total is asked for), `total` none, estimate or accurate. `after`
    goes on behind a page. `sort` is (field, descending) pairs; empty: newest first. `understood` are the
    parameters as sent that took effect (the `self` link), without the cursor; `ignored` the others' names.
    """

    type: str
    clauses: tuple[Clause, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()
    count: int = 50
    after: Cursor | None = None
    total: str = "none"
    understood: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
