"""Certificates of a bridge: bad ones keep it from starting, new ones need no restart, `check` tells."""

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from certificate_site import Pair, Site, encrypted
from click.testing import CliRunner
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pacsbridge import config, securing
from pacsbridge.cli import main
from pacsbridge.errors import Misconfigured

SECONDS = 60


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The hospital's authority."""
    return Site(tmp_path)


def table(name: str, pair: Pair, ca: Path | None = None) -> str:
    """A table of the configuration."""
    lines = [f"[{name}]", f'certificate = "{pair.certificate}"', f'key = "{pair.key}"']
    return "\n".join([*lines, *([] if ca is None else [f'ca = "{ca}"']), ""])


def bad(site: Site) -> dict[str, tuple[str, str]]:
    """What a configuration says, and how the line about it begins."""
    own, other = site.issue("own"), site.issue("other")
    none = site.folder / "none.pem"
    source = '[[source]]\nname = "main"\nurl = "https://127.0.0.1:1/dicom-web"\npoll_seconds = 0\n'
    locked = encrypted(own.key)
    return {
        "missing": (
            table("fhir.tls", Pair(none, own.key)),
            f"fhir.tls.certificate: {none} cannot be read (No such file or directory)",
        ),
        "other key": (
            table("dimse.tls", Pair(own.certificate, other.key)),
            f"dimse.tls.key: {other.key} is not the key of the certificate in {own.certificate}",
        ),
        "locked": (
            table("dimse.tls", Pair(own.certificate, locked)),
            f"dimse.tls.key: {locked} is encrypted",
        ),
        "expired": (
            table("dimse.tls", site.issue("old", days=(-9, -1))),
            f"dimse.tls.certificate: {site.folder}/old.pem expired on ",
        ),
        "authority": (
            table("dimse.tls", own, own.key),
            f"dimse.tls.ca: {own.key} holds no certificate in PEM",
        ),
        "source": (f'{source}ca = "{none}"\n', f"source main: ca: {none} cannot be read (No such file"),
        "audit": (
            f'[audit]\nsyslog_url = "tls://127.0.0.1:1"\nsyslog_ca = "{none}"\n',
            f"audit.syslog_ca: {none} cannot be read (No such file",
        ),
    }


CASES = ("missing", "other key", "locked", "expired", "authority", "source", "audit")


@pytest.mark.parametrize("case", CASES)
def test_a_bad_certificate_is_named(make_bridge: Callable[..., Any], site: Site, case: str) -> None:
    """What keeps `serve` from starting is one line with the key and the file; `check` says the same."""
    text, said = bad(site)[case]
    bridge = make_bridge(text)
    with pytest.raises(Misconfigured, match=re.escape(said)) as told:
        securing.secured(config.load(bridge.config, {}))
    assert "\n" not in str(told.value)
    checked = CliRunner().invoke(main, ["check", "--config", str(bridge.config)])
    assert checked.exit_code == 1
    found = [one for one in checked.output.splitlines() if one.startswith("FAILED") and said in one]
    assert found[0].endswith(f": {told.value}")


def test_a_bad_certificate_keeps_it_from_starting(make_bridge: Callable[..., Any], site: Site) -> None:
    """One line and the exit code of a bad configuration, before anything listens."""
    text, said = bad(site)["missing"]
    done = make_bridge(text).run("serve")
    assert done.returncode == 2, done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("pacsbridge:")]
    assert line.startswith(f"pacsbridge: {said}")


def test_check_tells_how_long_they_are_good(site: Site, make_bridge: Callable[..., Any]) -> None:
    """A line for each file of certificates; one that ends soon is a warning, one that has ended a fault."""
    ending, over = site.issue("ending", days=(-1, 9.5)), site.issue("over", days=(-9, -1))
    source = '[[source]]\nname = "main"\nurl = "https://127.0.0.1:1/dicom-web"\npoll_seconds = 0\n'
    shared = site.issue("own")
    shared.key.chmod(0o644)
    ending.key.chmod(0o600)
    own = table("dimse.tls", ending, site.ca) + table("fhir.tls", shared)
    bridge = make_bridge(f'{own}{source}certificate = "{over.certificate}"\nkey = "{over.key}"\n')
    done = CliRunner().invoke(main, ["check", "--config", str(bridge.config)])
    assert f"ok     dimse.tls.certificate: WARNING: {ending.certificate} expires on " in done.output
    assert f"ok     dimse.tls.ca: {site.ca} is valid until " in done.output
    assert f"ok     fhir.tls.certificate: {site.folder}/own.pem is valid until " in done.output
    assert f" UTC; WARNING: {shared.key} can be read by everybody on this machine\n" in done.output
    assert f"{ending.key} can be read" not in done.output
    assert (
        f"FAILED source main: certificate: source main: certificate: {over.certificate} expired"
        in done.output
    )
    assert done.exit_code == 1


def shown(port: int, site: Site, who: Pair) -> bytes | None:
    """The certificate that a port shows now."""
    context = ssl.create_default_context(cafile=site.ca)
    context.load_cert_chain(*who)
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        return sock.getpeercert(binary_form=True)


def der(pair: Pair) -> bytes:
    """A certificate as it is shown."""
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


def lines(bridge: Any, event: str) -> list[dict[str, Any]]:
    """What the log has of an event."""
    found = (json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{"))
    return [one for one in found if one["event"] == event]


def test_new_certificates_need_no_restart(make_bridge: Callable[..., Any], site: Site) -> None:
    """SIGHUP: both ports show new certificates, what is established stays; broken files change nothing."""
    dimse, fhir, caller = site.issue("dimse"), site.issue("fhir"), site.issue("caller")
    bridge = make_bridge(table("dimse.tls", dimse, site.ca) + table("fhir.tls", fhir, site.ca))
    bridge.launch()
    bridge.wait(lambda: lines(bridge, "started"), SECONDS)
    context = ssl.create_default_context(cafile=site.ca)
    context.load_cert_chain(*caller)
    entity = AE("CT1")
    entity.add_requested_context(Verification)
    association = entity.associate(
        "127.0.0.1", bridge.dimse_port, ae_title="PACSBRIDGE", tls_args=(context, "127.0.0.1")
    )
    assert association.is_established
    with requests.Session() as session:
        get = partial(
            session.get, verify=str(site.ca), cert=(str(caller.certificate), str(caller.key)), timeout=SECONDS
        )
        url = f"https://127.0.0.1:{bridge.http_port}"
        assert get(f"{url}/health/live").status_code == 200
        before = der(dimse), der(fhir)
        site.issue("dimse"), site.issue("fhir")
        bridge.process.send_signal(signal.SIGHUP)
        bridge.wait(lambda: len(lines(bridge, "certificates read anew")) >= 2, SECONDS)
        for port, pair, old in zip((bridge.dimse_port, bridge.http_port), (dimse, fhir), before, strict=True):
            assert shown(port, site, caller) == der(pair) != old
        assert association.send_c_echo().Status == 0
        assert get(f"{url}/health/live").status_code == 200
        new = der(dimse)
        dimse.key.write_text("half of it")
        bridge.process.send_signal(signal.SIGHUP)
        fault = bridge.wait(lambda: lines(bridge, "certificates not renewed"), SECONDS)[0]
        assert fault["reason"].startswith(f"dimse.tls.key: {dimse.key} holds no private key in PEM")
        assert shown(bridge.dimse_port, site, caller) == new
        told = get(f"{url}/metrics").text
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{bridge.http_port}/health/live", timeout=SECONDS)
        alerts = f"{url}/fhir/AuditEvent?type=110113&subtype=110126"
        entries = bridge.wait(lambda: get(alerts).json().get("entry"), SECONDS)
        assert [one["resource"]["outcomeDesc"] for one in entries] == ["TLS handshake: no TLS"]
        read = get(f"{url}/fhir/AuditEvent?subtype=110129&outcome=0").json()["entry"]
        failed = get(f"{url}/fhir/AuditEvent?subtype=110129&outcome=4").json()["entry"]
        assert (len(read) >= 3, failed[0]["resource"]["outcomeDesc"]) == (True, fault["reason"])
    assert 'pacsbridge_tls_renewals_total{outcome="failed",use="dimse"} ' in told
    assert 'pacsbridge_tls_renewals_total{outcome="renewed",use="http"} ' in told
    assert 'pacsbridge_tls_not_after_seconds{certificate="dimse.tls.ca",source=""} ' in told
    association.release()
    assert bridge.stop() == 0


def test_sighup_without_certificates_changes_nothing(bridge: Any) -> None:
    """It no longer ends the process."""
    bridge.process.send_signal(signal.SIGHUP)
    bridge.wait(lambda: lines(bridge, "reloading"), SECONDS)
    assert bridge.ready()
    assert bridge.stop() == 0


def test_sighup_ends_a_demo(tmp_path: Path) -> None:
    """It goes with the terminal that it was started in, and has a clean end."""
    command = [sys.executable, "-m", "pacsbridge", "demo", "--port", "0", "--dimse-port", "0"]
    log = tmp_path / "log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=tmp_path) as demo,
    ):
        assert demo.stdout is not None
        assert any(b"curl" in line for line in demo.stdout), log.read_text()
        demo.send_signal(signal.SIGHUP)
        demo.stdout.read()
        assert demo.wait(SECONDS) == 0
