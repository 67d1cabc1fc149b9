"""Errors and their answers."""

import re
from collections.abc import Iterator, Sequence

import pytest
import requests

from pacsbridge import errors
from pacsbridge.dicomweb.app import PICTURES
from pacsbridge.dicomweb.faults import STATUS

from .conftest import STUDY, Bridge, Instance


def tree(error: type[errors.PacsbridgeError]) -> Iterator[type[errors.PacsbridgeError]]:
    """An error class and all below it."""
    yield error
    for child in error.__subclasses__():
        yield from tree(child)


def answered(response: requests.Response, status: int) -> str:
    """The reason in an error's body, which repeats its status."""
    assert response.status_code == status
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    body = response.json()
    assert body["status"] == status
    return str(body["reason"])


def test_every_error_has_a_status() -> None:
    """The table names every error that pacsbridge raises, not only their common ancestors."""
    own = [error for error in tree(errors.PacsbridgeError) if error.__module__ == errors.__name__]
    assert set(own) == set(STATUS)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize(
    "rest", [(), ("series", "1.2"), ("series", "1.2", "instances", "1.2"), ("metadata",)]
)
def test_unknown_is_404(bridge: Bridge, rest: tuple[str, ...]) -> None:
    """What is not held is not found, on every level."""
    assert "no such" in answered(requests.get(bridge.study(*rest), timeout=30), 404)


@pytest.mark.parametrize(
    "uid", ["abc", "1..2", ".1", "1.2.", "1." + "2" * 64, "1.2%0a", "..%2f..%2fetc", "\uff11.\uff12"]
)
def test_malformed_uid_is_400(bridge: Bridge, uid: str) -> None:
    """What is no UID never reaches the store, nor the error's text."""
    reason = answered(requests.get(f"{bridge.url}/studies/{STUDY}/series/{uid}", timeout=30), 400)
    assert "series" in reason and uid not in reason


def test_not_acceptable_is_406(bridge: Bridge, held: Sequence[Instance]) -> None:
    """A study is not available as a single file or as an archive; XML metadata is not made."""
    for accept in ("application/dicom", "application/zip", "garbage"):
        answered(requests.get(bridge.study(), headers={"Accept": accept}, timeout=30), 406)
    xml = {"Accept": 'multipart/related; type="application/dicom+xml"'}
    assert "dicom+json" in answered(requests.get(bridge.study("metadata"), headers=xml, timeout=30), 406)


@pytest.mark.parametrize("path", PICTURES)
def test_pictures_are_off_by_default(bridge: Bridge, path: str) -> None:
    """Whoever asks for a picture is told which key is off."""
    filled = re.sub(r"{\w+}", "1", path)
    assert "dicomweb.render" in answered(requests.get(bridge.url + filled, timeout=30), 501)


def test_wrong_method_and_path(bridge: Bridge) -> None:
    """Methods and paths that do not exist are answered in the same form."""
    response = requests.delete(bridge.study(), timeout=30)
    answered(response, 405)
    assert "GET" in response.headers["Allow"]
    answered(requests.get(bridge.url + "/nowhere", timeout=30), 404)
    answered(requests.get(bridge.url, timeout=30), 404)


def test_discarded_is_410(bridge: Bridge) -> None:
    """An instance whose bytes have been discarded is gone."""
    instance = bridge.hold("1")
    bridge.packs.discard(bridge.store.held(STUDY)[0].location)
    answered(requests.get(bridge.instance(instance), timeout=30), 410)


def test_store_away_is_503(bridge: Bridge, held: Sequence[Instance], monkeypatch: pytest.MonkeyPatch) -> None:
    """Trouble that passes asks the client to come back; the reason is passed on."""

    def away(*_uids: str) -> Sequence[object]:
        raise errors.Unavailable("the index is away")

    monkeypatch.setattr(bridge.store, "held", away)
    response = requests.get(bridge.study(), timeout=30)
    assert answered(response, 503) == "the index is away"
    assert int(response.headers["Retry-After"]) > 0


def test_a_fault_of_ours_is_500_and_tells_nothing(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text of an unexpected exception may hold patient data: it goes nowhere."""

    def broken(*_uids: str) -> Sequence[object]:
        raise RuntimeError("Synthetic^Canary")

    monkeypatch.setattr(bridge.store, "held", broken)
    assert answered(requests.get(bridge.study(), timeout=30), 500) == "internal error"
