"""Where a form comes from, as its browser says."""

from urllib.parse import urlsplit


def authority_of(origin: str) -> str:
    """The `host:port` of a header Origin; empty where it names none, or cannot be read."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
