"""The first load of an archive beside fetching the same answers and throwing them away, in one run.

    python tests/benchmarks/archives.py

The archive is a stub in a process of its own that answers with bytes it has ready: studies of one series with
two instances, spread over ten years. `Rounds.load()` runs in another process, on an empty store, and notes
every request. Then, in a third one, the same client asks the same questions in the same order, as many at a
time, and discards what it gets: as ratio what the load takes over that (1: nothing more). Where Orthanc is
installed with its DICOMweb plugin, the same with synthetic studies in a real one, of one instance each. Ends
with 1 when a load is not complete.

    --studies N        of the stub           --level LEVEL    instance, series, study or metadata
    --orthanc N        of Orthanc; 0: none   --connections N  at a time
    --rounds N         medians of so many    --folder DIR     for the stores and Orthanc
"""

import argparse
import io
import json
import multiprocessing
import os
import platform
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.request import Request, urlopen

import aiohttp
from aiohttp import web

from pacsbridge import archives, logs, opening, runtime
from pacsbridge.config import load as load_settings

HOST = "127.0.0.1"
DAYS = 3650
INSTANCES = 2
"""A study of the stub."""

CT = "1.2.840.10008.5.1.4.1.1.2"
JSON = "application/dicom+json"
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/local/share/orthanc/plugins")
PATIENCE = 30.0

Result = TypeVar("Result")
Asked = tuple[str, Sequence[tuple[str, str]]]
"""Path and parameters of a request."""


# the synthetic studies


def uid(number: int, *below: int) -> str:
    """The UID of a study, or of what is below it."""
    return ".".join(map(str, (f"2.25.{10**30 + number}", *below)))


def day(number: int, studies: int) -> date:
    """The Study Date of a study: the first is the oldest."""
    return date.today() - timedelta(days=DAYS - 1 - number * DAYS // studies)  # noqa: DTZ011


def study_values(number: int, studies: int) -> Mapping[str, tuple[str, Any]]:
    """Tag → representation and value of a study's record."""
    return {
        "00080020": ("DA", f"{day(number, studies):%Y%m%d}"),
        "00080030": ("TM", f"{number * 7919 % 24:02}{number * 104729 % 60:02}00"),
        "00080050": ("SH", f"A{number:08}"),
        "00080054": ("AE", "STUB"),
        "00080056": ("CS", "ONLINE"),
        "00080061": ("CS", "CT"),
        "00080090": ("PN", {"Alphabetic": f"Referrer^{number % 500}"}),
        "00080201": ("SH", "+0100"),
        "00081030": ("LO", "CT Thorax nativ"),
        "00100010": ("PN", {"Alphabetic": f"Muster^Nummer{number // 3}"}),
        "00100020": ("LO", f"P{number // 3:07}"),
        "00100021": ("LO", "HOSP"),
        "00100030": ("DA", f"19{number // 3 % 90 + 10}0704"),
        "00100040": ("CS", "MF"[number // 3 % 2]),
        "0020000D": ("UI", uid(number)),
        "00200010": ("SH", f"{number}"),
        "00201206": ("IS", 1),
        "00201208": ("IS", INSTANCES),
    }


def series_values(number: int) -> Mapping[str, tuple[str, Any]]:
    """The same of its series."""
    return {
        "00080021": ("DA", "20240311"),
        "00080031": ("TM", "101500"),
        "00080060": ("CS", "CT"),
        "0008103E": ("LO", "Thorax 5.0 Lunge"),
        "00180015": ("CS", "CHEST"),
        "0020000D": ("UI", uid(number)),
        "0020000E": ("UI", uid(number, 1)),
        "00200011": ("IS", 1),
        "00201209": ("IS", INSTANCES),
    }


def instance_values(number: int, instance: int) -> Mapping[str, tuple[str, Any]]:
    """The same of an instance, with what its series says."""
    return {
        **series_values(number),
        "00080008": ("CS", "ORIGINAL"),
        "00080016": ("UI", CT),
        "00080018": ("UI", uid(number, 1, instance)),
        "00200013": ("IS", instance),
    }


def row(values: Mapping[str, tuple[str, Any]]) -> bytes:
    """A record in DICOM JSON."""
    plain = {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in sorted(values.items())}
    return json.dumps(plain, separators=(",", ":")).encode()


def file(number: int, studies: int) -> bytes:
    """A Part 10 file of the only instance of a study, without pixels."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    for tag, (vr, value) in {**study_values(number, studies), **instance_values(number, 1)}.items():
        if tag not in ("00080054", "00080056", "00080061", "00201206", "00201208", "00201209"):
            ds.add_new(int(tag, 16), vr, value["Alphabetic"] if isinstance(value, dict) else value)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(CT), UID(ds.SOPInstanceUID)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = io.BytesIO()
    made = FileDataset(buffer, ds, preamble=bytes(128), file_meta=meta)
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# the stub


class Stub:
    """QIDO-RS over studies whose records are ready; what is asked for by attribute is not looked at."""

    def __init__(self, studies: int) -> None:
        self._days = [f"{day(number, studies):%Y%m%d}" for number in range(studies)]
        self._studies = [row(study_values(number, studies)) for number in range(studies)]
        self._numbers = {uid(number): number for number in range(studies)}
        self._below: Mapping[str, Callable[[int], bytes]] = {
            "series": [row(series_values(number)) for number in range(studies)].__getitem__,
            "instances": [
                b",".join(row(instance_values(number, one + 1)) for one in range(INSTANCES))
                for number in range(studies)
            ].__getitem__,
            "metadata": lambda number: b",".join(
                row({**study_values(number, studies), **instance_values(number, one + 1)})
                for one in range(INSTANCES)
            ),
        }

    def app(self) -> web.Application:
        """Its routes."""
        made = web.Application()
        made.router.add_get("/studies", self._listed)
        made.router.add_get("/{level:series|instances}", self._of_studies)
        made.router.add_get("/studies/{uid}/{level:series|instances|metadata}", self._of_study)
        return made

    async def _listed(self, request: web.Request) -> web.Response:
        query = request.query
        if (named := query.get("StudyInstanceUID")) is not None:
            return _answer([self._studies[number] for number in self._named(named)])
        first, last = _range(query.get("StudyDate", ""))
        low, high = bisect_left(self._days, first), bisect_right(self._days, last)
        begin = low + int(query.get("offset", "0"))
        return _answer(self._studies[begin : min(high, begin + int(query["limit"]))])

    async def _of_studies(self, request: web.Request) -> web.Response:
        below = self._below[request.match_info["level"]]
        numbers = self._named(request.query["StudyInstanceUID"])
        return _answer([] if int(request.query.get("offset", "0")) else [below(one) for one in numbers])

    async def _of_study(self, request: web.Request) -> web.Response:
        below = self._below[request.match_info["level"]]
        numbers = self._named(request.match_info["uid"])
        return _answer([] if int(request.query.get("offset", "0")) else [below(one) for one in numbers])

    def _named(self, uids: str) -> Sequence[int]:
        return [self._numbers[one] for one in uids.split(",") if one in self._numbers]


def _answer(rows: Sequence[bytes]) -> web.Response:
    return web.Response(body=b"[" + b",".join(rows) + b"]", content_type=JSON)


def _range(text: str) -> tuple[str, str]:
    """The first and the last day that a Study Date is asked for."""
    first, dash, last = text.partition("-")
    return first or "0", (last or "9") if dash or not first else first


def _serve(studies: int, pipe: Pipe) -> None:
    """The stub's process."""
    app = Stub(studies).app()
    listener = socket.create_server((HOST, 0))
    pipe.send(listener.getsockname()[1])
    web.run_app(app, sock=listener, print=None, access_log=None, handle_signals=True)


@contextmanager
def stub(studies: int) -> Iterator[str]:
    """The URL of a stub that runs."""
    ours, theirs = multiprocessing.Pipe()
    process = _SPAWN.Process(target=_serve, args=(studies, theirs), daemon=True)
    process.start()
    try:
        yield f"http://{HOST}:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


_SPAWN = multiprocessing.get_context("spawn")


# Orthanc


def plugin() -> Path | None:
    """Orthanc's DICOMweb plugin, where it is installed."""
    places = (one for place in PLUGINS for one in Path(place).glob("libOrthancDicomWeb.so*"))
    return next(places, None) if shutil.which("Orthanc", path=_PATH) else None


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@contextmanager
def orthanc(studies: int, folder: Path, dicom_port: int | None = None) -> Iterator[str]:
    """The DICOMweb URL of an Orthanc that holds so many studies; it may listen for DIMSE too."""
    port = free_port()
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": dicom_port is not None,
        "DicomPort": dicom_port or 0,
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowFind": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(plugin())],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    config = folder / "orthanc.json"
    config.write_text(json.dumps(settings))
    command = [str(shutil.which("Orthanc", path=_PATH)), str(config)]
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    root = f"http://{HOST}:{port}"
    try:
        _await(root)
        with ThreadPoolExecutor(4) as senders:
            for _ in senders.map(lambda number: _send(root, file(number, studies)), range(studies)):
                pass
        yield f"{root}/dicom-web"
    finally:
        process.kill()
        process.wait()


def _send(root: str, content: bytes) -> None:
    urlopen(Request(f"{root}/instances", content), timeout=PATIENCE).close()


def _await(root: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(URLError):
            urlopen(f"{root}/system", timeout=PATIENCE).close()
            return
        time.sleep(0.05)
    raise RuntimeError("Orthanc does not answer")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


# measuring


@dataclass(frozen=True)
class Case:
    """One archive, and how it is asked."""

    url: str
    studies: int
    level: str
    connections: int
    folder: Path


@dataclass(frozen=True)
class Loaded:
    """What a load came to."""

    seconds: float
    peak: float
    studies: int
    instances: int
    asked: Sequence[Asked]


def _config(case: Case, folder: Path) -> Path:
    path = folder / "pacsbridge.toml"
    path.write_text(
        f'data_dir = "{folder}/data"\n[[source]]\nname = "stub"\nurl = "{case.url}"\nlevel = "{case.level}"\n'
        f"connections = {case.connections}\n"
    )
    return path


def loaded(case: Case, folder: Path) -> Loaded:
    """The first load, on an empty store."""
    logs.configure("warning")
    settings = load_settings(_config(case, folder))
    [source] = settings.sources
    store = opening.open_store(settings)
    with closing(store), archives.connected(settings, source) as connection:
        client, asked = connection.archive.client, list[Asked]()
        ask = client.get

        def get(path: str, params: Sequence[tuple[str, str]] = (), *rest: Any, **more: Any) -> Any:
            asked.append((path, params))
            return ask(path, params, *rest, **more)

        client.get = get  # type: ignore[method-assign, assignment]
        rounds = connection.rounds(store, opening.now)
        runtime.settle()  # as `serve` and `sync` do
        started = time.perf_counter()
        rounds.load()
        seconds = time.perf_counter() - started
        studies = store.count_reports(source.url) if rounds.state.loaded else 0
    return Loaded(seconds, _peak(), studies, _instances(folder), asked)


def fetched(case: Case, folder: Path, asked: Sequence[Asked]) -> float:
    """Seconds that the same client takes for the same answers, which are discarded."""
    settings = load_settings(_config(case, folder))
    [source] = settings.sources
    with archives.connected(settings, source) as connection, ThreadPoolExecutor(case.connections) as pool:
        client = connection.archive.client
        started = time.perf_counter()
        for _status in pool.map(lambda one: client.get(*one).status, asked):
            pass
        return time.perf_counter() - started


def _instances(folder: Path) -> int:
    [database] = (folder / "data").glob("index.sqlite")
    with closing(sqlite3.connect(database)) as connection:
        [[count]] = connection.execute("SELECT count(*) FROM reported_instance")
    return int(count)


def _peak() -> float:
    """Megabytes that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(call: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call in a process of its own."""
    ours, theirs = multiprocessing.Pipe()
    process = _SPAWN.Process(target=_run, args=(theirs, call, arguments))
    process.start()
    theirs.close()
    try:
        result: Result = ours.recv()
    finally:
        process.join()
    return result


def _run(pipe: Pipe, call: Callable[..., Any], arguments: Sequence[Any]) -> None:
    pipe.send(call(*arguments))


def measured(title: str, case: Case, rounds: int, each: int) -> bool:
    """Print a row; whether every load was complete."""
    loads: list[Loaded] = []
    fetches: list[float] = []
    for _round in range(rounds):
        with tempfile.TemporaryDirectory(dir=case.folder) as name:
            loads.append(apart(loaded, case, Path(name)))
            fetches.append(apart(fetched, case, Path(name), loads[-1].asked))
    seconds, fetching = statistics.median(one.seconds for one in loads), statistics.median(fetches)
    instances = each * case.studies if case.level in ("instance", "metadata") else 0
    complete = all((one.studies, one.instances) == (case.studies, instances) for one in loads)
    peak = max(one.peak for one in loads)
    print(
        f"  {title:24} {case.studies:>8,} {len(loads[0].asked):>9,} {seconds:>8.2f} s {fetching:>8.2f} s"
        f" {seconds / fetching:>6.2f}× {case.studies / seconds:>10,.0f} {peak:>6.0f} MB"
        + ("" if complete else f"   NOT COMPLETE: {loads[-1].studies:,}, {loads[-1].instances:,} instances"),
        flush=True,
    )
    return complete


# the command line


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--orthanc", type=int, default=10_000)
    parser.add_argument("--level", choices=("instance", "series", "study", "metadata"), default="instance")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    return parser.parse_args()


def run(asked: argparse.Namespace, root: Path) -> bool:
    """Both archives; whether every load was complete."""
    print(
        f"  {'archive':24} {'studies':>8} {'requests':>9} {'load':>10} {'fetch':>10} {'ratio':>7}"
        f" {'studies/s':>10} {'peak':>9}"
    )
    complete = True
    if asked.studies:
        with stub(asked.studies) as url:
            case = Case(url, asked.studies, asked.level, asked.connections, root)
            complete = measured("stub", case, asked.rounds, INSTANCES)
    if asked.orthanc and plugin() is None:
        print(f"  {'Orthanc':24} not installed: apt-get install orthanc orthanc-dicomweb")
    elif asked.orthanc:
        with orthanc(asked.orthanc, root) as url:
            case = Case(url, asked.orthanc, asked.level, asked.connections, root)
            complete &= measured("Orthanc", case, asked.rounds, 1)
    return complete


def main() -> None:
    """Command line."""
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    print(
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, SQLite {sqlite3.sqlite_version},"
        f" {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; level {asked.level},"
        f" {asked.connections} connections, medians of {asked.rounds}"
    )
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        complete = run(asked, Path(name))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
