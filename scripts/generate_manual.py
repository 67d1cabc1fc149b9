"""Write `src/pacsbridge/manual/commands.md`, the part of the manual about commands, from the command line.

    python scripts/generate_manual.py

To be run when a command or an option changes; a test says when that is due. The other tables of the manual
are made from the code while it runs, but the command line lies further out than the manual.
"""

from collections.abc import Iterator
from pathlib import Path

import click

from pacsbridge.cli import main
from pacsbridge.manual.tables import code, codes, table

FILE = Path(__file__).parent.parent / "src/pacsbridge/manual/commands.md"


def markdown() -> str:
    """One section for each command that does something, in the order of the command line."""
    context = click.Context(main, info_name="pacsbridge")
    return "\n\n".join("\n\n".join(_section(*one)) for one in _commands(main, context)) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        below = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield from _commands(command, below)
        else:
            yield command, below


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield f"```sh\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    yield from (" ".join(text.split()) for text in (command.help or "").split("\n\n"))
    options = [one for one in command.params if isinstance(one, click.Option)]
    if options:
        yield table(("Option", "Meaning"), ((_name(one, context), _meaning(one, context)) for one in options))


def _name(option: click.Option, context: click.Context) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(context)}"
    return codes((f"{name}{value}" for name in (*option.opts, *option.secondary_opts)), ", ")


def _meaning(option: click.Option, context: click.Context) -> str:
    default = option.get_default(context)
    shown = f"Default: {code(str(default))}." if option.show_default and default is not None else ""
    return " ".join(filter(None, (option.help, shown)))


if __name__ == "__main__":
    FILE.write_text(markdown(), encoding="utf-8")
