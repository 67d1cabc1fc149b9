"""The port itself: TLS, proxies in front, and what is for operators alone."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import trustme
from aiohttp import web
from token_issuer import Issuer

from pacsbridge import config, securing
from pacsbridge.access.gate import gate
from pacsbridge.access.ways import right_way
from pacsbridge.dicomweb.faults import answer_faults
from pacsbridge.errors import Misconfigured
from pacsbridge.httpd import Front, HttpServer


async def tell(request: web.Request) -> web.Response:
    """Where a request seems to come from."""
    return web.json_response([request.scheme, request.remote])


@pytest.fixture
def serve() -> Iterator[Callable[..., HttpServer]]:
    """Starts servers with one application that tells where its callers are."""
    started: list[HttpServer] = []

    def start(front: Front, host: str = "127.0.0.1") -> HttpServer:
        app = web.Application(middlewares=[answer_faults, right_way])
        app.router.add_get("/who", tell)
        started.append(HttpServer(host, 0, {"/fhir": app}, {"store": lambda: "away"}, front))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


def get(server: HttpServer, path: str, **headers: str) -> requests.Response:
    """One request over HTTP."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"http://127.0.0.1:{server.port}{path}", headers=named, timeout=10)


@pytest.mark.parametrize(
    ("scope", "status"),
    [(None, 401), ("", 403), ("user/*.rs", 403), ("system/*.read", 200), ("pacsbridge/metrics", 200)],
)
def test_what_is_for_operators(
    serve: Callable[..., HttpServer], issuer: Issuer, scope: str | None, status: int
) -> None:
    """Metrics need a scope; health is for everybody, its reasons for operators."""
    guarding = gate(issuer.settings())
    server = serve(Front(guarding))
    headers = {} if scope is None else issuer.bearer(scope)
    answer = get(server, "/metrics", **headers)
    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) is (status != 200)
    assert get(server, "/health/live").status_code == 200
    ready = get(server, "/health/ready", **headers)
    assert ready.status_code == 503
    assert ("parts" in ready.json()) is (status == 200)
    guarding.close()


PROXIED: dict[str, tuple[tuple[str, ...], bool, dict[str, str], int, list[str] | None]] = {
    "by TLS": (
        ("127.0.0.1",),
        False,
        {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.7"},
        200,
        ["https", "192.0.2.7"],
    ),
    "a caller that lies": (
        ("127.0.0.1", "10.0.0.0/8"),
        False,
        {"X_Forwarded_Proto": "https", "X_Forwarded_For": "198.51.100.1, 192.0.2.7, 10.1.1.1"},
        200,
        ["https", "192.0.2.7"],
    ),
    "nonsense": (
        ("127.0.0.1",),
        False,
        {"X_Forwarded_Proto": "https", "X_Forwarded_For": "<b>"},
        200,
        ["https", "127.0.0.1"],
    ),
    "without TLS": (("127.0.0.1",), False, {"X_Forwarded_Proto": "http"}, 403, None),
    "TLS before another proxy": (("127.0.0.1",), False, {"X_Forwarded_Proto": "https, http"}, 403, None),
    "silent": (("127.0.0.1",), False, {}, 403, None),
    "plain on purpose": (("127.0.0.1",), True, {"X_Forwarded_Proto": "http"}, 200, ["http", "127.0.0.1"]),
    "no proxy": (
        ("192.0.2.1",),
        False,
        {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.7"},
        200,
        ["http", "127.0.0.1"],
    ),
}


@pytest.mark.parametrize("case", PROXIED)
def test_proxies(serve: Callable[..., HttpServer], case: str) -> None:
    """Only configured proxies are believed; what reached one of them without TLS is refused."""
    proxies, plain, headers, status, told = PROXIED[case]
    server = serve(Front(proxies=proxies, plain=plain))
    answer = get(server, "/fhir/who", **headers)
    assert answer.status_code == status
    if told is not None:
        assert answer.json() == told
    assert get(server, "/health/live").status_code == 200
    assert get(server, "/metrics", **headers).status_code == status


NAMES: dict[str, int] = {
    "127.0.0.1": 200,
    "127.0.0.1:8080": 200,
    "[::1]:8080": 200,
    "192.0.2.7": 200,
    "localhost:8080": 200,
    "pacs.example": 200,
    "PACS.example:443": 200,
    "evil.example": 421,
    "pacs.example.evil": 421,
    "localhost.evil.example": 421,
    "127.0.0.1.nip.example": 421,
    "localhost.": 421,
    "[::1": 421,
    "user@evil": 421,
    "": 421,
}


@pytest.mark.parametrize("name", NAMES)
def test_names(serve: Callable[..., HttpServer], name: str) -> None:
    """Where everybody is let in, a name that somebody else owns could be made to lead here."""
    server = serve(Front(names=frozenset({"pacs.example"})))
    answers = [get(server, path, Host=name) for path in ("/fhir/who", "/metrics")]
    assert [one.status_code for one in answers] == [NAMES[name]] * 2
    assert get(server, "/health/live", Host=name).status_code == 200
    assert ("parts" in get(server, "/health/ready", Host=name).json()) is (NAMES[name] == 200)


def test_names_do_not_matter_to_those_with_tokens(serve: Callable[..., HttpServer], issuer: Issuer) -> None:
    """Somebody else's page has no token to show: any name will do, as proxies choose them."""
    guarding = gate(issuer.settings())
    server = serve(Front(guarding))
    answer = get(server, "/metrics", Host="inside.example", **issuer.bearer("pacsbridge/metrics"))
    assert answer.status_code == 200
    guarding.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs certificates."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Path:
    """A folder with a certificate for loopback, its key, that of a client, and the authority."""
    issued = {"server": authority.issue_cert("127.0.0.1"), "client": authority.issue_cert("client@example")}
    for name, one in issued.items():
        one.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        for blob in one.cert_chain_pems:
            blob.write_to_path(tmp_path / f"{name}.pem", append=True)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


def tls(folder: Path, text: str) -> ssl.SSLContext | None:
    """TLS as a configuration asks for it; names are of files in a folder."""
    file = folder / "site.toml"
    file.write_text("[fhir.tls]\n" + text.replace("@", f"{folder}/"))
    return securing.http_tls(config.load(file, {}))


OWN = "certificate = '@server.pem'\nkey = '@server.key'"


def test_tls(serve: Callable[..., HttpServer], files: Path) -> None:
    """Who trusts the authority is answered; old versions and plain HTTP are not."""
    server = serve(Front(tls=tls(files, OWN)))
    url = f"https://127.0.0.1:{server.port}/fhir/who"
    assert requests.get(url, verify=str(files / "ca.pem"), timeout=10).json() == ["https", "127.0.0.1"]
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url, timeout=10)
    with pytest.raises(requests.exceptions.ConnectionError):
        get(server, "/fhir/who")


def test_client_certificates(serve: Callable[..., HttpServer], files: Path) -> None:
    """With their authorities configured nobody is answered without one."""
    server = serve(Front(tls=tls(files, f"{OWN}\nca = '@ca.pem'")))
    url, ca = f"https://127.0.0.1:{server.port}/fhir/who", str(files / "ca.pem")
    pair = (str(files / "client.pem"), str(files / "client.key"))
    assert requests.get(url, verify=ca, cert=pair, timeout=10).status_code == 200
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, verify=ca, timeout=10)


@pytest.mark.parametrize(
    "text",
    [
        "certificate = '@none.pem'\nkey = '@server.key'",
        "certificate = '@server.pem'\nkey = '@client.key'",
        "certificate = '@server.key'\nkey = '@server.key'",
        f"{OWN}\nca = '@server.key'",
    ],
)
def test_tls_that_cannot_be(files: Path, text: str) -> None:
    """The start is refused in a line that names the table."""
    with pytest.raises(Misconfigured, match=r"fhir\.tls"):
        tls(files, text)
