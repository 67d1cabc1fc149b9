"""A batch: several interactions in one request, each answered by itself (FHIR R4 http, "batch")."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import orjson

from pacsbridge.access.rights import Access
from pacsbridge.errors import Absent, NotSupported, NotUnderstood, TooLarge
from pacsbridge.fhir.parameters import decoded
from pacsbridge.fhir.routes import ROUTES, Route
from pacsbridge.fhir.service import Answer, Asked, Service
from pacsbridge.kernel.bundles import batch_response, response
from pacsbridge.store.publishing import instant
from pacsbridge.store.records import moment
from pacsbridge.turns import Turn

Told = Callable[[Exception], tuple[int, Mapping[str, Any]]]
"""The status and the OperationOutcome of what was raised."""

Heard = Callable[[str, Asked, int, Answer | None], object]
"""Hears what each entry came to: the interaction, what was asked, the status, the answer if there is one."""


def batch(
    service: Service,
    turn: Turn,
    body: bytes,
    told: Told,
    access: Access | None = None,
    heard: Heard = lambda *_outcome: None,
    *,
    strict: bool,
) -> Answer:
    """Answer each entry of a Bundle in its order. Raises Refused where the whole cannot be taken.

    `access` is held against every entry by itself.
    """
    entries = _entries(body, service.settings.max_batch)
    turn = replace(turn, leave=lambda: None)  # one entry that waits for others leaves the rest to be done
    common = Asked(strict=strict, access=access)
    answers = [_answer(service, turn, entry, told, heard, common) for entry in entries]
    return Answer(200, orjson.dumps(batch_response(answers)))


def _entries(body: bytes, most: int) -> Sequence[Any]:
    try:
        bundle = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise NotUnderstood("the body is not JSON") from exc
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise NotUnderstood("the body is not a Bundle")
    if bundle.get("type") != "batch":
        raise NotSupported("only Bundles of type batch are taken: this server is for reading")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise NotUnderstood("Bundle.entry is not a list")
    if len(entries) > most:
        raise TooLarge(f"a batch has at most {most} entries")
    return entries


def _answer(
    service: Service, turn: Turn, entry: Any, told: Told, heard: Heard, common: Asked
) -> Mapping[str, Any]:
    """One entry; whatever goes wrong is told in its place."""
    code, asked = "batch", common
    try:
        route, asked = _asked(service, entry, common)
        code = route.code
        answer = route.run(service, asked, turn)
    except Exception as exc:
        status, fault = told(exc)
        heard(code, asked, status, None)
        return {"response": response(_line(status), fault=fault)}
    heard(code, asked, answer.status, answer)
    return _entry(answer)


def _entry(answer: Answer) -> Mapping[str, Any]:
    updated = None if answer.version is None else instant(moment(answer.published))
    told = {"response": response(_line(answer.status), answer.version, updated)}
    return told if not answer.body else {"resource": orjson.Fragment(answer.body), **told}


def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def _asked(service: Service, entry: Any, common: Asked) -> tuple[Route, Asked]:
    request = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(request, dict) or not all(isinstance(request.get(n), str) for n in ("method", "url")):
        raise NotUnderstood("an entry has no request with a method and a url")
    if request["method"] not in ("GET", "HEAD"):
        raise NotSupported("a batch reads and searches: GET")
    path, _, query = request["url"].removeprefix(service.settings.base_url).partition("?")
    route, named = _route("/" + _plain(path).lstrip("/"))
    return route, common._replace(
        type=named.get("type"),
        id=named.get("id"),
        version=int(named["version"]) if "version" in named else None,
        pairs=decoded(query.partition("#")[0]),
        tags=_tags(request.get("ifNoneMatch")),
        since=_since(request.get("ifModifiedSince")),
    )


def _plain(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError as exc:
        raise NotUnderstood("the url is not UTF-8") from exc


def _route(path: str) -> tuple[Route, Mapping[str, str]]:
    for route in ROUTES:
        if route.batch and not route.form and (named := route.matches(path)) is not None:
            return route, named
    raise Absent("nothing is served at this url: see /metadata")


def _tags(text: Any) -> tuple[str, ...] | None:
    """The tags of If-None-Match, `W/"1", "2"`."""
    if not isinstance(text, str):
        return None
    return tuple(tag.strip().removeprefix("W/").strip('"') for tag in text.split(","))


def _since(text: Any) -> datetime | None:
    """An instant of FHIR; what cannot be read is no condition."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
