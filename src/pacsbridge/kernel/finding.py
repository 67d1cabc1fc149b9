"""What C-FIND and QIDO-RS ask, as one value: the level, conditions by attribute, what is to be returned.

A FHIR search is another value (`query.Query`): tokens, references and prefixes there, wildcards, component
groups and combined times here; what both search is the same published studies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.matching import DAY, Between, Condition, Conditions, Item, Moment, condition, is_range
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query_keys import BY_TAG, VRS
from pacsbridge.kernel.zones import ZONE, offset_of, pairs

LEVELS = tuple(Level)

MOST_VALUES = 10_000
"""Alternatives of one key: a list of UIDs."""

_MOST_KEYS = 200

_MOMENTS = pairs("Study", "Series", "Content", "Acquisition", "PatientBirth")
"""Dates and times that are matched together where both are ranges."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One key of a query: its name as the caller wrote it, its values, or the keys of a sequence's item."""

    name: str
    values: tuple[str, ...] = ()
    item: "Mapping[str, Asked] | None" = None


Keys = Mapping[str, Asked]
"""Tag (eight hexadecimal digits) → what is asked of it."""


@dataclass(frozen=True, slots=True)
class Find:
    """One query. `conditions` and `moments` all have to hold of a record merged from all levels above.

    `patient_counts`: the numbers of what is known of a patient are wanted. `offset`: dates and times of the
    query and its answers are so many minutes ahead of UTC; None: as they are stored.
    """

    level: Level
    conditions: Conditions
    moments: tuple[Moment, ...] = ()
    patient_counts: bool = False
    offset: int | None = None

    def upto(self, level: Level) -> Conditions:
        """The conditions on attributes of this level and those above."""
        return {tag: one for tag, one in self.conditions.items() if depth(tag) <= LEVELS.index(level)}


@dataclass(frozen=True, slots=True)
class Understood:
    """A query, and the tags of keys that are asked for and not known at its level."""

    find: Find
    unknown: frozenset[str] = field(default_factory=frozenset)


def depth(tag: str) -> int:
    """The place of an attribute's level, 0 for the patient's."""
    return LEVELS.index(BY_TAG[tag].level)


def is_known(tag: str, level: Level) -> bool:
    """Whether an attribute is a key at a level: one of that level or of those above."""
    return tag in BY_TAG and depth(tag) <= LEVELS.index(level)


def understood(level: Level, keys: Keys, *, combined_times: bool, fuzzy: bool = False) -> Understood:
    """The query that keys make. Raises NotUnderstood, naming the key, for values that are none of its VR.

    `combined_times`: a range of dates and one of times are one range of moments (PS3.4 C.2.2.2.5).
    """
    if len(keys) > _MOST_KEYS:
        raise NotUnderstood(f"more than {_MOST_KEYS} keys")
    known = {tag: asked for tag, asked in keys.items() if is_known(tag, level)}
    zone = known.get(ZONE, Asked(ZONE))
    conditions = _conditions({tag: asked for tag, asked in known.items() if tag != ZONE}, fuzzy)
    moments = tuple(_moments(known, conditions)) if combined_times else ()
    for moment in moments:
        del conditions[moment.date], conditions[moment.time]
    wants_patient = any(BY_TAG[tag].keyword.startswith("NumberOfPatientRelated") for tag in known)
    find = Find(level, conditions, moments, wants_patient, _offset(zone))
    return Understood(find, frozenset(keys) - frozenset(known))


def _offset(zone: Asked) -> int | None:
    """The zone that a query is in (PS3.4 C.2.2.2.5); empty: none is meant."""
    if not any(zone.values):
        return None
    return offset_of(zone.name, "\\".join(zone.values))


def _conditions(keys: Keys, fuzzy: bool) -> dict[str, Condition]:
    found = ((tag, _condition(tag, asked, fuzzy)) for tag, asked in keys.items())
    return {tag: one for tag, one in found if one is not None}


def _condition(tag: str, asked: Asked, fuzzy: bool) -> Condition | None:
    vr = VRS.get(tag, "UN")
    if len(asked.values) > MOST_VALUES:
        raise NotUnderstood(f"{asked.name}: more than {MOST_VALUES} values", asked.name)
    if vr != "SQ":
        return condition(asked.name, vr, asked.values, fuzzy=fuzzy)
    if asked.values:
        raise NotUnderstood(f"{asked.name}: a sequence has no value of its own", asked.name)
    inner = _conditions(asked.item or {}, fuzzy)
    return Item(inner) if inner else None


def _moments(keys: Keys, conditions: Conditions) -> Iterable[Moment]:
    """Pairs of which both are one range; a single date or time stays a condition of its own."""
    for date, time in _MOMENTS:
        days, times = conditions.get(date), conditions.get(time)
        if isinstance(days, Between) and isinstance(times, Between) and _are_ranges(keys, (date, time)):
            (first, last), (begin, end) = days.ranges[0], times.ranges[0]
            yield Moment(date, time, first * DAY + begin, last * DAY + end)


def _are_ranges(keys: Keys, tags: Sequence[str]) -> bool:
    return all(len(keys[tag].values) == 1 and is_range(keys[tag].values[0]) for tag in tags)
