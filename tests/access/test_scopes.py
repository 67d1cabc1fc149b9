"""Scopes of SMART 1 and 2, and what they grant; never more than they say."""

import pytest

from pacsbridge.access.rights import OPERATOR, Access, Right
from pacsbridge.access.scopes import NAMED, TYPES, granted, supported
from pacsbridge.errors import Forbidden


def letters(scopes: str, *, own: bool = False) -> dict[str, str]:
    """Type → letters that are granted."""
    rights = granted(scopes).own if own else granted(scopes).everywhere
    return {type_: "".join(c for c in "cruds" if Right(type_, c) in rights) for type_ in TYPES}


def every(which: str) -> dict[str, str]:
    """The same for all types."""
    return dict.fromkeys(TYPES, which)


NONE = every("")


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("system/*.read", every("rs")),
        ("user/*.write", every("cud")),
        ("system/*.*", every("cruds")),
        ("system/*.cruds", every("cruds")),
        ("user/Patient.r", NONE | {"Patient": "r"}),
        ("system/ImagingStudy.rs", NONE | {"ImagingStudy": "rs"}),
        ("user/ImagingStudy.s user/ImagingStudy.r", NONE | {"ImagingStudy": "rs"}),
        ("system/ImagingStudy.sr", NONE),
        ("system/ImagingStudy.", NONE),
        ("system/ImagingStudy.rs?status=available", NONE),
        ("user/*.rs?_tag=x", NONE),
        ("system/imagingstudy.rs", NONE),
        ("System/*.rs", NONE),
        ("system/Observation.rs", NONE),
        ("*/*.*", NONE),
        ("system/*.read\tuser/Patient.c", every("rs") | {"Patient": "crs"}),
        ("openid fhirUser launch/patient offline_access", NONE),
        ("patient/*.*", NONE),
        ("", NONE),
    ],
)
def test_rights_everywhere(scope: str, expected: dict[str, str]) -> None:
    """Both versions are read; what is malformed, narrower or of another type grants nothing."""
    assert letters(scope) == expected


def test_rights_for_one_patient_are_kept_apart() -> None:
    """A scope for the patient grants nothing beyond."""
    assert letters("patient/ImagingStudy.read user/Endpoint.rs", own=True) == NONE | {"ImagingStudy": "rs"}
    assert letters("patient/ImagingStudy.read user/Endpoint.rs") == NONE | {"Endpoint": "rs"}


@pytest.mark.parametrize(
    ("scope", "named"),
    [
        ("system/*.cruds", ""),
        ("user/*.read patient/*.*", ""),
        ("system/AuditEvent.rs", "rs"),
        ("user/AuditEvent.read", "rs"),
        ("patient/AuditEvent.rs", ""),
    ],
)
def test_the_audit_log_has_to_be_named(scope: str, named: str) -> None:
    """A star does not reach it."""
    found = {right.letter for right in granted(scope).everywhere if right.type == NAMED}
    assert found == set(named)


@pytest.mark.parametrize(
    ("scope", "operator"),
    [
        ("system/*.read", True),
        ("system/*.rs", True),
        ("pacsbridge/metrics", True),
        ("user/*.rs", False),
        ("system/*.s", False),
        ("system/Patient.rs", False),
        ("patient/*.rs", False),
    ],
)
def test_operators(scope: str, operator: bool) -> None:
    """Metrics are for systems that may read everything, and for a scope of their own."""
    assert (OPERATOR in granted(scope).everywhere) is operator


def test_what_is_offered_is_understood() -> None:
    """Each scope that is told to apps grants something."""
    for scope in supported():
        found = granted(scope)
        assert found.everywhere or found.own, scope


STUDY, PERSON = Right("ImagingStudy", "s"), Right("Patient", "s")


@pytest.mark.parametrize(
    ("scope", "wanted", "reach"),
    [
        ("user/*.rs", (STUDY, PERSON), None),
        ("patient/*.rs", (STUDY, PERSON), "Patient/1"),
        ("user/ImagingStudy.rs patient/Patient.rs", (STUDY,), None),
        ("user/ImagingStudy.rs patient/Patient.rs", (STUDY, PERSON), "Patient/1"),
    ],
)
def test_how_far_rights_reach(scope: str, wanted: tuple[Right, ...], reach: str | None) -> None:
    """An interaction is confined as soon as one of its rights is."""
    assert Access(*granted(scope), patient="Patient/1").reach(wanted) == reach


@pytest.mark.parametrize("scope", ["", "user/ImagingStudy.r", "patient/Patient.rs", "user/ImagingStudy.cud"])
def test_a_right_that_is_missing(scope: str) -> None:
    """Forbidden, with the scope that would do."""
    with pytest.raises(Forbidden) as caught:
        Access(*granted(scope), patient="Patient/1").reach((STUDY, PERSON))
    assert 'error="insufficient_scope"' in caught.value.challenge
