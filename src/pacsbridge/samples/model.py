"""What a sample study is made of, and the names of its parts."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]
"""Element values by keyword; a list of mappings is a sequence."""

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
US = "1.2.840.10008.5.1.4.1.1.6.1"
CR = "1.2.840.10008.5.1.4.1.1.1"
PDF = "1.2.840.10008.5.1.4.1.1.104.1"
BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://example.org/pacsbridge/samples")


@dataclass(frozen=True, slots=True)
class Series:
    """`count` instances of one SOP class; `content` gives what differs from instance to instance (from 0)."""

    sop_class: str
    modality: str
    count: int
    values: Values
    content: Callable[[int], Values]


@dataclass(frozen=True, slots=True)
class Study:
    """A study of one patient; `name` is that of its folder and the seed of its UIDs."""

    name: str
    charset: Sequence[str]
    values: Values
    series: Sequence[Series]


def uid(*names: str | int) -> str:
    """The same UID for the same names (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, names))).int}"


def code(value: str, scheme: str, meaning: str) -> Values:
    """An item of a code sequence (PS3.3 8)."""
    return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}
