"""A full disk: 0xA700, the association lives, reading goes on, and all goes on once there is room."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks.sender import Template, associate_rq, command, p_data, pdu, status, uid

MIB = 1 << 20
SUCCESS, OUT_OF_RESOURCES = 0x0000, 0xA700


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root: run the tests as root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here: run the tests where mount works")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


class Association:
    """One association that pushes numbered instances of 525 KB."""

    def __init__(self, port: int) -> None:
        self._template = Template(large=True)
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(associate_rq("PACSBRIDGE"))
        assert pdu(self._socket)[0] == 2

    def store(self, number: int) -> int:
        """The status of one C-STORE."""
        self._socket.sendall(p_data(command(1, uid(1, number)), self._template.encoded(number, 1)))
        return status(pdu(self._socket)[1])

    def close(self) -> None:
        """Without ceremony."""
        self._socket.close()


@pytest.mark.parametrize("watermark", [0, 8 * MIB])
def test_full_disk_and_back(make_bridge: Any, small_disk: Path, watermark: int, dcmtk: Any) -> None:
    """With a watermark the packs stop in time; without one the disk is filled to the last byte."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40 * MIB))
    bridge = make_bridge(f"[blobs]\nmin_free_bytes = {watermark}\n", data_dir=small_disk / "data").start()
    association = Association(bridge.dimse_port)
    statuses = [association.store(number) for number in range(1, 101)]
    assert set(statuses) == {SUCCESS, OUT_OF_RESOURCES}
    stored = [number for number, answer in enumerate(statuses, 1) if answer == SUCCESS]
    subprocess.run([dcmtk("echoscu"), "127.0.0.1", str(bridge.dimse_port)], check=True)
    assert bridge.get("metadata").status_code == 200
    ballast.unlink()
    bridge.wait(lambda: association.store(200) == SUCCESS, 20)
    expected = {uid(1, number) for number in [*stored, 200]}
    bridge.wait(lambda: listed(bridge) == expected)
    association.close()
    assert bridge.stop() == 0


def listed(bridge: Any) -> set[str]:
    """The SOP Instance UIDs of the one study."""
    study = bridge.get(f"ImagingStudy/{uid(2, 1)}")
    series = study.json().get("series", []) if study.status_code == 200 else []
    return {instance["uid"] for one in series for instance in one["instance"]}
