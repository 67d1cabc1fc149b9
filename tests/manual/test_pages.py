"""The pages: nothing left to be filled in, every link leads somewhere, HTML that is ours alone."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from pacsbridge.cli import main
from pacsbridge.manual.book import BLOCKS, ORDER, pages
from pacsbridge.manual.page import Page

PROSE = files("pacsbridge.manual").joinpath("pages")
ROOT = Path(__file__).parent.parent.parent


class Read(HTMLParser):
    """The elements of a page: their names, anchors and where they lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.anchors += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href"]


def test_every_file_is_a_page() -> None:
    """What is shipped is shown, in one order, each under a title of its own."""
    assert sorted(one.name for one in PROSE.iterdir()) == sorted(f"{slug}.md" for slug in ORDER)
    assert list(pages()) == list(ORDER)
    assert len({page.title for page in pages().values()}) == len(ORDER)


def test_every_table_is_somewhere() -> None:
    """Each table that can be made stands in a page, and each placeholder names one."""
    named = {name for slug in ORDER for name in re.findall(r"<!-- table: (\S+) -->", _prose(slug))}
    assert named == set(BLOCKS)


def _prose(slug: str) -> str:
    return PROSE.joinpath(f"{slug}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("slug", ORDER)
def test_nothing_is_left_to_be_filled_in(slug: str) -> None:
    """No placeholder, no empty table."""
    markdown = pages()[slug].markdown
    assert "<!--" not in markdown
    for table in re.findall(r"^(?:\|.*\n?)+", markdown, re.MULTILINE):
        assert table.count("\n") >= 3 or not table.endswith("\n"), table


@pytest.mark.parametrize("slug", ORDER)
def test_tables_are_square(slug: str) -> None:
    """A bar in a cell would shift the rest of its row."""
    for table in re.findall(r"^(?:\|.*\n?)+", pages()[slug].markdown, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", row)) for row in table.strip().splitlines()}
        assert len(columns) == 1, table[:300]


@pytest.mark.parametrize("slug", ORDER)
def test_links_lead_somewhere(slug: str) -> None:
    """Among files: to a page and a heading of it; elsewhere by https alone."""
    anchors = {name: {heading.anchor for heading in page.headings} for name, page in pages().items()}
    for link in pages()[slug].links():
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        name = file.removesuffix(".md") or slug
        assert name in anchors, link
        assert not anchor or anchor in anchors[name], link


@pytest.mark.parametrize("slug", ORDER)
def test_html_has_the_same_links_and_anchors(slug: str) -> None:
    """Links to pages get the ending of the place, anchors are there, each once."""
    page = pages()[slug]
    read = Read(page.html(".html"))
    assert read.anchors == [heading.anchor for heading in page.headings]
    assert len(set(read.anchors)) == len(read.anchors)
    for link in read.links:
        assert link.startswith(("https://", "#")) or link.partition("#")[0].removesuffix(".html") in ORDER


@pytest.mark.parametrize("slug", ORDER)
def test_html_needs_no_style_and_no_script(slug: str) -> None:
    """Elements of text alone, without attributes that a content security policy would refuse."""
    read = Read(pages()[slug].html())
    assert read.elements <= set(
        "h1 h2 h3 p ul ol li a code wbr pre table thead tbody tr th td div strong em".split()
    )
    assert read.attributes <= {"id", "href", "class", "role", "aria-label", "tabindex"}


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "![a](x.png)<b onclick=1>b</b>",
    ],
)
def test_html_in_a_text_is_text(text: str) -> None:
    """What looks like HTML is shown, and no link runs a script."""
    read = Read(Page("a", f"# Title\n\n{text}\n").html())
    assert not read.elements & {"script", "b"}
    assert not read.attributes & {"onerror", "onclick"}
    assert read.links == []


def test_anchors_are_those_of_github() -> None:
    """Small letters, hyphens for blanks, signs left out; the second of a name is numbered."""
    page = Page("a", "# A title\n## [[peer]]\n## C-GET and `C-MOVE`\n## [[peer]]\n## Who, me?\n")
    assert [one.anchor for one in page.headings] == [
        "a-title",
        "peer",
        "c-get-and-c-move",
        "peer-1",
        "who-me",
    ]


def test_headings_have_what_stands_below_them() -> None:
    """The text of a section, tables and code too, without its marks: what a search looks at."""
    page = Page(
        "a", "# One\n\nSome *text* and\n`code`.\n\n| a | b |\n|---|---|\n| c | d |\n\n## Two\n\nRest\n"
    )
    assert [(one.level, one.title, one.text) for one in page.headings] == [
        (1, "One", "Some text and code. a b c d"),
        (2, "Two", "Rest"),
    ]


def test_the_command_lists_and_prints() -> None:
    """The names with their titles, a page as it is; an unknown one is a mistake that names the others."""
    listed = CliRunner().invoke(main, ["manual"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(ORDER)
    printed = CliRunner().invoke(main, ["manual", "conformance"])
    assert printed.stdout == pages()["conformance"].markdown
    unknown = CliRunner().invoke(main, ["manual", "nothing"])
    assert unknown.exit_code == 2
    assert "conformance" in unknown.stderr


def test_the_command_writes_a_site(tmp_path: Path) -> None:
    """One file a page, whose links are files that are there; writing it again is no fault."""
    folder = tmp_path / "site"
    for done in [CliRunner().invoke(main, ["manual", "--html", str(folder)]) for _ in range(2)]:
        assert done.exit_code == 0, done.output
        assert done.stdout.strip() == str(folder / "start.html")
    for slug in ORDER:
        text = (folder / f"{slug}.html").read_text(encoding="utf-8")
        assert "$" not in re.sub(r"(?s)<main.*</main>", "", text)
        for link in Read(text).links:
            file = link.partition("#")[0]
            assert link.startswith("https://") or not file or (folder / file).is_file(), link


def test_the_command_says_where_it_cannot_write(tmp_path: Path) -> None:
    """A file in the way, a folder that is not ours: one line, no trace."""
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["manual", "--html", str(tmp_path / "file" / "below")])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1


def test_the_part_about_commands_is_up_to_date() -> None:
    """`manual/commands.md` is what the command line says; `python scripts/generate_manual.py` writes it."""
    text = "import runpy; print(runpy.run_path('scripts/generate_manual.py')['markdown'](), end='')"
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    shipped = files("pacsbridge.manual").joinpath("commands.md").read_text(encoding="utf-8")
    assert shipped == done.stdout
