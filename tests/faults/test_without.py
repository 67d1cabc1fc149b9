"""The table of controls that can be switched off: what it names is there, and a patch takes effect."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .switched_off.sitecustomize import resolve
from .test_page import PAGE, ROWS, tried_by
from .without import ROOT, SWITCHED_OFF, TABLE, Without


def names(one: Without) -> str:
    """What a case is called."""
    return f"{one.row} without {one.off}"


@pytest.mark.parametrize("one", TABLE, ids=names)
def test_what_a_row_names_is_there(one: Without) -> None:
    """Its row is one of the page, its test has that name, its patches are of attributes that there are."""
    path, name = one.test.partition("[")[0].split("::")
    assert one.row in ROWS
    assert name in dict(tried_by(ROOT / path))
    re.compile(one.said)
    for module, attribute, expression in one.patches:
        resolve(importlib.import_module(module), attribute)
        ast.parse(expression, mode="eval")


def test_the_page_tells_which_rows() -> None:
    """The section of the page names the rows of the table, and no others."""
    section = PAGE.read_text(encoding="utf-8").partition("## With the control switched off")[2]
    told = section.partition("\n## ")[0]
    assert set(re.findall(r"T-[A-Z0-9-]+", told)) == {one.row for one in TABLE}


def test_every_row_is_tried_or_left_out_with_a_reason() -> None:
    """What the table has not, the docstring of its module names."""
    left = set(re.findall(r"T-[A-Z0-9-]+", (ast.get_docstring(_without()) or "").partition("not in the")[2]))
    assert left & {one.row for one in TABLE} == {"T-PDU"}  # named in the reason of another
    assert left | {one.row for one in TABLE} == ROWS


def _without() -> ast.Module:
    return ast.parse((Path(__file__).parent / "without.py").read_text(encoding="utf-8"))


def test_a_patch_takes_effect_in_a_process() -> None:
    """From its start on, also for who has imported the name; and nothing is patched where nobody asks."""
    code = "from pacsbridge.access.ways import is_ours; print(is_ours('other.example', frozenset()))"
    patches = [("pacsbridge.access.ways", "is_ours", "lambda authority, names: not was(authority, names)")]

    def said(asked: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(SWITCHED_OFF), "WITHOUT_CONTROLS": asked}
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip()

    assert (said(json.dumps(patches)), said("")) == ("True", "False")
