"""References to objects are read strictly."""

import json

import pytest

from pacsbridge.blobs.objects import Reference, decode

DIGEST = "ab" + "0" * 62
WHOLE = Reference(f"ab/{DIGEST}-0123456789abcdef", 10, 4, 99)


def test_reads_what_it_writes() -> None:
    """A reference comes back as it was, and its digest is in its name."""
    assert decode(WHOLE.encode()) == WHOLE
    assert WHOLE.sha256 == bytes.fromhex(DIGEST)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        f"cd/{DIGEST}-0123456789abcdef",
        f"ab/{DIGEST}",
        f"ab/{DIGEST}-0123456789abcdef\n",
        7,
    ],
)
def test_names_lead_nowhere_else(name: object) -> None:
    """A damaged or forged name is no reference."""
    fields = {"name": name, "size": 1, "prelude_size": 0, "prelude_crc": 0}
    assert decode(json.dumps(fields).encode()) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"name":1,"else":2}', b"null"])
def test_anything_else_is_no_reference(data: bytes) -> None:
    """Never an exception."""
    assert decode(data) is None
