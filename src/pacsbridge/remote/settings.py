"""Where an archive is, how it is asked, and what an answer may cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Basic(NamedTuple):
    """HTTP Basic (RFC 7617)."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Basic(…)"


class BearerFile(NamedTuple):
    """A bearer token that somebody else keeps fresh in a file (RFC 6750)."""

    path: Path


class ClientCredentials(NamedTuple):
    """OAuth 2 client credentials: tokens are fetched from a token server (RFC 6749 4.4)."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""

    def __repr__(self) -> str:
        return f"ClientCredentials(token_url={self.token_url!r}, …)"


Auth = Basic | BearerFile | ClientCredentials


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """One archive; `url` is its DICOMweb base. Its repr shows no secret.

    `verify` is whether its certificate is checked, or the file of the authorities that may sign it.
    `answer_seconds` is for a whole answer, `silence_seconds` for the wait between two pieces of it.
    """

    name: str
    url: str
    auth: Auth | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool | Path = True
    certificate: Path | None = None
    key: Path | None = None
    connect_seconds: float = 10
    silence_seconds: float = 30
    answer_seconds: float = 120
    answer_bytes: int = 64 * 1024 * 1024
    connections: int = 4
    tries: int = 3
