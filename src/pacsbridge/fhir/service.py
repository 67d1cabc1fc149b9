"""What the handlers share: the store, the settings and the executor."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from pacsbridge.kernel.query_parsing import SearchSettings
from pacsbridge.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FhirSettings:
    """`base_url`: the absolute URL of this API without a trailing slash, as clients reach it.

    Counts are entries a page; `max_body` is in bytes, `body_seconds` how long a client may take to send one.
    """

    base_url: str
    software_version: str = "0"
    default_count: int = 50
    max_count: int = 1000
    max_body: int = 1 << 20
    body_seconds: float = 20.0
    access_log: bool = True

    @property
    def search(self) -> SearchSettings:
        """What reading a search needs of them."""
        return SearchSettings(self.base_url, self.default_count, self.max_count)


@dataclass(frozen=True, slots=True)
class Service:
    """One for the application; every handler finds it under `SERVICE`."""

    store: Store
    settings: FhirSettings
    executor: Executor
    statement: bytes

    async def call(self, work: Callable[[], T]) -> T:
        """Run blocking work in the executor."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    async def point(self, work: Callable[[], T]) -> T:
        """Run a point read: on the loop itself where the database lives here, since a hop costs more."""
        return work() if self.store.embedded else await self.call(work)


SERVICE = web.AppKey("pacsbridge_fhir", Service)
