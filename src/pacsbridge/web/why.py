"""The page of the question why: what is known of a UID, accession or patient ID, as `pacsbridge why` tells.

A UID may stand in the URL, so that the answer can be shared; everything else comes by a form, as it may be a
patient's.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from pacsbridge.access.sessions import name_of
from pacsbridge.bridge.explaining import NOTHING, Fact, Section, sections
from pacsbridge.errors import NotUnderstood
from pacsbridge.store.findings import MOMENTS
from pacsbridge.web.auditing import QUERY
from pacsbridge.web.forms import of_form, of_url, value
from pacsbridge.web.kept import NAME
from pacsbridge.web.living import operations
from pacsbridge.web.operations import Operations
from pacsbridge.web.routes import OPERATORS, Route
from pacsbridge.web.service import SERVICE
from pacsbridge.web.showing import page, see_other
from pacsbridge.web.wording import moment, uid

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_LONGEST = 64 * 4
"""Characters: PatientID and accessions have 64 at most (PS3.5 6.2, LO), with room for bad ones."""


class Told(NamedTuple):
    """One fact; `link` leads to more where there is a page about it."""

    name: str
    text: str
    link: str | None


async def asked(request: web.Request) -> web.Response:
    """The box alone, or with the answer about a UID, or about what a form asked for."""
    pairs = of_url(request)
    name = value(pairs, NAME)
    if name:
        kept = request.app[SERVICE].kept.pairs(name_of(request), name)
        return await _answer(request, value(kept, "key"))
    key = value(pairs, "key")
    if key and not _is_uid(key):
        raise NotUnderstood("only a UID may stand in the URL: ask for others by the form", parameter="key")
    return await _answer(request, key)


async def posted(request: web.Request) -> web.Response:
    """To the answer about anything: under its own URL where it is a UID, else kept here."""
    service, _running = operations(request)
    key = value(await of_form(request, service.settings.body_seconds), "key")
    if _is_uid(key):
        return see_other(f"/why?{urlencode({'key': key})}")
    _check_length(key)
    return see_other(f"/why?{urlencode({NAME: service.kept.keep(name_of(request), (('key', key),))})}")


def _is_uid(key: str) -> bool:
    return len(key) <= 64 and _UID.fullmatch(key) is not None


def _check_length(key: str) -> None:
    if len(key) > _LONGEST:
        raise NotUnderstood(f"a key has at most {_LONGEST} characters", parameter="key")


async def _answer(request: web.Request, key: str) -> web.Response:
    service, running = operations(request)
    found: Sequence[Section] = ()
    if key:
        request[QUERY] = urlencode({"identifier": key})
        found = sections(await service.call(lambda: service.store.why(key)))
    nothing = NOTHING if key and not found else ""
    shown = [(one, _records(one, running)) for one in found]
    return page(request, "why.html", key=key, sections=shown, nothing=nothing)


def _records(section: Section, running: Operations) -> Sequence[Sequence[Told]]:
    """The records of a section, with links."""
    return [[_told(section.kind, fact, running) for fact in record] for record in section.records]


def _told(kind: str, fact: Fact, running: Operations) -> Told:
    link = _LINKS.get((kind, fact.name)) or _LINKS.get(("", fact.name))
    return Told(_label(fact.name), _text(fact, running), link(str(fact.value)) if link else None)


def _label(name: str) -> str:
    """A fact's name as people write it."""
    words = " ".join(_ABBREVIATIONS.get(word, word) for word in name.split("_"))
    return words[:1].upper() + words[1:]


_ABBREVIATIONS = {"uid": "UID", "sop": "SOP"}


def _text(fact: Fact, running: Operations) -> str:
    """A value as people read it: sources by their names."""
    if fact.name in MOMENTS:
        return moment(fact.value)
    if fact.name == "source":
        return running.name_of(str(fact.value))
    if fact.name == "sources":
        return ", ".join(running.name_of(uri) for uri in json.loads(fact.value))
    if isinstance(fact.value, bool):
        return "yes" if fact.value else "no"
    return uid(str(fact.value)) if _is_uid(str(fact.value)) else str(fact.value)


def _study(uid: str) -> str:
    return f"/studies/{uid}"


def _letters_of(source: str) -> str:
    return f"/dead-letters?{urlencode({'source': source})}"


def _kind_of_letters(kind: str) -> str:
    return f"/dead-letters?{urlencode({'kind': kind})}"


def _sources(_uri: str) -> str:
    return "/sources"


_LINKS: Mapping[tuple[str, str], Callable[[str], str]] = {
    ("studies", "uid"): _study,
    ("", "study"): _study,
    ("", "study_uid"): _study,
    ("dead_letters", "kind"): _kind_of_letters,
    ("dead_letters", "source"): _letters_of,
    ("reports", "source"): _sources,
    ("instances", "source"): _sources,
}
"""Kind of record (any where it is empty) and name of the fact → the page that knows more of its value."""


ROUTES = (
    Route("GET", "/why", asked, OPERATORS),
    Route("POST", "/why", posted, OPERATORS),
)
