"""A bridge that holds instances and lets them be retrieved by C-GET and C-MOVE."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, FileDataset, config, dcmread
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association

from pacsbridge.bridge.intake import Incoming, Intake
from pacsbridge.bridge.publish import Publisher
from pacsbridge.bridge.retrieving import Ask, Retrieval
from pacsbridge.bridge.sources import Source
from pacsbridge.dicom.reader import read_header
from pacsbridge.dimse.get import Getter
from pacsbridge.dimse.move import Mover
from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.server import DimseServer
from pacsbridge.dimse.settings import DimseSettings, Limits, Peer
from pacsbridge.kernel.identity import Context
from pacsbridge.kernel.publication import Publication
from pacsbridge.store.store import Store

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
STUDY_GET, PATIENT_GET = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_MOVE, PATIENT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.1.2"
STUDY, SERIES = "1.2.3.1", "1.2.3.1.1"
ENCODED = (
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "MR_small_RLE.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "JPGExtended.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "JPEGLSNearLossless_16.dcm",
)
"""Files of pydicom, one for each of the transfer syntaxes that it has."""

_SOURCE = Source("urn:x", "x", "", Context())


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


def bundled(name: str) -> bytes:
    """A file that pydicom brings along, with UIDs of its own."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    data = dcmread(path)
    data.StudyInstanceUID, data.SeriesInstanceUID = STUDY, SERIES
    data.SOPInstanceUID = f"{SERIES}.{ENCODED.index(name)}"
    stream = BytesIO()
    data.save_as(stream)
    return stream.getvalue()


def bare(part10: bytes) -> tuple[str, str, bytes]:
    """Transfer syntax, SOP Instance UID and data set of a Part 10 file."""
    header = read_header(part10)
    uid = header.attributes.text("SOPInstanceUID")
    return header.transfer_syntax_uid, str(uid), part10[header.dataset_offset :]


def small(number: int, sop_class: str = CT, study: str = STUDY, patient: str = "P1", size: int = 0) -> bytes:
    """A data set in explicit VR little endian, with as many bytes of noise as wished."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = sop_class, f"{study}.1.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.PatientID = study, f"{study}.1", patient
    data.Modality, data.InstanceNumber = "CT", number
    data.EncapsulatedDocument = os.urandom(size + size % 2)
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, data)
    return bytes(stream.getvalue())


class HoldingSite:
    """Store, packs and listener; `kept` is what has been put in: SOP Instance UID → data set."""

    def __init__(
        self,
        folder: Path,
        peers: Sequence[Peer] = (),
        *,
        seconds: float = 5.0,
        limits: Mapping[str, Any] | None = None,
        ask: Ask | None = None,
    ) -> None:
        self.store = Store("sqlite", folder)
        self.store.migrate()
        self.intake = Intake(self.store, folder, lambda uri: Source(uri, uri), now, min_free_bytes=0)
        self.intake.start()
        self.kept: dict[str, bytes] = {}
        self.retrieval = Retrieval(self.store, self.intake.packs, ask)
        mover = Mover(self.retrieval, "PACSBRIDGE", Directory(peers), seconds)
        self.server = DimseServer(
            DimseSettings(port=0, limits=Limits(**(limits or {}))),
            lambda _stored: None,
            self.intake.spool,
            peers,
            operations={"get": Getter(self.retrieval).get, "move": mover.move},
            syntaxes=self.retrieval.syntaxes,
        )
        self.server.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    def stop(self) -> None:
        """Everything, callers first."""
        self.server.stop(5)
        self.intake.stop()
        self.store.close()

    def put(self, *data_sets: bytes, syntax: str = ExplicitVRLittleEndian) -> list[str]:
        """Hold some data sets; their SOP Instance UIDs."""

        def take(data: bytes) -> str:
            uid = str(self.intake.adopt(Incoming(data, syntax, _SOURCE)).facts.instance["uid"])
            self.kept[uid] = data
            return uid

        with ThreadPoolExecutor(16) as pool:
            uids = list(pool.map(take, data_sets))
        assert self.intake.indexer.drain(20)
        return uids

    def put_files(self, *names: str) -> list[FileDataset]:
        """Hold some of pydicom's files; what they say of themselves."""
        for name in names:
            syntax, _uid, data = bare(bundled(name))
            self.put(data, syntax=syntax)
        return [dcmread(BytesIO(bundled(name)), stop_before_pixels=True) for name in names]

    def publish(self) -> None:
        """Let queries by patient find what is held."""
        Publisher(self.store, Publication(), lambda: 1 << 50).publish_all()


def identifier(level: str, **keys: Any) -> Dataset:
    """The identifier of a retrieval, whatever its values are."""
    data = Dataset()
    data.QueryRetrieveLevel = level
    for name, value in keys.items():
        tag = tag_for_keyword(name) or 0
        data.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE))
    return data


def whole_study(**more: Any) -> Dataset:
    """The identifier of the study of `small`."""
    return identifier("STUDY", StudyInstanceUID=STUDY, **more)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Afterwards threads and descriptors are back where they were."""
    before = (threading.active_count(), len(os.listdir("/proc/self/fd")))
    yield
    deadline = time.monotonic() + 20
    while (threading.active_count(), len(os.listdir("/proc/self/fd"))) > before:
        assert time.monotonic() < deadline, [thread.name for thread in threading.enumerate()]
        time.sleep(0.02)


class GetScu:
    """pynetdicom as the requester of C-GET: what it was sent, and what it answers in turn."""

    def __init__(
        self,
        port: int,
        contexts: Sequence[tuple[str, Sequence[str]]],
        *,
        roles: bool = True,
        calling: str = "GETTER",
        models: Sequence[str] = (STUDY_GET, PATIENT_GET),
        answers: Sequence[int] = (),
    ) -> None:
        self.got: dict[str, bytes] = {}
        self.syntaxes: dict[str, str] = {}
        self._answers = list(answers)
        entity = AE(calling)
        for abstract in models:
            entity.add_requested_context(abstract)
        for sop_class, syntaxes in contexts:
            entity.add_requested_context(sop_class, list(syntaxes))
        wanted = sorted({sop_class for sop_class, _ in contexts}) if roles else []
        self.association: Association = entity.associate(
            "127.0.0.1",
            port,
            ext_neg=[build_role(sop_class, scp_role=True) for sop_class in wanted],
            evt_handlers=[(evt.EVT_C_STORE, self._take)],
        )
        assert self.association.is_established

    def _take(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.got[uid] = event.request.DataSet.getvalue()
        self.syntaxes[uid] = str(event.context.transfer_syntax)
        return self._answers.pop(0) if self._answers else 0

    def get(self, asked: Dataset, model: str = STUDY_GET) -> list[tuple[Dataset, Dataset | None]]:
        """Every response, the last one at the end."""
        return list(self.association.send_c_get(asked, model))

    def release(self) -> None:
        """End."""
        self.association.release()


def numbers(response: Dataset) -> tuple[int | None, ...]:
    """Status, and the numbers of completed, failed and warning sub-operations."""
    return (
        response.Status,
        response.get("NumberOfCompletedSuboperations"),
        response.get("NumberOfFailedSuboperations"),
        response.get("NumberOfWarningSuboperations"),
    )
