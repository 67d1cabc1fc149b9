"""What a page is to the application: a method, a path, who may have it, and what answers."""

from typing import NamedTuple

from pacsbridge.access.guard import Handler
from pacsbridge.access.rights import OPERATOR, Right

STUDIES = (Right("ImagingStudy", "r"), Right("ImagingStudy", "s"))
"""What pages about studies need; a caller that has it for one patient sees that patient's alone."""

OPERATORS = (OPERATOR,)
"""What the pages of operators need."""


PAGES = (STUDIES, OPERATORS)
"""What opens pages: all rights of one of these."""


class Route(NamedTuple):
    """One row: `rights` are all needed. `everybody`: without signing in.

    Posts are taken only from our own forms, so each form has `csrf_field()` in it.
    """

    method: str
    path: str
    handler: Handler
    rights: tuple[Right, ...] = STUDIES
    everybody: bool = False
