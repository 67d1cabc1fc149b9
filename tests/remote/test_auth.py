"""Credentials: where they come from, when they are renewed, and that they are asked for once."""

import base64
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from remote.hostile import (
    Clock,
    Exchange,
    Fault,
    HostileArchive,
    content,
    drip,
    hang,
    html,
    long,
    redirect,
    status,
)

from pacsbridge.errors import PacsbridgeError, Unavailable, reason
from pacsbridge.remote.client import Client
from pacsbridge.remote.settings import BearerFile, ClientCredentials

SECRET = "Canary"
TOKEN = "/token"


class TokenServer:
    """Gives tokens t1, t2, … and may make the archive believe the latest alone."""

    def __init__(self, archive: HostileArchive, expires_in: object = 3600) -> None:
        self.archive = archive
        self.expires_in = expires_in
        self.issued = 0
        self.pause = 0.0
        self.strict = True
        archive.routes[TOKEN] = self

    def __call__(self, exchange: Exchange) -> None:
        time.sleep(self.pause)
        self.issued += 1
        if self.strict:
            self.archive.options.authorization = f"Bearer t{self.issued}"
        life = {} if self.expires_in is None else {"expires_in": self.expires_in}
        exchange.json({"access_token": f"t{self.issued}", "token_type": "Bearer", **life})


@pytest.fixture
def tokens(archive: HostileArchive) -> TokenServer:
    """A token server that works."""
    return TokenServer(archive)


@pytest.fixture
def oauth(archive: HostileArchive, make_client: Callable[..., Client]) -> Client:
    """A client with client credentials."""
    auth = ClientCredentials(archive.root + TOKEN, "id:1", f"{SECRET} &ü", "pacs/read pacs/search")
    return make_client(auth=auth, headers={"X-Api-Key": "k"})


def used(archive: HostileArchive) -> list[str]:
    """The credentials of each search."""
    return [one.headers.get("authorization", "") for one in archive.of("/dicom-web/studies")]


def test_a_token_is_asked_for_as_it_should(
    archive: HostileArchive, tokens: TokenServer, oauth: Client
) -> None:
    """RFC 6749: a form, the client's name and secret in HTTP Basic; the archive's own headers stay out."""
    oauth.get("/studies")
    (asked,) = archive.of(TOKEN)
    assert asked.method == "POST"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert dict(parse_qsl(asked.body.decode())) == {
        "grant_type": "client_credentials",
        "scope": "pacs/read pacs/search",
    }
    kind, _, given = asked.headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(given)) == ("Basic", b"id%3A1:Canary%20%26%C3%BC")
    assert "x-api-key" not in asked.headers
    assert used(archive) == ["Bearer t1"]


def test_a_token_is_kept_until_shortly_before_its_end(
    archive: HostileArchive, tokens: TokenServer, oauth: Client, clock: Clock
) -> None:
    """Half a minute before; then comes the next, before the archive refuses the old one."""
    for moment in (0, 3569, 1, 3569):
        clock.now += moment
        oauth.get("/studies")
    assert used(archive) == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]


@pytest.mark.parametrize(
    ("expires_in", "kept"), [(None, 269), ("600", 569), ("soon", 269), (1e400, 269), (31, 0.5), (0, None)]
)
def test_how_long_a_token_is_kept(
    archive: HostileArchive,
    tokens: TokenServer,
    oauth: Client,
    clock: Clock,
    expires_in: object,
    kept: float | None,
) -> None:
    """As text too; where the server does not say, five minutes; where that is nothing, for one request."""
    tokens.expires_in = str(expires_in) if expires_in == 1e400 else expires_in
    oauth.get("/studies")
    clock.now += kept or 0
    oauth.get("/studies")
    assert tokens.issued == (1 if kept else 2)
    clock.now += 2
    oauth.get("/studies")
    assert tokens.issued == (2 if kept else 3)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_renewed_once(
    archive: HostileArchive, tokens: TokenServer, oauth: Client, clock: Clock, code: int
) -> None:
    """At once, without a pause; the new one is kept."""
    oauth.get("/studies")
    archive.faults.append(status(code))
    assert oauth.get("/studies").status == 204
    oauth.get("/studies")
    assert used(archive) == ["Bearer t1", "Bearer t1", "Bearer t2", "Bearer t2"]
    assert clock.slept == []


def test_a_new_token_may_be_refused_too(
    archive: HostileArchive, tokens: TokenServer, oauth: Client, clock: Clock
) -> None:
    """Then that is the answer; after three such requests the archive is left alone."""
    tokens.strict, archive.options.authorization = False, "Bearer of another realm"
    for _ in range(3):
        with pytest.raises(Unavailable, match=r"^refuses our credentials \(HTTP 401\)$"):
            oauth.get("/studies")
    assert (len(used(archive)), tokens.issued, oauth.circuit.state) == (6, 4, "open")


def test_threads_ask_for_one_token(archive: HostileArchive, tokens: TokenServer, oauth: Client) -> None:
    """At the beginning, and again when all of them are refused at the same time."""
    tokens.pause = 0.1
    failed: list[PacsbridgeError] = []

    def together() -> None:
        barrier = threading.Barrier(4)

        def ask() -> None:
            barrier.wait(10)
            try:
                oauth.get("/studies")
            except PacsbridgeError as exc:
                failed.append(exc)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)

    together()
    assert (failed, tokens.issued) == ([], 1)
    archive.options.authorization = "Bearer t2"
    together()
    assert (failed, tokens.issued) == ([], 2)


NO_TOKEN: dict[str, tuple[Fault, str, float | None, int]] = {
    "400": (status(400, SECRET.encode()), "HTTP 400", 60, 1),
    "401": (status(401), "HTTP 401", 60, 1),
    "404": (status(404), "HTTP 404", 60, 1),
    "503": (status(503), "HTTP 503", None, 3),
    "429": (status(429, Retry_After="9"), "HTTP 429", 9, 3),
    "503, long": (status(503, Retry_After="99"), "HTTP 503", 99, 1),
    "204": (status(204), "HTTP 204", 60, 1),
    "elsewhere": (redirect("http://localhost:1/"), "HTTP 302", 60, 1),
    "redirect": (redirect("/dicom-web/studies"), "HTTP 302", 60, 1),
    "html": (html(), "the answer is no JSON object", 60, 1),
    "list": (content(b"[]"), "the answer is no JSON object", 60, 1),
    "nested": (content(b"[" * 5000), "the answer is no JSON object", 60, 1),
    "none": (content(b"{}"), "it is empty", 60, 1),
    "empty": (content(b'{"access_token": ""}'), "it is empty", 60, 1),
    "number": (content(b'{"access_token": 7}'), "it is empty", 60, 1),
    "lines": (content(b'{"access_token": "a\\r\\nX: 1"}'), "it has illegal characters", 60, 1),
    "words": (content(b'{"access_token": "a b"}'), "it has illegal characters", 60, 1),
    "letters": (content('{"access_token": "ü"}'.encode()), "it has illegal characters", 60, 1),
    "kind": (content(b'{"access_token": "a", "token_type": "mac"}'), "it is not a bearer token", 60, 1),
    "long": (long(2 << 20), "the answer is longer than 1048576 bytes", 60, 1),
    "hang": (hang(), "no answer for 0.1 s", None, 3),
    "drip": (drip(0.02), "no answer within 0.2 s", None, 3),
}
"""What the token server does; why there is no token; when to come back; how often it is asked."""


@pytest.mark.parametrize("case", NO_TOKEN)
def test_no_token(archive: HostileArchive, make_client: Callable[..., Client], case: str) -> None:
    """The archive is not asked without one; who refuses us is not asked again for a minute."""
    fault, why, retry_after, tries = NO_TOKEN[case]
    client = make_client(
        auth=ClientCredentials(archive.root + TOKEN, "id", SECRET),
        silence_seconds=0.1,
        answer_seconds=0.2 if case == "drip" else 10,
        answer_bytes=1 << 20,
    )
    archive.faults.extend([fault] * 5)
    with pytest.raises(Unavailable) as caught:
        client.get("/studies")
    assert reason(caught.value) == f"no token: {why}"
    assert caught.value.retry_after == retry_after
    assert (len(archive.of(TOKEN)), used(archive)) == (tries, [])
    assert client.circuit.state == ("closed" if retry_after is None else "open")


def test_no_token_server(
    make_client: Callable[..., Client], free_port: Callable[[], int], archive: HostileArchive
) -> None:
    """Nobody listens there: the archive is not asked."""
    url = f"http://127.0.0.1:{free_port()}/token"
    with pytest.raises(Unavailable, match=r"^no token: connection refused$"):
        make_client(auth=ClientCredentials(url, "id", SECRET)).get("/studies")
    assert archive.asked == []


def test_a_token_server_that_is_no_url(make_client: Callable[..., Client]) -> None:
    """Which the configuration should have told."""
    with pytest.raises(Unavailable, match=r"^no token: not HTTP as it should be$"):
        make_client(auth=ClientCredentials("nowhere", "id", SECRET)).get("/studies")


def test_a_token_out_of_a_file(
    archive: HostileArchive, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    """It is read again when the file is another one, and not otherwise."""
    file = tmp_path / "token"
    file.write_text("one\n")
    client = make_client(auth=BearerFile(file))
    client.get("/studies")
    state = file.stat()
    file.write_text("two\n")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    client.get("/studies")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    client.get("/studies")
    assert used(archive) == ["Bearer one", "Bearer one", "Bearer two"]


def test_a_refused_file_is_read_again(
    archive: HostileArchive, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    """Whatever its time says; and where it still says the same, that is the answer."""
    file = tmp_path / "token"
    file.write_text("one")
    client = make_client(auth=BearerFile(file))
    client.get("/studies")
    state = file.stat()
    file.write_text("two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    archive.options.authorization = "Bearer two"
    assert client.get("/studies").status == 204
    archive.options.authorization = "Bearer three"
    with pytest.raises(Unavailable, match=r"^refuses our credentials \(HTTP 401\)$"):
        client.get("/studies")
    assert used(archive) == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "its file cannot be read"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"a\nb", "it has illegal characters"),
        (b"\xff\xfe", "it has illegal characters"),
    ],
)
def test_no_token_in_the_file(
    archive: HostileArchive, make_client: Callable[..., Client], tmp_path: Path, text: bytes | None, why: str
) -> None:
    """It may be about to be written: a later request looks again."""
    file = tmp_path / "token"
    if text is not None:
        file.write_bytes(text)
    client = make_client(auth=BearerFile(file))
    with pytest.raises(Unavailable, match=f"^no token: {why}$"):
        client.get("/studies")
    assert archive.asked == []
    file.write_text("now-there-is-one")
    client.get("/studies")
    assert used(archive) == ["Bearer now-there-is-one"]
