"""pacsbridge beside its peers as a C-STORE receiver, in one run: `python tests/benchmarks/receivers.py`.

Each receiver is started anew for each scenario, fed by the same sender (see sender.py; storescu of DCMTK for
"default sender"), and ended. pacsbridge's row is what a user gets: durable when it is answered, and the time
counts until all of it is indexed too. The table gives seconds, for each peer its seconds over pacsbridge's
(above 1: pacsbridge is quicker), and whether the last tenth of the instances took longer than the second
tenth (in the first, nothing is indexed or published yet).

    --only SCENARIO[,…]   one,four,large,memory,studies,nagle        --scale 0.1   fewer instances
    --peers PEER[,…]      pacsbridge,answers,syncs,storescp,orthanc
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
HTTP = "http"
"""The file in which pacsbridge's HTTP port is noted."""
INDEXED = "pacsbridge_instances_indexed_total "
ORTHANC = shutil.which("Orthanc")
STORESCP = shutil.which("storescp")
STORESCU = shutil.which("storescu")


@dataclass(frozen=True)
class Scenario:
    """So many associations, each with so many instances."""

    title: str
    associations: int
    instances: int
    arguments: tuple[str, ...] = ()
    nagle: bool = False


SCENARIOS: Mapping[str, Scenario] = {
    "one": Scenario("one association, 5,000 × 39 KB", 1, 5000),
    "four": Scenario("four associations, 5,000 × 39 KB", 4, 1250),
    "large": Scenario("one association, 800 × 525 KB", 1, 800, ("--large",)),
    "memory": Scenario("four associations, 200 × 525 KB each", 4, 200, ("--large",)),
    "studies": Scenario("20,000 new studies of one instance", 1, 20000, ("--studies",)),
    "nagle": Scenario("default storescu, 500 × 39 KB", 1, 500, nagle=True),
}


@dataclass(frozen=True)
class Fed:
    """Seconds until the last response, and those of the last tenth over those of the second."""

    seconds: float
    slowdown: float


def _port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _pacsbridge(folder: Path, port: int) -> Sequence[str]:
    config = folder / "pacsbridge.toml"
    http = _port()
    (folder / HTTP).write_text(str(http))
    config.write_text(f'data_dir = "{folder}/data"\n[dimse]\nport = {port}\n[fhir]\nport = {http}\n')
    return [sys.executable, "-m", "pacsbridge", "serve", "--config", str(config)]


def _answers(_folder: Path, port: int) -> Sequence[str]:
    return [sys.executable, str(HERE / "peer_pynetdicom.py"), str(port)]


def _syncs(folder: Path, port: int) -> Sequence[str]:
    return [*_answers(folder, port), str(folder)]


def _storescp(folder: Path, port: int) -> Sequence[str]:
    return [str(STORESCP), "-od", str(folder), str(port)]


def _orthanc(folder: Path, port: int) -> Sequence[str]:
    config = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomPort": port,
        "HttpPort": _port(),
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "Plugins": [],
    }
    config.write_text(json.dumps(settings))
    return [str(ORTHANC), str(config)]


PEERS: Mapping[str, tuple[str, Callable[[Path, int], Sequence[str]], bool]] = {
    "pacsbridge": ("pacsbridge", _pacsbridge, True),
    "answers": ("pynetdicom, answers at once", _answers, True),
    "syncs": ("pynetdicom, writes and syncs", _syncs, True),
    "storescp": ("DCMTK storescp, no sync, no index", _storescp, STORESCP is not None),
    "orthanc": ("Orthanc", _orthanc, ORTHANC is not None),
}


@contextmanager
def _receiver(peer: str, folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = _port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(PEERS[peer][1](folder, port), stdout=log, stderr=log)
    try:
        _await_port(port, process)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("the receiver does not listen")


def _feed(port: int, scenario: Scenario, count: int) -> "Fed":
    """All associations at once."""
    command = [sys.executable, str(HERE / "sender.py"), str(port), "ANY", str(count), *scenario.arguments]
    senders = [
        subprocess.Popen([*command, "--offset", str(1 + n * count)], stdout=subprocess.PIPE)
        for n in range(scenario.associations)
    ]
    results = [json.loads(sender.communicate(timeout=1800)[0]) for sender in senders]
    wrong = [result["statuses"] for result in results if set(result["statuses"]) != {"0x0000"}]
    if wrong:
        raise RuntimeError(f"statuses {wrong}")
    return Fed(max(float(r["seconds"]) for r in results), max(float(r["slowdown"]) for r in results))


def _feed_nagle(port: int, folder: Path, count: int) -> Fed:
    """Seconds that a default storescu takes for `count` files, its start included."""
    sys.path.insert(0, str(HERE))
    from sender import CT, Template, uid

    from pacsbridge.dicom.part10 import part10_head

    template = Template(large=False)
    for number in range(count):
        head = part10_head(CT, uid(1, number), "1.2.840.10008.1.2.1")
        (folder / f"{number}.dcm").write_bytes(head + template.encoded(number, 1))
    started = time.perf_counter()
    subprocess.run([str(STORESCU), "+sd", "-aec", "ANY", "127.0.0.1", str(port), str(folder)], check=True)
    return Fed(time.perf_counter() - started, 1.0)


def _until_indexed(folder: Path, fed: Fed, count: int) -> Fed:
    """pacsbridge says success before it indexes: what is left of that is part of its time."""
    if not (folder / HTTP).exists():
        return fed
    url = f"http://127.0.0.1:{(folder / HTTP).read_text()}/metrics"
    started = time.perf_counter()
    while _indexed(url) < count:
        if time.perf_counter() - started > 120:
            raise RuntimeError("the index does not get level")
        time.sleep(0.02)
    return Fed(fed.seconds + time.perf_counter() - started, fed.slowdown)


def _indexed(url: str) -> float:
    with urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next((float(line.split()[1]) for line in lines if line.startswith(INDEXED)), 0.0)


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def measure(peer: str, scenario: Scenario, scale: float) -> tuple[Fed, float]:
    """Times and peak megabytes of one peer in one scenario."""
    count = max(1, int(scenario.instances * scale))
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        with _receiver(peer, folder) as (port, process):
            if scenario.nagle:
                (folder / "files").mkdir()
                return _feed_nagle(port, folder / "files", count), _peak_mb(process.pid)
            fed = _feed(port, scenario, count)
            return _until_indexed(folder, fed, count * scenario.associations), _peak_mb(process.pid)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--scale", type=float, default=1.0)
    asked = parser.parse_args()
    for name in asked.only.split(","):
        scenario = SCENARIOS[name]
        print(f"\n{scenario.title} (× {asked.scale:g})")
        ours: float | None = None
        for peer in asked.peers.split(","):
            title, _command, present = PEERS[peer]
            if not present:
                print(f"  {title:36} not installed")
                continue
            fed, peak = measure(peer, scenario, asked.scale)
            ours = fed.seconds if peer == "pacsbridge" else ours
            ratio = f"{fed.seconds / ours:6.2f} ×" if ours else ""
            print(
                f"  {title:36} {fed.seconds:8.2f} s {ratio}   last tenth {fed.slowdown:4.2f} × the second"
                f"   peak {peak:5.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
