"""Code sequence items (PS3.3 8.8) → Coding and CodeableConcept."""

from collections.abc import Sequence
from typing import Any

from pacsbridge.kernel import codes
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.scope import Scope
from pacsbridge.kernel.terminology import Coding

Concept = dict[str, Any]


def code_value(item: Attributes, scope: Scope) -> str:
    """The code of an item, whichever of the three elements carries it; empty when none does."""
    return (
        scope.text(item, "CodeValue") or scope.text(item, "LongCodeValue") or scope.text(item, "URNCodeValue")
    )


def coding(item: Attributes, scope: Scope) -> Coding | None:
    """An item as Coding; the meaning alone as `display` where the code can't be told. None when empty."""
    found = codes.coding(
        code_value(item, scope),
        scope.text(item, "CodingSchemeDesignator"),
        meaning(item, scope),
        scheme_uid=_scheme_uid(item, scope),
        local=scope.context.coding_systems,
    )
    if found is None and (text := meaning(item, scope)):
        return {"display": text}
    return found


def concept(item: Attributes, scope: Scope) -> Concept | None:
    """An item as CodeableConcept, the meaning as `text`; None when empty."""
    return codes.concept(
        code_value(item, scope),
        scope.text(item, "CodingSchemeDesignator"),
        meaning(item, scope),
        scheme_uid=_scheme_uid(item, scope),
        local=scope.context.coding_systems,
    )


def concepts(items: Sequence[Attributes], scope: Scope) -> list[Concept]:
    """Items as concepts, without those that say nothing."""
    return [one for item in items if (one := concept(item, scope))]


def with_text(coded: Sequence[Concept], text: str | None) -> list[Concept]:
    """Concepts and a free text beside them.

    The text belongs to a lone code and becomes its `text`; beside several it is a concept of its own.
    """
    if not text:
        return list(coded)
    if len(coded) == 1:
        return [{**coded[0], "text": text}]
    return [*coded, {"text": text}]


def meaning(item: Attributes, scope: Scope) -> str:
    """Code Meaning (0008,0104)."""
    return scope.text(item, "CodeMeaning")


def system(item: Attributes, scope: Scope) -> str | None:
    """The system of an item's scheme; None when it can't be told."""
    return codes.coding_system(
        scope.text(item, "CodingSchemeDesignator"),
        scheme_uid=_scheme_uid(item, scope),
        local=scope.context.coding_systems,
    )


def _scheme_uid(item: Attributes, scope: Scope) -> str | None:
    """The scheme's UID as the item gives it, else as (0008,0110) of the root does for the designator."""
    if "CodingSchemeUID" in item:
        return scope.text(item, "CodingSchemeUID")
    if "CodingSchemeIdentificationSequence" not in scope.root:
        return None
    designator = scope.text(item, "CodingSchemeDesignator")
    for scheme in scope.items(scope.root, "CodingSchemeIdentificationSequence"):
        if designator and scope.text(scheme, "CodingSchemeDesignator") == designator:
            return scope.text(scheme, "CodingSchemeUID") or None
    return None
