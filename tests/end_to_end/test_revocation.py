"""Revoked certificates at both ports, with DCMTK as callers: kept out, on record, by new lists too."""

import json
import re
import signal
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom.data
import pytest
import requests
from certificate_site import Pair, Site
from click.testing import CliRunner
from ports import free_port
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from pacsbridge import config, securing
from pacsbridge.cli import main
from pacsbridge.errors import Misconfigured

CT = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SECONDS = 60


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The hospital's authority."""
    return Site(tmp_path)


def table(name: str, pair: Pair, ca: Path, crl: Path) -> str:
    """A table of the configuration."""
    named = {"certificate": pair.certificate, "key": pair.key, "ca": ca, "crl": crl}
    return "\n".join([f"[{name}]", *(f'{key} = "{path}"' for key, path in named.items()), ""])


def called(program: str, bridge: Any, site: Site, who: Pair, *files: Path) -> int:
    """The exit code of one of DCMTK's users that shows a certificate."""
    by_tls = ("+tls", str(who.key), str(who.certificate), "+cf", str(site.ca))
    place = ("-to", "20", "-ta", "20", "-aec", "PACSBRIDGE", "127.0.0.1", str(bridge.dimse_port))
    command = [program, *by_tls, *place, *map(str, files)]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode


def lines(bridge: Any, event: str) -> list[dict[str, Any]]:
    """What the log has of an event."""
    found = (json.loads(line) for line in bridge.log.read_text().splitlines() if line.startswith("{"))
    return [one for one in found if one["event"] == event]


def counted(text: str, port: str, reason: str) -> bool:
    """Whether the metrics have one such handshake at least."""
    row = rf'pacsbridge_tls_failures_total{{port="{port}",reason="{reason}"}} [1-9]'
    return re.search(row, text) is not None


def test_a_revoked_modality_stays_out(
    program: Callable[[str], str], make_bridge: Callable[..., Any], site: Site
) -> None:
    """The good one stores, the revoked one is refused: counted, logged, and an audit event, by its reason."""
    good, lost = site.issue("good"), site.issue("lost")
    crl = site.revoke(lost)
    bridge = make_bridge(table("dimse.tls", site.issue("own"), site.ca, crl)).start()
    assert called(program("storescu"), bridge, site, lost, CT) != 0
    assert called(program("storescu"), bridge, site, good, CT) == 0
    bridge.wait(lambda: bridge.get(f"ImagingStudy?identifier=urn:oid:{STUDY}").json().get("entry"), SECONDS)

    def metrics() -> str:
        return requests.get(f"{bridge.root}/metrics", timeout=SECONDS).text

    bridge.wait(lambda: counted(metrics(), "dimse", "certificate revoked"), SECONDS)
    assert 'pacsbridge_tls_not_after_seconds{certificate="dimse.tls.crl",source=""} ' in metrics()
    (said,) = bridge.wait(lambda: lines(bridge, "tls handshake failed"), SECONDS)
    assert (said["level"], said["server"], said["address"]) == ("warning", "dimse", "127.0.0.1")
    assert said["reason"] == "certificate revoked"
    alerts = "AuditEvent?type=110113&subtype=110126"
    (entry,) = bridge.wait(lambda: bridge.get(alerts).json().get("entry"), SECONDS)
    assert entry["resource"]["outcomeDesc"] == "TLS handshake: certificate revoked"
    assert entry["resource"]["agent"][0]["network"]["address"] == "127.0.0.1"


def test_a_new_list_needs_no_restart(
    program: Callable[[str], str], make_bridge: Callable[..., Any], site: Site
) -> None:
    """SIGHUP: whom it names is refused from now on, what is established goes on; nonsense is not taken."""
    good, lost, caller = site.issue("good"), site.issue("lost"), site.issue("caller")
    crl = site.revoke()
    bridge = make_bridge(table("dimse.tls", site.issue("own"), site.ca, crl)).start()
    echo = program("echoscu")
    assert [called(echo, bridge, site, one) for one in (good, lost)] == [0, 0]
    context = ssl.create_default_context(cafile=site.ca)
    context.load_cert_chain(*caller)
    entity = AE("CT1")
    entity.add_requested_context(Verification)
    tls = (context, "127.0.0.1")
    association = entity.associate("127.0.0.1", bridge.dimse_port, ae_title="PACSBRIDGE", tls_args=tls)
    assert association.is_established

    def hang_up(event: str, reason: str = "") -> None:
        before = len(lines(bridge, event))
        bridge.process.send_signal(signal.SIGHUP)
        bridge.wait(
            lambda: any(one.get("reason", "").startswith(reason) for one in lines(bridge, event)[before:]),
            SECONDS,
        )

    site.revoke(lost, caller)
    hang_up("certificates read anew")
    assert [called(echo, bridge, site, one) == 0 for one in (good, lost, caller)] == [True, False, False]
    assert association.send_c_echo().Status == 0
    association.release()
    crl.write_text("ask the authority")
    nonsense = f"dimse.tls.crl: {crl} holds no revocation list in PEM"
    hang_up("certificates not renewed", nonsense)
    site.revoke(days=(-9, -1))
    hang_up("certificates not renewed", f"dimse.tls.crl: {crl} expired on ")
    assert [called(echo, bridge, site, one) == 0 for one in (good, lost, caller)] == [True, False, False]
    events = "AuditEvent?subtype=110129&outcome=4"
    bridge.wait(
        lambda: any(
            one["resource"]["outcomeDesc"] == nonsense for one in bridge.get(events).json().get("entry", ())
        ),
        SECONDS,
    )


def test_a_revoked_client_of_http_stays_out(make_bridge: Callable[..., Any], site: Site) -> None:
    """What shows a revoked certificate gets no answer; the others do, and see it counted."""
    good, lost = site.issue("good"), site.issue("lost")
    bridge = make_bridge(table("fhir.tls", site.issue("own"), site.ca, site.revoke(lost)))
    bridge.launch()
    bridge.wait(lambda: lines(bridge, "started"), SECONDS)
    url = f"https://127.0.0.1:{bridge.http_port}"

    def get(path: str, who: Pair) -> requests.Response:
        cert = (str(who.certificate), str(who.key))
        return requests.get(f"{url}{path}", verify=str(site.ca), cert=cert, timeout=SECONDS)

    with pytest.raises(requests.ConnectionError):
        get("/fhir/metadata", lost)
    assert get("/fhir/metadata", good).status_code == 200
    bridge.wait(lambda: counted(get("/metrics", good).text, "http", "certificate revoked"), SECONDS)
    alerts = "/fhir/AuditEvent?type=110113&subtype=110126"
    (entry,) = bridge.wait(lambda: get(alerts, good).json().get("entry"), SECONDS)
    assert entry["resource"]["outcomeDesc"] == "TLS handshake: certificate revoked"


def bad(site: Site, case: str) -> tuple[Path, str]:
    """A file that is no good, and what is said of it."""
    path = site.folder / "lists.pem"
    if case == "nonsense":
        path.write_text("ask the authority")
    made = {
        "missing": (path, "cannot be read (No such file or directory)"),
        "nonsense": (path, "holds no revocation list in PEM"),
        "expired": (site.revoke(days=(-9, -1), name="old"), "expired on "),
        "other authority": (
            Site(site.folder, "other-ca").revoke(name="other"),
            f"holds no complete revocation list of an authority in {site.ca}",
        ),
    }
    return made[case]


@pytest.mark.parametrize("key", ["dimse.tls", "fhir.tls"])
@pytest.mark.parametrize("case", ["missing", "nonsense", "expired", "other authority"])
def test_a_bad_list_is_named(make_bridge: Callable[..., Any], site: Site, case: str, key: str) -> None:
    """What keeps `serve` from starting is one line with the key and the file; `check` says the same."""
    path, said = bad(site, case)
    bridge = make_bridge(table(key, site.issue("own"), site.ca, path))
    with pytest.raises(Misconfigured, match=re.escape(f"{key}.crl: {path} {said}")) as told:
        securing.secured(config.load(bridge.config, {}))
    assert "\n" not in str(told.value)
    checked = CliRunner().invoke(main, ["check", "--config", str(bridge.config)])
    assert checked.exit_code == 1
    assert f"FAILED {key}.crl: {told.value}" in checked.output.splitlines()


def test_a_bad_list_keeps_it_from_starting(make_bridge: Callable[..., Any], site: Site) -> None:
    """One line and the exit code of a bad configuration, before anything listens."""
    path, _said = bad(site, "expired")
    done = make_bridge(table("dimse.tls", site.issue("own"), site.ca, path)).run("serve")
    assert done.returncode == 2, done.stderr
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("pacsbridge:")]
    assert line.startswith(f"pacsbridge: dimse.tls.crl: {path} expired on ")
    assert line.endswith(": all certificates of that authority are refused until there is one")


def test_check_tells_what_is_on_lists(make_bridge: Callable[..., Any], site: Site) -> None:
    """Whose each list is, until when, how many it names; one that ends soon is a warning."""
    own, other = site.issue("own"), Site(site.folder, "other-ca")
    name = r"OU=[^:]+,O=trustme[^:]+"
    lists = site.folder / "lists.pem"
    lists.write_bytes(
        site.revoke(site.issue("one"), site.issue("two")).read_bytes() + other.revoke(name="o").read_bytes()
    )
    ending = site.revoke(days=(-29, 1), name="ending")
    bridge = make_bridge(table("dimse.tls", own, site.ca, lists) + table("fhir.tls", own, site.ca, ending))
    done = CliRunner().invoke(main, ["check", "--config", str(bridge.config)])
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d"
    assert re.search(
        rf"^ok     dimse\.tls\.crl: {lists} is valid until {when} UTC; "
        rf"list of {name} of {when} until {when} UTC: 2 revoked; "
        rf"list of {name} of {when} until {when} UTC, of no authority that is trusted here$",
        done.output,
        re.MULTILINE,
    )
    assert re.search(
        rf"^ok     fhir\.tls\.crl: WARNING: {ending} expires on {when} UTC, in 2[34] hours; list of {name} ",
        done.output,
        re.MULTILINE,
    )


def test_a_revoked_peer_is_not_called(
    program: Callable[[str], str], make_bridge: Callable[..., Any], site: Site, tmp_path: Path
) -> None:
    """`check` says of a peer that its certificate was revoked; without that it answers."""
    theirs, port = site.issue("theirs"), free_port()
    by_tls = ("+tls", str(theirs.key), str(theirs.certificate), "+cf", str(site.ca))
    crl = site.revoke()
    bridge = make_bridge(
        table("dimse.tls", site.issue("own"), site.ca, crl)
        + f'[[peer]]\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\ntls = true\n'
    )

    def checked() -> str:
        return CliRunner().invoke(main, ["check", "--config", str(bridge.config)]).output

    with subprocess.Popen([program("storescp"), "-od", str(tmp_path), *by_tls, str(port)]) as process:
        try:
            bridge.log.touch()
            bridge.wait(lambda: f"ok     peer ARCHIVE: 127.0.0.1:{port} answers C-ECHO" in checked(), SECONDS)
            site.revoke(theirs)
            said = f"FAILED peer ARCHIVE: 127.0.0.1:{port} shows a certificate that is not good ("
            assert f"{said}certificate revoked" in checked()
        finally:
            process.terminate()
