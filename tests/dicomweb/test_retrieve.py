"""WADO-RS retrieval over real HTTP, with requests and with dicomweb-client as a client written by others."""

import io
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from email.parser import BytesParser

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from .conftest import EXPLICIT, JPEG, Bridge, Instance

RELATED = 'multipart/related; type="application/dicom"'


def parts(response: requests.Response) -> list[tuple[dict[str, str], bytes]]:
    """Header fields and content of the parts of a multipart answer, by the standard library's MIME parser."""
    assert len(response.content) == int(response.headers["Content-Length"])
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + response.content)
    payloads = message.get_payload()
    assert isinstance(payloads, list)
    boundary = message.get_param("boundary")
    pieces = response.content.split(f"--{boundary}".encode())
    assert len(pieces) == len(payloads) + 2
    contents = [piece.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for piece in pieces[1:-1]]
    return [(dict(part.items()), content) for part, content in zip(payloads, contents, strict=True)]


def files(instances: Iterable[Instance]) -> list[bytes]:
    """The stored bytes, in a comparable order."""
    return sorted(instance.file for instance in instances)


def written(datasets: Iterable[pydicom.Dataset]) -> list[bytes]:
    """Data sets encoded again, as they were: the client has only decoded them."""
    return sorted(encoded(dataset) for dataset in datasets)


def encoded(dataset: pydicom.Dataset) -> bytes:
    """A data set in explicit VR little endian."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


def test_study_comes_whole(bridge: Bridge, held: Sequence[Instance]) -> None:
    """Every instance of a study is a part: its bytes as stored, its place, length and transfer syntax."""
    response = requests.get(bridge.study(), timeout=30)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(RELATED + "; boundary=")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    found = parts(response)
    assert [content for _, content in found] == [instance.file for instance in held]
    for instance, (fields, content) in zip(held, found, strict=True):
        assert fields["Content-Type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
        assert fields["Content-Length"] == str(len(content))
        assert fields["Content-Location"] == bridge.instance(instance)


def test_series_and_instance(bridge: Bridge, held: Sequence[Instance]) -> None:
    """A series has its own instances only, an instance only itself."""
    series = parts(requests.get(bridge.study("series", held[0].series), timeout=30))
    assert [content for _, content in series] == [held[0].file, held[1].file]
    instance = parts(requests.get(bridge.instance(held[1]), timeout=30))
    assert [content for _, content in instance] == [held[1].file]


def test_single_instance_as_a_file(bridge: Bridge, held: Sequence[Instance]) -> None:
    """Asked for `application/dicom`, an instance comes without multipart, to be saved under its UID."""
    for instance in held:
        response = requests.get(
            bridge.instance(instance), headers={"Accept": "application/dicom"}, timeout=30
        )  # fmt: skip
        assert response.content == instance.file
        assert response.headers["Content-Type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
        assert response.headers["Content-Disposition"] == f'attachment; filename="{instance.sop}.dcm"'


def test_dicomweb_client_agrees(bridge: Bridge, held: Sequence[Instance]) -> None:
    """The official client retrieves the same data sets, at once and streamed."""
    client = DICOMwebClient(bridge.url)
    expected = written(pydicom.dcmread(io.BytesIO(instance.file)) for instance in held)
    assert written(client.retrieve_study(held[0].study)) == expected
    assert written(client.iter_study(held[0].study)) == expected
    one = client.retrieve_instance(held[1].study, held[1].series, held[1].sop)
    assert one.PixelData == bytes(range(256)) * 20_000
    media_types = (("application/dicom", EXPLICIT),)
    series = client.retrieve_series(held[2].study, held[2].series, media_types=media_types)
    assert [dataset.SOPInstanceUID for dataset in series] == [held[2].sop]


def test_only_acceptable_transfer_syntaxes(bridge: Bridge, held: Sequence[Instance]) -> None:
    """What a client cannot take is left out with 206 and a warning; nothing left is 406."""
    jpeg = bridge.hold("3", syntax=JPEG)
    response = requests.get(
        bridge.study(), headers={"Accept": f"{RELATED}; transfer-syntax={JPEG}"}, timeout=30
    )  # fmt: skip
    assert response.status_code == 206
    assert [content for _, content in parts(response)] == [jpeg.file]
    assert (
        response.headers["Warning"].startswith("299 pacsbridge ") and "3 of 4" in response.headers["Warning"]
    )
    refused = requests.get(
        bridge.instance(jpeg), headers={"Accept": f"{RELATED}; transfer-syntax={EXPLICIT}"}, timeout=30
    )
    assert refused.status_code == 406 and JPEG in refused.json()["reason"]


@pytest.mark.parametrize("query", ["?accept=application/dicom", "?accept=application/dicom;q=0.5,image/jpeg"])
def test_accept_as_query_parameter(bridge: Bridge, held: Sequence[Instance], query: str) -> None:
    """The query parameter goes before the header (PS3.18 8.3.3.1)."""
    response = requests.get(bridge.instance(held[0]) + query, headers={"Accept": RELATED}, timeout=30)
    assert response.content == held[0].file


def test_several_accept_lines(bridge: Bridge, held: Sequence[Instance]) -> None:
    """Several Accept lines are one list."""
    accept = "image/jpeg, application/dicom"
    response = requests.get(bridge.instance(held[0]), headers={"Accept": accept}, timeout=30)
    assert response.content == held[0].file


def test_head_tells_the_length(bridge: Bridge, held: Sequence[Instance]) -> None:
    """HEAD answers what GET would, without its body."""
    got, head = requests.get(bridge.study(), timeout=30), requests.head(bridge.study(), timeout=30)
    assert head.status_code == 200 and not head.content
    for field in ("Content-Length", "Content-Type", "ETag", "Vary"):
        assert head.headers[field] == got.headers[field]


def test_unchanged_is_304(bridge: Bridge, held: Sequence[Instance]) -> None:
    """The entity tag holds until an instance is added, and differs between representations."""
    first = requests.get(bridge.instance(held[0]), timeout=30)
    tag = first.headers["ETag"]
    again = requests.get(bridge.instance(held[0]), headers={"If-None-Match": f'"other", {tag}'}, timeout=30)
    assert again.status_code == 304 and not again.content and again.headers["ETag"] == tag
    single = requests.get(
        bridge.instance(held[0]), headers={"If-None-Match": tag, "Accept": "application/dicom"}, timeout=30
    )
    assert single.status_code == 200 and single.headers["ETag"] != tag
    study = requests.get(bridge.study(), timeout=30).headers["ETag"]
    bridge.hold("9")
    assert requests.get(bridge.study(), headers={"If-None-Match": study}, timeout=30).status_code == 200


def test_same_content_same_bytes(bridge: Bridge, held: Sequence[Instance]) -> None:
    """A strong entity tag promises equal bytes: the boundary does not change from answer to answer."""
    first, second = requests.get(bridge.study(), timeout=30), requests.get(bridge.study(), timeout=30)
    assert first.content == second.content and first.headers["ETag"] == second.headers["ETag"]


def test_connection_stays_usable(bridge: Bridge, held: Sequence[Instance]) -> None:
    """Large and small answers follow each other on one connection."""
    with requests.Session() as session:
        for _ in range(3):
            for instance in held:
                response = session.get(
                    bridge.instance(instance), headers={"Accept": "application/dicom"}, timeout=30
                )
                assert response.content == instance.file


@pytest.mark.parametrize("rest", ["", "/metadata", "/frames/1"])
def test_bytes_of_another_instance(bridge: Bridge, rest: str) -> None:
    """Where a pack holds another instance than the index says, nobody is given the wrong patient's."""
    first, second = bridge.hold("7"), bridge.hold("8")
    with closing(sqlite3.connect(bridge.folder / "index.sqlite")) as index, index:
        [(other,)] = index.execute("SELECT location FROM instance WHERE uid = ?", [second.sop])
        index.execute("UPDATE instance SET location = ? WHERE uid = ?", [other, first.sop])
    answers = [requests.get(bridge.instance(one) + rest, timeout=30) for one in (first, second)]
    assert [one.status_code for one in answers] == [404, 200]
    assert "another instance" in answers[0].json()["reason"]
