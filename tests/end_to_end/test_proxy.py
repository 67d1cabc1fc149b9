"""What only an archive holds, read through the bridge: a real Orthanc behind, others' clients before."""

import io
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from orthanc_peer import Orthanc, source

PROXY = "[dicomweb]\nproxy_sources = true\n"


@pytest.fixture(scope="module")
def archive(make_orthanc: Callable[..., Orthanc], samples: Mapping[str, Sequence[Path]]) -> Orthanc:
    """An Orthanc with all samples."""
    return make_orthanc(*(path for paths in samples.values() for path in paths))


@pytest.fixture(scope="module")
def bridge(make_lasting_bridge: Callable[..., Any], archive: Orthanc) -> Any:
    """A bridge that has heard of everything in it, and holds nothing."""
    made = make_lasting_bridge(PROXY + source(archive)).start()
    made.wait(lambda: made.get("ImagingStudy?_summary=count").json()["total"] >= 3, 30)
    return made


@pytest.fixture
def client(bridge: Any) -> DICOMwebClient:
    """Another party's client before the bridge."""
    return DICOMwebClient(bridge.dicomweb)


def data_set(file: Path | bytes | pydicom.Dataset) -> bytes:
    """The data set of a Part 10 file as pydicom writes it, which is the same for the same."""
    found = file if isinstance(file, pydicom.Dataset) else pydicom.dcmread(_opened(file))
    out = io.BytesIO()
    found.save_as(out, enforce_file_format=True)
    return out.getvalue()[out.getvalue().index(b"DICM") :]


def _opened(file: Path | bytes) -> Any:
    return io.BytesIO(file) if isinstance(file, bytes) else file


def uids(file: Path) -> tuple[str, str, str]:
    """Study, series and SOP instance."""
    found = pydicom.dcmread(file, stop_before_pixels=True)
    return str(found.StudyInstanceUID), str(found.SeriesInstanceUID), str(found.SOPInstanceUID)


def by_uid(instances: Sequence[pydicom.Dataset]) -> dict[str, bytes]:
    """Pixels by SOP Instance UID."""
    return {str(one.SOPInstanceUID): bytes(one.get("PixelData", b"")) for one in instances}


def studies(samples: Mapping[str, Sequence[Path]]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each study with the pixels of its instances."""
    found: dict[str, dict[str, bytes]] = {}
    for path in (path for paths in samples.values() for path in paths):
        one = pydicom.dcmread(path)
        found.setdefault(str(one.StudyInstanceUID), {})[str(one.SOPInstanceUID)] = bytes(
            one.get("PixelData", b"")
        )
    yield from found.items()


def test_studies_are_passed_on_whole(client: DICOMwebClient, samples: Mapping[str, Sequence[Path]]) -> None:
    """Each instance once, with the pixels that it has there."""
    for uid, expected in studies(samples):
        assert by_uid(client.retrieve_study(uid)) == expected


def test_series_instances_and_frames_too(
    client: DICOMwebClient, samples: Mapping[str, Sequence[Path]]
) -> None:
    """On every path below."""
    path = samples["ct-thorax"][0]
    study, series, sop = uids(path)
    instance = client.retrieve_instance(study, series, sop)
    assert bytes(instance.PixelData) == bytes(pydicom.dcmread(path).PixelData)
    assert sop in by_uid(client.retrieve_series(study, series))
    [frame] = client.retrieve_instance_frames(study, series, sop, [1])
    assert bytes(instance.PixelData).startswith(frame)


def test_metadata_lead_to_nobody_else(
    bridge: Any, archive: Orthanc, samples: Mapping[str, Sequence[Path]]
) -> None:
    """Bulk data stands under the bridge's own address, and can be had there."""
    study, series, sop = uids(samples["ct-thorax"][0])
    below = ("", f"/series/{series}", f"/series/{series}/instances/{sop}")
    answers = [
        requests.get(f"{bridge.dicomweb}/studies/{study}{path}/metadata", timeout=30) for path in below
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert f":{archive.port}/" not in answer.text
    [row] = answers[-1].json()
    assert row["00080018"]["Value"] == [sop]
    links = [element["BulkDataURI"] for element in row.values() if "BulkDataURI" in element]
    assert links
    assert all(link.startswith(bridge.dicomweb) for link in links)
    assert {requests.get(link, timeout=30).status_code for link in links} == {200}


def test_the_endpoint_is_the_bridge(bridge: Any, samples: Mapping[str, Sequence[Path]]) -> None:
    """One address for all that viewers fetch."""
    study = bridge.get(f"ImagingStudy/{uids(samples['ct-thorax'][0])[0]}").json()
    addresses = {bridge.get(one["reference"]).json()["address"] for one in study["endpoint"]}
    assert addresses == {bridge.dicomweb}


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2.3",
        "/studies/1.2.3/metadata",
        "/studies/1.2.3/series/1.2.4/instances/1.2.5/frames/1",
        "/studies/1.2.3/anything/..%2f..%2fsystem",
    ],
)
def test_what_nobody_has_is_404(bridge: Any, path: str) -> None:
    """With the reason; nothing is asked of the archive."""
    answer = requests.get(bridge.dicomweb + path, timeout=30)
    assert answer.status_code == 404
    assert answer.json()["reason"]


def test_paths_stay_within_the_study(bridge: Any, samples: Mapping[str, Sequence[Path]]) -> None:
    """Nobody climbs out of the archive's DICOMweb service."""
    study = uids(samples["ct-thorax"][0])[0]
    for path in ("/..%2f..%2f..%2fsystem", "/%2e%2e/%2e%2e/system", "/a//b", "/bulk?x=1/../.."):
        answer = requests.get(f"{bridge.dicomweb}/studies/{study}{path}", timeout=30)
        assert answer.status_code in (400, 404, 502), path


def test_what_is_half_here_is_joined(
    make_bridge: Callable[..., Any], archive: Orthanc, samples: Mapping[str, Sequence[Path]]
) -> None:
    """A study of which one instance was pushed: the others come from the archive, and none twice."""
    bridge = make_bridge(PROXY + source(archive)).start()
    path = samples["ct-thorax"][0]
    study = uids(path)[0]
    bridge.wait(lambda: bridge.get(f"ImagingStudy/{study}").status_code == 200, 30)
    answer = requests.post(
        f"{bridge.dicomweb}/studies",
        b"--b\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() + b"\r\n--b--\r\n",
        headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'},
        timeout=30,
    )
    assert answer.status_code == 200
    bridge.wait(lambda: requests.get(f"{bridge.dicomweb}/studies/{study}", timeout=30).status_code == 200, 30)
    client = DICOMwebClient(bridge.dicomweb)
    expected = dict(studies(samples))[study]
    instances = client.retrieve_study(study)
    assert len(instances) == len(expected)
    assert by_uid(instances) == expected
    rows = client.retrieve_study_metadata(study)
    assert sorted(row["00080018"]["Value"][0] for row in rows) == sorted(expected)


def test_c_get_brings_what_the_archive_holds(
    bridge: Any, program: Callable[[str], str], samples: Mapping[str, Sequence[Path]], tmp_path: Path
) -> None:
    """A workstation gets by DIMSE what the bridge has to fetch by HTTP."""
    study = uids(samples["ct-thorax"][0])[0]
    command = [program("getscu"), "-S", "-od", str(tmp_path), "-k", "QueryRetrieveLevel=STUDY"]
    command += ["-k", f"StudyInstanceUID={study}", "127.0.0.1", str(bridge.dimse_port)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    found = {}
    for path in tmp_path.iterdir():
        one = pydicom.dcmread(path)
        found[str(one.SOPInstanceUID)] = bytes(one.get("PixelData", b""))
    assert found == dict(studies(samples))[study]


def test_an_archive_that_is_down_is_told(
    make_bridge: Callable[..., Any],
    make_orthanc: Callable[..., Orthanc],
    samples: Mapping[str, Sequence[Path]],
) -> None:
    """502 or 503 with the reason, and C-FIND and FHIR go on."""
    mortal = make_orthanc(samples["ct-thorax"][0])
    bridge = make_bridge(PROXY + source(mortal)).start()
    study = uids(samples["ct-thorax"][0])[0]
    bridge.wait(lambda: bridge.get(f"ImagingStudy/{study}").status_code == 200, 30)
    mortal.kill()
    for path in ("", "/metadata"):
        answer = requests.get(f"{bridge.dicomweb}/studies/{study}{path}", timeout=60)
        assert answer.status_code == 503
        assert answer.json()["reason"]
    assert bridge.get(f"ImagingStudy/{study}").status_code == 200
