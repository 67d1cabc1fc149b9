"""Who may have what of DICOMweb: scopes for ImagingStudy, and one patient's studies."""

from collections.abc import Iterator, Sequence

import pytest
import requests
from tests.dicomweb.conftest import STUDY, Bridge, Instance
from token_issuer import Issuer

from pacsbridge.access.gate import Gate, gate
from pacsbridge.bridge.publish import Publisher
from pacsbridge.kernel.resources import Publication


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """An authorization server on loopback."""
    running = Issuer()
    yield running
    running.close()


@pytest.fixture
def guarding(issuer: Issuer) -> Iterator[Gate]:
    """The gate of the bridge."""
    found = gate(issuer.settings())
    yield found
    found.close()


@pytest.fixture
def patient(bridge: Bridge, held: Sequence[Instance]) -> str:
    """The id of the patient of three instances that are published."""
    assert held
    Publisher(bridge.store, Publication(), lambda: 1 << 50).publish_all()
    [found] = bridge.store.ids("Patient")
    return found


def paths(instance: Instance) -> dict[str, str]:
    """Path → the interaction of SMART that it is."""
    series = f"/studies/{STUDY}/series/{instance.series}"
    one = f"{series}/instances/{instance.sop}"
    retrievals = [
        *(f"/studies/{STUDY}{rest}" for rest in ("", "/metadata")),
        *(f"{series}{rest}" for rest in ("", "/metadata")),
        *(f"{one}{rest}" for rest in ("", "/metadata", "/frames/1", "/bulkdata/7FE00010")),
    ]
    lists = ["/studies", "/series", "/instances", f"/studies/{STUDY}/series", f"{series}/instances"]
    return {**dict.fromkeys(retrievals, "r"), **dict.fromkeys(lists, "s")}


@pytest.mark.parametrize(
    ("scope", "letters"),
    [
        ("", ""),
        ("user/*.rs", "rs"),
        ("system/ImagingStudy.r", "r"),
        ("system/ImagingStudy.s", "s"),
        ("patient/ImagingStudy.read", "rs"),
        ("patient/ImagingStudy.read?x=y", ""),
        ("system/Patient.rs", ""),
        ("user/ImagingStudy.c", ""),
    ],
)
def test_scopes(
    bridge: Bridge, held: Sequence[Instance], patient: str, issuer: Issuer, scope: str, letters: str
) -> None:
    """Retrieval needs r and search s; else 403 with a reason and a challenge."""
    headers = issuer.bearer(scope, patient=patient)
    for path, letter in paths(held[0]).items():
        answer = requests.get(bridge.url + path, headers=headers, timeout=10)
        assert answer.status_code == (200 if letter in letters else 403), path
        if letter not in letters:
            assert "insufficient_scope" in answer.headers["WWW-Authenticate"]
            assert answer.json()["status"] == 403


def test_another_patient(bridge: Bridge, held: Sequence[Instance], patient: str, issuer: Issuer) -> None:
    """Whatever names the study is 403, by GET and HEAD; lists of everything are empty."""
    assert patient
    headers = issuer.bearer("patient/*.*", patient="another")
    for path in (*paths(held[0]), f"/studies/{STUDY}/instances", f"/studies?StudyInstanceUID={STUDY}"):
        url = bridge.url + path
        expected = 204 if path in ("/studies", "/series", "/instances") else 403
        assert requests.get(url, headers=headers, timeout=10).status_code == expected, path
        if expected == 403 and "?" not in path:
            assert requests.head(url, headers=headers, timeout=10).status_code == 403
    assert requests.get(f"{bridge.url}/studies?PatientID=SYN-1", headers=headers, timeout=10).content == b""
    assert requests.get(f"{bridge.url}/studies/1.2.3", headers=headers, timeout=10).status_code == 403


def test_one_study_among_a_patients_own(
    bridge: Bridge, held: Sequence[Instance], patient: str, issuer: Issuer
) -> None:
    """Conditions on top of the confinement still hold."""
    headers = issuer.bearer("patient/*.rs", patient=patient)
    for query, status in (("", 200), (f"?StudyInstanceUID={STUDY}", 200), ("?PatientID=x", 204)):
        answer = requests.get(f"{bridge.url}/studies{query}", headers=headers, timeout=10)
        assert answer.status_code == status
    assert held


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (None, 401),
        ("system/*.rs", 403),
        ("patient/ImagingStudy.cruds", 403),
        ("patient/*.write", 403),
        ("system/ImagingStudy.c", 501),
        ("user/ImagingStudy.write", 501),
    ],
)
def test_storing(bridge: Bridge, patient: str, issuer: Issuer, scope: str | None, status: int) -> None:
    """Storing needs c, and is not for tokens of one patient; here nothing is stored by anybody (501)."""
    headers = {} if scope is None else issuer.bearer(scope, patient=patient)
    for path in ("/studies", f"/studies/{STUDY}"):
        answer = requests.post(bridge.url + path, data=b"", headers=headers, timeout=10)
        assert answer.status_code == status
        assert answer.json()["status"] == status


def test_a_study_that_is_not_published_is_nobodys(
    bridge: Bridge, held: Sequence[Instance], issuer: Issuer
) -> None:
    """Until it is known whose it is, one patient's token has nothing of it."""
    assert held
    headers = issuer.bearer("patient/*.rs", patient="p")
    assert requests.get(bridge.study(), headers=headers, timeout=10).status_code == 403
