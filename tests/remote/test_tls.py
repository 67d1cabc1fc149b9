"""TLS: whom the client believes, and how it shows who it is."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from remote.hostile import HostileArchive, running

from pacsbridge.errors import Unavailable
from pacsbridge.remote.client import Client

OURS, THEIRS = trustme.CA(), trustme.CA()
NOW = datetime.now(UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The file of the authority that signs."""
    path = tmp_path / "authority.pem"
    OURS.cert_pem.write_to_path(str(path))
    return path


def tls(*names: str, client: bool = False, **options: Any) -> AbstractContextManager[HostileArchive]:
    """An archive with a certificate for these names, which may want one of its client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    OURS.issue_cert(*(names or ("127.0.0.1",)), **options).configure_cert(context)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        OURS.configure_trust(context)
    return running(context=context)


@pytest.fixture
def ask(make_client: Callable[..., Client]) -> Iterator[Callable[..., int]]:
    """Asks an archive, by settings; the status of the answer."""

    def get(archive: HostileArchive, **settings: Any) -> int:
        return make_client(url=archive.url, tries=1, **settings).get("/studies").status

    return get


def test_the_right_authority(authority: Path, ask: Callable[..., int]) -> None:
    """A file of one's own authority is believed."""
    with tls() as archive:
        assert ask(archive, verify=authority) == 204


UNTRUSTED = {
    "another host": (("elsewhere.test",), {}, "is for another (host|address)"),
    "expired": (
        ("127.0.0.1",),
        {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)},
        "has expired",
    ),
    "early": (
        ("127.0.0.1",),
        {"not_before": NOW + timedelta(days=1), "not_after": NOW + timedelta(days=9)},
        "is not valid yet",
    ),
}


@pytest.mark.parametrize("case", UNTRUSTED)
def test_a_certificate_that_does_not_hold(authority: Path, ask: Callable[..., int], case: str) -> None:
    """Which says why, as somebody has to mend it."""
    names, options, why = UNTRUSTED[case]
    with tls(*names, **options) as archive:
        with pytest.raises(Unavailable, match=f"^its certificate {why}$"):
            ask(archive, verify=authority)
        assert archive.asked == []


def test_another_authority(tmp_path: Path, ask: Callable[..., int]) -> None:
    """Neither one's own nor those of the system believe a stranger; who does not check believes anybody."""
    theirs = tmp_path / "theirs.pem"
    THEIRS.cert_pem.write_to_path(str(theirs))
    with tls() as archive:
        for verify in (theirs, True):
            with pytest.raises(Unavailable, match=r"^its certificate is not signed by a trusted authority$"):
                ask(archive, verify=verify)
        assert archive.asked == []
        with pytest.warns(match="Unverified HTTPS request"):
            assert ask(archive, verify=False) == 204


def test_an_authority_of_the_environment(
    authority: Path, ask: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What requests would take from the environment does not count."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(authority))
    with tls() as archive, pytest.raises(Unavailable, match="not signed by a trusted authority"):
        ask(archive)


def test_a_client_certificate(authority: Path, tmp_path: Path, ask: Callable[..., int]) -> None:
    """In one file or two; without one there is no TLS."""
    mine = OURS.issue_cert("bridge.test")
    both, certificate, key = (tmp_path / name for name in ("both.pem", "certificate.pem", "key.pem"))
    mine.private_key_and_cert_chain_pem.write_to_path(str(both))
    mine.cert_chain_pems[0].write_to_path(str(certificate))
    mine.private_key_pem.write_to_path(str(key))
    with tls(client=True) as archive:
        assert ask(archive, verify=authority, certificate=both) == 204
        assert ask(archive, verify=authority, certificate=certificate, key=key) == 204
        with pytest.raises(Unavailable, match=r"^(no TLS with it|connection reset)$"):
            ask(archive, verify=authority)
        assert len(archive.asked) == 2


@pytest.mark.parametrize("which", ["verify", "certificate"])
def test_a_file_that_is_not_there(
    authority: Path, tmp_path: Path, ask: Callable[..., int], which: str
) -> None:
    """It may be there later; its name stands in the configuration, not in the message."""
    with tls() as archive, pytest.raises(Unavailable, match=r"^a certificate file cannot be read$"):
        ask(archive, **{"verify": authority, which: tmp_path / "none.pem"})


def test_a_file_that_is_no_certificate(tmp_path: Path, ask: Callable[..., int]) -> None:
    """No TLS with such a file."""
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    with tls() as archive, pytest.raises(Unavailable, match=r"^no TLS with it$"):
        ask(archive, verify=nothing)


def test_no_tls_at_the_other_end(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """Plain HTTP where TLS is expected."""
    client = make_client(url=archive.url.replace("http://", "https://"), tries=1, silence_seconds=0.5)
    with pytest.raises(Unavailable, match=r"^no TLS with it$"):
        client.get("/studies")
