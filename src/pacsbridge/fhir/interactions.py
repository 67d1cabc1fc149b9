"""What can be asked of the FHIR API, a function each; a batch asks as HTTP does (FHIR R4 http)."""

from collections.abc import Iterable, Mapping, Sequence

import orjson

from pacsbridge.access.confining import check_read, confined, confined_past, shown, shown_versions
from pacsbridge.errors import Absent, Gone, NotSupported, NotUnderstood, TooCostly
from pacsbridge.fhir.service import Answer, Asked, Asking, Service
from pacsbridge.kernel import bundles, search_results
from pacsbridge.kernel.bundles import Ends, Entry, PastEntry
from pacsbridge.kernel.elements import needs_whole, part
from pacsbridge.kernel.histories import parse_past
from pacsbridge.kernel.query import Form, Query
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.kernel.search_parameters import PARAMETERS
from pacsbridge.store.publishing import instant
from pacsbridge.store.records import Document, Found, Page, Version
from pacsbridge.store.sql import Patience
from pacsbridge.turns import Turn

HURRIED_COUNT = 100
"""Entries of a page that is still small."""

_QUERY_BYTES = 2_000
"""What a search that was read takes beside its parameters, about."""

_ROW_NUMBERS = 2**31


def read(service: Service, asked: Asked, _turn: Turn) -> Answer:
    """The current version; 304 is settled before its body is fetched."""
    type_, id_ = asked.type or "", asked.id or ""
    store = service.documents(type_)
    if asked.access is not None:
        check_read(store, asked.access, type_, id_)
    if asked.tags is not None or asked.since is not None:
        known = _there(store.version(type_, id_))
        if asked.holds(known):
            return Answer(304, b"", known.version, known.published)
    form, elements = _form(asked)
    found = store.document if needs_whole(type_, form, elements) else store.summary
    return _document(service, found(type_, id_), form, elements, lasting=store is service.store)


def vread(service: Service, asked: Asked, _turn: Turn) -> Answer:
    """One version."""
    number = asked.version or 0
    if not 0 < number < _ROW_NUMBERS:
        raise Absent("no such version")
    store = service.documents(asked.type or "")
    if asked.access is not None:
        check_read(store, asked.access, asked.type or "", asked.id or "", number)
    form, elements = _form(asked)
    found = store.document(asked.type or "", asked.id or "", number)
    return _document(service, found, form, elements, lasting=store is service.store)


def search(service: Service, asked: Asked, turn: Turn) -> Answer:
    """One page of the resources of a type that match."""
    query, settings = _understood(service, asked)
    small = query.count <= HURRIED_COUNT and not (query.counted or query.only_counts)
    store = service.documents(query.type)
    page = store.search(query, _patience(turn, small=small))
    unasked: Sequence[str] = ()
    if service.asking is not None and not page.entries and store is service.store:
        if turn.hurried:
            raise TooCostly("archives are asked by a thread of its own")
        turn.leave()  # what follows waits for others
        page, unasked = _elsewhere(service, service.asking, query, page)
    page = shown(page, asked.access)
    matches = _entries(service, page.entries, query.form, query.elements)
    included = _entries(service, page.included)
    ends = Ends(page.next, page.previous)
    total = _total(page, first=query.after is None)
    notes = [*(bundles.CUT for _cut in range(page.cut)), *map(bundles.unasked, unasked)]
    bundle = bundles.searchset(query, matches, included, settings, ends, total, notes)
    lasting = store is service.store and (service.asking is None or bool(page.entries))
    return Answer(200, orjson.dumps(bundle), lasting=lasting)


def _understood(service: Service, asked: Asked) -> tuple[Query, SearchSettings]:
    """What a search asks for, as far as its caller may have it; read once, as it is mostly asked again."""
    known = service.queries.get(asked)
    if known is None:
        settings = service.settings.search(asked.access)
        query = parse(asked.type or "", asked.pairs, settings, strict=asked.strict)
        known = confined(query, asked.access, settings), settings
        service.queries.put(asked, known, _QUERY_BYTES + 10 * asked.length)
    return known


def _elsewhere(service: Service, asking: Asking, query: Query, page: Page) -> tuple[Page, Sequence[str]]:
    """The page once archives have been asked, and what could not be asked."""
    unasked = asking(query)
    return (page, ()) if unasked is None else (service.store.search(query), unasked)


def history(service: Service, asked: Asked, turn: Turn) -> Answer:
    """One page of versions, of a resource, of a type or of everything."""
    if asked.type not in (None, *PARAMETERS):
        raise NotSupported("what is never changed has no history")
    settings = service.settings.search(asked.access)
    past = parse_past(asked.type, asked.id, asked.pairs, settings, strict=asked.strict)
    past = confined_past(past, asked.access, settings)
    if asked.access is not None and asked.id is not None:
        check_read(service.store, asked.access, asked.type or "", asked.id)
    page = service.store.history(past, _patience(turn, small=0 < past.count <= HURRIED_COUNT))
    if past.type is not None and past.id is not None and not page.entries:
        _there(service.store.version(past.type, past.id), deleted=True)
    page = shown_versions(page, past, asked.access)
    versions = [_past(found) for found in page.entries]
    bundle = bundles.history(past, versions, settings, page.next, page.total)
    return Answer(200, orjson.dumps(bundle))


def _patience(turn: Turn, *, small: bool) -> Patience:
    """How long a page may take: while others wait for the loop it must be small, and found soon."""
    if turn.hurried and not small:
        raise TooCostly("this takes a thread of its own")
    return turn.patience


def capabilities(service: Service, _asked: Asked, _turn: Turn) -> Answer:
    """The CapabilityStatement."""
    return Answer(200, service.statement)


def description(service: Service, _asked: Asked, _turn: Turn) -> Answer:
    """The OpenAPI description."""
    return Answer(200, service.description)


def _there(found: Version | None, *, deleted: bool = False) -> Version:
    if found is None:
        raise Absent("there is no such resource")
    if found.deleted and not deleted:
        raise Gone("the resource has been deleted")
    return found


def _document(
    service: Service, found: Document | None, form: Form, elements: frozenset[str], *, lasting: bool = True
) -> Answer:
    if found is None:
        raise Absent("there is no such resource or version")
    if found.deleted or found.body is None:
        raise Gone("the resource has been deleted")
    whole = form is Form.WHOLE and not elements
    body = found.body if whole else _part(service, found.body, form, elements)
    return Answer(200, body, found.version, found.published, lasting)


def _entries(
    service: Service,
    found: Iterable[Found],
    form: Form = Form.WHOLE,
    elements: frozenset[str] = frozenset(),
) -> Sequence[Entry]:
    """Documents, or summaries where the form can be had from them, as entries of a search."""
    ready = form in (Form.WHOLE, Form.SUMMARY) and not elements
    if ready:
        return [(type_, id_, orjson.Fragment(body)) for type_, id_, body in found]
    return [(type_, id_, orjson.Fragment(_part(service, body, form, elements))) for type_, id_, body in found]


def _part(service: Service, body: bytes, form: Form, elements: frozenset[str]) -> bytes:
    """What is wanted of a document; made once, as the same is mostly asked of it."""
    name = body, form, elements
    made = service.parts.get(name)
    if made is None:
        made = orjson.dumps(part(orjson.loads(body), form, elements))
        service.parts.put(name, made, len(body) + len(made))
    return made


def _past(found: Document) -> PastEntry:
    resource = None if found.body is None else orjson.Fragment(found.body)
    return PastEntry(found.type, found.id, resource, found.version, instant(found.updated))


def _total(page: Page, *, first: bool) -> int | None:
    """A search that fits its first page has been counted for nothing."""
    if page.total is None and first and page.next is None:
        return len(page.entries)
    return page.total


def _form(asked: Asked) -> tuple[Form, frozenset[str]]:
    """How much of one resource is wanted; other parameters say nothing to a read."""
    form, elements = _WHOLE
    for name, text in asked.pairs:
        try:
            if name == "_summary":
                form = _form_of_one(text)
            elif name == "_elements":
                elements = search_results.elements(asked.type or "", text)
        except NotUnderstood as exc:
            raise NotUnderstood(str(exc), parameter=name) from exc
    return form, elements


_WHOLE = (Form.WHOLE, frozenset[str]())


def _form_of_one(text: str) -> Form:
    form = search_results.form(text)
    if form is Form.COUNT:
        raise NotUnderstood("a summary that counts is for searches")
    return form


SHAPES: Mapping[str, str] = {
    "_summary": "true, text, data or false: how much of the resource is returned",
    "_elements": "names of elements at the root, separated by commas: only those are returned",
}
"""The parameters of a read."""
