"""What the client takes: media types, formats, codings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import NotAcceptable
from pacsbridge.fhir.negotiation import media_type, qualities, takes_gzip

FHIR, PLAIN = "application/fhir+json", "application/json"


@pytest.mark.parametrize(
    ("accept", "format_", "chosen"),
    [
        ("", None, FHIR),
        ("*/*", None, FHIR),
        ("application/*", None, FHIR),
        (FHIR, None, FHIR),
        (PLAIN, None, PLAIN),
        (f"{PLAIN}, {FHIR}", None, FHIR),
        (f"{FHIR};q=0.5, {PLAIN}", None, PLAIN),
        (f"{FHIR}; fhirVersion=4.0", None, FHIR),
        (f"{FHIR};q=0, */*", None, PLAIN),
        ("application/fhir+xml, */*;q=0.1", None, FHIR),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", None, FHIR),
        ("APPLICATION/FHIR+JSON", None, FHIR),
        ("application/fhir+xml", "json", FHIR),
        ("", "application/fhir+json", FHIR),
        ("", "application/fhir json", FHIR),
        ("", "application/json; charset=utf-8", PLAIN),
        ("application/fhir+xml", None, None),
        ("text/html", None, None),
        ("*/*;q=0", None, None),
        (f"{FHIR}; fhirVersion=5.0", None, None),
        (FHIR, "xml", None),
        (FHIR, "", None),
        (FHIR, "turtle", None),
    ],
)
def test_the_media_type(accept: str, format_: str | None, chosen: str | None) -> None:
    """`_format` before Accept, quality before order; None: nothing acceptable."""
    if chosen is None:
        with pytest.raises(NotAcceptable):
            media_type(accept, format_)
    else:
        assert media_type(accept, format_) == chosen


@given(st.text(max_size=100))
def test_reading_a_header_is_total(header: str) -> None:
    """Any header has qualities from 0 to 1."""
    assert all(0 <= quality <= 1 for quality in qualities(header).values())


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("", False),
        ("gzip", True),
        ("br, gzip;q=0.1", True),
        ("*", True),
        ("gzip;q=0, *", False),
        ("br", False),
    ],
)
def test_gzip(header: str, taken: bool) -> None:
    """Named, or meant by the star, and not of quality 0."""
    assert takes_gzip(header) is taken


@pytest.mark.parametrize("path", ["/Patient/p1", "/Patient", "/metadata"])
def test_xml_is_not_acceptable(fhir: Any, path: str) -> None:
    """406, told in JSON, on every route, by header and by parameter."""
    for options in ({"headers": {"Accept": "application/fhir+xml"}}, {"params": {"_format": "xml"}}):
        response = fhir(path, **options)
        assert response.status_code == 406
        assert response.json()["issue"][0]["code"] == "not-supported"


def test_the_chosen_type_is_named(fhir: Any) -> None:
    """A client that asks for plain JSON gets it under that name."""
    response = fhir("/Patient/p1", headers={"Accept": "application/json"})
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
