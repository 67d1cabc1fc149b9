"""What is taken of an issuer's description of itself, before anything is sent to where it points."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trustme
from remote.hostile import HostileArchive, running
from token_issuer import AUDIENCE

from pacsbridge.access.settings import AccessSettings
from pacsbridge.access.smart import Smart

DESCRIPTION = "/.well-known/openid-configuration"


@pytest.fixture
def authority() -> trustme.CA:
    """Of the issuer's certificate."""
    return trustme.CA()


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[HostileArchive]:
    """An issuer on loopback, without TLS and with it."""
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
    with running(context=context) as one:
        yield one


@pytest.fixture
def trusted(tmp_path: Path, authority: trustme.CA) -> Path:
    """The file of who has signed the issuer's certificate."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return file


def told(server: HostileArchive, trusted: Path, given: dict[str, str], **more: Any) -> dict[str, object]:
    """What apps are told where the issuer says `given` of itself."""
    server.routes[DESCRIPTION] = lambda exchange: exchange.json({"issuer": server.root, **given})
    settings = AccessSettings(server.root, AUDIENCE, "http://fhir.example/fhir", verify=trusted, **more)
    return Smart(settings).configuration()


ELSEWHERE = {
    "another host": "https://login.example/token",
    "a name that begins like it": "{root}.login.example/token",
    "another port": "https://127.0.0.1:9/token",
    "with a name": "{scheme}://us:pw@{place}/token",
    "the metadata of a cloud": "http://169.254.169.254/token",
    "another scheme": "ftp://{place}/token",
    "a file": "file:///etc/passwd",
    "a path": "/token",
    "nothing": "",
    "no URL": "https://[x/token",
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_where_no_code_and_secret_are_sent(server: HostileArchive, trusted: Path, case: str) -> None:
    """A token endpoint elsewhere than the issuer is not taken, and the log says why."""
    scheme, _, place = server.root.partition("://")
    url = ELSEWHERE[case].format(root=server.root, scheme=scheme, place=place)
    with structlog.testing.capture_logs() as logs:
        found = told(server, trusted, {"token_endpoint": url, "authorization_endpoint": f"{server.root}/a"})
    assert "token_endpoint" not in found
    assert found["authorization_endpoint"] == f"{server.root}/a"
    [line] = logs
    assert line["event"] == "endpoint not taken"
    assert line["reason"].startswith("the issuer's token_endpoint: ")


def test_the_issuers_own_endpoints(server: HostileArchive, trusted: Path) -> None:
    """Are taken without a word; browsers may be sent elsewhere, where that is https."""
    given = {"token_endpoint": f"{server.root}/t", "authorization_endpoint": "https://people.example/login"}
    with structlog.testing.capture_logs() as logs:
        found = told(server, trusted, given)
    assert {name: found[name] for name in given} == given
    assert logs == []


def test_an_endpoint_that_is_configured(server: HostileArchive, trusted: Path) -> None:
    """The operator's word, whatever the issuer says."""
    with structlog.testing.capture_logs() as logs:
        found = told(
            server, trusted, {"token_endpoint": "http://a.example"}, token_endpoint="https://b.example/t"
        )
    assert found["token_endpoint"] == "https://b.example/t"
    assert logs == []


@pytest.mark.parametrize("server", ["https"], indirect=True)
@pytest.mark.parametrize(
    "name", ["authorization_endpoint", "revocation_endpoint", "registration_endpoint", "jwks_uri"]
)
def test_what_could_be_read_on_the_way(server: HostileArchive, trusted: Path, name: str) -> None:
    """An issuer with TLS has no endpoints without."""
    with structlog.testing.capture_logs() as logs:
        found = told(server, trusted, {name: server.root.replace("https", "http")})
    assert name not in found
    assert [line["reason"] for line in logs] == [f"the issuer's {name}: not https"]
