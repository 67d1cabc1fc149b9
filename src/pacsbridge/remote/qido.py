"""QIDO-RS (PS3.18 10.6): what an archive has, a page at a time."""

import codecs
import random as randomness
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import orjson
import structlog

from pacsbridge.errors import BadAnswer
from pacsbridge.kernel.attributes import ELEMENTS
from pacsbridge.remote.client import Answer, Client
from pacsbridge.remote.outcomes import media_type, not_json, settled
from pacsbridge.remote.settings import ArchiveSettings

log = structlog.get_logger("pacsbridge.remote")

Row = Mapping[str, Any]
Pairs = Sequence[tuple[str, str]]

_UID = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z_.-]{0,63}")
"""What may stand in a path as a UID: more than PS3.5 9.1 allows, as archives hold more; no step upwards."""

_MORE = re.compile(r"\b299\b.*additional", re.IGNORECASE | re.DOTALL)
"""PS3.18 8.3.4.4: the warning of an archive that holds more results than it gave."""


class Rows(NamedTuple):
    """A page: DICOM JSON objects (PS3.18 F.2), whether the archive says that there are more of them.

    Members of its list that are no objects are dropped and counted.
    """

    rows: Sequence[Row]
    more: bool
    dropped: int = 0


class Archive:
    """The searches of one archive; threads may share it.

    `fields` are the attributes asked for at each level ("studies", "series", "instances"), by tag or keyword.
    An archive that refuses to be asked for attributes is asked without, at that level, from then on.
    """

    def __init__(
        self,
        settings: ArchiveSettings,
        fields: Mapping[str, Sequence[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        random: Callable[[], float] = randomness.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.client = Client(settings, clock=clock, sleep=sleep, random=random, wall=wall)
        self._fields = {level: ",".join(map(_tag, names)) for level, names in fields.items()}
        self._plain: set[str] = set()

    def studies(self, match: Pairs, *, limit: int, offset: int = 0) -> Rows:
        """Studies that match all pairs of attribute and value."""
        return self._page("studies", "/studies", match, limit, offset)

    def series(self, study_uids: Sequence[str], *, limit: int, offset: int = 0) -> Rows:
        """Series of these studies."""
        return self._below("series", study_uids, limit, offset)

    def instances(self, study_uids: Sequence[str], *, limit: int, offset: int = 0) -> Rows:
        """Instances of these studies."""
        return self._below("instances", study_uids, limit, offset)

    def metadata(self, study_uid: str) -> Rows:
        """All that the headers of a study's instances say (WADO-RS, PS3.18 10.4.1.1.5)."""
        return rows_of(self.client.get(f"/studies/{_askable(study_uid)}/metadata"))

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def _below(self, level: str, study_uids: Sequence[str], limit: int, offset: int) -> Rows:
        """By path for one study, by a list of UIDs for several (PS3.18 8.3.4.1)."""
        uids = [_askable(uid) for uid in study_uids]
        if not uids:
            return Rows((), False)
        if len(uids) == 1:
            return self._page(level, f"/studies/{uids[0]}/{level}", (), limit, offset)
        return self._page(level, f"/{level}", [("StudyInstanceUID", ",".join(uids))], limit, offset)

    def _page(self, level: str, path: str, match: Pairs, limit: int, offset: int) -> Rows:
        pairs = [*match, ("limit", str(limit)), ("offset", str(offset))]
        fields = "" if level in self._plain else self._fields.get(level, "")
        ask = partial(self.client.get, path, general=level == "studies")
        if not fields:
            return rows_of(ask(pairs))
        answer = ask([*pairs, ("includefield", fields)], allowed=(400,))
        return self._without(level, ask, pairs) if answer.status == 400 else rows_of(answer)

    def _without(self, level: str, ask: Callable[[Pairs], Answer], pairs: Pairs) -> Rows:
        """The same without `includefield`; when that is better, it stays so."""
        answer = settled(ask(pairs))
        if level not in self._plain:
            self._plain.add(level)
            log.info("includefield_refused", source=self.client.settings.name, type=level)
        return rows_of(answer)


def rows_of(answer: Answer) -> Rows:
    """The rows of an answer. Raises BadAnswer for what is not a list in JSON."""
    members = _members(answer)
    rows = [member for member in members if isinstance(member, dict)]
    more = _MORE.search(answer.headers.get("Warning", "")) is not None
    return Rows(rows, more, len(members) - len(rows))


def _members(answer: Answer) -> list[Any]:
    text = answer.body.removeprefix(codecs.BOM_UTF8).strip()
    if not text:
        return []
    members = json_of(answer)
    if not isinstance(members, list):
        raise BadAnswer("not a list of objects")
    return members


def json_of(answer: Answer) -> Any:
    """The JSON value of an answer. Raises BadAnswer where there is none."""
    kind = media_type(answer)
    if kind == "text/html":
        raise BadAnswer(not_json(kind))
    text = answer.body.removeprefix(codecs.BOM_UTF8).rstrip()
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer(_json_fault(exc, kind)) from None


def _json_fault(fault: orjson.JSONDecodeError, kind: str) -> str:
    if fault.doc and fault.pos >= len(fault.doc):
        return "JSON breaks off"
    if "json" in kind:
        return "JSON that cannot be read"
    return not_json(kind)


def _askable(uid: str) -> str:
    if not _UID.fullmatch(uid):
        raise BadAnswer("a UID that cannot be asked for")
    return uid


def _tag(name: str) -> str:
    """The tag of a keyword; what is no keyword of ours is taken as it is."""
    element = ELEMENTS.get(name)
    return name if element is None else f"{element.tag:08X}"
