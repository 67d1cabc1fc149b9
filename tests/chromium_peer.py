"""A headless Chromium for tests that look at web pages, driven by its DevTools protocol."""

import asyncio
import base64
import contextlib
import itertools
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

_ARGUMENTS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
    ),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    *("--remote-debugging-port=0", "--window-size=1200,800", "about:blank"),
)
_PATIENCE = 30.0


class Page:
    """One page: the URL and header fields of all that it asked for, the status of each, and its errors."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.requests: list[tuple[str, Mapping[str, str]]] = []
        self.answers: dict[str, int] = {}
        self.errors: list[str] = []

    async def listen(self) -> None:
        """Take what the browser tells, until it ends."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            else:
                await self._hear(told["method"], told["params"], told.get("sessionId"))

    async def _hear(self, method: str, told: Any, session: str | None) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append((told["request"]["url"], told["request"]["headers"]))
        elif method == "Network.responseReceived":
            self.answers[told["response"]["url"]] = told["response"]["status"]
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.errors.append(
                " ".join(str(one.get("value", one.get("description"))) for one in told["args"])
            )
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Target.attachedToTarget":
            await self._post("Network.enable", told["sessionId"])
            await self._post("Runtime.runIfWaitingForDebugger", told["sessionId"])

    async def _post(self, method: str, session: str | None = None, **params: Any) -> asyncio.Future[Any]:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        sent = {"id": number, "method": method, "params": params}
        await self._socket.send_json(sent | ({"sessionId": session} if session else {}))
        return self._waiting[number]

    async def call(self, method: str, **params: Any) -> Any:
        """A command of the protocol and its result."""
        told = await asyncio.wait_for(await self._post(method, **params), _PATIENCE)
        assert "error" not in told, (method, told["error"])
        return told["result"]

    async def open(self, url: str) -> None:
        """Go there; what was heard of the page before is forgotten."""
        self.requests.clear()
        self.answers.clear()
        self.errors.clear()
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def wait(self, expression: str, seconds: float = _PATIENCE) -> Any:
        """The first truthy value of a JavaScript expression."""
        deadline = time.monotonic() + seconds
        while not (value := await self.evaluate(expression)):
            text = await self.evaluate("document.body?.innerText")
            assert time.monotonic() < deadline, (expression, self.errors, text)
            await asyncio.sleep(0.1)
        return value

    async def screenshot(self) -> bytes:
        """What the page looks like, as PNG."""
        told = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])


def _started(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


@contextlib.asynccontextmanager
async def browser(program: str, folder: Path) -> Any:
    """A page of a Chromium whose profile is in `folder`; ended by its process id."""
    command = [program, *_ARGUMENTS[:-1], f"--user-data-dir={folder}", _ARGUMENTS[-1]]
    process = _started(command, folder)
    try:
        port = await _port(process, folder / "DevToolsActivePort")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                target = next(one for one in await answer.json() if one["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                await page.call(
                    "Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=True, flatten=True
                )
                yield page
                listening.cancel()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _port(process: subprocess.Popen[bytes], file: Path) -> int:
    """The port that the browser has chosen."""
    deadline = time.monotonic() + _PATIENCE
    while not (file.exists() and file.read_text().strip()):
        assert process.poll() is None, "Chromium has ended"
        assert time.monotonic() < deadline, "Chromium does not start"
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])
