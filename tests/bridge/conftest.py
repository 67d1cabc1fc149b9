"""A bridge without listeners: real packs, a real store of either engine, a clock that is driven."""

import json
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.remote import hostile

from pacsbridge.bridge.archive_records import FIELDS
from pacsbridge.bridge.intake import Incoming, Intake
from pacsbridge.bridge.publish import Publisher
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.kernel.publication import EndpointSpec, Publication
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import Store

CT = "1.2.840.10008.5.1.4.1.1.2"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
EXPLICIT = "1.2.840.10008.1.2.1"
SECOND = 1_000_000
STUDY = "2.999.1"

_ELEMENTS = {
    "SpecificCharacterSet": (0x00080005, b"CS"),
    "SOPClassUID": (0x00080016, b"UI"),
    "SOPInstanceUID": (0x00080018, b"UI"),
    "StudyDate": (0x00080020, b"DA"),
    "StudyTime": (0x00080030, b"TM"),
    "AccessionNumber": (0x00080050, b"SH"),
    "Modality": (0x00080060, b"CS"),
    "StudyDescription": (0x00081030, b"LO"),
    "SeriesDescription": (0x0008103E, b"LO"),
    "PatientName": (0x00100010, b"PN"),
    "PatientID": (0x00100020, b"LO"),
    "PatientBirthDate": (0x00100030, b"DA"),
    "PatientSex": (0x00100040, b"CS"),
    "BodyPartExamined": (0x00180015, b"CS"),
    "StudyInstanceUID": (0x0020000D, b"UI"),
    "SeriesInstanceUID": (0x0020000E, b"UI"),
    "SeriesNumber": (0x00200011, b"IS"),
    "InstanceNumber": (0x00200013, b"IS"),
}


def encoded(values: Mapping[str, str]) -> bytes:
    """A data set in explicit VR little endian; `PixelData` is taken as it is."""
    named = sorted((_ELEMENTS[name], text) for name, text in values.items() if name in _ELEMENTS)
    parts = [_element(tag, vr, text.encode()) for (tag, vr), text in named]
    return b"".join(parts) + values.get("raw", "").encode("latin-1")


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b"" if len(value) % 2 == 0 else (b"\0" if vr == b"UI" else b" ")
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def instance(number: int, study: str = STUDY, series: int = 1, **values: str) -> dict[str, str]:
    """The elements of one CT image; keywords override, empty values leave out."""
    elements = {
        "SOPClassUID": CT,
        "SOPInstanceUID": f"{study}.{series}.{number}",
        "StudyInstanceUID": study,
        "SeriesInstanceUID": f"{study}.{series}",
        "Modality": "CT",
        "InstanceNumber": str(number),
        "PatientID": "P1",
        "PatientName": "Canary^Patient",
        **values,
    }
    return {name: value for name, value in elements.items() if value}


def _sequence(tag: int, *items: bytes) -> bytes:
    body = b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(body)) + body


def expiry_note(number: int, *rejected: dict[str, str], study: str = STUDY) -> bytes:
    """A Key Object Selection that says "Data Retention Policy Expired" (113039, DCM) of other instances."""
    title = _element(0x00080100, b"SH", b"113039") + _element(0x00080102, b"SH", b"DCM")
    title += _element(0x00080104, b"LO", b"Data Retention Policy Expired")
    sops = [
        _element(0x00081150, b"UI", CT.encode()) + _element(0x00081155, b"UI", one["SOPInstanceUID"].encode())
        for one in rejected
    ]
    series = _sequence(0x00081199, *sops)
    series += _element(0x0020000E, b"UI", rejected[0]["SeriesInstanceUID"].encode())
    evidence = _sequence(0x00081115, series) + _element(0x0020000D, b"UI", study.encode())
    head = encoded(instance(number, study, 9, SOPClassUID=KEY_OBJECTS, Modality="KO"))
    return head + _sequence(0x0040A043, title) + _sequence(0x0040A375, evidence)


class Clock:
    """Microseconds since 1970, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += int(seconds * SECOND)


PUBLICATION = Publication(
    base_url="http://127.0.0.1/fhir",
    id_key=b"test",
    default_endpoints=(EndpointSpec("http://127.0.0.1/dicomweb", name="test"),),
)


class World:
    """One data directory with its database; processes come and go."""

    def __init__(self, folder: Path, url: str = "sqlite", **store_options: Any) -> None:
        self.folder = folder
        self.clock = Clock()
        self.store = Store(url, folder, **store_options)
        self.store.migrate()
        self.source = Source("urn:dicom:ae:CT1", "CT1")
        self.intakes: list[Intake] = []
        self.publisher = Publisher(self.store, PUBLICATION, self.clock)

    @property
    def intake(self) -> Intake:
        """The one that was made last."""
        return self.intakes[-1]

    def make_intake(self, **options: Any) -> Intake:
        """One that is not started; it indexes at once instead of letting batches gather."""
        intake = Intake(
            self.store, self.folder, lambda uri: Source(uri, uri), self.clock, min_free_bytes=0, **options
        )
        intake.indexer._linger = 0
        self.intakes.append(intake)
        return intake

    def start(self, **options: Any) -> "World":
        """A process begins."""
        self.make_intake().start(**options)
        return self

    def kill(self) -> None:
        """The process is gone: what waits for the index is lost with it."""
        intake = self.intakes.pop()
        intake.packs.close()
        intake.indexer._waiting.clear()
        intake.stop()

    def adopt(self, content: Mapping[str, str] | bytes, **claims: Any) -> Any:
        """Take one instance in as from a C-STORE."""
        data = content if isinstance(content, bytes) else encoded(content)
        return self.intake.adopt(Incoming(data, EXPLICIT, self.source, **claims))

    def index(self) -> None:
        """Wait until the index is level with the packs."""
        assert self.intake.indexer.drain(20)

    def pack_bytes(self) -> int:
        """Length of all packs together."""
        return sum(size for _name, size in self.intake.packs.packs())

    def held(self, study: str = STUDY) -> list[str]:
        """SOP Instance UIDs of the instances that are indexed."""
        return sorted(one.sop_uid for one in self.store.held(study))

    def letters(self, kind: str) -> list[DeadLetter]:
        """The dead letters of a kind."""
        return [letter for letter in self.store.dead_letters() if letter.kind == kind]

    def published(self, id_: str = STUDY, type_: str = "ImagingStudy") -> dict[str, Any]:
        """The current version of a resource."""
        document = self.store.document(type_, id_)
        assert document is not None
        assert document.body is not None
        content: dict[str, Any] = json.loads(document.body)
        return content

    def version(self, id_: str = STUDY) -> int:
        """The number of the study's current version; 0 when there is none."""
        found = self.store.version("ImagingStudy", id_)
        return found.version if found is not None else 0

    def close(self) -> None:
        """Stop what still runs."""
        for intake in self.intakes:
            intake.stop()
        self.publisher.stop()
        self.store.close()


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes worlds, closed at the end."""
    worlds: list[World] = []

    def make(url: str = "sqlite", **options: Any) -> World:
        folder = tmp_path / f"world{len(worlds)}"
        folder.mkdir()
        worlds.append(World(folder, url, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A running bridge on SQLite."""
    return make_world().start()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, make_world: Callable[..., World]) -> World:
    """A running bridge on each engine."""
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("empty_postgresql")
    return make_world(url).start()


@pytest.fixture
def dicom() -> Any:
    """What tests make instances with."""
    return _Dicom


class _Dicom:
    """Instances as elements and as bytes."""

    instance = staticmethod(instance)
    encoded = staticmethod(encoded)
    expiry_note = staticmethod(expiry_note)
    head = staticmethod(part10_head)
    CT, STUDY, EXPLICIT = CT, STUDY, EXPLICIT


@pytest.fixture(scope="session")
def world_type() -> type[World]:
    """For tests that share a world between examples."""
    return World


@pytest.fixture
def pacs() -> Iterator[hostile.HostileArchive]:
    """An archive that holds nothing and does no harm yet."""
    with hostile.running() as archive:
        yield archive


@pytest.fixture
def asked(pacs: hostile.HostileArchive) -> Iterator[Archive]:
    """What asks that archive, without any patience."""
    archive = Archive(ArchiveSettings("main", pacs.url, tries=1), FIELDS, sleep=lambda _seconds: None)
    yield archive
    archive.close()
