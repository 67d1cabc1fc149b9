"""`dimse.keep_fetched`: what C-GET and C-MOVE fetch from a real Orthanc by DCMTK's requesters stays here."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from orthanc_peer import Orthanc, source

KEEP = "keep_fetched = true\n"
QUERY = ("-k", "QueryRetrieveLevel=STUDY", "-k")

Samples = Mapping[str, Sequence[Path]]
Make = Callable[..., Any]


def pixels(paths: Sequence[Path]) -> dict[str, bytes]:
    """SOP Instance UID → the pixels of each file."""
    found = [pydicom.dcmread(path) for path in paths]
    return {str(one.SOPInstanceUID): bytes(one.get("PixelData", b"")) for one in found}


def study_uid(path: Path) -> str:
    """The study of a file."""
    return str(pydicom.dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def larger(paths: Sequence[Path], folder: Path) -> list[Path]:
    """The files, images with more pixels than are received in memory."""
    for path in paths:
        one = pydicom.dcmread(path)
        if "PixelData" in one:
            one.Rows = one.Columns = 256
            one.PixelData = one.PixelData.ljust(2 * 256 * 256, b"\0")
        one.save_as(folder / path.name)
    return [folder / path.name for path in paths]


@pytest.fixture
def get(program: Callable[[str], str], tmp_path: Path) -> Callable[[Any, str], dict[str, bytes]]:
    """Gets a study by getscu: the pixels of what comes."""
    getscu = program("getscu")

    def ask(bridge: Any, uid: str) -> dict[str, bytes]:
        folder = tmp_path / f"got{len(list(tmp_path.glob('got*')))}"
        folder.mkdir()
        command = [getscu, "-S", "-od", str(folder), *QUERY, f"StudyInstanceUID={uid}"]
        subprocess.run(
            [*command, "127.0.0.1", str(bridge.dimse_port)], check=True, timeout=120, capture_output=True
        )
        return pixels(list(folder.iterdir()))

    return ask


@contextmanager
def heard(make: Make, archive: Orthanc, uid: str, dimse: str = KEEP, config: str = "") -> Iterator[Any]:
    """A bridge that has heard of a study, and holds nothing of it."""
    bridge = make(config + source(archive), dimse=dimse)
    bridge.launch()  # with a full disk it is never ready
    bridge.wait(lambda: knows(bridge, uid), 60)
    yield bridge
    bridge.stop()


def knows(bridge: Any, uid: str) -> bool:
    """Whether it answers, and has heard of a study."""
    try:
        return bool(bridge.get(f"ImagingStudy/{uid}").status_code == 200)
    except requests.ConnectionError:
        return False


def held(bridge: Any, uid: str) -> int:
    """How many instances of a study it holds itself: nothing is passed on by HTTP."""
    answer = requests.get(f"{bridge.dicomweb}/studies/{uid}/metadata", timeout=30)
    return len(answer.json()) if answer.status_code == 200 else 0


def addresses(bridge: Any, study: Mapping[str, Any]) -> set[str]:
    """Those of the endpoints of a study."""
    return {bridge.get(one["reference"]).json()["address"] for one in study["endpoint"]}


@pytest.mark.parametrize("spool", ["", "spool_bytes = 65536\n"], ids=["memory", "spool"])
def test_a_second_c_get_needs_no_archive(
    make_bridge: Make, make_orthanc: Make, samples: Samples, get: Make, spool: str, tmp_path: Path
) -> None:
    """The first one leaves all instances here; the study stays one, and can be had from both places."""
    files = larger(samples["ct-thorax"], tmp_path) if spool else samples["ct-thorax"]
    uid, archive = study_uid(files[0]), make_orthanc(*files)
    with heard(make_bridge, archive, uid, KEEP + spool) as bridge:
        before = bridge.get(f"ImagingStudy/{uid}").json()
        assert addresses(bridge, before) == {archive.url}
        assert get(bridge, uid) == pixels(files)
        bridge.wait(lambda: held(bridge, uid) == len(files), 60)
        archive.kill()
        assert get(bridge, uid) == pixels(files)
        bridge.wait(lambda: len(bridge.get(f"ImagingStudy/{uid}").json()["endpoint"]) == 2, 60)
        [study] = bridge.studies().values()
        assert addresses(bridge, study) == {archive.url, bridge.dicomweb}
        assert study["meta"]["source"] == before["meta"]["source"] == archive.url
        counts = ("numberOfSeries", "numberOfInstances")
        assert [study[name] for name in counts] == [before[name] for name in counts]
        assert (
            study["numberOfInstances"] == len(files) == sum(len(one["instance"]) for one in study["series"])
        )


def test_what_c_move_fetches_is_kept_too(
    make_bridge: Make,
    make_orthanc: Make,
    samples: Samples,
    program: Callable[[str], str],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> None:
    """movescu has it sent to storescp, and the bridge has it afterwards."""
    files = samples["ct-thorax"][:5]
    uid, port, folder = study_uid(files[0]), free_port(), tmp_path / "moved"
    folder.mkdir()
    peers = (
        f'[[peer]]\nae_title = "MOVESCU"\n[[peer]]\nae_title = "DEST"\nhost = "127.0.0.1"\nport = {port}\n'
    )
    scp = subprocess.Popen([program("storescp"), "-aet", "DEST", "-od", str(folder), str(port)])
    try:
        with heard(make_bridge, make_orthanc(*files), uid, config=peers) as bridge:
            command = [program("movescu"), "-S", "-aem", "DEST", *QUERY, f"StudyInstanceUID={uid}"]
            subprocess.run([*command, "127.0.0.1", str(bridge.dimse_port)], check=True, timeout=120)
            assert pixels(list(folder.iterdir())) == pixels(files)
            bridge.wait(lambda: held(bridge, uid) == len(files), 60)
    finally:
        scp.terminate()
        scp.wait(20)


def test_it_is_off_by_default(make_bridge: Make, make_orthanc: Make, samples: Samples, get: Make) -> None:
    """What is fetched is passed on, and not kept."""
    files = samples["ct-thorax"][:2]
    uid = study_uid(files[0])
    with heard(make_bridge, make_orthanc(*files), uid, "") as bridge:
        assert get(bridge, uid) == pixels(files)
        assert held(bridge, uid) == 0


def test_a_full_disk_keeps_nothing_back(
    make_bridge: Make, make_orthanc: Make, samples: Samples, get: Make
) -> None:
    """Everything is passed on all the same, and each instance leaves a dead letter that says why."""
    files = samples["ct-thorax"][:3]
    uid = study_uid(files[0])
    full = f"[blobs]\nmin_free_bytes = {1 << 50}\n"
    with heard(make_bridge, make_orthanc(*files), uid, KEEP + "spool_bytes = 65536\n", full) as bridge:
        assert get(bridge, uid) == pixels(files)
        assert held(bridge, uid) == 0
        letters = json.loads(bridge.run("dead-letters", "list", "--json").stdout)
        assert {one["key"] for one in letters} == set(pixels(files))
        assert all("disk full" in one["reason"] for one in letters)
