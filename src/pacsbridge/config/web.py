"""The keys of the pages; part of the table of `schema`."""

from dataclasses import dataclass

from pacsbridge.config import kinds
from pacsbridge.config.table import key


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The pages at `/`, for people."""

    viewer: str | None = key(
        kinds.VIEWER,
        None,
        "A viewer's URL with {study_uid} in it: each study then has a link that opens it there.",
        example="https://viewer.example/viewer?StudyInstanceUIDs={study_uid}",
    )
    idle_minutes: float = key(
        kinds.number(0, 720),
        60.0,
        "After so long without use (pages that refresh are none) a browser is signed out; 0: never.",
    )
    scopes: str = key(
        kinds.TEXT,
        "user/ImagingStudy.rs user/Patient.rs user/Endpoint.rs pacsbridge/metrics",
        "What is asked for where somebody signs in at the authorization server (auth.client_id).",
    )
