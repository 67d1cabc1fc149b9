"""The listener with well-behaved peers: DCMTK, pynetdicom and a socket."""

import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.presentation import AllStoragePresentationContexts, build_context
from structlog.testing import capture_logs

from pacsbridge import errors
from pacsbridge.dimse.settings import Peer

CT_FILE = str(get_testdata_file("CT_small.dcm"))
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"


def run(*command: object, expect: int | None = 0) -> str:
    """What a program printed; fails on another exit code than expected."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=120, check=False
    )
    output = done.stdout + done.stderr
    assert expect is None or done.returncode == expect, output
    return output


def data_set_of(path: str | Path) -> bytes:
    """The bare data set in a Part 10 file, which stands behind the file meta information (PS3.10 7.1)."""
    data = Path(path).read_bytes()
    return data[144 + int.from_bytes(data[140:144], "little") :]


def test_echoscu_gets_its_echo(house: Any, dcmtk: Callable[[str], str]) -> None:
    """DCMTK's C-ECHO is answered and the association released."""
    assert "Success" in run(dcmtk("echoscu"), "-v", "127.0.0.1", house.port)


def test_storescu_is_acknowledged_and_its_bytes_are_kept(house: Any, dcmtk: Callable[[str], str]) -> None:
    """The data set arrives as it stands in the file, with the titles and UIDs that came along."""
    run(dcmtk("storescu"), "-aet", "CT1", "-aec", "PACSBRIDGE", "127.0.0.1", house.port, CT_FILE)
    (stored,) = house.shelf.taken
    assert data_set_of(CT_FILE).startswith(bytes(stored.dataset))  # storescu drops the trailing padding
    assert len(stored.dataset) > 38_000
    assert (stored.calling_ae, stored.called_ae) == ("CT1", "PACSBRIDGE")
    assert stored.transfer_syntax_uid == "1.2.840.10008.1.2.1"
    assert stored.sop_class_uid == "1.2.840.10008.5.1.4.1.1.2"
    assert stored.sop_instance_uid == pydicom.dcmread(CT_FILE).SOPInstanceUID
    assert stored.address[0] == "127.0.0.1"
    assert stored.peer is None


def test_dcmsend_pushes_every_test_file_of_pydicom(house: Any, dcmtk: Callable[[str], str]) -> None:
    """All that DCMTK is able to send is taken: each transfer syntax, compressed and deflated ones too."""
    output = run(
        dcmtk("dcmsend"), "-v", "-nh", "-dn", "+sd", "+r", "127.0.0.1", house.port, TEST_FILES, expect=None
    )
    sent = int(next(line for line in output.splitlines() if "with status SUCCESS" in line).rsplit(":", 1)[1])
    assert sent == len(house.shelf.taken) > 50
    assert len({stored.transfer_syntax_uid for stored in house.shelf.taken}) > 5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (errors.Unavailable("disk full"), "0xa700"),
        (errors.Mismatch("another SOP class"), "0xa900"),
        (errors.NotUnderstood("no UIDs"), "0xc000"),
    ],
)
def test_a_refusal_reaches_the_sender_with_its_reason(
    house: Any, fault: Exception, said: str, counted: Callable[..., float]
) -> None:
    """Status and Error Comment say why, and the association goes on."""
    house.shelf.fault = fault
    entity = AE()
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", house.port)
    refused = association.send_c_store(CT_FILE)
    assert (hex(refused.Status), refused.ErrorComment) == (said, str(fault))
    house.shelf.fault = None
    assert association.send_c_store(CT_FILE).Status == 0
    association.release()
    assert counted("pacsbridge_dimse_stores_total", status=f"0x{said[2:].upper()}") == 1
    assert counted("pacsbridge_dimse_stores_total", status="0x0000") == 1


def test_an_unforeseen_exception_is_answered_without_its_text(house: Any, wire: Any) -> None:
    """A bug behind the listener becomes Processing Failure, and its message stays out of the answer."""
    house.shelf.fault = ValueError("DOE^JOHN")
    with house.dial().associate() as peer:
        answer = peer.send(wire.store()).answer()
        assert answer[0x0900] == b"\x10\x01"
        assert b"DOE" not in answer[0x0902]
        house.shelf.fault = None
        assert peer.send(wire.store()).status() == 0


def test_every_storage_class_can_be_proposed_at_once_with_roles(house: Any) -> None:
    """128 contexts with SCP/SCU role items are accepted, and a store works."""
    entity = AE()
    entity.requested_contexts = AllStoragePresentationContexts[:128]
    roles = [
        build_role(str(cx.abstract_syntax), scu_role=True, scp_role=True) for cx in entity.requested_contexts
    ]
    association = entity.associate("127.0.0.1", house.port, ext_neg=roles)  # type: ignore[arg-type]
    assert len(association.accepted_contexts) == 128
    association.release()


def test_private_class_and_private_transfer_syntax_are_stored(house: Any, wire: Any) -> None:
    """Neither the SOP class nor the transfer syntax needs to be known to anybody here."""
    contexts = ((1, b"1.3.12.2.1107.5.9.1", (b"1.2.840.113619.5.2",)),)
    with house.dial().associate(contexts=contexts) as peer:
        request = wire.data(1, 3, wire.command(1, sop=b"1.3.12.2.1107.5.9.1")) + wire.data(1, 2, b"whatever")
        assert peer.send(request).status() == 0
    (stored,) = house.shelf.taken
    assert (stored.sop_class_uid, stored.transfer_syntax_uid) == ("1.3.12.2.1107.5.9.1", "1.2.840.113619.5.2")
    assert bytes(stored.dataset) == b"whatever"


def test_large_instances_are_spooled_as_they_arrive(serve: Callable[..., Any], wire: Any) -> None:
    """Beyond the limit the instance reaches `adopt` as a file with the same bytes."""
    house = serve(limits={"memory": 100_000})
    data = os.urandom(1_000_003)
    with house.dial().associate() as peer:
        assert peer.send(wire.store(data=data)).status() == 0
    (stored,) = house.shelf.taken
    assert stored.dataset.size == len(data)
    assert stored.dataset.path.read_bytes() == data
    assert house.shelf.spooled == [("1.2.840.10008.5.1.4.1.1.2", "1.2", "1.2.840.10008.1.2")]
    stored.dataset.discard()


def test_a_spool_is_removed_when_the_instance_is_refused(serve: Callable[..., Any], wire: Any) -> None:
    """Whoever could not take it leaves no file behind."""
    house = serve(limits={"memory": 1000})
    house.shelf.fault = errors.Unavailable("database away")
    with house.dial().associate() as peer:
        assert peer.send(wire.store(data=bytes(5000))).status() == 0xA700
    assert not house.shelf.leftovers()


def test_a_full_disk_refuses_one_instance_and_not_the_association(
    serve: Callable[..., Any], wire: Any
) -> None:
    """While spooling fails, large instances get 0xA700, small ones and echoes go on; later all is well."""
    house = serve(limits={"memory": 1000})
    house.shelf.folder.rmdir()
    with house.dial().associate() as peer:
        assert peer.send(wire.store(data=bytes(50_000))).status() == 0xA700
        assert peer.send(wire.echo()).status() == 0
        assert peer.send(wire.store(data=bytes(900))).status() == 0
        house.shelf.folder.mkdir()
        assert peer.send(wire.store(data=bytes(50_000))).status() == 0
    house.shelf.taken[-1].dataset.discard()


def test_an_instance_beyond_the_limit_is_drained_and_refused(serve: Callable[..., Any], wire: Any) -> None:
    """Too large is a status, not an abort."""
    house = serve(limits={"memory": 1000, "instance": 10_000})
    with house.dial().associate() as peer:
        assert peer.send(wire.store(data=bytes(100_000))).status() == 0xC001
        assert peer.send(wire.store(data=bytes(900))).status() == 0
    ((calling, uid, fault),) = house.refused
    assert (calling, uid, type(fault)) == ("RAW", "1.2", errors.TooLarge)


def test_pipelined_requests_are_answered_in_order_and_do_not_pile_up(house: Any, wire: Any) -> None:
    """While an instance waits to be stored nothing more is read: the sender stalls, and none is lost."""
    house.shelf.open.clear()
    count, data = 60, bytes(1 << 20)
    with house.dial().associate() as peer:
        sender = threading.Thread(
            target=lambda: [
                peer.send(wire.store(n, data, b"1.2.%d" % n, 100_000)) for n in range(1, count + 1)
            ]
        )
        sender.start()
        assert house.shelf.entered.wait(10)
        sender.join(0.5)
        assert sender.is_alive(), "60 MiB were read while the first instance was not stored yet"
        house.shelf.open.set()
        answers = [peer.answer() for _ in range(count)]
        sender.join()
    assert [answer[0x0120] for answer in answers] == [n.to_bytes(2, "little") for n in range(1, count + 1)]
    assert {answer[0x0900] for answer in answers} == {b"\0\0"}
    assert [stored.sop_instance_uid for stored in house.shelf.taken] == [
        f"1.2.{n}" for n in range(1, count + 1)
    ]


def test_echo_and_cancel_may_come_between_stores(house: Any, wire: Any) -> None:
    """A C-CANCEL for nothing is ignored (PS3.7 9.3.2.3), a C-ECHO answered."""
    cancel = wire.data(1, 3, wire.command(0x0FFF, data=False))
    with house.dial().associate() as peer:
        peer.send(wire.store(1) + cancel + wire.echo(2) + wire.store(3))
        assert [peer.answer()[0x0120][0] for _ in range(3)] == [1, 2, 3]


def test_other_requests_are_unrecognised_operations(house: Any, wire: Any) -> None:
    """A C-FIND on a storage context gets its own kind of response with 0x0211 (PS3.7 C.5)."""
    with house.dial().associate() as peer:
        answer = peer.send(wire.data(1, 3, wire.command(0x20)) + wire.data(1, 2, b"identifier")).answer()
        assert (answer[0x0100], answer[0x0900]) == (b"\x20\x80", b"\x11\x02")
        assert peer.send(wire.store()).status() == 0


def test_nothing_can_be_stored_through_the_verification_context(house: Any, wire: Any) -> None:
    """A caller who may only echo cannot smuggle an instance in on the context that he got."""
    with house.dial().associate() as peer:
        request = wire.data(3, 3, wire.command(1)) + wire.data(3, 2, b"data")
        assert peer.send(request).status() == 0x0122
    assert not house.shelf.taken


def test_a_store_without_a_data_set_is_refused(house: Any, wire: Any) -> None:
    """A C-STORE request whose command says that no data set follows has nothing to store."""
    with house.dial().associate() as peer:
        assert peer.send(wire.data(1, 3, wire.command(1, data=False))).status() == 0xC000


@pytest.mark.parametrize("uid", [b"", b"../../etc/passwd", b"1" * 66])
@pytest.mark.parametrize("size", [10, 5000])
def test_a_store_must_name_its_instance(serve: Callable[..., Any], wire: Any, uid: bytes, size: int) -> None:
    """Without a UID in the command, or with something else in its place, any instance is refused."""
    house = serve(limits={"memory": 1000})
    with house.dial().associate() as peer:
        assert peer.send(wire.store(data=bytes(size), uid=uid)).status() == 0xC000
        assert peer.send(wire.store()).status() == 0
    assert len(house.shelf.taken) == len(house.refused) == 1


def test_answers_respect_the_peers_maximum_length(house: Any, wire: Any) -> None:
    """A peer that takes 64 bytes at a time gets its response in pieces."""
    with house.dial().associate(max_length=64) as peer:
        peer.send(wire.store())
        pieces = []
        while not pieces or pieces[-1][5] != 3:
            kind, body = peer.read()
            assert kind == 4
            assert len(body) <= 64
            pieces.append(body)
    assert len(pieces) > 1


def test_the_surplus_is_rejected_politely(
    serve: Callable[..., Any], wire: Any, counted: Callable[..., float]
) -> None:
    """Beyond `max_associations` callers are rejected (transient, local limit exceeded) until one leaves."""
    house = serve(max_associations=2)
    with house.dial().associate() as first, house.dial().associate():
        with house.dial() as third:
            assert third.send(wire.associate()).read() == (3, bytes((0, 2, 3, 2)))
        assert counted("pacsbridge_dimse_rejected_total", reason="local limit exceeded") == 1
        first.send(wire.RELEASE)
        assert first.read()[0] == 6
        first.socket.close()
        limit = time.monotonic() + 10
        while not (accepted := house.dial().send(wire.associate()).read()[0] == 2):
            assert time.monotonic() < limit
    assert accepted


def test_connections_without_association_are_capped(
    serve: Callable[..., Any], wait_until: Callable[..., None], counted: Callable[..., float]
) -> None:
    """Beyond the cap the one that has been silent for longest is closed; a caller who speaks is served."""
    house = serve(limits={"waiting": 3})
    silent = [house.dial() for _ in range(3)]
    wait_until(lambda: house.connections == 3)
    assert house.echoes()
    assert silent[0].ended() in ("eof", "reset")
    assert counted("pacsbridge_dimse_rejected_total", reason="too many connections") == 1
    for peer in silent:
        peer.socket.close()
    wait_until(lambda: house.connections == 0)


def test_running_out_of_descriptors_is_survived(house: Any, wire: Any) -> None:
    """A connection that cannot be accepted for want of descriptors waits until there are some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
    blockers: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                blockers.append(os.open(os.devnull, os.O_RDONLY))
        os.close(blockers.pop())
        peer = house.dial().send(wire.associate())
        peer.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            peer.read()
    finally:
        for blocker in blockers:
            os.close(blocker)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    peer.socket.settimeout(10)
    assert peer.read()[0] == 2
    peer.socket.close()


def test_only_the_called_title_is_answered_to_where_that_is_asked_for(
    serve: Callable[..., Any], wire: Any
) -> None:
    """With `require_called_ae` another called title is rejected-permanent, called AE title not recognised."""
    house = serve(require_called_ae=True)
    with house.dial() as peer:
        assert peer.send(wire.associate(called=b"OTHER")).read() == (3, bytes((0, 1, 1, 7)))
    assert house.echoes()


def test_strangers_are_refused_once_a_peer_is_listed(serve: Callable[..., Any], wire: Any) -> None:
    """Another title, or the right title from elsewhere: permanent, calling AE title not recognised."""
    known = Peer("CT1", "127.0.0.0/8")
    house = serve(known, Peer("CT2", "192.0.2.1"))
    for stranger in (b"CT2", b"CT3"):
        with house.dial() as peer:
            assert peer.send(wire.associate(calling=stranger)).read() == (3, bytes((0, 1, 1, 3)))
    with house.dial().associate(calling=b"CT1") as peer:
        assert peer.send(wire.store()).status() == 0
    assert house.shelf.taken[0].peer is known


def test_the_log_says_why_a_caller_gets_nothing(serve: Callable[..., Any], wire: Any) -> None:
    """The right title from elsewhere is told from a stranger; what a peer may not do is named."""
    house = serve(Peer("CT1", services=frozenset({"echo"})), Peer("CT2", "192.0.2.1"))
    with capture_logs() as lines:
        for caller in (b"CT1", b"CT2", b"CT3"):
            with house.dial() as peer:
                peer.send(wire.associate(calling=caller)).read()
    said = {line["calling_ae"]: line["reason"] for line in lines if "reason" in line and "calling_ae" in line}
    assert said == {
        "CT1": "peer may not use store",
        "CT2": "calling AE title not from this address",
        "CT3": "calling AE title not recognised",
    }


def test_a_peer_gets_the_services_that_it_is_listed_with(serve: Callable[..., Any]) -> None:
    """A peer that may only echo has its storage contexts rejected."""
    house = serve(Peer("WATCH", services=frozenset({"echo"})))
    entity = AE("WATCH")
    entity.requested_contexts = [
        build_context("1.2.840.10008.5.1.4.1.1.2"),
        build_context("1.2.840.10008.1.1"),
    ]
    association = entity.associate("127.0.0.1", house.port)
    assert [cx.result for cx in association.rejected_contexts] == [1]
    assert isinstance(association.send_c_echo(), Dataset)
    association.release()


def test_stop_lets_the_request_in_progress_finish(house: Any, wire: Any) -> None:
    """What is being stored is answered before the abort; an idle association is aborted at once."""
    house.shelf.open.clear()
    with house.dial().associate() as busy, house.dial().associate() as idle:
        busy.send(wire.store())
        assert house.shelf.entered.wait(10)
        stopping = threading.Thread(target=house.server.stop, args=(10,))
        stopping.start()
        assert idle.ended() == "abort 0 0"
        house.shelf.open.set()
        assert busy.status() == 0
        assert busy.ended() == "abort 0 0"
        stopping.join(10)
    assert not stopping.is_alive()
    assert house.connections == 0


def test_stop_does_not_wait_for_ever(house: Any, wire: Any, wait_until: Callable[..., None]) -> None:
    """A request that does not finish in time loses its connection."""
    house.shelf.open.clear()
    with house.dial().associate() as peer:
        peer.send(wire.store())
        assert house.shelf.entered.wait(10)
        house.server.stop(0.1)
        assert peer.ended() in ("eof", "reset")
    house.shelf.open.set()
    wait_until(lambda: house.connections == 0)


def test_the_gauge_follows_the_associations(
    house: Any, wait_until: Callable[..., None], counted: Callable[..., float]
) -> None:
    """The number of associations goes up and down with them."""
    with house.dial().associate(), house.dial().associate():
        assert counted("pacsbridge_dimse_associations") == 2
    wait_until(lambda: counted("pacsbridge_dimse_associations") == 0)


def test_an_address_in_use_is_an_error_at_start(serve: Callable[..., Any], house: Any) -> None:
    """Two listeners on one port: the second does not start."""
    with pytest.raises(OSError, match="in use"):
        serve(port=house.port)


def test_ipv6_is_listened_on(serve: Callable[..., Any]) -> None:
    """An IPv6 address as host works like another."""
    house = serve(host="::1")
    entity = AE()
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate(("::1", 0, 0), house.port)  # type: ignore[arg-type]
    assert association.send_c_echo().Status == 0
    association.release()


def test_who_is_and_was_connected(house: Any, wire: Any, wait_until: Callable[..., None]) -> None:
    """An association is told with what it has brought so far, and after its end with how that was."""
    with house.dial() as peer:
        peer.associate(calling=b"MODALITY")
        peer.send(wire.store())
        assert peer.status() == 0
        [now] = house.server.associations().now
        assert (now.calling_ae, now.called_ae, now.address) == ("MODALITY", "PACSBRIDGE", "127.0.0.1")
        assert (now.stored, now.refused, now.size, now.ended) == (1, 0, 100, None)
        peer.send(wire.RELEASE)
        assert peer.read()[0] == 6
    wait_until(lambda: not house.connections)
    found = house.server.associations()
    [ended] = found.ended
    assert (found.now, ended.outcome, ended.stored) == ([], "released", 1)
    assert ended.since <= (ended.ended or 0)
    assert found.callers["MODALITY"].stored == 1


def test_a_refusal_counts_for_its_caller(house: Any, wire: Any, wait_until: Callable[..., None]) -> None:
    """Both of one caller's associations in one sum; a connection without an association is nobody's."""
    house.shelf.fault = errors.Unavailable("no room")
    for _time in range(2):
        with house.dial() as peer:
            peer.associate(calling=b"MODALITY")
            peer.send(wire.store())
            assert peer.status() == 0xA700
    with house.dial():
        pass
    wait_until(lambda: not house.connections)
    [caller] = house.server.associations().callers.values()
    assert (caller.associations, caller.stored, caller.refused) == (2, 0, 2)
