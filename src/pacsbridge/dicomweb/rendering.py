"""Rendering parameters (PS3.18 8.3.5, table 8.3.5-1): from a query to how a picture shall look."""

import math
import re
from collections.abc import Mapping, Sequence

from pacsbridge.errors import NotUnderstood
from pacsbridge.render.job import Look, Viewport, Window

THUMBNAIL_SIDE = 128
_LONGEST_SIDE = 1 << 15
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_WHOLE = re.compile(r"[0-9]{1,5}", re.ASCII)
_QUALITY = 90
_FUNCTIONS: Mapping[str, str] = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_IGNORED = ("annotation", "iccprofile")
_ANNOTATIONS = {"patient", "technique"}


def look_of(query: Mapping[str, str], *, thumbnail: bool) -> Look:
    """How a picture shall look, but for its media type. Raises NotUnderstood, which names the parameter."""
    _annotation(query.get("annotation"))
    viewport = _viewport(query.get("viewport"), thumbnail=thumbnail)
    return Look(
        quality=_quality(query.get("quality")),
        viewport=viewport or (Viewport(THUMBNAIL_SIDE, THUMBNAIL_SIDE) if thumbnail else None),
        window=_window(query.get("window")),
        enlarge=not thumbnail,
    )


def ignored(query: Mapping[str, str]) -> Sequence[str]:
    """Parameters of the standard that are passed over, to be named in a Warning."""
    return [name for name in _IGNORED if name in query]


def _annotation(text: str | None) -> None:
    """It is never burnt in, but what is no annotation is an error all the same (8.3.5.1.1)."""
    if text is not None and not set(text.split(",")) <= _ANNOTATIONS:
        raise NotUnderstood("annotation is patient, technique or both with a comma between", "annotation")


def _quality(text: str | None) -> int:
    if text is None:
        return _QUALITY
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= 100:
        raise NotUnderstood("quality is a whole number from 1 to 100", "quality")
    return int(text)


def _viewport(text: str | None, *, thumbnail: bool) -> Viewport | None:
    """`w,h` or `w,h,sx,sy,sw,sh`, of which the last four may be empty (8.3.5.1.3)."""
    if text is None:
        return None
    width, height, *region = text.split(",") if text.count(",") in (1, 5) else ("", "")
    sides = [int(side) if _WHOLE.fullmatch(side) else 0 for side in (width, height)]
    numbers = [_number(one) for one in region]
    if not all(1 <= side <= _LONGEST_SIDE for side in sides) or (thumbnail and region):
        form = "w,h" if thumbnail else "w,h or w,h,sx,sy,sw,sh"
        raise NotUnderstood(f"viewport is {form}, w and h from 1 to {_LONGEST_SIDE}", "viewport")
    if any(number is not None and math.isnan(number) for number in numbers) or 0.0 in numbers[2:]:
        raise NotUnderstood("viewport: sx, sy, sw and sh are numbers, the last two not 0", "viewport")
    return Viewport(*sides, *numbers)


def _number(text: str) -> float | None:
    """None for nothing, NaN for what is no number."""
    if not text:
        return None
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _window(text: str | None) -> Window | None:
    """`center,width,function`; without a function it is linear (8.3.5.1.4)."""
    if text is None:
        return None
    center, width, function = [*text.split(","), "linear"][:3] if text.count(",") in (1, 2) else ("", "", "")
    numbers = [_number(one) for one in (center, width)]
    least = 1 if function == "linear" else 0
    if function not in _FUNCTIONS or any(one is None or math.isnan(one) for one in numbers):
        raise NotUnderstood(
            "window is center,width,function; the function linear, linear-exact or sigmoid", "window"
        )
    if not (numbers[1] or 0) > 0 or (numbers[1] or 0) < least:
        raise NotUnderstood("window: the width is at least 1 if linear, else above 0", "window")
    return Window(numbers[0] or 0.0, numbers[1] or 0.0, _FUNCTIONS[function])
