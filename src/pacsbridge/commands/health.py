"""`health`: what supervisors of containers ask."""

import http.client
import socket
import ssl
from http import HTTPStatus
from pathlib import Path

import click

from pacsbridge.commands.answering import answering, config_option, fail, settings_of
from pacsbridge.config import Config
from pacsbridge.errors import Unavailable

SECONDS = 4.0
"""How long the answer may take."""

_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses that are asked
"""Where this machine reaches what listens everywhere."""


@click.command()
@click.option("--live", is_flag=True, help="Ask whether the process runs, not whether every part works.")
@config_option
def health(live: bool, file: Path | None) -> None:
    """Ask the bridge that runs with this configuration on this machine whether it is well."""
    with answering():
        settings = settings_of(file)
        path = "/health/live" if live else "/health/ready"
        try:
            status = _status(settings, path)
        except (OSError, http.client.HTTPException) as exc:
            raise Unavailable(f"port {settings.fhir.port}: {getattr(exc, 'strerror', None) or exc}") from exc
        if status != HTTPStatus.OK:
            fail(f"{path} says {status}")
        click.echo("live" if live else "ready")


def _status(settings: Config, path: str) -> int:
    """The status of a GET; that of a port which wants to see certificates is that it can be reached."""
    host = _ANYWHERE.get(settings.fhir.host, settings.fhir.host)
    port = settings.fhir.port
    tls = settings.fhir.tls
    if tls.ca is not None:
        socket.create_connection((host, port), SECONDS).close()
        return HTTPStatus.OK
    if tls.certificate is None:
        connection = http.client.HTTPConnection(host, port, timeout=SECONDS)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=_trusting())
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def _trusting() -> ssl.SSLContext:
    """TLS that asks for no name: the certificate is for another than this address, and nothing is told."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
