"""The table from our errors to C-STORE statuses."""

from collections.abc import Iterator

import pytest

from pacsbridge import errors
from pacsbridge.dimse import status


def leaves(root: type[errors.PacsbridgeError]) -> Iterator[type[errors.PacsbridgeError]]:
    """The classes of the exception tree that have no subclass in `errors`."""
    children = [child for child in root.__subclasses__() if child.__module__ == errors.__name__]
    if not children:
        yield root
    for child in children:
        yield from leaves(child)


@pytest.mark.parametrize("leaf", list(leaves(errors.PacsbridgeError)))
def test_table_covers_every_leaf(leaf: type[errors.PacsbridgeError]) -> None:
    """No error of ours is answered as one that nobody foresaw."""
    assert status.status_of(leaf("reason")) != status.PROCESSING_FAILURE


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (errors.Unavailable("disk full"), 0xA700),
        (errors.Mismatch("another SOP class"), 0xA900),
        (errors.NotUnderstood("no UIDs"), 0xC000),
        (ValueError("DOE^JOHN"), 0x0110),
    ],
)
def test_statuses_of_the_contract(fault: Exception, expected: int) -> None:
    """The statuses that senders act upon are the documented ones."""
    assert status.status_of(fault) == expected


def test_comment_of_a_stranger_says_nothing_of_its_message() -> None:
    """An exception of a library may quote patient data, so its text stays here."""
    assert "DOE" not in status.comment_of(ValueError("DOE^JOHN"))


@pytest.mark.parametrize("comment", ["x" * 200, "a\\b\nc", "ünï\0", "", "odd"])
def test_comment_is_a_valid_lo(comment: str) -> None:
    """The Error Comment is one printable value of at most 64 characters and of even length."""
    encoded = status.comment_bytes(comment)
    assert len(encoded) <= 64
    assert len(encoded) % 2 == 0
    assert all(0x20 <= byte < 0x7F and byte != 0x5C for byte in encoded)
