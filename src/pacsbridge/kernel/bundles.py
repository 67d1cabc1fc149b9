"""Searchset bundles round stored documents (FHIR R4 Bundle; search, "managing returned resources").

The documents themselves stay opaque here: an entry's resource is whatever the caller's JSON writer takes,
so that stored bytes are put in as they are.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from pacsbridge.kernel.outcomes import ignored
from pacsbridge.kernel.query import Cursor, Query
from pacsbridge.kernel.query_parsing import CURSOR


class Match(NamedTuple):
    """One resource that matches: its JSON in the form that the caller's writer takes."""

    type: str
    id: str
    resource: Any


def searchset(
    query: Query, matches: Sequence[Match], base_url: str, following: Cursor | None, total: int | None
) -> dict[str, Any]:
    """The answer to a search: matches first, then what was ignored; `following` is the next page's cursor."""
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = list(_links(query, base_url, following))
    entries = [_entry(match, base_url) for match in matches]
    if query.ignored:
        entries.append({"resource": ignored(query.ignored), "search": {"mode": "outcome"}})
    return bundle | ({"entry": entries} if entries else {})


def _entry(match: Match, base_url: str) -> dict[str, Any]:
    return {
        "fullUrl": f"{base_url}/{match.type}/{match.id}",
        "resource": match.resource,
        "search": {"mode": "match"},
    }


def _links(query: Query, base_url: str, following: Cursor | None) -> Sequence[dict[str, str]]:
    """`self` says what was understood; both links go on from where their page begins."""
    links = [{"relation": "self", "url": _url(query, base_url, query.after)}]
    if following is not None:
        links.append({"relation": "next", "url": _url(query, base_url, following)})
    return links


def _url(query: Query, base_url: str, cursor: Cursor | None) -> str:
    pairs = [*query.understood, *([(CURSOR, cursor.encode())] if cursor else [])]
    parameters = urlencode(pairs, quote_via=quote, safe=",:/$")
    return f"{base_url}/{query.type}" + (f"?{parameters}" if parameters else "")
