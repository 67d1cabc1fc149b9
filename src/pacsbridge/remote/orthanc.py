"""Orthanc's own REST API beside its DICOMweb root: which studies have changed, without asking for all.

Of its log the entries about studies matter. `NewStudy` comes with the first instance; what is added to a
study later only shows below it (`NewSeries`, `NewInstance`), and then, when nothing has come for a while
(its configured `StableAge`, 60 s), as `StableStudy`. Entries of a deleted study vanish with it, and a stop of
Orthanc swallows a `StableStudy` that was due: both are for a comparison of everything, from time to time.
"""

from typing import Any, NamedTuple
from urllib.parse import quote

from pacsbridge.errors import BadAnswer, PacsbridgeError
from pacsbridge.remote.client import JSON, Client
from pacsbridge.remote.qido import json_of


class Changes(NamedTuple):
    """Part of the log: ids of studies with an entry, the number to go on from, whether that was all."""

    studies: frozenset[str]
    last: int
    done: bool


def detect(client: Client, url: str, path: str = "/dicom-web") -> str | None:
    """The root of the Orthanc whose DICOMweb base is `url`; None where there is none, or none to be seen."""
    base = url.rstrip("/")
    if not base.endswith(path):
        return None
    root = base.removesuffix(path)
    try:
        system = json_of(client.get(f"{root}/system", accept=JSON))
    except PacsbridgeError:
        return None
    return root if isinstance(system, dict) and {"ApiVersion", "DatabaseVersion"} <= set(system) else None


class OrthancChanges:
    """The log of one Orthanc. All methods raise Unavailable, BadAnswer and Declined."""

    def __init__(self, client: Client, root: str) -> None:
        self._client = client
        self._root = root.rstrip("/")

    def last(self) -> int:
        """The number of the latest entry. When it is below one that was seen, the log is another one."""
        return _number(self._object("/changes", (("last", ""),)), "Last")

    def since(self, number: int, limit: int = 1000) -> Changes:
        """The entries behind a number, so many at most; go on from `last` until it is `done`."""
        log = self._object("/changes", (("since", str(number)), ("limit", str(limit))))
        last = _number(log, "Last")
        entries = log.get("Changes")
        if not isinstance(entries, list):
            raise BadAnswer("not Orthanc's log of changes")
        studies = frozenset(filter(None, map(_study, entries)))
        # A log that does not move on is at its end, whatever it says.
        return Changes(studies, max(last, number), log.get("Done") is not False or last <= number)

    def study_uid(self, orthanc_id: str) -> str | None:
        """The Study Instance UID of a study; None when Orthanc has it no more."""
        url = f"{self._root}/studies/{quote(orthanc_id, safe='')}"
        answer = self._client.get(url, accept=JSON, allowed=(404,))
        if answer.status == 404:
            return None
        study = json_of(answer)
        tags = study.get("MainDicomTags") if isinstance(study, dict) else None
        uid = tags.get("StudyInstanceUID") if isinstance(tags, dict) else None
        return uid if isinstance(uid, str) and uid else None

    def count(self) -> int:
        """How many studies Orthanc has."""
        return _number(self._object("/statistics"), "CountStudies")

    def _object(self, path: str, params: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
        value = json_of(self._client.get(self._root + path, params, accept=JSON))
        if not isinstance(value, dict):
            raise BadAnswer("not a JSON object")
        return value


def _study(entry: Any) -> str | None:
    """The study that an entry of the log is about."""
    if not isinstance(entry, dict) or entry.get("ResourceType") != "Study":
        return None
    name = entry.get("ID")
    return name if isinstance(name, str) else None


def _number(value: dict[str, Any], name: str) -> int:
    number = value.get(name)
    if not isinstance(number, int) or isinstance(number, bool):
        raise BadAnswer(f"no number {name}")
    return number
