"""Bundles round stored documents (FHIR R4 Bundle; search, "managing returned resources"; http, "history").

The documents themselves stay opaque here: an entry's resource is whatever the caller's JSON writer takes,
so that stored bytes are put in as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from pacsbridge.kernel.cursors import Cursor
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.outcomes import Code, Severity, ignored, issue, outcome
from pacsbridge.kernel.query import Query
from pacsbridge.kernel.query_parsing import CURSOR, SearchSettings

Entry = tuple[str, str, Any]
"""Type and id of a resource, and its JSON in the form that the caller's writer takes."""


class PastEntry(NamedTuple):
    """One version: without a resource where it was deleted; `updated` is an instant."""

    type: str
    id: str
    resource: Any
    version: int
    updated: str


class Ends(NamedTuple):
    """Where a page can be gone on from, forwards and backwards."""

    next: Cursor | None
    previous: Cursor | None = None


def searchset(
    query: Query,
    matches: Sequence[Entry],
    included: Sequence[Entry],
    settings: SearchSettings,
    ends: Ends,
    total: int | None,
    notes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The answer to a search: matches, what goes with them, and issues: what was ignored, and `notes`."""
    base = settings.base_url
    entries = [*_found(matches, "match", base), *_found(included, "include", base)]
    issues = [*ignored(query.ignored), *notes]
    if issues:
        entries.append({"resource": outcome(*issues), "search": {"mode": "outcome"}})
    return _bundle("searchset", total, _links(query, query.type, settings, ends), entries)


CUT = issue(
    Severity.WARNING,
    Code.INCOMPLETE,
    "there are more resources to include than go with one page: ask for fewer matches, or search for them",
)


def unasked(fault: str) -> dict[str, Any]:
    """The issue of a search that would have asked an archive."""
    return issue(Severity.WARNING, Code.INCOMPLETE, fault)


def history(
    past: Past,
    versions: Sequence[PastEntry],
    settings: SearchSettings,
    following: Cursor | None,
    total: int | None,
) -> dict[str, Any]:
    """The answer to a history, the newest version first; the requests are those that would have made them."""
    path = "/".join([*filter(None, (past.type, past.id)), "_history"])
    entries = [_version(entry, settings.base_url) for entry in versions]
    return _bundle("history", total, _links(past, path, settings, Ends(following)), entries)


def batch_response(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer to a batch."""
    return {"resourceType": "Bundle", "type": "batch-response", "entry": list(entries)}


def response(
    status: str, version: int | None = None, updated: str | None = None, fault: Any = None
) -> dict[str, Any]:
    """`Bundle.entry.response`: status line, version and its moment, what went wrong."""
    parts = {
        "status": status,
        "etag": None if version is None else f'W/"{version}"',
        "lastModified": updated,
        "outcome": fault,
    }
    return {name: value for name, value in parts.items() if value is not None}


def _bundle(
    type_: str, total: int | None, links: Sequence[Mapping[str, str]], entries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": type_}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = links
    return bundle | ({"entry": entries} if entries else {})


def _found(entries: Iterable[Entry], mode: str, base_url: str) -> list[dict[str, Any]]:
    search = {"mode": mode}
    return [
        {"fullUrl": f"{base_url}/{type_}/{id_}", "resource": resource, "search": search}
        for type_, id_, resource in entries
    ]


def _version(entry: PastEntry, base_url: str) -> dict[str, Any]:
    name = f"{entry.type}/{entry.id}"
    full = {"fullUrl": f"{base_url}/{name}"}
    if entry.resource is None:
        request, status = {"method": "DELETE", "url": name}, "204 No Content"
    else:
        full["resource"] = entry.resource
        status = "201 Created" if entry.version == 1 else "200 OK"
        request = {"method": "PUT", "url": name}
    return {**full, "request": request, "response": response(status, entry.version, entry.updated)}


def _links(asked: Query | Past, path: str, settings: SearchSettings, ends: Ends) -> Sequence[dict[str, str]]:
    """`self` says what was understood; each link goes on from where its page begins."""
    known = {"self": asked.after, "next": ends.next, "previous": ends.previous}
    urls = {
        relation: _url(asked, path, settings, cursor)
        for relation, cursor in known.items()
        if cursor is not None or relation == "self"
    }
    if asked.after is not None:
        urls["first"] = _url(asked, path, settings, None)
    return [{"relation": relation, "url": url} for relation, url in urls.items()]


def _url(asked: Query | Past, path: str, settings: SearchSettings, cursor: Cursor | None) -> str:
    parameters = _encoded(asked.understood)
    if cursor is not None:
        place = _encoded(((CURSOR, cursor.encode(settings.secret, asked.scope)),))
        parameters = f"{parameters}&{place}" if parameters else place
    return f"{settings.base_url}/{path}" + (f"?{parameters}" if parameters else "")


@lru_cache(maxsize=256)
def _encoded(parameters: tuple[tuple[str, str], ...]) -> str:
    return urlencode(parameters, quote_via=quote, safe=",:/$")
