"""Markdown tables, and how values stand in them."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in its cells are escaped, line breaks become blanks."""
    lines = (head, ["---"] * len(head), *rows)
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """A text as it is typed."""
    return f"`{text}`"


def codes(texts: Iterable[str], between: str = " ") -> str:
    """Several of them."""
    return between.join(map(code, texts))


def tag(digits: str) -> str:
    """Eight hexadecimal digits as DICOM writes a tag: `(0010,0020)`."""
    return f"({digits[:4]},{digits[4:]})"


def status(number: int) -> str:
    """The status of a DIMSE response."""
    return f"`0x{number:04X}`"


def sentence(docstring: str | None) -> str:
    """The first sentence of a docstring."""
    text = " ".join((docstring or "").split())
    first, stop, _rest = text.partition(". ")
    return first + "." if stop else text


def numbered(number: int) -> str:
    """A whole number for people, thousands apart."""
    return f"{number:,}"


def mebibytes(number: int) -> str:
    """Bytes, in the largest unit that they fill evenly."""
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= size and number % size == 0:
            return f"{number // size:,} {unit}"
    return f"{number:,} bytes"
