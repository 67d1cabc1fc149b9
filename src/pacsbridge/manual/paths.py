"""Tables of what is served where, and the scope that each takes where callers have to show a token."""

import re
from collections.abc import Callable, Iterator, Mapping

from pacsbridge.access.rights import OPERATOR
from pacsbridge.access.scopes import supported
from pacsbridge.dicomweb.app import PICTURES, READS
from pacsbridge.dicomweb.confining import LISTS
from pacsbridge.fhir.routes import ROUTES, Route
from pacsbridge.manual.tables import code, codes, sentence, table
from pacsbridge.web.app import ROUTES as ROUTES_OF_PAGES
from pacsbridge.web.routes import Route as PageRoute

_READING = frozenset({"read", "vread", "history-instance"})
_HEAD = ("Method and path", "What", "Scope")

PAGES: Mapping[str, str] = {
    "/": "Studies: find them by patient, accession number, UID, date, modality, source",
    "/studies/{uid}": "One study: what FHIR says in plain words, where it came from, what could not be used",
    "/studies/{uid}/series/{series}": "The instances of one series",
    "/studies/{uid}/history": "Its versions, and what changed from one to the next",
    "/resources/{type}/{id}": "The JSON of a resource",
    "/sources": "What arrives, how each archive stands, who pushes",
    "/dead-letters": "What could not be taken or sent on; to try it again or to give it up",
    "/dead-letters/all": "The same for all of a kind",
    "/why": "What is known under a UID, an accession number or a patient ID",
    "/docs": "This manual, and a search through it (`q`)",
    "/docs/{page}": "One page of it",
    "/login": "To sign in, where callers have to",
    "/login/start": "To the server where people sign in",
    "/login/done": "And back from there",
}
"""Page → what is on it; one that is not here is told in the words of the code."""

ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "/health/live": ("200 while the process runs", "none"),
    "/health/ready": (
        "200 when every part works, else 503; which part, and why",
        "none; the parts: operator",
    ),
    "/metrics": ("[Metrics](operations.md#metrics) as Prometheus text", "operator"),
}
"""Path outside the two services → what is there, and what it takes."""


def _fhir() -> str:
    return table(_HEAD, [*map(_route, ROUTES), *_without_route()])


def _route(route: Route) -> tuple[str, ...]:
    return code(f"{route.method} /fhir{route.path}"), route.summary, _scope(route)


def _scope(route: Route) -> str:
    if "{type}" in route.path:
        return code("….r" if route.code in _READING else "….s")
    return "`.s` of every type" if route.code == "history-system" else "none"


def _without_route() -> Iterator[tuple[str, ...]]:
    yield code("POST /fhir"), "A batch: reads and searches in one request", "that of each entry"
    yield (
        code("GET /fhir/.well-known/smart-configuration"),
        "Where tokens come from, and the scopes; with `[auth]` only",
        "none",
    )


def _dicomweb() -> str:
    rows = [*_reads(), *_pictures(), *_writes()]
    return table(_HEAD, rows)


def _reads() -> Iterator[tuple[str, ...]]:
    for path in READS:
        last = path.rpartition("/")[2]
        searched = last in LISTS
        scope = code("ImagingStudy.s" if searched else "ImagingStudy.r")
        yield _path(path), "QIDO-RS: search" if searched else _READ.get(last, "WADO-RS: instances"), scope


_READ = {
    "metadata": "WADO-RS: metadata",
    "{frames}": "WADO-RS: frames, `1` or `1,2,5`",
    "{path:.+}": "WADO-RS: bulk data, as metadata name it",
}


def _path(path: str) -> str:
    return code(f"GET /dicomweb{path.replace(':.+', '')}")


def _pictures() -> Iterator[tuple[str, ...]]:
    for path in PICTURES:
        what = "one small picture" if path.endswith("thumbnail") else "pictures"
        yield _path(path), f"WADO-RS: {what}; with `dicomweb.render` only, else 501", code("ImagingStudy.r")


def _writes() -> Iterator[tuple[str, ...]]:
    for path in ("/studies", "/studies/{study}"):
        yield code(f"POST /dicomweb{path}"), "STOW-RS: store instances", "`ImagingStudy.c`, not `patient/`"


def _pages() -> str:
    shown = (route for route in ROUTES_OF_PAGES if route.method == "GET" and "{digest}" not in route.path)
    return table(_HEAD, map(_page, shown))


def _page(route: PageRoute) -> tuple[str, ...]:
    path = _PATTERN.sub(r"{\1}", route.path)
    return code(f"GET {path}"), PAGES.get(path, sentence(route.handler.__doc__)), _right(route)


_PATTERN = re.compile(r"\{([a-z]+):[^/]*\}(?=/|$)")
"""A name in a path, with what it may be."""


def _right(route: PageRoute) -> str:
    if route.everybody:
        return "none"
    if OPERATOR in route.rights:
        return "operator"
    return (
        ", ".join(code(f"{right.type}.{right.letter}") for right in route.rights)
        or "as for reading it by FHIR"
    )


def _elsewhere() -> str:
    return table(_HEAD, ((code(f"GET {path}"), *row) for path, row in ELSEWHERE.items()))


BLOCKS: Mapping[str, Callable[[], str]] = {
    "paths-fhir": _fhir,
    "paths-dicomweb": _dicomweb,
    "paths-pages": _pages,
    "paths-elsewhere": _elsewhere,
    "scopes": lambda: codes(supported()),
}
"""Placeholder → Markdown."""
