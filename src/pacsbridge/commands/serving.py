"""`serve` and `demo`."""

import signal
from collections.abc import Callable
from pathlib import Path

import click

from pacsbridge import demo, runtime
from pacsbridge.commands.answering import answering, config_option, configure_logs, settings_of
from pacsbridge.commands.notifying import READY, STOPPING, notify
from pacsbridge.commands.signals import arriving
from pacsbridge.runtime import Runtime


@click.command()
@config_option
def serve(file: Path | None) -> None:
    """Run everything until SIGTERM or SIGINT; SIGHUP reads certificates and revocation lists anew."""
    with answering():
        settings = settings_of(file)
        running = Runtime(settings)
        _until_signal(running, hung_up=running.reload)


def _until_signal(
    running: Runtime, then: Callable[[], None] = lambda: None, hung_up: Callable[[], None] | None = None
) -> None:
    """Start, call `then`, wait for SIGTERM or SIGINT, stop; SIGHUP calls `hung_up`, or without it stops."""
    with arriving(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as following:
        running.start()
        runtime.settle()
        notify(READY)
        try:
            then()
            while following() == signal.SIGHUP and hung_up is not None:
                hung_up()
        finally:
            notify(STOPPING)
            running.stop()


@click.command(name="demo")
@click.option(
    "--dimse-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=11112,
    show_default=True,
    help="The DIMSE port.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8080,
    show_default=True,
    help="The HTTP port.",
)
def demo_(dimse_port: int, port: int) -> None:
    """Serve sample studies from a temporary folder, and print what to try."""
    with answering(), demo.settings(dimse_port, port) as settings:
        configure_logs(settings)
        running = Runtime(settings)
        _until_signal(running, lambda: click.echo(demo.fill(running)))
