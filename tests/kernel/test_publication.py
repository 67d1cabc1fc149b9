"""What the configuration adds to resources, and what it may not."""

from typing import Any

import pytest
from r4_validation import assert_r4

from pacsbridge.errors import Misconfigured
from pacsbridge.kernel.endpoints import contained, endpoint, references
from pacsbridge.kernel.publication import EndpointSpec, Publication, expand
from pacsbridge.kernel.terminology import CONNECTION_TYPES

VIEWER = EndpointSpec("https://v.example/view?s={study_uid}", "ihe-iid")


@pytest.mark.parametrize(
    "values",
    [
        {"address": "pacs.example/dicom-web"}, {"address": "ftp://pacs.example/"},
        {"address": "https://a b/"},
        {"address": "https://user:secret@pacs.example/dicom-web"}, {"address": "https:///x"},
        {"address": "https://p.example/{patient}"},
        {"address": "https://p.example", "connection_type": "dimse"},
        {"address": "https://p.example", "status": "on"},
        {"address": "https://p.example", "payload_type": " "},
    ],
)  # fmt: skip
def test_an_endpoint_that_r4_or_prudence_forbids_is_refused(values: dict[str, Any]) -> None:
    """No other schemes, no credentials, no unknown codes or placeholders."""
    with pytest.raises(Misconfigured, match="endpoint: ") as refused:
        EndpointSpec(**values)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["https://p.example/w", "https://p.example/w/", "https://p.example/w/studies/"]
)
def test_a_dicomweb_address_is_its_base(address: str) -> None:
    """No trailing slash, no /studies: three spellings are one endpoint."""
    assert EndpointSpec(address).address == "https://p.example/w"
    assert EndpointSpec(address).id == EndpointSpec("https://p.example/w").id


@pytest.mark.parametrize("connection_type", CONNECTION_TYPES)
def test_every_connection_type_makes_a_legal_endpoint(connection_type: str) -> None:
    """With all that may be configured and with nothing of it."""
    spec = EndpointSpec("https://p.example/w", connection_type)
    full = EndpointSpec(
        "https://p.example/w", connection_type, "PACS\x00", "off", "any", ("a/b",), "Hospital"
    )
    assert_r4(endpoint(spec), endpoint(full))
    assert endpoint(full)["name"] == "PACS"


def test_wado_lists_what_is_served() -> None:
    """Bulk data is not: a client that asks for it gets 406."""
    assert EndpointSpec("https://p.example").mime_types == ("application/dicom", "application/dicom+json")


def test_a_template_is_an_endpoint_of_the_study() -> None:
    """It is contained there, is no resource of its own, and needs a study UID."""
    publication = Publication(default_endpoints=(VIEWER, EndpointSpec("https://p.example")))
    assert [spec.is_template for spec in publication.all_endpoints()] == [False]
    assert contained([VIEWER], "1.2")[0]["address"] == "https://v.example/view?s=1.2"
    assert contained([VIEWER], None) == references([VIEWER], None) == []


def test_endpoints_of_sources() -> None:
    """Every endpoint of every source once, in an order that who wrote last doesn't change."""
    one, two, own = (EndpointSpec(f"https://{name}.example") for name in ("one", "two", "own"))
    publication = Publication(endpoints={"urn:a": (one, two), "urn:b": (two,)}, default_endpoints=(own,))
    assert publication.endpoints_of(["urn:b", "urn:a"]) == publication.endpoints_of(["urn:a", "urn:b"])
    assert publication.endpoints_of(["urn:b", "urn:a", "urn:c"]) == (one, two, own)
    assert publication.all_endpoints() == (own, one, two)


@pytest.mark.parametrize(
    "template",
    [
        "https://ehr.example/fhir/Procedure?identifier=urn:oid:{uid}", "https://ehr.example/Condition/{uid}",
        "Procedure/{uid}", "https://ehr.example/Procedure/{step}", "https://ehr.example/{uid}",
    ],
)  # fmt: skip
def test_a_look_up_is_a_literal_reference(template: str) -> None:
    """No search URL, no other type, no relative reference, no unknown placeholder."""
    with pytest.raises(Misconfigured, match="procedure_reference"):
        Publication(procedure_reference=template)


@pytest.mark.parametrize(
    "values",
    [
        {"id_form": "random"},
        {"patient_authority": "mpi"},
        {"reason_reference": "https://e.example/Patient/{uid}"},
    ],
)
def test_a_publication_that_cannot_be_used_is_refused(values: dict[str, str]) -> None:
    """The message names the key."""
    with pytest.raises(Misconfigured, match=next(iter(values))):
        Publication(**values)  # type: ignore[arg-type]


def test_nothing_but_an_id_goes_into_a_template() -> None:
    """Text of a header never shapes a URL."""
    template = "https://e.example/Condition/{accession}"
    assert expand(template, {"accession": "A.1-b"}) == "https://e.example/Condition/A.1-b"
    for text in ("a/b", "a b", "..%2f", "", None, "x" * 65, "{uid}"):
        assert expand(template, {"accession": text}) is None
