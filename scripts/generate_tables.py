"""Write the tables that pydicom keeps and the kernel needs: SNOMED-RT codes and UID names.

    python scripts/generate_tables.py

Replaces what stands between the quotes of `_ROWS` in `kernel/snomed.py` and `kernel/uids.py`. To be run when
pydicom is upgraded; a test says when that is due.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pynetdicom  # noqa: F401 - adds newer transfer syntaxes to the dictionary
from pydicom._uid_dict import UID_dictionary
from pydicom.sr._snomed_dict import mapping

KERNEL = Path(__file__).parent.parent / "src/pacsbridge/kernel"
KINDS = {"SOP Class", "Transfer Syntax"}


def snomed_rows() -> Iterator[str]:
    """One line for all codes with the same first three characters: these, then rest and concept by turns."""
    groups: dict[str, list[str]] = defaultdict(list)
    for retired, concept in sorted(mapping["SRT"].items()):
        groups[retired[:3]].append(f"{retired[3:]} {concept}")
    return (f"{prefix} {' '.join(pairs)}" for prefix, pairs in sorted(groups.items()))


def uid_rows() -> Iterator[str]:
    """UID and name, without the word that marks the retired."""
    for uid, (name, kind, *_rest) in sorted(UID_dictionary.items()):
        if kind in KINDS:
            yield f"{uid} {name.removesuffix(' (Retired)')}"


def rewrite(path: Path, rows: Iterator[str]) -> None:
    """Put `rows` between the quotes of `_ROWS`."""
    head, start, rest = path.read_text(encoding="utf-8").partition('_ROWS = """\n')
    _old, end, tail = rest.partition('\n"""\n')
    path.write_text(head + start + "\n".join(rows) + end + tail, encoding="utf-8")


if __name__ == "__main__":
    rewrite(KERNEL / "snomed.py", snomed_rows())
    rewrite(KERNEL / "uids.py", uid_rows())
