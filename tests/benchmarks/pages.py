"""How long pages take over a store of many studies, one after the other, by the clock and of one processor.

    python tests/benchmarks/pages.py

The store is that of `fhir_api.py`, and stays in --folder for a next run of either. Ends with 1 where a page
is no 200, or where the first page of the list takes longer than a tenth of a second.

    --studies N       size of the store        --rounds N     pages of each kind, the median of which is told
    --folder DIR      keeps the store there
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import fhir_api
import requests

from pacsbridge.httpd import HttpServer
from pacsbridge.turns import Turns
from pacsbridge.web.app import add_pages
from pacsbridge.web.service import Web, WebSettings

MOST_SECONDS = 0.1

_SEAL = re.compile(r'name="csrf" value="([^"]+)"')

Ask = Callable[[], requests.Response]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The pages over a store; where they are."""
    store = fhir_api.open_store(folder)
    settings = WebSettings("http://127.0.0.1/fhir", "http://127.0.0.1/dicomweb", access_log=False)
    with ThreadPoolExecutor(4) as executor:
        server = HttpServer(
            "127.0.0.1", 0, {}, {}, pages=partial(add_pages, Web(store, settings, Turns(executor)), None)
        )
        server.start()
        yield f"http://127.0.0.1:{server.port}"
        server.stop()
    store.close()


def questions(root: str, browser: requests.Session, study: Mapping[str, str]) -> Mapping[str, Ask]:
    """What is asked, by what it is called."""
    seal = _SEAL.search(browser.get(f"{root}/").text)
    assert seal is not None, "no form"
    get = partial(browser.get, f"{root}/")
    post = partial(browser.post, f"{root}/")
    return {
        "the list": get,
        "the oldest first": partial(get, params={"sort": "started"}),
        "by modality and day": partial(get, params={"modality": "CT", "from": study["day"]}),
        "by UID": partial(get, params={"uid": study["uid"]}),
        "by name": partial(post, {"name": study["name"], "csrf": seal[1]}),
        "by patient ID": partial(post, {"id": study["patient"], "csrf": seal[1]}),
        "nothing found": partial(get, params={"modality": "ZZ"}),
        "one study": partial(browser.get, f"{root}/studies/{study['uid']}"),
        "its history": partial(browser.get, f"{root}/studies/{study['uid']}/history"),
    }


def told(name: str, ask: Ask, rounds: int) -> float:
    """A line about one kind of page; seconds by the clock."""
    clock, processor, size = [], [], 0
    for _ in range(rounds):
        begun, spent = time.perf_counter(), time.process_time()
        answer = ask()
        clock.append(time.perf_counter() - begun)
        processor.append(time.process_time() - spent)
        assert answer.status_code == 200, (name, answer.status_code)
        size = len(answer.content)
    seconds = statistics.median(clock)
    spent_ms = statistics.median(processor) * 1000
    print(f"  {name:22} {seconds * 1000:7.1f} ms {spent_ms:7.1f} ms of a processor {size / 1000:7.0f} KB")
    return seconds


def main() -> None:
    """Build, ask, tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = asked.folder or Path(temporary)
        folder = fhir_api.ready(root, asked.studies, fhir_api.fingerprint())
        found = fhir_api.Corpus(asked.studies).study(asked.studies // 3)
        subject = found["subject"]
        study = {
            "uid": found["id"],
            "day": found["started"][:10],
            "patient": subject["identifier"]["value"],
            "name": subject["display"],
        }
        with served(folder) as url, requests.Session() as browser:
            print(f"{asked.studies:,} studies, the browser's own work counted in")
            times = {
                name: told(name, ask, asked.rounds) for name, ask in questions(url, browser, study).items()
            }
    if times["the list"] > MOST_SECONDS:
        sys.exit(1)


if __name__ == "__main__":
    main()
