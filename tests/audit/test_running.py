"""A running bridge and its audit log: what modalities, viewers and strangers do, and who they are."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from holding_site import STUDY_GET, STUDY_MOVE, GetScu, identifier
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    MRImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)
from r4_validation import assert_r4
from token_issuer import Issuer

from pacsbridge import logs, opening
from pacsbridge.config import Config, load
from pacsbridge.config.dimse import Peer
from pacsbridge.kernel.audit import SERIOUS, Event
from pacsbridge.kernel.reports import DELETED, Report
from pacsbridge.runtime import Runtime
from pacsbridge.samples import write_samples
from pacsbridge.store.records import DeadLetter, Reported

Events = Callable[[], list[Event]]


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Config]:
    """Makes configurations over one data directory, on free ports."""

    def make(**more: Any) -> Config:
        environ = {
            "PACSBRIDGE__DATA_DIR": str(tmp_path / "data"),
            "PACSBRIDGE__DIMSE__PORT": "0",
            "PACSBRIDGE__FHIR__PORT": "0",
            "PACSBRIDGE__FHIR__BASE_URL": "http://127.0.0.1/fhir",
            "PACSBRIDGE__FHIR__QUIET_SECONDS": "0",
            "PACSBRIDGE__BLOBS__MIN_FREE_BYTES": "0",
            **{f"PACSBRIDGE__{key.upper()}": value for key, value in more.items()},
        }
        return load(None, environ)

    return make


@pytest.fixture
def run(make_settings: Callable[..., Config]) -> Iterator[Callable[..., Runtime]]:
    """Starts bridges and stops them."""
    started: list[Runtime] = []

    def start(**more: Any) -> Runtime:
        started.append(Runtime(make_settings(**more)))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def guarded(run: Callable[..., Runtime], tmp_path: Path) -> Iterator[tuple[Runtime, Issuer]]:
    """A bridge that asks for tokens, and their issuer."""
    issuer, keys = Issuer(), tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": issuer.keys}))
    yield (
        run(auth__jwks_file=str(keys), auth__issuer=issuer.url, auth__audience="https://pacs.example/fhir"),
        issuer,
    )
    issuer.close()


def events(running: Runtime) -> list[Event]:
    """What is on record now."""
    assert running.audit is not None
    return [record.event for record in running.audit.log.following(0, 10_000)]


def told(running: Runtime) -> list[tuple[str, str]]:
    """The same in short."""
    return [(one.kind, one.outcome) for one in events(running)]


def send(port: int, images: list[Path], title: str = "CT1") -> None:
    """Push images on one association."""
    entity = AE(title)
    data = [dcmread(image) for image in images]
    for one in data:
        entity.add_requested_context(one.SOPClassUID, one.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    assert [association.send_c_store(one).Status for one in data] == [0] * len(data)
    association.release()


def test_who_is_turned_away_for_want_of_room(
    run: Callable[..., Runtime], wait_until: Callable[..., None]
) -> None:
    """Beyond the watermark of the disk a caller who could only store is refused; a mere echo is not."""
    running = run(blobs__reject_free_bytes=str(1 << 50))
    for abstract_syntax, comes_in in (("1.2.840.10008.5.1.4.1.1.2", False), (Verification, True)):
        entity = AE("CT1")
        entity.add_requested_context(abstract_syntax)
        association = entity.associate("127.0.0.1", running.dimse.port)
        assert association.is_established == comes_in
        if comes_in:
            association.release()
    wait_until(lambda: ("refused", SERIOUS) in told(running), 30)
    [refused] = [one for one in events(running) if one.kind == "refused"]
    assert refused.who is not None
    assert (refused.who.title, refused.reason) == ("CT1", "too little room on the disk")


def test_what_a_modality_does(
    run: Callable[..., Runtime], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """One event for each study of an association, of however many instances; queries; a mere echo."""
    images = write_samples(tmp_path / "samples")
    studies: dict[str, list[Path]] = {}
    known = set()
    for image in images:
        data = dcmread(image, stop_before_pixels=True)
        studies.setdefault(str(data.StudyInstanceUID), []).append(image)
        known |= {str(data.StudyInstanceUID)} if data.get("PatientID") else set()
    running = run(dimse__require_called_ae="false")
    send(running.dimse.port, images)
    wait_until(lambda: told(running).count(("store", "0")) == len(studies))
    stored = [one for one in events(running) if one.kind == "store"]
    assert {one.study: one.instances for one in stored} == {uid: len(of) for uid, of in studies.items()}
    assert {(one.who.title, one.who.address) for one in stored if one.who} == {("CT1", "127.0.0.1")}
    assert {one.study for one in stored if one.patient.startswith("Patient/")} == known != set()
    assert all(one.resource.startswith("ImagingStudy/") for one in stored)

    entity = AE("WS7")
    entity.add_requested_context(Verification)
    entity.associate("127.0.0.1", running.dimse.port).release()
    wait_until(lambda: ("association", "0") in told(running))
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = entity.associate("127.0.0.1", running.dimse.port)
    for level in ("STUDY", "NONSENSE"):
        asked = dcmread(images[0], stop_before_pixels=True, specific_tags=["StudyInstanceUID"])
        asked.QueryRetrieveLevel = level
        list(association.send_c_find(asked, StudyRootQueryRetrieveInformationModelFind))
    association.release()
    wait_until(lambda: told(running)[-2:] == [("find", "0"), ("find", "8")])
    assert all(one.query for one in events(running)[-2:])
    assert told(running).count(("association", "0")) == 1


def test_retrievals(run: Callable[..., Runtime], tmp_path: Path, wait_until: Callable[..., None]) -> None:
    """Who got how many instances of which study of whom, and who wanted them sent where."""
    image = write_samples(tmp_path / "samples")[0]
    data = dcmread(image, stop_before_pixels=True)
    running = run()
    send(running.dimse.port, [image])
    wait_until(lambda: running.store.version("ImagingStudy", str(data.StudyInstanceUID)))
    pair = (str(data.SOPClassUID), [str(data.file_meta.TransferSyntaxUID)])
    scu = GetScu(running.dimse.port, [pair], models=(STUDY_GET, STUDY_MOVE))
    asked = identifier("STUDY", StudyInstanceUID=data.StudyInstanceUID)
    scu.get(asked)
    list(scu.association.send_c_move(asked, "NOBODY", STUDY_MOVE))
    scu.get(identifier("STUDY", StudyInstanceUID=["1.2.3", "1.2.4"]))
    scu.release()
    wait_until(lambda: [kind for kind, _ in told(running)].count("get") == 3)
    stored, got, moved, *others = events(running)[1:]
    assert (got.kind, got.outcome, got.instances, got.study) == ("get", "0", 1, str(data.StudyInstanceUID))
    assert got.patient and got.patient == stored.patient
    assert (moved.kind, moved.outcome, moved.destination) == ("move", "8", "NOBODY")
    assert {one.study for one in others} == {"1.2.3", "1.2.4"}
    assert ("association", "0") not in told(running)


def test_strangers(run: Callable[..., Runtime], wait_until: Callable[..., None]) -> None:
    """A rejected association, with its reason and address."""
    running = run(dimse__require_called_ae="true")
    entity = AE("EVIL")
    entity.add_requested_context(Verification)
    assert not entity.associate("127.0.0.1", running.dimse.port, ae_title="WRONG").is_established
    wait_until(lambda: ("refused", "8") in told(running))
    [refused] = [one for one in events(running) if one.kind == "refused"]
    assert (refused.who and refused.who.title, refused.reason) == ("EVIL", "called AE title not recognised")


def test_what_a_peer_may_not_use(
    make_settings: Callable[..., Config], wait_until: Callable[..., None]
) -> None:
    """It comes in for the rest, and what it asked for beyond that is on record once."""
    echoer = Peer(ae_title="ECHOER", services=("echo",))
    running = Runtime(replace(make_settings(), peers=(echoer,)))
    running.start()
    try:
        entity = AE("ECHOER")
        for asked in (Verification, CTImageStorage, MRImageStorage):
            entity.add_requested_context(asked)
        line = entity.associate("127.0.0.1", running.dimse.port)
        assert [str(one.abstract_syntax) for one in line.accepted_contexts] == [Verification]
        line.release()
        wait_until(lambda: ("association", "0") in told(running))
        [refused] = [one for one in events(running) if one.kind == "refused"]
        assert (refused.who and refused.who.title, refused.reason) == ("ECHOER", "peer may not use store")
    finally:
        running.stop()


def test_dicomweb(
    run: Callable[..., Runtime], tmp_path: Path, wait_until: Callable[..., None], capsys: Any
) -> None:
    """What is stored, found, retrieved and not found; the resource that each makes is legal R4."""
    logs.configure("info")
    image = write_samples(tmp_path / "samples")[0]
    uid = str(dcmread(image, stop_before_pixels=True).StudyInstanceUID)
    running = run()
    base = f"http://127.0.0.1:{running.http.port}/dicomweb/studies"
    part = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + image.read_bytes() + b"\r\n--b--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    assert requests.post(base, data=part, headers=kind, timeout=10).status_code == 200
    assert (
        requests.post(base, data=part.replace(b"DICM", b"MCID"), headers=kind, timeout=10).status_code == 409
    )
    wait_until(lambda: running.store.version("ImagingStudy", uid))
    requests.get(f"{base}/{uid}", timeout=10)
    requests.get(f"{base}?PatientName=Anonymous*", timeout=10)
    requests.get(f"{base}/1.2.3", timeout=10)
    wait_until(lambda: len(told(running)) == 6)
    assert told(running)[1:] == [
        ("stow", "0"), ("stow", "8"), ("wado", "0"), ("qido", "0"), ("wado", "4")
    ]  # fmt: skip
    stored, retrieved = events(running)[1], events(running)[3]
    assert (stored.study, stored.instances) == (uid, 1)
    assert stored.patient and stored.patient == retrieved.patient
    bundle = requests.get(f"http://127.0.0.1:{running.http.port}/fhir/AuditEvent", timeout=10).json()
    assert_r4(*(one["resource"] for one in bundle["entry"]))
    assert "Anonymous" not in capsys.readouterr().err


def test_a_study_that_is_deleted(run: Callable[..., Runtime], wait_until: Callable[..., None]) -> None:
    """A study whose archive has it no more is an event of the application (DICOM Study Deleted)."""
    running = run()
    report = Report({"key": "A|1", "identifier": {"value": "1"}}, {"uid": "1.2.3"})
    running.store.put_reports("urn:a", [Reported("1.2.3", b"1", None, report)], 1)
    wait_until(lambda: running.store.version("ImagingStudy", "1.2.3"), 30)
    running.store.withdraw_reports("urn:a", ["1.2.3"], DELETED, 2)
    wait_until(lambda: ("deleted", "0") in told(running), 30)
    [gone] = [one for one in events(running) if one.kind == "deleted"]
    assert (gone.study, gone.resource, gone.who) == ("1.2.3", "ImagingStudy/1.2.3", None)
    assert gone.patient.startswith("Patient/")


def test_starts_stops_and_settings(run: Callable[..., Runtime], make_settings: Callable[..., Config]) -> None:
    """A start says under which settings; that these are others than before is on record; so is a stop."""
    for more in ({}, {}, {"fhir__max_wait_seconds": "40"}):
        run(**more).stop()
    log = opening.open_audit_log(make_settings())
    assert log is not None
    kept = [record.event for record in log.following(0, 100)]
    assert [one.kind for one in kept] == ["start", "stop", "start", "stop", "start", "settings", "stop"]
    assert kept[0].details["settings"] == kept[2].details["settings"] == kept[5].details["before"]
    assert kept[5].details["keys"] == "fhir.max_wait_seconds"
    assert {one.outcome for one in kept} == {"0"}
    log.changed("running ", "yes")
    assert log.broken() is None
    log.close()
    running = run()
    running.stop()
    log = opening.open_audit_log(make_settings())
    assert log is not None
    start = log.following(7, 1)[0].event
    assert (start.kind, start.outcome) == ("start", "4")
    assert "without a word" in start.reason
    log.close()


def test_without_an_audit_log(run: Callable[..., Runtime], tmp_path: Path) -> None:
    """Where it is switched off there is no file, and no AuditEvent."""
    running = run(audit__enabled="false")
    assert running.audit is None
    assert not (tmp_path / "data" / "audit.sqlite").exists()
    answer = requests.get(f"http://127.0.0.1:{running.http.port}/fhir/AuditEvent", timeout=10)
    assert answer.status_code == 404


def test_operators_pages_are_guarded(
    guarded: tuple[Runtime, Issuer], wait_until: Callable[..., None]
) -> None:
    """Whoever asks for the metrics without being one is on record; nothing of the token is."""
    running, issuer = guarded
    headers = issuer.bearer("user/ImagingStudy.rs", sub="dr.who")
    answer = requests.get(f"http://127.0.0.1:{running.http.port}/metrics", headers=headers, timeout=10)
    assert answer.status_code == 403
    wait_until(lambda: ("refused", "8") in told(running))
    refused = events(running)[-1]
    assert refused.who is not None and refused.who.user == "dr.who"


def test_what_operators_set_in_motion_on_pages(
    guarded: tuple[Runtime, Issuer], wait_until: Callable[..., None]
) -> None:
    """Each button leaves an event: who had signed in, what it was about, what came of it; no key, no name."""
    running, issuer = guarded
    for number in range(4):
        running.store.bury(DeadLetter("refused", f"/media/Geheimrat/{number}", "why", "urn:x"), 1)
    last = running.store.overview.last_letter()
    origin, browser = f"http://127.0.0.1:{running.http.port}", requests.Session()

    def post(path: str, seen: str, **fields: str) -> int:
        seal = re.search(r'name="csrf" value="([^"]+)"', browser.get(origin + seen, timeout=30).text)
        assert seal is not None
        form = {"csrf": seal[1], **fields}
        return browser.post(origin + path, form, timeout=30, allow_redirects=False).status_code

    token = issuer.bearer("system/*.read", sub="op.erator")["Authorization"].partition(" ")[2]
    assert post("/login", "/login", token=token) == 303
    assert post(f"/dead-letters/{last}/retry", "/dead-letters") == 303
    assert post(f"/dead-letters/{last}/discard", "/dead-letters") == 303
    assert post("/dead-letters/all", "/dead-letters", action="discard", last=str(last)) == 303
    assert post("/sources/sync", "/sources", name="Geheimrat") == 404
    assert requests.post(f"{origin}/sources/sync", {"name": "x"}, timeout=30).status_code == 401
    wait_until(lambda: told(running)[-1:] == [("refused", "8")], 30)
    made = [one for one in events(running) if one.kind == "page-action"]
    assert {one.who.user for one in made if one.who} == {"op.erator"}
    assert [(one.outcome, dict(one.details)) for one in made] == [
        ("0", {"action": "retry", "letter": str(last), "result": "left"}),
        ("0", {"action": "discard", "letter": str(last), "result": "discarded"}),
        ("0", {"action": "letters", "order": "discard", "of": "all", "up-to": str(last), "told": "gone",
               "number": "3"}),
        ("4", {"action": "sync"}),
    ]  # fmt: skip


def test_forwarding_by_configuration(run: Callable[..., Runtime], wait_until: Callable[..., None]) -> None:
    """`audit.syslog_url` is all it takes; the start is the first to come."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        running = run(audit__syslog_url=f"udp://127.0.0.1:{receiver.getsockname()[1]}")
        message = receiver.recv(65535)
    assert b'csd-code="110120"' in message
    wait_until(lambda: running.audit is not None and running.audit.recorder.fault() is None)
