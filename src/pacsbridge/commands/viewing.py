"""`viewer`."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click

from pacsbridge import wiring
from pacsbridge.access.smart import Smart
from pacsbridge.commands.answering import answering, config_option, settings_of
from pacsbridge.config import Config, kinds
from pacsbridge.config.checks import is_loopback
from pacsbridge.errors import Misconfigured
from pacsbridge.viewer import package, serving
from pacsbridge.viewer.login import Login, login
from pacsbridge.viewer.pages import Pages

_CACHE = "viewer"


@click.command()
@config_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=3000,
    show_default=True,
    help="The port to listen on; 0: a free one.",
)
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="The address to listen on."
)
@click.option(
    "--dicomweb", metavar="URL", help="The DICOMweb service to show; without it that of the configuration."
)
@click.option(
    "--client-id",
    metavar="NAME",
    help="The viewer's name at the issuer of tokens, as a public client; without it auth.client_id.",
)
@click.option(
    "--package",
    "given",
    metavar="FILE_OR_FOLDER",
    type=click.Path(exists=True, path_type=Path),
    help=f"The npm package @ohif/app {package.VERSION} where it cannot be fetched, or a folder with a build.",
)
@click.option(
    "--registry",
    metavar="URL",
    default=package.REGISTRY,
    show_default=True,
    envvar=["NPM_CONFIG_REGISTRY", "npm_config_registry"],
    help="The npm registry that has the package.",
)
def viewer(
    file: Path | None,
    port: int,
    host: str,
    dicomweb: str | None,
    client_id: str | None,
    given: Path | None,
    registry: str,
) -> None:
    """Serve the OHIF viewer on a port of its own; it is fetched once and kept in the data directory.

    Where callers need tokens ([auth]), people sign in at the issuer first.
    """
    with answering():
        settings = settings_of(file)
        _check_host(settings, host)
        base = settings.dicomweb.base_url if dicomweb is None else _web_url(dicomweb, "--dicomweb")
        cache, source = settings.data_dir / _CACHE, _web_url(registry, "--registry")
        known = _login(settings, client_id) if dicomweb is None else None
        serve = partial(serving.serve, base=base, host=host, port=port, tell=click.echo)
        asyncio.run(_run(partial(package.pages, cache, source, given), known, serve))


async def _run(
    folder: Callable[[], Awaitable[Path]], known: Login | None, serve: Callable[[Pages], Awaitable[None]]
) -> None:
    await serve(Pages(await folder(), known))


def _login(settings: Config, client_id: str | None) -> Login | None:
    """How people sign in, where the bridge asks for tokens."""
    access = wiring.access(settings)
    if access is None:
        return None
    name = client_id or access.client_id
    if name is None:
        raise Misconfigured("auth.client_id: the viewer signs people in under it, or under --client-id")
    return login(Smart(access).configuration(), name, access.base_url)


def _web_url(given: str, option: str) -> str:
    try:
        url: str = kinds.BASE_URL.read(given)
    except ValueError as exc:
        raise Misconfigured(f"{option}: must be {kinds.BASE_URL.expects}") from exc
    return url


def _check_host(settings: Config, host: str) -> None:
    """Whoever reaches the viewer reads what the bridge lets it read, and nothing is encrypted on the way."""
    if not is_loopback(host) and not settings.insecure_fhir:
        raise Misconfigured(
            f"--host: {host} can be reached from other machines, and nothing is encrypted; "
            "listen on 127.0.0.1, or set fhir.allow_insecure_listen = true if the network in front is trusted"
        )
