"""An answer's time and length have bounds, whatever the other side does."""

import threading
import time
import tracemalloc
from collections.abc import Callable

import pytest
from remote.hostile import Fault, HostileArchive, bomb, content, drip, elapsed, fine, hang, long

from pacsbridge.errors import BadAnswer, Unavailable
from pacsbridge.remote.client import Client
from pacsbridge.remote.settings import ArchiveSettings

MIB = 1 << 20


@pytest.mark.parametrize("drips_head", [False, True], ids=["body", "head"])
def test_a_drip_ends_at_the_deadline(
    archive: HostileArchive, make_client: Callable[..., Client], drips_head: bool
) -> None:
    """A byte now and then is never silence, and yet no answer."""
    client = make_client(tries=1, answer_seconds=0.3)
    archive.faults.append(drip(0.02, drips_head))
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"^no answer within 0\.3 s$"):
        client.get("/studies")
    assert 0.25 < elapsed(started) < 0.9


def test_silence(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """No byte for so long is enough."""
    client = make_client(tries=1, silence_seconds=0.2)
    archive.faults.append(hang())
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"^no answer for 0\.2 s$"):
        client.get("/studies")
    assert elapsed(started) < 0.9


def test_the_end_of_waiting(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """Closing a client ends the request under way, and the tries that would follow."""
    archive.faults.extend([hang(30)] * 3)
    client, found = make_client(answer_seconds=60), list[Exception]()

    def ask() -> None:
        try:
            client.get("/studies")
        except Unavailable as exc:
            found.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    until = time.monotonic() + 10
    while not archive.asked and time.monotonic() < until:
        time.sleep(0.01)
    client.close()
    thread.join(10)
    assert [str(exc) for exc in found] == ["shutting down"]
    with pytest.raises(Unavailable):
        client.get("/studies")
    assert len(archive.asked) == 1


def test_silence_in_the_middle(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """The same where a body has begun."""
    client = make_client(tries=1, silence_seconds=0.2)
    archive.faults.append(drip(30))
    with pytest.raises(Unavailable, match=r"^no answer for 0\.2 s$"):
        client.get("/studies")


def test_after_a_deadline_all_is_well(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """The next try has a connection and a deadline of its own."""
    client = make_client(tries=2, answer_seconds=0.3)
    archive.faults.extend([drip(0.02), fine()])
    assert client.get("/studies").status == 204
    time.sleep(0.35)
    assert client.get("/studies").status == 204


@pytest.mark.parametrize(
    ("fault", "whole"),
    [
        (long(MIB), True),
        (long(MIB, announced=False), True),
        (long(MIB + 1), False),
        (long(MIB + 1, announced=False), False),
        (bomb(MIB), True),
        (bomb(2 * MIB), False),
    ],
    ids=["whole", "whole, in chunks", "long", "long, in chunks", "whole, packed", "long, packed"],
)
def test_length(
    archive: HostileArchive, make_client: Callable[..., Client], fault: Fault, whole: bool
) -> None:
    """To the byte, whether it is announced or not, packed or not."""
    client = make_client(answer_bytes=MIB)
    archive.faults.append(fault)
    if whole:
        assert len(client.get("/studies").body) == MIB
        return
    with pytest.raises(BadAnswer, match=f"^the answer is longer than {MIB} bytes$"):
        client.get("/studies")
    assert len(archive.asked) == 1


def test_the_cap_as_it_comes(archive: HostileArchive, client: Client) -> None:
    """65 MiB are too much for settings that say nothing."""
    assert ArchiveSettings("main", archive.url).answer_bytes == 64 * MIB
    archive.faults.append(long(65 * MIB, announced=False))
    with pytest.raises(BadAnswer, match="longer than 67108864 bytes"):
        client.get("/studies")


def test_an_announced_length_is_enough(archive: HostileArchive, client: Client) -> None:
    """Who announces too much is not listened to: no byte of the body need come."""
    archive.faults.append(drip(30, size=65 * MIB))
    started = time.monotonic()
    with pytest.raises(BadAnswer, match="longer than"):
        client.get("/studies")
    assert elapsed(started) < 0.9


def test_a_bomb_does_not_go_off(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """A few KiB that unpack to 200 MiB take little more memory than the cap."""
    client = make_client(answer_bytes=MIB)
    archive.faults.append(bomb(200 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(BadAnswer, match="longer than"):
            client.get("/studies")
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [404, 500, 302])
def test_bodies_of_errors_are_not_read(archive: HostileArchive, client: Client, code: int) -> None:
    """However long they would be."""
    body = b"x" * (65 * MIB)
    archive.faults.extend([content(body, code=code)] * 3)
    started = time.monotonic()
    with pytest.raises((BadAnswer, Unavailable), match=f"^HTTP {code}$"):
        client.get("/studies")
    assert elapsed(started) < 0.9
