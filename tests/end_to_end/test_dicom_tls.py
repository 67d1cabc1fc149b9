"""DICOM over TLS (PS3.15 B.12) with DCMTK as peers: who shows a good certificate comes in, nobody else."""

import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

import pydicom.data
import pytest
import requests
from certificate_site import Pair, Site
from click.testing import CliRunner
from ports import free_port
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelMove,
)

from pacsbridge.cli import main

CT = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SECONDS = 60


class Pki(NamedTuple):
    """Files of certificates: the site's authority, ours, peers', and one of another authority."""

    ca: Path
    own: Pair
    peer: Pair
    other_peer: Pair
    elsewhere: Pair
    stranger: Pair


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates in PEM; `elsewhere` is for another host."""
    folder = tmp_path_factory.mktemp("pki")
    site = Site(folder)
    own, peer, other_peer = (
        site.issue(name, "127.0.0.1", f"{name}.hospital.example") for name in ("bridge", "ct1", "ct2")
    )
    elsewhere = site.issue("elsewhere", "elsewhere.hospital.example")
    return Pki(site.ca, own, peer, other_peer, elsewhere, Site(folder, "other").issue("stranger"))


def digest(pair: Pair) -> str:
    """Of the certificate (DER), in hexadecimal digits."""
    return sha256(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())).hexdigest()


@pytest.fixture(scope="module")
def reports() -> int:
    """Where CT1 waits for reports."""
    return free_port()


@pytest.fixture(scope="module")
def there(make_lasting_bridge: Callable[..., Any], pki: Pki, reports: int) -> tuple[Any, int]:
    """A bridge that asks callers for certificates, and the port of its peer ARCHIVE, called by TLS.

    CT1 is known by a name in its certificate, and called where it waits for reports; CT2 by its digest.
    """
    port = free_port()
    bridge = make_lasting_bridge(
        f'[dimse.tls]\ncertificate = "{pki.own[0]}"\nkey = "{pki.own[1]}"\nca = "{pki.ca}"\n'
        f'[[peer]]\nae_title = "CT1"\nhost = "127.0.0.1"\nport = {reports}\ntls = true\n'
        f'certificates = ["CT1.Hospital.example"]\n'
        f'[[peer]]\nae_title = "CT2"\ncertificates = ["sha256:{digest(pki.other_peer)}"]\n'
        f'[[peer]]\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\ntls = true\n'
    ).start()
    return bridge, port


def called(
    program: str, bridge: Any, *arguments: str, title: str = "CT1"
) -> subprocess.CompletedProcess[str]:
    """One of DCMTK's users at the bridge."""
    *options, file = arguments
    place = ("127.0.0.1", str(bridge.dimse_port))
    return subprocess.run(
        [program, "-aet", title, "-aec", "PACSBRIDGE", *options, *place, *filter(None, (file,))],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def by_tls(pki: Pki, who: Pair) -> tuple[str, ...]:
    """DCMTK's options for TLS with a certificate."""
    certificate, key = who
    return "+tls", str(key), str(certificate), "+cf", str(pki.ca)


def test_a_modality_stores_by_tls(program: Callable[[str], str], there: tuple[Any, int], pki: Pki) -> None:
    """storescu with a certificate of the site: the study is there."""
    bridge, _port = there
    done = called(program("storescu"), bridge, *by_tls(pki, pki.peer), str(CT))
    assert done.returncode == 0, done.stderr
    url = f"{bridge.fhir}/ImagingStudy?identifier=urn:oid:{STUDY}"
    bridge.wait(lambda: requests.get(url, timeout=10).json().get("entry"))


WAYS = ("none", "stranger", "anonymous")


@pytest.mark.parametrize("way", WAYS)
def test_who_shows_no_good_certificate_stays_out(
    program: Callable[[str], str], there: tuple[Any, int], pki: Pki, way: str
) -> None:
    """Plain TCP, another authority's certificate, or none: refused, and the next good caller is answered."""
    bridge, _port = there
    options = {
        "none": (),
        "stranger": by_tls(pki, pki.stranger),
        "anonymous": ("+tla", "+cf", str(pki.ca)),
    }[way]
    echo = program("echoscu")
    assert called(echo, bridge, "-to", "5", "-ta", "20", *options, "").returncode != 0
    done = called(echo, bridge, *by_tls(pki, pki.peer), "")
    assert done.returncode == 0, done.stderr


def test_old_tls_is_not_spoken(there: tuple[Any, int], pki: Pki) -> None:
    """TLS 1.1 is refused (RFC 8996), 1.2 is taken with forward secrecy alone (RFC 9325)."""
    bridge, _port = there
    for version, ciphers, fine in (
        (ssl.TLSVersion.TLSv1_1, "ALL", False),
        (ssl.TLSVersion.TLSv1_2, "ALL", True),
        (ssl.TLSVersion.TLSv1_2, "AES256-GCM-SHA384", False),
    ):
        context = ssl.create_default_context(cafile=pki.ca)
        context.load_cert_chain(*pki.peer)
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            context.minimum_version = context.maximum_version = version
        assert _shakes_hands(context, bridge.dimse_port) is fine


def _shakes_hands(context: ssl.SSLContext, port: int) -> bool:
    try:
        with (
            socket.create_connection(("127.0.0.1", port), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        ):
            return sock.version() is not None
    except OSError:
        return False


def calling(pki: Pki, who: Pair) -> ssl.SSLContext:
    """The other side in Python, with a certificate."""
    context = ssl.create_default_context(cafile=pki.ca)
    context.load_cert_chain(*who)
    return context


def test_studies_are_found_by_tls(program: Callable[[str], str], there: tuple[Any, int], pki: Pki) -> None:
    """findscu with a certificate of the site is answered."""
    bridge, _port = there
    called(program("storescu"), bridge, *by_tls(pki, pki.peer), str(CT))
    query = ("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID", "-k", "PatientName=*")

    def found() -> bool:
        done = called(program("findscu"), bridge, "-v", *by_tls(pki, pki.peer), *query, "")
        assert done.returncode == 0, done.stderr
        return STUDY in done.stdout + done.stderr

    bridge.wait(found, SECONDS)


def test_storage_commitment_is_reported_by_tls(
    program: Callable[[str], str], there: tuple[Any, int], pki: Pki, reports: int
) -> None:
    """Who has released is called by TLS at its port, shows its certificate, and is told."""
    bridge, _port = there
    called(program("storescu"), bridge, *by_tls(pki, pki.peer), str(CT))
    heard: Queue[Dataset] = Queue()

    def hear(event: Any) -> tuple[int, None]:
        heard.put(event.event_information)
        return 0, None

    waiting = AE("CT1")
    waiting.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.peer)
    context.load_verify_locations(pki.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    server: Any = waiting.start_server(
        ("127.0.0.1", reports),
        block=False,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, hear)],
        ssl_context=context,
    )
    try:
        _ask_for_commitment(bridge.dimse_port, calling(pki, pki.peer))
        report = heard.get(timeout=SECONDS)
    finally:
        server.shutdown()
    instance = pydicom.dcmread(CT, stop_before_pixels=True).SOPInstanceUID
    assert [one.ReferencedSOPInstanceUID for one in report.ReferencedSOPSequence] == [instance]
    assert "FailedSOPSequence" not in report


def _ask_for_commitment(port: int, context: ssl.SSLContext) -> None:
    """Ask for the CT's, and release at once."""
    instance = pydicom.dcmread(CT, stop_before_pixels=True)
    item, request = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    request.TransactionUID, request.ReferencedSOPSequence = "1.2.3.4", [item]
    entity = AE("CT1")
    entity.add_requested_context(StorageCommitmentPushModel)
    association = entity.associate("127.0.0.1", port, ae_title="PACSBRIDGE", tls_args=(context, "127.0.0.1"))
    assert association.is_established
    model, well_known = StorageCommitmentPushModel, "1.2.840.10008.1.20.1.1"
    status, _ = association.send_n_action(request, 1, model, well_known)
    association.release()
    assert status.Status == 0


def test_an_ae_title_goes_with_its_certificate(
    program: Callable[[str], str], there: tuple[Any, int], pki: Pki
) -> None:
    """CT1 and CT2 come in with their own certificates; with each other's they are rejected, on record."""
    bridge, _port = there
    echo = program("echoscu")
    for title, pair, fine in (
        ("CT1", pki.peer, True),
        ("CT2", pki.other_peer, True),
        ("CT1", pki.other_peer, False),
        ("CT2", pki.peer, False),
    ):
        done = called(echo, bridge, "-v", *by_tls(pki, pair), "", title=title)
        assert (done.returncode == 0) is fine, done.stderr
        assert ("Calling AE Title Not Recognized" in done.stdout + done.stderr) is not fine
    why = "calling AE title not of this certificate"
    assert (
        f'pacsbridge_dimse_rejected_total{{reason="{why}"}} 2.0'
        in requests.get(f"{bridge.root}/metrics", timeout=10).text
    )
    bridge.wait(lambda: len([one for one in _alerts(bridge) if one["outcomeDesc"] == why]) == 2, SECONDS)
    assert why in bridge.log.read_text()


def _alerts(bridge: Any) -> list[dict[str, Any]]:
    """Security alerts of node authentication in the audit log (PS3.15 A.5.3.11)."""
    found = bridge.get("AuditEvent?type=110113&subtype=110126&_count=100").json()
    return [entry["resource"] for entry in found.get("entry", ())]


def test_failed_handshakes_are_on_record(
    program: Callable[[str], str], make_bridge: Callable[..., Any], pki: Pki
) -> None:
    """A caller without TLS and one of another authority: counted by reason, logged, and an audit event."""
    bridge = make_bridge(
        f'[dimse.tls]\ncertificate = "{pki.own[0]}"\nkey = "{pki.own[1]}"\nca = "{pki.ca}"'
    ).start()
    echo = program("echoscu")
    for _ in range(3):
        called(echo, bridge, "-to", "5", "-ta", "20", "")
        called(echo, bridge, *by_tls(pki, pki.stranger), "")
    for reason in ("no TLS", "certificate not trusted"):
        counted = f'pacsbridge_tls_failures_total{{port="dimse",reason="{reason}"}} 3.0'
        bridge.wait(
            lambda row=counted: row in requests.get(f"{bridge.root}/metrics", timeout=10).text, SECONDS
        )
    first = bridge.wait(lambda: _alerts(bridge), SECONDS)[-1]
    assert (first["outcome"], first["outcomeDesc"]) == ("8", "TLS handshake: no TLS")
    assert first["agent"][0]["network"]["address"] == "127.0.0.1"
    assert "tls handshake failed" in bridge.log.read_text()


def _until_open(port: int) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return


@contextmanager
def storescp(program: str, port: int, folder: Path, *options: str) -> Iterator[None]:
    """DCMTK's receiver."""
    process = subprocess.Popen([program, "-od", str(folder), *options, str(port)])
    try:
        _until_open(port)
        yield
    finally:
        process.terminate()
        process.wait(SECONDS)


def test_instances_are_moved_by_tls(
    program: Callable[[str], str], there: tuple[Any, int], pki: Pki, tmp_path: Path
) -> None:
    """C-MOVE by TLS; a destination of another authority, or with another host's certificate, gets nothing."""
    bridge, port = there
    called(program("storescu"), bridge, *by_tls(pki, pki.peer), str(CT))
    url = f"{bridge.fhir}/ImagingStudy?identifier=urn:oid:{STUDY}"
    bridge.wait(lambda: requests.get(url, timeout=10).json().get("entry"))
    for name, who, moved in (("good", pki.peer, 1), ("bad", pki.stranger, 0), ("wrong", pki.elsewhere, 0)):
        folder = tmp_path / name
        folder.mkdir()
        with storescp(program("storescp"), port, folder, *by_tls(pki, who)):
            assert _moved(bridge.dimse_port, pki) == moved
        assert len(list(folder.iterdir())) == moved


def _moved(port: int, pki: Pki) -> int:
    """How many instances of the study a C-MOVE to ARCHIVE has brought there, by its answers."""
    context = calling(pki, pki.peer)
    entity = AE("CT1")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelMove)
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", STUDY
    association = entity.associate("127.0.0.1", port, ae_title="PACSBRIDGE", tls_args=(context, "127.0.0.1"))
    assert association.is_established
    model = StudyRootQueryRetrieveInformationModelMove
    *_pending, (status, _identifier) = association.send_c_move(query, "ARCHIVE", model)
    association.release()
    return int(status.get("NumberOfCompletedSuboperations", 0))


def test_check_calls_by_tls(
    program: Callable[[str], str], there: tuple[Any, int], pki: Pki, tmp_path: Path
) -> None:
    """`pacsbridge check` answers for the peer as it is configured; one that is for another host is not."""
    bridge, port = there
    unnamed = bridge.folder / "unnamed.toml"
    unnamed.write_text(bridge.config.read_text().replace("[dimse.tls]", "[dimse.tls]\nmatch_names = false"))
    for pair, file, fine in (
        (pki.peer, bridge.config, True),
        (pki.elsewhere, bridge.config, False),
        (pki.elsewhere, unnamed, True),
    ):
        with storescp(program("storescp"), port, tmp_path, *by_tls(pki, pair)):
            told = CliRunner().invoke(main, ["check", "--config", str(file)]).stdout
        assert (f"ok     peer ARCHIVE: 127.0.0.1:{port} answers C-ECHO" in told) is fine
        said = (
            f"FAILED peer ARCHIVE: 127.0.0.1:{port} shows a certificate that is not good (IP address mismatch"
        )
        assert (said in told) is not fine


def test_a_stalled_handshake_delays_no_stop(make_lasting_bridge: Callable[..., Any], pki: Pki) -> None:
    """Callers who never say hello are left behind at once, long before their time is over."""
    bridge = make_lasting_bridge(
        f'[dimse.tls]\ncertificate = "{pki.own[0]}"\nkey = "{pki.own[1]}"\n',
        dimse="first_pdu_seconds = 600",
    ).start()
    silent = [socket.create_connection(("127.0.0.1", bridge.dimse_port), 10) for _ in range(5)]
    time.sleep(1)
    begun = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - begun < 25  # of the 30 that requests under way are given
    for one in silent:
        one.close()
