"""The fields of the page that finds studies → parameters of a FHIR search of ImagingStudy, by one table."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pacsbridge.errors import NotUnderstood
from pacsbridge.kernel.cursors import Order
from pacsbridge.kernel.query import study_order
from pacsbridge.kernel.query_parsing import CURSOR
from pacsbridge.web.forms import Pairs

SORT = "sort"

_BREAKS = re.compile(r"[\s,^=]+")
_SPECIAL = re.compile(r"([\\$,|])")
_UID = re.compile(r"(?:urn:oid:)?([0-9]+(?:\.[0-9]+)*)")
_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?|\d{8}")
_MODALITY = re.compile(r"[A-Z0-9_ ,]+")


class Field(NamedTuple):
    """One field: what people call it, the FHIR parameters that a text in it becomes.

    `shared`: it may stand in a URL, as it says nothing of a patient.
    """

    label: str
    read: Callable[[str], Iterator[tuple[str, str]]]
    shared: bool = True


def _escaped(text: str) -> str:
    """A value in which nothing is a separator (FHIR R4 search, "escaping search parameters")."""
    return _SPECIAL.sub(r"\\\1", text)


def _name(text: str) -> Iterator[tuple[str, str]]:
    """Each word begins some part of the name."""
    yield from (("patient.name", _escaped(word)) for word in _BREAKS.split(text) if word)


def _value_of(parameter: str) -> Callable[[str], Iterator[tuple[str, str]]]:
    def read(text: str) -> Iterator[tuple[str, str]]:
        yield parameter, _escaped(text)

    return read


def _uid(text: str) -> Iterator[tuple[str, str]]:
    found = _UID.fullmatch(text)
    if found is None:
        raise NotUnderstood("digits and dots, as in 1.2.840.1")
    yield "identifier", f"urn:dicom:uid|urn:oid:{found[1]}"


def _modality(text: str) -> Iterator[tuple[str, str]]:
    codes = text.upper()
    if not _MODALITY.fullmatch(codes):
        raise NotUnderstood("codes as in CT or CT, MR")
    yield "modality", ",".join(code for code in _BREAKS.split(codes) if code)


def _day(prefix: str) -> Callable[[str], Iterator[tuple[str, str]]]:
    def read(text: str) -> Iterator[tuple[str, str]]:
        if not _DATE.fullmatch(text):
            raise NotUnderstood("a day as in 2024-03-11")
        yield "started", prefix + (f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 else text)

    return read


FIELDS: Mapping[str, Field] = {
    "name": Field("Patient's name", _name, shared=False),
    "id": Field("Patient ID", _value_of("patient.identifier"), shared=False),
    "accession": Field("Accession number", _value_of("identifier"), shared=False),
    "uid": Field("Study Instance UID", _uid),
    "modality": Field("Modality", _modality),
    "from": Field("From", _day("ge")),
    "to": Field("To", _day("le")),
    "source": Field("Source", _value_of("_source")),
    "status": Field("Status", _value_of("status")),
}
"""Name of a field → what it means, in the order of the page."""

SORTS: Mapping[str, str] = {
    "-started": "the newest first",
    "started": "the oldest first",
    "patient": "by family name, A to Z",
    "-patient": "by family name, Z to A",
    "modality": "by modality, A to Z",
    "-modality": "by modality, Z to A",
    "-series": "the most series first",
    "series": "the fewest series first",
    "-instances": "the most instances first",
    "instances": "the fewest instances first",
    "accession": "by accession, rising",
    "-accession": "by accession, falling",
    "-_lastUpdated": "the last published first",
    "_lastUpdated": "the first published first",
}
"""Orders that pages can have → in words; the first of the two of a column is what its heading leads to."""

_OF_STUDIES: Mapping[str, str] = {
    "patient": "patient_name",
    "modality": "modalities",
    "series": "series",
    "instances": "instances",
    "accession": "accession",
}
"""Orders that FHIR's search has no parameter for → the field of the study that has them."""

DEFAULT = "-started"

_ALWAYS = (("_summary", "true"), ("_include", "ImagingStudy:endpoint"))


_PRIVATE = ("patient", "accession")
"""Orders in which a place in the list is a patient's name, or an accession number."""


class Asked(NamedTuple):
    """What was typed, by field; the order; the place in the result, empty at its beginning."""

    fields: Mapping[str, str]
    sort: str
    cursor: str

    @property
    def is_private(self) -> bool:
        """Whether a field, or the place in the list, says something of a patient: it must get into no URL."""
        if any(not FIELDS[name].shared for name in self.fields):
            return True
        return bool(self.cursor) and self.sort.removeprefix("-") in _PRIVATE

    @property
    def order(self) -> Order:
        """The order of studies where FHIR's search has none such, else empty."""
        field = _OF_STUDIES.get(self.sort.removeprefix("-"))
        return () if field is None else study_order(field, descends=self.sort.startswith("-"))

    def other(self, column: str) -> str:
        """The order that the heading of a column leads to."""
        first, second = (sort for sort in SORTS if sort.removeprefix("-") == column)
        return second if self.sort == first else first

    def turned(self, sort: str | None = None, cursor: str = "") -> Pairs:
        """The same in another order, or at another place, as pairs for a URL or a form."""
        order = sort or self.sort
        found = [*self.fields.items(), *([(SORT, order)] if order != DEFAULT else [])]
        return (*found, *([(CURSOR, cursor)] if cursor else []))


def read(pairs: Pairs) -> Asked:
    """What a URL or a form asks for. Raises NotUnderstood for an order that there is not."""
    given = dict(pairs)
    sort = given.get(SORT, DEFAULT)
    if sort not in SORTS:
        raise NotUnderstood("studies are not sorted by this", parameter=SORT)
    return Asked({name: given[name] for name in FIELDS if name in given}, sort, given.get(CURSOR, ""))


def parameters(asked: Asked) -> Pairs:
    """The parameters of the FHIR search. Raises NotUnderstood, whose `parameter` is the field."""
    found: list[tuple[str, str]] = []
    for name, text in asked.fields.items():
        try:
            found += FIELDS[name].read(text)
        except NotUnderstood as exc:
            raise NotUnderstood(str(exc), parameter=name) from exc
    order = () if asked.order else (("_sort", asked.sort),)
    return (*found, *order, *_ALWAYS, *(((CURSOR, asked.cursor),) if asked.cursor else ()))


def field_of(parameter: str | None, asked: Asked) -> str | None:
    """The field that a parameter of the search came from."""
    if parameter is None or parameter in FIELDS:
        return parameter
    return next(
        (name for name, text in asked.fields.items() if parameter in dict(FIELDS[name].read(text))), None
    )
