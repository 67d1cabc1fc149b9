"""A server on loopback over a real store, filled by publishing; faults can be put in its way."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from pacsbridge.errors import PacsbridgeError
from pacsbridge.fhir import FhirSettings, fhir_app
from pacsbridge.kernel.histories import Past
from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.query import Query
from pacsbridge.store.records import Arrival, Document, Draft, Page, Version, Versions, microseconds
from pacsbridge.store.sql import PATIENT, Patience
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns

BASE = "http://fhir.example/fhir"
START = datetime(2026, 3, 1, 12, 0, 0, 123000, tzinfo=UTC)


def hold(store: Store, study: Mapping[str, Any], now: int) -> int | None:
    """Index the instances of a study, as an archive of its own would have sent them; the study's row."""
    arrivals = [
        Arrival(
            Facts(
                {"key": "k"},
                {"uid": study["id"]},
                {"uid": series["uid"]},
                {"uid": instance["uid"], "sop_class": instance["sopClass"]["code"].removeprefix("urn:oid:")},
            ),
            "urn:dicom:ae:CT1",
            now,
            "1.2.840.10008.1.2.1",
            "0:0",
            1,
            sha256(instance["uid"].encode()).digest(),
        )
        for series in study.get("series", ())
        for instance in series.get("instance", ())
    ]
    store.put(arrivals, {}, now)
    rows = {due.uid: due.pk for due in store.due(now + 10**9, 1000)}
    return rows.get(study["id"])


class ObservedStore(Store):
    """A store that can be made to fail, and counts the documents that it was asked for."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.failure: BaseException | None = None
        self.bodies_fetched = 0
        self.away = False
        self._minutes = 0
        self.migrate()

    @property
    def embedded(self) -> bool:
        """As it is, unless it is to look like a server elsewhere."""
        return super().embedded and not self.away

    def add(self, resource: Mapping[str, Any] | None, type_: str = "", id_: str = "") -> Document:
        """Publish a resource, or delete one by its type and id; each a minute after the one before."""
        type_, id_ = (resource["resourceType"], resource["id"]) if resource else (type_, id_)
        now = microseconds(START + timedelta(minutes=self._minutes))
        self._minutes += 1
        held = hold(self, resource, now) if resource and type_ == "ImagingStudy" else None
        self.publish([Draft(type_, id_, None if resource is None else dict(resource), held)], now)
        return self.current(type_, id_)

    def current(self, type_: str, id_: str) -> Document:
        """The current version as it is stored."""
        found = Store.document(self, type_, id_)
        assert found is not None
        return found

    def version(self, type_: str, id_: str) -> Version | None:
        """As Store.version."""
        self._fail()
        return super().version(type_, id_)

    def document(self, type_: str, id_: str, number: int | None = None) -> Document | None:
        """As Store.document."""
        self._fail()
        self.bodies_fetched += 1
        return super().document(type_, id_, number)

    def summary(self, type_: str, id_: str) -> Document | None:
        """As Store.summary."""
        self._fail()
        return super().summary(type_, id_)

    def search(self, query: Query, patience: Patience = PATIENT) -> Page:
        """As Store.search."""
        self._fail()
        return super().search(query, patience)

    def history(self, past: Past, patience: Patience = PATIENT) -> Versions:
        """As Store.history."""
        self._fail()
        return super().history(past, patience)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class Server:
    """The FHIR application under /fhir on a port of its own, and a client for it.

    `asking` asks archives for what a search does not find, `gate` knows callers by their tokens, `audit` is
    who hears of events, and the log. Links lead to `BASE`, unless `port` is given: then they lead to itself.
    """

    def __init__(
        self,
        store: Store,
        port: int = 0,
        asking: Any = None,
        gate: Any = None,
        audit: tuple[Any, Any] = (None, None),
        turn_seconds: float = 1.0,
        **settings: Any,
    ) -> None:
        self.store = store
        self._audit = audit
        self._gate = gate
        self._asking = asking
        self.port = port
        self.base = f"http://127.0.0.1:{port}/fhir" if port else BASE
        self._executor = ThreadPoolExecutor(2)
        self._turns = Turns(self._executor, turn_seconds)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._listen(FhirSettings(self.base, software_version="1.2", **settings)))
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
        more = (self._asking, self._gate, *self._audit)
        app.add_subapp("/fhir", fhir_app(self.store, settings, self._turns, *more))
        self._runner = web.AppRunner(app, auto_decompress=False)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
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


@pytest.fixture(scope="session", name="study")
def study_fixture() -> Callable[..., dict[str, Any]]:
    """Makes ImagingStudy resources."""
    return study


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObservedStore]:
    """Three studies of two patients, a patient, an endpoint; one study has been deleted."""
    store = ObservedStore("sqlite", tmp_path)
    store.add(
        {
            "resourceType": "Endpoint",
            "id": "e1",
            "status": "active",
            "connectionType": {"code": "dicom-wado-rs"},
            "name": "main",
            "payloadType": [{"text": "DICOM"}],
            "address": "http://pacs.example/dicom-web",
        }
    )
    store.add({"resourceType": "Patient", "id": "p1", "gender": "female", "name": [{"family": "Ünal"}]})
    store.add(study("1.2.1"))
    store.add(study("1.2.2", subject={"reference": "Patient/p2"}))
    store.add(study("1.2.9"))
    store.add(study("1.2.3", series=[{"uid": "1.2.3.1", "modality": {"system": "urn:dcm", "code": "MR"}}]))
    store.add(None, "ImagingStudy", "1.2.9")
    store.add(study("1.2.1", description="corrected"))
    yield store
    store.close()


@pytest.fixture
def serve(store: ObservedStore) -> Iterator[Callable[..., Server]]:
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
def failing(store: ObservedStore) -> Callable[[PacsbridgeError | BaseException], None]:
    """Makes every later call of the store fail."""

    def fail(error: BaseException) -> None:
        store.failure = error

    return fail
