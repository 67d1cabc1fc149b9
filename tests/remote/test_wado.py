"""WADO-RS at archives: streams within deadlines, instances out of multipart answers, no path but its own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from remote.hostile import (
    Exchange,
    Fault,
    HostileArchive,
    bomb,
    content,
    drip,
    hang,
    html,
    redirect,
    reset,
    short,
    status,
)

from pacsbridge.errors import (
    Absent,
    BadAnswer,
    Declined,
    NotAcceptable,
    NotUnderstood,
    PacsbridgeError,
    Unavailable,
)
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.remote.wado import Wado

PATH = "/studies/1.2.3"
MULTIPART = 'multipart/related; type="application/dicom"; boundary=b'
PARTS = b"--b\r\nContent-Type: application/dicom\r\n\r\nfirst\r\n--b\r\n\r\nsecond\r\n--b--\r\n"


@pytest.fixture
def make_wado(archive: HostileArchive) -> Iterator[Callable[..., Wado]]:
    """Makes readers of the archive, impatient ones."""
    made: list[Wado] = []

    def make(most: int = 1 << 20, **settings: Any) -> Wado:
        quick = {"connect_seconds": 1, "silence_seconds": 0.5, **settings}
        made.append(Wado(ArchiveSettings(name="main", url=archive.url, **quick), object_bytes=most))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def wado(make_wado: Callable[..., Wado]) -> Wado:
    """A reader with nothing special."""
    return make_wado()


def whole(wado: Wado) -> bytes:
    """A stream to its end."""
    stream = wado.stream(PATH, "*/*")
    try:
        return b"".join(iter(stream.read, b""))
    finally:
        stream.close()


def chunked(*pieces: bytes) -> Fault:
    """A body without a length."""

    def fault(exchange: Exchange) -> None:
        exchange.head(200, {"Content-Type": "application/dicom", "Transfer-Encoding": "chunked"})
        for piece in (*pieces, b""):
            exchange.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        exchange.drop()

    return fault


def test_a_stream_is_the_body(archive: HostileArchive, wado: Wado) -> None:
    """With or without a length, larger than a piece or empty."""
    bodies = [b"x" * 700_000, b"", b"abc"]
    archive.faults.extend(
        [*(content(body, "application/dicom") for body in bodies), chunked(b"ab", b"c" * 300_000)]
    )
    assert [whole(wado) for _ in bodies] == bodies
    assert whole(wado) == b"ab" + b"c" * 300_000


OUTCOMES: dict[str, tuple[Fault, type[PacsbridgeError]]] = {
    "404": (status(404), Absent),
    "410": (status(410), Absent),
    "406": (status(406), NotAcceptable),
    "400": (status(400), Declined),
    "401": (status(401), Unavailable),
    "500": (status(500), BadAnswer),
    "503": (status(503), Unavailable),
    "reset": (reset(), Unavailable),
    "hang": (hang(3), Unavailable),
    "slow head": (drip(0.05, head=True), Unavailable),
    "coding": (bomb(1 << 20), BadAnswer),
    "elsewhere": (redirect("http://127.0.0.1:1/studies"), BadAnswer),
}


@pytest.mark.parametrize("case", OUTCOMES)
def test_what_is_no_success_is_raised(
    archive: HostileArchive, make_wado: Callable[..., Wado], case: str
) -> None:
    """At once, without another try; and all connections are there for the next."""
    fault, kind = OUTCOMES[case]
    wado = make_wado(connections=1)
    archive.faults.append(fault)
    with pytest.raises(kind) as caught:
        wado.stream(PATH, "*/*")
    assert type(caught.value) is kind
    assert len(archive.asked) == 1


@pytest.mark.parametrize("fault", [drip(0.2), short()], ids=["drip", "short"])
def test_what_breaks_off_is_raised(archive: HostileArchive, wado: Wado, fault: Fault) -> None:
    """Too slow or too short: never an end as if it were whole."""
    archive.faults.append(fault)
    with pytest.raises(PacsbridgeError):
        whole(wado)


def test_connections_are_given_back(archive: HostileArchive, make_wado: Callable[..., Wado]) -> None:
    """By whoever stops in the middle, too."""
    wado = make_wado(connections=1)
    archive.faults.extend([content(b"x" * 3_000_000, "application/dicom")] * 5)
    for _ in range(4):
        stream = wado.stream(PATH, "*/*")
        assert stream.read()
        stream.close()
    assert len(whole(wado)) == 3_000_000


@pytest.mark.parametrize(
    "path",
    [
        "/system",
        "/studies",
        "/studies/../system",
        "/studies/1/..%2f..%2fsystem",
        "/studies/1/%2e%2e/system",
        "/studies/1//x",
        "/studies/1?x=/studies",
        "/studies/1/a\r\nX-Y: z",
        "http://elsewhere/studies/1",
    ],
)
def test_other_paths_are_not_asked_for(archive: HostileArchive, wado: Wado, path: str) -> None:
    """Nothing leads out of the archive's studies."""
    with pytest.raises(NotUnderstood):
        wado.stream(path, "*/*")
    assert not archive.asked


def test_instances_are_the_parts(archive: HostileArchive, wado: Wado) -> None:
    """One file at a time, and before each one comes a moment to look around."""
    archive.faults.append(content(PARTS, MULTIPART))
    found = [file and file.read() for file in wado.instances(PATH)]
    assert found == [None, b"first", None, b"second"]
    assert "transfer-syntax=*" in archive.asked[0].headers["accept"]


@pytest.mark.parametrize(
    ("fault", "most"),
    [
        (html(), 100),
        (content(PARTS, "multipart/related"), 100),
        (content(PARTS[:-20], MULTIPART), 100),
        (content(PARTS, MULTIPART), 5),
        (content(b"x" * 100_000, MULTIPART), 100),
    ],
    ids=["html", "no boundary", "cut", "too large", "no parts"],
)
def test_what_is_no_multipart_answer_is_raised(
    archive: HostileArchive, make_wado: Callable[..., Wado], fault: Fault, most: int
) -> None:
    """After the parts that came before, which were whole."""
    archive.faults.append(fault)
    with pytest.raises(BadAnswer):
        list(make_wado(most=most).instances(PATH))


def test_metadata_are_rows(archive: HostileArchive, wado: Wado) -> None:
    """A list of objects; 404 is Absent."""
    archive.faults.extend([content(b'[{"00080018": {"vr": "UI", "Value": ["1"]}}]'), status(404), html()])
    assert wado.metadata(f"{PATH}/metadata")[0]["00080018"]["Value"] == ["1"]
    with pytest.raises(Absent):
        wado.metadata(f"{PATH}/metadata")
    with pytest.raises(BadAnswer):
        wado.metadata(f"{PATH}/metadata")
