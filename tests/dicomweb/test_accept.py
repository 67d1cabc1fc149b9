"""Accept negotiation."""

from collections.abc import Set as AbstractSet

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.dicomweb.accept import Offer, media_ranges, negotiate
from pacsbridge.errors import NotAcceptable

EXPLICIT = "1.2.840.10008.1.2.1"
JPEG = "1.2.840.10008.1.2.4.50"
SINGLE = Offer("application/dicom")
RELATED = Offer("multipart/related", "application/dicom")
JSON = Offer("application/dicom+json")
BOTH = {EXPLICIT, JPEG}

TABLE = [
    ("", RELATED, BOTH),
    ("*/*", RELATED, BOTH),
    ("text/html, application/xml;q=0.9, */*;q=0.8", RELATED, BOTH),
    ('multipart/related; type="application/dicom"', RELATED, BOTH),
    ("multipart/related; type=application/dicom", RELATED, BOTH),
    ('multipart/related;TYPE="Application/DICOM";transfer-syntax=*', RELATED, BOTH),
    ('Multipart/Related; type="application/dicom"; transfer-syntax="*"', RELATED, BOTH),
    ("multipart/related", RELATED, BOTH),
    ("multipart/*", RELATED, BOTH),
    ("application/dicom", SINGLE, BOTH),
    ("application/*", SINGLE, BOTH),
    ("application/dicom, */*;q=0.1", SINGLE, BOTH),
    ("application/dicom, */*", SINGLE, BOTH),
    ('application/dicom;q=0.2, multipart/related; type="application/dicom";q=0.1', SINGLE, BOTH),
    (f'multipart/related; type="application/dicom"; transfer-syntax={JPEG}', RELATED, {JPEG}),
    (f"application/dicom; transfer-syntax={JPEG}, multipart/related;q=0.5", SINGLE, {JPEG}),
    (f'multipart/related; type="application/dicom"; transfer-syntax={JPEG};q=0, */*', RELATED, {EXPLICIT}),
    (
        f"*/*;q=0, multipart/related; transfer-syntax={JPEG}, */*; transfer-syntax={EXPLICIT};q=0.5",
        RELATED,
        BOTH,
    ),
    ("application/dicom;q=nonsense, multipart/related", RELATED, BOTH),
    ('image/jpeg;a="x,y;z", application/dicom', SINGLE, BOTH),
    ('a="\\"b,c", application/dicom', SINGLE, BOTH),
]


@pytest.mark.parametrize(("header", "offer", "syntaxes"), TABLE)
def test_negotiation(header: str, offer: Offer, syntaxes: AbstractSet[str]) -> None:
    """The offer and the transfer syntaxes that an instance resource answers with."""
    choice = negotiate(header, (RELATED, SINGLE), BOTH)
    assert choice.offer == offer
    assert choice.syntaxes == syntaxes


@pytest.mark.parametrize(
    "header",
    [
        "image/jpeg",
        "application/zip",
        'multipart/related; type="application/dicom+xml"',
        'multipart/related; type="application/octet-stream"; transfer-syntax=*',
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90",
        "*/*;q=0",
        "nonsense",
        ";;;",
        "application/dicom;q=0",
    ],
)
def test_not_acceptable(header: str) -> None:
    """What nothing fits is refused, with a reason that says what there is."""
    with pytest.raises(NotAcceptable, match=r"application/dicom.*1\.2\.840"):
        negotiate(header, (RELATED, SINGLE), BOTH)


def test_single_is_not_offered_for_a_study() -> None:
    """A study is never one `application/dicom`."""
    with pytest.raises(NotAcceptable):
        negotiate("application/dicom", (RELATED,), BOTH)


def test_json_has_no_transfer_syntax() -> None:
    """A transfer syntax that a client names for JSON does not matter."""
    assert negotiate("application/dicom+json; transfer-syntax=1.2.3", (JSON,), ("*",)).offer == JSON


@given(st.text(max_size=200) | st.text(alphabet='ad/*;,=q."\\ 01+-', max_size=60))
def test_reading_is_total(header: str) -> None:
    """Any text is read; qualities lie between 0 and 1 and names are in lower case."""
    for found in media_ranges(header):
        assert 0 <= found.quality <= 1
        assert found.type == found.type.lower() and "/" in found.type


@given(st.text(max_size=100))
def test_negotiation_answers_or_refuses(header: str) -> None:
    """Whatever the header: an answer in stored transfer syntaxes, or NotAcceptable."""
    try:
        choice = negotiate(header, (RELATED, SINGLE), BOTH)
    except NotAcceptable:
        return
    assert choice.syntaxes and choice.syntaxes <= BOTH


def test_long_headers_take_no_longer_than_their_length() -> None:
    """Unclosed quotes and many separators are read once, not over and over (a time-out would tell)."""
    for header in ('"' * 8_000, "a/b;" * 2_000, ',"' * 4_000, '"\\' * 4_000):
        assert media_ranges(header) is not None
