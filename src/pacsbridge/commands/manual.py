"""`manual`: the pages as Markdown, or as a folder of HTML that needs no server."""

from pathlib import Path

import click

from pacsbridge.commands.answering import USAGE, answering, fail
from pacsbridge.manual.book import pages
from pacsbridge.manual.site import write


@click.command()
@click.argument("page", required=False)
@click.option(
    "--html",
    "folder",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write all pages as HTML into a folder; what has the same name there is replaced.",
)
def manual(page: str | None, folder: Path | None) -> None:
    """Print a page of the manual as Markdown; without PAGE, what pages there are."""
    found = pages()
    if page is not None and page not in found:
        fail(f"no page is called {page}; there are {', '.join(found)}", USAGE)
    if folder is not None:
        with answering():
            click.echo(write(found.values(), folder))
    elif page is not None:
        click.echo(found[page].markdown, nl=False)
    else:
        for one in found.values():
            click.echo(f"{one.slug:<16} {one.title}")
