"""The command line: each command a few lines over the runtime. Exit codes: 0 done, 1 failed, 2 usage."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pacsbridge import __version__, demo, runtime
from pacsbridge.bridge.importing import Collection, Outcome, import_files
from pacsbridge.bridge.sources import IMPORT_URI
from pacsbridge.checking import Finding, check_all
from pacsbridge.config import Config, load
from pacsbridge.config.effective import effective
from pacsbridge.dicom.files import find_files
from pacsbridge.errors import Misconfigured, PacsbridgeError

F = TypeVar("F", bound=Callable[..., Any])

_FAILED, _USAGE = 1, 2


def _fail(message: str, code: int = _FAILED) -> NoReturn:
    click.echo(f"pacsbridge: {message}", err=True)
    sys.exit(code)


@contextmanager
def _answering() -> Iterator[None]:
    """Errors as one line and an exit code."""
    try:
        yield
    except Misconfigured as exc:
        _fail(str(exc), _USAGE)
    except PacsbridgeError as exc:
        _fail(str(exc))
    except OSError as exc:
        _fail(f"{exc.filename or 'system'}: {exc.strerror}")


def _config_option(command: F) -> F:
    return click.option(
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration; without it PACSBRIDGE_CONFIG, then ./pacsbridge.toml, then the defaults.",
    )(command)


def _json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def _paths_argument(command: F) -> F:
    return click.argument(
        "paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH…"
    )(command)


def _settings(file: Path | None) -> Config:
    settings = load(file)
    runtime.configure_logs(settings)
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pacsbridge")
def main() -> None:
    """Connects a hospital's PACS to its FHIR ecosystem."""


@main.command()
@_config_option
def serve(file: Path | None) -> None:
    """Run everything until SIGTERM or SIGINT."""
    with _answering():
        settings = _settings(file)
        _until_signal(runtime.Runtime(settings))


def _until_signal(running: runtime.Runtime, then: Callable[[], None] = lambda: None) -> None:
    """Start, call `then`, wait for SIGTERM or SIGINT, stop."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    running.start()
    try:
        then()
        stop.wait()
    finally:
        running.stop()


@main.command(name="demo")
@click.option("--dimse-port", type=click.IntRange(0, 65535), default=11112, show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="The HTTP port.")
def demo_(dimse_port: int, port: int) -> None:
    """Serve sample studies from a temporary folder, and print what to try."""
    with _answering(), demo.settings(dimse_port, port) as settings:
        runtime.configure_logs(settings)
        running = runtime.Runtime(settings)
        _until_signal(running, lambda: click.echo(demo.fill(running)))


@main.command()
@_config_option
@_json_option
def check(file: Path | None, as_json: bool) -> None:
    """Print the settings in force, and try everything that they name."""
    with _answering():
        settings = _settings(file)
        findings = check_all(settings)
        shown = effective(settings)
        if as_json:
            click.echo(_json({"settings": shown, "checks": [finding.as_dict() for finding in findings]}))
        else:
            _print_check(shown, findings)
    sys.exit(0 if all(finding.ok for finding in findings) else _FAILED)


def _print_check(shown: dict[str, Any], findings: Sequence[Finding]) -> None:
    for key, value in shown.items():
        click.echo(f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}")
    click.echo()
    for finding in findings:
        click.echo(f"{'ok    ' if finding.ok else 'FAILED'} {finding.name}: {finding.text}")


@main.command()
@_paths_argument
@_config_option
def translate(paths: tuple[Path, ...], file: Path | None) -> None:
    """DICOM files or folders in, a FHIR Bundle (collection) on standard output; no server, no store."""
    with _answering():
        settings = load(file)
        collection = Collection()
        collection.add(paths, runtime.sources(settings).of_uri(IMPORT_URI))
        key = runtime.configured_id_key(settings)
        entries = _entries(settings, collection.resources(runtime.publication(settings, key)))
        bundle = {"resourceType": "Bundle", "type": "collection"} | ({"entry": entries} if entries else {})
        sys.stdout.buffer.write(orjson.dumps(bundle) + b"\n")
        for outcome in collection.skipped:
            click.echo(f"skipped {outcome.path}: {outcome.reason}", err=True)
    if not any(entry["resource"]["resourceType"] == "ImagingStudy" for entry in entries):
        _fail("no DICOM instance found")


def _entries(settings: Config, resources: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    base = settings.fhir.base_url
    return [{"fullUrl": f"{base}/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]


@main.command(name="import")
@_paths_argument
@_config_option
@_json_option
def import_(paths: tuple[Path, ...], file: Path | None, as_json: bool) -> None:
    """Add files or folders to the store; what is there already is left as it is, so it can be repeated."""
    with _answering():
        settings = _settings(file)
        source = runtime.sources(settings).of_uri(IMPORT_URI)
        with runtime.offline(settings) as (_store, intake, publisher):
            outcomes = import_files(paths, intake, source, settings.limits.object_bytes)
            skipped, taken = _watched(outcomes, paths)
            if not intake.indexer.drain(600):
                _fail("what was imported is safe, but not indexed yet: the next start does it")
            publisher.publish_all()
    _report_import(taken, skipped, as_json)
    sys.exit(0 if taken or not skipped else _FAILED)


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
        click.echo(_json({"taken": taken, "skipped": rows}))
        return
    click.echo(f"{taken} instances taken, {len(skipped)} files skipped")
    for outcome in skipped:
        click.echo(f"skipped {outcome.path}: {outcome.reason}")


@main.command()
@_config_option
def migrate(file: Path | None) -> None:
    """Bring the database's schema up to date."""
    with _answering():
        store = runtime.open_store(_settings(file), migrate=False)
        try:
            done = store.migrate()
        finally:
            store.close()
        click.echo(f"{done} migrations run" if done else "the schema is up to date")


@main.command()
@_config_option
def reindex(file: Path | None) -> None:
    """Rebuild the index from the stored files; published versions keep their numbers. Stop `serve` first."""
    with _answering():
        settings = _settings(file)
        count = runtime.reindex(settings)
        click.echo(f"{count} instances indexed")


@main.command()
@click.argument("key")
@_config_option
@_json_option
def why(key: str, file: Path | None, as_json: bool) -> None:
    """What is known of a study, series or instance UID: where it came from, what failed, what is queued."""
    with _answering():
        store = runtime.open_store(_settings(file))
        try:
            found = store.why(key)
        finally:
            store.close()
    if as_json:
        click.echo(_json(found))
    else:
        _print_findings(found)
    if not any(found.values()):
        _fail("nothing is known under that key")


def _print_findings(found: Any) -> None:
    for kind, rows in found.items():
        for row in rows:
            values = ", ".join(f"{name}: {value}" for name, value in row.items() if value is not None)
            click.echo(f"{kind}: {values}")


@main.command()
@click.argument("source", required=False)
@click.option("--full", is_flag=True)
@click.option("--since")
@_config_option
def sync(source: str | None, full: bool, since: str | None, file: Path | None) -> None:
    """One round of the QIDO-RS client."""
    del source, full, since
    with _answering():
        load(file)
        raise Misconfigured("sync: asking archives by QIDO-RS is not available in this version")


@main.group(name="dead-letters")
def dead_letters() -> None:
    """What could not be taken or sent on."""


@dead_letters.command(name="list")
@_config_option
@_json_option
def list_(file: Path | None, as_json: bool) -> None:
    """The latest first."""
    with _answering():
        store = runtime.open_store(_settings(file))
        try:
            letters = [letter.as_dict() for letter in store.dead_letters()]
        finally:
            store.close()
    if as_json:
        click.echo(_json(letters))
        return
    for letter in letters:
        click.echo("  ".join(f"{value}" for value in letter.values() if value is not None))


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()
