"""THE route table: what is served where. The router, batches, the descriptions and the tests read it."""

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from pacsbridge.fhir import interactions
from pacsbridge.fhir.service import Interaction
from pacsbridge.kernel.search_parameters import SEARCHED

PARTS: Mapping[str, str] = {
    "type": "|".join(SEARCHED),
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "version": "[0-9]{1,18}",
}
"""What a name in a path may be."""


class Route(NamedTuple):
    """One interaction at a path below the base.

    `code` is FHIR's word for it, `brief` whether it mostly takes less than a millisecond. `form`: POST, and
    the parameters may stand in the body. `batch`: whether a batch may ask for it.
    """

    path: str
    code: str
    run: Interaction
    summary: str
    brief: bool = False
    form: bool = False
    batch: bool = True

    @property
    def method(self) -> str:
        """The method of HTTP; GET has HEAD with it."""
        return "POST" if self.form else "GET"

    @property
    def pattern(self) -> str:
        """The path as the router takes it."""
        return _NAME.sub(lambda name: f"{{{name[1]}:{PARTS[name[1]]}}}", self.path)

    def matches(self, path: str) -> Mapping[str, str] | None:
        """What a path names, where it is one of this route."""
        found = _expression(self.path).fullmatch(path)
        return None if found is None else found.groupdict()


_NAME = re.compile(r"\{([a-z]+)\}")


@cache
def _expression(path: str) -> re.Pattern[str]:
    texts = _NAME.split(path)
    named = (
        f"(?P<{text}>{PARTS[text]})" if place % 2 else re.escape(text) for place, text in enumerate(texts)
    )
    return re.compile("".join(named))


_READ = "The current version of a resource"
_FORM = "The same, asked for by a form"
_SEARCH = "The resources of a type that match"
_VREAD = "One version of a resource"
_HISTORY = "The versions of a resource"
_ALL = "The versions of all resources"
_VERSIONS = "The versions of all resources of a type"

ROUTES = (
    Route("/metadata", "capabilities", interactions.capabilities, "What this server can do", brief=True),
    Route("/openapi.json", "openapi", interactions.description, "This description", brief=True, batch=False),
    Route("/{type}/{id}", "read", interactions.read, _READ, brief=True),
    Route("/{type}/{id}/_history/{version}", "vread", interactions.vread, _VREAD, brief=True),
    Route("/{type}/{id}/_history", "history-instance", interactions.history, _HISTORY, brief=True),
    Route("/{type}/_history", "history-type", interactions.history, _VERSIONS, brief=True),
    Route("/_history", "history-system", interactions.history, _ALL, brief=True),
    Route("/{type}", "search-type", interactions.search, _SEARCH, brief=True),
    Route("/{type}/_search", "search-type", interactions.search, _FORM, brief=True, form=True),
)  # fmt: skip
