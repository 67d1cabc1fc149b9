"""The pages over a real bridge: one for all tests that only look."""

from collections.abc import Iterator

import pytest
from page_site import Site, site
from token_issuer import Issuer


@pytest.fixture(scope="session")
def looked_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A bridge with the sample studies, for tests that change nothing."""
    with site(
        tmp_path_factory.mktemp("bridge"),
        WEB__VIEWER="https://viewer.example/?StudyInstanceUIDs={study_uid}",
    ) as running:
        yield running


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """An authorization server on loopback."""
    running = Issuer()
    yield running
    running.close()


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Site]:
    """A bridge with the sample studies whose callers need a token."""
    keys = {
        "AUTH__JWKS_URL": f"{issuer.url}/jwks",
        "AUTH__ISSUER": issuer.url,
        "AUTH__AUDIENCE": "https://pacs.example/fhir",
        "AUTH__CLIENT_ID": "pacsbridge",
        "AUTH__TOKEN_ENDPOINT": f"{issuer.url}/token",
        "AUTH__AUTHORIZATION_ENDPOINT": f"{issuer.url}/authorize",
    }
    with site(tmp_path_factory.mktemp("guarded"), **keys) as running:
        yield running
