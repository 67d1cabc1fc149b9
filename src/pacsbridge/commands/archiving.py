"""`sync`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pacsbridge import archives, opening, runtime
from pacsbridge.bridge.archive_measuring import measured
from pacsbridge.bridge.archive_rounds import Rounds
from pacsbridge.bridge.archive_rules import Tally
from pacsbridge.bridge.archive_state import ArchiveState
from pacsbridge.bridge.publish import Deleted
from pacsbridge.commands.answering import (
    FAILED,
    answering,
    config_option,
    json_option,
    json_text,
    settings_of,
)
from pacsbridge.commands.recording import deletions, record, recorded
from pacsbridge.config import Config
from pacsbridge.config.sources import Source
from pacsbridge.errors import PacsbridgeError
from pacsbridge.store.store import Store


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one archive: what was done, and why not all of it where that is so."""

    source: str
    tally: Tally
    reason: str | None = None


@click.command()
@click.argument("source", required=False)
@click.option("--full", is_flag=True, help="List everything the archive has, and find what is gone.")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DAY",
    help="The same for studies since a day, such as 2026-01-31.",
)
@config_option
@json_option
def sync(source: str | None, full: bool, since: datetime | None, file: Path | None, as_json: bool) -> None:
    """One round with every archive, or with SOURCE: what is new there, has changed or is gone.

    The first time this loads all studies, the newest first; when it is interrupted, the next time goes on.
    """
    with answering():
        settings = settings_of(file)
        chosen = archives.named(settings, source)
        gone: list[Deleted] = []
        with opening.offline(settings, deleted=gone.append) as (store, _intake, publisher):
            runtime.settle()
            outcomes = [_synced(settings, one, store, _round(full, since)) for one in chosen]
            publisher.publish_all()
        record(settings, deletions(settings, gone))
    _report(outcomes, as_json)
    sys.exit(FAILED if any(one.reason for one in outcomes) else 0)


def _round(full: bool, since: datetime | None) -> Callable[[Rounds], Tally]:
    """What a round is to do."""
    day: date | None = None if since is None else since.date()
    return lambda rounds: rounds.full(day) if full or day else rounds.usual()


def _synced(settings: Config, source: Source, store: Store, round_: Callable[[Rounds], Tally]) -> _Outcome:
    with (
        recorded(settings, "sync", destination=source.url, source=source.name) as deed,
        archives.connected(settings, source) as connection,
        _watched(source.name) as told,
    ):
        rounds = connection.rounds(store, opening.now, told)
        try:
            with measured(rounds):
                outcome = _Outcome(source.name, round_(rounds))
        except PacsbridgeError as exc:
            rounds.note_failure(exc)
            outcome = _Outcome(source.name, rounds.tally, str(exc))
            deed.fail(str(exc))
        tally = outcome.tally
        deed.tell(listed=tally.listed, changed=tally.changed, gone=tally.gone, failed=tally.failed)
        return outcome


@contextmanager
def _watched(name: str) -> Iterator[Callable[[Tally, ArchiveState], None]]:
    """What hears of progress, and shows it on a terminal."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{name}: listing", total=None)

        def told(tally: Tally, state: ArchiveState) -> None:
            reached = "" if state.loaded or not state.frontier else f", all since {state.frontier}"
            progress.update(
                task, description=f"{name}: {tally.listed} listed, {tally.changed} taken{reached}"
            )

        yield told


def _report(outcomes: list[_Outcome], as_json: bool) -> None:
    if as_json:
        rows = [{"source": one.source, **asdict(one.tally), "reason": one.reason} for one in outcomes]
        click.echo(json_text(rows))
        return
    for one in outcomes:
        tally = one.tally
        text = (
            f"{tally.listed} listed, {tally.changed} new or changed, {tally.gone} gone, {tally.failed} failed"
        )
        click.echo(f"{one.source}: {text}")
        if one.reason is not None:
            click.echo(f"pacsbridge: {one.source}: {one.reason}", err=True)
