"""`verify` and `backup`."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pacsbridge import backup, datadir, opening, wiring
from pacsbridge.blobs.copying import blob_bytes
from pacsbridge.blobs.inspection import Inspection
from pacsbridge.blobs.losses import REMEDIES, Loss
from pacsbridge.bridge.verification import KINDS, REBUILT, RESTORED, Finding, Verification
from pacsbridge.commands.answering import (
    FAILED,
    answering,
    config_option,
    json_option,
    json_text,
    settings_of,
)
from pacsbridge.commands.asking import need_store
from pacsbridge.commands.progress import passing
from pacsbridge.commands.recording import recorded
from pacsbridge.config import Config
from pacsbridge.errors import Misconfigured
from pacsbridge.store.audit import FILE as AUDIT
from pacsbridge.store.engine import embedded_file

Show = Callable[[Finding], None]


@click.command()
@click.option(
    "--checksum/--no-checksum",
    default=True,
    show_default=True,
    help="Read every stored byte and compare it with its checksum.",
)
@config_option
@json_option
def verify(file: Path | None, checksum: bool, as_json: bool) -> None:
    """Compare index, stored instances, published documents and the audit log; `serve` may run meanwhile."""
    with answering():
        settings = settings_of(file)
        need_store(settings)
        show = _Json() if as_json else _Lines()
        with recorded(settings, "verify") as deed, datadir.held(settings.data_dir):
            told = _verify(settings, show.finding, checksum=checksum)
            deed.tell(findings=show.count, instances=told["instances"], studies=told["studies"])
            if show.count:
                deed.fail("there are findings")
        show.end(told)
    sys.exit(FAILED if show.count else 0)


def _verify(settings: Config, show: Show, *, checksum: bool) -> dict[str, Any]:
    """Show every finding; what has been looked at."""
    store = opening.open_store(settings, migrate=False)
    try:
        if store.pending_migrations():
            raise Misconfigured("store.url: the schema is of an earlier version: run `pacsbridge migrate`")
        inspection = Inspection(settings.data_dir)
        publication = wiring.publication(settings, wiring.configured_id_key(settings))
        with passing("packs", sum(size for _name, size in inspection.packs())) as advance:
            work = Verification(store, inspection, publication, checksum=checksum, advance=advance)
            for finding in work.findings():
                show(finding)
    finally:
        store.close()
    return {**asdict(work.checked), **_audit(settings, show)}


def _audit(settings: Config, show: Show) -> dict[str, Any]:
    """The audit log's chain, and its end: who notes that elsewhere can see whether the log was cut off."""
    embedded = embedded_file(settings.store.url, settings.data_dir) is not None
    absent = embedded and not (settings.data_dir / AUDIT).exists()
    log = None if absent else opening.open_audit_log(settings)
    if log is None:
        return {}
    try:
        broken = log.broken()
        if broken is not None:
            show(Finding("audit", place=str(broken), detail="not what was recorded, or not there"))
        head = log.head()
    finally:
        log.close()
    return {"audit_records": head.number, "audit_digest": head.digest.hex()}


_WAYS_OUT = {
    "restore from a backup, or have sent again": RESTORED,
    "`pacsbridge reindex` makes anew": REBUILT,
}
"""What to do → the kinds of findings that it mends."""


class _Lines:
    """Findings for people."""

    def __init__(self) -> None:
        self.count = 0
        self._kinds: set[str] = set()

    def finding(self, one: Finding) -> None:
        """One line."""
        self.count += 1
        self._kinds.add(one.kind)
        words = (one.kind, one.uid, one.place, one.detail or ALL_KINDS[one.kind])
        click.echo("  ".join(word for word in words if word))

    def end(self, told: dict[str, Any]) -> None:
        """What has been looked at, and how many findings there are."""
        for name, value in told.items():
            click.echo(f"{name.replace('_', ' ')}: {value}")
        for deed, kinds in _WAYS_OUT.items():
            if some := sorted(self._kinds & kinds):
                click.echo(f"{deed}: {', '.join(some)}")
        click.echo(f"{self.count} findings" if self.count else "no findings")


class _Json:
    """One JSON document for programs, written as it comes."""

    count = 0

    def finding(self, one: Finding) -> None:
        """One element of the list."""
        click.echo(('{"findings": [\n' if not self.count else ",\n") + json_text(asdict(one)), nl=False)
        self.count += 1

    def end(self, told: dict[str, Any]) -> None:
        """Everything else."""
        start = "" if self.count else '{"findings": ['
        click.echo(f'{start}],\n"checked": {json_text(told)}}}')


ALL_KINDS = {**KINDS, "audit": "a record of the audit log is not what was recorded"}
"""Every kind of finding, with its meaning."""


@click.command(name="backup")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--prune", is_flag=True, help="Remove from FOLDER what has been erased since it was copied.")
@config_option
def backup_(folder: Path, file: Path | None, prune: bool) -> None:
    """Copy everything that is kept into FOLDER; `serve` may run meanwhile.

    Again into the same folder, it copies only what has changed, and removes nothing but with --prune. What
    has been damaged or lost since stays in FOLDER as it was there: it is named, the rest is copied all the
    same, and the command ends with 1. A database in PostgreSQL is not copied: dump it before, then run this.
    """
    with answering():
        settings = settings_of(file)
        if not (settings.data_dir / "packs").is_dir():
            need_store(settings)
        if embedded_file(settings.store.url, settings.data_dir) is None:
            click.echo("the database is PostgreSQL's: the dump that belongs to this copy is one from before")
        with (
            recorded(settings, "backup", destination=str(folder.absolute())) as deed,
            passing("instances", blob_bytes(settings.data_dir)) as advance,
        ):
            done = backup.back_up(settings, folder, advance, _show_loss, prune=prune)
            deed.tell(files=done.files, bytes=done.bytes, removed=done.removed, losses=len(done.losses))
            if done.losses:
                deed.fail("the copy has what has been lost since")
    removed = f", {done.removed} removed" if prune else ""
    click.echo(f"{done.files} files copied ({done.bytes >> 20} MiB), {done.kept} were there already{removed}")
    if done.losses:
        click.echo(f"{len(done.losses)} findings{': nothing was removed' if prune else ''}")
        sys.exit(FAILED)


def _show_loss(one: Loss) -> None:
    """One line: what, where, more in words, what to do."""
    words = (one.kind, one.place, one.detail, REMEDIES[one.kind])
    click.echo("  ".join(word for word in words if word))
