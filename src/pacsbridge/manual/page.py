"""One page of the manual, as Markdown and as HTML.

Links between pages name files (`mapping.md#series`), so that they work among files as well; as HTML they get
whatever ending the place has where they are shown. Headings have the anchors that GitHub would give them.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from html import escape
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

_FILE = re.compile(r"([a-z][a-z0-9-]*)\.md(#.*)?")
_BREAKS = re.compile(r"(?<=[a-z0-9}][/._])(?=[A-Za-z0-9{])")
_NO_ANCHOR = re.compile(r"[^\w\- ]")


class Heading(NamedTuple):
    """A heading: its level from 1, its anchor, its words, and the plain text of what stands below it."""

    level: int
    anchor: str
    title: str
    text: str


@dataclass(frozen=True)
class Page:
    """A page under a name for paths and files, with its placeholders filled."""

    slug: str
    markdown: str

    @property
    def title(self) -> str:
        """The words of its first heading."""
        return self.headings[0].title

    @cached_property
    def headings(self) -> Sequence[Heading]:
        """All headings, in their order."""
        return tuple(_headings(_reader().parse(self.markdown)))

    def links(self) -> Iterator[str]:
        """Where its links lead, as they are written."""
        for token in _flat(_reader().parse(self.markdown)):
            if token.type == "link_open":
                yield str(token.attrs["href"])

    def html(self, ending: str = "") -> str:
        """Its HTML without what goes round it; `ending` is what stands behind the names of other pages."""
        return _html(self.markdown, ending)


@cache
def _reader() -> MarkdownIt:
    """CommonMark and tables; HTML in a text is text."""
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("table_open", _open_table)
    reader.add_render_rule("table_close", _close_table)
    reader.add_render_rule("code_inline", _code)
    reader.add_render_rule("fence", _block)
    return reader


def _open_table(*_: Any) -> str:
    """A table scrolls by itself where it is wider than the page; the keyboard reaches it."""
    return '<div class="wide" role="group" aria-label="Table" tabindex="0">\n<table>\n'


def _close_table(*_: Any) -> str:
    return "</table>\n</div>\n"


def _block(_renderer: object, tokens: Sequence[Token], place: int, *_: Any) -> str:
    """What is typed scrolls by itself too."""
    return f'<pre tabindex="0"><code>{escape(tokens[place].content, quote=False)}</code></pre>\n'


def _code(_renderer: object, tokens: Sequence[Token], place: int, *_: Any) -> str:
    """Paths, UIDs and names may break behind their signs, lest a table be wider than it must."""
    return f"<code>{_BREAKS.sub('<wbr>', escape(tokens[place].content, quote=False))}</code>"


@cache
def _html(markdown: str, ending: str) -> str:
    tokens = _reader().parse(markdown)
    anchors = (heading.anchor for heading in _headings(tokens))
    for token in _flat(tokens):
        if token.type == "heading_open":
            token.attrSet("id", next(anchors))
        elif token.type == "link_open":
            token.attrSet("href", _relative(str(token.attrs["href"]), ending))
    return str(_reader().renderer.render(tokens, _reader().options, {}))


def _relative(href: str, ending: str) -> str:
    found = _FILE.fullmatch(href)
    return href if found is None else f"{found[1]}{ending}{found[2] or ''}"


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def _headings(tokens: Sequence[Token]) -> Iterator[Heading]:
    seen: dict[str, int] = {}
    starts = [place for place, token in enumerate(tokens) if token.type == "heading_open"]
    for start, stop in zip(starts, [*starts[1:], len(tokens)], strict=True):
        title = _plain(tokens[start + 1])
        below = " ".join(map(_plain, tokens[start + 3 : stop]))
        yield Heading(int(tokens[start].tag[1:]), _anchor(title, seen), title, " ".join(below.split()))


def _anchor(title: str, seen: dict[str, int]) -> str:
    """Small letters, hyphens for blanks; the second of a name gets a number."""
    name = _NO_ANCHOR.sub("", title.lower()).replace(" ", "-")
    count = seen[name] = seen.get(name, -1) + 1
    return f"{name}-{count}" if count else name


def _plain(token: Token) -> str:
    """The text of a token, without marks."""
    if token.children is None:
        return token.content
    return "".join(" " if one.type == "softbreak" else one.content for one in token.children)
