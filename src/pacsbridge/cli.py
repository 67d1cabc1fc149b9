"""The command line. Exit codes: 0 done, 1 failed, 2 usage or configuration."""

from collections.abc import Mapping
from importlib import import_module

import click

from pacsbridge import __version__

COMMANDS: Mapping[str, str] = {
    "serve": "serving.serve",
    "demo": "serving.demo_",
    "viewer": "viewing.viewer",
    "check": "asking.check",
    "health": "health.health",
    "translate": "translating.translate",
    "import": "storing.import_",
    "sync": "archiving.sync",
    "why": "asking.why",
    "dead-letters": "letters.dead_letters",
    "migrate": "storing.migrate",
    "reindex": "storing.reindex",
    "verify": "verifying.verify",
    "backup": "verifying.backup_",
    "manual": "manual.manual",
}
"""Each command and where it is: modules of `commands` are loaded when they are called for."""


class Commands(click.Group):
    """The commands of the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, its module loaded; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(import_module(f"pacsbridge.commands.{module}"), name)
        return command


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pacsbridge")
def main() -> None:
    """Connects a hospital's PACS to its FHIR ecosystem."""
