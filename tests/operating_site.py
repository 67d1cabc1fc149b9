"""The pages of operators over a real store, with archives and associations as a test says."""

import asyncio
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from aiohttp import web

from pacsbridge.bridge.archive_standing import ArchiveStanding
from pacsbridge.bridge.archive_state import ArchiveState
from pacsbridge.bridge.association_log import Associations
from pacsbridge.bridge.intake import Intake
from pacsbridge.bridge.letter_work import LetterWork
from pacsbridge.bridge.sources import Source
from pacsbridge.store.overview import Backlog
from pacsbridge.store.records import DeadLetter
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns
from pacsbridge.web import letters, sources, why
from pacsbridge.web.faults import answering
from pacsbridge.web.guarding import guarded
from pacsbridge.web.operations import Operations, Peer
from pacsbridge.web.routes import Route
from pacsbridge.web.service import SERVICE, Web, WebSettings
from pacsbridge.web.showing import static

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
AE = "urn:dicom:ae:CT1"
URL = "http://pacs.example/dicom-web"

_SEAL = re.compile(r'name="csrf" value="([^"]+)"')


class Site:
    """The pages on a port of their own; they show `archives` and `seen`, `synced` is what was asked for."""

    def __init__(self, folder: Path, peers: Sequence[Peer] = (), gate: Any = None) -> None:
        self.store = Store("sqlite", folder)
        self.store.migrate()
        self.intake = Intake(self.store, folder, lambda uri: Source(uri, uri), lambda: NOW, min_free_bytes=0)
        self.intake.start()
        self.archives = [standing()]
        self.seen = Associations()
        self.synced: list[str] = []
        self.work = LetterWork(self.store, self.intake, lambda: NOW)
        operations = Operations(
            lambda: self.archives,
            self._sync,
            lambda: self.seen,
            self.work,
            lambda: NOW,
            peers,
            {URL: "main-pacs"},
        )
        self._executor = ThreadPoolExecutor(2)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        settings = WebSettings("http://127.0.0.1/fhir", "http://127.0.0.1/dicomweb")
        self._run(
            self._listen(Web(self.store, settings, Turns(self._executor), gate=gate, operations=operations))
        )
        self.session = requests.Session()

    def close(self) -> None:
        """Stop everything."""
        self.session.close()
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._executor.shutdown()
        self.work.stop()
        self.intake.stop()
        self.store.close()

    def get(self, path: str, **headers: str) -> requests.Response:
        """A page."""
        return self.session.get(f"{self.origin}{path}", headers=headers, timeout=30, allow_redirects=False)

    def post(self, path: str, seen: str, **fields: Any) -> requests.Response:
        """A form as a browser sends it that has the page `seen`; the page that it leads to."""
        seal = _SEAL.search(seen)
        assert seal is not None, seen
        return self.forged(path, csrf=seal[1], **fields)

    def forged(self, path: str, headers: dict[str, str] | None = None, **fields: Any) -> requests.Response:
        """A form as it stands."""
        return self.session.post(f"{self.origin}{path}", data=fields, headers=headers, timeout=30)

    def bury(self, kind: str, key: str, why: str = "why", source: str = AE, at: int = NOW) -> int:
        """A dead letter; its number."""
        self.store.bury(DeadLetter(kind, key, why, source), at)
        return self.store.overview.last_letter()

    def _sync(self, name: str) -> bool:
        self.synced.append(name)
        return name == "main-pacs"

    async def _listen(self, service: Web) -> None:
        app = web.Application(middlewares=[answering()])
        app[SERVICE] = service
        files = Route("GET", "/static/{digest}/{name}", static, everybody=True)
        for route in (files, *sources.ROUTES, *letters.ROUTES, *why.ROUTES):
            app.router.add_route(route.method, route.path, guarded(route))
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.origin = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def standing(**state: Any) -> ArchiveStanding:
    """An archive that has never been asked, but for what is given of its state."""
    return ArchiveStanding("main-pacs", URL, 30, "new", 0.0, ArchiveState(**state), Backlog(0, 0, 0), None)


def text_of(page: str) -> str:
    """What a page says, without its markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)).replace("\u202f", " ")


MakeSite = Callable[..., Site]
