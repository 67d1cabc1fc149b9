"""Pictures of CT images beside Orthanc's: `python tests/benchmarks/rendering.py`.

Each server is started anew, fed the same 512 by 512 instances of 16 bits, and asked for pictures of them
over two connections that stay open. The table gives pictures a second, the best of three.

    --count 100      pictures of each kind and round
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import requests
from receivers import HTTP, ORTHANC, Scenario, _feed, _receiver

INSTANCES = 20
CONNECTIONS = 2
JPEG, PNG = {"Accept": "image/jpeg"}, {"Accept": "image/png"}
WINDOW = "window=300,700,linear"

Kind = tuple[str, Mapping[str, str]]

OURS: Mapping[str, Kind] = {
    "thumbnail, JPEG": ("thumbnail", JPEG),
    "whole, JPEG": ("rendered", JPEG),
    "whole, JPEG, windowed": (f"rendered?{WINDOW}", JPEG),
    "whole, PNG": ("rendered", PNG),
}
THEIRS: Mapping[str, Kind] = {
    "thumbnail, JPEG": ("rendered?width=128&height=128", JPEG),
    "whole, JPEG": ("preview", JPEG),
    "whole, JPEG, windowed": ("rendered?window-center=300&window-width=700", JPEG),
    "whole, PNG": ("preview", PNG),
}


def _ours(folder: Path) -> Sequence[str]:
    base = f"http://127.0.0.1:{(folder / HTTP).read_text()}/dicomweb"
    found: Sequence[str] = ()
    deadline = time.monotonic() + 60
    while len(found) < INSTANCES and time.monotonic() < deadline:
        answer = requests.get(f"{base}/instances?limit={INSTANCES}", timeout=30)
        found = [one["00081190"]["Value"][0] for one in answer.json()] if answer.content else ()
    return found


def _theirs(folder: Path) -> Sequence[str]:
    port = json.loads((folder / "orthanc.json").read_text())["HttpPort"]
    base = f"http://127.0.0.1:{port}/instances"
    return [f"{base}/{one}" for one in requests.get(base, timeout=30).json()]


PEERS: Mapping[str, tuple[str, Callable[[Path], Sequence[str]], Mapping[str, Kind]]] = {
    "pacsbridge": ("pacsbridge", _ours, OURS),
    "orthanc": ("Orthanc", _theirs, THEIRS),
}


def _ask(urls: Sequence[str], kind: Kind, count: int) -> None:
    with requests.Session() as session:
        for url in islice(cycle(urls), count):
            answer = session.get(f"{url}/{kind[0]}", headers=dict(kind[1]), timeout=60)
            answer.raise_for_status()
            assert answer.headers["Content-Type"] == kind[1]["Accept"]


def _rate(urls: Sequence[str], kind: Kind, count: int) -> float:
    started = time.monotonic()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        work = [threads.submit(_ask, urls, kind, count // CONNECTIONS) for _ in range(CONNECTIONS)]
        for one in work:
            one.result()
    return count // CONNECTIONS * CONNECTIONS / (time.monotonic() - started)


@contextmanager
def _filled(peer: str) -> Iterator[Sequence[str]]:
    """A server with the instances; their URLs."""
    with tempfile.TemporaryDirectory() as name, _receiver(peer, Path(name)) as (port, _):
        _feed(port, Scenario("", 1, INSTANCES, ("--large",)), INSTANCES)
        yield PEERS[peer][1](Path(name))


def measure(peer: str, count: int) -> Mapping[str, float]:
    """Pictures a second of each kind."""
    with _filled(peer) as urls:
        rate = partial(_rate, urls)
        for kind in PEERS[peer][2].values():
            rate(kind, CONNECTIONS)
        return {name: max(rate(kind, count) for _ in range(3)) for name, kind in PEERS[peer][2].items()}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    count = parser.parse_args().count
    os.environ["PACSBRIDGE__DICOMWEB__RENDER"] = "true"
    for peer in [name for name in PEERS if name != "orthanc" or ORTHANC is not None]:
        for name, rate in measure(peer, count).items():
            print(f"{PEERS[peer][0]:12} {name:24} {rate:8.1f}/s", flush=True)


if __name__ == "__main__":
    main()
