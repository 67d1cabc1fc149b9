"""The search index made again from what is published."""

from pacsbridge.kernel.search_parameters import INDEX_VERSION
from pacsbridge.store import kept, publishing
from pacsbridge.store.engine import Database

GROUP = 500
"""Resources that are indexed again in one transaction."""

_ALL = "all"
_NAME = "index"


def refresh(database: Database, *, anew: bool = False) -> None:
    """Index every resource again where that has not been done under this version of the index, or `anew`.

    One that was interrupted goes on where it was.
    """
    if anew:
        with database.write() as connection:
            kept.remember(connection, _NAME, f"{INDEX_VERSION}:0")
    with database.read() as connection:
        version, _, reached = (kept.recall(connection, _NAME) or "").partition(":")
    after = reached if version == str(INDEX_VERSION) else "0"
    while after != _ALL:
        with database.write() as connection:
            last = publishing.refresh(connection, int(after), GROUP)
            after = _ALL if last is None else str(last)
            kept.remember(connection, _NAME, f"{INDEX_VERSION}:{after}")
