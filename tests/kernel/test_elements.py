"""Parts of resources: what a summary leaves out, what must stay, the tag that says that something is cut."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from r4_validation import assert_r4

from pacsbridge.kernel.audit import Event, Who
from pacsbridge.kernel.audit_resource import audit_event
from pacsbridge.kernel.elements import ELEMENTS, MANDATORY, needs_whole, part, summary
from pacsbridge.kernel.query import Form

Resource = Mapping[str, Any]

SUBSETTED = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
    "display": "subsetted",
}

APP = Who(client="app")
EVENT = Event("read", who=APP, server="http://x/fhir", patient="Patient/p1", resource="ImagingStudy/1.2")

STUDY: Resource = {
    "resourceType": "ImagingStudy",
    "id": "s1",
    "meta": {"versionId": "3", "lastUpdated": "2026-03-01T12:00:00.000Z", "source": "urn:dicom:ae:CT1"},
    "text": {"status": "generated", "div": "<div/>"},
    "contained": [{"resourceType": "Endpoint", "id": "e", "status": "active"}],
    "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}],
    "status": "available",
    "subject": {"reference": "Patient/p1"},
    "started": "2024-02-29",
    "endpoint": [{"reference": "#e"}],
    "numberOfInstances": 1,
    "series": [
        {"uid": "1.2.1", "modality": {"code": "CT"}, "instance": [{"uid": "1.2.1.1"}]},
        {"uid": "1.2.2", "modality": {"code": "SR"}},
    ],
}


def elements_of(resource: Resource) -> set[str]:
    """The elements beside those that are always there."""
    return set(resource) - {"resourceType", "id", "meta"}


def test_a_summary_has_series_without_instances() -> None:
    """And no narrative; everything else is as it was, contained resources too."""
    found = summary(STUDY)
    assert found["series"] == [
        {"uid": "1.2.1", "modality": {"code": "CT"}},
        {"uid": "1.2.2", "modality": {"code": "SR"}},
    ]
    rest = elements_of(STUDY) - {"series", "text"}
    assert elements_of(found) == rest | {"series"}
    assert {name: found[name] for name in rest} == {name: STUDY[name] for name in rest}
    assert list(found)[:3] == ["resourceType", "id", "meta"]


def test_a_summary_changes_nothing() -> None:
    """The resource itself stays whole."""
    study = {**STUDY, "series": [{"uid": "1.2.1", "instance": [{"uid": "1.2.1.1"}]}]}
    summary(study)
    assert study["series"] == [{"uid": "1.2.1", "instance": [{"uid": "1.2.1.1"}]}]
    assert "tag" not in study["meta"]


@pytest.mark.parametrize("form", [Form.SUMMARY, Form.TEXT, Form.DATA])
def test_what_has_been_cut_says_so_once(form: Form) -> None:
    """The tag stands beside others, and a part of a summary has it once."""
    other = {"system": "urn:tags", "code": "synthetic"}
    tagged = {**STUDY, "meta": {**STUDY["meta"], "tag": [other]}}
    for resource in (tagged, summary(tagged), summary(summary(tagged))):
        found = part(resource, form, frozenset())
        assert found["meta"] == {**STUDY["meta"], "tag": [other, SUBSETTED]}


def test_a_resource_without_meta_is_tagged() -> None:
    """What has no meta has one afterwards."""
    assert summary({"resourceType": "Patient", "id": "p"})["meta"] == {"tag": [SUBSETTED]}


@pytest.mark.parametrize(
    ("form", "elements", "expected"),
    [
        (Form.TEXT, "", "text status subject"),
        (Form.DATA, "", "contained identifier status subject started endpoint numberOfInstances series"),
        (Form.SUMMARY, "", "contained identifier status subject started endpoint numberOfInstances series"),
        (Form.WHOLE, "started", "status subject started"),
        (Form.WHOLE, "identifier,note", "status subject identifier"),
        (Form.WHOLE, "endpoint", "status subject endpoint contained"),
        (Form.WHOLE, "contained", "status subject"),
        (Form.WHOLE, "id", "status subject"),
        (Form.WHOLE, "series,text", "status subject series text"),
        (Form.SUMMARY, "started", "status subject started"),
    ],
)
def test_the_part_that_is_asked_for(form: Form, elements: str, expected: str) -> None:
    """Each form, and elements by name: with what R4 demands, and what kept references name."""
    found = part(STUDY, form, frozenset(filter(None, elements.split(","))))
    assert elements_of(found) == set(expected.split())
    assert found["meta"]["tag"] == [SUBSETTED]
    assert (found["resourceType"], found["id"], found["meta"]["versionId"]) == ("ImagingStudy", "s1", "3")


@pytest.mark.parametrize(
    ("type_", "form", "elements", "whole"),
    [
        ("ImagingStudy", Form.WHOLE, "", True),
        ("ImagingStudy", Form.DATA, "", True),
        ("ImagingStudy", Form.SUMMARY, "", False),
        ("ImagingStudy", Form.WHOLE, "series", True),
        ("ImagingStudy", Form.WHOLE, "started,status", False),
        ("ImagingStudy", Form.SUMMARY, "started", False),
        ("Patient", Form.WHOLE, "", True),
        ("Patient", Form.SUMMARY, "", False),
        ("Patient", Form.WHOLE, "name", False),
        ("Endpoint", Form.WHOLE, "address", False),
    ],
)
def test_what_needs_the_whole(type_: str, form: Form, elements: str, whole: bool) -> None:
    """A form without instances is made from the summary, which is read faster."""
    assert needs_whole(type_, form, frozenset(filter(None, elements.split(",")))) == whole


@pytest.mark.parametrize("type_", ELEMENTS)
def test_mandatory_elements_are_elements(type_: str) -> None:
    """The two tables agree."""
    assert MANDATORY[type_] < ELEMENTS[type_]


def test_every_published_element_can_be_asked_for(
    published_cases: Mapping[str, Sequence[Resource]],
) -> None:
    """What the golden cases become has no element that the table lacks, and every mandatory one."""
    for resources in published_cases.values():
        for resource in resources:
            type_ = resource["resourceType"]
            assert elements_of(resource) <= ELEMENTS[type_]
            assert set(resource) >= MANDATORY[type_]


@pytest.mark.parametrize("type_", ELEMENTS)
def test_every_part_is_legal(type_: str, published_cases: Mapping[str, Sequence[Resource]]) -> None:
    """Whatever form or element of whatever golden case: a legal resource, from whole and summary alike."""
    asked = [(form, frozenset[str]()) for form in (Form.SUMMARY, Form.DATA, Form.TEXT)]
    asked += [(Form.WHOLE, frozenset({name})) for name in sorted(ELEMENTS[type_])]
    resources = [one for some in published_cases.values() for one in some if one["resourceType"] == type_]
    resources += [audit_event(7, 1_700_000_000_000_000, EVENT)] if type_ == "AuditEvent" else []
    for resource in resources:
        parts = [part(resource, form, elements) for form, elements in asked]
        assert_r4(*parts)
        assert all(found["meta"]["tag"] == [SUBSETTED] for found in parts)
        cut = [(form, elements) for form, elements in asked if not needs_whole(type_, form, elements)]
        short = summary(resource)
        assert [part(short, *one) for one in cut] == [part(resource, *one) for one in cut]
    assert resources


@pytest.mark.parametrize("elements", ["series", "endpoint", "series,endpoint", "status"])
def test_what_is_contained_goes_with_what_names_it(elements: str) -> None:
    """A contained Endpoint is there where the study or a series of the part refers to it, and only there."""
    endpoint = {
        "resourceType": "Endpoint",
        "id": "e",
        "status": "active",
        "connectionType": {"code": "dicom-wado-rs"},
        "payloadType": [{"text": "DICOM"}],
        "address": "https://pacs.example/dicom-web",
    }
    series = {"uid": "1.2.1", "modality": {"code": "CT"}, "endpoint": [{"reference": "#e"}]}
    changed = {"contained": [endpoint], "numberOfSeries": 1, "series": [series]}
    study = {name: value for name, value in STUDY.items() if name != "text"} | changed
    study["numberOfInstances"] = 0
    assert_r4(study, summary(study))
    assert_r4(part(study, Form.WHOLE, frozenset(elements.split(","))))
