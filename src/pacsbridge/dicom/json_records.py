"""Records of queries → DICOM JSON (PS3.18 F.2)."""

from collections.abc import Iterable, Sequence
from typing import Any

from pacsbridge.dicom.metadata import json_text
from pacsbridge.kernel.query_keys import VRS, Record

_NUMBERS = frozenset({"US", "UL", "SS", "SL"})


def to_json(record: Record, fields: Iterable[str] | None = None) -> dict[str, Any]:
    """A record as a DICOM JSON object, of these attributes alone or of all, in the order of their tags."""
    chosen = record.keys() if fields is None else record.keys() & fields
    return {tag: _element(VRS[tag], record[tag]) for tag in sorted(chosen)}


def _element(vr: str, values: Sequence[Any]) -> dict[str, Any]:
    return {"vr": vr, "Value": [_value(vr, value) for value in values]}


def _value(vr: str, value: Any) -> Any:
    if vr == "SQ":
        return to_json(value)
    return json_text(value, "IS" if vr in _NUMBERS else vr)
