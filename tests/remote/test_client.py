"""What comes of a request: each outcome, its tries, its redirects, and what it takes along."""

import base64
import socket
import threading
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from remote.hostile import (
    Clock,
    Exchange,
    Fault,
    HostileArchive,
    bomb,
    content,
    fine,
    nonsense,
    redirect,
    reset,
    short,
    status,
    study,
)

from pacsbridge.errors import BadAnswer, Declined, PacsbridgeError, Unavailable, reason
from pacsbridge.remote.client import Client
from pacsbridge.remote.outcomes import retry_after
from pacsbridge.remote.settings import Basic

PATIENT = "Synthetic^Person"

DECLINED = (400, 402, *range(404, 408), *range(409, 419), 422, 431, 451)

OUTCOMES: dict[str, tuple[Fault, type[PacsbridgeError], str, int]] = {
    **{f"{code}": (status(code), Unavailable, f"HTTP {code}", 3) for code in (408, 429)},
    **{f"{code}": (status(code), Unavailable, f"HTTP {code}", 3) for code in (502, 503, 504, 599)},
    **{f"{code}": (status(code), BadAnswer, f"HTTP {code}", 3) for code in (500, 501)},
    **{
        f"{code}": (status(code), Unavailable, f"refuses our credentials (HTTP {code})", 1)
        for code in (401, 403)
    },
    **{f"{code}": (status(code), Declined, f"HTTP {code}", 1) for code in DECLINED},
    **{f"{code}": (status(code), BadAnswer, f"HTTP {code}", 1) for code in (300, 304, 302, 600)},
    "reset": (reset(), Unavailable, "connection reset", 3),
    "closed": (nonsense(b""), Unavailable, "connection closed without an answer", 3),
    "another protocol": (nonsense(), Unavailable, "it does not speak HTTP", 3),
    "short": (short(), Unavailable, "the answer was cut short", 3),
    "not gzip": (
        content(b"no gzip", Content_Encoding="gzip"),
        BadAnswer,
        "its content coding is broken",
        1,
    ),
    "unasked coding": (
        content(b"x", Content_Encoding="br"),
        BadAnswer,
        "a content coding that was not asked for",
        1,
    ),
    "codings": (bomb(1 << 20, "gzip, gzip"), BadAnswer, "a content coding that was not asked for", 1),
}
"""What happens; the error; its text; how often the archive is asked."""


@pytest.mark.parametrize("case", OUTCOMES)
def test_outcomes(archive: HostileArchive, client: Client, clock: Clock, case: str) -> None:
    """Transient ones are tried three times, the others once; all have our own words alone."""
    fault, kind, text, tries = OUTCOMES[case]
    archive.faults.extend([fault] * 5)
    with pytest.raises(kind) as caught:
        client.get("/studies", [("PatientName", PATIENT)])
    assert type(caught.value) is kind
    assert reason(caught.value) == text
    assert (len(archive.asked), len(clock.slept)) == (tries, tries - 1)


@pytest.mark.parametrize("code", [200, 203, 204, 206])
def test_success(archive: HostileArchive, client: Client, code: int) -> None:
    """Any 2xx; its headers are found in any case, and 204 has no body."""
    archive.faults.append(status(code, b"" if code == 204 else b"[]", X_Some_Thing="1"))
    answer = client.get("/studies")
    assert (answer.status, answer.body) == (code, b"" if code == 204 else b"[]")
    assert answer.headers["x-some-THING"] == "1"


def test_statuses_may_be_allowed(archive: HostileArchive, client: Client) -> None:
    """Who knows what a 404 means gets it as an answer; its body is nobody's business."""
    archive.faults.append(status(404, PATIENT.encode()))
    answer = client.get("/studies", allowed={404})
    assert (answer.status, answer.body) == (404, b"")


def test_nobody_listens(
    make_client: Callable[..., Client], free_port: Callable[[], int], clock: Clock
) -> None:
    """A refused connection is tried again, after pauses that grow."""
    client = make_client(url=f"http://127.0.0.1:{free_port()}/dicom-web")
    with pytest.raises(Unavailable, match=r"^connection refused$"):
        client.get("/studies")
    assert clock.slept == [0.25, 0.5]


def test_no_such_name(make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be resolved may be one later."""

    def fail(*_args: object, **_options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, PATIENT)

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Unavailable, match=r"^its name cannot be resolved$"):
        make_client(url="http://archive.test/dicom-web").get("/studies")


@pytest.mark.parametrize("tries", [1, 2, 5])
def test_a_later_try_may_do(
    archive: HostileArchive, make_client: Callable[..., Client], clock: Clock, tries: int
) -> None:
    """The last of the tries counts like the first; pauses grow, and chance shortens them."""
    faults = [status(503), reset(), short(), status(429)][: tries - 1]
    archive.faults.extend([*faults, content(b"[]")])
    assert make_client(tries=tries).get("/studies").body == b"[]"
    assert clock.slept == [0.25, 0.5, 1.0, 2.0][: tries - 1]


@pytest.mark.parametrize(("asked", "slept"), [("0", 0), ("7", 7), ("30", 30)])
def test_retry_after_is_kept(
    archive: HostileArchive, client: Client, clock: Clock, asked: str, slept: float
) -> None:
    """Up to half a minute a request waits as long as the server asks for."""
    archive.faults.extend([status(503, Retry_After=asked), status(429, Retry_After=asked), content(b"[]")])
    assert client.get("/studies").status == 200
    assert clock.slept == [slept, slept]


def test_long_retry_after_is_passed_on(archive: HostileArchive, client: Client, clock: Clock) -> None:
    """For longer, the caller has better things to do: at once it is told when, and the archive left alone."""
    archive.faults.append(status(503, Retry_After="31"))
    with pytest.raises(Unavailable, match=r"^HTTP 503$") as caught:
        client.get("/studies")
    assert (caught.value.retry_after, clock.slept) == (31, [])
    clock.now += 30
    with pytest.raises(Unavailable, match="left alone") as caught:
        client.get("/studies")
    assert caught.value.retry_after == pytest.approx(1)
    clock.now += 1
    client.get("/studies")
    assert len(archive.asked) == 2


NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 5 "}, 5),
        ({"Retry-After": "0"}, 0),
        ({"Retry-After": "999999999"}, 3600),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True)}, 90),
        ({"Retry-After": formatdate(NOW - 90, usegmt=True)}, 0),
        ({"Retry-After": formatdate(NOW + 90_000, usegmt=True)}, 3600),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True), "Date": formatdate(NOW + 60, usegmt=True)}, 30),
        ({"Retry-After": formatdate(NOW + 90, usegmt=True), "Date": "today"}, 90),
        ({"Retry-After": "Thu, 99 Foo 9999 99:99:99 GMT"}, None),
        ({"Retry-After": "Thu, 01 Jan 0001 00:00:00 +2359"}, 0),
        ({"Retry-After": "Mon Sep 21 14:14:50 2026"}, 90),
        ({"Retry-After": "Monday, 21-Sep-26 14:14:50 GMT"}, 90),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds or a date, by the server's own clock where it shows one; never more than an hour."""
    assert retry_after(headers, lambda: NOW) == seconds


def test_retry_after_as_a_date(archive: HostileArchive, client: Client, clock: Clock) -> None:
    """The same through the wire, against the Date that the server sends."""
    date = formatdate(NOW + 12, usegmt=True)

    def fault(exchange: Exchange) -> None:
        handler = exchange.handler
        handler.send_response_only(503)
        for name, given in {"Date": formatdate(NOW, usegmt=True), "Retry-After": date}.items():
            handler.send_header(name, given)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    archive.faults.append(fault)
    client.get("/studies")
    assert clock.slept == [12]


QUERIES = [
    ([("StudyInstanceUID", "1.2,1.3")], "StudyInstanceUID=1.2,1.3"),
    ([("PatientName", "Müller^J*")], "PatientName=M%C3%BCller%5EJ%2A"),
    ([("PatientID", "a&b=c#d")], "PatientID=a%26b%3Dc%23d"),
    ([("PatientID", "a b+c/d?e%41")], "PatientID=a%20b%2Bc%2Fd%3Fe%2541"),
    ([("PatientID", "x\r\nX-Evil: 1")], "PatientID=x%0D%0AX-Evil%3A%201"),
    ([("last", "")], "last="),
    ([("a", "1"), ("a", "2"), ("b", "~")], "a=1&a=2&b=~"),
]


@pytest.mark.parametrize(("pairs", "query"), QUERIES)
def test_queries_are_quoted(
    archive: HostileArchive, client: Client, pairs: list[tuple[str, str]], query: str
) -> None:
    """Whatever a value holds, the archive reads that value; a comma stays a comma."""
    client.get("/studies", pairs)
    assert archive.asked[0].query == query
    assert archive.asked[0].pairs == pairs
    assert "x-evil" not in archive.asked[0].headers


def test_what_a_request_takes_along(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """Our name, what we accept, and the configured headers; no cookie that the archive had set."""
    client = make_client(headers={"X-Api-Key": "k", "user-agent": "mine"}, auth=Basic("ü", "p:q"))
    archive.faults.append(content(b"[]", Set_Cookie="session=1; Path=/"))
    client.get("/studies")
    client.get("/studies", accept="application/json")
    first, second = archive.asked
    assert first.headers["accept"] == "application/dicom+json"
    assert second.headers["accept"] == "application/json"
    assert second.headers["accept-encoding"] == "gzip"
    assert (second.headers["x-api-key"], second.headers["user-agent"]) == ("k", "mine")
    assert second.headers["authorization"] == "Basic " + base64.b64encode("ü:p:q".encode()).decode()
    assert "cookie" not in second.headers


def test_nothing_comes_from_the_environment(
    archive: HostileArchive,
    other: HostileArchive,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Neither proxies, nor passwords of a netrc, nor somebody else's authorities."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password Canary\n")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, other.root)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
    client.get("/studies")
    assert "authorization" not in archive.asked[0].headers
    assert (len(archive.asked), other.asked) == (1, [])


def test_redirects_at_home(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """Three are followed, with all that the first request took along."""
    client = make_client(auth=Basic("u", "p"), headers={"X-Api-Key": "k"})
    archive.holdings.add(study("1.2.3"))
    archive.faults.extend(
        [
            redirect("/dicom-web/elsewhere", 301),
            redirect(f"{archive.root.upper()}/dicom-web/here", 307),
            redirect("studies?PatientID=SYN-1", 308),
        ]
    )
    assert client.get("/studies").status == 200
    assert [one.path for one in archive.asked][1:] == [
        "/dicom-web/elsewhere",
        "/dicom-web/here",
        "/dicom-web/studies",
    ]
    assert all("authorization" in one.headers and "x-api-key" in one.headers for one in archive.asked)


def test_redirects_without_end(archive: HostileArchive, client: Client) -> None:
    """The fourth is one too many."""
    archive.faults.extend([redirect("/dicom-web/studies")] * 9)
    with pytest.raises(BadAnswer, match=r"^more than 3 redirects$"):
        client.get("/studies")
    assert len(archive.asked) == 4


AWAY = {
    "another port": "{other}/dicom-web/studies",
    "another scheme": "https://127.0.0.1:{port}/dicom-web/studies",
    "another host": "http://localhost:{port}/dicom-web/studies",
    "no scheme": "//localhost:{port}/",
    "other credentials": "http://evil:evil@127.0.0.1:{port}/dicom-web/studies",
    "a disguise": "http://127.0.0.1:{port}@{other_host}/",
    "a backslash": "http://127.0.0.1:{port}\\@{other_host}/",
    "another protocol": "ftp://127.0.0.1:{port}/",
    "a file": "file:///etc/passwd",
    "a port that is none": "http://127.0.0.1:99999999/",
    "an address that is none": "http://[::1/",
}


@pytest.mark.parametrize("case", AWAY)
@pytest.mark.parametrize("code", [302, 307])
def test_redirects_elsewhere(
    archive: HostileArchive, other: HostileArchive, make_client: Callable[..., Client], case: str, code: int
) -> None:
    """Not followed: nobody else ever sees the question, the credentials or the configured headers."""
    client = make_client(auth=Basic("u", "p"), headers={"X-Api-Key": "k"})
    host = other.root.removeprefix("http://")
    port = archive.root.rpartition(":")[2]
    url = AWAY[case].format(other=other.root, other_host=host, port=port)
    archive.faults.append(redirect(url, code))
    with pytest.raises(BadAnswer, match=r"^redirects to another origin$"):
        client.get("/studies", [("PatientID", "SYN-1")])
    assert (len(archive.asked), other.asked, other.connections) == (1, [], 0)


def test_urls_of_others_are_not_asked(
    archive: HostileArchive, other: HostileArchive, make_client: Callable[..., Client]
) -> None:
    """A whole URL has to be one of the archive's."""
    client = make_client(auth=Basic("u", "p"))
    client.get(f"{archive.root}/system", allowed={404})
    with pytest.raises(BadAnswer, match=r"^leads to another origin$"):
        client.get(f"{other.root}/system")
    assert [one.path for one in archive.asked] == ["/system"]
    assert other.asked == []


def test_the_circuit_opens(archive: HostileArchive, client: Client, clock: Clock) -> None:
    """Three requests fail, whatever their tries; then nobody is asked; then one try; then all is well."""
    archive.faults.extend([status(503)] * 10)
    for number in range(3):
        assert client.circuit.state == "closed"
        with pytest.raises(Unavailable, match=r"^HTTP 503$"):
            client.get("/studies")
        assert len(archive.asked) == 3 * (number + 1)
    assert client.circuit.state == "open"
    with pytest.raises(Unavailable, match="left alone"):
        client.get("/studies")
    clock.now += 1
    with pytest.raises(Unavailable, match=r"^HTTP 503$"):
        client.get("/studies")
    assert (len(archive.asked), client.circuit.state) == (10, "open")
    clock.now += 2
    client.get("/studies")
    assert client.circuit.state == "closed"


@pytest.mark.parametrize("fault", [status(400), redirect("http://localhost:1/"), bomb(1 << 20, "br")])
def test_a_bad_answer_is_an_answer(archive: HostileArchive, client: Client, fault: Fault) -> None:
    """The archive is there: its failures from before are forgotten."""
    for _ in range(5):
        archive.faults.extend([status(503)] * 6 + [fault])
        for kind in (Unavailable, Unavailable, BadAnswer):
            with pytest.raises(kind):
                client.get("/studies")
    assert client.circuit.state == "closed"


def test_a_fault_of_ours_keeps_no_probe(
    client: Client, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the request that tries ends in a surprise, another may try later."""
    client.circuit.failed(1.0)
    clock.now += 2
    monkeypatch.setattr(client._login, "header", _surprise)
    with pytest.raises(RuntimeError):
        client.get("/studies")
    assert client.circuit.state == "open"


def _surprise() -> str:
    raise RuntimeError


def test_connections_are_kept_and_few(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """Many threads share as many connections as the settings allow, one answer behind the other."""
    client = make_client(connections=2)
    failed = []

    def ask() -> None:
        for _ in range(10):
            try:
                client.get("/studies")
            except PacsbridgeError as exc:
                failed.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert len(archive.asked) == 60
    assert archive.connections <= 2


def test_a_connection_that_was_dropped_meanwhile(archive: HostileArchive, client: Client) -> None:
    """An answer that announces nothing of it is followed by a new connection."""
    archive.faults.append(fine())
    client.get("/studies")
    archive.faults.extend([nonsense(b""), fine()])
    client.get("/studies")
    assert len(archive.asked) == 3
