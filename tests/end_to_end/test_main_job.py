"""The main job as a hospital sees it: DCMTK pushes, FHIR and DICOMweb clients read."""

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file

CT_UID = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"


def sample(name: str) -> Path:
    """A file that ships with pydicom."""
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(str(path))


@pytest.fixture
def pushed(bridge: Any, dcmtk: Any) -> Any:
    """A bridge into which storescu has pushed pydicom's CT, and which has published it."""
    storescu = dcmtk("storescu")
    subprocess.run([storescu, "127.0.0.1", str(bridge.dimse_port), str(sample("CT_small.dcm"))], check=True)
    bridge.wait(lambda: bridge.get(f"ImagingStudy/{CT_UID}").status_code == 200)
    return bridge


def test_pushed_study_is_read(pushed: Any) -> None:
    """The study, its patient and its endpoint, each by the reference that names it."""
    study = pushed.get(f"ImagingStudy/{CT_UID}").json()
    assert study["status"] == "available"
    assert study["numberOfInstances"] == 1
    patient = pushed.get(study["subject"]["reference"]).json()
    assert patient["identifier"][0]["value"] == "1CT1"
    endpoint = pushed.get(study["endpoint"][0]["reference"]).json()
    assert endpoint["address"] == pushed.dicomweb


def test_endpoint_serves_the_pixels(pushed: Any) -> None:
    """WADO-RS at the address that the Endpoint names gives back the instance, element for element."""
    study = pushed.get(f"ImagingStudy/{CT_UID}").json()
    series = study["series"][0]
    address = pushed.get(study["endpoint"][0]["reference"]).json()["address"]
    url = f"{address}/studies/{CT_UID}/series/{series['uid']}/instances/{series['instance'][0]['uid']}"
    answer = requests.get(url, headers={"Accept": "application/dicom"}, timeout=10)
    assert answer.status_code == 200
    fetched, sent = pydicom.dcmread(BytesIO(answer.content)), pydicom.dcmread(sample("CT_small.dcm"))
    del sent[0xFFFCFFFC]  # storescu leaves the trailing padding out
    assert fetched == sent


def test_pushing_again_changes_nothing(pushed: Any, dcmtk: Any) -> None:
    """The same file again: answered with success, no new version."""
    before = pushed.get(f"ImagingStudy/{CT_UID}").headers["ETag"]
    done = subprocess.run(
        [dcmtk("storescu"), "-v", "127.0.0.1", str(pushed.dimse_port), str(sample("CT_small.dcm"))],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "0x0000" in done.stderr + done.stdout or "Success" in done.stderr + done.stdout
    other = sample("MR_small.dcm")
    subprocess.run([dcmtk("storescu"), "127.0.0.1", str(pushed.dimse_port), str(other)], check=True)
    pushed.wait(lambda: len(pushed.studies()) == 2)
    assert pushed.get(f"ImagingStudy/{CT_UID}").headers["ETag"] == before


def test_restart_keeps_everything(pushed: Any) -> None:
    """An orderly stop, exit code 0; after a start the same version is served."""
    before = pushed.get(f"ImagingStudy/{CT_UID}")
    assert pushed.stop() == 0
    pushed.start()
    assert pushed.get(f"ImagingStudy/{CT_UID}").content == before.content


def test_no_patient_data_in_the_log(pushed: Any) -> None:
    """The log of a run holds neither name nor id nor birth date."""
    text = pushed.log.read_text()
    assert "study" in text or "association" in text
    for secret in ("CompressedSamples", "1CT1"):
        assert secret not in text


def test_check_beside_a_running_server(bridge: Any) -> None:
    """What runs is no fault: its ports are in use, and so is its data directory."""
    done = bridge.run("check")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("is in use, and so is data_dir: pacsbridge runs") == 2
