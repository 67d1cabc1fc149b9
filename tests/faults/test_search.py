"""T-SEARCH: the costliest questions from many clients at once; answers stay quick, or say it is too much."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from benchmarks.fhir_api import Corpus, fill
from bystander import bystander, echoes

from .conftest import MakeSite

WORST = (
    "ImagingStudy?patient.name:contains=a&_total=accurate&_count=1000",
    "ImagingStudy?status:not=available&modality:not=XX&_sort=-started&_total=accurate",
    "ImagingStudy?bodysite:text=a&reason:text=o&_count=1000",
    "ImagingStudy?started=ge1900&started=le2100&modality=CT,MR,CR,US,PT&_count=1000",
    "ImagingStudy?_include=ImagingStudy:patient&_include=ImagingStudy:endpoint&_count=1000",
    "ImagingStudy?_sort=started&_count=1000&_summary=data",
    "ImagingStudy?_sort=-started&endpoint:missing=true&_total=accurate",
    "ImagingStudy?dicom-class=" + ",".join(f"1.2.840.10008.{n}" for n in range(100)),
    "ImagingStudy?series=" + ",".join(f"2.999.{n}" for n in range(100)),
    "ImagingStudy?identifier:not=" + ",".join(f"x{n}" for n in range(100)) + "&_total=accurate",
    "ImagingStudy?subject:Patient.birthdate=lt2050&patient.gender:not=male&_count=1000",
    "ImagingStudy?_lastUpdated=gt1970-01-01T00:00:00Z&_sort=-_lastUpdated&_count=1000",
    "ImagingStudy?referrer:missing=false&encounter:missing=true&basedon:missing=true&_total=accurate",
    "ImagingStudy?" + "&".join("modality:not=XX" for _ in range(20)),
    "Patient?name:contains=a&name:contains=e&_revinclude=ImagingStudy:patient&_count=1000",
    "Patient?name:contains=an&birthdate=ap1970&gender:not=female&_sort=-birthdate&_total=accurate",
    "Patient?_revinclude=ImagingStudy:patient&_count=1000&_sort=birthdate",
    "Patient?family:exact=Berg&given:contains=a&_total=accurate",
    "_history?_count=1000",
    "ImagingStudy/_history?_since=1970-01-01T00:00:00Z&_count=1000",
)

REFUSED = (
    "ImagingStudy?" + "&".join(f"_tag=x{n}" for n in range(21)),
    "ImagingStudy?modality=" + ",".join(f"M{n}" for n in range(101)),
    "ImagingStudy?_filter=status eq available",
    "ImagingStudy?_include:iterate=*",
    "ImagingStudy?_has:Patient:link:name=x",
    "ImagingStudy?patient.organization.name=x",
)


@pytest.mark.timeout(300)
def test_worst_questions(make_site: MakeSite, tmp_path: Path, numbers: Callable[..., int]) -> None:
    """T-SEARCH: each is answered in time, or by 429 or 503 with an OperationOutcome; then all is calm."""
    data = tmp_path / "data"
    data.mkdir()
    site = make_site(data_dir=data).start()
    assert site.bridge.stop() == 0  # so that what is filled in is published as it would have done it
    fill(data, Corpus(numbers(1000, 100_000)), progress=False)
    site.start()
    site.oracle.rest()
    end, statuses = time.monotonic() + numbers(8, 60), Counter[int]()
    found, refused = list[float](), list[float]()

    def ask(number: int) -> None:
        chance = random.Random(number)
        with requests.Session() as session:
            while time.monotonic() < end:
                answer = session.get(f"{site.bridge.fhir}/{chance.choice(WORST)}", timeout=60)
                statuses[answer.status_code] += 1
                (found if answer.status_code == 200 else refused).append(answer.elapsed.total_seconds())
                assert answer.json()["resourceType"] in ("Bundle", "OperationOutcome")

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(numbers(12, 200))]
    with bystander(site.bridge, echoes(site.bridge)), site.oracle.bounded(1000):
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    print(f"p99 {_late(found):.2f} s, of refusals {_late(refused):.2f} s, {dict(statuses)}")
    assert statuses.keys() <= {200, 429, 503}
    assert max(_late(found), _late(refused)) < numbers(10, 2)
    site.bridge.wait(lambda: site.oracle.process().cpu_percent(0.5) < 20, 30)
    site.oracle.settled()


def _late(seconds: list[float]) -> float:
    """Within how many seconds 99 of 100 came."""
    return sorted(seconds)[int(0.99 * len(seconds))] if seconds else 0.0


@pytest.mark.parametrize("path", REFUSED)
def test_too_much_is_refused(make_site: MakeSite, path: str) -> None:
    """T-SEARCH: more parameters, values, hops than are offered: 400 with what is wrong, never a 500."""
    site = make_site().start()
    answer = site.bridge.get(path, headers={"Prefer": "handling=strict"})
    assert answer.status_code == 400
    assert answer.json()["issue"][0]["severity"] == "error"
