"""SMART scopes, of version 1 and 2, as rights (SMART App Launch 1.0 and 2.0, "scopes").

    scope                             rights
    system/*.read, user/*.*           every type, everywhere: what users may see, the issuer knows
    patient/ImagingStudy.rs           that type, of the one patient that the token names
    system/ImagingStudy.rs?status=…   none: a scope that is narrower than its type is not widened
    pacsbridge/metrics                the metrics and the pages of operators

`read` is r and s, `write` c, u and d.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from pacsbridge.access.rights import OPERATOR, Right, Rights

TYPES = ("ImagingStudy", "Patient", "Endpoint")
"""What scopes can be about here; others are no fault, and grant nothing."""

NAMED = "AuditEvent"
"""What a scope has to name: a star does not reach the audit log, which is for few."""

OPERATING = "pacsbridge/metrics"

_V1: Mapping[str, str] = {"read": "rs", "write": "cud", "*": "cruds"}
_SCOPE = re.compile(r"(patient|user|system)/(\*|[A-Za-z]+)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)")


class Granted(NamedTuple):
    """Rights that hold everywhere, and those that hold for one patient."""

    everywhere: Rights
    own: Rights


@lru_cache(maxsize=1024)
def granted(scopes: str) -> Granted:
    """What a list of scopes, separated by spaces, grants."""
    everywhere: set[Right] = set()
    own: set[Right] = set()
    for scope in scopes.split():
        (own if scope.startswith("patient/") else everywhere).update(_rights(scope))
    return Granted(frozenset(everywhere), frozenset(own))


def _rights(scope: str) -> Iterator[Right]:
    if scope == OPERATING:
        yield OPERATOR
    found = _SCOPE.fullmatch(scope)
    if found is None:
        return
    context, type_, letters = found.groups()
    for one in _types(type_):
        yield from (Right(one, letter) for letter in _V1.get(letters, letters))
    if context == "system" and type_ == "*" and "r" in _V1.get(letters, letters):
        yield OPERATOR


def _types(named: str) -> Iterable[str]:
    return TYPES if named == "*" else [named] if named in (*TYPES, NAMED) else []


def supported() -> list[str]:
    """The scopes that clients may ask for."""
    types = ("*", *TYPES, NAMED)
    named = [f"{context}/{type_}.rs" for context in ("patient", "user", "system") for type_ in types]
    writing = [f"{context}/ImagingStudy.c" for context in ("user", "system")]
    return [*named, *writing, OPERATING]
