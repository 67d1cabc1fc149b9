"""QIDO-RS over HTTP: paths, answers, headers, refusals."""

from collections.abc import Sequence

import pytest
import requests
from dicomweb_client import DICOMwebClient
from tests.dicomweb.conftest import CT, STUDY, Bridge, Instance

from pacsbridge.bridge.publish import Publisher
from pacsbridge.kernel.reports import Report, ReportedSeries
from pacsbridge.kernel.resources import Publication
from pacsbridge.store.records import Reported

TYPE = "application/dicom+json"


@pytest.fixture
def published(bridge: Bridge, held: Sequence[Instance]) -> Sequence[Instance]:
    """Three instances of two series, published."""
    Publisher(bridge.store, Publication(), lambda: 1 << 50).publish_all()
    return held


def get(url: str, **headers: str) -> requests.Response:
    """An answer."""
    return requests.get(url, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/studies", 1),
        ("/series", 2),
        ("/instances", 3),
        (f"/studies/{STUDY}/series", 2),
        (f"/studies/{STUDY}/instances", 3),
        (f"/studies/{STUDY}/series/{STUDY}.1/instances", 2),
    ],
)
def test_each_path_lists_its_level(
    bridge: Bridge, published: Sequence[Instance], path: str, count: int
) -> None:
    """Each result names where it can be retrieved, and it can be."""
    answer = get(bridge.url + path, Accept=TYPE)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, TYPE)
    assert len(answer.json()) == count
    assert len(published) == 3
    for one in answer.json():
        [url] = one["00081190"]["Value"]
        assert get(url).status_code == 200


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
def test_what_cannot_be_retrieved_here_has_no_address(
    bridge: Bridge, held: Sequence[Instance], path: str
) -> None:
    """A study that only an archive has is listed without a RetrieveURL where it is not passed on."""
    assert held
    series = ReportedSeries({"uid": "1.2.9.1"}, [{"uid": "1.2.9.1.1", "sop_class": CT}])
    report = Report({}, {"uid": "1.2.9"}, [series])
    bridge.store.put_reports("http://archive", [Reported("1.2.9", b"", "20260102", report)], 1)
    Publisher(bridge.store, Publication(), lambda: 1 << 50).publish_all()
    rows = get(bridge.url + path).json()
    addressed = {one["0020000D"]["Value"][0]: "00081190" in one for one in rows}
    assert addressed == {STUDY: True, "1.2.9": False}


def test_nothing_is_204(bridge: Bridge, published: Sequence[Instance]) -> None:
    """No match, no study of that UID, nothing beyond the end."""
    assert published
    for path in (
        "/studies?PatientID=nobody",
        "/studies/1.2.3/series",
        "/studies?offset=5",
        "/studies?limit=0",
    ):
        answer = get(bridge.url + path)
        assert (answer.status_code, answer.content) == (204, b"")


def test_what_was_left_out_is_told(bridge: Bridge, published: Sequence[Instance]) -> None:
    """By a header, with the results that there are."""
    assert published
    answer = get(bridge.url + "/instances?limit=2")
    assert len(answer.json()) == 2
    assert answer.headers["Warning"].startswith('299 pacsbridge "there are more')
    assert "Warning" not in get(bridge.url + "/instances?limit=3").headers
    assert "left out" in get(bridge.url + "/studies?includefield=KVP").headers["Warning"]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("KVP=120", "KVP"),
        ("limit=x", "limit"),
        ("StudyDate=soon", "StudyDate"),
        ("%3Cscript%3E=1", "script"),
    ],
)
def test_what_is_not_understood_is_400(bridge: Bridge, query: str, named: str) -> None:
    """The parameter is named, whatever it is."""
    answer = get(f"{bridge.url}/studies?{query}")
    assert answer.status_code == 400
    assert named in answer.json()["reason"]
    assert "<" not in answer.text


def test_xml_is_not_offered(bridge: Bridge) -> None:
    """DICOM JSON alone."""
    answer = get(bridge.url + "/studies", Accept='multipart/related; type="application/dicom+xml"')
    assert answer.status_code == 406


def test_another_partys_client_pages(bridge: Bridge, published: Sequence[Instance]) -> None:
    """dicomweb-client searches all levels, and its pages make the whole."""
    client = DICOMwebClient(bridge.url)
    assert [one["0020000D"]["Value"] for one in client.search_for_studies()] == [[STUDY]]
    assert len(client.search_for_series(STUDY, search_filters={"SeriesInstanceUID": f"{STUDY}.1"})) == 1
    pages = [client.search_for_instances(limit=1, offset=number) for number in range(4)]
    uids = [one["00080018"]["Value"][0] for page in pages for one in page]
    assert sorted(uids) == sorted(one.sop for one in published)
