"""DICOM over TLS (PS3.15 B.12) with DCMTK as peers: who shows a good certificate comes in, nobody else."""

import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pydicom.data
import pytest
import requests
import trustme
from ports import free_port
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove  # type: ignore[attr-defined]

CT = Path(pydicom.data.__file__).parent / "test_files" / "CT_small.dcm"
STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SECONDS = 60


class Pki(NamedTuple):
    """Files of certificates: the site's authority, ours, a peer's, and one of another authority."""

    ca: Path
    own: tuple[Path, Path]
    peer: tuple[Path, Path]
    stranger: tuple[Path, Path]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Certificates in PEM."""
    folder = tmp_path_factory.mktemp("pki")
    site, other = trustme.CA(), trustme.CA()
    site.cert_pem.write_to_path(str(folder / "ca.pem"))

    def issued(authority: trustme.CA, name: str) -> tuple[Path, Path]:
        made = authority.issue_cert("127.0.0.1", common_name=name)
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        made.cert_chain_pems[0].write_to_path(str(certificate))
        made.private_key_pem.write_to_path(str(key))
        return certificate, key

    return Pki(folder / "ca.pem", issued(site, "bridge"), issued(site, "ct1"), issued(other, "stranger"))


@pytest.fixture(scope="module")
def there(make_lasting_bridge: Callable[..., Any], pki: Pki) -> tuple[Any, int]:
    """A bridge that asks callers for certificates, and the port of its peer ARCHIVE, called by TLS."""
    port = free_port()
    bridge = make_lasting_bridge(
        f'[dimse.tls]\ncertificate = "{pki.own[0]}"\nkey = "{pki.own[1]}"\nca = "{pki.ca}"\n'
        '[[peer]]\nae_title = "CT1"\n'
        f'[[peer]]\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\ntls = true\n'
    ).start()
    return bridge, port


def called(program: str, bridge: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of DCMTK's users at the bridge."""
    *options, file = arguments
    place = ("127.0.0.1", str(bridge.dimse_port))
    return subprocess.run(
        [program, "-aet", "CT1", "-aec", "PACSBRIDGE", *options, *place, *filter(None, (file,))],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def by_tls(pki: Pki, who: tuple[Path, Path]) -> tuple[str, ...]:
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
    """C-MOVE to a peer that is called by TLS; to one with another authority's certificate nothing is sent."""
    bridge, port = there
    called(program("storescu"), bridge, *by_tls(pki, pki.peer), str(CT))
    url = f"{bridge.fhir}/ImagingStudy?identifier=urn:oid:{STUDY}"
    bridge.wait(lambda: requests.get(url, timeout=10).json().get("entry"))
    for name, who, moved in (("good", pki.peer, 1), ("bad", pki.stranger, 0)):
        folder = tmp_path / name
        folder.mkdir()
        with storescp(program("storescp"), port, folder, *by_tls(pki, who)):
            assert _moved(bridge.dimse_port, pki) == moved
        assert len(list(folder.iterdir())) == moved


def _moved(port: int, pki: Pki) -> int:
    """How many instances of the study a C-MOVE to ARCHIVE has brought there, by its answers."""
    context = ssl.create_default_context(cafile=pki.ca)
    context.load_cert_chain(*pki.peer)
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
    """`pacsbridge check` answers for the peer as it is configured."""
    bridge, port = there
    with storescp(program("storescp"), port, tmp_path, *by_tls(pki, pki.peer)):
        told = bridge.run("check").stdout
    assert f"127.0.0.1:{port} answers C-ECHO" in told


def test_check_finds_a_key_that_does_not_fit(make_lasting_bridge: Callable[..., Any], pki: Pki) -> None:
    """What would keep `serve` from starting is told beforehand."""
    tls = f'[dimse.tls]\ncertificate = "{pki.own[0]}"\nkey = "%s"\n'
    fits, other = (make_lasting_bridge(tls % key).run("check") for key in (pki.own[1], pki.peer[1]))
    assert (fits.returncode, other.returncode) == (0, 1)
    assert "certificate and key fit" in fits.stdout
    assert "dimse.tls: certificate, key or ca cannot be read, or don't fit" in other.stdout


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
