"""The pages of the manual in their order: prose that is shipped, with the tables of the code put in."""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from pacsbridge.manual import (
    conformance,
    dicomweb,
    mapping,
    operations,
    paths,
    recording,
    searching,
    settings,
)
from pacsbridge.manual.page import Page

ORDER = (
    "start",
    "concepts",
    "mapping",
    "codes",
    "searching",
    "queries",
    "archives",
    "http",
    "viewer",
    "configuration",
    "commands",
    "operations",
    "troubleshooting",
    "security",
    "faults",
    "conformance",
)
"""The names of the pages, the first one first."""

BLOCKS: Mapping[str, Callable[[], str]] = {
    **mapping.BLOCKS,
    **searching.BLOCKS,
    **paths.BLOCKS,
    **settings.BLOCKS,
    **operations.BLOCKS,
    **recording.BLOCKS,
    **conformance.BLOCKS,
    **dicomweb.BLOCKS,
    "commands": lambda: _shipped("commands.md"),
}
"""Placeholder → the Markdown that takes its place."""

_PLACEHOLDER = re.compile(r"<!-- table: ([a-z0-9-]+) -->")


@cache
def pages() -> Mapping[str, Page]:
    """Name → page, in the order in which they are read."""
    return {slug: Page(slug, _filled(_shipped(f"pages/{slug}.md"))) for slug in ORDER}


def _filled(text: str) -> str:
    return _PLACEHOLDER.sub(lambda found: BLOCKS[found[1]](), text)


def _shipped(name: str) -> str:
    return files("pacsbridge.manual").joinpath(name).read_text(encoding="utf-8").rstrip() + "\n"
