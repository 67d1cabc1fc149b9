"""A real Orthanc with its DICOMweb plugin, for tests that need an archive or another party's answers."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
from ports import free_port

_PLACES = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/local/share/orthanc/plugins")


def dicomweb_plugin() -> Path:
    """Where its DICOMweb plugin is; the test is skipped where it is not installed."""
    found = next((one for place in _PLACES for one in Path(place).glob("libOrthancDicomWeb.so*")), None)
    if found is None:
        pytest.skip("Orthanc's DICOMweb plugin is not installed: apt-get install orthanc-dicomweb")
    return found


class Orthanc:
    """An Orthanc on free ports with a database of its own; ended by its process id."""

    def __init__(self, program: str, plugin: Path, folder: Path) -> None:
        self._program = program
        self.folder = folder
        self.port, self.dicom_port = free_port(), free_port()
        self.storage = folder / "db"
        self.log = folder / "log"
        self._config = folder / "orthanc.json"
        self._config.write_text(
            json.dumps({
                "StorageDirectory": str(self.storage),
                "IndexDirectory": str(self.storage),
                "HttpPort": self.port,
                "DicomPort": self.dicom_port,
                "DicomAet": "ORTHANC",
                "DicomCheckCalledAet": False,
                "DicomAlwaysAllowFind": True,
                "DefaultEncoding": "Utf8",
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "OverwriteInstances": True,
                "StableAge": 1,
                "MaximumStorageCacheSize": 0,
                "Plugins": [str(plugin)],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            })
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> str:
        """Its REST API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its DICOMweb service."""
        return f"{self.root}/dicom-web"

    @property
    def requests(self) -> Sequence[str]:
        """What it has been asked, by method and path."""
        return re.findall(r"\b(?:GET|POST|DELETE) /\S*", self.log.read_text())

    def start(self) -> "Orthanc":
        """Start, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "--verbose-http", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline, "Orthanc does not start"
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """An orderly end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """An end at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def upload(self, *files: Path | bytes) -> None:
        """Store files."""
        for file in files:
            data = file if isinstance(file, bytes) else file.read_bytes()
            assert requests.post(f"{self.root}/instances", data=data, timeout=10).status_code == 200

    def study(self, uid: str) -> str:
        """Its REST resource of a study."""
        found = requests.post(f"{self.root}/tools/lookup", data=uid, timeout=10).json()
        return next(f"{self.root}{one['Path']}" for one in found if one["Type"] == "Study")

    def delete(self, uid: str) -> None:
        """Delete a study."""
        assert requests.delete(self.study(uid), timeout=10).status_code == 200

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.root}/system", timeout=2).ok
        except requests.ConnectionError:
            return False


def source(archive: Orthanc, name: str = "main", poll: float = 1, **more: Any) -> str:
    """The configuration of an archive that is asked every second, or on demand alone."""
    keys = {"name": name, "url": archive.url, "poll_seconds": poll, **more}
    return "[[source]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
