"""A search through the manual: sections that have every word, those first that have them in their heading."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

MOST = 40
"""Sections that are shown."""

_WORDS = 8
_BEFORE, _AFTER = 60, 180
"""Characters shown round the first word that is found."""


class Section(Protocol):
    """A heading and the plain text of what stands below it."""

    @property
    def level(self) -> int:
        """From 1."""

    @property
    def anchor(self) -> str:
        """What a link to it ends in."""

    @property
    def title(self) -> str:
        """Its words."""

    @property
    def text(self) -> str:
        """What stands below it, up to the next heading."""


class Page(Protocol):
    """A page of the manual."""

    @property
    def slug(self) -> str:
        """Its name in paths."""

    @property
    def title(self) -> str:
        """The words of its first heading."""

    @property
    def headings(self) -> Sequence[Section]:
        """All headings, the title among them."""

    def html(self, ending: str = "") -> str:
        """Its HTML, safe as it is; links to other pages are relative, and get the ending."""


class Piece(NamedTuple):
    """A part of an excerpt; `found`: it is one of the words that were asked for."""

    text: str
    found: bool


class Hit(NamedTuple):
    """A section that has every word."""

    page: Page
    section: Section
    excerpt: Sequence[Piece]


def search(pages: Iterable[Page], asked: str) -> Sequence[Hit]:
    """The sections that have all words, without regard to case; none for no word."""
    words = list(dict.fromkeys(asked.casefold().split()))[:_WORDS]
    found = sorted(_found(pages, words), key=lambda one: one[0]) if words else []
    return [Hit(page, section, _excerpt(section.text, words)) for _rank, page, section in found[:MOST]]


def _found(pages: Iterable[Page], words: Sequence[str]) -> Iterator[tuple[int, Page, Section]]:
    for page in pages:
        for section in page.headings:
            title = section.title.casefold()
            missing = sum(word not in title for word in words)
            if all(word in title or word in section.text.casefold() for word in words):
                yield missing, page, section


def _excerpt(text: str, words: Sequence[str]) -> Sequence[Piece]:
    """What stands round the first of the words, else the beginning."""
    pattern = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    first = pattern.search(text)
    start = max(0, (first.start() if first else 0) - _BEFORE)
    start = text.rfind(" ", 0, start) + 1
    stop = start + _BEFORE + _AFTER
    shown = f"{'…' * (start > 0)}{text[start:stop]}{'…' * (stop < len(text))}"
    return list(_pieces(shown, pattern))


def _pieces(text: str, pattern: re.Pattern[str]) -> Iterator[Piece]:
    done = 0
    for match in pattern.finditer(text):
        yield Piece(text[done : match.start()], False)
        yield Piece(match[0], True)
        done = match.end()
    yield Piece(text[done:], False)
