"""`check` and `why`."""

import json
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from pacsbridge import opening
from pacsbridge.bridge.explaining import NOTHING, Section, sections
from pacsbridge.checking import Finding, check_all
from pacsbridge.commands.answering import (
    FAILED,
    answering,
    config_option,
    fail,
    json_option,
    json_text,
    settings_of,
)
from pacsbridge.commands.recording import recorded
from pacsbridge.config import Config
from pacsbridge.config.effective import effective
from pacsbridge.store.engine import embedded_file
from pacsbridge.store.store import Store


@click.command()
@config_option
@json_option
def check(file: Path | None, as_json: bool) -> None:
    """Print the settings in force, and try everything that they name."""
    with answering():
        settings = settings_of(file)
        findings = check_all(settings)
        shown = effective(settings)
        if as_json:
            click.echo(json_text({"settings": shown, "checks": [finding.as_dict() for finding in findings]}))
        else:
            _print_check(shown, findings)
    sys.exit(0 if all(finding.ok for finding in findings) else FAILED)


def _print_check(shown: dict[str, Any], findings: Sequence[Finding]) -> None:
    for key, value in shown.items():
        click.echo(f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}")
    click.echo()
    for finding in findings:
        click.echo(f"{'ok    ' if finding.ok else 'FAILED'} {finding.name}: {finding.text}")


@click.command()
@click.argument("key")
@config_option
@json_option
def why(key: str, file: Path | None, as_json: bool) -> None:
    """What is known of a UID, accession or patient ID: where it came from, what failed, what is queued."""
    with answering():
        settings = settings_of(file)
        need_store(settings)
        asked = b64encode(key.encode("utf-8", "replace")).decode()
        with recorded(settings, "why", query=asked), closing(opening.open_store(settings)) as store:
            found = store.why(key)
    told = sections(found)
    if as_json:
        click.echo(json_text(found))
    else:
        _print_findings(told)
    if not told:
        fail(NOTHING)


def _print_findings(told: Sequence[Section]) -> None:
    for section in told:
        for record in section.records:
            click.echo(section.heading)
            for name, value in record:
                click.echo(f"  {name:<16} {value}")
        if section.rest is not None:
            click.echo(section.rest)


def opened(file: Path | None) -> Store:
    """The store, which these commands ask and never make."""
    settings = settings_of(file)
    need_store(settings)
    return opening.open_store(settings)


def need_store(settings: Config) -> None:
    """Fail where there is no embedded database yet: to ask for one must not make it."""
    path = embedded_file(settings.store.url, settings.data_dir)
    if path is not None and not path.exists():
        fail(f"no store at {path}")
