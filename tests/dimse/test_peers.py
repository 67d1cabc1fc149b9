"""Who may call."""

import pytest

from pacsbridge.dimse.peers import Directory
from pacsbridge.dimse.settings import Peer


@pytest.mark.parametrize(
    ("host", "address", "found"),
    [
        (None, "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("192.0.2.0/24", "192.0.2.200", True),
        ("192.0.2.5/24", "192.0.2.200", True),
        ("192.0.2.0/24", "::ffff:192.0.2.9", True),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("localhost", "127.0.0.1", True),
        ("no-such-name.invalid", "127.0.0.1", False),
    ],
)
def test_a_peer_is_known_by_where_it_calls_from(host: str | None, address: str, found: bool) -> None:
    """Address, network and name each match the addresses they mean, and no other."""
    directory = Directory([Peer("CT1", host)])
    assert (directory.find("CT1", address) is not None) is found


def test_the_title_must_match_too() -> None:
    """The right address with another AE title is a stranger."""
    assert Directory([Peer("CT1", "192.0.2.7")]).find("CT2", "192.0.2.7") is None


def test_an_empty_directory_admits_everybody_and_any_other_only_its_peers() -> None:
    """The first peer listed closes the door for all who are not."""
    assert Directory().admits(None)
    assert not Directory([Peer("CT1")]).admits(None)


def test_one_title_may_call_from_two_places() -> None:
    """A title that is listed twice is found by either host, with that entry's services."""
    first, second = Peer("CT1", "192.0.2.1"), Peer("CT1", "192.0.2.2", frozenset({"echo"}))
    assert Directory([first, second]).find("CT1", "192.0.2.2") is second
