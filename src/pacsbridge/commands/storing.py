"""`import`, `migrate` and `reindex`."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pacsbridge import opening, wiring
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
from pacsbridge.commands.recording import importing, recorded
from pacsbridge.dicom.files import find_files


@click.command(name="import")
@paths_argument
@config_option
@json_option
def import_(paths: tuple[Path, ...], file: Path | None, as_json: bool) -> None:
    """Add files or folders to the store; what is there already is left as it is, so it can be repeated."""
    with answering():
        settings, tally = settings_of(file), _Tally()
        source = wiring.sources(settings).of_uri(IMPORT_URI)
        with (
            recorded(settings, "import") as deed,
            opening.offline(settings, deleted=deed.deleted.append) as (store, intake, publisher),
            importing(settings, store) as imported,
        ):
            outcomes = import_files(paths, intake, source, settings.limits.object_bytes)
            try:
                for outcome in _watched(outcomes, paths):
                    tally.count(outcome)
                    imported.count(outcome.facts)
            finally:
                deed.tell(new=tally.new, known=tally.known, skipped=len(tally.skipped))
                _report_import(tally, as_json)
            if not intake.indexer.drain(600):
                fail("what was imported is safe, but not indexed yet: the next start does it")
            publisher.publish_all()
            if aside := imported.conflicts.aside:
                deed.tell(aside=aside)
                click.echo(
                    f"{aside} put aside, other content is held: see `pacsbridge dead-letters list`", err=True
                )
            if tally.skipped:
                deed.fail("some files were skipped")
    sys.exit(0 if tally.taken or not tally.skipped else FAILED)


@dataclass(slots=True)
class _Tally:
    """What became of the files."""

    new: int = 0
    known: int = 0
    skipped: list[Outcome] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """How many are in the store now."""
        return self.new + self.known

    def count(self, outcome: Outcome) -> None:
        """One file more."""
        if outcome.reason is not None:
            self.skipped.append(outcome)
        elif outcome.new:
            self.new += 1
        else:
            self.known += 1


def _watched(outcomes: Iterator[Outcome], paths: Sequence[Path]) -> Iterator[Outcome]:
    """The same, with a progress bar on a terminal."""
    console = Console(stderr=True)
    total = sum(1 for _ in find_files(paths)) if console.is_terminal else None
    columns = (TextColumn("importing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("import", total=total)
        for outcome in outcomes:
            progress.advance(task)
            yield outcome


def _report_import(tally: _Tally, as_json: bool) -> None:
    if as_json:
        rows = [{"path": str(outcome.path), "reason": outcome.reason} for outcome in tally.skipped]
        click.echo(json_text({"new": tally.new, "known": tally.known, "taken": tally.taken, "skipped": rows}))
        return
    click.echo(f"{tally.new} new, {tally.known} known already, {len(tally.skipped)} skipped")
    for outcome in tally.skipped:
        click.echo(f"skipped {outcome.path}: {outcome.reason}")


@click.command()
@config_option
def migrate(file: Path | None) -> None:
    """Bring the database's schema up to date."""
    with answering():
        settings = settings_of(file)
        with recorded(settings, "migrate") as deed:
            done = opening.migrate(settings)
            if (log := opening.open_audit_log(settings)) is not None:
                log.close()
            deed.tell(migrations=done)
        click.echo(f"{done} migrations run" if done else "the schema is up to date")


@click.command()
@config_option
def reindex(file: Path | None) -> None:
    """Rebuild the index from the stored files; published versions keep their numbers. Stop `serve` first."""
    with answering():
        settings = settings_of(file)
        with recorded(settings, "reindex") as deed:
            count, damaged = opening.reindex(settings, deed.deleted.append)
            deed.tell(instances=count, damaged=damaged)
            if damaged:
                deed.fail("some records are damaged")
        click.echo(f"{count} instances indexed")
        if damaged:
            fail(f"{damaged} damaged records could not be: see `pacsbridge dead-letters list`")
