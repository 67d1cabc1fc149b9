"""The page of sources: what arrives, how each archive stands, who pushes; and "sync now"."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from pacsbridge.errors import Absent, NotUnderstood
from pacsbridge.store.arrivals import HOUR
from pacsbridge.store.overview import Arrived
from pacsbridge.web.archive_cards import card, duration
from pacsbridge.web.auditing import CHOICE
from pacsbridge.web.charts import Chart, chart
from pacsbridge.web.forms import of_form, of_url, value
from pacsbridge.web.living import living, operations
from pacsbridge.web.operations import Operations
from pacsbridge.web.peers import rows
from pacsbridge.web.routes import OPERATORS, Route
from pacsbridge.web.service import Web
from pacsbridge.web.showing import see_other

_SHOWN = 25
"""Associations that have ended, of those that are remembered."""


class Span(NamedTuple):
    """How far back arrivals are shown, and how the axis of time is marked."""

    label: str
    words: str
    hours: int
    marks: int
    form: str


SPANS: Mapping[str, Span] = {
    "24h": Span("24 hours", "in the last 24 hours", 24, 4, "%H:00"),
    "7d": Span("7 days", "in the last 7 days", 168, 7, "%a"),
}


class Figure(NamedTuple):
    """One drawing: of what, one of it and several, and the drawing."""

    id: str
    one: str
    several: str
    chart: Chart


async def sources(request: web.Request) -> web.Response:
    """How everything stands that brings studies."""
    service, running = operations(request)
    asked = of_url(request)
    span = value(asked, "span") or "24h"
    if span not in SPANS:
        raise NotUnderstood(f"span is one of {', '.join(SPANS)}", parameter="span")
    synced = value(asked, "synced")
    values = await service.call(lambda: _values(service, running, span))
    return living(request, "sources", synced=synced if synced in running.names.values() else "", **values)


def _values(service: Web, running: Operations, span: str) -> Mapping[str, Any]:
    now, shown = running.clock(), SPANS[span]
    last = now // HOUR
    arrivals = service.store.overview.arrivals(last - shown.hours + 1)
    seen = running.associations()
    archives = [card(one, now) for one in running.archives()]
    return {
        "span": span,
        "span_words": shown.words,
        "spans": [(name, one.label) for name, one in SPANS.items()],
        "mark_format": shown.form,
        "figures": list(_figures(arrivals, last, shown, told=bool(archives))),
        "archives": archives,
        "peers": list(rows(running.peers, seen, arrivals)),
        "configured": bool(running.peers),
        "associations": seen._replace(ended=seen.ended[:_SHOWN]),
        "seconds": duration,
    }


def _figures(arrivals: Sequence[Arrived], last: int, span: Span, *, told: bool) -> Iterator[Figure]:
    pushed, studies = Counter[int](), Counter[int]()
    for one in arrivals:
        pushed[one.hour] += one.instances
        studies[one.hour] += one.studies
    yield Figure(
        "pushed", "instance received", "instances received", chart(pushed, last, span.hours, span.marks)
    )
    if told or studies.total():
        yield Figure(
            "told",
            "study from archives",
            "studies from archives",
            chart(studies, last, span.hours, span.marks),
        )


async def sync(request: web.Request) -> web.Response:
    """Have a round with one archive begin."""
    service, running = operations(request)
    name = value(await of_form(request, service.settings.body_seconds), "name")
    if not await service.call(lambda: running.sync(name)):
        raise Absent("no archive of that name is configured")
    request[CHOICE] = {"source": name}
    return see_other(f"/sources?{urlencode({'synced': name})}")


ROUTES = (
    Route("GET", "/sources", sources, OPERATORS),
    Route("POST", "/sources/sync", sync, OPERATORS),
)
