"""What all commands share: options, settings, and errors as one line and an exit code."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
import orjson

from pacsbridge import logs
from pacsbridge.config import Config, load
from pacsbridge.errors import Misconfigured, PacsbridgeError

F = TypeVar("F", bound=Callable[..., Any])

FAILED, USAGE = 1, 2


def fail(message: str, code: int = FAILED) -> NoReturn:
    """One line on standard error, and the exit code."""
    click.echo(f"pacsbridge: {message}", err=True)
    sys.exit(code)


@contextmanager
def answering() -> Iterator[None]:
    """Errors as one line and an exit code."""
    try:
        yield
    except Misconfigured as exc:
        fail(str(exc), USAGE)
    except PacsbridgeError as exc:
        fail(str(exc))
    except OSError as exc:
        fail(f"{exc.filename or 'system'}: {exc.strerror}")


def config_option(command: F) -> F:
    """`--config FILE`, as the argument `file`."""
    return click.option(
        "--config",
        "file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The configuration; without it PACSBRIDGE_CONFIG, then ./pacsbridge.toml, then the defaults.",
    )(command)


def json_option(command: F) -> F:
    """`--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def paths_argument(command: F) -> F:
    """One path or several, all of which must be there."""
    return click.argument(
        "paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH…"
    )(command)


def settings_of(file: Path | None) -> Config:
    """The settings in force, and logs as they want them."""
    settings = load(file)
    configure_logs(settings)
    return settings


def configure_logs(settings: Config) -> None:
    """Logs as the configuration wants them."""
    logs.configure(settings.log.level, "json" if settings.log.format == "json" else "console")


def json_text(value: Any) -> str:
    """JSON for programs, indented."""
    return orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode()
