"""A server on loopback over a store in memory, which answers queries by walking the JSON.

The store shares nothing with the search parameter table: its own paths, its own reading of dates. What the
two agree on has been worked out twice.
"""

import asyncio
import threading
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson
import pytest
import requests
from aiohttp import web

from pacsbridge.errors import PacsbridgeError
from pacsbridge.fhir import FhirSettings, fhir_app
from pacsbridge.kernel.query import (
    Clause,
    DateValue,
    Kind,
    MissingValue,
    Query,
    ReferenceValue,
    StringValue,
    TokenValue,
)
from pacsbridge.store.records import Document, Page, Version
from pacsbridge.store.store import Store

BASE = "http://fhir.example/fhir"
START = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)

PATHS = {
    "subject": ["subject"],
    "basedon": ["basedOn"],
    "identifier": ["identifier"],
    "modality": ["series", "modality"],
    "bodysite": ["series", "bodySite"],
    "series": ["series", "uid"],
    "instance": ["series", "instance", "uid"],
    "dicom-class": ["series", "instance", "sopClass"],
    "status": ["status"],
    "started": ["started"],
    "_source": ["meta", "source"],
    "name": ["name"],
}


def walk(node: Any, path: list[str]) -> list[Any]:
    """All elements at a path."""
    if isinstance(node, list):
        return [found for item in node for found in walk(item, path)]
    if not path:
        return [node]
    return walk(node[path[0]], path[1:]) if path[0] in node else []


def has_token(element: Any, value: TokenValue) -> bool:
    """Whether a code, Coding or Identifier is the token."""
    plain = element if isinstance(element, dict) else {"code": element}
    code = plain.get("code", plain.get("value"))
    return value.value in (None, code) and value.system in (None, plain.get("system", ""))


def refers(element: Mapping[str, Any], value: ReferenceValue) -> bool:
    """Whether a Reference is to the target."""
    reference = element.get("reference", "")
    if value.type is None:
        return reference == value.target or reference.endswith(f"/{value.target}")
    return bool(reference == f"{value.type}/{value.target}")


def begins(element: Any, value: StringValue) -> bool:
    """Whether a text, or a text inside of a HumanName, begins so, case and accents aside."""
    if isinstance(element, str):
        plain = unicodedata.normalize("NFD", element.lower()).encode("ascii", "ignore").decode()
        return plain.startswith(value.text)
    parts = element.values() if isinstance(element, dict) else element
    return any(begins(part, value) for part in parts)


def within(low: datetime, high: datetime, value: DateValue) -> bool:
    """R4's prefixes, as its table words them, over instants."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first, end = ((moment - epoch) // timedelta(microseconds=1) for moment in (low, high))
    inside = value.low <= first and end <= value.high
    return {
        "eq": inside,
        "ne": not inside,
        "gt": end > value.high,
        "lt": first < value.low,
        "ge": end > value.high or inside,
        "le": first < value.low or inside,
        "sa": first >= value.high,
        "eb": end <= value.low,
        "ap": end > value.low and first < value.high,
    }[value.prefix]


def lasts(text: str, value: DateValue) -> bool:
    """Whether a date or dateTime stands to the value; a wall clock for a value without a zone."""
    moment = datetime.fromisoformat(text + {4: "-01-01", 7: "-01"}.get(len(text), ""))
    moment = moment.replace(tzinfo=UTC) if value.local or moment.tzinfo is None else moment
    ends = {
        4: (moment + timedelta(days=366)).replace(month=1, day=1),
        7: (moment + timedelta(days=31)).replace(day=1),
        10: moment + timedelta(days=1),
    }
    return within(moment, ends.get(len(text), moment + timedelta(seconds=1)), value)


def one(clause: Clause, document: Document, resource: Mapping[str, Any], value: Any) -> bool:
    """Whether one value of a clause matches."""
    param, _, part = clause.param.partition(":")
    if clause.kind is Kind.ID:
        return bool(document.id == value.value)
    if clause.kind is Kind.UPDATED:
        return within(document.updated, document.updated + timedelta(milliseconds=1), value)
    elements = walk(resource, PATHS[param])
    if isinstance(value, MissingValue):
        said = [
            e for e in elements if clause.kind is not Kind.REFERENCE or {"reference", "identifier"} & {*e}
        ]
        return value.missing != bool(said)
    if part == "identifier":
        elements = [element["identifier"] for element in elements if "identifier" in element]
    tests: dict[Kind, Callable[[Any, Any], bool]] = {
        Kind.REFERENCE: refers,
        Kind.STRING: begins,
        Kind.DATE: lasts,
    }
    test = tests.get(clause.kind, has_token)
    return any(test(element, value) for element in elements)


def matches(clause: Clause, document: Document) -> bool:
    """Whether a document satisfies a clause."""
    resource = orjson.loads(document.body or b"{}")
    found = any(one(clause, document, resource, value) for value in clause.values)
    return not found if clause.modifier == "not" else found


@dataclass
class MemoryStore:
    """The part of the store's contract that the FHIR API needs."""

    embedded: bool = True
    documents: list[Document] = field(default_factory=list)
    failure: BaseException | None = None
    bodies_fetched: int = 0

    def add(self, resource: Mapping[str, Any] | None, type_: str = "", id_: str = "") -> Document:
        """Publish a resource, or delete one by its type and id."""
        type_, id_ = (resource["resourceType"], resource["id"]) if resource else (type_, id_)
        number = len([d for d in self.documents if (d.type, d.id) == (type_, id_)]) + 1
        updated = START + timedelta(minutes=len(self.documents))
        body = orjson.dumps(resource) if resource else None
        self.documents.append(Document(type_, id_, number, updated, resource is None, body))
        return self.documents[-1]

    def current(self) -> dict[tuple[str, str], Document]:
        """The latest version of each resource, in the order of their first versions."""
        return {(d.type, d.id): d for d in self.documents}

    def version(self, type_: str, id_: str) -> Version | None:
        """As Store.version."""
        self._fail()
        found = self.current().get((type_, id_))
        return found and Version(found.version, found.updated, found.deleted)

    def document(self, type_: str, id_: str, number: int | None = None) -> Document | None:
        """As Store.document; counts how many bodies were fetched."""
        self._fail()
        self.bodies_fetched += 1
        known = [d for d in self.documents if (d.type, d.id) == (type_, id_)]
        return next((d for d in reversed(known) if number in (None, d.version)), None)

    def search(self, query: Query) -> Page:
        """As Store.search: newest first by row number."""
        self._fail()
        rows = [*enumerate(self.current().values(), 1)][::-1]
        after = query.after.values[0] if query.after else len(rows) + 1
        found = [
            (row, document)
            for row, document in rows
            if document.type == query.type
            and not document.deleted
            and all(matches(clause, document) for clause in query.clauses)
        ]
        total = len(found) if query.total == "accurate" or query.count == 0 else None
        page = [(row, document) for row, document in found if row < after]
        more = len(page) > query.count > 0
        page = page[: query.count]
        return Page([document for _row, document in page], page[-1][0] if more else None, total)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Server:
    """The FHIR application under /fhir on a port of its own, and a client for it."""

    def __init__(self, store: MemoryStore, **settings: Any) -> None:
        self.store = store
        self._executor = ThreadPoolExecutor(2)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen(FhirSettings(BASE, software_version="1.2", **settings)))
        self.session = requests.Session()

    def close(self) -> None:
        """Stop listening."""
        self.session.close()
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._executor.shutdown()

    def __call__(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        """One request to a path below /fhir."""
        return self.session.request(method, f"http://127.0.0.1:{self.port}/fhir{path}", timeout=10, **options)

    async def _listen(self, settings: FhirSettings) -> None:
        app = web.Application()
        app.add_subapp("/fhir", fhir_app(cast(Store, self.store), settings, self._executor))
        self._runner = web.AppRunner(app, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


def study(uid: str, **more: Any) -> dict[str, Any]:
    """An ImagingStudy as it is published, with one series of one instance."""
    return {
        "resourceType": "ImagingStudy",
        "id": uid,
        "meta": {"source": "urn:dicom:ae:CT1"},
        "identifier": [
            {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{uid}"},
            {"system": "urn:acc", "value": f"A-{uid}"},
        ],
        "status": "available",
        "subject": {"reference": "Patient/p1", "identifier": {"system": "urn:pat", "value": "1"}},
        "series": [
            {
                "uid": f"{uid}.1",
                "modality": {"system": "urn:dcm", "code": "CT"},
                "instance": [{"uid": f"{uid}.1.1", "sopClass": {"system": "urn:x", "code": "urn:oid:1.9"}}],
            }
        ],
        **more,
    }


@pytest.fixture(scope="session", name="memory_store")
def memory_store_fixture() -> Callable[[], MemoryStore]:
    """Makes empty stores in memory."""
    return MemoryStore


@pytest.fixture(scope="session", name="study")
def study_fixture() -> Callable[..., dict[str, Any]]:
    """Makes ImagingStudy resources."""
    return study


@pytest.fixture
def store() -> MemoryStore:
    """Three studies of two patients, a patient, an endpoint; one study has been deleted."""
    store = MemoryStore()
    store.add({"resourceType": "Endpoint", "id": "e1", "status": "active", "name": "main"})
    store.add({"resourceType": "Patient", "id": "p1", "gender": "female", "name": [{"family": "Ünal"}]})
    store.add(study("1.2.1"))
    store.add(study("1.2.2", subject={"reference": "Patient/p2"}))
    store.add(study("1.2.9"))
    store.add(study("1.2.3", series=[{"uid": "1.2.3.1", "modality": {"system": "urn:dcm", "code": "MR"}}]))
    store.add(None, "ImagingStudy", "1.2.9")
    store.add(study("1.2.1", description="corrected"))
    return store


@pytest.fixture
def serve(store: MemoryStore) -> Iterator[Callable[..., Server]]:
    """Starts servers over `store` and ends them."""
    started: list[Server] = []

    def start(**settings: Any) -> Server:
        started.append(Server(store, **settings))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def fhir(serve: Callable[..., Server]) -> Server:
    """A server with the default settings."""
    return serve()


@pytest.fixture
def failing(store: MemoryStore) -> Callable[[PacsbridgeError | BaseException], None]:
    """Makes every later call of the store fail."""

    def fail(error: BaseException) -> None:
        store.failure = error

    return fail
