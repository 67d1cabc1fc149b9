"""`viewer`."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click

from pacsbridge.commands.answering import answering, config_option, settings_of
from pacsbridge.config import Config, kinds
from pacsbridge.config.checks import is_loopback
from pacsbridge.errors import Misconfigured
from pacsbridge.viewer import package, serving

_CACHE = "viewer"


@click.command()
@config_option
@click.option("--port", type=click.IntRange(0, 65535), default=3000, show_default=True, help="0: a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--dicomweb", metavar="URL", help="The DICOMweb service to show; without it that of the configuration."
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
    file: Path | None, port: int, host: str, dicomweb: str | None, given: Path | None, registry: str
) -> None:
    """Serve the OHIF viewer on a port of its own; it is fetched once and kept in the data directory."""
    with answering():
        settings = settings_of(file)
        _check_host(settings, host)
        base = settings.dicomweb.base_url if dicomweb is None else _web_url(dicomweb, "--dicomweb")
        cache, source = settings.data_dir / _CACHE, _web_url(registry, "--registry")
        serve = partial(serving.serve, base=base, host=host, port=port, tell=click.echo)
        asyncio.run(_run(partial(package.pages, cache, source, given), serve))


async def _run(pages: Callable[[], Awaitable[Path]], serve: Callable[[Path], Awaitable[None]]) -> None:
    await serve(await pages())


def _web_url(given: str, option: str) -> str:
    try:
        url: str = kinds.BASE_URL.read(given)
    except ValueError as exc:
        raise Misconfigured(f"{option}: must be {kinds.BASE_URL.expects}") from exc
    return url


def _check_host(settings: Config, host: str) -> None:
    """Whoever reaches the viewer reads what the bridge lets it read, and nothing is encrypted on the way."""
    if not is_loopback(host) and not settings.allow_insecure_listen:
        raise Misconfigured(
            f"--host: {host} can be reached from other machines, and nothing is encrypted; "
            "listen on 127.0.0.1, or set allow_insecure_listen = true if the network in front is trusted"
        )
