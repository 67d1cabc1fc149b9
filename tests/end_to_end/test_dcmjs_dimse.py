"""dcmjs-dimse, a DIMSE of its own in JavaScript, stores, finds, gets and has moved."""

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

PEER = Path(__file__).with_name("dcmjs_dimse_peer.cjs")
PENDING, ALL_KEYS_PENDING = 0xFF00, 0xFF01


@pytest.fixture
def run_peer(program: Callable[[str], str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs it with its arguments: what it says. Skips where it is not installed."""
    node, npm = program("node"), program("npm")
    places = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=True, timeout=60)
    folder = Path(places.stdout.strip())
    if not (folder / "dcmjs-dimse").is_dir():
        pytest.skip("dcmjs-dimse is not installed: npm install --global dcmjs-dimse")

    def run(*arguments: object) -> dict[str, Any]:
        result = tmp_path / "said.json"
        subprocess.run(
            [node, str(PEER), *map(str, arguments), str(result)],
            check=True,
            capture_output=True,
            timeout=180,
            env={**os.environ, "NODE_PATH": str(folder)},
        )
        found: dict[str, Any] = json.loads(result.read_text())
        return found

    return run


def test_every_service(
    make_bridge: Callable[..., Any],
    free_port: Callable[[], int],
    run_peer: Callable[..., dict[str, Any]],
    samples: Mapping[str, Sequence[Path]],
) -> None:
    """C-ECHO to C-MOVE succeed, answers say what the file says, and the data set comes back byte for byte."""
    port, path = free_port(), samples["ct-thorax"][0]
    file = pydicom.dcmread(path)
    peers = f'[[peer]]\nae_title = "DCMJS"\n[[peer]]\nae_title = "DEST"\nhost = "127.0.0.1"\nport = {port}\n'
    bridge = make_bridge(peers).start()
    said = run_peer(bridge.dimse_port, port, path)
    assert {said[one]["statuses"][-1] for one in ("echo", "store", "studies", "series", "get", "move")} == {0}
    assert {*said["studies"]["statuses"], *said["series"]["statuses"]} <= {0, PENDING, ALL_KEYS_PENDING}
    [study], [series] = said["studies"]["found"], said["series"]["found"]
    for name in ("StudyInstanceUID", "PatientID"):
        assert study[name] == series[name] == file[name].value
    assert study["PatientName"] == [{"Alphabetic": str(file.PatientName).split("=")[0]}]
    assert (study["ModalitiesInStudy"], study["NumberOfStudyRelatedInstances"]) == ("CT", 1)
    assert (series["SeriesInstanceUID"], series["Modality"]) == (file.SeriesInstanceUID, "CT")
    assert said["got"] == said["moved"] == [said["sent"]]
    back = pydicom.dcmread(BytesIO(_part10(bytes.fromhex(said["sent"]))))
    assert (back.SOPInstanceUID, back.PixelData) == (file.SOPInstanceUID, file.PixelData)


def _part10(data: bytes) -> bytes:
    """An implicit VR data set as a file."""
    found = pydicom.dcmread(BytesIO(data), force=True)
    found.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    out = BytesIO()
    found.save_as(out, enforce_file_format=True)
    return out.getvalue()
