"""How much has come, by hour and source: counted as it is indexed, so that nothing has to be scanned."""

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, delete, text

from pacsbridge.store import schema

HOUR = 3_600_000_000
"""Microseconds."""

KEPT_HOURS = 100 * 24
"""What is older is forgotten."""

_ADD = text(
    "INSERT INTO arrival (hour, source, instances, studies) VALUES (:hour, :source, :instances, :studies)"
    " ON CONFLICT (hour, source) DO UPDATE SET"
    " instances = arrival.instances + excluded.instances, studies = arrival.studies + excluded.studies"
)


def note_instances(connection: Connection, received: Iterable[tuple[int, str]], now: int) -> None:
    """Count pushed instances: when each was received (microseconds since 1970), and its source."""
    _note(connection, received, now, instances=1, studies=0)


def note_studies(connection: Connection, told: Iterable[tuple[int, str]], now: int) -> None:
    """Count studies of which an archive said something new: when, and which archive."""
    _note(connection, told, now, instances=0, studies=1)


def _note(
    connection: Connection, moments: Iterable[tuple[int, str]], now: int, *, instances: int, studies: int
) -> None:
    oldest = now // HOUR - KEPT_HOURS
    counts = Counter((at // HOUR, source) for at, source in moments if at // HOUR > oldest)
    rows = [
        {"hour": hour, "source": source, "instances": instances * n, "studies": studies * n}
        for (hour, source), n in sorted(counts.items())
    ]
    if rows:
        connection.execute(_ADD, rows)
        connection.execute(delete(schema.arrival).where(schema.arrival.c.hour <= oldest))
