"""A resource's JSON as a page shows it: escaped, its references links, long lists of instances cut."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup, escape

MOST = 50
"""Members shown of a list of instances."""

_LINKED = ("Patient/", "Endpoint/")
_STEP = "  "


def json_text(resource: Mapping[str, Any]) -> Markup:
    """The JSON with two blanks a level. Patients and endpoints that we serve are linked to their pages."""
    return Markup("").join(_value(resource, "", ""))


def _value(value: Any, name: str, indent: str) -> Iterator[Markup]:
    if isinstance(value, Mapping):
        yield from _members("{}", (_pair(key, one, indent + _STEP) for key, one in value.items()), indent)
    elif isinstance(value, list):
        yield from _list(value, name, indent)
    else:
        yield _plain(value, name)


def _pair(key: str, value: Any, indent: str) -> Iterator[Markup]:
    yield escape(f"{json.dumps(key)}: ")
    yield from _value(value, key, indent)


def _list(values: list[Any], name: str, indent: str) -> Iterator[Markup]:
    most = MOST if name == "instance" else len(values)
    members = [_value(one, name, indent + _STEP) for one in values[:most]]
    if len(values) > most:
        members.append(iter((escape(f"… {len(values) - most} more instances"),)))
    yield from _members("[]", members, indent)


def _members(brackets: str, members: Any, indent: str) -> Iterator[Markup]:
    yield escape(brackets[0])
    between = ""
    for member in members:
        yield escape(f"{between}\n{indent}{_STEP}")
        yield from member
        between = ","
    yield escape(f"\n{indent}{brackets[1]}" if between else brackets[1])


def _plain(value: Any, name: str) -> Markup:
    text = json.dumps(value, ensure_ascii=False)
    if name == "reference" and isinstance(value, str) and value.startswith(_LINKED):
        return Markup('<a href="/resources/{}">{}</a>').format(value, text)
    return escape(text)
