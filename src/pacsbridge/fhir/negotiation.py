"""What form of answer the client takes: `_format` or Accept, `_pretty`, Accept-Encoding (RFC 9110 12.5)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from pacsbridge.errors import NotAcceptable, NotUnderstood

FHIR_JSON = "application/fhir+json"
_OFFERS = (FHIR_JSON, "application/json")
_FORMATS: Mapping[str, str] = {
    "json": FHIR_JSON,
    FHIR_JSON: FHIR_JSON,
    "application/fhir json": FHIR_JSON,  # a plus sign that the client forgot to encode
    "application/json": "application/json",
    "application/json+fhir": FHIR_JSON,
    "text/json": FHIR_JSON,
}
_VERSIONS = ("", "4.0", "4.0.1")
_LONGEST = 2000


@lru_cache(maxsize=256)
def media_type(accept: str, format_: str | None) -> str:
    """The media type to answer with; `_format` overrules Accept, and no Accept takes anything.

    Raises NotAcceptable when the client takes no JSON of FHIR R4.
    """
    chosen = _best(accept) if format_ is None else _FORMATS.get(_essence(format_))
    if chosen is None:
        raise NotAcceptable("answers are application/fhir+json, FHIR version 4.0")
    return chosen


def _essence(media: str) -> str:
    return media.partition(";")[0].strip().lower()


def _best(accept: str) -> str | None:
    ranges = qualities(accept[:_LONGEST]) or {"*/*": 1.0}
    return max(
        (offer for offer in _OFFERS if _quality(ranges, offer) > 0),
        key=lambda offer: _quality(ranges, offer),
        default=None,
    )


def _quality(ranges: Mapping[str, float], offer: str) -> float:
    """The quality of the most precise range that takes the offer."""
    for range_ in (offer, "application/*", "*/*"):
        if range_ in ranges:
            return ranges[range_]
    return 0.0


def qualities(header: str) -> dict[str, float]:
    """The elements of a header such as Accept: name → quality, 0 where it names another FHIR version."""
    found: dict[str, float] = {}
    for element in filter(None, (part.strip() for part in header.split(","))):
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        found[name] = max(found.get(name, 0.0), _element_quality(parameters))
    return found


def _element_quality(parameters: Sequence[str]) -> float:
    values = {name.strip(): text.strip(' "') for name, _, text in (p.partition("=") for p in parameters)}
    if values.get("fhirversion", "") not in _VERSIONS:
        return 0.0
    try:
        return min(max(float(values.get("q", "1")), 0.0), 1.0)
    except ValueError:
        return 1.0


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client takes content-coding gzip."""
    known = qualities(accept_encoding[:_LONGEST])
    return known.get("gzip", known.get("*", 0.0)) > 0


def pretty(text: str | None) -> bool:
    """The value of `_pretty`."""
    if text not in (None, "true", "false"):
        raise NotUnderstood("pretty is true or false", parameter="_pretty")
    return text == "true"
