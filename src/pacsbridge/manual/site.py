"""The manual as a folder of HTML files that a browser opens from the disk."""

from collections.abc import Collection, Iterator
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from pacsbridge.manual.page import Page

_STYLE = "manual.css"
_ENDING = ".html"


def write(pages: Collection[Page], folder: Path) -> Path:
    """Write every page and the style sheet; the path of the first page. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _STYLE).write_text(_shipped(_STYLE), encoding="utf-8")
    frame = Template(_shipped("manual.html"))
    paths = [folder / f"{page.slug}{_ENDING}" for page in pages]
    for page, path in zip(pages, paths, strict=True):
        text = frame.substitute(
            title=escape(page.title), style=_STYLE, menu=_menu(pages, page), content=page.html(_ENDING)
        )
        path.write_text(text, encoding="utf-8")
    return paths[0]


def _menu(pages: Collection[Page], shown: Page) -> str:
    return "\n".join(_entry(page, page is shown) for page in pages)


def _entry(page: Page, here: bool) -> str:
    current = ' aria-current="page"' if here else ""
    below = f"\n<ul>\n{chr(10).join(_sections(page))}\n</ul>" if here else ""
    return f'<li><a href="{page.slug}{_ENDING}"{current}>{escape(page.title)}</a>{below}</li>'


def _sections(page: Page) -> Iterator[str]:
    for heading in page.headings:
        if heading.level == 2:
            yield f'<li><a href="#{heading.anchor}">{escape(heading.title)}</a></li>'


def _shipped(name: str) -> str:
    return files("pacsbridge.manual").joinpath("frame", name).read_text(encoding="utf-8")
