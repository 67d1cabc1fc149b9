"""Logical ids, issuers and what a source's configuration adds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacsbridge.errors import Misconfigured
from pacsbridge.kernel import identity
from pacsbridge.kernel.identity import Context, Issuer
from pacsbridge.kernel.values import is_id, is_uri

TEXT = st.text(st.characters(exclude_categories=()))


@given(TEXT, st.binary())
def test_every_id_is_legal_and_the_same_again(text: str, key: bytes) -> None:
    """Whatever is named, its id is legal and a function of it alone."""
    for id_ in (
        identity.study_id(text, key),
        identity.study_id(text, key, "hash"),
        identity.patient_id(text, key),
        identity.order_id({"value": text}, key),
    ):
        assert is_id(id_)
    assert identity.patient_id(text, key) == identity.patient_id(text, key)


def test_ids_depend_on_the_key_and_on_what_they_name() -> None:
    """Another key or another kind of thing gives another id."""
    found = {
        identity.study_id("1.2", b"a", "hash"),
        identity.study_id("1.2", b"b", "hash"),
        identity.patient_id("1.2", b"a"),
        identity.order_id({"value": "1.2"}, b"a"),
        identity.order_id({"value": "1.2", "system": "urn:oid:1"}, b"a"),
    }
    assert len(found) == 5


@given(TEXT, TEXT, TEXT, TEXT)
def test_patients_of_two_issuers_are_told_apart(one: str, other: str, number: str, another: str) -> None:
    """Two keys are the same only for the same issuer and number."""
    same = (one or "", number) == (other or "", another)
    first = identity.patient_key(number, Issuer(None, one))
    assert (first == identity.patient_key(another, Issuer(None, other))) is same


def test_a_key_without_issuer_names_the_same_patient() -> None:
    """A header that lacks the issuer doesn't name another patient; one that names another number does."""
    known = identity.patient_key("7", Issuer("urn:oid:1.2"))
    assert identity.names_same_patient(identity.patient_key("7", Issuer()), known)
    assert not identity.names_same_patient(identity.patient_key("8", Issuer()), known)
    assert not identity.names_same_patient(identity.patient_key("7", Issuer("urn:oid:1.3")), known)


@given(TEXT, TEXT, st.sampled_from(["ISO", "URI", "URL", "UUID", "DNS", "X500", "", "uuid"]))
def test_every_system_of_an_issuer_is_a_uri(namespace: str, universal: str, type_: str) -> None:
    """Whatever a header says, a system is a URI or there is none."""
    found = identity.issuer(namespace, universal, type_, {}, None)
    assert found.system is None or is_uri(found.system)


def test_ae_titles_become_uris() -> None:
    """Titles with spaces and signs stay apart."""
    assert identity.source_uri(" CT 1/A ") == "urn:dicom:ae:CT%201%2FA"
    assert is_uri(identity.source_uri("ä"))


@pytest.mark.parametrize(
    "values",
    [
        {"patient_systems": {"A": "HOSP A"}}, {"accession_systems": {"A": ""}},
        {"coding_systems": {"99X": "x"}},
        {"patient_system": "not a uri"}, {"accession_system": "1.2.3"}, {"study_id_system": "here"},
    ],
)  # fmt: skip
def test_a_system_that_is_no_uri_is_refused(values: dict[str, object]) -> None:
    """The configuration's systems are checked where they come in."""
    with pytest.raises(Misconfigured, match=next(iter(values))):
        Context(**values)  # type: ignore[arg-type]
