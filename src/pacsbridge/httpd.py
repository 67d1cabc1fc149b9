"""The HTTP server: one port for every web application, in a thread with a loop of its own."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pacsbridge import metrics
from pacsbridge.access.auditing import Witness, caller
from pacsbridge.access.gate import Gate
from pacsbridge.access.guard import ACCESS, Handler, identify
from pacsbridge.access.proxies import behind
from pacsbridge.access.rights import OPERATOR
from pacsbridge.access.ways import WRONG, named
from pacsbridge.connections import SERVER, SHUTDOWN_SECONDS, Patience, Runner, Site
from pacsbridge.errors import (
    Denied,
    Insecure,
    Misconfigured,
    Misdirected,
    NotUnderstood,
    Refused,
    Unauthenticated,
    Unavailable,
)
from pacsbridge.kernel.audit import SERIOUS, Event
from pacsbridge.tls.failures import Failures

Checks = Mapping[str, Callable[[], str | None]]
"""Name of a part → what is wrong with it, None when nothing is."""


async def _sign(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


@dataclass(frozen=True, slots=True)
class Front:
    """How the port is reached: by TLS, through proxies (networks) that end it, by whom the gate knows.

    `patience` is for all of them. `plain`: requests may come from elsewhere without TLS all the same.
    Without a gate, `names` are those under which we may be asked, beside addresses.
    `strangers` hears of TLS handshakes that fail.
    """

    gate: Gate | None = None
    tls: ssl.SSLContext | None = None
    proxies: tuple[str, ...] = ()
    plain: bool = False
    names: frozenset[str] = frozenset()
    patience: Patience = Patience()
    strangers: Failures = field(default_factory=lambda: Failures("http"))


def _no_pages(_app: web.Application) -> None:
    """Nothing beside the applications."""


class HttpServer:
    """Serves `applications` (path → application), `/health/…`, `/metrics`; `witness` hears who is refused."""

    def __init__(
        self,
        host: str,
        port: int,
        applications: Mapping[str, web.Application],
        checks: Checks,
        front: Front | None = None,
        witness: Witness | None = None,
        pages: Callable[[web.Application], None] = _no_pages,
    ) -> None:
        self._host = host
        self._port = port
        self._applications = applications
        self._checks = checks
        self._front = front or Front()
        self._pages = pages
        self._witness = witness
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
        self._runner: Runner | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        if self._runner is not None and self._runner.addresses:
            return int(self._runner.addresses[0][1])
        return self._port

    def start(self) -> None:
        """Listen. Raises Misconfigured when the address cannot be had."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError as exc:
            self.stop()
            raise Misconfigured(
                f"fhir.port: cannot listen on {self._host}:{self._port} ({exc.strerror})"
            ) from exc

    def stop(self) -> None:
        """Finish the requests under way, then close."""
        if self._runner is not None:
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(SHUTDOWN_SECONDS + 5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._runner = Runner(self._application(), self._front.patience)
        await self._runner.setup()
        front = self._front
        await Site(self._runner, self._host, self._port, front.tls, front.strangers).start()

    def _application(self) -> web.Application:
        front = self._front
        layers = [named(front.names)] if front.gate is None else []
        layers += [behind(front.proxies, plain=front.plain)] if front.proxies else []
        app = web.Application(middlewares=layers)
        app.on_response_prepare.append(_sign)
        app.router.add_get("/health/live", _live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._guarded(_metrics))
        for path, application in self._applications.items():
            app.add_subapp(path, application)
        self._pages(app)
        return app

    def _guarded(self, handler: Handler) -> Handler:
        """What is for operators alone, where callers are known."""

        async def handle(request: web.Request) -> web.StreamResponse:
            fault = await self._fault(request)
            if fault is None:
                return await handler(request)
            if self._witness is not None and isinstance(fault, (Denied, Misdirected, Insecure)):
                self._witness.record(Event("refused", SERIOUS, caller(request), reason=str(fault)))
            status = next(status for kind, status in _STATUS.items() if isinstance(fault, kind))
            headers = {"WWW-Authenticate": fault.challenge} if isinstance(fault, Denied) else {}
            return web.Response(text=f"{fault}\n", status=status, headers=headers)

        return handle

    async def _fault(self, request: web.Request) -> Denied | Refused | Unavailable | None:
        """Why the caller is not taken for an operator."""
        if self._front.gate is None or WRONG in request:
            return request.get(WRONG)
        try:
            request[ACCESS] = access = await identify(self._front.gate, request)
            access.need(OPERATOR)
        except (Denied, NotUnderstood, Unavailable) as exc:
            return exc
        return None

    async def _ready(self, request: web.Request) -> web.Response:
        """200 when every part works, else 503; operators are told which one does not and why."""
        loop = asyncio.get_running_loop()
        found = {name: await loop.run_in_executor(None, check) for name, check in self._checks.items()}
        faults = {name: reason for name, reason in found.items() if reason is not None}
        body: dict[str, object] = {"status": "unready" if faults else "ready"}
        if await self._fault(request) is None:
            body["parts"] = {name: reason or "ok" for name, reason in found.items()}
        return web.json_response(body, status=503 if faults else 200)


_STATUS: Mapping[type[Exception], HTTPStatus] = {
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Denied: HTTPStatus.FORBIDDEN,
    Misdirected: HTTPStatus.MISDIRECTED_REQUEST,
    Insecure: HTTPStatus.FORBIDDEN,
    Refused: HTTPStatus.BAD_REQUEST,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""The first row that fits tells how a caller is turned away."""


async def _live(_request: web.Request) -> web.Response:
    return web.json_response({"status": "live"})


async def _metrics(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(metrics.REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})
