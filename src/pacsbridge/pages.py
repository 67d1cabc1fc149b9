"""The pages of a configuration: what they show, whom they let in, what they may try."""

from collections.abc import Sequence
from functools import partial
from math import inf
from urllib.parse import quote, urlsplit

from pacsbridge import __version__, manual
from pacsbridge.access.gate import Gate
from pacsbridge.archives import Connection
from pacsbridge.bridge.probing import Probe, Question
from pacsbridge.config import Config
from pacsbridge.errors import Absent
from pacsbridge.remote.client import JSON, Client
from pacsbridge.remote.qido import rows_of
from pacsbridge.remote.settings import ArchiveSettings
from pacsbridge.render.pool import missing
from pacsbridge.store.store import Store
from pacsbridge.turns import Turns
from pacsbridge.web.oauth import CodeFlow
from pacsbridge.web.operations import Operations
from pacsbridge.web.service import Web, WebSettings


def web_service(
    settings: Config,
    store: Store,
    turns: Turns,
    gate: Gate | None,
    archives: Sequence[Connection],
    operations: Operations,
    secret: bytes,
) -> Web:
    """What the pages share; `secret` seals their links."""
    if gate is not None:
        gate.sessions.idle_seconds = settings.web.idle_minutes * 60 or inf
    return Web(
        store,
        web_settings(settings, secret),
        turns,
        gate,
        operations,
        Probe(_places(settings, archives)),
        _flow(settings, gate),
        manual=manual.pages,
    )


def web_settings(settings: Config, secret: bytes) -> WebSettings:
    """The settings of the pages; `secret` seals links."""
    return WebSettings(
        settings.fhir.base_url,
        settings.dicomweb.base_url,
        __version__,
        (settings.dimse.ae_title, settings.dimse.port),
        settings.web.viewer,
        settings.web.scopes,
        settings.dicomweb.render and missing() is None,
        body_seconds=settings.limits.http_body_seconds,
        access_log=settings.log.requests,
        cursor_secret=secret,
    )


def _flow(settings: Config, gate: Gate | None) -> CodeFlow | None:
    """Signing in at the issuer, where we have a name there."""
    if gate is None or gate.settings.client_id is None:
        return None
    parts = urlsplit(settings.fhir.base_url)
    return CodeFlow(gate.settings, settings.web.scopes, f"{parts.scheme}://{parts.netloc}")


def _places(settings: Config, archives: Sequence[Connection]) -> dict[str, Question]:
    found = {one.source.url: partial(_ask_archive, one) for one in archives}
    return {**found, settings.dicomweb.base_url: partial(_ask_ourselves, settings)}


def _ask_archive(connection: Connection, study_uid: str, _token: str | None) -> str:
    return _answered(connection.archive.series((study_uid,), limit=_MOST).rows)


def _ask_ourselves(settings: Config, study_uid: str, token: str | None) -> str:
    """Our own DICOMweb as clients reach it, with what the caller may have."""
    url = settings.dicomweb.base_url
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    verify = settings.auth.ca or True
    client = Client(
        ArchiveSettings("dicomweb", url, headers=headers, verify=verify, answer_seconds=10, tries=1)
    )
    try:
        path = f"/studies/{quote(study_uid, safe='.')}/series"
        return _answered(rows_of(client.get(path, (("limit", str(_MOST)),), accept=JSON)).rows)
    finally:
        client.close()


def _answered(series: Sequence[object]) -> str:
    """What an answer to the question for a study's series says. Raises Absent."""
    if not series:
        raise Absent("it answers, and does not have the study")
    number = f"{len(series)} series" if len(series) < _MOST else f"{_MOST} series or more"
    return f"it answers with {number} of the study"


_MOST = 100
"""Series that are asked for."""
