"""`import`, `migrate` and `reindex`."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pacsbridge import runtime, wiring
from pacsbridge.bridge.collection import Outcome
from pacsbridge.bridge.importing import import_files
from pacsbridge.bridge.sources import IMPORT_URI
from pacsbridge.commands.answering import (
    FAILED,
    answering,
    config_option,
    fail,
    json_option,
    json_text,
    paths_argument,
    settings_of,
)
from pacsbridge.dicom.files import find_files


@click.command(name="import")
@paths_argument
@config_option
@json_option
def import_(paths: tuple[Path, ...], file: Path | None, as_json: bool) -> None:
    """Add files or folders to the store; what is there already is left as it is, so it can be repeated."""
    with answering():
        settings = settings_of(file)
        source = wiring.sources(settings).of_uri(IMPORT_URI)
        with runtime.offline(settings) as (_store, intake, publisher):
            outcomes = import_files(paths, intake, source, settings.limits.object_bytes)
            skipped, taken = _watched(outcomes, paths)
            if not intake.indexer.drain(600):
                fail("what was imported is safe, but not indexed yet: the next start does it")
            publisher.publish_all()
    _report_import(taken, skipped, as_json)
    sys.exit(0 if taken or not skipped else FAILED)


def _watched(outcomes: Iterator[Outcome], paths: Sequence[Path]) -> tuple[list[Outcome], int]:
    """What was skipped and how many were taken, with a progress bar on a terminal."""
    skipped: list[Outcome] = []
    taken = 0
    console = Console(stderr=True)
    total = sum(1 for _ in find_files(paths)) if console.is_terminal else None
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("import", total=total)
        for outcome in outcomes:
            progress.advance(task)
            if outcome.reason is None:
                taken += 1
            else:
                skipped.append(outcome)
    return skipped, taken


def _report_import(taken: int, skipped: Sequence[Outcome], as_json: bool) -> None:
    if as_json:
        rows = [{"path": str(outcome.path), "reason": outcome.reason} for outcome in skipped]
        click.echo(json_text({"taken": taken, "skipped": rows}))
        return
    click.echo(f"{taken} instances taken, {len(skipped)} files skipped")
    for outcome in skipped:
        click.echo(f"skipped {outcome.path}: {outcome.reason}")


@click.command()
@config_option
def migrate(file: Path | None) -> None:
    """Bring the database's schema up to date."""
    with answering():
        done = runtime.migrate(settings_of(file))
        click.echo(f"{done} migrations run" if done else "the schema is up to date")


@click.command()
@config_option
def reindex(file: Path | None) -> None:
    """Rebuild the index from the stored files; published versions keep their numbers. Stop `serve` first."""
    with answering():
        settings = settings_of(file)
        count = runtime.reindex(settings)
        click.echo(f"{count} instances indexed")
