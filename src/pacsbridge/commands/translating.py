"""`translate`: no server, no store, and none of their libraries to wait for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson

from pacsbridge import wiring
from pacsbridge.bridge.collection import Collection
from pacsbridge.bridge.sources import IMPORT_URI
from pacsbridge.commands.answering import answering, config_option, fail, paths_argument
from pacsbridge.config import Config, load


@click.command()
@paths_argument
@config_option
def translate(paths: tuple[Path, ...], file: Path | None) -> None:
    """DICOM files or folders in, a FHIR Bundle (collection) on standard output; no server, no store."""
    with answering():
        settings = load(file)
        collection = Collection(wiring.header_limits(settings))
        collection.add(paths, wiring.sources(settings).of_uri(IMPORT_URI))
        key = wiring.configured_id_key(settings)
        entries = _entries(settings, collection.resources(wiring.publication(settings, key)))
        bundle = {"resourceType": "Bundle", "type": "collection"} | ({"entry": entries} if entries else {})
        sys.stdout.buffer.write(orjson.dumps(bundle) + b"\n")
        for outcome in collection.skipped:
            click.echo(f"skipped {outcome.path}: {outcome.reason}", err=True)
    if not any(entry["resource"]["resourceType"] == "ImagingStudy" for entry in entries):
        fail("no DICOM instance found")


def _entries(settings: Config, resources: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    base = settings.fhir.base_url
    return [{"fullUrl": f"{base}/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]
