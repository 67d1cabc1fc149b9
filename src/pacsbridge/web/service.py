"""What the pages share: the store, the settings, the sessions and the turns."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TypeVar

from aiohttp import web

from pacsbridge.access.gate import Gate
from pacsbridge.access.rights import Access, sealing
from pacsbridge.access.sessions import Sessions
from pacsbridge.bridge.probing import Probe
from pacsbridge.kernel.query_parsing import SearchSettings
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns
from pacsbridge.web.kept import Kept
from pacsbridge.web.manual_search import Page
from pacsbridge.web.oauth import CodeFlow
from pacsbridge.web.operations import Operations

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`base_url` and `dicomweb_url` are those of the FHIR API and of DICOMweb, as clients reach them.

    `dimse` is our AE title and port, `viewer` a template of links with `{study_uid}`, `scopes` what the pages
    need of a token. `pictures`: DICOMweb makes thumbnails. `cursor_secret` seals the links from page to page.
    """

    base_url: str
    dicomweb_url: str
    version: str = "0"
    dimse: tuple[str, int] = ("PACSBRIDGE", 11112)
    viewer: str | None = None
    scopes: str = ""
    pictures: bool = False
    count: int = 50
    body_seconds: float = 15.0
    access_log: bool = True
    cursor_secret: bytes = b""

    def search(self, access: Access | None = None, order: str = "") -> SearchSettings:
        """What reading a search needs of them. Links are sealed for an order and for one patient."""
        secret = sealing(sha256(f"pages:{order}:".encode() + self.cursor_secret).digest(), access)
        return SearchSettings(self.base_url, self.count, self.count, secret=secret)


@dataclass(frozen=True, slots=True)
class Web:
    """One for the application; every handler finds it under `SERVICE`.

    Without a gate everybody may have everything. `operations` is what operators' pages look at and set in
    motion, `flow` how a browser is sent to sign in, where that is configured. `manual` gives the pages of the
    manual by name, in their order. `probe` tries where a study can be fetched.
    """

    store: Store
    settings: WebSettings
    turns: Turns
    gate: Gate | None = None
    operations: Operations | None = None
    probe: Probe | None = None
    flow: CodeFlow | None = None
    manual: Callable[[], Mapping[str, Page]] = dict
    own_sessions: Sessions = field(default_factory=Sessions)
    kept: Kept = field(default_factory=Kept)

    @property
    def sessions(self) -> Sessions:
        """Who has signed in; where nobody can, what seals forms all the same."""
        return self.own_sessions if self.gate is None else self.gate.sessions

    def name_of(self, uri: str) -> str:
        """What people call a source."""
        return uri if self.operations is None else self.operations.name_of(uri)

    async def call(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.turns.executor, work)


SERVICE = web.AppKey("pacsbridge_web", Web)
