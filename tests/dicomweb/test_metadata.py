"""WADO-RS metadata over real HTTP."""

import io
from collections.abc import Sequence

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from .conftest import CT, Bridge, Instance


def test_metadata_is_the_header(bridge: Bridge, held: Sequence[Instance]) -> None:
    """Each instance's JSON equals its header; pixels are a link below the instance."""
    found = DICOMwebClient(bridge.url).retrieve_study_metadata(held[0].study)
    assert len(found) == len(held)
    for instance, document in zip(held, found, strict=True):
        uri = document.pop("7FE00010")["BulkDataURI"]
        assert uri == bridge.instance(instance, "bulkdata", "7FE00010")
        assert document.pop("00083002")["Value"] == ["1.2.840.10008.1.2.1"]
        original = pydicom.dcmread(io.BytesIO(instance.file), stop_before_pixels=True)
        assert pydicom.Dataset.from_json(document) == pydicom.Dataset.from_json(original.to_json_dict())


def test_levels_and_types(bridge: Bridge, held: Sequence[Instance]) -> None:
    """Metadata exists of a series and an instance, as application/json too for those who ask."""
    response = requests.get(bridge.study("series", held[0].series, "metadata"), timeout=30)
    assert response.headers["Content-Type"] == "application/dicom+json"
    assert [document["00080018"]["Value"] for document in response.json()] == [[held[0].sop], [held[1].sop]]
    accept = {"Accept": "application/json"}
    one = requests.get(bridge.instance(held[2], "metadata"), headers=accept, timeout=30)
    assert one.headers["Content-Type"] == "application/json"
    assert [document["00080018"]["Value"] for document in one.json()] == [[held[2].sop]]
    assert one.json()[0]["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Synthetic^Jürgen"}]}


def test_more_than_one_go(bridge: Bridge) -> None:
    """A long array keeps its order and its commas."""
    instances = [bridge.hold(str(number)) for number in range(1, 30)]
    found = requests.get(bridge.study("metadata"), timeout=30).json()
    assert [document["00080018"]["Value"][0] for document in found] == [one.sop for one in instances]


def test_head_and_304(bridge: Bridge, held: Sequence[Instance]) -> None:
    """HEAD has no body; a known entity tag is 304."""
    head = requests.head(bridge.study("metadata"), timeout=30)
    assert head.status_code == 200 and not head.content and head.headers["ETag"].startswith('W/"')
    again = requests.get(
        bridge.study("metadata"), headers={"If-None-Match": head.headers["ETag"]}, timeout=30
    )
    assert again.status_code == 304 and not again.content


def test_unreadable_header_is_not_passed_over(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance beyond the limits of reading keeps its place, with what the index knows."""
    from pacsbridge.dicomweb import metadata as module
    from pacsbridge.errors import TooLarge

    def refuse(*_arguments: object) -> dict[str, object]:
        raise TooLarge("too deep")

    instance = bridge.hold("1")
    monkeypatch.setattr(module, "describe", refuse)
    (document,) = requests.get(bridge.study("metadata"), timeout=30).json()
    assert document["00080018"]["Value"] == [instance.sop]
    assert document["00080016"]["Value"] == [CT]
