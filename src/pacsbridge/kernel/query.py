"""A search as one value, and the index rows that answer it; nothing here knows HTTP or SQL.

A Query is what was understood: clauses that all must hold (AND), each with values of which one must match
(OR). A published resource becomes rows and a span (`search_parameters.indexed`), named by `param`:

    clause kind   looked up     a value matches when
    token         TokenRow      value and system are equal, where the value states them
    reference     ReferenceRow  target is equal, and type, where the value states it
    string        StringRow     the normalised text begins with the value's text, or holds it
    date          Span          the two ranges stand as the prefix says (`DateValue`)
    chain         ReferenceRow  the resource that the reference names satisfies a clause of its own
    present       TokenRow      there is no row that says that the element is missing
    id, updated   none          the resource's own id, or the moment of its version
    held          none          the study holds the instance of that SOP Instance UID: the store's facts know

A clause with `negated` holds where no value matches.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from pacsbridge.kernel.cursors import Cursor, Order


class Kind(StrEnum):
    """How a clause is answered."""

    TOKEN = "token"  # noqa: S105 - a kind of search parameter, no secret
    REFERENCE = "reference"
    STRING = "string"
    DATE = "date"
    CHAIN = "chain"
    PRESENT = "present"
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


class StringRow(NamedTuple):
    """A text, normalised by `search_values.normalised`."""

    param: str
    value: str


Row = TokenRow | ReferenceRow | StringRow


class Span(NamedTuple):
    """What a date or dateTime covers: microseconds since 1970, lows inclusive, highs exclusive.

    `low` and `high` are instants (UTC where the element has no zone), the others what its wall clock showed.
    """

    low: int
    high: int
    local_low: int
    local_high: int


class TokenValue(NamedTuple):
    """`system` None: any, "": none; `value` None: any. An id clause has the id in `value`."""

    system: str | None
    value: str | None


class ReferenceValue(NamedTuple):
    """`type` None: any; `target` as in ReferenceRow."""

    type: str | None
    target: str


class DateValue(NamedTuple):
    """A range asked for, and how a resource's range [l, h) must stand to it (FHIR R4 search, "prefixes").

    eq: l >= low and h <= high    ne: not eq       gt: h > high     lt: l < low
    ge: gt or eq                  le: lt or eq     sa: l >= high    eb: h <= low
    ap: h > low and l < high (the parser has widened the range)

    `local`: the query named no zone, so that wall clocks are compared.
    """

    prefix: str
    low: int
    high: int
    local: bool = False


class StringValue(NamedTuple):
    """A normalised text that rows begin with, or hold `anywhere`."""

    text: str
    anywhere: bool = False


class PresentValue(NamedTuple):
    """An element that is there; `rows` is the kind of the rows that it has, where it has rows."""

    rows: Kind | None


class ChainValue(NamedTuple):
    """What the resource of `type` that a reference names must satisfy."""

    type: str
    clause: "Clause"


Value = TokenValue | ReferenceValue | DateValue | StringValue | PresentValue | ChainValue


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition; `values` is never empty."""

    param: str
    kind: Kind
    values: tuple[Value, ...]
    negated: bool = False


class Include(NamedTuple):
    """Further resources to return: those that references of `source` under `param` name.

    `target` None: of any type. Going the other way (`_revinclude`), those of `source` that name a match.
    """

    source: str
    param: str
    target: str | None


class Form(StrEnum):
    """How much of each resource is returned (FHIR R4 search, "summary"); COUNT: only how many match."""

    WHOLE = "false"
    SUMMARY = "true"
    TEXT = "text"
    DATA = "data"
    COUNT = "count"


STUDY_ORDERS = ("patient_name", "accession", "modalities", "series", "instances")
"""Fields of an order that studies alone have: what C-FIND and QIDO-RS find them by."""


def study_order(field: str, *, descends: bool = False) -> Order:
    """An order of studies by one of `STUDY_ORDERS`; of what is equal, as they came."""
    return ((field, descends), ("study", descends))


@dataclass(frozen=True, slots=True)
class Query:
    """One search of one resource type.

    `count` is the page size; `sort` the order asked for, empty: the store's choice. `after` goes on from a
    page. `counted`: the total is asked for. `elements`: only those, and the mandatory ones, of each resource.
    `understood` are the parameters as sent that took effect (the `self` link), without the cursor; `ignored`
    the others' names. `scope` tells searches apart whose pages are not each other's.
    """

    type: str
    clauses: tuple[Clause, ...] = ()
    sort: Order = ()
    count: int = 50
    after: Cursor | None = None
    counted: bool = False
    form: Form = Form.WHOLE
    elements: frozenset[str] = frozenset()
    include: tuple[Include, ...] = ()
    revinclude: tuple[Include, ...] = ()
    understood: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    scope: str = ""

    @property
    def only_counts(self) -> bool:
        """Whether no resource is to be returned."""
        return self.count == 0 or self.form is Form.COUNT

    @property
    def length(self) -> int:
        """How many characters it was understood from."""
        return sum(len(name) + len(text) for name, text in self.understood)
