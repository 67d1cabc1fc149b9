"""What is fuzzed: each target takes bytes, and any way out of it but our own refusals is a finding.

`seeds` are valid inputs from the samples, and a few that are nearly so.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from benchmarks.sender import CT, associate_rq, command, p_data, uid
from pydicom import dcmread
from pydicom.data import get_charset_files, get_testdata_file
from pynetdicom.pdu import A_ASSOCIATE_RQ

from pacsbridge.dicom.dicom_json import from_json
from pacsbridge.dicom.frames import read_pixels
from pacsbridge.dicom.limits import Limits
from pacsbridge.dicom.metadata import metadata
from pacsbridge.dicom.reader import read_header
from pacsbridge.dimse.pdu import ASSOCIATE_RQ, P_DATA_TF, Inbound, check_associate, pdvs
from pacsbridge.dimse.receive import Caller, Context, Outlet, Receiver
from pacsbridge.dimse.settings import Limits as DimseLimits
from pacsbridge.errors import PacsbridgeError, Refused
from pacsbridge.fhir.parameters import decoded
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.model import Level
from pacsbridge.kernel.multipart_reader import MultipartReader
from pacsbridge.kernel.qido import search
from pacsbridge.kernel.query_parsing import SearchSettings, parse
from pacsbridge.samples import write_samples

LONGEST = 64 << 10
"""Bytes of an input at most."""

SECONDS = 2.0
"""What one input may take, on a busy machine."""

MEGABYTES = 1024
"""What the fuzzer's process may take."""

_LIMITS = Limits(window=1 << 20, elements=10_000, items=5_000, inflated=8 << 20)

_EXPLICIT = "1.2.840.10008.1.2.1"
_FILES = (
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_implicit.dcm",
    "image_dfl.dcm",
    "nested_priv_SQ.dcm",
    "JPEG2000.dcm",
    "no_meta.dcm",
    "rtplan_truncated.dcm",
)


@dataclass(frozen=True)
class Target:
    """One way in: what is tried, and the inputs to begin with."""

    attempt: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]


def header(data: bytes) -> None:
    """The header reader as the intake uses it: Part 10, or a bare data set."""
    with suppress(Refused):
        found = read_header(data, limits=_LIMITS)
        orjson.dumps(extract(found.attributes).study)
    with suppress(Refused):
        read_header(io.BytesIO(data), limits=_LIMITS)


def whole_header(data: bytes) -> None:
    """The whole header as DICOM JSON, and where the pixels are, as WADO-RS uses them."""
    with suppress(PacsbridgeError):
        orjson.dumps(metadata(data, "http://x"))
    with suppress(PacsbridgeError):
        read_pixels(io.BytesIO(data))


def pdus(data: bytes) -> None:
    """PDUs of one connection, from the bytes of the socket to messages and answers."""
    inbound, receiver = Inbound(), _receiver()
    with suppress(Refused):
        for start in range(0, len(data), 4096):
            piece = data[start : start + 4096]
            while piece:
                room = inbound.room()
                count = min(len(room), len(piece))
                room[:count] = piece[:count]
                inbound.filled(count)
                piece = piece[count:]
                _take_all(inbound, receiver)
    receiver.discard()


def _take_all(inbound: Inbound, receiver: Receiver) -> None:
    while (found := inbound.next(1 << 20)) is not None:
        kind, body = found
        if kind == ASSOCIATE_RQ:
            check_associate(body)
            _decode_request(bytes(body))
        elif kind == P_DATA_TF:
            for pdv in pdvs(body):
                receiver.feed(pdv)


def _decode_request(body: bytes) -> None:
    """pynetdicom's decoder, whose exceptions are a malformed PDU to the provider; only time counts here."""
    with suppress(Exception):
        request = A_ASSOCIATE_RQ()
        request.decode(b"\x01\0" + len(body).to_bytes(4, "big") + body)
        request.to_primitive()


def _receiver() -> Receiver:
    def no_spool(*_names: str) -> object:
        raise Refused("nothing is spooled here")

    contexts = {1: Context(_EXPLICIT, "store", CT), 3: Context("1.2.840.10008.1.2", "echo")}
    outlet = Outlet(lambda stored: header(bytes(stored.dataset)), no_spool)  # type: ignore[arg-type]
    return Receiver(contexts, Caller("FUZZ", "PACSBRIDGE", ("127.0.0.1", 1)), outlet, DimseLimits())


def dicom_json(data: bytes) -> None:
    """DICOM JSON of archives, as it comes over the wire."""
    with suppress(orjson.JSONDecodeError):
        loaded = orjson.loads(data)
        for one in loaded if isinstance(loaded, list) else [loaded]:
            with suppress(Refused):
                extract(from_json(one, _LIMITS))


def multipart(data: bytes) -> None:
    """Bodies of STOW-RS, in pieces of several sizes: what comes out must not depend on them."""
    outcomes = {size: _parts(data, size) for size in (1 << 20, 7, 1)}
    assert len(set(outcomes.values())) == 1, "parts depend on how the body is cut"


def _parts(data: bytes, size: int) -> tuple[object, ...]:
    reader, content = MultipartReader("b"), b""
    found: list[object] = []
    try:
        for start in range(0, len(data), size):
            for event in reader.feed(data[start : start + size]):
                content, found = _gathered(content, found, event)
        for event in reader.close():
            content, found = _gathered(content, found, event)
    except Refused as exc:
        return (*found, type(exc))
    return tuple(found)


def _gathered(content: bytes, found: list[object], event: object) -> tuple[bytes, list[object]]:
    if isinstance(event, bytes):
        return content + event, found
    return b"", [*found, content, type(event)]


def query(data: bytes) -> None:
    """The query of a FHIR search."""
    with suppress(Refused):
        pairs = decoded(data.decode("utf-8", "surrogateescape"))
        for kind in ("ImagingStudy", "Patient", "Endpoint"):
            with suppress(Refused):
                parse(kind, pairs, SearchSettings("http://x/fhir", secret=b"x"))


def qido(data: bytes) -> None:
    """The query of a QIDO-RS search."""
    with suppress(Refused):
        pairs = decoded(data.decode("utf-8", "surrogateescape"))
        for level in (Level.STUDY, Level.SERIES, Level.INSTANCE):
            with suppress(Refused):
                search(level, pairs, {}, 100)


@cache
def _files() -> Sequence[bytes]:
    """Small files in many encodings."""
    named = [Path(str(get_testdata_file(name, download=False))).read_bytes() for name in _FILES]
    named += [Path(str(name)).read_bytes() for name in get_charset_files("*.dcm")]
    with TemporaryDirectory() as folder:
        made = [path.read_bytes() for path in write_samples(Path(folder))][:5]
    return [one[:LONGEST] for one in (*named, *made)]


def _messages() -> Sequence[bytes]:
    data = b"".join(_bare(_files()[0]))
    message = p_data(command(1, uid(1, 1)), data)
    return [
        associate_rq("PACSBRIDGE"),
        message,
        associate_rq("PACSBRIDGE") + message + bytes.fromhex("05000000000400000000"),
    ]


def _bare(part10: bytes) -> tuple[bytes, ...]:
    return (part10[read_header(part10).dataset_offset :],)


def _records() -> Sequence[bytes]:
    small = [dcmread(io.BytesIO(one), stop_before_pixels=True, force=True) for one in _files()[:3]]
    return [
        *(one.to_json().encode() for one in small),
        b"[{}]",
        b'{"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^B"}]}}',
    ]


def _bodies() -> Sequence[bytes]:
    part = b"--b\r\nContent-Type: application/dicom\r\n\r\nxyz\r\n"
    return [
        part + b"--b--\r\n",
        part * 3 + b"--b--",
        b"preamble\r\n" + part,
        part + b"--b \t\r\n\r\n\r\n--b--",
    ]


def _searches() -> Sequence[bytes]:
    return [
        b"patient.name:exact=M%C3%BCller&started=ge2024-05&modality=CT,MR&_sort=-started&_count=5",
        b"identifier=urn:dicom:uid%7Curn:oid:1.2.3&_include=ImagingStudy:endpoint&_total=accurate",
        b"identifier:of-type=http://x%7CMR%7C12&_lastUpdated=lt2024-01-01T00:00:00Z&_summary=count",
        b"birthdate=ap1970&_revinclude=ImagingStudy:patient&_elements=id,name&name:contains=%5C,",
    ]


def _queries() -> Sequence[bytes]:
    return [
        b"PatientName=muller*&StudyDate=20200101-&limit=20&includefield=all&fuzzymatching=true",
        b"00080061=CT%5CMR&StudyTime=1000-1200&offset=3&StudyInstanceUID=1.2.3,1.2.4",
        b"RequestAttributesSequence.ScheduledProcedureStepID=1*&includefield=00081030,00400275",
    ]


TARGETS: Mapping[str, Target] = {
    "header": Target(header, _files),
    "whole-header": Target(whole_header, _files),
    "pdu": Target(pdus, _messages),
    "dicom-json": Target(dicom_json, _records),
    "multipart": Target(multipart, _bodies),
    "query": Target(query, _searches),
    "qido": Target(qido, _queries),
}
