"""Attributes of one data set → facts and issues, by walking the mapping table."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from pacsbridge.kernel.attributes import Attributes, Issue
from pacsbridge.kernel.converters import Convert
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.mapping import ROWS
from pacsbridge.kernel.model import Facts, Level, Merge, Values, union
from pacsbridge.kernel.scope import Scope
from pacsbridge.kernel.titles import rejections

_NO_CONTEXT = Context()
_LEVELS = tuple(Level)


class _Step(NamedTuple):
    """A row as the loop needs it."""

    level: int
    name: str
    convert: Convert
    is_union: bool


@lru_cache(maxsize=512)
def _plan(keywords: tuple[str, ...], levels: tuple[Level, ...]) -> tuple[_Step, ...]:
    """The rows that a data set with these keywords can fill; instances of a series share their keywords."""
    present = set(keywords)
    return tuple(
        _Step(_LEVELS.index(row.level), row.name, row.convert, row.merge is Merge.UNION)
        for row in ROWS
        if row.level in levels and (row.required or not present.isdisjoint(row.keywords))
    )


def extract(attributes: Attributes, context: Context = _NO_CONTEXT) -> Facts:
    """What one data set says about its patient, study, series and instance.

    Tolerant: an attribute that cannot be used is left out and becomes an issue. Raises NotUnderstood only
    where the Study, Series or SOP Instance UID or the SOP Class UID is missing or no UID.
    """
    scope = Scope(attributes, context)
    facts = _values(attributes, scope, _LEVELS)
    rejected = rejections(attributes, scope)
    return Facts(*facts, rejected, scope.issues)


def extract_levels(
    attributes: Attributes, levels: tuple[Level, ...], context: Context = _NO_CONTEXT
) -> tuple[Sequence[Values], Sequence[Issue]]:
    """What a record of an archive says about some levels: facts by `Level`'s order, and the issues.

    Raises NotUnderstood where a UID of these levels is missing or no UID.
    """
    scope = Scope(attributes, context)
    return _values(attributes, scope, levels), scope.issues


def _values(
    attributes: Attributes, scope: Scope, levels: tuple[Level, ...]
) -> tuple[Values, Values, Values, Values]:
    facts: tuple[Values, Values, Values, Values] = ({}, {}, {}, {})
    for level, name, convert, is_union in _plan(tuple(attributes), levels):
        value = convert(attributes, scope)
        if value is not None:
            facts[level][name] = union((), value) if is_union else value
    return facts
