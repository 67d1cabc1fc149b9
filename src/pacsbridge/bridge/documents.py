"""What a published ImagingStudy says, compared with what its facts say now."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

COUNTS = ("numberOfSeries", "numberOfInstances")

_SERVED = ("ImagingStudy", "Patient", "Endpoint")
"""The types whose relative references lead to resources of this server."""


def contradictions(body: bytes, wanted: Mapping[str, Any] | None) -> Iterator[str]:
    """In words, what of the series, instances and counts of a resource differs; `wanted` None: all of it."""
    try:
        published = orjson.loads(body)
    except orjson.JSONDecodeError:
        yield "the document is no JSON"
        return
    if wanted is None:
        yield "the study is not to be published"
        return
    for name in COUNTS:
        if published.get(name) != wanted.get(name):
            yield f"{name} is {published.get(name)}, not {wanted.get(name)}"
    listed, known = _instances(published), _instances(wanted)
    if listed != known:
        yield f"{(known - listed).total()} instances are not listed, {(listed - known).total()} are too many"


def _instances(study: Mapping[str, Any]) -> Counter[tuple[str, str]]:
    return Counter(
        (series["uid"], instance["uid"])
        for series in study.get("series", ())
        for instance in series.get("instance", ())
    )


def references(bodies: Iterable[bytes]) -> set[tuple[str, str]]:
    """Type and id of the resources of this server that some documents refer to."""
    found = set()
    for body in bodies:
        try:
            texts = _references(orjson.loads(body))
        except orjson.JSONDecodeError:
            continue
        found |= {(type_, id_) for type_, _, id_ in (text.partition("/") for text in texts) if id_}
    return {one for one in found if one[0] in _SERVED}


def _references(value: Any) -> Iterator[str]:
    """Every `reference` below a JSON value."""
    if isinstance(value, dict):
        text = value.get("reference")
        if isinstance(text, str):
            yield text
        for below in value.values():
            yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)
