"""Parameters that shape a result, read by themselves, as a read and a history use them too."""

import pytest

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.elements import ELEMENTS
from pacsbridge.kernel.query import Form
from pacsbridge.kernel.search_results import CONTROLS, count, elements, form, is_control


@pytest.mark.parametrize(
    ("text", "found"),
    [("0", 0), ("7", 7), ("007", 7), ("100", 100), ("101", 100), ("9" * 9, 100), ("9" * 5000, 100)],
)
def test_a_count_has_a_maximum(text: str, found: int) -> None:
    """Whatever is asked for, no page is longer than allowed."""
    assert count(text, 100) == {"count": found}


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1.0", "ten", "²", "١", "1\n"])
def test_a_count_is_a_whole_number(text: str) -> None:
    """Of digits between 0 and 9, and nothing else."""
    with pytest.raises(NotUnderstood):
        count(text, 100)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("true", Form.SUMMARY),
        ("text", Form.TEXT),
        ("data", Form.DATA),
        ("count", Form.COUNT),
        ("false", Form.WHOLE),
    ],
)
def test_the_forms(text: str, found: Form) -> None:
    """R4's five."""
    assert form(text) is found


@pytest.mark.parametrize("text", ["", "True", "whole", "true,text", " true"])
def test_there_are_no_other_forms(text: str) -> None:
    """Codes are written as they are."""
    with pytest.raises(NotUnderstood):
        form(text)


@pytest.mark.parametrize("type_", ELEMENTS)
def test_every_element_can_be_named(type_: str) -> None:
    """All at once, one by one, and one twice."""
    assert elements(type_, ",".join(ELEMENTS[type_])) == ELEMENTS[type_]
    assert all(elements(type_, f"{name},{name}") == {name} for name in ELEMENTS[type_])


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("ImagingStudy", ""),
        ("ImagingStudy", "status,"),
        ("ImagingStudy", "birthDate"),
        ("ImagingStudy", "ImagingStudy.status"),
        ("ImagingStudy", "series.uid"),
        ("Patient", "status"),
        ("Patient", "deceased[x]"),
        ("Endpoint", "Address"),
    ],
)
def test_other_elements_are_refused(type_: str, text: str) -> None:
    """Those of other types, those further down, and what is none."""
    with pytest.raises(NotUnderstood):
        elements(type_, text)


def test_controls_are_told_from_parameters() -> None:
    """By their names without modifier."""
    assert all(map(is_control, CONTROLS))
    assert not any(map(is_control, ("status", "_id", "_include:iterate", "_format", "")))
