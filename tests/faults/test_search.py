"""T-SEARCH: the costliest questions from many clients at once; answers stay quick, or say it is too much."""

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import requests
from benchmarks.fhir_api import Corpus, fill
from bystander import bystander
from queries import fill as fill_queries

from .conftest import MakeSite, Site

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


QUERIES = (
    "studies?PatientName=*a*&fuzzymatching=true&limit=10000",
    "studies?StudyDescription=*e*&includefield=all&limit=10000",
    "studies?ModalitiesInStudy=XX&PatientName=*z*",
    "studies?StudyDate=19000101-20991231&offset=5000&limit=10000",
    "series?SeriesDescription=*e*&includefield=all&limit=10000",
    "series?Modality=*&PatientName=*e*&fuzzymatching=true&offset=100",
    "instances?InstanceNumber=99999",
    "instances?limit=10000",
)
"""Of QIDO-RS: what the database cannot tell alone, and what is long."""


@pytest.mark.timeout(300)
def test_worst_questions(make_site: MakeSite, tmp_path: Path, numbers: Callable[..., int]) -> None:
    """T-SEARCH: each is answered in time, or by 429 or 503 with an OperationOutcome; then all is calm."""
    site = _filled(
        make_site, tmp_path, lambda site: fill(site.bridge.data_dir, Corpus(numbers(1000, 100_000)))
    )
    urls = [f"{site.bridge.fhir}/{one}" for one in WORST]
    refused = _ask_all(site, urls, numbers)
    assert all(json.loads(body)["resourceType"] == "OperationOutcome" for body in refused)


@pytest.mark.timeout(300)
def test_worst_queries(make_site: MakeSite, tmp_path: Path, numbers: Callable[..., int]) -> None:
    """T-SEARCH: the same of QIDO-RS, which takes turns with the FHIR API."""
    site = _filled(make_site, tmp_path, lambda site: fill_queries(site.bridge.config, numbers(1000, 50_000)))
    urls = [f"{site.bridge.dicomweb}/{one}" for one in QUERIES]
    urls += [f"{site.bridge.fhir}/{one}" for one in WORST[:3]]
    refused = _ask_all(site, urls, numbers)
    assert all(
        {"status", "reason"} <= json.loads(body).keys() or b"OperationOutcome" in body for body in refused
    )


def _filled(make_site: MakeSite, folder: Path, filling: Callable[[Site], object]) -> Site:
    """A site that runs, with what was filled in between, so that it is published as it would have done it."""
    data = folder / "data"
    data.mkdir()
    site = make_site(data_dir=data).start()
    assert site.bridge.stop() == 0
    filling(site)
    site.start()
    site.oracle.rest()
    return site


def _ask_all(site: Site, urls: Sequence[str], numbers: Callable[..., int]) -> Sequence[bytes]:
    """Many clients ask at random; the bodies of what was refused."""
    end, statuses = time.monotonic() + numbers(8, 60), Counter[int]()
    found, refused, bodies = list[float](), list[float](), set[bytes]()

    def ask(number: int) -> None:
        chance = random.Random(number)
        with requests.Session() as session:
            while time.monotonic() < end:
                answer = session.get(chance.choice(urls), timeout=60)
                statuses[answer.status_code] += 1
                (refused if answer.status_code >= 400 else found).append(answer.elapsed.total_seconds())
                if answer.status_code >= 400:
                    assert answer.headers["Retry-After"]
                    bodies.add(answer.content)

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(numbers(12, 200))]
    with bystander(site.bridge), site.oracle.bounded(1000):
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    print(f"p99 {_late(found):.2f} s, of refusals {_late(refused):.2f} s, {dict(statuses)}")
    assert statuses.keys() <= {200, 204, 429, 503}
    assert max(_late(found), _late(refused)) < numbers(10, 2)
    site.bridge.wait(lambda: site.oracle.process().cpu_percent(0.5) < 20, 30)
    site.oracle.settled()
    return [*bodies]


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
