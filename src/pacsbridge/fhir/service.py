"""What the handlers share: the store, the settings and the executor."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from pacsbridge.errors import TooCostly
from pacsbridge.kernel.query_parsing import SearchSettings
from pacsbridge.store.store import Store

T = TypeVar("T")


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
    body_seconds: float = 20.0
    access_log: bool = True
    cursor_secret: bytes = b""

    @property
    def search(self) -> SearchSettings:
        """What reading a search needs of them."""
        return SearchSettings(self.base_url, self.default_count, self.max_count, secret=self.cursor_secret)


@dataclass(frozen=True, slots=True)
class Service:
    """One for the application; every handler finds it under `SERVICE`."""

    store: Store
    settings: FhirSettings
    executor: Executor
    statement: bytes
    description: bytes

    async def call(self, work: Callable[[], T]) -> T:
        """Run blocking work in the executor."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)

    async def run(self, work: Callable[[bool], T], *, brief: bool) -> T:
        """Run work that looks at the store; it is told whether it must hurry.

        A hop to a thread and back costs more than a search: where the database lives in this process, what is
        `brief` is tried on the loop itself, and goes to a thread only when it would keep others waiting.
        """
        if brief and self.store.embedded:
            with suppress(TooCostly):
                return work(True)
        return await self.call(lambda: work(False))


SERVICE = web.AppKey("pacsbridge_fhir", Service)
