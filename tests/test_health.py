"""`health` asks the port of a configuration, over whatever it speaks."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from pacsbridge import config, securing
from pacsbridge.cli import main
from pacsbridge.httpd import Front, HttpServer

OWN = "certificate = '@server.pem'\nkey = '@server.key'"
TLS = {"plain": "", "tls": f"[fhir.tls]\n{OWN}", "client certificates": f"[fhir.tls]\n{OWN}\nca = '@ca.pem'"}

Ask = Callable[..., Result]


@pytest.fixture
def fault() -> list[str]:
    """What is wrong with the server's one part."""
    return []


@pytest.fixture(params=TLS)
def ask(request: pytest.FixtureRequest, tmp_path: Path, fault: list[str]) -> Iterator[Ask]:
    """Asks a server that speaks each of these, on a configuration that names its port."""
    authority = trustme.CA()
    issued = authority.issue_cert("pacs.example")
    issued.private_key_pem.write_to_path(tmp_path / "server.key")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    file, tables = tmp_path / "site.toml", TLS[request.param].replace("@", f"{tmp_path}/")
    file.write_text(tables)
    front = Front(tls=securing.http_tls(config.load(file, {})))
    server = HttpServer("127.0.0.1", 0, {}, {"store": lambda: fault[0] if fault else None}, front)
    server.start()
    file.write_text(f"[fhir]\nport = {server.port}\n{tables}")

    def run(*options: str) -> Result:
        return CliRunner().invoke(main, ["health", *options, "--config", str(file)])

    yield run
    server.stop()


def test_a_bridge_that_is_well(ask: Ask) -> None:
    """Exit code 0, whatever the certificate is for."""
    assert (ask().exit_code, ask().output) == (0, "ready\n")
    assert (ask("--live").exit_code, ask("--live").output) == (0, "live\n")


@pytest.mark.parametrize("ask", ["plain", "tls"], indirect=True)
def test_a_part_that_is_at_fault(ask: Ask, fault: list[str]) -> None:
    """Not ready is exit code 1; it lives all the same."""
    fault.append("away")
    done = ask()
    assert (done.exit_code, "503" in done.output) == (1, True)
    assert ask("--live").exit_code == 0


def test_nobody_listens(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """One line that names the port, exit code 1."""
    file = tmp_path / "site.toml"
    file.write_text(f"[fhir]\nhost = '127.0.0.1'\nport = {free_port()}\n")
    done = CliRunner().invoke(main, ["health", "--config", str(file)])
    assert done.exit_code == 1
    assert done.output.startswith("pacsbridge: port ")
    assert len(done.output.splitlines()) == 1
