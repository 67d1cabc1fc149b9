"""Attributes of one data set → facts and issues, by walking the mapping table."""

from functools import lru_cache

from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.mapping import ROWS, Row
from pacsbridge.kernel.model import Facts, Level, Merge, Values, union
from pacsbridge.kernel.scope import Scope
from pacsbridge.kernel.titles import rejections

_NO_CONTEXT = Context()


@lru_cache(maxsize=512)
def _plan(keywords: tuple[str, ...]) -> tuple[Row, ...]:
    """The rows that a data set with these keywords can fill; instances of a series share their keywords."""
    present = set(keywords)
    return tuple(row for row in ROWS if row.required or not present.isdisjoint(row.keywords))


def extract(attributes: Attributes, context: Context = _NO_CONTEXT) -> Facts:
    """What one data set says about its patient, study, series and instance.

    Tolerant: an attribute that cannot be used is left out and becomes an issue. Raises NotUnderstood only
    where the Study, Series or SOP Instance UID or the SOP Class UID is missing or no UID.
    """
    scope = Scope(attributes, context)
    facts: dict[Level, Values] = {level: {} for level in Level}
    for row in _plan(tuple(attributes)):
        value = row.convert(attributes, scope)
        if value is not None:
            facts[row.level][row.name] = union((), value) if row.merge is Merge.UNION else value
    rejected = rejections(attributes, scope)
    return Facts(*(facts[level] for level in Level), rejected, tuple(scope.issues))
