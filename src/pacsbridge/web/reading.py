"""What pages pick out of published resources."""

from collections.abc import Mapping
from typing import Any

Resource = Mapping[str, Any]

UID_SYSTEM = "urn:dicom:uid"


def study_uid(study: Resource) -> str:
    """The Study Instance UID; empty where a study has none."""
    found = (one.get("value", "") for one in study.get("identifier", ()) if one.get("system") == UID_SYSTEM)
    return next(found, "").removeprefix("urn:oid:")


def value_of_type(resource: Resource, code: str) -> str:
    """The first identifier of a type (HL7 table 0203); empty without one."""
    for one in resource.get("identifier", ()):
        if code in (coding.get("code") for coding in one.get("type", {}).get("coding", ())):
            return str(one.get("value", ""))
    return ""
