"""C-GET: DCMTK and pynetdicom as requesters, and peers that speak raw PDUs."""

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
    PATIENT_GET,
    SERIES,
    STUDY,
    STUDY_GET,
    GetScu,
    HoldingSite,
    bare,
    bundled,
    identifier,
    numbers,
    settled,
    small,
    whole_study,
)
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless

from pacsbridge.bridge.retrieving import Further, Instance, Wanted
from pacsbridge.dimse.operations import Broken
from pacsbridge.dimse.retrieval import failed_list, messages
from pacsbridge.dimse.settings import Peer
from pacsbridge.errors import Absent, Unavailable

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)


@pytest.fixture
def sited(tmp_path: Path) -> Iterator[Callable[..., HoldingSite]]:
    """Starts bridges; no thread and no descriptor is left of them."""
    with settled(), contextlib.ExitStack() as stack:

        def start(*peers: Peer, **how: Any) -> HoldingSite:
            site = HoldingSite(tmp_path / "data", peers, **how)
            stack.callback(site.stop)
            return site

        yield start


@pytest.fixture
def site(sited: Callable[..., HoldingSite]) -> HoldingSite:
    """A bridge with nothing in it."""
    return sited()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HoldingSite]:
    """A bridge with two patients and three studies, which nobody changes."""
    site = HoldingSite(tmp_path_factory.mktemp("filled"))
    site.put(
        *(small(number) for number in (1, 2, 3)),
        small(8, study="1.2.3.8", patient="P2"),
        small(9, study="1.2.3.9"),
    )
    site.publish()
    yield site
    site.stop()


def test_getscu_receives_the_stored_bytes(site: HoldingSite, dcmtk: Any, tmp_path: Path) -> None:
    """DCMTK's getscu writes down the very data set that is stored."""
    [file] = site.put_files("CT_small.dcm")
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [
            *(dcmtk("getscu"), "--bit-preserving", "-S", "-od", str(out), "127.0.0.1", str(site.port)),
            *("-k", "0008,0052=STUDY", "-k", f"0020,000D={file.StudyInstanceUID}"),
        ],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    [received] = out.iterdir()
    assert bare(received.read_bytes())[2] == site.kept[str(file.SOPInstanceUID)]


def test_every_transfer_syntax_is_sent_as_it_is(site: HoldingSite) -> None:
    """An instance of each encoding comes byte for byte, in the transfer syntax that it is stored in."""
    files = site.put_files(*ENCODED)
    pairs = sorted({(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in files})
    scu = GetScu(site.port, [(sop_class, [syntax]) for sop_class, syntax in pairs])
    last = scu.get(whole_study())[-1][0]
    scu.release()
    assert last.Status == 0
    assert scu.got == site.kept
    assert len(set(scu.syntaxes.values())) >= 9
    assert scu.syntaxes == {str(one.SOPInstanceUID): str(one.file_meta.TransferSyntaxUID) for one in files}


@pytest.mark.parametrize("sop_class", ["1.2.826.0.1.3680043.9.9.9", "1.3.12.2.1107.5.9.1"])
def test_private_classes_are_sent(site: HoldingSite, sop_class: str) -> None:
    """An instance of a class that no standard names is retrieved like any other."""
    [uid] = site.put(small(1, sop_class))
    scu = GetScu(site.port, [(sop_class, [EXPLICIT])])
    assert numbers(scu.get(whole_study())[-1][0]) == (0, 1, 0, 0)
    scu.release()
    assert scu.got == {uid: site.kept[uid]}


def test_the_accepted_transfer_syntax_is_one_that_is_held(site: HoldingSite) -> None:
    """A context with several transfer syntaxes gets the one in which there is something of its class."""
    [file] = site.put_files("JPEG2000.dcm")
    syntax = str(file.file_meta.TransferSyntaxUID)
    choices = [IMPLICIT, EXPLICIT, str(JPEG2000Lossless), syntax]
    scu = GetScu(site.port, [(str(file.SOPClassUID), choices), (CT, choices)])
    accepted = {
        str(cx.abstract_syntax): str(cx.transfer_syntax[0]) for cx in scu.association.accepted_contexts
    }
    last = scu.get(identifier("STUDY", StudyInstanceUID=file.StudyInstanceUID))[-1][0]
    scu.release()
    assert (accepted[str(file.SOPClassUID)], accepted[CT]) == (syntax, IMPLICIT)
    assert numbers(last) == (0, 1, 0, 0)


def test_a_store_without_answer_does_not_keep_callers_out(
    site: HoldingSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The association is accepted when nobody can say what is held; the first transfer syntax is taken."""

    def away(_classes: Any) -> Any:
        raise Unavailable("away")

    monkeypatch.setattr(site.store.holdings, "transfer_syntaxes", away)
    scu = GetScu(site.port, [(CT, [IMPLICIT, EXPLICIT])])
    accepted = {
        str(cx.abstract_syntax): str(cx.transfer_syntax[0]) for cx in scu.association.accepted_contexts
    }
    scu.release()
    assert accepted[CT] == IMPLICIT


def test_a_caller_without_the_role_is_sent_nothing(site: HoldingSite) -> None:
    """Who is no provider of the class cannot be sent instances of it: all fail (0xA702), and are named."""
    [uid] = site.put(small(1))
    scu = GetScu(site.port, [(CT, [EXPLICIT])], roles=False)
    last, failed = scu.get(whole_study())[-1]
    scu.release()
    assert numbers(last) == (0xA702, 0, 1, 0)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == uid
    assert not scu.got


def test_the_role_is_for_those_who_may_get(sited: Callable[..., HoldingSite]) -> None:
    """A peer that may only store does not become a provider, and its C-GET context is refused."""
    site = sited(Peer("GETTER", services=frozenset({"store"})))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    roles = {str(cx.abstract_syntax): cx.as_scp for cx in scu.association.accepted_contexts}
    refused = {str(cx.abstract_syntax) for cx in scu.association.rejected_contexts}
    scu.release()
    assert roles == {CT: False}
    assert refused == {STUDY_GET, PATIENT_GET}


def test_who_may_get_only_does_not_store(sited: Callable[..., HoldingSite]) -> None:
    """A peer without "store" is sent instances, but a C-STORE in the same context is refused."""
    site = sited(Peer("GETTER", services=frozenset({"get"})))
    [uid] = site.put(small(1))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    assert numbers(scu.get(whole_study())[-1][0]) == (0, 1, 0, 0)
    [context] = [cx for cx in scu.association.accepted_contexts if cx.abstract_syntax == CT]
    context._as_scu = True
    status = scu.association.send_c_store(dcmread(BytesIO(bundled("CT_small.dcm"))))
    scu.release()
    assert status.Status == 0x0122
    assert scu.got.keys() == {uid}


def test_what_cannot_be_sent_is_listed(site: HoldingSite) -> None:
    """Of two classes one has no context: 0xB000, and the UIDs of the other's instances."""
    [sent, *_] = site.put(small(1), small(2, MR), small(3, MR))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    last, failed = scu.get(whole_study())[-1]
    scu.release()
    assert numbers(last) == (0xB000, 1, 2, 0)
    assert failed is not None
    assert sorted(failed.FailedSOPInstanceUIDList) == [f"{SERIES}.2", f"{SERIES}.3"]
    assert scu.got.keys() == {sent}


def test_warnings_and_failures_of_the_requester_are_counted(site: HoldingSite) -> None:
    """0xB000 is a warning, 0xA700 and 0xC000 are failures, and the others go on."""
    site.put(*(small(number) for number in range(5)))
    scu = GetScu(site.port, [(CT, [EXPLICIT])], answers=[0, 0xB000, 0xA700, 0xC000, 0])
    last, failed = scu.get(whole_study())[-1]
    scu.release()
    assert numbers(last) == (0xB000, 2, 2, 1)
    assert failed is not None
    assert len(failed.FailedSOPInstanceUIDList) == 2


def test_a_thousand_small_instances(site: HoldingSite) -> None:
    """All of them come; pending responses count down, and are fewer than the instances."""
    site.put(*(small(number) for number in range(1000)))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    responses = [response for response, _ in scu.get(whole_study())]
    scu.release()
    assert numbers(responses[-1]) == (0, 1000, 0, 0)
    assert scu.got == site.kept
    remaining = [one.NumberOfRemainingSuboperations for one in responses[:-1]]
    assert {one.Status for one in responses[:-1]} == {0xFF00}
    assert remaining == sorted(remaining, reverse=True)
    assert len(remaining) < 500
    assert all(sum(numbers(one)[1:]) + left == 1000 for one, left in zip(responses, remaining, strict=False))  # type: ignore[arg-type]


def test_cancel_ends_between_two_instances(site: HoldingSite) -> None:
    """After a C-CANCEL the last status is 0xFE00, with the number that remains."""
    site.put(*(small(number, size=20_000) for number in range(400)))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    responses = scu.association.send_c_get(whole_study(), STUDY_GET, msg_id=7)
    next(responses)
    scu.association.send_c_cancel(7, query_model=STUDY_GET)
    *_, (last, _) = responses
    scu.release()
    assert last.Status == 0xFE00
    assert 0 < last.NumberOfRemainingSuboperations < 400
    assert last.NumberOfCompletedSuboperations == 400 - last.NumberOfRemainingSuboperations


@pytest.mark.parametrize(
    ("asked", "model", "expected"),
    [
        (identifier("PATIENT", PatientID="P1"), PATIENT_GET, {1, 2, 3, 9}),
        (identifier("STUDY", PatientID="P1", StudyInstanceUID=[STUDY, "1.2.3.9"]), PATIENT_GET, {1, 2, 3, 9}),
        (identifier("STUDY", PatientID="P2", StudyInstanceUID=STUDY), PATIENT_GET, set()),
        (identifier("STUDY", StudyInstanceUID=[STUDY, "1.2.3.8"]), STUDY_GET, {1, 2, 3, 8}),
        (identifier("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES), STUDY_GET, {1, 2, 3}),
        (identifier("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID="1.2.3.8.1"), STUDY_GET, set()),
        (
            identifier(
                "IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=f"{SERIES}.2"
            ),
            STUDY_GET,
            {2},
        ),
        (
            identifier(
                "IMAGE",
                StudyInstanceUID=STUDY,
                SeriesInstanceUID=SERIES,
                SOPInstanceUID=[f"{SERIES}.1", f"{SERIES}.3", "1.2.3.8.1.8"],
            ),
            STUDY_GET,
            {1, 3},
        ),
        (identifier("STUDY", StudyInstanceUID="1.2.99"), STUDY_GET, set()),
        (identifier("PATIENT", PatientID="nobody"), PATIENT_GET, set()),
    ],
)
def test_levels_and_lists(filled: HoldingSite, asked: Dataset, model: str, expected: set[int]) -> None:
    """Each level of both information models finds what its keys name, and nothing else."""
    scu = GetScu(filled.port, [(CT, [EXPLICIT])])
    last = scu.get(asked, model)[-1][0]
    scu.release()
    assert {int(uid.rpartition(".")[2]) for uid in scu.got} == expected
    assert numbers(last) == (0, len(expected), 0, 0)


@pytest.mark.parametrize(
    ("asked", "model", "status", "word"),
    [
        (identifier("PATIENT", PatientID="P1"), STUDY_GET, 0xA900, "PATIENT"),
        (identifier("FRAME", StudyInstanceUID=STUDY), STUDY_GET, 0xA900, "unknown"),
        (identifier("STUDY"), STUDY_GET, 0xA900, "Study Instance UID"),
        (identifier("STUDY", StudyInstanceUID=STUDY), PATIENT_GET, 0xA900, "Patient ID"),
        (identifier("PATIENT", PatientID="P*"), PATIENT_GET, 0xA900, "Patient ID"),
        (identifier("PATIENT", PatientID=["P1", "P2"]), PATIENT_GET, 0xA900, "one value"),
        (identifier("SERIES", SeriesInstanceUID=SERIES), STUDY_GET, 0xA900, "Study Instance UID"),
        (
            identifier("SERIES", StudyInstanceUID=["1.2", "1.3"], SeriesInstanceUID=SERIES),
            STUDY_GET,
            0xA900,
            "one value",
        ),
        (identifier("STUDY", StudyInstanceUID="1.2.x"), STUDY_GET, 0xC000, "no UID"),
        (identifier("STUDY", StudyInstanceUID="1." + "2" * 70), STUDY_GET, 0xC000, "no UID"),
    ],
)
def test_bad_identifiers_are_refused(
    filled: HoldingSite, asked: Dataset, model: str, status: int, word: str
) -> None:
    """What does not fit the information model is 0xA900, what is no UID 0xC000, and the comment says why."""
    scu = GetScu(filled.port, [(CT, [EXPLICIT])])
    [(last, _)] = scu.get(asked, model)
    again = scu.get(identifier("STUDY", StudyInstanceUID="1.2.99"))[-1][0]
    scu.release()
    assert last.Status == status
    assert word in last.ErrorComment
    assert numbers(again) == (0, 0, 0, 0)


def test_a_store_that_is_away(site: HoldingSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of matches cannot be told: 0xA701; the association goes on."""

    def away(*_: Any) -> Any:
        raise Unavailable("the database is away")

    monkeypatch.setattr(site.store, "held", away)
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    [(last, _)] = scu.get(whole_study())
    scu.release()
    assert (last.Status, last.ErrorComment) == (0xA701, "the database is away")


def test_an_instance_whose_bytes_are_gone(site: HoldingSite) -> None:
    """It fails, the others come."""
    first, second = site.put(small(1), small(2))
    [held] = site.store.held(STUDY, SERIES, first)
    site.intake.packs.discard(held.location)
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    last, failed = scu.get(whole_study())[-1]
    scu.release()
    assert numbers(last) == (0xB000, 1, 1, 0)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == first
    assert scu.got.keys() == {second}


# peers that speak raw PDUs


def get_request(wire: Any, message: int = 9, study: str = STUDY) -> bytes:
    """A whole C-GET request for a study, in context 1."""
    uid = study.encode() + b"\0" * (len(study) % 2)
    asked = struct.pack("<HHL", 8, 0x52, 6) + b"STUDY " + struct.pack("<HHL", 0x20, 0xD, len(uid)) + uid
    encoded = wire.command(0x0010, message, sop=STUDY_GET.encode(), uid=b"")
    return bytes(wire.data(1, 3, encoded) + wire.data(1, 2, asked))


def role(sop_class: str) -> bytes:
    """A role selection sub-item: no SCU, but SCP (PS3.7 D.3.3.4.1)."""
    uid = sop_class.encode()
    return struct.pack(">BxHH", 0x54, len(uid) + 4, len(uid)) + uid + b"\0\1"


def store_answer(wire: Any, message: int, status: int = 0, field: int = 0x8001) -> bytes:
    """A C-STORE response, in context 3."""
    elements = {0x0100: field, 0x0120: message, 0x0800: 0x0101, 0x0900: status}
    body = b"".join(wire.element(number, struct.pack("<H", value)) for number, value in elements.items())
    return bytes(wire.data(3, 3, wire.element(0, struct.pack("<L", len(body))) + body))


@pytest.fixture
def raw(wire: Any, raw_peer: Any) -> Callable[..., Any]:
    """Associates a raw peer that may be sent CT in explicit VR little endian."""

    def dial(site: HoldingSite, **how: Any) -> Any:
        contexts = ((1, STUDY_GET.encode(), (IMPLICIT.encode(),)), (3, CT.encode(), (EXPLICIT.encode(),)))
        return raw_peer(site.port).associate(contexts=contexts, extra=role(CT), **how)

    return dial


def test_who_never_answers_is_dropped(sited: Callable[..., HoldingSite], raw: Any, wire: Any) -> None:
    """A requester that leaves a sub-operation unanswered is aborted after the idle limit."""
    site = sited(limits={"idle": 0.5})
    site.put(small(1), small(2))
    with raw(site) as peer:
        began = time.monotonic()
        assert peer.send(get_request(wire)).ended() == "abort 2 0"
        assert 0.4 < time.monotonic() - began < 5


def test_answers_to_something_else_are_passed_over(site: HoldingSite, raw: Any, wire: Any) -> None:
    """Only the response to the request itself counts: neither another number nor another service's."""
    site.put(small(1))
    with raw(site) as peer:
        peer.send(get_request(wire))
        assert struct.unpack("<H", peer.answer()[0x0110])[0] == 1
        assert peer.read()[0] == 4
        peer.send(store_answer(wire, 77, 0xA700) + store_answer(wire, 1, 0xA700, field=0x8030))
        peer.send(store_answer(wire, 1))
        last = peer.answer()
        assert (last[0x0900], last[0x1021]) == (b"\0\0", b"\1\0")


def test_a_request_in_between_ends_the_association(site: HoldingSite, raw: Any, wire: Any) -> None:
    """There are no asynchronous operations: another request while one is under way breaks the protocol."""
    site.put(small(1))
    with raw(site) as peer:
        peer.send(get_request(wire))
        peer.answer()
        peer.read()
        assert peer.send(get_request(wire, 10)).ended() == "abort 2 5"


def test_who_vanishes_ends_the_work(site: HoldingSite, raw: Any, wire: Any) -> None:
    """A requester that is gone in the middle leaves no thread and no descriptor behind."""
    site.put(*(small(number, size=200_000) for number in range(20)))
    with raw(site) as peer:
        peer.send(get_request(wire))
        peer.answer()
        peer.reset()
    until = time.monotonic() + 5
    while any(thread.name == "dimse-connection" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_release_in_the_middle_ends_the_work(site: HoldingSite, raw: Any, wire: Any) -> None:
    """A requester that releases instead of answering is released, and nothing more is sent."""
    site.put(small(1), small(2))
    with raw(site) as peer:
        peer.send(get_request(wire))
        peer.answer()
        peer.read()
        assert peer.send(wire.RELEASE).read()[0] == 6
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.ended() == "eof"


def test_how_it_ended_is_counted(site: HoldingSite, counted: Callable[..., float]) -> None:
    """Each retrieval counts once, under its service and its last status."""
    site.put(small(1))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    scu.get(whole_study())
    scu.get(identifier("STUDY"))
    scu.release()
    assert counted("pacsbridge_dimse_operations_total", service="get", status="0x0000") == 1
    assert counted("pacsbridge_dimse_operations_total", service="get", status="0xA900") == 1


@pytest.mark.parametrize("longest", [64, 4096, 0])
def test_no_pdu_is_longer_than_the_requester_takes(
    site: HoldingSite, raw: Any, wire: Any, longest: int
) -> None:
    """Data sets come in PDUs of at most the negotiated length, and are whole."""
    [uid] = site.put(small(1, size=300_000))
    with raw(site, max_length=longest) as peer:
        peer.send(get_request(wire))
        got, most, ended = b"", 0, False
        while not ended:
            kind, body = peer.read()
            assert kind == 4
            most = max(most, len(body))
            got += b"" if body[5] & 1 else body[6:]
            ended = body[5] == 2
        peer.send(store_answer(wire, 1))
    assert got == site.kept[uid]
    assert most <= (longest or 128 * 1024 + 6)


def test_a_bad_data_set_is_refused(site: HoldingSite, raw: Any, wire: Any) -> None:
    """An identifier that breaks off, or that is none, is 0xC000; no identifier at all is so too."""
    asked = (b"\x08\0\x52\0\xff\0\0\0STUDY ", b"\x08\0\x52", b"garbage, and more of it")
    with raw(site) as peer:
        for message, data in enumerate(asked, 1):
            encoded = wire.command(0x0010, message, sop=STUDY_GET.encode(), uid=b"")
            peer.send(wire.data(1, 3, encoded) + wire.data(1, 2, data))
            assert peer.status() == 0xC000
        peer.send(wire.data(1, 3, wire.command(0x0010, 9, data=False, sop=STUDY_GET.encode(), uid=b"")))
        assert peer.status() == 0xC000


# streaming


def test_little_of_a_large_instance_is_in_memory(wire: Any) -> None:
    """A data set is read and framed piece by piece, its last PDU alone says that it is the last."""
    size = 40 << 20
    read = []

    def pieces(count: int) -> Iterator[bytes]:
        for start in range(0, size, count):
            read.append(start)
            yield bytes(min(count, size - start))

    steps = messages(1, b"command!", Instance(CT, "1.2", EXPLICIT, size, pieces), 16384)
    total, last = 0, 0
    for number, step in enumerate(steps, 1):
        assert len(step) < 300 * 1024
        assert len(read) <= number + 1
        total += len(step)
        last += sum(step[at + 11] == 2 for at in wire.starts(step))
    assert total > size
    assert last == 1


def test_an_empty_data_set_is_not_begun() -> None:
    """What has no bytes is absent before anything is sent."""
    with pytest.raises(Absent):
        next(messages(1, b"command!", Instance(CT, "1.2", EXPLICIT, 0, lambda _: iter(())), 0))


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_data_set_of_another_length_is_broken_off(cut: int) -> None:
    """What is shorter or longer than recorded is never sent as if it were whole."""
    steps = messages(
        1, b"command!", Instance(CT, "1.2", EXPLICIT, 100_000 + cut, lambda _: iter([b"x" * 100_000])), 0
    )
    with pytest.raises(Broken):
        list(steps)


def test_the_list_of_failures_fits_its_value() -> None:
    """Explicit VR has 65,534 bytes for the list: as many UIDs as go into them, and none in half."""
    uids = [f"1.2.826.0.1.3680043.8.498.{10**37 + number}" for number in range(5000)]
    data = dcmread(BytesIO(failed_list(uids, EXPLICIT)), force=True)
    listed = list(data.FailedSOPInstanceUIDList)
    assert listed == uids[: len(listed)]
    assert len(listed) > 1000


# what only others hold


def test_what_others_hold_is_sent_too(sited: Callable[..., HoldingSite]) -> None:
    """Further instances follow the held ones; those that do not come have failed."""
    far = small(50)
    asked: list[Any] = []

    def ask(wanted: Wanted, held: Sequence[str]) -> Further:
        asked.append((wanted.studies, list(held)))
        instance = Instance(CT, f"{SERIES}.50", EXPLICIT, len(far), lambda _: iter([far]))
        nameless = instance._replace(sop_uid="ünknown")
        return Further((f"{SERIES}.50", f"{SERIES}.51"), iter([nameless, instance]))

    site = sited(ask=ask)
    [uid] = site.put(small(1))
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    last, failed = scu.get(whole_study())[-1]
    scu.release()
    assert asked == [([STUDY], [uid])]
    assert scu.got == {uid: site.kept[uid], f"{SERIES}.50": far}
    assert numbers(last) == (0xB000, 2, 1, 0)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == f"{SERIES}.51"


class Endless:
    """What is fetched and never comes to an end; `over` once nobody waits for it any more."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def ask(self, _wanted: Wanted, _held: Sequence[str]) -> Further:
        """One instance, of which more and more comes."""
        return Further((f"{SERIES}.50",), self._pieces())

    def _pieces(self) -> Iterator[Instance | None]:
        try:
            while not self.over.wait(0.01):
                yield None
        finally:
            self.over.set()


def test_a_cancel_ends_a_fetch(sited: Callable[..., HoldingSite]) -> None:
    """While an instance is being fetched the requester is heard, and told how it stands."""
    endless = Endless()
    site = sited(ask=endless.ask)
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    responses = scu.association.send_c_get(whole_study(), STUDY_GET, msg_id=5)
    first, _ = next(responses)
    assert (first.Status, first.NumberOfRemainingSuboperations) == (0xFF00, 1)
    scu.association.send_c_cancel(5, query_model=STUDY_GET)
    *_, (last, _) = responses
    scu.release()
    assert (last.Status, last.NumberOfRemainingSuboperations) == (0xFE00, 1)
    assert endless.over.wait(10)


def test_who_leaves_ends_a_fetch(sited: Callable[..., HoldingSite]) -> None:
    """Nothing more is fetched for a requester that is gone."""
    endless = Endless()
    site = sited(ask=endless.ask)
    scu = GetScu(site.port, [(CT, [EXPLICIT])])
    next(scu.association.send_c_get(whole_study(), STUDY_GET))
    assert not endless.over.is_set()
    scu.association.abort()
    assert endless.over.wait(10)
