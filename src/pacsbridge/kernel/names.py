"""Person names (PS3.5 6.2.1) → FHIR HumanName, and a readable text for references."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from pacsbridge.kernel.values import clean

_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_GROUPS = ("ABC", "IDE", "SYL")
"""Alphabetic, ideographic, phonetic: the codes of ISO 21090 in the order of the component groups."""


def human_names(text: str) -> dict[str, dict[str, Any]]:
    """The groups of a PN by their ISO 21090 code, each as HumanName; empty when nothing is named."""
    names = {}
    for representation, group in zip(_GROUPS, text.split("="), strict=False):
        if name := _human_name(_components(group)):
            names[representation] = name
    return names


def listed(names: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups as `Patient.name`: a lone alphabetic one as it is, else each with its representation."""
    if list(names) == ["ABC"]:
        return [dict(names["ABC"])]
    return [
        {"extension": [{"url": _REPRESENTATION, "valueCode": group}], **names[group]}
        for group in _GROUPS
        if group in names
    ]


@lru_cache(maxsize=1024)
def readable(text: str) -> str | None:
    """A PN as people write it, without carets: `Dr Jane M Doe Jr`; None when nothing is named."""
    alphabetic, *others = text.split("=")
    family, given, middle, prefix, suffix = _components(alphabetic)
    if named := " ".join(filter(None, (prefix, given, middle, family, suffix))):
        return named
    return next((written for group in others if (written := _written(group))), None)


def is_filling(text: str) -> bool:
    """Whether a PN has been filled in without naming anybody."""
    return bool(text.strip("^= ")) and readable(text) is None


def display(names: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Readable text of `human_names`; the alphabetic group where there is one."""
    if name := names.get("ABC"):
        parts = (*name.get("prefix", ()), *name.get("given", ()), name.get("family"), *name.get("suffix", ()))
        return " ".join(filter(None, parts))
    for name in names.values():
        return " ".join(filter(None, (name.get("family"), *name.get("given", ()))))
    return None


def _written(group: str) -> str:
    """Ideographic and phonetic names: family name first."""
    return " ".join(filter(None, _components(group)[:3]))


def _components(group: str) -> Sequence[str]:
    """Family, given, middle name, prefix, suffix: cleaned, empty where one lacks, no more than five.

    All are empty where there is no letter or digit in any script: `----` fills a field, it names nobody.
    """
    if not any(map(str.isalnum, group)):
        return [""] * 5
    parts = [clean(part) for part in group.split("^", 5)[:5]]
    return parts + [""] * (5 - len(parts))


def _human_name(components: Sequence[str]) -> dict[str, Any]:
    family, given, middle, prefix, suffix = components
    name: dict[str, Any] = {}
    if family:
        name["family"] = family
    if given or middle:
        name["given"] = [part for part in (given, middle) if part]
    if prefix:
        name["prefix"] = [prefix]
    if suffix:
        name["suffix"] = [suffix]
    return name
