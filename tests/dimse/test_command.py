"""Command sets, with pynetdicom's codec as the judge."""

import contextlib
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as library_decode
from pynetdicom.dsutils import encode as library_encode

from pacsbridge.dimse import command
from pacsbridge.dimse.pdu import Violation


def request() -> bytes:
    """A C-STORE-RQ as pynetdicom writes it."""
    ds = Dataset()
    ds.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.CommandField = 1
    ds.MessageID = 65535
    ds.Priority = 0
    ds.CommandDataSetType = 1
    ds.AffectedSOPInstanceUID = "1.2.3"
    return library_encode(ds, True, True) or b""


def test_decodes_what_pynetdicom_writes() -> None:
    """A request of another implementation is understood."""
    decoded = command.decode(request())
    assert decoded[:3] == (1, 65535, True)
    assert command.uid(decoded.sop_class_uid) == "1.2.840.10008.5.1.4.1.1.2"
    assert command.uid(decoded.sop_instance_uid) == "1.2.3"


def test_pynetdicom_decodes_what_we_answer() -> None:
    """A response carries the request's ids, its status and its comment, and a right group length."""
    encoded = command.response(command.decode(request()), 0xA700, "disk full")
    ds = library_decode(BytesIO(encoded), True, True)
    assert ds.CommandGroupLength == len(encoded) - 12
    assert (ds.CommandField, ds.MessageIDBeingRespondedTo, ds.CommandDataSetType) == (0x8001, 65535, 0x0101)
    assert (ds.Status, ds.ErrorComment) == (0xA700, "disk full")
    assert (ds.AffectedSOPClassUID, ds.AffectedSOPInstanceUID) == ("1.2.840.10008.5.1.4.1.1.2", "1.2.3")
    assert [element.tag for element in ds] == sorted(element.tag for element in ds)


@pytest.mark.parametrize(("title", "number"), [("MOVER", 77), ("MOVERS", 65535)])
def test_pynetdicom_decodes_our_store_requests(title: str, number: int) -> None:
    """A C-STORE request names its instance, and the C-MOVE that it is for where there is one."""
    encoded = command.store_request(9, "1.2.840.10008.5.1.4.1.1.2", "1.2.3", (title, number))
    ds = library_decode(BytesIO(encoded), True, True)
    assert ds.CommandGroupLength == len(encoded) - 12
    assert (ds.CommandField, ds.MessageID, ds.CommandDataSetType, ds.Priority) == (1, 9, 1, 0)
    assert (ds.AffectedSOPClassUID, ds.AffectedSOPInstanceUID) == ("1.2.840.10008.5.1.4.1.1.2", "1.2.3")
    assert (ds.MoveOriginatorApplicationEntityTitle, ds.MoveOriginatorMessageID) == (title, number)
    assert [element.tag for element in ds] == sorted(element.tag for element in ds)
    alone = library_decode(BytesIO(command.store_request(9, "1.2", "1.2.3")), True, True)
    assert "MoveOriginatorApplicationEntityTitle" not in alone
    assert "MoveOriginatorMessageID" not in alone


def test_the_destination_of_a_move() -> None:
    """A C-MOVE request says where to, without the padding."""
    ds = Dataset()
    ds.AffectedSOPClassUID, ds.CommandField, ds.MessageID = "1.2.840.10008.5.1.4.1.2.2.2", 0x21, 1
    ds.Priority, ds.CommandDataSetType, ds.MoveDestination = 0, 1, "DEST1 "
    assert command.decode(library_encode(ds, True, True) or b"").destination == "DEST1"


def test_absent_uids_are_left_out_of_the_answer() -> None:
    """A request without UIDs is answered without empty ones."""
    ds = library_decode(BytesIO(command.response(command.Command(0x30, 1, False, b"", b""), 0)), True, True)
    assert "AffectedSOPClassUID" not in ds
    assert "AffectedSOPInstanceUID" not in ds


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"\0" * 7,
        request()[:-1],
        b"\x08" + request()[1:],
        b"\0\0\0\x01\xff\xff\xff\xff\x01\0",
        b"\0\0\0\x01\x01\0\0\0\x01",
        request().replace(b"\0\0\0\x08\x02", b"\0\0\0\x09\x02"),
    ],
)
def test_malformed_command_sets_are_violations(encoded: bytes) -> None:
    """What cannot be walked, or lacks its essentials, ends the association instead of being guessed at."""
    with pytest.raises(Violation):
        command.decode(encoded)


def test_every_truncation_is_a_violation_or_a_command() -> None:
    """No cut of a command set raises anything but a violation."""
    whole = request()
    for end in range(len(whole)):
        with contextlib.suppress(Violation):
            assert command.decode(whole[:end]).field == 1
