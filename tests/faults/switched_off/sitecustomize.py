"""Switches controls off in every Python process that has this folder on its path (see `without.py`).

WITHOUT_CONTROLS is a JSON list of [module, attribute, expression]: as soon as the module has been imported,
its attribute becomes what the expression says, in which `was` is what the attribute was before, and the names
of the module are known.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

Patch = tuple[str, str, str]


def resolve(module: ModuleType, attribute: str) -> tuple[object, str, object]:
    """Whose the attribute is (`Class.method` is that of a class), its own name, and what it is now."""
    *owners, name = attribute.split(".")
    owner: object = module
    for one in owners:
        owner = getattr(owner, one)
    return owner, name, getattr(owner, name)


def switch_off(module: ModuleType, attribute: str, expression: str) -> None:
    """Give one attribute of a module its new value."""
    owner, name, was = resolve(module, attribute)
    setattr(owner, name, eval(expression, {**vars(module), "was": was}))


class Switch(MetaPathFinder):
    """Finds the modules of some patches as they always are, and patches them once they have been run."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The usual spec, with a loader that patches."""
        own = [patch for patch in self._patches if patch[0] == fullname]
        spec = PathFinder.find_spec(fullname, path, target) if own else None
        if spec is not None and spec.loader is not None:
            _patching(spec.loader, own)
        return spec


def _patching(loader: Loader, patches: Sequence[Patch]) -> None:
    run = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        run(module)
        for _, attribute, expression in patches:
            switch_off(module, attribute, expression)

    loader.exec_module = exec_module  # type: ignore[method-assign]


if asked := os.environ.get("WITHOUT_CONTROLS"):
    sys.meta_path.insert(0, Switch([(module, name, how) for module, name, how in json.loads(asked)]))
