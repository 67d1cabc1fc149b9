"""Orthanc's own log: made up, and where Orthanc is installed, its own."""

import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from remote.hostile import STUDY_UID, HostileArchive, content, html, status, text

from pacsbridge.errors import BadAnswer, Declined, Unavailable
from pacsbridge.remote.client import Client
from pacsbridge.remote.orthanc import OrthancChanges, detect
from pacsbridge.remote.qido import Archive
from pacsbridge.remote.settings import ArchiveSettings

SYSTEM = {"ApiVersion": 24, "DatabaseVersion": 6, "Version": "1.12.4"}


def reply(archive: HostileArchive, path: str, value: Any) -> None:
    """From now on, this is what stands there."""
    archive.routes[path] = content(json.dumps(value).encode(), "application/json")


def entry(number: int, kind: str, level: str, name: str) -> dict[str, Any]:
    """One entry of the log."""
    path = f"/{level.lower()}/{name}"
    return {
        "Seq": number,
        "ChangeType": kind,
        "ResourceType": level,
        "ID": name,
        "Path": path,
        "Date": "20260102T120000",
    }


@pytest.fixture
def changes(archive: HostileArchive, client: Client) -> OrthancChanges:
    """The log of an archive."""
    return OrthancChanges(client, archive.root)


def test_detect(archive: HostileArchive, client: Client) -> None:
    """Its root is the part of the URL before DICOMweb's."""
    reply(archive, "/system", SYSTEM)
    assert detect(client, archive.url) == archive.root
    assert detect(client, f"{archive.url}/") == archive.root
    assert detect(client, f"{archive.root}/a/web", "/a/web") == archive.root
    assert archive.of("/system")[0].headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "system",
    [
        status(404),
        status(401),
        status(503),
        html(),
        content(b"[]"),
        content(b"{}"),
        content(b'{"ApiVersion": 1}'),
        content(b"{"),
        content(b""),
    ],
)
def test_not_orthanc(archive: HostileArchive, client: Client, system: Any) -> None:
    """Whatever else answers there."""
    archive.routes["/system"] = system
    assert detect(client, archive.url) is None


def test_not_orthanc_by_its_url(archive: HostileArchive, client: Client, other: HostileArchive) -> None:
    """Nobody is asked whose URL is another, least of all somebody else."""
    assert detect(client, f"{archive.root}/dcm4chee-arc/aets/A/rs") is None
    assert detect(client, other.url) is None
    assert (archive.asked, other.asked) == ([], [])


def test_changes_of_studies(archive: HostileArchive, changes: OrthancChanges) -> None:
    """Entries about studies count, whatever they say; those below and above don't."""
    log = [
        entry(11, "NewInstance", "Instance", "i1"),
        entry(12, "NewSeries", "Series", "s1"),
        entry(13, "NewStudy", "Study", "a"),
        entry(14, "NewPatient", "Patient", "p1"),
        entry(15, "StableStudy", "Study", "a"),
        entry(16, "StableStudy", "Study", "b"),
        entry(17, "UpdatedMetadata", "Study", "c"),
        entry(18, "StableSeries", "Series", "s1"),
    ]
    reply(archive, "/changes", {"Changes": log, "Done": False, "Last": 18})
    assert changes.since(10, limit=8) == (frozenset("abc"), 18, False)
    assert archive.asked[0].pairs == [("since", "10"), ("limit", "8")]


def test_the_end_of_the_log(archive: HostileArchive, changes: OrthancChanges) -> None:
    """Nothing new; a log that stands still is at its end too, or one would read it forever."""
    reply(archive, "/changes", {"Changes": [], "Done": True, "Last": 18})
    assert changes.since(18) == (frozenset(), 18, True)
    assert changes.last() == 18
    assert archive.asked[1].query == "last="
    reply(archive, "/changes", {"Changes": [], "Done": False, "Last": 7})
    assert changes.since(18) == (frozenset(), 18, True)


@pytest.mark.parametrize(
    "log",
    [
        [],
        {},
        {"Changes": [], "Done": True, "Last": "7"},
        {"Changes": [], "Done": True, "Last": True},
        {"Changes": {}, "Done": True, "Last": 7},
    ],
)
def test_no_log(archive: HostileArchive, changes: OrthancChanges, log: Any) -> None:
    """What does not look like one is none."""
    reply(archive, "/changes", log)
    with pytest.raises(BadAnswer):
        changes.since(1)


def test_entries_that_are_none(archive: HostileArchive, changes: OrthancChanges) -> None:
    """They are passed over."""
    bad = [7, None, {}, {"ResourceType": "Study"}, {"ResourceType": "Study", "ID": 7}]
    reply(archive, "/changes", {"Changes": [*bad, entry(3, "NewStudy", "Study", "a")], "Last": 3})
    assert changes.since(1) == (frozenset("a"), 3, True)


def test_study_uid(archive: HostileArchive, changes: OrthancChanges) -> None:
    """By Orthanc's own name; nothing when the study has gone or has no UID."""
    reply(archive, "/studies/a", {"MainDicomTags": {"StudyInstanceUID": "1.2.3"}})
    assert changes.study_uid("a") == "1.2.3"
    assert changes.study_uid("gone") is None
    for value in ({}, [], {"MainDicomTags": []}, {"MainDicomTags": {"StudyInstanceUID": 7}}):
        reply(archive, "/studies/a", value)
        assert changes.study_uid("a") is None
    changes.study_uid("../system?x")
    assert archive.asked[-1].path == "/studies/..%2Fsystem%3Fx"


def test_count(archive: HostileArchive, changes: OrthancChanges) -> None:
    """Of all studies."""
    reply(archive, "/statistics", {"CountStudies": 42, "CountSeries": 7})
    assert changes.count() == 42
    archive.routes["/statistics"] = status(403)
    with pytest.raises(Unavailable):
        changes.count()
    archive.routes["/statistics"] = status(404)
    with pytest.raises(Declined):
        changes.count()


DATE = "20260102"
PLUGINS = [Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc")]


@pytest.fixture
def orthanc(
    program: Callable[[str], str],
    tmp_path: Path,
    free_port: Callable[[], int],
    wait_until: Callable[..., None],
) -> Iterator[str]:
    """The root of an Orthanc, where it and its DICOMweb plugin are installed."""
    binary, port = program("Orthanc"), free_port()
    plugins = [one for folder in PLUGINS for one in sorted(folder.glob("libOrthancDicomWeb.so*"))]
    if not plugins:
        pytest.skip("Orthanc's DICOMweb is not installed: apt-get install orthanc-dicomweb")
    settings = {
        "StorageDirectory": str(tmp_path / "db"),
        "IndexDirectory": str(tmp_path / "db"),
        "DicomServerEnabled": False,
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "StableAge": 1,
        "Plugins": [str(plugins[0])],
    }
    config = tmp_path / "orthanc.json"
    config.write_text(json.dumps(settings))
    with (tmp_path / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([binary, str(config)], stdout=log, stderr=log)
    root = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(root) or process.poll() is not None, 60)
        assert process.poll() is None, (tmp_path / "orthanc.log").read_text()
        yield root
    finally:
        process.terminate()
        process.wait(30)


def _answers(root: str) -> bool:
    try:
        return requests.get(f"{root}/system", timeout=5).ok
    except requests.RequestException:
        return False


def push(root: str, study: str, series: str, instance: str) -> None:
    """One small instance."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, instance
    one.StudyInstanceUID, one.SeriesInstanceUID = study, series
    one.PatientID, one.PatientName = "SYN-1", "Synthetic^Person"
    one.Modality, one.StudyDate = "CT", DATE
    written = io.BytesIO()
    one.save_as(written, enforce_file_format=True)
    requests.post(f"{root}/instances", data=written.getvalue(), timeout=10).raise_for_status()


def test_a_real_orthanc(orthanc: str, wait_until: Callable[..., None]) -> None:
    """Its log tells of a new study and of one that grows; its searches are understood."""
    fields = {"studies": ["StudyDate", "NumberOfStudyRelatedInstances"], "series": ["Modality"]}
    archive = Archive(ArchiveSettings("orthanc", f"{orthanc}/dicom-web"), fields)
    assert detect(archive.client, f"{orthanc}/dicom-web") == orthanc
    log = OrthancChanges(archive.client, orthanc)
    assert (log.count(), archive.studies((), limit=10).rows) == (0, [])
    start = log.last()
    for number in (1, 2):
        push(orthanc, f"1.2.{number}", f"1.2.{number}.1", f"1.2.{number}.1.1")
    new = log.since(start)
    assert {log.study_uid(one) for one in new.studies} == {"1.2.1", "1.2.2"}
    wait_until(lambda: log.since(start).studies and len(requests_of(orthanc, "StableStudy")) == 2, 20)
    seen = log.last()
    push(orthanc, "1.2.2", "1.2.2.2", "1.2.2.2.1")
    wait_until(lambda: log.since(seen).studies, 20)
    assert {log.study_uid(one) for one in log.since(seen).studies} == {"1.2.2"}
    assert log.since(seen, limit=1).done is False
    assert log.since(log.last()) == (frozenset(), log.last(), True)
    assert log.study_uid("0" * 8) is None
    assert log.count() == 2
    found = archive.studies([("StudyDate", "20260101-20260131")], limit=1)
    assert len(found.rows) == 1
    below = archive.series(["1.2.1", "1.2.2"], limit=10).rows
    assert {text(row, STUDY_UID) for row in below} == {"1.2.1", "1.2.2"}
    assert len(archive.instances(["1.2.2"], limit=10).rows) == 2
    archive.close()


def requests_of(root: str, kind: str) -> list[Any]:
    """The entries of a kind."""
    log = requests.get(f"{root}/changes?limit=1000", timeout=10).json()["Changes"]
    return [one for one in log if one["ChangeType"] == kind]
