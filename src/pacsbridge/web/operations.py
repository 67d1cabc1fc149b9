"""What the pages of operators look at and may set in motion, as the running process hands it over."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from pacsbridge.bridge.archive_standing import ArchiveStanding
from pacsbridge.bridge.association_log import Associations
from pacsbridge.bridge.letter_work import LetterWork
from pacsbridge.bridge.sources import IMPORT_URI, STOW_URI
from pacsbridge.kernel.identity import source_uri

_AE = source_uri("")
_WAYS = {IMPORT_URI: "import", STOW_URI: "STOW-RS"}


class Peer(NamedTuple):
    """A configured peer; without a host it may call from anywhere."""

    ae_title: str
    host: str | None
    port: int
    services: Sequence[str]


@dataclass(frozen=True, slots=True)
class Operations:
    """Callables of the running process; any thread may use them, and each may raise Unavailable.

    `sync` has a round with a named archive begin; False where there is none of that name. `clock` gives
    microseconds since 1970.
    """

    archives: Callable[[], Sequence[ArchiveStanding]]
    sync: Callable[[str], bool]
    associations: Callable[[], Associations]
    letters: LetterWork
    clock: Callable[[], int]
    peers: Sequence[Peer] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, uri: str) -> str:
        """What people call a source: an archive's name, an AE title, a way in; else the URI itself."""
        known = self.names.get(uri) or _WAYS.get(uri)
        return known or (unquote(uri.removeprefix(_AE)) if uri.startswith(_AE) else uri)
