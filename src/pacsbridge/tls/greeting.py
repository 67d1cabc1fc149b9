"""The TLS handshake of an asyncio server, whose failures are known, with the address of the caller."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from pacsbridge import metrics
from pacsbridge.tls.failures import Failures


@dataclass(slots=True)
class Greetings:
    """Shakes hands with every caller, then leaves the connection to a protocol of `factory`.

    `seconds`: how long the handshake may take; `most`: how many may be under way, one more takes the place of
    the oldest. `failures` hears of those that come to nothing.
    """

    factory: Callable[[], asyncio.BaseProtocol]
    context: ssl.SSLContext
    seconds: float
    most: int
    failures: Failures
    _under_way: dict["asyncio.Task[None]", asyncio.Transport] = field(default_factory=dict)

    def __call__(self) -> asyncio.Protocol:
        """What a new connection begins with."""
        return _Greeting(self)

    def begin(self, transport: asyncio.Transport, greeting: "_Greeting") -> None:
        """Shake hands with one."""
        task = asyncio.get_running_loop().create_task(self._shake_hands(transport, greeting))
        self._under_way[task] = transport
        task.add_done_callback(lambda done: self._under_way.pop(done, None))
        if len(self._under_way) > self.most:
            metrics.HTTP_DROPPED.labels("replaced").inc()
            self._give_up(next(iter(self._under_way)))

    def close(self) -> None:
        """Give up those that are under way."""
        for task in tuple(self._under_way):
            self._give_up(task)

    def _give_up(self, task: "asyncio.Task[None]") -> None:
        """Cancelled before it has begun, a task would leave its connection open."""
        self._under_way.pop(task).abort()
        task.cancel()

    async def _shake_hands(self, transport: asyncio.Transport, greeting: "_Greeting") -> None:
        address = (transport.get_extra_info("peername") or ("",))[0]
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport, greeting, self.context, server_side=True, ssl_handshake_timeout=self.seconds
            )
        except OSError as exc:
            self.failures.note(address, exc)
            return
        if secure is not None:
            greeting.hand_over(secure, self.factory())


class _Greeting(asyncio.Protocol):
    """A connection until its protocol is there: what comes with the last of the handshake is kept for it."""

    def __init__(self, greetings: Greetings) -> None:
        self._greetings = greetings
        self._early = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (for the type checker)
        transport.pause_reading()
        self._greetings.begin(transport, self)

    def data_received(self, data: bytes) -> None:
        self._early += data

    def hand_over(self, secure: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
        """From now on it is the protocol's, unless the caller has ended it already."""
        if secure.is_closing():
            return
        secure.set_protocol(protocol)
        protocol.connection_made(secure)
        if self._early and isinstance(protocol, asyncio.Protocol):
            protocol.data_received(bytes(self._early))
