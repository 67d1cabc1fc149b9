"""`dead-letters`."""

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click

from pacsbridge import opening
from pacsbridge.bridge.letters import retry_letters, why_left
from pacsbridge.commands.answering import (
    FAILED,
    answering,
    config_option,
    fail,
    json_option,
    json_text,
    settings_of,
)
from pacsbridge.commands.asking import need_store, opened
from pacsbridge.commands.recording import recorded
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import Store


@click.group(name="dead-letters")
def dead_letters() -> None:
    """What could not be taken or sent on."""


@dead_letters.command(name="list")
@config_option
@json_option
def list_(file: Path | None, as_json: bool) -> None:
    """The latest first."""
    with answering():
        letters = _letters(file)
    _print_letters(letters, as_json)


@dead_letters.command()
@click.argument("key")
@config_option
@json_option
def show(key: str, file: Path | None, as_json: bool) -> None:
    """Those under one key: a SOP Instance UID, as a rule."""
    with answering():
        letters = _letters(file, key)
    _print_letters(letters, as_json)
    if not letters:
        fail("no dead letter under that key")


@dead_letters.command()
@click.argument("key")
@config_option
def retry(key: str, file: Path | None) -> None:
    """Try again what is under one key, or `all`; what only its sender can repeat stays as it is.

    A conflict is tried again by its own key alone: what was put aside then takes the place of what is held.
    """
    with answering():
        settings = settings_of(file)
        with (
            recorded(settings, "letters-retried", key=_plain(key)) as deed,
            opening.offline(settings, deleted=deed.deleted.append) as (store, intake, publisher),
        ):
            found = _found(store, key)
            outcome = retry_letters(store, intake, found, opening.now, conflicts=key != "all")
            deed.tell(retried=outcome.retried, waiting=outcome.waiting, left=len(outcome.left))
            if not intake.indexer.drain(600):
                fail("what was read again is safe, but not indexed yet: the next start does it")
            publisher.publish_all()
            if outcome.left:
                deed.fail("some are left as they are")
    click.echo(f"{outcome.retried} tried again, {outcome.waiting} asked for at the next round")
    for letter in outcome.left:
        click.echo(f"left {letter.key}: {letter.reason}: {why_left(letter)}")
    if outcome.left:
        sys.exit(FAILED)


@dead_letters.command()
@click.argument("key")
@config_option
def discard(key: str, file: Path | None) -> None:
    """Give up what is under one key, or `all`: the record of it is deleted."""
    with answering():
        settings = settings_of(file)
        need_store(settings)
        with (
            recorded(settings, "letters-discarded", key=_plain(key)) as deed,
            closing(opening.open_store(settings)) as store,
        ):
            count = store.discard_letters(_found(store, key))
            deed.tell(discarded=count)
    click.echo(f"{count} discarded")


def _plain(key: str) -> str:
    """A key for the record, where it is a UID or `all`: that of other letters, a path, may name a patient."""
    return key if key == "all" or not set(key) - set("0123456789.") else "not a UID"


def _found(store: Store, key: str) -> Sequence[DeadLetter]:
    letters = store.dead_letters(None if key == "all" else key, limit=_ALL)
    if not letters:
        fail("there is no dead letter" + ("" if key == "all" else " under that key"))
    return letters


_ALL = 100_000


def _letters(file: Path | None, key: str | None = None) -> list[dict[str, object]]:
    with closing(opened(file)) as store:
        return [letter.as_dict() for letter in store.dead_letters(key)]


def _print_letters(letters: Sequence[dict[str, object]], as_json: bool) -> None:
    if as_json:
        click.echo(json_text(letters))
        return
    for letter in letters:
        click.echo("  ".join(f"{value}" for value in letter.values() if value is not None))
