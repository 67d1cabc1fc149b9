"""How much of a header is read before it is refused."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Beyond any of these `errors.TooLarge` is raised, except for `value`, at which a text is cut."""

    window: int = 32 << 20
    """Bytes of a file or a deflated stream looked at together: the largest wanted sequence."""
    elements: int = 100_000
    """Elements passed, wanted or not, at all levels (the end of an item counts as one)."""
    items: int = 50_000
    """Sequence items entered or passed."""
    nesting: int = 64
    """Levels of sequences."""
    inflated: int = 512 << 20
    """Bytes that a deflated data set yields before its header is complete."""
    ratio: int = 100
    """Bytes out for each byte in, of a deflated data set, once more than 1 MiB is out."""
    value: int = 64 << 10
    """Bytes kept of one value."""
    values: int = 16 << 20
    """Bytes kept of all values longer than 256 bytes."""


DEFAULT = Limits()
