"""Storage Commitment with pynetdicom as the requestor: asked, looked at, told, told later, given up."""

import contextlib
import inspect
import os
import queue
import socket
import sqlite3
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dsutils import decode, encode

from pacsbridge.blobs.location import position
from pacsbridge.bridge.commitment import Commitments, Patience, Reference, Report
from pacsbridge.bridge.importing import import_file
from pacsbridge.bridge.intake import Incoming, Intake
from pacsbridge.bridge.sources import Source
from pacsbridge.dimse import commitment
from pacsbridge.dimse.reporting import Reporter
from pacsbridge.dimse.server import DimseServer
from pacsbridge.dimse.settings import DimseSettings, Peer, Place
from pacsbridge.errors import Absent, NotUnderstood, TooLarge, Unavailable
from pacsbridge.kernel.identity import Context
from pacsbridge.samples import write_samples
from pacsbridge.store.store import Store

CLASS, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
WAIT = 20.0
QUICK = Patience(hold=0, answer=5, pauses=(0.05,), rest=0.5, workers=2)


def now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000


class Site:
    """A bridge with all that commitment needs: store, packs, index, listener."""

    def __init__(self, folder: Path, peers: Sequence[Peer] = (), patience: Patience = QUICK) -> None:
        self.store = Store("sqlite", folder)
        self.store.migrate()
        self.intake = Intake(self.store, folder, lambda uri: Source(uri, uri), now, min_free_bytes=0)
        self.intake.start()
        self.commitments = Commitments(
            self.store, self.intake, Reporter("PACSBRIDGE", peers, 5), now, patience
        )
        self.server = DimseServer(
            DimseSettings(port=0), self._take, self.intake.spool, peers, commit=self.commitments.request
        )
        self.commitments.start()
        self.server.start()

    def _take(self, stored: Any) -> None:
        source = Source("urn:x", "x", "", Context())
        self.intake.adopt(Incoming(stored.dataset, stored.transfer_syntax_uid, source))

    def stop(self) -> None:
        """Everything, callers first."""
        self.server.stop(5)
        self.commitments.stop()
        self.intake.stop()
        self.store.close()

    def fill(self, paths: Sequence[Path]) -> list[Reference]:
        """Import files; what they are called."""
        found = []
        for path in paths:
            import_file(path, self.intake, Source("urn:x", "x"), 1 << 30)
            data = pydicom.dcmread(path, stop_before_pixels=True)
            found.append(Reference(str(data.SOPClassUID), str(data.SOPInstanceUID)))
        assert self.intake.indexer.drain(20)
        return found

    def letters(self) -> list[Any]:
        """Dead letters about commitment."""
        return [letter for letter in self.store.dead_letters() if letter.kind == "commitment"]


@pytest.fixture
def sited(tmp_path: Path, house: Any) -> Iterator[Callable[..., Site]]:
    """Starts bridges over one data directory; `house` sees to it that no thread is left of them."""
    with contextlib.ExitStack() as stack:

        def start(*peers: Peer, **how: Any) -> Site:
            site = Site(tmp_path / "data", peers, Patience(**{**_fields(QUICK), **how}))
            stack.callback(site.stop)
            return site

        yield start


def _fields(patience: Patience) -> dict[str, Any]:
    return {name: getattr(patience, name) for name in Patience.__slots__}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A few instances."""
    return write_samples(tmp_path / "samples")[:4]


class Heard:
    """Notes reports, and answers them with the statuses in turn; the last one again and again.

    A report is told of once it has been answered: whoever releases the association sooner makes pynetdicom
    answer on one that is being released.
    """

    def __init__(self, *statuses: int) -> None:
        self.events: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        self.handlers: Any = [(evt.EVT_N_EVENT_REPORT, self), (evt.EVT_PDU_SENT, self._answered)]
        self._unanswered: queue.SimpleQueue[tuple[int, Dataset]] = queue.SimpleQueue()
        self.associations: list[Association] = []
        self._statuses = list(statuses) or [0]

    def __call__(self, event: Any) -> tuple[int, None]:
        self.associations.append(event.assoc)
        self._unanswered.put((event.event_type, event.event_information))
        return (self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]), None

    def _answered(self, _event: Any) -> None:
        with contextlib.suppress(queue.Empty):
            self.events.put(self._unanswered.get_nowait())

    def get(self) -> tuple[int, Dataset]:
        """The next report."""
        return self.events.get(timeout=WAIT)


def wanted(references: Sequence[Reference], transaction: str | None = "1.2.3") -> Dataset:
    """The data set of a request."""
    data = Dataset()
    if transaction is not None:
        data.TransactionUID = transaction
    data.ReferencedSOPSequence = [item(*one) for one in references]
    return data


def item(sop_class: str, uid: str) -> Dataset:
    """One reference."""
    data = Dataset()
    data.ReferencedSOPClassUID, data.ReferencedSOPInstanceUID = sop_class, uid
    return data


def dial(port: int, heard: Heard | None = None, syntax: str = ImplicitVRLittleEndian) -> Association:
    """An association of a requestor."""
    entity = AE("CT1")
    entity.add_requested_context(CLASS, syntax)
    entity.add_requested_context(CT, ExplicitVRLittleEndian)
    entity.dimse_timeout = WAIT
    handlers = heard.handlers if heard else []
    association = entity.associate("127.0.0.1", port, ae_title="PACSBRIDGE", evt_handlers=handlers)
    assert association.is_established
    return association


def ask(association: Association, data: Dataset) -> int:
    """The status that answers a request."""
    status, _ = association.send_n_action(data, 1, CLASS, INSTANCE)
    return int(status.Status)


@pytest.fixture
def listening() -> Iterator[Callable[..., int]]:
    """Starts requestors that wait for reports; returns where."""
    servers: list[Any] = []

    def start(heard: Heard, port: int = 0, **roles: Any) -> int:
        entity = AE("CT1")
        entity.add_supported_context(CLASS, **(roles or {"scu_role": False, "scp_role": True}))
        server: Any = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=heard.handlers)
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()


def pairs(sequence: Any) -> list[tuple[str, str]]:
    """What the items of a report name."""
    return [(one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID) for one in sequence]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_all_is_committed_on_the_association_of_the_request(
    sited: Callable[..., Site], files: list[Path], syntax: str, wait_until: Callable[..., None]
) -> None:
    """Event type 1 names the transaction, every instance and where to get it; then nothing waits."""
    site = sited()
    references, heard = site.fill(files), Heard()
    association = dial(site.server.port, heard, syntax)
    assert ask(association, wanted(references)) == 0
    kind, data = heard.get()
    assert (kind, data.TransactionUID, data.RetrieveAETitle) == (1, "1.2.3", "PACSBRIDGE")
    assert pairs(data.ReferencedSOPSequence) == references
    assert "FailedSOPSequence" not in data
    wait_until(lambda: site.store.commitments.next_due() is None)
    assert heard.associations == [association]
    association.release()
    assert site.letters() == []


def test_an_instance_counts_as_soon_as_it_is_acknowledged(
    sited: Callable[..., Site], files: list[Path]
) -> None:
    """Stored and asked for at once, before the index has it: the report waits for the index."""
    site, heard = sited(), Heard()
    data = pydicom.dcmread(str(pydicom.data.get_testdata_file("CT_small.dcm")))
    association = dial(site.server.port, heard)
    assert association.send_c_store(data).Status == 0
    reference = Reference(CT, str(data.SOPInstanceUID))
    assert site.intake.indexer.waiting(reference.sop_uid), "the test is too slow to see it wait"
    assert ask(association, wanted([reference])) == 0
    kind, report = heard.get()
    assert (kind, pairs(report.ReferencedSOPSequence)) == (1, [reference])
    association.release()


def flip(site: Site, folder: Path, uid: str) -> None:
    """One bit of the last byte of an instance."""
    place = position(site.store.commitments.kept([uid])[uid].location)
    blob = site.intake.packs.open(str(place))
    with (folder / "packs" / f"{place.pack}.pack").open("r+b") as file:
        file.seek(blob.offset + blob.length - 1)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([last ^ 1]))


def cut(site: Site, folder: Path, uid: str) -> None:
    """The pack ends within the instance."""
    place = position(site.store.commitments.kept([uid])[uid].location)
    blob = site.intake.packs.open(str(place))
    os.truncate(folder / "packs" / f"{place.pack}.pack", blob.offset + blob.length - 1)


def replaced(site: Site, folder: Path, uid: str) -> None:
    """Where it was, another instance stands whole, as if its pack had been put back from elsewhere."""
    with closing(sqlite3.connect(folder / "index.sqlite")) as index, index:
        sought = "SELECT location, size FROM instance WHERE uid <> ? ORDER BY uid LIMIT 1"
        [(location, size)] = index.execute(sought, [uid])
        index.execute("UPDATE instance SET location = ?, size = ? WHERE uid = ?", [location, size, uid])


@pytest.mark.parametrize("harm", [flip, cut, replaced])
def test_what_is_not_safe_here_fails_with_its_reason(
    sited: Callable[..., Site], files: list[Path], tmp_path: Path, harm: Callable[..., None]
) -> None:
    """Missing, of another class, damaged, discarded: event type 2 has each, and what is committed beside."""
    site, heard = sited(), Heard()
    good, other, gone, harmed = site.fill(files)
    harm(site, tmp_path / "data", harmed.sop_uid)
    site.intake.packs.discard(site.store.commitments.kept([gone.sop_uid])[gone.sop_uid].location)
    asked = [good, Reference("1.2.99", other.sop_uid), gone, harmed, Reference(CT, "1.2.404"), good]
    association = dial(site.server.port, heard)
    assert ask(association, wanted(asked)) == 0
    kind, data = heard.get()
    association.release()
    assert kind == 2
    assert pairs(data.ReferencedSOPSequence) == [good, good]
    assert pairs(data.FailedSOPSequence) == asked[1:5]
    assert [one.FailureReason for one in data.FailedSOPSequence] == [0x0119, 0x0112, 0x0110, 0x0112]


def test_nothing_is_committed(sited: Callable[..., Site]) -> None:
    """Where all fails there is no sequence of committed instances, and no title to retrieve from."""
    site, heard = sited(), Heard()
    association = dial(site.server.port, heard)
    assert ask(association, wanted([Reference(CT, "1.2.404")])) == 0
    kind, data = heard.get()
    association.release()
    assert kind == 2
    assert "ReferencedSOPSequence" not in data and "RetrieveAETitle" not in data


def test_a_requestor_who_has_released_is_called(
    sited: Callable[..., Site], files: list[Path], listening: Callable[..., int], wait_until: Any
) -> None:
    """The report comes on a new association, in which we are the provider, to the peer's host and port."""
    heard = Heard()
    site = sited(Peer("CT1", "127.0.0.1", port=listening(heard)), hold=0.2)
    references = site.fill(files)
    association = dial(site.server.port)
    assert ask(association, wanted(references)) == 0
    association.release()
    kind, data = heard.get()
    assert (kind, pairs(data.ReferencedSOPSequence)) == (1, references)
    (came,) = heard.associations
    assert (came.requestor.ae_title, came.acceptor.ae_title) == ("PACSBRIDGE", "CT1")
    (role,) = came.requestor.role_selection.values()
    assert (bool(role.scu_role), bool(role.scp_role)) == (False, True)
    wait_until(lambda: site.store.commitments.next_due() is None)


def test_a_requestor_who_knows_no_roles_is_called_too(
    sited: Callable[..., Site], listening: Callable[..., int]
) -> None:
    """A peer that accepts the context and says nothing of roles gets its report."""
    heard = Heard()
    site = sited(Peer("CT1", "127.0.0.1", port=listening(heard, scu_role=None, scp_role=None)))
    association = dial(site.server.port)
    association.release()
    assert site.commitments._send("CT1", Report("1.2.3", [], [(Reference(CT, "1.2"), 0x0112)])) == 0
    assert heard.get()[0] == 2


def test_silence_on_the_requestors_association(
    sited: Callable[..., Site], files: list[Path], listening: Callable[..., int], wire: Any, house: Any
) -> None:
    """Open, but no answer comes there: after a while the report comes on a new one."""
    heard = Heard()
    site = sited(Peer("RAW", "127.0.0.1", port=listening(heard)), answer=0.2)
    references = site.fill(files[:1])
    house.port = site.server.port
    with house.dial().associate(contexts=((1, CLASS.encode(), (b"1.2.840.10008.1.2",)),)) as peer:
        peer.send(action(wire, encode(wanted(references), True, True) or b""))
        assert peer.status() == 0
        assert heard.get()[0] == 1
        report = peer.answer()
    assert report[0x0100] == b"\x00\x01"
    assert report[0x1002] == b"\x01\x00"
    assert report[0x1000].rstrip(b"\0").decode() == INSTANCE


def test_no_address_is_a_dead_letter(sited: Callable[..., Site], wait_until: Callable[..., None]) -> None:
    """The requestor has gone and nobody knows where to call: on record under the transaction."""
    site = sited(Peer("CT1"), hold=0.2)
    association = dial(site.server.port)
    assert ask(association, wanted([Reference(CT, "1.2")], "1.2.77")) == 0
    association.release()
    wait_until(site.letters)
    (letter,) = site.letters()
    assert (letter.key, letter.source) == ("1.2.77", "urn:dicom:ae:CT1")
    assert "no peer of that AE title has an address" in letter.reason
    assert site.store.commitments.next_due() is None


def test_a_peer_who_is_away_is_called_again_after_a_restart(
    sited: Callable[..., Site],
    files: list[Path],
    listening: Callable[..., int],
    free_port: Callable[[], int],
    wait_until: Callable[..., None],
) -> None:
    """Nobody listens: the request survives the end of the program, and is told when the peer is back."""
    peer = Peer("CT1", "127.0.0.1", port=free_port())
    site = sited(peer, pauses=(3600.0,))
    references = site.fill(files)
    association = dial(site.server.port)
    assert ask(association, wanted(references)) == 0
    association.abort()
    wait_until(lambda: (site.store.commitments.next_due() or 0) > now() + 3_000_000_000)
    site.stop()
    heard = Heard()
    listening(heard, peer.port)
    again = sited(peer)
    kind, data = heard.get()
    assert (kind, data.TransactionUID, pairs(data.ReferencedSOPSequence)) == (1, "1.2.3", references)
    wait_until(lambda: again.store.commitments.next_due() is None)
    assert again.letters() == []


def test_a_crash_between_request_and_report(
    sited: Callable[..., Site], listening: Callable[..., int]
) -> None:
    """What was acknowledged is told after the restart, though a worker had it in hands."""
    heard = Heard()
    peer = Peer("CT1", "127.0.0.1", port=listening(heard))
    site = sited(peer, hold=3600)
    association = dial(site.server.port)
    assert ask(association, wanted([Reference(CT, "1.2")])) == 0
    association.abort()
    assert site.store.commitments.claim(now() + 3_700_000_000, now() + 9_000_000_000)
    site.stop()
    sited(peer)
    assert heard.get()[1].TransactionUID == "1.2.3"


REFUSALS: dict[str, tuple[Callable[[Any], None], str]] = {
    "rejects": (lambda entity: setattr(entity, "require_called_aet", True), "rejects the association"),
    "no context": (
        lambda entity: (
            setattr(entity, "supported_contexts", []) or entity.add_supported_context("1.2.840.10008.1.1")
        ),
        "does not accept storage commitment",
    ),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_a_peer_who_refuses_gets_a_day_and_then_a_dead_letter(
    sited: Callable[..., Site], how: str, wait_until: Callable[..., None]
) -> None:
    """Association rejected, context refused: tried until the time is up, then on record with the reason."""
    change, reason = REFUSALS[how]
    entity = AE("ANOTHER")
    entity.add_supported_context(CLASS)
    change(entity)
    server: Any = entity.start_server(("127.0.0.1", 0), block=False)
    site = sited(Peer("CT1", "127.0.0.1", port=server.server_address[1]), give_up=2)
    association = dial(site.server.port)
    assert ask(association, wanted([Reference(CT, "1.2")])) == 0
    association.abort()
    wait_until(site.letters)
    server.shutdown()
    (letter,) = site.letters()
    assert reason in letter.reason
    assert letter.attempts > 1


def test_a_requestor_who_fails_for_now_is_told_again(
    sited: Callable[..., Site], listening: Callable[..., int], wait_until: Callable[..., None]
) -> None:
    """0x0110 and 0x0213 pass with time; a warning is heard."""
    heard = Heard(0x0110, 0x0213, 0x0107)
    site = sited(Peer("CT1", "127.0.0.1", port=listening(heard)))
    association = dial(site.server.port)
    assert ask(association, wanted([Reference(CT, "1.2")])) == 0
    association.abort()
    assert [heard.get()[0] for _ in range(3)] == [2, 2, 2]
    wait_until(lambda: site.store.commitments.next_due() is None)
    assert heard.events.empty()
    assert site.letters() == []


def test_a_requestor_who_refuses_the_report(
    sited: Callable[..., Site], listening: Callable[..., int], wait_until: Callable[..., None]
) -> None:
    """0x0115 stays: a dead letter with the status, and no further call."""
    heard = Heard(0x0115)
    site = sited(Peer("CT1", "127.0.0.1", port=listening(heard)))
    association = dial(site.server.port)
    assert ask(association, wanted([Reference(CT, "1.2")])) == 0
    association.abort()
    wait_until(site.letters)
    assert "0x0115" in site.letters()[0].reason
    assert heard.events.qsize() == 1


def test_refused_on_its_association_and_nowhere_to_call(
    sited: Callable[..., Site], wait_until: Callable[..., None]
) -> None:
    """The answer on the own association is in the dead letter."""
    site, heard = sited(), Heard(0x0211)
    association = dial(site.server.port, heard)
    assert ask(association, wanted([Reference(CT, "1.2")])) == 0
    wait_until(site.letters)
    association.release()
    assert "0x0211" in site.letters()[0].reason


def test_the_same_transaction_again(
    sited: Callable[..., Site], files: list[Path], wait_until: Callable[..., None]
) -> None:
    """The second request replaces the first, and is the only one that is told."""
    site, heard = sited(hold=0.3), Heard()
    first, second, *_ = site.fill(files)
    association = dial(site.server.port, heard)
    assert ask(association, wanted([first])) == 0
    assert ask(association, wanted([second])) == 0
    assert pairs(heard.get()[1].ReferencedSOPSequence) == [second]
    wait_until(lambda: site.store.commitments.next_due() is None)
    assert heard.events.empty()
    association.release()


def test_ten_thousand_references(sited: Callable[..., Site], files: list[Path]) -> None:
    """Go both ways on one association, in PDUs of the size that the peer takes."""
    site, heard = sited(), Heard()
    (known, *_) = site.fill(files[:1])
    asked = [known, *(Reference(CT, f"1.2.840.99999.{number}") for number in range(9_999))]
    association = dial(site.server.port, heard)
    assert ask(association, wanted(asked)) == 0
    kind, data = heard.get()
    association.release()
    assert (kind, len(data.FailedSOPSequence)) == (2, 9_999)
    assert pairs(data.ReferencedSOPSequence) == [known]


def action(wire: Any, data: bytes, **other: Any) -> bytes:
    """An N-ACTION request, rightly or wrongly."""
    values = {"sop": CLASS.encode(), "uid": INSTANCE.encode(), "type": 1, **other}
    body = wire.element(0x0003, values["sop"]) + wire.element(0x0100, struct.pack("<H", 0x0130))
    body += wire.element(0x0110, b"\7\0") + wire.element(0x0800, struct.pack("<H", 1 if data else 0x0101))
    body += wire.element(0x1001, values["uid"]) + wire.element(0x1008, struct.pack("<H", values["type"]))
    request = wire.data(1, 3, wire.element(0, struct.pack("<L", len(body))) + body)
    pieces = [data[start : start + 16000] for start in range(0, len(data), 16000)]
    return bytes(request) + b"".join(
        wire.data(1, 2 if number == len(pieces) - 1 else 0, piece) for number, piece in enumerate(pieces)
    )


def implicit(data: Dataset) -> bytes:
    """Encoded."""
    return encode(data, True, True) or b""


GOOD = implicit(wanted([Reference(CT, "1.2")]))
BAD: dict[str, tuple[dict[str, Any], int]] = {
    "no transaction": ({"data": implicit(wanted([Reference(CT, "1.2")], None))}, 0x0115),
    "a transaction that is no UID": ({"data": GOOD.replace(b"1.2.3\0", b"../../")}, 0x0115),
    "no references": ({"data": implicit(wanted([]))}, 0x0115),
    "a reference without instance": (
        {"data": GOOD.replace(b"\x08\x00\x55\x11", b"\x08\x00\x56\x11")},
        0x0115,
    ),
    "cut short": ({"data": GOOD[:-3]}, 0x0115),
    "no data set": ({"data": b""}, 0x0115),
    "noise": ({"data": bytes(range(255))}, 0x0115),
    "another action": ({"data": GOOD, "type": 2}, 0x0123),
    "another class": ({"data": GOOD, "sop": b"1.2.3"}, 0x0118),
    "another instance": ({"data": GOOD, "uid": b"1.2.3"}, 0x0112),
    "too long": ({"data": GOOD + bytes(commitment.BYTES)}, 0x0213),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_request_is_refused_and_the_association_goes_on(
    sited: Callable[..., Site], house: Any, wire: Any, fault: str
) -> None:
    """Each fault has its status; nothing of it is kept, and a good request is taken after it."""
    site = sited(hold=3600)
    how, status = BAD[fault]
    house.port = site.server.port
    with house.dial().associate(contexts=((1, CLASS.encode(), (b"1.2.840.10008.1.2",)),)) as peer:
        answer = peer.send(action(wire, **how)).answer()
        assert struct.unpack("<H", answer[0x0900])[0] == status
        assert (answer[0x0100], answer[0x0120]) == (b"\x30\x81", b"\x07\x00")
        assert answer[0x0902], "there is a comment"
        assert site.store.commitments.next_due() is None
        assert peer.send(action(wire, GOOD)).status() == 0
    assert site.store.commitments.next_due() is not None


def test_a_store_that_is_away(sited: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that cannot be made durable is not acknowledged."""
    site = sited()
    monkeypatch.setattr(
        site.store.commitments, "put", lambda *_: (_ for _ in ()).throw(Unavailable("the index is away"))
    )
    association = dial(site.server.port)
    assert ask(association, wanted([Reference(CT, "1.2")])) == 0x0213
    association.release()


def test_only_transfer_syntaxes_that_are_read_are_accepted(sited: Callable[..., Site]) -> None:
    """The first that is read is taken, deflated or big endian ones are not."""
    site = sited()
    entity = AE("CT1")
    entity.add_requested_context(CLASS, ["1.2.840.10008.1.2.1.99", ExplicitVRLittleEndian])
    entity.add_requested_context(CLASS, ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
    association = entity.associate("127.0.0.1", site.server.port)
    (taken,), (refused,) = association.accepted_contexts, association.rejected_contexts
    association.release()
    assert taken.transfer_syntax == [ExplicitVRLittleEndian]
    assert refused.result == 4


def test_a_peer_needs_the_service(sited: Callable[..., Site], house: Any) -> None:
    """Whoever may only store has the context refused; so has everybody where nobody takes requests."""
    ports = (
        (sited(Peer("CT1", services=frozenset({"store"}))).server.port, 1),
        (house.port, 3),
    )
    for port, result in ports:
        entity = AE("CT1")
        entity.add_requested_context(CLASS)
        entity.add_requested_context(CT)
        association = entity.associate("127.0.0.1", port)
        (refused,) = association.rejected_contexts
        association.release()
        assert (refused.abstract_syntax, refused.result) == (CLASS, result)


MANY = [Reference(CT, "1.2.3"), Reference("1.2.840.10008.5.1.4.1.1.88.11", "2.25." + "9" * 39)]


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_every_form_of_a_request_is_read(*, explicit: bool, undefined: bool) -> None:
    """Implicit and explicit, with defined and undefined lengths, with elements that nobody asked for."""
    data = wanted(MANY)
    data.ReferencedSOPSequence[0].PurposeOfReferenceCodeSequence = [item(CT, "1.9")]
    data.ProcedureCodeSequence = [wanted(MANY, "1.8")]
    for one in (data, *data.ReferencedSOPSequence, *data.ProcedureCodeSequence):
        one.is_undefined_length_sequence_item = undefined
        for element in one:
            if element.VR == "SQ":
                element.is_undefined_length = undefined
    syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    encoded = encode(data, not explicit, True) or b""
    assert commitment.read(encoded, syntax) == ("1.2.3", MANY)
    for length in range(len(encoded)):
        with contextlib.suppress(NotUnderstood):
            found = commitment.read(encoded[:length], syntax)
            assert found == ("1.2.3", MANY), "what lies behind is all that may be missing"


def test_sequences_are_not_followed_without_end() -> None:
    """A data set of opened sequences and items is refused before the stack is full."""
    deep = (
        struct.pack("<HHL", 8, 0x1140, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ) * 5000
    with pytest.raises(NotUnderstood, match="nested deeper"):
        commitment.read(deep, ImplicitVRLittleEndian)


def test_more_references_than_are_taken() -> None:
    """100,000 are read, one more is too many."""
    one = struct.pack("<HHL", 0xFFFE, 0xE000, 22) + (
        struct.pack("<HHL", 8, 0x1150, 4) + b"1.2\0" + struct.pack("<HHL", 8, 0x1155, 2) + b"1\0"
    )
    head = struct.pack("<HHL", 8, 0x1195, 4) + b"1.2\0"
    for count in (100_000, 100_001):
        body = head + struct.pack("<HHL", 8, 0x1199, len(one) * count) + one * count
        if count == 100_000:
            assert len(commitment.read(body, ImplicitVRLittleEndian)[1]) == count
        else:
            with pytest.raises(TooLarge, match="100000"):
                commitment.read(body, ImplicitVRLittleEndian)


@pytest.mark.parametrize("explicit", [True, False])
def test_a_report_is_what_the_library_reads(*, explicit: bool) -> None:
    """pydicom finds every element of a report, and would write the same bytes."""
    report = Report("1.2.3", MANY, [(Reference(CT, "1.2.4"), 0x0119)])
    syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    encoded = commitment.encode(report, syntax, "BRIDGE1")
    data = decode(BytesIO(encoded), not explicit, True)
    assert [element.keyword for element in data] == [
        *("RetrieveAETitle", "TransactionUID", "FailedSOPSequence", "ReferencedSOPSequence")
    ]
    assert data.FailedSOPSequence[0].FailureReason == 0x0119
    assert pairs(data.ReferencedSOPSequence) == MANY
    assert encode(data, not explicit, True) == encoded


@pytest.mark.parametrize(("host", "known"), [("192.0.2.1", True), ("10.0.0.0/8", False), (None, False)])
def test_where_a_peer_is_called(host: str | None, known: bool) -> None:
    """At its host; a network, or none, is no address."""
    reporter = Reporter("US", [Peer("CT1", host, port=11113)])
    assert reporter._directory.place("CT1") == (Place("192.0.2.1", 11113) if known else None)
    if not known:
        with pytest.raises(Absent):
            reporter("CT1", Report("1.2", MANY, []))


def test_a_peer_who_takes_the_report_and_never_answers(listening: Callable[..., int]) -> None:
    """Is given up after a while, with the association aborted."""
    answering = threading.Event()

    class Slow(Heard):
        def __call__(self, event: Any) -> tuple[int, None]:
            answering.wait(WAIT)
            return super().__call__(event)

    reporter = Reporter("US", [Peer("CT1", "127.0.0.1", port=listening(Slow()))], 0.3)
    with pytest.raises(Unavailable, match="does not answer the report"):
        reporter("CT1", Report("1.2.3", MANY, []))
    answering.set()


def _deny(listener: socket.socket, wire: Any, seen: list[bytes]) -> None:
    """Accepts the context, and answers the proposed roles with neither; notes the PDUs that follow."""
    peer, _ = listener.accept()
    with peer:
        peer.recv(65536)
        role = struct.pack(">H", len(CLASS)) + CLASS.encode() + b"\0\0"
        context = bytes((1, 0, 0, 0)) + wire.item(0x40, ExplicitVRLittleEndian.encode())
        user = wire.item(0x51, struct.pack(">L", 16384)) + wire.item(0x52, b"1.2.3.4") + wire.item(0x54, role)
        body = struct.pack(">HH", 1, 0) + b"CT1".ljust(16) + b"US".ljust(16) + bytes(32)
        body += wire.item(0x10, b"1.2.840.10008.3.1.1.1") + wire.item(0x21, context) + wire.item(0x50, user)
        peer.sendall(wire.pdu(2, body))
        seen.append(peer.recv(65536)[:1])
        peer.sendall(struct.pack(">BxLL", 6, 4, 0))


def test_a_peer_who_denies_us_the_role(wire: Any) -> None:
    """A peer that knows of roles and does not grant ours is told nothing: the association is released."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reporter = Reporter("US", [Peer("CT1", "127.0.0.1", port=listener.getsockname()[1])])
        peer = threading.Thread(target=_deny, args=(listener, wire, seen))
        peer.start()
        with pytest.raises(Unavailable, match="does not grant us the role of the provider"):
            reporter("CT1", Report("1.2.3", MANY, []))
        peer.join()
    assert seen == [b"\5"]


def _hang_up(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_peer_who_accepts_connections_and_nothing_else() -> None:
    """A port that somebody else listens on, who hangs up: unavailable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        reporter = Reporter("US", [Peer("CT1", "127.0.0.1", port=listener.getsockname()[1])])
        closer = threading.Thread(target=_hang_up, args=(listener,))
        closer.start()
        with pytest.raises(Unavailable, match="does not answer"):
            reporter("CT1", Report("1.2.3", MANY, []))
        closer.join()


def test_the_library_has_what_is_used_of_it_privately() -> None:
    """The way of an encoded report past `send_n_event_report` is as it was."""
    assert list(inspect.signature(DIMSEServiceProvider.send_msg).parameters) == [
        *("self", "primitive", "context_id")
    ]
    assert list(inspect.signature(DIMSEServiceProvider.get_msg).parameters) == ["self", "block"]
    association = Association(AE(), "requestor")
    assert hasattr(association, "_reactor_checkpoint") and hasattr(association, "_is_paused")
    assert "role_selection" in inspect.getsource(ACSE)
