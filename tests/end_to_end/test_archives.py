"""Archives that are asked, as a hospital has them: real Orthancs with their DICOMweb plugin."""

import io
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from orthanc_peer import Orthanc, source
from ports import free_port

THORAX, KNEE, HANDS = "ct-thorax", "mr-knee", "cr-hands"
CT_SMALL = "CT_small.dcm"
CT_UID = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"

Study = dict[str, Any]


@pytest.fixture(scope="module")
def full(make_orthanc: Callable[..., Orthanc], samples: Mapping[str, Sequence[Path]]) -> Orthanc:
    """An Orthanc with all samples, which no test changes."""
    return make_orthanc(*(path for paths in samples.values() for path in paths))


def uid_of(files: Sequence[Path]) -> str:
    """The Study Instance UID of files."""
    return str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)


def changed(file: Path, **values: Any) -> bytes:
    """A file with other values."""
    ds = pydicom.dcmread(file)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def addresses(bridge: Any, study: Study) -> set[str]:
    """Where the Endpoints of a study lead."""
    return {bridge.get(one["reference"]).json()["address"] for one in study["endpoint"]}


def study_of(bridge: Any, uid: str) -> Study | None:
    """A published study; None where there is none, or none any more."""
    answer = bridge.get(f"ImagingStudy/{uid}")
    found: Study | None = answer.json() if answer.status_code == 200 else None
    return found


def patient_of(bridge: Any, study: Study) -> Study:
    """The Patient of a study."""
    found: Study = bridge.get(study["subject"]["reference"]).json()
    return found


def latest(bridge: Any) -> tuple[str, str, str]:
    """The latest version of anything: what it is of, which one, and when."""
    [entry] = bridge.get("_history?_count=1").json()["entry"]
    return entry["fullUrl"], entry["response"]["etag"], entry["response"]["lastModified"]


# the first load


@pytest.fixture(scope="module")
def synced(full: Orthanc, make_lasting_bridge: Callable[..., Any]) -> Any:
    """A bridge whose `sync` has loaded all samples, and which serves them; it polls nothing."""
    bridge = make_lasting_bridge(source(full, poll=0))
    done = bridge.run("sync", "--json")
    assert done.returncode == 0, done.stderr
    bridge.outcome = json.loads(done.stdout)
    return bridge.start()


@pytest.fixture(scope="module")
def oracle(full: Orthanc) -> DICOMwebClient:
    """Another party's client of the same archive."""
    return DICOMwebClient(url=full.url)


def value(row: Mapping[str, Any], tag: str) -> Any:
    """The first value of an element of DICOM JSON."""
    return next(iter(row.get(tag, {}).get("Value", ())), None)


def test_sync_loads_everything(synced: Any, samples: Mapping[str, Sequence[Path]]) -> None:
    """The first `sync` says what it has done: every study is new, nothing failed."""
    number = len({uid_of([path]) for paths in samples.values() for path in paths})
    [outcome] = synced.outcome
    assert outcome["listed"] >= number
    assert (outcome["changed"], outcome["gone"], outcome["failed"]) == (number, 0, 0)
    assert (outcome["source"], outcome["reason"]) == ("main", None)
    assert len(synced.studies()) == number


def test_series_and_instances_are_those_of_the_archive(synced: Any, oracle: DICOMwebClient) -> None:
    """dicomweb-client finds the same studies, series and instances as are published, and no others."""
    published = {
        (uid, series["uid"], instance["uid"])
        for uid, study in synced.studies().items()
        for series in study["series"]
        for instance in series["instance"]
    }
    found = {
        (value(row, "0020000D"), value(row, "0020000E"), value(row, "00080018"))
        for study in oracle.search_for_studies()
        for row in oracle.search_for_instances(value(study, "0020000D"))
    }
    assert published == found


def test_patients_and_accessions_are_those_of_the_archive(synced: Any, oracle: DICOMwebClient) -> None:
    """Patient ID and accession number of each study, where there is one, as dicomweb-client finds them."""
    rows = oracle.search_for_studies(fields=["00100020", "00080050"])
    found = {value(row, "0020000D"): (value(row, "00100020"), value(row, "00080050")) for row in rows}
    assert {uid: _numbers(synced, study) for uid, study in synced.studies().items()} == found


def _numbers(bridge: Any, study: Study) -> tuple[str | None, str | None]:
    """Patient ID and accession number of a published study."""
    patient = patient_of(bridge, study) if "reference" in study["subject"] else {}
    accessions = [one["value"] for one in study["identifier"] if _code(one) == "ACSN"]
    ids = [one["value"] for one in patient.get("identifier", ())]
    return next(iter(ids), None), next(iter(accessions), None)


def _code(identifier: Mapping[str, Any]) -> str | None:
    code: str | None = identifier.get("type", {}).get("coding", [{}])[0].get("code")
    return code


OF_SEQUENCES = frozenset(("basedOn", "reasonCode", "procedureCode", "encounter", "identifier", "bodySite"))
"""Elements that headers state in sequences, of which Orthanc's searches give nothing."""

OF_ORIGIN = frozenset(("meta", "endpoint", "subject", "text"))
"""Elements that say where a study comes from, or with which patient's identifiers."""


def _translated(bridge: Any, samples: Mapping[str, Sequence[Path]]) -> dict[str, Study]:
    """The studies that `translate` makes of the files."""
    paths = [str(path) for paths in samples.values() for path in paths]
    bundle = json.loads(bridge.run("translate", *paths).stdout)
    resources = [entry["resource"] for entry in bundle["entry"]]
    return {one["id"]: one for one in resources if one["resourceType"] == "ImagingStudy"}


def _without(resource: Any, names: frozenset[str]) -> Any:
    """A resource without some elements, at whatever depth."""
    if isinstance(resource, dict):
        return {name: _without(part, names) for name, part in resource.items() if name not in names}
    return [_without(part, names) for part in resource] if isinstance(resource, list) else resource


def test_published_as_translated(synced: Any, samples: Mapping[str, Sequence[Path]]) -> None:
    """What an archive tells by its searches reads as `translate` reads the files, but for sequences."""
    left_out = OF_SEQUENCES | OF_ORIGIN
    published, translated = synced.studies(), _translated(synced, samples)
    for study in (*published.values(), *translated.values()):
        for series in study["series"]:
            if series["modality"]["code"] == "SR":
                series["instance"] = _without(series["instance"], frozenset(("title",)))  # a coded one
    assert _without(published, left_out) == _without(translated, left_out)
    assert all("numberOfInstances" in one and "series" in one for one in translated.values())


def test_found_by_what_people_search_for(synced: Any, samples: Mapping[str, Sequence[Path]]) -> None:
    """By accession number, by SOP Instance UID, by the patient's number."""
    uid = uid_of(samples[THORAX])
    instance = pydicom.dcmread(samples[THORAX][3], stop_before_pixels=True).SOPInstanceUID
    for search in (
        "identifier=SYN24-1001",
        f"instance={instance}",
        "patient.identifier=SYN-0001&modality=SR",
    ):
        bundle = synced.get(f"ImagingStudy?{search}").json()
        assert [entry["resource"]["id"] for entry in bundle["entry"]] == [uid], search


def test_endpoint_leads_to_the_archive(synced: Any, full: Orthanc, samples: Any) -> None:
    """The Endpoint of each study is the archive's, and what is published can be had there."""
    uid = uid_of(samples[KNEE])
    study = synced.studies()[uid]
    assert addresses(synced, study) == {full.url}
    rows = requests.get(f"{full.url}/studies/{uid}/metadata", timeout=10).json()
    assert len(rows) == study["numberOfInstances"]


def test_second_sync_publishes_nothing(synced: Any) -> None:
    """Of an unchanged archive, recent studies or all, nothing is new and no version is written."""
    before = latest(synced)
    for arguments in ((), ("--full",)):
        [outcome] = json.loads(synced.run("sync", *arguments, "--json").stdout)
        assert (outcome["changed"], outcome["gone"], outcome["failed"]) == (0, 0, 0)
        assert outcome["listed"] >= (len(synced.studies()) if arguments else 0)
    assert latest(synced) == before


# levels


def test_level_study(full: Orthanc, make_bridge: Callable[..., Any], synced: Any) -> None:
    """Asked for studies alone, counts stand in for series and instances, and nothing below is asked for."""
    asked = len(full.requests)
    bridge = make_bridge(source(full, level="study")).start()
    bridge.wait(lambda: len(bridge.studies()) == len(synced.studies()))
    counts = {uid: one["numberOfInstances"] for uid, one in bridge.studies().items()}
    assert counts == {uid: one["numberOfInstances"] for uid, one in synced.studies().items()}
    assert all("series" not in one for one in bridge.studies().values())
    assert not any("instances" in one or "series" in one for one in full.requests[asked:])


def test_level_series(full: Orthanc, make_bridge: Callable[..., Any], synced: Any) -> None:
    """Asked for series, each has its modality and its count of instances, but no instance."""
    bridge = make_bridge(source(full, level="series")).start()
    bridge.wait(lambda: len(bridge.studies()) == len(synced.studies()))
    series = {one["uid"]: one for study in bridge.studies().values() for one in study["series"]}
    expected = {one["uid"]: one for study in synced.studies().values() for one in study["series"]}
    assert {uid: one["modality"] for uid, one in series.items()} == {
        uid: one["modality"] for uid, one in expected.items()
    }
    assert not any("instance" in one for one in series.values())
    assert {uid: one.get("numberOfInstances") for uid, one in series.items()} == {
        uid: one["numberOfInstances"] for uid, one in expected.items()
    }


def test_level_metadata(
    full: Orthanc, make_bridge: Callable[..., Any], samples: Mapping[str, Sequence[Path]]
) -> None:
    """Asked for all that headers say, a study reads as `translate` reads its files, sequences too."""
    bridge = make_bridge(source(full, level="metadata")).start()
    translated = _translated(bridge, samples)
    bridge.wait(lambda: len(bridge.studies()) == len(translated))
    left_out = frozenset(("meta", "endpoint", "text"))
    assert _without(bridge.studies(), left_out) == _without(translated, left_out)
    assert any("basedOn" in one for one in translated.values())


# keeping up


@pytest.fixture(scope="module")
def archive(make_orthanc: Callable[..., Orthanc], samples: Mapping[str, Sequence[Path]]) -> Orthanc:
    """An Orthanc with two studies, to which tests add what is theirs."""
    return make_orthanc(*samples[THORAX][:-1], *samples[HANDS])


@pytest.fixture(scope="module")
def live(archive: Orthanc, make_lasting_bridge: Callable[..., Any]) -> Any:
    """A bridge that keeps up with it, and has published both."""
    bridge = make_lasting_bridge(source(archive)).start()
    bridge.wait(lambda: len(bridge.studies()) >= 2)
    return bridge


def test_growth_is_taken(live: Any, archive: Orthanc, samples: Mapping[str, Sequence[Path]]) -> None:
    """One instance more of a study that is known: the next version of the study has it."""
    uid, late = uid_of(samples[THORAX]), samples[THORAX][-1]
    before = live.get(f"ImagingStudy/{uid}").json()
    assert before["numberOfInstances"] == len(samples[THORAX]) - 1
    archive.upload(late)
    live.wait(lambda: live.get(f"ImagingStudy/{uid}").json()["numberOfInstances"] == len(samples[THORAX]))
    after = live.get(f"ImagingStudy/{uid}").json()
    assert int(after["meta"]["versionId"]) > int(before["meta"]["versionId"])
    assert pydicom.dcmread(late).SOPInstanceUID in {i["uid"] for s in after["series"] for i in s["instance"]}


def test_a_new_study_is_taken(live: Any, archive: Orthanc, samples: Mapping[str, Sequence[Path]]) -> None:
    """A study of years ago that comes now is published like one of today."""
    archive.upload(*samples[KNEE])
    found = live.wait(lambda: study_of(live, uid_of(samples[KNEE])))
    assert found["started"].startswith("2024-04-05")


def test_a_correction_is_taken(live: Any, archive: Orthanc, samples: Mapping[str, Sequence[Path]]) -> None:
    """Another name and description, under the same UIDs: Patient and study follow."""
    uid = uid_of(samples[HANDS])
    answer = requests.post(
        f"{archive.study(uid)}/modify",
        json={
            "Replace": {"PatientName": "Corrected^Carla", "StudyDescription": "Corrected"},
            "Keep": ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"],
            "Force": True,
        },
        timeout=20,
    )
    assert answer.status_code == 200
    live.wait(lambda: patient_of(live, study_of(live, uid) or {})["name"][0]["family"] == "Corrected")
    live.wait(lambda: live.get(f"ImagingStudy/{uid}").json()["description"] == "Corrected")


def test_unchanged_archive_costs_little(live: Any, archive: Orthanc) -> None:
    """Rounds over an unchanged Orthanc write no version, and ask for changes and counts alone."""
    time.sleep(2.5)  # until what other tests have changed is stable
    before, asked = latest(live), len(archive.requests)
    live.wait(lambda: len(archive.requests) >= asked + 6)
    assert latest(live) == before
    paths = {one.split("?")[0] for one in archive.requests[asked:]}
    assert paths == {"GET /changes", "GET /statistics"}


def test_deletions_as_configured(
    make_orthanc: Callable[..., Orthanc], make_bridge: Callable[..., Any], samples: Any
) -> None:
    """A study that the archive deletes: entered in error, unknown, deleted here too, or left as it is."""
    orthanc = make_orthanc(*samples[HANDS], *samples["bundled"])
    uid = uid_of(samples[HANDS])
    choices = ("entered-in-error", "unknown", "delete", "ignore")
    bridges = {choice: make_bridge(source(orthanc, on_delete=choice)).start() for choice in choices}
    for bridge in bridges.values():
        bridge.wait(lambda bridge=bridge: len(bridge.studies()) == 5)
    orthanc.delete(uid)
    for choice in choices[:2]:
        bridge = bridges[choice]
        bridge.wait(lambda b=bridge, c=choice: b.get(f"ImagingStudy/{uid}").json()["status"] == c)
    bridges["delete"].wait(lambda: bridges["delete"].get(f"ImagingStudy/{uid}").status_code == 410)
    assert bridges["ignore"].get(f"ImagingStudy/{uid}").json()["status"] == "available"
    for bridge in bridges.values():
        assert study_of(bridge, CT_UID) is not None
    orthanc.upload(*samples[HANDS])
    for bridge in bridges.values():
        bridge.wait(lambda b=bridge: (study_of(b, uid) or {}).get("status") == "available")


def test_one_deletion_after_the_other(
    make_orthanc: Callable[..., Orthanc], make_bridge: Callable[..., Any], samples: Any
) -> None:
    """Each of several deletions is noticed, however soon it follows another."""
    orthanc = make_orthanc(*samples[HANDS], *samples[KNEE], *samples["bundled"])
    bridge = make_bridge(source(orthanc, on_delete="delete")).start()
    bridge.wait(lambda: len(bridge.studies()) == 6)
    for name in (HANDS, KNEE):
        uid = uid_of(samples[name])
        orthanc.delete(uid)
        bridge.wait(lambda uid=uid: bridge.get(f"ImagingStudy/{uid}").status_code == 410, 20)


def test_archive_that_is_down_for_a_while(
    make_orthanc: Callable[..., Orthanc], make_bridge: Callable[..., Any], samples: Any
) -> None:
    """Nothing goes while it is down, the bridge stays ready, and what happened meanwhile is taken after."""
    orthanc = make_orthanc(*samples[HANDS], *samples[KNEE])
    bridge = make_bridge(source(orthanc)).start()
    bridge.wait(lambda: len(bridge.studies()) == 2)
    before = bridge.studies()
    orthanc.stop()
    bridge.wait(lambda: "archive_away" in bridge.log.read_text())
    assert bridge.ready()
    assert bridge.studies() == before
    orthanc.start()
    orthanc.upload(*samples[THORAX])
    bridge.wait(lambda: study_of(bridge, uid_of(samples[THORAX])), 30)
    assert {uid: bridge.studies()[uid] for uid in before} == before


# several sources


def test_pushed_and_in_the_archive(
    make_orthanc: Callable[..., Orthanc], make_bridge: Callable[..., Any], samples: Any, dcmtk: Any
) -> None:
    """One study with both Endpoints; once the archive has deleted it, with the bridge's own alone."""
    [file] = [path for path in samples["bundled"] if path.name == CT_SMALL]
    orthanc = make_orthanc(*samples["bundled"])
    bridge = make_bridge(source(orthanc)).start()
    bridge.wait(lambda: len(bridge.studies()) == 4)
    assert addresses(bridge, bridge.studies()[CT_UID]) == {orthanc.url}
    subprocess.run([dcmtk("storescu"), "127.0.0.1", str(bridge.dimse_port), str(file)], check=True)
    both = {orthanc.url, bridge.dicomweb}
    bridge.wait(lambda: addresses(bridge, bridge.studies()[CT_UID]) == both)
    assert bridge.studies()[CT_UID]["numberOfInstances"] == 1
    orthanc.delete(CT_UID)
    bridge.wait(lambda: addresses(bridge, bridge.studies()[CT_UID]) == {bridge.dicomweb})
    assert bridge.studies()[CT_UID]["status"] == "available"
    assert len(bridge.studies()) == 4


def test_two_archives_with_one_study(
    make_orthanc: Callable[..., Orthanc], make_bridge: Callable[..., Any], samples: Any
) -> None:
    """Each has a part of it: one study with all instances; what one deletes is what it alone had."""
    north = make_orthanc(*samples[THORAX][:5])
    south = make_orthanc(*samples[THORAX][3:])
    uid = uid_of(samples[THORAX])
    bridge = make_bridge(source(north, "north") + source(south, "south")).start()
    bridge.wait(lambda: len((study_of(bridge, uid) or {"endpoint": ()})["endpoint"]) == 2)
    study = bridge.studies()[uid]
    assert len(_instances(study)) == len(samples[THORAX])
    assert addresses(bridge, study) == {north.url, south.url}
    north.delete(uid)
    bridge.wait(lambda: addresses(bridge, bridge.studies()[uid]) == {south.url})
    left = {
        str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in samples[THORAX][3:]
    }
    assert _instances(bridge.studies()[uid]) == left


def _instances(study: Study) -> set[str]:
    return {instance["uid"] for series in study["series"] for instance in series["instance"]}


# commands


def test_check_names_the_archive(synced: Any, full: Orthanc) -> None:
    """An archive that answers is all right: what it is, and how much of it is loaded."""
    done = synced.run("check", "--json")
    assert done.returncode == 0, done.stdout
    [found] = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "source main"]
    number = len(synced.studies())
    assert found["ok"]
    answered, known, last = found["text"].split("; ")
    assert (answered, known) == (f"{full.url} answers as Orthanc", f"{number} studies known, all loaded")
    assert re.fullmatch(rf"last round \S+, [\d.]+ s: {number} listed, .*, 0 failed", last)


@pytest.fixture(scope="module")
def away() -> Orthanc:
    """An Orthanc that is not there."""
    gone = Orthanc.__new__(Orthanc)
    gone.port = free_port()
    return gone


def test_check_finds_an_archive_that_is_down(away: Orthanc, make_bridge: Callable[..., Any]) -> None:
    """Its row fails, and so does the command; everything else is tried all the same."""
    done = make_bridge(source(away)).run("check", "--json")
    assert done.returncode == 1
    assert [one["name"] for one in json.loads(done.stdout)["checks"] if not one["ok"]] == ["source main"]


def test_sync_with_an_archive_that_is_down(
    away: Orthanc, full: Orthanc, make_bridge: Callable[..., Any]
) -> None:
    """Exit code 1 and one line that names it; the other archive is loaded."""
    done = make_bridge(source(away, "down") + source(full, "up")).run("sync")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # beside the log
    assert len(said) == 1 and said[0].startswith("pacsbridge: down: "), done.stderr
    assert re.search(r"^up: \d+ listed, 10 new or changed, 0 gone, 0 failed$", done.stdout, re.MULTILINE)


def test_why_tells_where_a_study_comes_from(synced: Any, full: Orthanc, samples: Any) -> None:
    """By instance and by accession number: the archive that says it has the study."""
    uid = uid_of(samples[THORAX])
    instance = str(pydicom.dcmread(samples[THORAX][3], stop_before_pixels=True).SOPInstanceUID)
    for key in (instance, "SYN24-1001"):
        found = json.loads(synced.run("why", key, "--json").stdout)
        assert [(one["source"], one["study"]) for one in found["reports"]] == [(full.url, uid)], key


@pytest.fixture
def damaged(
    make_orthanc: Callable[..., Orthanc], samples: Mapping[str, Sequence[Path]]
) -> tuple[Orthanc, Mapping[Path, bytes]]:
    """An Orthanc with one study that it lists and cannot give: a file of it is damaged; what that held."""
    orthanc = make_orthanc(*samples[HANDS], *samples["bundled"])
    wanted = uid_of(samples[HANDS]).encode()
    for path in orthanc.storage.glob("*/*/*"):
        data = path.read_bytes()
        if wanted in data:
            path.write_bytes(bytes(len(data)))
            if requests.get(f"{orthanc.url}/studies?includefield=00100020,00200010", timeout=10).ok:
                return orthanc, {path: data}
            path.write_bytes(data)
    pytest.fail("every file is needed for the list of studies")


def test_dead_letter_is_tried_again(damaged: Any, make_bridge: Callable[..., Any], samples: Any) -> None:
    """A study that cannot be had is on record, others come; once it can be had, a retry publishes it."""
    orthanc, held = damaged
    uid = uid_of(samples[HANDS])
    bridge = make_bridge(source(orthanc, poll=0))
    [outcome] = json.loads(bridge.run("sync", "--json").stdout)
    assert outcome["changed"] == 4
    assert outcome["failed"] >= 1
    [letter] = json.loads(bridge.run("dead-letters", "show", uid, "--json").stdout)
    assert (letter["kind"], letter["source"]) == ("archive", orthanc.url)
    for path, data in held.items():
        path.write_bytes(data)
    assert "1 asked for at the next round" in bridge.run("dead-letters", "retry", uid).stdout
    [outcome] = json.loads(bridge.run("sync", "--full", "--json").stdout)
    assert (outcome["changed"], outcome["failed"]) == (1, 0)
    assert json.loads(bridge.run("why", uid, "--json").stdout)["counts"]["reports"] == 1


def test_dead_letter_is_discarded(damaged: Any, make_bridge: Callable[..., Any], samples: Any) -> None:
    """The record of a study that cannot be had goes, and comes again with the next round that asks for it."""
    orthanc, _held = damaged
    uid = uid_of(samples[HANDS])
    bridge = make_bridge(source(orthanc, poll=0))
    bridge.run("sync")
    assert bridge.run("dead-letters", "discard", uid).stdout == "1 discarded\n"
    assert bridge.run("dead-letters", "show", uid).returncode == 1
    bridge.run("sync", "--since", "2000-01-01")
    assert bridge.run("dead-letters", "show", uid).returncode == 0
