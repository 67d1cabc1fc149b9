"""C-MOVE: DCMTK and pynetdicom as requesters and destinations, and destinations that misbehave."""

import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from holding_site import (
    CT,
    ENCODED,
    MR,
    SERIES,
    STUDY_MOVE,
    HoldingSite,
    bare,
    bundled,
    numbers,
    settled,
    small,
    whole_study,
)
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association

from pacsbridge.bridge.retrieving import Further, Instance
from pacsbridge.dimse.requestor import Requestor
from pacsbridge.dimse.settings import Peer, Place
from pacsbridge.errors import PacsbridgeError

EXPLICIT = str(ExplicitVRLittleEndian)
ACCEPT, REJECT, ABORT, RELEASE = 2, 3, 7, 5


class Destination:
    """pynetdicom as the destination: what it was sent, by whom, and what it answers in turn."""

    def __init__(self, *, answers: Sequence[int] = (), pause: float = 0) -> None:
        self.got: dict[str, bytes] = {}
        self.proposed: list[list[tuple[str, str]]] = []
        self.commands: list[Any] = []
        self.aborted = threading.Event()
        self._answers = list(answers)
        self._pause = pause

    def start(self, classes: Sequence[str], syntaxes: Sequence[str], port: int = 0) -> Any:
        """Serve; what is returned has to be shut down."""
        entity = AE("DEST")
        for sop_class in classes:
            entity.add_supported_context(sop_class, list(syntaxes))
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._take),
            (evt.EVT_REQUESTED, self._note),
            (evt.EVT_ABORTED, lambda _event: self.aborted.set()),
            (evt.EVT_CONN_CLOSE, lambda _event: self.aborted.set()),
        ]
        return entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _note(self, event: Any) -> None:
        contexts = event.assoc.requestor.primitive.presentation_context_definition_list
        self.proposed.append([(str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in contexts])

    def _take(self, event: Any) -> int:
        time.sleep(self._pause)
        self.commands.append(event.request)
        self.got[str(event.request.AffectedSOPInstanceUID)] = event.request.DataSet.getvalue()
        return self._answers.pop(0) if self._answers else 0


@pytest.fixture
def served() -> Iterator[Callable[..., tuple[Destination, int]]]:
    """Starts pynetdicom destinations, for CT in explicit VR unless told otherwise."""
    with contextlib.ExitStack() as stack:

        def start(
            classes: Sequence[str] = (CT,), syntaxes: Sequence[str] = (EXPLICIT,), **how: Any
        ) -> tuple[Destination, int]:
            destination = Destination(**how)
            server = destination.start(classes, syntaxes)
            stack.callback(server.shutdown)
            return destination, server.server_address[1]

        yield start


@pytest.fixture
def sited(tmp_path: Path) -> Iterator[Callable[..., HoldingSite]]:
    """Starts bridges whose peers are a requester and DEST at a port; nothing is left of them."""
    with settled(), contextlib.ExitStack() as stack:

        def start(port: int, **how: Any) -> HoldingSite:
            peers = (
                Peer("MOVER"),
                Peer("MOVESCU"),
                Peer("DEST", "127.0.0.1", port=port),
                Peer("ROAMING"),
                Peer("NETWORK", "10.0.0.0/8"),
            )
            site = HoldingSite(tmp_path / "data", peers, **how)
            stack.callback(site.stop)
            return site

        yield start


def associated(site: HoldingSite) -> Association:
    """An association of pynetdicom's."""
    entity = AE("MOVER")
    entity.add_requested_context(STUDY_MOVE)
    entity.dimse_timeout = 30
    association = entity.associate("127.0.0.1", site.port)
    assert association.is_established
    return association


def moved(
    site: HoldingSite, asked: Dataset | None = None, to: str = "DEST"
) -> list[tuple[Dataset, Dataset | None]]:
    """Every response to one C-MOVE, the last one at the end."""
    association = associated(site)
    responses = list(association.send_c_move(asked or whole_study(), to, STUDY_MOVE, msg_id=77))
    association.release()
    return responses


def test_movescu_to_storescp(
    sited: Callable[..., HoldingSite],
    dcmtk: Any,
    tmp_path: Path,
    free_port: Callable[[], int],
    wait_until: Any,
) -> None:
    """Between DCMTK's programs: the destination writes down the very data sets that are stored."""
    port, out = free_port(), tmp_path / "out"
    out.mkdir()
    site = sited(port)
    site.put_files("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm")
    scp = subprocess.Popen([dcmtk("storescp"), "+B", "+xa", "-aet", "DEST", "-od", str(out), str(port)])
    try:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        done = subprocess.run(
            [
                *(dcmtk("movescu"), "-S", "-aem", "DEST", "127.0.0.1", str(site.port)),
                *("-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.3.1"),
            ],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    finally:
        scp.terminate()
        scp.wait(10)
    received = [bare(path.read_bytes()) for path in out.iterdir()]
    assert {uid: data for _, uid, data in received} == site.kept


def test_every_transfer_syntax_is_sent_as_it_is(sited: Any, served: Any) -> None:
    """Byte for byte, each in its own transfer syntax, over an association that proposes nothing else."""
    files = [dcmread(BytesIO(bundled(name)), stop_before_pixels=True) for name in ENCODED]
    pairs = {(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in files}
    destination, port = served({pair[0] for pair in pairs}, {pair[1] for pair in pairs})
    site = sited(port)
    site.put_files(*ENCODED)
    assert numbers(moved(site)[-1][0]) == (0, len(ENCODED), 0, 0)
    assert destination.got == site.kept
    [proposed] = destination.proposed
    assert set(proposed) == pairs


def test_the_destination_learns_who_asked(sited: Any, served: Any) -> None:
    """Each C-STORE names the AE title and the message of the C-MOVE; message IDs count up."""
    destination, port = served()
    site = sited(port)
    site.put(small(1), small(2))
    moved(site)
    originators = {
        (one.MoveOriginatorApplicationEntityTitle, one.MoveOriginatorMessageID)
        for one in destination.commands
    }
    assert originators == {("MOVER", 77)}
    assert [one.MessageID for one in destination.commands] == [1, 2]


def test_a_thousand_small_instances(sited: Any, served: Any) -> None:
    """All of them arrive, and pending responses count down meanwhile."""
    destination, port = served()
    site = sited(port)
    site.put(*(small(number) for number in range(1000)))
    responses = [response for response, _ in moved(site)]
    assert numbers(responses[-1]) == (0, 1000, 0, 0)
    assert destination.got == site.kept
    remaining = [one.NumberOfRemainingSuboperations for one in responses[:-1]]
    assert remaining
    assert remaining == sorted(remaining, reverse=True)


def test_more_contexts_than_an_association_has(
    sited: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """300 SOP classes go over three associations, each with the contexts of its own."""
    monkeypatch.setattr(_config, "UNRESTRICTED_STORAGE_SERVICE", True)
    classes = [f"1.2.826.0.1.3680043.9.{number}" for number in range(1, 301)]
    destination, port = served(classes)
    site = sited(port)
    site.put(*(small(number, sop_class) for number, sop_class in enumerate(classes)))
    assert numbers(moved(site)[-1][0]) == (0, 300, 0, 0)
    assert destination.got == site.kept
    assert [len(one) for one in destination.proposed] == [128, 128, 44]
    assert len({pair for one in destination.proposed for pair in one}) == 300


def test_refused_contexts_and_failures_are_listed(sited: Any, served: Any) -> None:
    """What the destination has no context for, or refuses, is counted and named; warnings are counted."""
    destination, port = served(answers=[0, 0xA700, 0xB007])
    site = sited(port)
    site.put(*(small(number) for number in range(3)), small(3, MR), small(4, MR))
    last, failed = moved(site)[-1]
    assert numbers(last) == (0xB000, 1, 3, 1)
    assert failed is not None
    assert set(failed.FailedSOPInstanceUIDList) >= {f"{SERIES}.3", f"{SERIES}.4"}
    assert len(destination.got) == 3


@pytest.mark.parametrize(
    ("title", "why"),
    [
        ("NOBODY", "is not a configured peer"),
        ("ROAMING", "has no single host"),
        ("NETWORK", "has no single host"),
    ],
)
def test_unknown_destinations(sited: Any, title: str, why: str) -> None:
    """Only a configured peer with one host can be a destination: else 0xA801, and the comment says why."""
    [(last, _)] = moved(sited(1), to=title)
    assert last.Status == 0xA801
    assert last.ErrorComment == f"the move destination {why}"


def test_nothing_matches(sited: Any, served: Any) -> None:
    """Success with zeros, and nobody is called."""
    destination, port = served()
    [(last, _)] = moved(sited(port))
    assert numbers(last) == (0, 0, 0, 0)
    assert not destination.proposed


def test_cancel_ends_between_two_instances(sited: Any, served: Any) -> None:
    """After a C-CANCEL no more is sent: 0xFE00 with the number that remains; the association is released."""
    destination, port = served(pause=0.02)
    site = sited(port)
    site.put(*(small(number) for number in range(100)))
    association = associated(site)
    responses = association.send_c_move(whole_study(), "DEST", STUDY_MOVE, msg_id=5)
    next(responses)
    association.send_c_cancel(5, query_model=STUDY_MOVE)
    *_, (last, _) = responses
    association.release()
    assert last.Status == 0xFE00
    assert last.NumberOfRemainingSuboperations == 100 - len(destination.got) > 0


def test_who_vanishes_ends_the_work(sited: Any, served: Any, wait_until: Any) -> None:
    """When the requester is gone the destination's association ends at once, though it is slow."""
    destination, port = served(pause=0.2)
    site = sited(port)
    site.put(*(small(number) for number in range(50)))
    association = associated(site)
    next(association.send_c_move(whole_study(), "DEST", STUDY_MOVE))
    association.abort()
    began = time.monotonic()
    wait_until(destination.aborted.is_set)
    assert time.monotonic() - began < 2
    assert len(destination.got) < 20


def test_the_bridge_stops_in_the_middle(sited: Any, served: Any, wait_until: Any) -> None:
    """A shutdown does not wait for a long retrieval beyond its patience, and leaves no association."""
    destination, port = served(pause=0.2)
    site = sited(port)
    site.put(*(small(number) for number in range(50)))
    association = associated(site)
    responses = association.send_c_move(whole_study(), "DEST", STUDY_MOVE)
    wait_until(lambda: destination.got)
    began = time.monotonic()
    site.server.stop(0.5)
    assert time.monotonic() - began < 3
    wait_until(destination.aborted.is_set)
    list(responses)
    association.abort()


# destinations that misbehave


def accepting(pdu: bytes) -> bytes:
    """An A-ASSOCIATE-AC that accepts every context of a request with its first transfer syntax."""
    body = bytearray(pdu[6 : 6 + 68])
    items, at = bytearray(), 6 + 68
    while at < len(pdu):
        kind, length = struct.unpack_from(">BxH", pdu, at)
        value = pdu[at + 4 : at + 4 + length]
        at += 4 + length
        if kind == 0x20:
            syntax = value.index(b"\x40\x00")
            value = bytes((value[0], 0, 0, 0)) + value[syntax:]
            kind = 0x21
        items += struct.pack(">BxH", kind, len(value)) + value
    return struct.pack(">BxL", ACCEPT, len(body) + len(items)) + bytes(body) + bytes(items)


class Rogue:
    """A server whose behaviour is a function of the connection; counts the connections."""

    def __init__(self, behave: Callable[["Rogue", socket.socket], None]) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])
        self.calls = 0
        self.over = threading.Event()
        self._behave = behave
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                self.calls += 1
                client.settimeout(10)
                with client, contextlib.suppress(OSError, EOFError):
                    self._behave(self, client)

    def stop(self) -> None:
        """End."""
        self.over.set()
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self._thread.join(10)


def read_pdu(client: socket.socket) -> bytes:
    """The next PDU, whole."""
    data = b""
    while len(data) < 6 or len(data) < 6 + struct.unpack(">L", data[2:6])[0]:
        wanted = 6 if len(data) < 6 else 6 + struct.unpack(">L", data[2:6])[0]
        more = client.recv(wanted - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def respond(client: socket.socket, context: int, message: int, status: int = 0) -> None:
    """A C-STORE response."""
    values = {0x0100: 0x8001, 0x0120: message, 0x0800: 0x0101, 0x0900: status}
    body = b"".join(struct.pack("<HHLH", 0, number, 2, value) for number, value in values.items())
    body = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    client.sendall(struct.pack(">BxLLBB", 4, len(body) + 6, len(body) + 2, context, 3) + body)


def answering(*messages: Callable[[int], int], then: Callable[[socket.socket], None]) -> Any:
    """Accepts; answers as many requests, each with the message number that a function makes; then does so."""

    def behave(rogue: Rogue, client: socket.socket) -> None:
        client.sendall(accepting(read_pdu(client)))
        for number, number_of in enumerate(messages, 1):
            pdu = read_pdu(client)
            while pdu[11] != 2:
                pdu = read_pdu(client)
            respond(client, pdu[10], number_of(number))
        then(client)
        rogue.over.wait(8)

    return behave


def say(data: bytes) -> Callable[[socket.socket], None]:
    """Sends something."""
    return lambda client: client.sendall(data)


def same(number: int) -> int:
    """The right message number."""
    return number


def hang(_client: socket.socket) -> None:
    """Does nothing."""


def silent(rogue: Rogue, _client: socket.socket) -> None:
    """Never answers the association request."""
    rogue.over.wait(8)


def told(data: bytes) -> Callable[[Rogue, socket.socket], None]:
    """Answers the association request with something of its own."""

    def behave(rogue: Rogue, client: socket.socket) -> None:
        read_pdu(client)
        client.sendall(data)
        rogue.over.wait(8)

    return behave


def drip(rogue: Rogue, client: socket.socket) -> None:
    """Accepts byte by byte, slower than anybody can wait."""
    for byte in accepting(read_pdu(client)):
        if rogue.over.wait(0.1):
            return
        client.sendall(bytes((byte,)))


ABORTED = struct.pack(">BxLBBBB", ABORT, 4, 0, 0, 0, 0)
MISBEHAVIOUR: dict[str, tuple[Any, int, str]] = {
    "rejects": (told(struct.pack(">BxLBBBB", REJECT, 4, 0, 1, 1, 7)), 0, "rejects the association"),
    "aborts at once": (told(ABORTED), 0, "aborts the association"),
    "hangs up": (lambda _rogue, client: read_pdu(client), 0, "closes the connection"),
    "is silent": (silent, 0, "takes longer than 0.7 s"),
    "drips": (drip, 0, "takes longer than 0.7 s"),
    "talks HTTP": (told(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 0, "breaks the protocol"),
    "accepts nonsense": (told(struct.pack(">BxL", ACCEPT, 80) + b"\xff" * 80), 0, "nonsense"),
    "never answers": (answering(then=hang), 0, "takes longer than 0.7 s"),
    "aborts after two": (answering(same, same, then=say(ABORTED)), 2, "aborts the association"),
    "releases after two": (
        answering(same, same, then=say(struct.pack(">BxLL", RELEASE, 4, 0))),
        2,
        "releases the association",
    ),
    "hangs up after two": (answering(same, same, then=socket.socket.close), 2, ""),
    "answers another message": (answering(same, lambda _: 999, then=hang), 1, "takes longer than 0.7 s"),
    "sends a torn command": (
        answering(same, then=say(struct.pack(">BxLLBB", 4, 10, 6, 1, 3) + b"\0\0\0\1")),
        1,
        "breaks the protocol",
    ),
    "sends an endless PDU": (
        answering(same, then=say(struct.pack(">BxL", 4, 1 << 31))),
        1,
        "breaks the protocol",
    ),
}


@pytest.mark.parametrize("how", MISBEHAVIOUR)
def test_a_destination_that_misbehaves(sited: Any, how: str) -> None:
    """The requester is always answered, soon, with the numbers: what was not answered for has failed."""
    behave, completed, why = MISBEHAVIOUR[how]
    rogue = Rogue(behave)
    try:
        site = sited(rogue.port, seconds=0.7)
        site.put(*(small(number) for number in range(5)))
        began = time.monotonic()
        last, failed = moved(site)[-1]
        assert time.monotonic() - began < 5
        assert numbers(last) == (0xB000 if completed else 0xA702, completed, 5 - completed, 0)
        assert why in last.ErrorComment
        assert failed is not None
        assert len(failed.FailedSOPInstanceUIDList) == 5 - completed
        assert rogue.calls == 1
    finally:
        rogue.stop()


def test_a_destination_that_is_not_there(sited: Any, free_port: Callable[[], int]) -> None:
    """Nobody listens: all have failed."""
    site = sited(free_port())
    site.put(small(1))
    last, _ = moved(site)[-1]
    assert numbers(last) == (0xA702, 0, 1, 0)
    assert "cannot be reached" in last.ErrorComment


def test_a_host_without_an_address(sited: Any) -> None:
    """A name that does not resolve is a destination that cannot be reached."""
    requestor = Requestor(1)
    with pytest.raises(PacsbridgeError, match="cannot be reached"):
        list(requestor.associate(Place("no-such-host.invalid", 104), "US", "THEM", [(CT, EXPLICIT)]))


def test_the_bytes_of_an_instance_break_off(sited: Any, served: Any) -> None:
    """A message that cannot be completed ends its association; the others go over the next one."""
    destination, port = served()
    far, shorter = small(50), small(51)

    def ask(_wanted: Any, _held: Any) -> Further:
        instances = [
            Instance(CT, f"{SERIES}.51", EXPLICIT, len(shorter) + 1, lambda _: iter([shorter])),
            Instance(CT, f"{SERIES}.50", EXPLICIT, len(far), lambda _: iter([far])),
        ]
        return Further((f"{SERIES}.50", f"{SERIES}.51"), iter(instances))

    last, failed = moved(sited(port, ask=ask))[-1]
    assert numbers(last) == (0xB000, 1, 1, 0)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == f"{SERIES}.51"
    assert destination.got == {f"{SERIES}.50": far}
    assert len(destination.proposed) == 2
