"""The FHIR API beside a bare aiohttp handler that answers with the same bytes, in one run on one machine.

    python tests/benchmarks/fhir_api.py

A store of each size is filled with synthetic studies of 10 instances and served as `pacsbridge serve` serves
it, in a process of its own, on loopback. For each request, wrk loads the bare handler and ours in turn; the
table gives medians of requests a second, and as ratio what a request costs over what the bare handler costs
(1: nothing): first with answers kept as the server keeps them until anything is committed, then `anew`, each
found as if something had been. What is not there yet shows a dash and the status. After the last size: how
much slower each request is in the largest store than in the smallest. Ends with 1 when an answer was not what
was asked for.

    --studies N …     sizes of the stores      --seconds S       of one load by wrk
    --connections N   of wrk                   --rounds N        of bare and ours, in turn
    --only TEXT       requests whose name has it
    --folder DIR      keeps the stores there, for a next run: a store of 100,000 studies takes its minutes.
                      They are built anew when this code would fill a store otherwise.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import random
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from http.client import HTTPConnection
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from aiohttp import web

from pacsbridge import logs
from pacsbridge.fhir import FhirSettings, fhir_app
from pacsbridge.fhir.service import SERVICE
from pacsbridge.httpd import HttpServer
from pacsbridge.kernel.model import Facts
from pacsbridge.store.records import Arrival, Draft, microseconds
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns

Resource = dict[str, Any]

HOST = "127.0.0.1"
PAGE = 50
"""Entries of a page where nobody asks for more or fewer."""

GROUP = 200
"""Studies that are published together."""

THREADS = 8
"""As in the runtime."""

PATIENCE = 120.0
"""Seconds until one answer is given up."""

LARGE = 5000
"""Instances of the large study."""

MARK = "built.txt"
"""The file that says that a store is whole, and by what it was filled."""


# the synthetic studies

BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=5 * 365)
PATIENT_SYSTEM = "urn:oid:2.999.1"
ACCESSION_SYSTEM = "urn:oid:2.999.2"
ENCOUNTER_SYSTEM = "urn:oid:2.999.3"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
SNOMED = "http://snomed.info/sct"
V2_TYPES = "http://terminology.hl7.org/CodeSystem/v2-0203"
ENDPOINT_ID = "7b5aa8ba5bfa4dff0c477008c63f9d76"
STORAGE = "1.2.840.10008.5.1.4.1.1"

MODALITIES: Mapping[str, tuple[int, str, str, str]] = {
    "CT": (30, "Computed Tomography", f"{STORAGE}.2", "CT Image Storage"),
    "MR": (25, "Magnetic Resonance", f"{STORAGE}.4", "MR Image Storage"),
    "CR": (25, "Computed Radiography", f"{STORAGE}.1", "Computed Radiography Image Storage"),
    "US": (15, "Ultrasound", f"{STORAGE}.6.1", "Ultrasound Image Storage"),
    "PT": (5, "Positron emission tomography", f"{STORAGE}.128", "Positron Emission Tomography Image Storage"),
}
"""Code → its share in percent, its meaning, SOP class and the class's name."""

SITES = (
    ("51185008", "Thorax"),
    ("69536005", "Head"),
    ("818981001", "Abdomen"),
    ("72696002", "Knee"),
    ("122494005", "Cervical spine"),
    ("122496007", "Lumbar spine"),
    ("85562004", "Hand"),
    ("12921003", "Pelvis"),
)
REASONS = (("49727002", "Cough"), ("22253000", "Pain"), ("125605004", "Fracture of bone"))
HEADS = "Al Ber Cor Dan Er Fal Gun Hol Im Jor Kel Lin Mar Nor Os Pel Rud Stein Tor Wal".split()
TAILS = "bach berg born brink dahl dorf eck feld gard hagen hoff lund mann mark see stad sen thal wig".split()
GIVEN = (
    "Anna Ben Clara David Elif Finn Greta Hugo Ida Jonas Käthe Leo Mia Noah Olga Paul Rosa Sven Uwe".split()
)


def _random(kind: int, number: int) -> random.Random:
    """The same choices for the same thing in every run."""
    return random.Random(number * 8 + kind)


def _uid(rng: random.Random) -> str:
    return f"2.25.{rng.getrandbits(126) | 1 << 126}"


def _typed(code: str, display: str, system: str, value: str) -> Resource:
    return {
        "type": {"coding": [{"system": V2_TYPES, "code": code, "display": display}]},
        "system": system,
        "value": value,
    }


def _present(resource: Resource) -> Resource:
    return {name: value for name, value in resource.items() if value}


def endpoint() -> Resource:
    """The one Endpoint, to which every study refers."""
    return {
        "resourceType": "Endpoint",
        "id": ENDPOINT_ID,
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "dicom-wado-rs",
            "display": "DICOM WADO-RS",
        },
        "name": "pacsbridge",
        "payloadType": [{"text": "DICOM"}],
        "payloadMimeType": ["application/dicom", "application/dicom+json"],
        "address": "http://127.0.0.1:8080/dicomweb",
    }


def patient(number: int) -> Resource:
    """A patient by number."""
    rng = _random(1, number)
    born = datetime(1935, 1, 1, tzinfo=UTC) + timedelta(days=rng.randrange(80 * 365))
    return {
        "resourceType": "Patient",
        "id": sha256(b"patient %d" % number).hexdigest()[:32],
        "identifier": [_typed("MR", "Medical record number", PATIENT_SYSTEM, f"P{number:07}")],
        "name": [{"family": rng.choice(HEADS) + rng.choice(TAILS), "given": [rng.choice(GIVEN)]}],
        "gender": rng.choice(("female", "male")),
        "birthDate": f"{born:%Y-%m-%d}",
    }


@dataclass(frozen=True)
class Corpus:
    """So many studies, in the order of their arrival; each can be made by itself."""

    studies: int

    def moment(self, number: int) -> datetime:
        """When a study begins: one after the other, evenly."""
        return BEGIN + SPAN * number / self.studies

    def patient_of(self, number: int) -> int:
        """Whose study it is: one patient for two studies on the average."""
        return _random(2, number).randrange(max(1, self.studies // 2))

    def study(self, number: int, instances: int = 5) -> Resource:
        """A study of two series."""
        rng = _random(3, number)
        uid, whose = _uid(rng), patient(self.patient_of(number))
        started = self._started(rng, number)
        modality = rng.choices([*MODALITIES], [share for share, *_ in MODALITIES.values()])[0]
        modalities = [modality, "CT" if modality == "PT" else modality]
        accession = _typed("ACSN", "Accession ID", ACCESSION_SYSTEM, f"A{number:08}")
        known = rng.random() < 0.8
        own = {"use": "official", "system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}
        site = rng.choice(SITES)
        reason = rng.choice(REASONS)
        return _present(
            {
                "resourceType": "ImagingStudy",
                "id": uid,
                "meta": {"source": f"urn:dicom:ae:{modality}{rng.randrange(1, 4)}"},
                "identifier": [own, accession] if known else [own],
                "status": rng.choices(("available", "unknown", "entered-in-error"), (994, 5, 1))[0],
                "modality": [
                    {"system": DCM, "code": code, "display": MODALITIES[code][1]}
                    for code in sorted(set(modalities))
                ],
                "subject": _subject(whose),
                "encounter": _encounter(number) if rng.random() < 0.4 else None,
                "started": started,
                "basedOn": [{"type": "ServiceRequest", "identifier": accession}] if known else None,
                "referrer": _referrer(rng) if rng.random() < 0.7 else None,
                "endpoint": [{"reference": f"Endpoint/{ENDPOINT_ID}", "type": "Endpoint"}],
                "numberOfSeries": 2,
                "numberOfInstances": 2 * instances,
                "location": {"type": "Location", "display": "Beispielklinik"},
                "reasonCode": [_reason(*reason)] if rng.random() < 0.5 else None,
                "description": f"{modality} {site[1]}",
                "series": [
                    _series(rng, order, code, site, started, instances)
                    for order, code in enumerate(modalities, 1)
                ],
            }
        )

    def _started(self, rng: random.Random, number: int) -> str | None:
        moment = self.moment(number)
        kind = rng.random()
        if kind < 0.01:
            return None
        if kind < 0.06:
            return f"{moment:%Y-%m-%d}"
        hours = 2 if 4 <= moment.month <= 10 else 1
        return moment.astimezone(timezone(timedelta(hours=hours))).isoformat(timespec="seconds")


def _subject(whose: Resource) -> Resource:
    name = whose["name"][0]
    return {
        "reference": f"Patient/{whose['id']}",
        "type": "Patient",
        "identifier": whose["identifier"][0],
        "display": f"{name['given'][0]} {name['family']}",
    }


def _encounter(number: int) -> Resource:
    return {"type": "Encounter", "identifier": _typed("VN", "Visit number", ENCOUNTER_SYSTEM, f"V{number}")}


def _referrer(rng: random.Random) -> Resource:
    return {
        "type": "Practitioner",
        "display": f"Dr. {rng.choice(GIVEN)} {rng.choice(HEADS)}{rng.choice(TAILS)}",
    }


def _reason(code: str, display: str) -> Resource:
    return {"coding": [{"system": SNOMED, "code": code, "display": display}], "text": display}


def _series(
    rng: random.Random, order: int, code: str, site: tuple[str, str], started: str | None, instances: int
) -> Resource:
    _share, meaning, sop_class, sop_name = MODALITIES[code]
    return _present(
        {
            "uid": _uid(rng),
            "number": order,
            "modality": {"system": DCM, "code": code, "display": meaning},
            "description": f"{site[1]} {order}",
            "numberOfInstances": instances,
            "bodySite": {"system": SNOMED, "code": site[0], "display": site[1]},
            "started": started,
            "instance": [
                {
                    "uid": _uid(rng),
                    "sopClass": {
                        "system": "urn:ietf:rfc:3986",
                        "code": f"urn:oid:{sop_class}",
                        "display": sop_name,
                    },
                    "number": number,
                    "title": "ORIGINAL\\PRIMARY\\AXIAL",
                }
                for number in range(1, instances + 1)
            ],
        }
    )


# the stores


def open_store(folder: Path) -> Store:
    """The one place that knows how a store is made."""
    return Store("sqlite", folder)


def _arrivals(study: Resource, now: int) -> Iterator[Arrival]:
    """The instances of a study as the index takes them, with the facts that it cannot do without."""
    who = {"key": study["subject"]["identifier"]["value"]}
    for series in study["series"]:
        for instance in series["instance"]:
            uid = instance["uid"]
            made = {"uid": uid, "sop_class": instance["sopClass"]["code"][8:], "number": instance["number"]}
            facts = Facts(who, {"uid": study["id"]}, {"uid": series["uid"]}, made)
            digest = sha256(uid.encode()).digest()
            yield Arrival(facts, "", now, "1.2.840.10008.1.2.1", f"0:{len(uid)}", 526_000, digest)


def publish(store: Store, studies: Sequence[Resource], others: Iterable[Resource], now: int) -> None:
    """Index the instances of some studies, and publish them with other resources, in two transactions."""
    store.put([arrival for study in studies for arrival in _arrivals(study, now)], {}, now)
    due = store.due(now + 10**9, len(studies))
    rows = {study.uid: study.pk for study in due}
    drafts = [Draft(one["resourceType"], one["id"], one) for one in others]
    drafts += [Draft("ImagingStudy", study["id"], study, rows[study["id"]]) for study in studies]
    store.publish(drafts, now, due)


def fill(folder: Path, corpus: Corpus, *, progress: bool = True) -> None:
    """A new store with all studies of a corpus and their patients."""
    begun = told = time.monotonic()
    met: set[int] = set()
    with closing(open_store(folder)) as store:
        store.migrate()
        store.publish([Draft("Endpoint", ENDPOINT_ID, endpoint())], microseconds(BEGIN))
        for first in range(0, corpus.studies, GROUP):
            numbers = range(first, min(first + GROUP, corpus.studies))
            new = {corpus.patient_of(number) for number in numbers} - met
            met |= new
            studies = [corpus.study(number) for number in numbers]
            publish(store, studies, map(patient, sorted(new)), microseconds(corpus.moment(numbers.stop)))
            if progress and time.monotonic() - told > 5:
                told = time.monotonic()
                print(f"  {numbers.stop:,} studies after {told - begun:.0f} s", flush=True)
    if progress:
        print(f"  {corpus.studies:,} studies built in {time.monotonic() - begun:.0f} s", flush=True)


def fill_large(folder: Path) -> None:
    """A new store with one study of many instances."""
    with closing(open_store(folder)) as store:
        store.migrate()
        publish(store, [large_study()], [endpoint()], microseconds(BEGIN))


def large_study() -> Resource:
    """Two series of many instances."""
    return Corpus(1).study(0, LARGE // 2)


def fingerprint() -> str:
    """What a small store looks like inside: where that has changed, stores of before say nothing."""
    with tempfile.TemporaryDirectory() as name:
        fill(Path(name), Corpus(20), progress=False)
        with closing(sqlite3.connect(Path(name) / "index.sqlite")) as database:
            lines = sorted(database.iterdump())
    return sha256("\n".join(lines).encode()).hexdigest()


def ready(root: Path, studies: int, mark: str) -> Path:
    """The folder of a store of that size, built unless it is there."""
    folder = root / f"studies-{studies}"
    with suppress(FileNotFoundError):
        if (folder / MARK).read_text() == mark:
            print(f"  {studies:,} studies are there already", flush=True)
            return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fill(folder, Corpus(studies))
    (folder / MARK).write_text(mark)
    return folder


# the servers


def serve_ours(control: Connection, folder: Path, port: int, log: Path | None, keeping: bool = True) -> None:
    """A child process: the application as the runtime makes it, until the other end of `control` closes.

    Without `keeping`, every answer is found anew, as if the store had changed since the one before.
    """
    _leave_signals()
    stream = open(log or os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (closed with the process)
    logs.configure("info", "console", stream)
    executor = ThreadPoolExecutor(THREADS, "http")
    store = open_store(folder)
    settings = FhirSettings(f"http://{HOST}:{port}/fhir", access_log=log is not None)
    app = fhir_app(store, settings, Turns(executor))
    if not keeping:
        app[SERVICE].recent.get = lambda *_arguments: None  # type: ignore[method-assign]
    server = HttpServer(HOST, port, {"/fhir": app}, {})
    server.start()
    control.send(server.port)
    with suppress(EOFError):
        control.recv()
    os._exit(0)


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    content_type: str
    body: bytes


def serve_bare(control: Connection) -> None:
    """A child process: one handler, which gives the answer that came last by `control`."""
    _leave_signals()
    asyncio.run(_serve_bare(control))


async def _serve_bare(control: Connection) -> None:
    given = [Answer(200, "text/plain", b"")]
    done = asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        answer = given[0]
        if answer.status == 304:
            return web.Response(status=304)
        headers = {"Content-Type": answer.content_type}
        return web.Response(body=answer.body, status=answer.status, headers=headers)

    def take() -> None:
        try:
            given[0] = control.recv()
            control.send(True)
        except (EOFError, OSError):
            done.set()

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=512).start()
    control.send(runner.addresses[0][1])
    asyncio.get_running_loop().add_reader(control.fileno(), take)
    await done.wait()


def _leave_signals() -> None:
    """An interrupt is the parent's, which then closes `control`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@dataclass
class Child:
    """A server in a process of its own."""

    control: Connection
    process: multiprocessing.process.BaseProcess
    port: int = 0

    def word(self) -> Any:
        """What the child says next."""
        if not self.control.poll(PATIENCE):
            raise TimeoutError("a server does not answer")
        try:
            return self.control.recv()
        except EOFError as exc:
            raise RuntimeError("a server has ended") from exc

    def give(self, answer: Answer) -> None:
        """What the bare server is to say from now on."""
        self.control.send(answer)
        self.word()


@contextmanager
def child(target: Any, *arguments: Any) -> Iterator[Child]:
    """Starts a server and ends it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(there, *arguments), daemon=True)
    process.start()
    there.close()
    try:
        found = Child(here, process)
        found.port = found.word()
        yield found
    finally:
        here.close()
        for end in (process.terminate, process.kill):
            end()
            process.join(5)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@dataclass(frozen=True)
class Servers:
    """All of one store."""

    bare: Child
    ours: Child
    anew: Child
    logged: Child


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """The bare handler, and the application over a store: as it is, finding all anew, with its access log."""
    with (
        tempfile.TemporaryDirectory() as name,
        child(serve_bare) as bare,
        child(serve_ours, folder, free_port(), None) as ours,
        child(serve_ours, folder, free_port(), None, False) as anew,
        child(serve_ours, folder, free_port(), Path(name) / "log") as logged,
    ):
        yield Servers(bare, ours, anew, logged)


# the requests


@dataclass(frozen=True)
class Request:
    """One row of the table.

    `hits` is how many results are due: PAGE (fewer only where there is no next page), 1, or 0 for what is no
    search. `has` must stand in the answer. `page` is reached by following the links.
    """

    title: str
    path: str
    hits: int = PAGE
    status: int = 200
    header: tuple[str, str] | None = None
    has: bytes = b""
    page: int = 1
    logged: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """As they are sent."""
        return dict([self.header]) if self.header else {}


def _target(corpus: Corpus) -> Resource:
    """A study in the middle that has what can be searched for."""
    studies = map(corpus.study, range(corpus.studies // 2, corpus.studies))
    return next(one for one in studies if len(one["identifier"]) > 1 and "started" in one)


def _reads(study_id: str) -> Iterator[Request]:
    path = f"/fhir/ImagingStudy/{study_id}"
    yield Request("read", path, 0)
    yield Request("read, access log on", path, 0, logged=True)
    yield Request("read, 304 by If-None-Match", path, 0, 304, ("If-None-Match", 'W/"1"'))
    yield Request("vread", f"{path}/_history/1", 0)


def _asked(title: str, *pairs: tuple[str, str], type_: str = "ImagingStudy", **more: Any) -> Request:
    query = f"?{urlencode(pairs)}" if pairs else ""
    return Request(title, f"/fhir/{type_}{query}", **more)


def _by_identity(study: Resource) -> Iterator[Request]:
    """What finds one study, or the few of one patient."""
    accession, whose = study["identifier"][1]["value"], study["subject"]
    number = f"{PATIENT_SYSTEM}|{whose['identifier']['value']}"
    series = study["series"][0]
    yield _asked("patient=…", ("patient", whose["reference"].removeprefix("Patient/")))
    yield _asked("patient.identifier=system|value", ("patient.identifier", number))
    yield _asked("identifier=<accession>", ("identifier", accession), hits=1)
    yield _asked("identifier=system|<accession>", ("identifier", f"{ACCESSION_SYSTEM}|{accession}"), hits=1)
    yield _asked("identifier=urn:oid:<uid>", ("identifier", f"urn:oid:{study['id']}"), hits=1)
    yield _asked("series=<uid>", ("series", series["uid"]), hits=1)
    yield _asked("instance=<uid>", ("instance", series["instance"][0]["uid"]), hits=1)


def _by_kind() -> Iterator[Request]:
    """What finds many."""
    yield _asked("no filter")
    yield _asked("modality=MR", ("modality", "MR"))
    yield _asked("modality=CT,MR", ("modality", "CT,MR"))
    yield _asked("modality:not=CT", ("modality:not", "CT"))
    yield _asked("status=available", ("status", "available"))
    yield _asked("status:not=available", ("status:not", "available"))
    yield _asked("bodysite=<code>", ("bodysite", SITES[0][0]))
    yield _asked("dicom-class=<uid>", ("dicom-class", MODALITIES["MR"][2]))
    yield _asked("endpoint=Endpoint/…", ("endpoint", f"Endpoint/{ENDPOINT_ID}"))
    yield _asked("patient.name=<prefix>", ("patient.name", "ber"))
    yield _asked("encounter:missing=true", ("encounter:missing", "true"))
    yield _asked("started:missing=true", ("started:missing", "true"))


def _by_date() -> Iterator[Request]:
    middle = BEGIN + SPAN / 2
    day = f"{middle:%Y-%m-%d}"
    week = (("started", f"ge{day}"), ("started", f"lt{middle + timedelta(days=7):%Y-%m-%d}"))
    yield _asked("started=ge<middle>", ("started", f"ge{day}"))
    yield _asked("started=lt<early>", ("started", f"lt{BEGIN + SPAN / 20:%Y-%m-%d}"))
    yield _asked("started=<month>", ("started", f"{middle:%Y-%m}"))
    yield _asked("started=ge…&started=lt… (a week)", *week)
    yield _asked("modality=CT&started=ge<middle>", ("modality", "CT"), ("started", f"ge{day}"))
    yield _asked("_lastUpdated=gt<middle>", ("_lastUpdated", f"gt{day}"))


def _shaped() -> Iterator[Request]:
    """Other orders, parts and companions."""
    included = b'"mode":"include"'
    yield _asked("_sort=-started", ("_sort", "-started"))
    yield _asked("_sort=started&modality=MR", ("_sort", "started"), ("modality", "MR"))
    yield _asked("_sort=-_lastUpdated", ("_sort", "-_lastUpdated"))
    yield _asked("_include=ImagingStudy:patient", ("_include", "ImagingStudy:patient"), has=included)
    yield _asked("_summary=true", ("_summary", "true"), has=b"SUBSETTED")
    yield _asked("_elements=identifier,subject", ("_elements", "identifier,subject"), has=b"SUBSETTED")
    yield _asked("third page", page=3)
    yield _asked("ImagingStudy/_history", type_="ImagingStudy/_history")
    yield _asked(
        "Patient?_revinclude=ImagingStudy:patient",
        ("_revinclude", "ImagingStudy:patient"),
        type_="Patient",
        has=included,
    )


def _of_patients(study: Resource, corpus: Corpus) -> Iterator[Request]:
    whose = patient(int(study["subject"]["identifier"]["value"][1:]))
    yield _asked("Patient?name=<prefix>", ("name", "ber"), type_="Patient")
    yield _asked("Patient?birthdate=<day>", ("birthdate", whose["birthDate"]), type_="Patient")


def requests(corpus: Corpus) -> list[Request]:
    """All rows for a store."""
    study = _target(corpus)
    return [
        *_reads(study["id"]),
        *_by_identity(study),
        *_by_kind(),
        *_by_date(),
        *_shaped(),
        *_of_patients(study, corpus),
    ]


def large_requests() -> list[Request]:
    """The rows of the large study, without the log."""
    return [request for request in _reads(large_study()["id"]) if not request.logged and request.hits == 0]


# measuring


NOT_YET = (400, 404, 501)
"""How a server says to a search that it does not know it."""


class Unfit(Exception):
    """A request that cannot be measured: why. `wrong` when the answer is not what was asked for."""

    def __init__(self, why: str, *, wrong: bool = False) -> None:
        super().__init__(why)
        self.wrong = wrong


@dataclass(frozen=True)
class Load:
    """How wrk is run."""

    connections: int
    seconds: int
    rounds: int


@dataclass(frozen=True)
class Rate:
    """What wrk counted."""

    requests: float
    p99: float


@dataclass
class Results:
    """Our requests a second, by request and store, and those found anew; whether any answer was wrong."""

    rates: dict[str, dict[int, float]] = field(default_factory=dict)
    anew: dict[str, dict[int, float]] = field(default_factory=dict)
    wrong: bool = False


def fetch(port: int, path: str, headers: Mapping[str, str]) -> Answer:
    """One answer."""
    with closing(HTTPConnection(HOST, port, timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.headers.get("Content-Type", ""), response.read())


def resolved(request: Request, port: int) -> str:
    """The path of a request, or of the page that it means. Raises Unfit."""
    path = request.path
    for page in range(1, request.page):
        following = _next(_bundle(fetch(port, path, {})))
        if following is None:
            raise Unfit(f"page {page} is the last")
        parts = urlsplit(following)
        path = f"{parts.path}?{parts.query}"
    return path


def _bundle(answer: Answer) -> Resource:
    if answer.status != 200:
        raise Unfit(str(answer.status))
    found: Resource = json.loads(answer.body)
    return found


def _next(bundle: Resource) -> str | None:
    return next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)


def checked(request: Request, path: str, port: int) -> tuple[Answer, int]:
    """Our answer and its results, once they are what was asked for. Raises Unfit.

    Asked strictly: what the server does not know is not passed over.
    """
    answer = fetch(port, path, {"Prefer": "handling=strict", **request.headers})
    if answer.status != request.status:
        raise Unfit(str(answer.status), wrong=request.hits == 0 or answer.status not in NOT_YET)
    if request.has not in answer.body:
        raise Unfit(f"without {request.has.decode()}", wrong=True)
    if not request.hits:
        return answer, 0
    bundle = _bundle(answer)
    modes = [entry.get("search", {}).get("mode", "match") for entry in bundle.get("entry", ())]
    hits = modes.count("match")
    short = request.hits == PAGE and 0 < hits < PAGE and _next(bundle) is None
    if hits != request.hits and not short:
        raise Unfit(f"{hits} results", wrong=True)
    return answer, hits


_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def wrk(port: int, path: str, headers: Mapping[str, str], load: Load) -> Rate:
    """Requests a second, and the 99th percentile in milliseconds. Raises Unfit."""
    command = ["wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds}s", "--timeout", f"{PATIENCE:.0f}s"]
    extra = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        [*command, "--latency", *extra, f"http://{HOST}:{port}{path}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=load.seconds + PATIENCE,
    )
    faults = [line.strip() for line in done.stdout.splitlines() if re.match(r" *(Non-2xx|Socket err)", line)]
    if faults:
        raise Unfit("; ".join(faults), wrong=True)
    rate = re.search(r"Requests/sec: *([0-9.]+)", done.stdout)
    p99 = re.search(r"99% +([0-9.]+)(us|ms|s|m)\b", done.stdout)
    if rate is None or p99 is None or float(rate[1]) == 0:
        raise Unfit(f"no answer within {load.seconds} s")
    return Rate(float(rate[1]), float(p99[1]) * _UNITS[p99[2]])


def measured(request: Request, here: Servers, load: Load) -> tuple[Answer, int, Sequence[Rate]]:
    """The answer, its results, and the medians of bare, ours and ours anew. Raises Unfit."""
    port = (here.logged if request.logged else here.ours).port
    path = resolved(request, port)
    _strictly, hits = checked(request, path, port)
    answer = fetch(port, path, request.headers)
    here.bare.give(answer)
    ports = (here.bare.port, port, here.anew.port)
    rates: list[list[Rate]] = [[] for _port in ports]
    for _round in range(load.rounds):
        for found, where in zip(rates, ports, strict=True):
            found.append(wrk(where, path, request.headers, load))
            fetch(where, path, request.headers)  # behind whatever wrk has left in the executor's queue
    return answer, hits, [_median(found) for found in rates]


def _median(rates: Sequence[Rate]) -> Rate:
    middle = statistics.median
    return Rate(middle(rate.requests for rate in rates), middle(rate.p99 for rate in rates))


def table(rows: Sequence[Request], folder: Path, load: Load, size: int, results: Results) -> None:
    """Measures and prints one row a request."""
    if not rows:
        return
    print(
        f"  {'request':42} {'results':>7} {'bytes':>9} {'bare/s':>8} {'ours/s':>8} {'ratio':>7} {'p99 ms':>8}"
        f" {'anew/s':>8} {'ratio':>7}"
    )
    with servers(folder) as here:
        for request in rows:
            try:
                answer, hits, (bare, ours, anew) = measured(request, here, load)
            except TimeoutError:
                print(f"  {request.title:42} {'—':>7} no answer within {PATIENCE:.0f} s", flush=True)
                continue
            except Unfit as exc:
                results.wrong |= exc.wrong
                print(f"  {request.title:42} {'—':>7} {exc}{'   WRONG' if exc.wrong else ''}", flush=True)
                continue
            results.rates.setdefault(request.title, {})[size] = ours.requests
            results.anew.setdefault(request.title, {})[size] = anew.requests
            print(
                f"  {request.title:42} {hits or '':>7} {len(answer.body):>9,} {bare.requests:>8,.0f}"
                f" {ours.requests:>8,.0f} {bare.requests / ours.requests:>6.2f}× {ours.p99:>8.1f}"
                f" {anew.requests:>8,.0f} {bare.requests / anew.requests:>6.2f}×",
                flush=True,
            )


def slowdowns(results: Results, sizes: Sequence[int]) -> None:
    """How much slower ours is in the largest store than in the smallest."""
    smallest, largest = min(sizes), max(sizes)
    print(
        f"\nours with {largest:,} studies beside {smallest:,}: how many times the time of a request, and anew"
    )
    for title, rates in results.rates.items():
        if smallest in rates and largest in rates:
            anew = results.anew[title]
            slower = [found[smallest] / found[largest] for found in (rates, anew)]
            print(f"  {title:42} {slower[0]:>6.2f}× {slower[1]:>6.2f}×")


# the command line


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--folder", type=Path)
    return parser.parse_args()


def run(asked: argparse.Namespace, root: Path) -> Results:
    """All sizes, then the large study."""
    load = Load(asked.connections, asked.seconds, asked.rounds)
    results = Results()
    mark = fingerprint()
    for studies in asked.studies:
        print(f"\n{studies:,} studies", flush=True)
        folder = ready(root, studies, mark)
        rows = [request for request in requests(Corpus(studies)) if asked.only in request.title]
        table(rows, folder, load, studies, results)
    print(f"\none study of {LARGE:,} instances", flush=True)
    with tempfile.TemporaryDirectory(dir=root) as name:
        fill_large(Path(name))
        rows = [request for request in large_requests() if asked.only in request.title]
        table(rows, Path(name), load, 0, results)
    if len(asked.studies) > 1:
        slowdowns(results, asked.studies)
    return results


def main() -> None:
    """Command line."""
    asked = arguments()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install wrk")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    print(
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, SQLite {sqlite3.sqlite_version},"
        f" {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {asked.connections} connections,"
        f" medians of {asked.rounds} × {asked.seconds} s"
    )
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
        results = run(asked, asked.folder)
    else:
        with tempfile.TemporaryDirectory() as name:
            results = run(asked, Path(name))
    sys.exit(1 if results.wrong else 0)


if __name__ == "__main__":
    main()
