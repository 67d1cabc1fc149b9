"""What only an archive holds: passed on under our address, cut off where the archive breaks off."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from dicomweb.conftest import CT, EXPLICIT, STUDY, Bridge, dataset
from remote.hostile import Exchange, Fault, HostileArchive, content, hang, html, redirect, running, status

from pacsbridge.bridge.fetching import Fetching
from pacsbridge.dicom.part10 import part10_head
from pacsbridge.dicomweb.proxy import Proxy
from pacsbridge.dicomweb.readdressing import Move
from pacsbridge.kernel.reports import Report, ReportedSeries
from pacsbridge.metrics import REGISTRY
from pacsbridge.remote.settings import ArchiveSettings, Basic
from pacsbridge.remote.wado import Wado
from pacsbridge.store.records import Reported
from pacsbridge.store.store import Store

SERIES = f"{STUDY}.1"
KIND = 'multipart/related; type="application/dicom"; boundary=b'
SOURCE = "http://archive/dicom-web"


def file(number: int, pixels: bytes = b"\1\2\3\4") -> bytes:
    """A Part 10 file of the series."""
    uid = f"{SERIES}.{number}"
    return part10_head(CT, uid, EXPLICIT) + dataset(STUDY, SERIES, uid, pixels)


def message(*files: bytes, field: str = "X: y") -> bytes:
    """A multipart message."""
    parts = (
        b"--b\r\nContent-Type: application/dicom\r\n%s\r\n\r\n%s\r\n" % (field.encode(), one) for one in files
    )
    return b"".join(parts) + b"--b--\r\n"


def until_closed(body: bytes, kind: str = KIND) -> Fault:
    """A body that ends where the connection does."""

    def fault(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": kind, "Connection": "close"})
        exchange.write(body)
        exchange.drop()

    return fault


@pytest.fixture
def archive() -> Iterator[HostileArchive]:
    """An archive that does as it is told."""
    with running() as one:
        yield one


@pytest.fixture
def make_proxy(archive: HostileArchive) -> Iterator[Callable[[Store], Proxy]]:
    """Reads that archive, which has said that it has three instances."""
    login = Basic("bridge", "synthetic")
    wado = Wado(ArchiveSettings("main", archive.url, auth=login, connect_seconds=1, silence_seconds=1))
    executor = ThreadPoolExecutor(4)

    def make(store: Store) -> Proxy:
        series = ReportedSeries({"uid": SERIES}, [{"uid": f"{SERIES}.{number}"} for number in (1, 2, 3)])
        report = Report({}, {"uid": STUDY}, [series])
        store.put_reports(SOURCE, [Reported(STUDY, b"", "20260102", report)], 1)
        return Proxy(Fetching(store, {SOURCE: wado}), executor)

    yield make
    executor.shutdown()
    wado.close()


def get(url: str, **headers: str) -> requests.Response:
    """The answer to GET."""
    return requests.get(url, headers=headers, timeout=20)


def counted(outcome: str) -> float:
    """How often that has been the outcome."""
    return REGISTRY.get_sample_value("pacsbridge_dicomweb_proxied_total", {"outcome": outcome}) or 0


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def endless(sent: list[int]) -> Fault:
    """400 MB, each 100 kB on record as they are sent, 0 when nobody takes any more."""

    def fault(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": "application/dicom", "Connection": "close"})
        try:
            while len(sent) < 4000:
                exchange.write(bytes(100_000))
                sent.append(1)
        except OSError:
            sent.append(0)
        finally:
            exchange.drop()

    return fault


def test_a_message_is_passed_on(bridge: Bridge, archive: HostileArchive) -> None:
    """Its parts byte for byte; no field and no address of the archive besides, no credentials either way."""
    inside = f"Content-Location: {archive.url}/studies/{STUDY}/bulk"
    archive.faults.append(
        content(message(file(1), file(2), field=inside), KIND, Set_Cookie="a=b", ETag='"1"')
    )
    before = counted("passed")
    answer = get(bridge.study(), Authorization="Bearer client", Cookie="c=d")
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers
    assert answer.content.count(file(1)) == answer.content.count(file(2)) == 1
    assert f"Content-Location: {bridge.url}/studies/{STUDY}/bulk".encode() in answer.content
    assert archive.url.encode() not in answer.content
    [asked] = archive.asked
    assert asked.headers["authorization"].startswith("Basic ")
    assert "cookie" not in asked.headers
    assert within(5, lambda: counted("passed") == before + 1)  # it is counted behind the last byte


OUTCOMES: dict[str, tuple[Fault, int]] = {
    "lost": (status(404), 404),
    "away": (status(503), 503),
    "broken": (status(500), 502),
    "silent": (hang(5), 503),
    "elsewhere": (redirect("http://127.0.0.1:1/studies"), 502),
    "a page": (html(), 502),
    "a list": (content(b"[]"), 502),
    "a picture with scripts": (content(b"<svg/>", "image/svg+xml"), 502),
    "no boundary": (content(b"", "multipart/related"), 502),
    "no message": (content(b"x" * 100_000, KIND), 502),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_what_is_no_answer_has_its_status(bridge: Bridge, archive: HostileArchive, case: str) -> None:
    """With the reason in our own form."""
    fault, expected = OUTCOMES[case]
    archive.faults.append(fault)
    answer = get(bridge.study())
    assert answer.status_code == expected
    assert answer.json()["reason"]
    assert archive.url not in answer.text


def test_a_message_that_is_cut_is_cut(bridge: Bridge, archive: HostileArchive) -> None:
    """Also where the archive's own framing does not show it."""
    archive.faults.append(until_closed(message(file(1), file(2, bytes(3_000_000)))[:-100]))
    with pytest.raises(requests.exceptions.RequestException):
        get(bridge.study())


def test_a_head_brings_no_body(bridge: Bridge, archive: HostileArchive) -> None:
    """HEAD is answered like GET, without its body; the connection can be used again."""
    with requests.Session() as session:
        for _ in range(2):
            archive.faults.append(content(message(file(1)), KIND))
            answer = session.head(bridge.study(), timeout=20)
            assert (answer.status_code, answer.content) == (200, b"")


def test_a_client_that_leaves_frees_the_archive(bridge: Bridge, archive: HostileArchive) -> None:
    """What it no longer wants is not read to the end."""
    sent: list[int] = []
    before = counted("left")
    archive.faults.append(endless(sent))
    with requests.get(bridge.study(), stream=True, timeout=20) as answer:
        assert answer.raw.read(10)
    assert within(10, lambda: sent[-1:] == [0])
    assert len(sent) < 1000
    assert within(10, lambda: counted("left") == before + 1)


def test_a_slow_client_holds_the_archive_back(bridge: Bridge, archive: HostileArchive) -> None:
    """What it does not take stays there: nothing is piled up here."""
    sent: list[int] = []
    archive.faults.append(endless(sent))
    with requests.get(bridge.study(), stream=True, timeout=20) as answer:
        assert answer.raw.read(10)
        time.sleep(1)
        so_far = len(sent)
        time.sleep(0.5)
        assert len(sent) == so_far < 1000
        assert len(answer.raw.read(50_000_000)) == 50_000_000


def test_the_rest_is_joined(bridge: Bridge, archive: HostileArchive) -> None:
    """What is held comes from the packs even where the archive sends it as well; each instance once."""
    held = bridge.hold("1")
    archive.faults.extend([content(message(file(2)), KIND), content(message(file(3)), KIND)])
    answer = get(bridge.study())
    assert answer.status_code == 200
    for one in (held.file, file(2)[132:], file(3)[132:]):
        assert answer.content.count(one[-200:]) == 1
    assert len(archive.asked) == 2


@pytest.mark.parametrize("second", [status(500), until_closed(message(file(3))[:-60])], ids=["500", "cut"])
def test_a_joined_message_is_never_half(bridge: Bridge, archive: HostileArchive, second: Fault) -> None:
    """An archive that fails when the answer has begun breaks it off."""
    bridge.hold("1")
    archive.faults.extend([content(message(file(2)), KIND), second])
    with pytest.raises(requests.exceptions.RequestException):
        get(bridge.study())


def test_a_joined_answer_has_a_status(bridge: Bridge, archive: HostileArchive) -> None:
    """Of an archive that fails at once."""
    bridge.hold("1")
    archive.faults.append(status(503))
    assert get(bridge.study()).status_code == 503


THEIRS, OURS = "http://archive:8042/dicom-web", "https://bridge/dicomweb"

LINKS = {
    f"{THEIRS}/studies/1/bulk": f"{OURS}/studies/1/bulk",
    "http://ARCHIVE:8042/dicom-web/studies/1/bulk": f"{OURS}/studies/1/bulk",
    "/dicom-web/studies/1/bulk": f"{OURS}/studies/1/bulk",
    "studies/1/bulk": f"{OURS}/studies/1/bulk",
    "http://archive/dicom-web/studies/1/bulk": None,
    "https://archive:8042/dicom-web/studies/1/bulk": None,
    "http://archive:8042@evil/dicom-web/studies/1": None,
    "http://archive:8042.evil/dicom-web/studies/1": None,
    f"{THEIRS}/../system": None,
    f"{THEIRS}-other/studies/1": None,
    f"{THEIRS}/studies/1?x=y": None,
    "http://[": None,
    "file:///etc/passwd": None,
    "": None,
}


@pytest.mark.parametrize("uri", LINKS)
def test_links_lead_to_us_or_nowhere(uri: str) -> None:
    """Origins are compared as they are parsed."""
    assert Move(THEIRS, OURS).link(uri) == LINKS[uri]


def test_links_in_metadata() -> None:
    """At every depth; what cannot be had here is left out, and other URLs are data."""
    bulk = {"vr": "OW", "BulkDataURI": f"{THEIRS}/studies/1/bulk"}
    row = {
        "00081190": {"vr": "UR", "Value": [f"{THEIRS}/studies/1", "http://elsewhere/"]},
        "00080120": {"vr": "UR", "Value": ["http://standard/"]},
        "00081199": {
            "vr": "SQ",
            "Value": [{"7FE00010": bulk, "00091010": {"vr": "OB", "BulkDataURI": "http://x/"}}],
        },
    }
    assert Move(THEIRS, OURS).row(row) == {
        "00081190": {"vr": "UR", "Value": [f"{OURS}/studies/1"]},
        "00080120": {"vr": "UR", "Value": ["http://standard/"]},
        "00081199": {
            "vr": "SQ",
            "Value": [
                {"7FE00010": {"vr": "OW", "BulkDataURI": f"{OURS}/studies/1/bulk"}, "00091010": {"vr": "OB"}}
            ],
        },
    }
