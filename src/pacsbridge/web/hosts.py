"""The name under which pages are asked for."""

from urllib.parse import urlsplit

from aiohttp import web

from pacsbridge.access.proxies import is_address


def host_of(authority: str) -> str:
    """The host of `host:port`, in small letters; empty where there is none, or it cannot be read."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def authority_of(origin: str) -> str:
    """The `host:port` of a header Origin; empty where it names none, or cannot be read."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def check_name(authority: str, names: frozenset[str]) -> None:
    """Raise HTTPMisdirectedRequest where pages that are open to all are asked for by somebody else's name.

    A name can be made to lead here by whoever owns it, and his pages would then read ours; an address cannot.
    """
    host = host_of(authority)
    if host in names or host == "localhost" or host.endswith(".localhost") or is_address(host):
        return
    raise web.HTTPMisdirectedRequest(reason="these pages are served under the host of fhir.base_url alone")
