"""What the settings show of themselves, and what is no setting."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pacsbridge.errors import Misconfigured
from pacsbridge.remote.client import Client
from pacsbridge.remote.settings import ArchiveSettings, Auth, Basic, BearerFile, ClientCredentials

SECRET = "Canary"


@pytest.mark.parametrize(
    "auth",
    [
        Basic(SECRET, SECRET),
        ClientCredentials("https://tokens.test/token", SECRET, SECRET, "read"),
        BearerFile(Path("/run/token")),
        None,
    ],
    ids=["basic", "client credentials", "file", "none"],
)
def test_a_repr_shows_no_secret(auth: Auth | None) -> None:
    """Neither credentials nor headers, which may be keys; whatever else stands in a log stays."""
    settings = ArchiveSettings("main", "https://pacs.test/dicom-web", auth, {"X-Api-Key": SECRET})
    for shown in (repr(settings), str(settings), f"{auth}", f"{auth!r}"):
        assert SECRET not in shown
    assert "https://pacs.test/dicom-web" in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pacs.test/dicom-web",
        "ftp://pacs.test",
        "http://",
        "http://user:Canary@pacs.test/dicom-web",
        "http://pacs.test:port/",
        "http://pacs.test/dicom-web?key=Canary",
        "http://[::1",
    ],
)
def test_a_url_that_is_none(make_client: Callable[..., Client], url: str) -> None:
    """Refused before anybody is asked, and not repeated: it may hold a password."""
    with pytest.raises(Misconfigured, match=r"^url: ") as caught:
        make_client(url=url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "headers", [{"X-Key": "a\r\nX-Other: b"}, {"X Key": "a"}, {"X-Key": "ü"}, {"": "a"}, {"X:": "a"}]
)
def test_headers_that_are_none(make_client: Callable[..., Client], headers: dict[str, str]) -> None:
    """What could break out of its line is refused."""
    with pytest.raises(Misconfigured, match=r"^headers: "):
        make_client(headers=headers)
