"""The viewer's server: pages and DICOMweb on one origin, so that browsers need to ask nobody else."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from pacsbridge.connections import Patience, Runner, Site
from pacsbridge.errors import Misconfigured
from pacsbridge.viewer.forwarding import DICOMWEB, Forwarding, session
from pacsbridge.viewer.pages import Pages

_STUDY_UID = "0020000D"
_FIRST_STUDY = "/studies?limit=1"
_PATIENCE = aiohttp.ClientTimeout(total=5)


def application(pages: Pages, forwarding: Forwarding) -> web.Application:
    """The application, to be mounted at the root of its origin."""

    async def sign(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "pacsbridge"
        response.headers.extend({n: v for n, v in pages.headers.items() if n not in response.headers})

    app = web.Application()
    app.on_response_prepare.append(sign)
    app.router.add_get(DICOMWEB + "/{path:.*}", forwarding.answer)
    app.router.add_get("/{path:.*}", pages.answer)
    return app


async def serve(pages: Pages, base: str, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve the pages and the DICOMweb service at `base` until SIGTERM or SIGINT.

    `tell` gets what to print. Raises Misconfigured when the address cannot be had.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with session() as client:
        app = application(pages, Forwarding(base, client))
        async with _listening(app, host, port) as origin:
            tell(invitation(origin, base, await _a_study(client, base)))
            await stop.wait()


@asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """The server's origin while it listens."""
    runner = Runner(app, Patience(), shutdown_seconds=1)
    await runner.setup()
    try:
        try:
            await Site(runner, host, port).start()
        except OSError as exc:
            raise Misconfigured(f"--port: cannot listen on {host}:{port} ({exc.strerror})") from exc
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def _a_study(client: aiohttp.ClientSession, base: str) -> str | None:
    """The newest study's UID; empty when none is told, None when the service does not answer."""
    try:
        async with client.get(base.rstrip("/") + _FIRST_STUDY, timeout=_PATIENCE) as answer:
            if answer.status in (204, 401):  # nothing there, or not for everybody to know
                return ""
            found = await answer.json(content_type=None)
            return str(found[0][_STUDY_UID]["Value"][0])
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError):
        return None


def invitation(origin: str, base: str, study: str | None) -> str:
    """What to print: where the viewer is, and a link that opens a study."""
    note = (
        "" if study is not None else f"\n{base} does not answer QIDO-RS yet: is `pacsbridge serve` running?\n"
    )
    return f"""
The viewer shows what {base} has:

  studies    {origin}/
  one study  {origin}/viewer?StudyInstanceUIDs={study or "<Study Instance UID>"}
{note}
Ctrl-C ends it.
"""
