"""What the handlers share: the store, the settings and the turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from aiohttp import web

from pacsbridge.access.rights import Access, sealing
from pacsbridge.errors import Absent, TooCostly
from pacsbridge.fhir.recent import Recent
from pacsbridge.kernel.query import Form, Query
from pacsbridge.kernel.query_parsing import SearchSettings
from pacsbridge.store.audit import AuditLog
from pacsbridge.store.records import Version
from pacsbridge.store.shelf import Shelf
from pacsbridge.store.store import Store
from pacsbridge.turns import HURRIED, Turn, Turns

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FhirSettings:
    """`base_url`: the absolute URL of this API without a trailing slash, as clients reach it.

    Counts are entries a page, `max_batch` those of a batch; `max_body` is in bytes, `body_seconds` how long a
    client may take to send one. `cursor_secret` seals the links from page to page.
    """

    base_url: str
    software_version: str = "0"
    default_count: int = 50
    max_count: int = 1000
    max_batch: int = 100
    max_body: int = 1 << 20
    body_seconds: float = 15.0
    access_log: bool = True
    cursor_secret: bytes = b""

    def search(self, access: Access | None = None) -> SearchSettings:
        """What reading a search needs of them. Links are sealed for those who have the same patient."""
        secret = sealing(self.cursor_secret, access)
        return SearchSettings(self.base_url, self.default_count, self.max_count, secret=secret)


class Asked(NamedTuple):
    """One interaction: what the path names, the parameters, and the conditions of the client.

    `tags` are those of If-None-Match without quotes, None where it was not sent; `since` is
    If-Modified-Since. `access` is what the caller may have, None where everybody may have everything.
    """

    type: str | None = None
    id: str | None = None
    version: int | None = None
    pairs: Pairs = ()
    strict: bool = False
    tags: tuple[str, ...] | None = None
    since: datetime | None = None
    access: Access | None = None

    @property
    def length(self) -> int:
        """How many characters it has, about."""
        return sum(len(name) + len(text) for name, text in self.pairs) + sum(map(len, self.tags or ()))

    def holds(self, known: Version) -> bool:
        """Whether the client holds this version (RFC 9110 13.2.2)."""
        if self.tags is not None:
            return any(tag in ("*", str(known.version)) for tag in self.tags)
        return self.since is not None and known.updated.replace(microsecond=0) <= self.since


class Answer(NamedTuple):
    """What is answered: JSON, and the version that it shows with its moment, where it shows one.

    `published` is in microseconds since 1970. Not `lasting`: the next may differ although nothing has been
    committed here.
    """

    status: int
    body: bytes = b""
    version: int | None = None
    published: int = 0
    lasting: bool = True


Asking = Callable[[Query], Sequence[str] | None]
"""Asks archives for what a search did not find: what could not be asked; None where nothing was asked."""

_QUERIES_BYTES = 4 << 20
"""What searches that have been read lately may take, about."""

_PARTS_BYTES = 16 << 20
"""The same of parts of documents, and the documents."""

Part = tuple[bytes, Form, frozenset[str]]
"""A document, and how much of it is wanted."""

Interaction = Callable[["Service", Asked, Turn], Answer]
"""Something that can be asked."""


@dataclass(frozen=True, slots=True)
class Service:
    """One for the application; every handler finds it under `SERVICE`."""

    store: Store
    settings: FhirSettings
    turns: Turns
    statement: bytes
    description: bytes
    recent: Recent[tuple[Interaction, Asked], Answer]
    asking: Asking | None = None
    audit: AuditLog | None = None
    queries: Shelf[Asked, tuple[Query, SearchSettings]] = field(default_factory=lambda: Shelf(_QUERIES_BYTES))
    parts: Shelf[Part, bytes] = field(default_factory=lambda: Shelf(_PARTS_BYTES))

    def documents(self, type_: str) -> Store | AuditLog:
        """Where the resources of a type are. Raises Absent for the audit log where there is none."""
        if type_ != "AuditEvent":
            return self.store
        if self.audit is None:
            raise Absent("there is no audit log here (audit.enabled)")
        return self.audit

    async def answer(self, interaction: Interaction, asked: Asked, *, brief: bool) -> Answer:
        """Do an interaction.

        A hop to a thread and back costs more than a search: where the database lives in this process, what is
        `brief` is tried on the loop itself, and goes to a thread only when it would keep others waiting. What
        was answered is kept, and holds until anything has been committed.
        """
        if not (brief and self.store.embedded):
            return await self._unhurried(interaction, asked)
        name, state = (interaction, asked), self.recent.state()
        answer = self.recent.get(name, state)
        if answer is None:
            try:
                answer = interaction(self, asked, HURRIED)
            except TooCostly:
                answer = await self._unhurried(interaction, asked)
            if answer.lasting:
                self.recent.put(name, state, answer, asked.length + len(answer.body))
        return answer

    async def _unhurried(self, interaction: Interaction, asked: Asked) -> Answer:
        return await self.turns.take(lambda turn: interaction(self, asked, turn))


SERVICE = web.AppKey("pacsbridge_fhir", Service)
