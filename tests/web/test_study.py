"""The pages of one study."""

import time
from base64 import b64encode
from pathlib import Path

import pytest
import requests
from page_site import CT, HOSTILE, LONG, RIGHT_TO_LEFT, Site, changed, fill, site, words

from pacsbridge.errors import Unavailable
from pacsbridge.store.records import Draft
from pacsbridge.store.store import Store

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


def test_a_study_is_told_in_plain_words(looked_at: Site) -> None:
    """What it is, whose, where it can be fetched, who sent it, its series and their instances."""
    said = words(looked_at.get(f"/studies/{CT}"))
    for text in ("CT Thorax nativ", "Dr. Käthe Muster", "SYN-0001", "1958-07-04", "SYN24-1001", CT):
        assert text in said
    for text in (
        "DEMO sent 13 instances",
        "Thorax 5.0 Lunge",
        "CT Image Storage",
        "Computed Tomography (CT)",
    ):
        assert text in said


def test_links_of_a_study_work(looked_at: Site) -> None:
    """Each link and picture of ours on its pages answers."""
    for path in (f"/studies/{CT}", f"/studies/{CT}/history", f"/resources/ImagingStudy/{CT}"):
        text = looked_at.get(path).text
        links = {one.split('"')[0] for part in ('href="', 'src="') for one in text.split(part)[1:]}
        ours = sorted(one.replace("&amp;", "&") for one in links if one.startswith("/"))
        assert len(ours) > 8
        for link in ours:
            assert looked_at.get(link).status_code == 200, link


def test_the_viewer_is_linked_with_the_study(looked_at: Site) -> None:
    """`web.viewer` with the study's UID in it."""
    assert f'href="https://viewer.example/?StudyInstanceUIDs={CT}"' in looked_at.get(f"/studies/{CT}").text


def test_an_endpoint_is_tried(looked_at: Site) -> None:
    """Our own DICOMweb answers with the series it has; nothing but endpoints of the study is asked."""
    page = looked_at.get(f"/studies/{CT}").text
    reference = page.split('name="endpoint" value="')[1].split('"')[0]
    tried = looked_at.post(f"/studies/{CT}/try", {"endpoint": reference}, f"/studies/{CT}")
    assert "it answers with 5 series of the study" in words(tried)
    assert looked_at.get(f"/studies/{CT}/try").url == f"{looked_at.root}/studies/{CT}"
    other = looked_at.post(f"/studies/{CT}/try", {"endpoint": "http://169.254.169.254/"}, f"/studies/{CT}")
    assert other.status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        "/studies/1.2.3",
        "/studies/not_a_uid",
        f"/studies/{CT}/series/1.2.3",
        "/resources/Patient/nobody",
        f"/resources/ImagingStudy/{CT}?version=99",
        "/resources/Basic/1",
        "/nope",
    ],
)
def test_what_is_not_there_is_a_page(looked_at: Site, path: str) -> None:
    """404 with a heading and a way back."""
    answer = looked_at.get(path)
    assert answer.status_code == 404
    assert "To the studies" in words(answer)


@pytest.mark.parametrize("number", ["0", "-1", "x", "1" * 30])
def test_a_page_that_has_no_number(looked_at: Site, number: str) -> None:
    """400, and never a slice that wraps around."""
    series = looked_at.get(f"/studies/{CT}", params={"series": number})
    assert series.status_code == 400


@pytest.mark.parametrize("name", [HOSTILE, RIGHT_TO_LEFT, LONG], ids=["script", "right to left", "64 CJK"])
def test_what_a_modality_writes_is_text(tmp_path: Path, name: str) -> None:
    """Names and descriptions are shown as they are, and mean nothing to a browser."""
    (tmp_path / "sent").mkdir()
    with site(tmp_path / "data", samples=False) as running:
        fill(
            running.running,
            [changed(tmp_path / "sent", PatientName=name, StudyDescription=name, SeriesDescription=name)],
        )
        pages = [f"/studies/{CT}", f"/studies/{CT}/history", f"/resources/ImagingStudy/{CT}", "/"]
        for path in pages:
            answer = running.get(path)
            assert HOSTILE not in answer.text
            assert name.strip("\u202e\u202c") in words(answer) or path.endswith("history")


def test_a_large_study_makes_small_pages(tmp_path: Path) -> None:
    """20,000 instances: each page stays under 300 KB, and each instance stands on one of them."""
    with site(tmp_path, samples=False) as running:
        publish(running, 20_000)
        study = running.get("/studies/1.2.3")
        assert len(study.content) < 300_000
        assert "20 000 instances" in words(study)
        assert len(running.get("/resources/ImagingStudy/1.2.3").content) < 300_000
        last = running.get("/studies/1.2.3/series/1.2.3.2", params={"page": "200"})
        assert "1.2.3.2.20000" in words(last)
        assert len(last.content) < 300_000
        assert "Next" not in words(last)


def publish(running: Site, instances: int) -> None:
    """A study of one series is published, as it would be had its instances arrived."""
    series = {
        "uid": "1.2.3.2",
        "modality": {"code": "CT"},
        "numberOfInstances": instances,
        "instance": [
            {"uid": f"1.2.3.2.{number}", "sopClass": {"code": f"urn:oid:{CT_CLASS}"}, "number": number}
            for number in range(1, instances + 1)
        ],
    }
    content = {
        "resourceType": "ImagingStudy",
        "id": "1.2.3",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}],
        "status": "available",
        "subject": {"display": "x"},
        "numberOfSeries": 1,
        "numberOfInstances": instances,
        "series": [series],
    }
    running.running.store.publish([Draft("ImagingStudy", "1.2.3", content)], 1_700_000_000_000_000)


def test_the_history_says_what_changed(tmp_path: Path) -> None:
    """Each version with the elements that differ from the one before."""
    (tmp_path / "sent").mkdir()
    with site(tmp_path / "data") as running:
        fill(
            running.running,
            [changed(tmp_path / "sent", StudyDescription="Corrected", PatientBirthDate="1958-x")],
        )
        said = words(running.get(f"/studies/{CT}/history"))
        assert "Version 2" in said
        assert "description CT Thorax nativ Corrected" in said
        assert "meta.lastUpdated" not in said
        study = words(running.get(f"/studies/{CT}"))
        assert "What was left out or is in doubt" in study
        assert "PatientBirthDate 1958-x" in study


def test_ids_need_not_be_uids(tmp_path: Path) -> None:
    """Studies stand under their UIDs whatever the ids of their resources are."""
    with site(tmp_path, FHIR__ID_FORM="hash") as running:
        assert f'href="/studies/{CT}"' in running.get("/").text
        study = running.get(f"/studies/{CT}")
        assert study.status_code == 200
        json_page = study.text.split('href="/resources/ImagingStudy/')[1].split('"')[0]
        assert json_page != CT
        assert running.get(f"/resources/ImagingStudy/{json_page}").status_code == 200


def test_what_is_looked_at_is_on_record(tmp_path: Path) -> None:
    """A study that was opened and a list that was asked for, each as an event of the audit log."""
    with site(tmp_path) as running:
        running.get(f"/studies/{CT}")
        running.post("/", {"id": "SYN-0001"})
        query = b64encode(b"id=SYN-0001").decode()
        deadline = time.monotonic() + 30
        while not all(one in (events := recorded(running)) for one in (CT, query)):
            assert time.monotonic() < deadline, events
            time.sleep(0.1)


def recorded(running: Site) -> str:
    """The audit log."""
    return running.get("/fhir/AuditEvent", params={"_count": "50"}).text


def test_pages_carry_their_policy(looked_at: Site) -> None:
    """Every answer, faults too: nobody else is asked, nothing is kept, nobody frames it."""
    for path in ("/", f"/studies/{CT}", "/nope", "/?from=x"):
        answer = looked_at.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "style=" not in answer.text
        assert "<script>" not in answer.text


def test_static_files_are_kept_for_good(looked_at: Site) -> None:
    """Their URLs change with them; what is no such file is 404."""
    path = looked_at.get("/").text.split('rel="stylesheet" href="')[1].split('"')[0]
    first = looked_at.get(path)
    assert "immutable" in first.headers["Cache-Control"]
    again = requests.get(looked_at.root + path, headers={"If-None-Match": first.headers["ETag"]}, timeout=10)
    assert again.status_code == 304
    assert looked_at.get("/static/0/style.css").status_code == 404
    assert looked_at.get("/static/0/%2e%2e%2fapp.py").status_code == 404


def test_the_store_may_be_away(looked_at: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 in words, and when to try again."""

    def away(*_: object) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(Store, "search", away)
    answer = looked_at.get("/")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "the database is away" in words(answer)
