"""An ImagingStudy in plain words: one table of labels and what stands for them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pacsbridge.web.reading import value_of_type
from pacsbridge.web.wording import started

Resource = Mapping[str, Any]

_NO_PICTURES = (
    "9.",
    "11.",
    "30",
    "66",
    "67",
    "68",
    "77.1.5.3",
    "78.",
    "79.",
    "88.",
    "104.",
    "481.2",
    "481.3",
    "481.5",
    "501.",
)
_STORAGE = "urn:oid:1.2.840.10008.5.1.4.1.1."


class Fact(NamedTuple):
    """A label and its words."""

    label: str
    words: str


def facts(study: Resource) -> Sequence[Fact]:
    """What is said of a study, without what it does not say."""
    found = (
        Fact(label, "; ".join(dict.fromkeys(filter(None, read(study))))) for label, read in _FACTS.items()
    )
    return [fact for fact in found if fact.words]


def _started(study: Resource) -> Iterator[str]:
    if "started" in study:
        yield started(study["started"])


def _accession(study: Resource) -> Iterator[str]:
    yield value_of_type(study, "ACSN")


def _of_codings(name: str) -> Callable[[Resource], Iterator[str]]:
    def read(study: Resource) -> Iterator[str]:
        return (_coding(one) for one in study.get(name, ()))

    return read


def _coding(coding: Resource) -> str:
    code, display = coding.get("code", ""), coding.get("display", "")
    return f"{display} ({code})" if code and display else code or display


def _of_concepts(name: str) -> Callable[[Resource], Iterator[str]]:
    def read(study: Resource) -> Iterator[str]:
        return (concept(one) for one in study.get(name, ()))

    return read


def concept(one: Resource) -> str:
    """A CodeableConcept: its text, with the codes that it has."""
    codes = ", ".join(coding.get("code", "") for coding in one.get("coding", ()))
    shown = one.get("text") or next((c["display"] for c in one.get("coding", ()) if "display" in c), "")
    return f"{shown} ({codes})" if shown and codes else shown or codes


def _of_references(name: str) -> Callable[[Resource], Iterator[str]]:
    def read(study: Resource) -> Iterator[str]:
        found = study.get(name, ())
        return (reference(one) for one in ([found] if isinstance(found, Mapping) else found))

    return read


def reference(one: Resource) -> str:
    """A Reference: its display, else its identifier, else where it leads."""
    return str(one.get("display") or one.get("identifier", {}).get("value") or one.get("reference", ""))


def _body_sites(study: Resource) -> Iterator[str]:
    return (_coding(one["bodySite"]) for one in study.get("series", ()) if "bodySite" in one)


def _performers(study: Resource) -> Iterator[str]:
    for series in study.get("series", ()):
        yield from (reference(one.get("actor", {})) for one in series.get("performer", ()))


def _notes(study: Resource) -> Iterator[str]:
    return (one.get("text", "") for one in study.get("note", ()))


_FACTS: Mapping[str, Callable[[Resource], Iterator[str]]] = {
    "Started": _started,
    "Accession number": _accession,
    "Modalities": _of_codings("modality"),
    "Procedure": _of_concepts("procedureCode"),
    "Body site": _body_sites,
    "Reason": _of_concepts("reasonCode"),
    "Requested as": _of_references("basedOn"),
    "Visit": _of_references("encounter"),
    "Referred by": _of_references("referrer"),
    "Read by": _of_references("interpreter"),
    "Performed by": _performers,
    "Place": _of_references("location"),
    "Procedure resource": _of_references("procedureReference"),
    "Reason resource": _of_references("reasonReference"),
    "Notes": _notes,
}
"""Label → the words for it, in the order of the page."""


def patient_facts(patient: Resource) -> Sequence[Fact]:
    """What is said of a patient."""
    identifiers = "; ".join(one.get("value", "") for one in patient.get("identifier", ()))
    names = "; ".join(name(one) for one in patient.get("name", ()))
    rows = (("Name", names), ("Identifiers", identifiers), ("Born", patient.get("birthDate", "")))
    found = (Fact(*row) for row in (*rows, ("Sex", patient.get("gender", ""))))
    return [fact for fact in found if fact.words]


def name(one: Resource) -> str:
    """A HumanName as it is written, else put together."""
    parts = (*one.get("prefix", ()), *one.get("given", ()), one.get("family", ""), *one.get("suffix", ()))
    return one.get("text") or " ".join(filter(None, parts))


def has_pictures(series: Resource) -> bool:
    """Whether a series has instances that can be shown: documents, states and waveforms cannot."""
    return any(_is_picture(one.get("sopClass", {}).get("code", "")) for one in series.get("instance", ()))


def _is_picture(sop_class: str) -> bool:
    if not sop_class.startswith(_STORAGE):
        return False
    return not sop_class.removeprefix(_STORAGE).startswith(_NO_PICTURES)
