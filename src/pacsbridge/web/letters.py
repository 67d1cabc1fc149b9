"""The page of dead letters: what could not be taken, to be tried again or given up, singly or together."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import structlog
from aiohttp import web

from pacsbridge.bridge.letters import Retried, can_be_retried
from pacsbridge.errors import NotUnderstood
from pacsbridge.store.overview import ALL, Filed, Overview, Place, Wanted
from pacsbridge.store.records import DeadLetter
from pacsbridge.web import wording
from pacsbridge.web.auditing import CHOICE
from pacsbridge.web.forms import Pairs, of_form, of_url, value
from pacsbridge.web.living import is_whole, living, operations
from pacsbridge.web.operations import Operations
from pacsbridge.web.routes import OPERATORS, Route
from pacsbridge.web.service import Web
from pacsbridge.web.showing import page, see_other

_log = structlog.get_logger("pacsbridge.web")

PAGE = 50
"""Letters of a page."""

_PLACE = re.compile(r"(\d{1,18})\.(\d{1,18})")
_UID = re.compile(r"[0-9.]{1,64}")

TOLD: Mapping[str, str] = {
    "retried": "It is being tried again.",
    "waiting": "Its archive is asked for it again at the next round.",
    "left": "Only its sender can repeat it: it stays on record.",
    "absent": "It is no longer on record.",
    "discarded": "It is discarded.",
    "begun": "They are being tried again.",
    "busy": "Others are being tried again just now: wait for their end.",
}
"""What a post came to, as the page behind it says."""


class Shown(NamedTuple):
    """A dead letter as the page shows it; `uid`: its key is one, so that `why` knows more."""

    pk: int
    letter: DeadLetter
    source: str
    retriable: bool
    uid: bool


async def letters(request: web.Request) -> web.Response:
    """One page of dead letters, the latest first."""
    service, running = operations(request)
    asked = of_url(request)
    wanted, after = wanted_of(asked), _place(value(asked, "after"))
    overview = service.store.overview
    values = await service.call(lambda: _values(overview, running, wanted, after))
    if is_whole(request):
        values |= {"groups": await service.call(overview.letter_groups)}
    return living(request, "letters", told=_told(asked), **values)


def _values(overview: Overview, running: Operations, wanted: Wanted, after: Place | None) -> dict[str, Any]:
    found = overview.letters(wanted, after, PAGE + 1)
    shown = found[:PAGE]
    more = len(found) > PAGE
    return {
        "letters": [_shown(one, running) for one in shown],
        "total": overview.count_letters(wanted),
        "wanted": wanted,
        "choice": _choice(wanted, running),
        "back": _fields(wanted, after),
        "first": after is None,
        "next": _query(wanted, Place(shown[-1].letter.last, shown[-1].pk)) if more else None,
        "newest": _query(wanted),
        "work": running.letters.progress,
    }


def _shown(one: Filed, running: Operations) -> Shown:
    letter = one.letter
    uid = _UID.fullmatch(letter.key) is not None
    return Shown(one.pk, letter, running.name_of(letter.source), can_be_retried(letter), uid)


def wanted_of(asked: Pairs) -> Wanted:
    """Which letters the fields `kind`, `reason` and `source` mean."""
    return Wanted(*(value(asked, name) or None for name in Wanted._fields))


def _place(text: str) -> Place | None:
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        raise NotUnderstood("after is no place in the list", parameter="after")
    return Place(int(found[1]), int(found[2]))


def _fields(wanted: Wanted, after: Place | None = None) -> Mapping[str, str]:
    """Names and values that mean the same letters again, in a URL or a form."""
    found = {name: text for name, text in wanted._asdict().items() if text is not None}
    return found if after is None else found | {"after": f"{after.last}.{after.pk}"}


def _query(wanted: Wanted, after: Place | None = None, **more: str) -> str:
    return urlencode({**_fields(wanted, after), **more})


def _choice(wanted: Wanted, running: Operations) -> Mapping[str, str]:
    """The same for people: a source by its name."""
    return {
        name: running.name_of(text) if name == "source" else text for name, text in _fields(wanted).items()
    }


def _told(asked: Pairs) -> str:
    told, number = value(asked, "told"), value(asked, "number")
    if told == "gone" and number.isascii() and number.isdigit() and len(number) < 10:
        return f"{wording.number(int(number))} discarded."
    return TOLD.get(told, "")


# one letter


async def retry(request: web.Request) -> web.Response:
    """Try one letter again."""
    service, running = operations(request)
    number = _number(request)
    outcome = await service.call(lambda: running.letters.retry_one(number))
    request[CHOICE] = {"letter": str(number), "result": _outcome(outcome)}
    return await _back(request, service, _outcome(outcome))


def _outcome(outcome: Retried | None) -> str:
    if outcome is None:
        return "absent"
    if outcome.left:
        return "left"
    return "waiting" if outcome.waiting else "retried"


async def discard(request: web.Request) -> web.Response:
    """Give one letter up."""
    service, _running = operations(request)
    number = _number(request)
    found = await service.call(lambda: service.store.overview.discard_one(number))
    _log.info("letters_discarded", count=int(found))
    request[CHOICE] = {"letter": str(number), "result": "discarded" if found else "absent"}
    return await _back(request, service, "discarded" if found else "absent")


def _number(request: web.Request) -> int:
    return int(request.match_info["number"])


async def _back(request: web.Request, service: Web, told: str) -> web.Response:
    """To where the form was: the same choice, the same page."""
    asked = await of_form(request, service.settings.body_seconds)
    place = _place(value(asked, "after"))
    return see_other(f"/dead-letters?{_query(wanted_of(asked), place, told=told)}")


# all of a choice


class Order(NamedTuple):
    """What can be done with all letters of a choice: the question, the button, whether it is for good."""

    question: str
    button: str
    danger: bool


ORDERS: Mapping[str, Order] = {
    "retry": Order("Try all of these again?", "Retry all", danger=False),
    "discard": Order("Discard all of these for good?", "Discard all", danger=True),
}


async def ask(request: web.Request) -> web.Response:
    """Ask whether it is meant: how many letters, of which kind."""
    service, running = operations(request)
    asked = of_url(request)
    order, wanted = _order(asked), wanted_of(asked)
    overview = service.store.overview
    total, last = await service.call(lambda: (overview.count_letters(wanted), overview.last_letter()))
    return page(
        request,
        "letters_all.html",
        order=ORDERS[order],
        choice=_choice(wanted, running),
        fields={**_fields(wanted), "action": order, "last": last},
        total=total,
        back=_query(wanted),
    )


async def all_of(request: web.Request) -> web.Response:
    """Do it: of what was there when the question was asked, or begin to."""
    service, running = operations(request)
    asked = await of_form(request, service.settings.body_seconds)
    wanted = wanted_of(asked)
    order, last = _order(asked), _last(asked)
    query = await service.call(lambda: _DO[order](service, running, wanted, last))
    told = {name: text for name, text in parse_qsl(query) if name in ("told", "number")}
    request[CHOICE] = {
        "order": order,
        "of": "all" if wanted == ALL else "a choice",
        "up-to": str(last),
        **told,
    }
    return see_other(f"/dead-letters?{query}")


def _order(asked: Pairs) -> str:
    order = value(asked, "action")
    if order not in ORDERS:
        raise NotUnderstood(f"action is one of {', '.join(ORDERS)}", parameter="action")
    return order


def _last(asked: Pairs) -> int:
    text = value(asked, "last")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotUnderstood("last is no number of a dead letter", parameter="last")
    return int(text)


def _retry_all(_service: Web, running: Operations, wanted: Wanted, last: int) -> str:
    begun = running.letters.retry_all(wanted, last)
    return _query(wanted, told="begun" if begun else "busy")


def _discard_all(service: Web, _running: Operations, wanted: Wanted, last: int) -> str:
    number = service.store.overview.discard(wanted, last)
    _log.info("letters_discarded", count=number)
    return _query(Wanted(), told="gone", number=str(number))


_DO: Mapping[str, Callable[[Web, Operations, Wanted, int], str]] = {
    "retry": _retry_all,
    "discard": _discard_all,
}


ROUTES = (
    Route("GET", "/dead-letters", letters, OPERATORS),
    Route("GET", "/dead-letters/all", ask, OPERATORS),
    Route("POST", "/dead-letters/all", all_of, OPERATORS),
    Route("POST", r"/dead-letters/{number:\d{1,18}}/retry", retry, OPERATORS),
    Route("POST", r"/dead-letters/{number:\d{1,18}}/discard", discard, OPERATORS),
)
