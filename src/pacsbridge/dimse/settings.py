"""What the DIMSE listener is told: its own settings, and the peers that may call."""

import ssl
from dataclasses import dataclass, field
from typing import NamedTuple

from pacsbridge.tls.failures import Failures

MIB = 1024 * 1024
OFFERED = frozenset({"echo", "store", "find", "get", "move", "commitment"})
"""Services that this listener can be asked to provide; others in a configuration are not negotiated."""


class Place(NamedTuple):
    """Where a peer listens, and by which TLS it is called; None: by none."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @property
    def tls_args(self) -> tuple[ssl.SSLContext, str] | None:
        """The same as pynetdicom wants it."""
        return None if self.tls is None else (self.tls, self.host)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Peer:
    """Another application entity: AE title, where it calls from (address, network, name), what it may do.

    `port` is where it listens itself, `tls` how it is called there. `certificates`: the pins of
    `tls.pins.shows` that it is known by, none where any certificate will do.
    """

    ae_title: str
    host: str | None = None
    services: frozenset[str] = OFFERED
    port: int = 104
    tls: ssl.SSLContext | None = None
    certificates: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what one connection may ask of us. Sizes in bytes, times in seconds."""

    pdu: int = MIB
    """Longest PDU body taken (the field allows 4 GiB); never below what we announce as `max_pdu`."""
    command: int = 64 * 1024
    """Longest command set; real ones have 100 to 300 bytes."""
    memory: int = 8 * MIB
    """Data sets up to this size are kept in memory while they arrive, larger ones are spooled."""
    instance: int = 2048 * MIB
    """Longest data set taken."""
    waiting: int = 200
    """Connections that have no association (yet, or any more); beyond it the oldest of them is closed."""
    first_pdu: float = 15.0
    """From connection to the end of the A-ASSOCIATE-RQ, TLS handshake included (the ARTIM of PS3.8 9.1.5)."""
    pdu_per_mib: float = 30.0
    """From the first byte of a PDU to its last, for each MiB begun."""
    idle: float = 300.0
    """An established association without any PDU."""
    send: float = 30.0
    """Until the peer takes an answer."""
    linger: float = 2.0
    """Given to the peer to read our last PDU and close (Sta13 of PS3.8 9.2)."""


@dataclass(frozen=True, slots=True)
class DimseSettings:
    """The `[dimse]` section. `port` 0 takes any free port; `tls` None means plain TCP.

    `strangers` hears of TLS handshakes that fail.
    """

    ae_title: str = "PACSBRIDGE"
    host: str = "127.0.0.1"
    port: int = 11112
    services: frozenset[str] = OFFERED
    max_associations: int = 50
    max_pdu: int = 131072
    require_called_ae: bool = False
    tls: ssl.SSLContext | None = None
    limits: Limits = field(default_factory=Limits)
    strangers: Failures = field(default_factory=lambda: Failures("dimse"))
