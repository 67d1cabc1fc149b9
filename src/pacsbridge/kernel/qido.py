"""QIDO-RS parameters → one Find and the form of its answers (PS3.18 8.3.4, 10.6.1).

An attribute is named by keyword or tag, one in a sequence by a path with dots. UIDs and codes may be lists,
separated by commas or backslashes. What is not understood is refused, never passed over: the caller would
take everything for what was asked.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.finding import Asked, Find, Keys, is_known, understood
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.query_keys import BY_TAG, RETRIEVE_URL, TAGS, UNIQUE, VRS

_LISTS = frozenset({"UI", "CS"})
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_LARGEST = 2**53
_PASSED_OVER: Mapping[str, str | None] = {
    "accept": None,
    "charset": None,
    "emptyvaluematching": "false",
    "multiplevaluematching": None,
}
"""Parameters that change nothing here → the one value that they may have, None for any."""


def _tags(keywords: str) -> tuple[str, ...]:
    return tuple(TAGS[keyword] for keyword in keywords.split())


DEFAULTS: Mapping[Level, tuple[str, ...]] = {
    Level.STUDY: (
        RETRIEVE_URL,
        *_tags("""
            StudyDate StudyTime AccessionNumber InstanceAvailability ModalitiesInStudy
            ReferringPhysicianName StudyDescription TimezoneOffsetFromUTC PatientName PatientID
            IssuerOfPatientID PatientBirthDate PatientSex StudyInstanceUID StudyID
            NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances"""),
    ),
    Level.SERIES: (
        RETRIEVE_URL,
        *_tags("""
            Modality TimezoneOffsetFromUTC SeriesDescription StudyInstanceUID SeriesInstanceUID SeriesNumber
            NumberOfSeriesRelatedInstances PerformedProcedureStepStartDate
            PerformedProcedureStepStartTime RequestAttributesSequence"""),
    ),
    Level.INSTANCE: (
        RETRIEVE_URL,
        *_tags("""
            SOPClassUID SOPInstanceUID InstanceAvailability TimezoneOffsetFromUTC StudyInstanceUID
            SeriesInstanceUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames"""),
    ),
}
"""What is returned of each level without being asked for (PS3.18 tables 10.6.3-3 to 5)."""

_ABOVE: Mapping[Level, tuple[Level, ...]] = {
    Level.STUDY: (),
    Level.SERIES: (Level.STUDY,),
    Level.INSTANCE: (Level.STUDY, Level.SERIES),
}


@dataclass(frozen=True, slots=True)
class Search:
    """One search: `fields` are the tags to be returned; `limit` and `offset` count results.

    `warnings` are for people.
    """

    find: Find
    fields: frozenset[str]
    limit: int
    offset: int = 0
    warnings: tuple[str, ...] = ()


def search(
    level: Level, parameters: Iterable[tuple[str, str]], named: Mapping[Level, str], most: int
) -> Search:
    """The search that parameters make; `named` are the UIDs of the path, `most` the results of one answer.

    Raises NotUnderstood, which names the parameter.
    """
    reading = _Reading(level)
    for name, value in parameters:
        reading.take(name, value)
    for one, uid in named.items():
        reading.name(one, uid)
    query = understood(level, reading.keys, combined_times=True, fuzzy=reading.fuzzy)
    fields = reading.fields | frozenset(reading.keys) | frozenset(_defaults(level, named))
    limit = most if reading.limit is None else min(reading.limit, most)
    return Search(query.find, fields, limit, reading.offset, tuple(reading.warnings))


def _defaults(level: Level, named: Mapping[Level, str]) -> Iterable[str]:
    """Those of the level, and of the levels above that the path does not name."""
    for one in (level, *(above for above in _ABOVE[level] if above not in named)):
        yield from DEFAULTS[one]


class _Reading:
    """Parameters, one after the other."""

    def __init__(self, level: Level) -> None:
        self._level = level
        self.keys: dict[str, Asked] = {}
        self.fields: frozenset[str] = frozenset()
        self.fuzzy = False
        self.limit: int | None = None
        self.offset = 0
        self.warnings: list[str] = []
        self._seen: set[str] = set()

    def take(self, name: str, value: str) -> None:
        """One parameter."""
        if name == "includefield":
            self._include(value)
            return
        if name in self._seen:
            raise NotUnderstood(f"{name}: given more than once", name)
        self._seen.add(name)
        if name in _OPTIONS:
            field, read = _OPTIONS[name]
            setattr(self, field, read(name, value))
        elif name not in _PASSED_OVER:
            self._key(name, value)
        elif _PASSED_OVER[name] not in (None, value):
            raise NotUnderstood(f"{name}: not offered here", name)

    def name(self, level: Level, uid: str) -> None:
        """A UID of the path: beside one of the parameters it confines the search to itself."""
        tag = UNIQUE[level]
        asked = self.keys.get(tag)
        if asked is not None and uid not in asked.values:
            uid = ""
        self.keys[tag] = Asked(BY_TAG[tag].keyword, (uid or _NONE,))

    def _include(self, value: str) -> None:
        if "all" in value.split(","):
            self.fields = frozenset(tag for tag in BY_TAG if is_known(tag, self._level))
            return
        for name in filter(None, value.split(",")):
            tag = _tag(name)
            if tag is None or not (tag == RETRIEVE_URL or is_known(tag, self._level)):
                self.warnings.append("includefield: an attribute that is not kept was left out")
            else:
                self.fields |= {tag}

    def _key(self, name: str, value: str) -> None:
        """A matching key, in items of sequences perhaps; several into one sequence are one item's."""
        path = [_tag(part) for part in name.split(".")]
        tags = [tag for tag in path if tag is not None]
        if len(tags) != len(path) or len(path) > 4 or not is_known(tags[0], self._level):
            raise NotUnderstood(f"{_shown(name)}: nothing that can be searched by here", _shown(name))
        self.keys = _with(self.keys, tags, name, _values(tags[-1], value))


_NONE = "0"
"""No UID: what nothing is the same as."""


def _with(keys: Keys, tags: Sequence[str], name: str, values: tuple[str, ...]) -> dict[str, Asked]:
    """Keys with one more, at the end of a path of tags."""
    first, *others = tags
    if not others:
        if first in keys:
            raise NotUnderstood(f"{name}: given more than once", name)
        return {**keys, first: Asked(name, values)}
    if VRS.get(first) != "SQ":
        raise NotUnderstood(f"{name}: not a sequence", name)
    before = keys[first].item if first in keys else None
    return {**keys, first: Asked(name, item=_with(before or {}, others, name, values))}


def _tag(name: str) -> str | None:
    """The tag that a name means; None for one that is not known here."""
    if _TAG.fullmatch(name):
        return name.upper() if name.upper() in VRS else None
    return TAGS.get(name)


def _values(tag: str, value: str) -> tuple[str, ...]:
    if VRS[tag] in _LISTS:
        return tuple(part.strip() for part in re.split(r"[,\\]", value))
    return (value.strip(),)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or int(value[:20]) > _LARGEST:
        raise NotUnderstood(f"{name}: not a number from 0 up", name)
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise NotUnderstood(f"{name}: neither true nor false", name)
    return value == "true"


_OPTIONS: Mapping[str, tuple[str, Callable[[str, str], int]]] = {
    "limit": ("limit", _number),
    "offset": ("offset", _number),
    "fuzzymatching": ("fuzzy", _boolean),
}
"""Parameter → what of a reading it sets, and by what."""


def _shown(name: str) -> str:
    """A name as an answer may repeat it."""
    return "".join(one for one in name[:64] if one.isalnum() or one in ".-_") or "?"
