"""Where names may lead: on the address that is connected to, by a resolver that answers as it likes."""

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from remote.hostile import HostileArchive

from pacsbridge.errors import Unavailable
from pacsbridge.remote.addresses import Barred, connected
from pacsbridge.remote.client import Client
from pacsbridge.remote.settings import Basic, ClientCredentials

NAME = "archive.test"


class Resolver:
    """Answers for names, each time the next of its answers, the last one on and on."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, ...]] = []
        self.asked = 0

    def __call__(self, _host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        """As getaddrinfo of the standard library."""
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        kind = options["type"]
        return [
            (socket.AF_INET6, kind, 0, "", (one, port, 0, 0))
            if ":" in one
            else (socket.AF_INET, kind, 0, "", (one, port))
            for one in answer
        ]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """Instead of that of the machine."""
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    return made


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a connection was tried to."""
    tried: list[str] = []

    class Socket(socket.socket):
        def connect(self, place: Any) -> None:
            """Note it, and nothing else but for loopback."""
            tried.append(place[0])
            if not ip_address(place[0]).is_loopback:
                raise ConnectionRefusedError
            super().connect(place)

    monkeypatch.setattr(socket, "socket", Socket)
    return tried


def by_name(archive: HostileArchive) -> str:
    """The archive's URL with a name for its address."""
    return str(archive.url).replace("127.0.0.1", NAME)


BARRED = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "169.254.0.1": "link-local",
    "169.254.169.254": "link-local",
    "fe80::1": "link-local",
    "::ffff:169.254.169.254": "link-local",
    "64:ff9b::a9fe:a9fe": "link-local",
    "2002:a9fe:a9fe::1": "link-local",
    "224.0.0.251": "multicast",
    "ff02::1": "multicast",
    "255.255.255.255": "broadcast",
    "100.100.100.200": "a cloud's metadata",
    "168.63.129.16": "a cloud's metadata",
    "fd00:ec2::254": "a cloud's metadata",
}


@pytest.mark.parametrize("address", BARRED)
def test_where_no_name_may_lead(
    make_client: Callable[..., Client], resolver: Resolver, reached: list[str], address: str
) -> None:
    """Nothing connects there, and the reason names the address and what it is."""
    resolver.answers = [(address,)]
    with pytest.raises(Unavailable) as caught:
        make_client(url=f"http://{NAME}/dicom-web", auth=Basic("u", "p")).get("/studies")
    said = f"its name leads to {address} ({BARRED[address]}); only a URL with that address itself may"
    assert str(caught.value) == said
    assert reached == []


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "203.0.113.7", "fd12:3456::1", "::1"]
)
def test_where_names_may_lead(resolver: Resolver, reached: list[str], address: str) -> None:
    """Hospitals are in private networks; anywhere else but the few places is fine."""
    resolver.answers = [(address,)]
    with pytest.raises(OSError, match=r"^(?!its name leads)"):
        connected(NAME, 9, 1)
    assert reached == [address]


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0"])
def test_an_address_that_is_configured(resolver: Resolver, reached: list[str], address: str) -> None:
    """The operator's word: it is connected to."""
    resolver.answers = [(address,)]
    with pytest.raises(ConnectionRefusedError):
        connected(address, 9, 1)
    assert reached == [address]


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "169.254.43518"])
def test_numbers_are_names(reached: list[str], host: str) -> None:
    """Other ways to write 169.254.169.254, which this machine's own resolver understands."""
    with pytest.raises(Barred):
        connected(host, 9, 1)
    assert reached == []


def test_a_name_with_a_good_address_besides(
    archive: HostileArchive, make_client: Callable[..., Client], resolver: Resolver, reached: list[str]
) -> None:
    """The good one serves."""
    resolver.answers = [("169.254.169.254", "127.0.0.1")]
    assert make_client(url=by_name(archive)).get("/studies").status == 204
    assert reached == ["127.0.0.1"]


def test_a_name_that_comes_to_lead_elsewhere(
    archive: HostileArchive, make_client: Callable[..., Client], resolver: Resolver
) -> None:
    """DNS rebinding: each connection goes where the one look led that was checked; credentials stay.

    0.0.0.0 is this very machine, where the archive would answer.
    """
    resolver.answers = [("127.0.0.1",), ("0.0.0.0",)]
    client = make_client(url=by_name(archive), auth=Basic("u", "p"))
    assert client.get("/studies").status == 204
    assert (resolver.asked, len(archive.asked)) == (1, 1)
    client._transport._adapter.close()
    with pytest.raises(Unavailable, match="its name leads to"):
        client.get("/studies")
    assert (archive.connections, len(archive.asked)) == (1, 1)


def test_a_token_server(
    archive: HostileArchive, make_client: Callable[..., Client], resolver: Resolver
) -> None:
    """Nor is a client secret sent there; the archive is not asked without a token."""
    resolver.answers = [("0.0.0.0",)]
    auth = ClientCredentials(f"{by_name(archive)}/token", "us", "secret")
    with pytest.raises(Unavailable, match=r"^no token: its name leads to 0\.0\.0\.0 \(unspecified\)"):
        make_client(url=by_name(archive), auth=auth).get("/studies")
    assert archive.connections == 0


def test_a_stream(archive: HostileArchive, make_client: Callable[..., Client], resolver: Resolver) -> None:
    """What is retrieved in pieces goes the same way."""
    resolver.answers = [("0.0.0.0",)]
    with pytest.raises(Unavailable, match="its name leads to"):
        make_client(url=by_name(archive)).stream("/studies/1")
    assert archive.connections == 0


def test_no_connection_in_time(make_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as such, not as an answer that is late: who listens to nobody has not been asked."""

    class Socket(socket.socket):
        def connect(self, place: Any) -> None:
            """A packet filter that drops."""
            raise TimeoutError

    monkeypatch.setattr(socket, "socket", Socket)
    for scheme in ("http", "https"):
        with pytest.raises(Unavailable, match=r"^no connection within 7 s$"):
            make_client(url=f"{scheme}://127.0.0.1:9", connect_seconds=7, tries=1).get("/studies")


def test_settings_of_sockets(archive: HostileArchive, make_client: Callable[..., Client]) -> None:
    """Small requests are sent at once, as the library below does it."""
    stream = make_client().stream("/studies")
    assert stream._connection is not None
    assert stream._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    stream.close()
