"""WADO-RS of a large study beside nginx, which serves the same bytes as one file, in one run.

    python tests/benchmarks/retrieve.py

A study of CT instances is imported and fetched as one multipart message; the message is kept, and nginx
serves it as a file. Both are fetched in turn by a client that throws the bytes away, and the medians of bytes
a second compared: pacsbridge's over nginx's. Shows too by how much the memory of the process has grown.

    --megabytes N   of the study    --instance N   bytes of pixels of an instance
    --rounds N      medians of      --folder DIR   for the store and the file
"""

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

from archives import HOST, free_port
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "2.25.1000"
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
PATIENCE = 60.0
PIECE = 1 << 20


def write_study(folder: Path, megabytes: int, pixels: int) -> int:
    """The files of one study; returns how many."""
    folder.mkdir(parents=True)
    count = max(megabytes * 1_000_000 // pixels, 1)
    content = bytes(range(256)) * (pixels // 256)
    for number in range(count):
        _instance(number, content).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return count


def _instance(number: int, content: bytes) -> Dataset:
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID = UID(CT), UID(f"2.25.3000.{number}")
    found.StudyInstanceUID, found.SeriesInstanceUID = UID(STUDY), UID("2.25.2000")
    found.PatientID, found.Modality, found.InstanceNumber = "SYN-1", "CT", number + 1
    found.Rows = found.Columns = 512
    found.BitsAllocated = found.BitsStored = 16
    found.HighBit, found.SamplesPerPixel, found.PixelRepresentation = 15, 1, 0
    found.PhotometricInterpretation = "MONOCHROME2"
    found.add_new(0x7FE00010, "OW", content)
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    return found


@contextmanager
def ours(root: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`pacsbridge serve` with the study: its process, and the URL of the study."""
    http, config = free_port(), root / "pacsbridge.toml"
    config.write_text(
        f'data_dir = "{root / "data"}"\n[dimse]\nport = {free_port()}\n[fhir]\nport = {http}\n'
        '[log]\nlevel = "warning"\n'
    )
    command = [sys.executable, "-m", "pacsbridge"]
    subprocess.run([*command, "import", "--config", str(config), str(root / "files")], check=True)
    process = subprocess.Popen([*command, "serve", "--config", str(config)])
    try:
        _await(http)
        yield process, f"http://{HOST}:{http}/dicomweb/studies/{STUDY}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def nginx(root: Path, program: str) -> Iterator[str]:
    """nginx with its files: the URL of the message."""
    port = free_port()
    config = root / "nginx.conf"
    config.write_text(
        f"user root; daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log; worker_processes 1;\n"
        "events {}\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on;\n"
        f" client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;\n"
        f" uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n"
        f" server {{ listen {HOST}:{port}; root {root / 'www'}; }} }}\n"
    )
    process = subprocess.Popen([program, "-c", str(config), "-p", str(root)], stderr=subprocess.DEVNULL)
    try:
        _await(port)
        yield f"http://{HOST}:{port}/message"
    finally:
        process.terminate()
        process.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError("nobody listens")


def fetch(url: str, to: Path | None = None) -> tuple[int, float]:
    """Bytes and seconds of a fetch; the bytes are kept in a file or thrown away."""
    began, count = time.perf_counter(), 0
    buffer = bytearray(PIECE)
    request = Request(url, headers={"Accept": ACCEPT})
    with urlopen(request, timeout=PATIENCE) as answer, (to or Path("/dev/null")).open("wb") as file:
        while size := answer.readinto(buffer):
            count += size
            if to is not None:
                file.write(memoryview(buffer)[:size])
    return count, time.perf_counter() - began


def memory(process: subprocess.Popen[bytes]) -> int:
    """The most memory that a process has had, in KiB."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def run(asked: argparse.Namespace, root: Path, program: str) -> None:
    """The whole run."""
    count = write_study(root / "files", asked.megabytes, asked.instance)
    (root / "www").mkdir()
    with ours(root) as (process, url):
        before = memory(process)
        size, _ = fetch(url, root / "www" / "message")
        with nginx(root, program) as other:
            rates: dict[str, list[float]] = {url: [], other: []}
            for _ in range(asked.rounds):
                for one, found in rates.items():
                    got, seconds = fetch(one)
                    assert got == size, (one, got, size)
                    found.append(size / seconds)
        grown = memory(process) - before
    mine, theirs = (statistics.median(found) for found in rates.values())
    print(f"{count:,} instances, {size / 1e6:,.0f} MB")
    print(f"pacsbridge {mine / 1e6:8,.0f} MB/s   memory +{grown / 1024:.0f} MiB")
    print(f"nginx      {theirs / 1e6:8,.0f} MB/s   ratio {mine / theirs:.2f}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--instance", type=int, default=524_288)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        sys.exit("nginx is not installed: apt-get install nginx-light")
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        run(asked, Path(folder), program)


if __name__ == "__main__":
    main()
