"""Signing in from the viewer: what its pages are told, whom they may ask, and what is refused beforehand."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pacsbridge.cli import main
from pacsbridge.errors import Misconfigured
from pacsbridge.viewer.login import Login, login
from pacsbridge.viewer.pages import Pages, configuration

ISSUER = {
    "issuer": "https://login.example",
    "authorization_endpoint": "https://login.example/authorize",
    "token_endpoint": "https://tokens.example:8443/token",
    "scopes_supported": ["openid"],
}


def known() -> Login:
    """A viewer that the issuer knows."""
    return login(ISSUER, "viewer", "https://pacs.example/fhir")


def test_the_pages_are_told_of_the_issuer() -> None:
    """Addresses, name and scopes, for a code without a secret; nothing else of the description."""
    [told] = re.findall(r"const login = (.*);\n", configuration(known()))
    settings = json.loads(told)
    assert settings["authority"] == "https://login.example"
    assert settings["client_id"] == "viewer"
    assert settings["response_type"] == "code"
    assert settings["scope"].split() == ["openid", "user/ImagingStudy.rs"]
    assert settings["metadata"] == {name: text for name, text in ISSUER.items() if isinstance(text, str)}
    assert "secret" not in told


def test_without_tokens_nobody_signs_in() -> None:
    """The pages have nothing of it."""
    assert "const login = null;" in configuration()


def test_the_policy_names_where_tokens_are_got(tmp_path: Path) -> None:
    """And nobody else: without signing in, the viewer's own origin alone."""
    (tmp_path / "index.html").write_bytes(b"<html></html>")
    policies = [Pages(tmp_path, one).headers["Content-Security-Policy"] for one in (known(), None)]
    assert "connect-src 'self' blob: data: https://tokens.example:8443;" in policies[0]
    assert "connect-src 'self' blob: data:;" in policies[1]


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "token_endpoint"])
def test_an_issuer_that_says_too_little(name: str) -> None:
    """What is missing is named by the key that can say it."""
    told = {key: text for key, text in ISSUER.items() if key != name}
    with pytest.raises(Misconfigured, match=f"auth.{name}: "):
        login(told, "viewer", "https://pacs.example/fhir")


def test_a_viewer_without_a_name_is_refused(tmp_path: Path) -> None:
    """In one line that says where it can be given."""
    (tmp_path / "keys.json").write_text('{"keys": []}')
    (tmp_path / "index.html").touch()
    config = tmp_path / "pacsbridge.toml"
    config.write_text(
        f'data_dir = "{tmp_path}/data"\n[auth]\njwks_file = "{tmp_path}/keys.json"\n'
        'issuer = "https://login.example"\naudience = "https://pacs.example/fhir"\n'
    )
    outcome = CliRunner().invoke(main, ["viewer", "--config", str(config), "--package", str(tmp_path)])
    assert outcome.exit_code == 2
    assert "auth.client_id" in outcome.output
    assert "--client-id" in outcome.output
