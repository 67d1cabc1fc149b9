"""T-KILL: kill -9 while four senders push; what was answered 0x0000 is there, whole, once, searchable."""

import random
import threading
import time
from collections.abc import Callable

import pytest
from pushing import SUCCESS, Sender, echo

from .conftest import MakeSite, Site

SENDERS = 4
EACH = 500
"""Instances of a sender in a round at most."""

SIZES = (10_000, 10_000, 10_000, 500_000, 2_000_000)
NIGHT_SIZES = (10_000,) * 12 + (500_000,) * 7 + (50_000_000,)
"""The last of each is spooled and becomes a file of its own."""


@pytest.mark.timeout(300)
def test_kill_loses_nothing_that_was_acknowledged(
    make_site: MakeSite, each_engine: str | None, numbers: Callable[..., int], night: bool
) -> None:
    """T-KILL: rounds of a kill at a random moment, then all is sent again; I1 to I3, no partial file."""
    site = make_site(dimse="spool_bytes = 1000000", url=each_engine)
    rounds = numbers(10 if each_engine is None else 3, 200)
    moments, sizes = random.Random(20260101), NIGHT_SIZES if night else SIZES
    for number in range(rounds):
        site.start()
        _push(site, number, sizes, moments.uniform(0.05, 3 if night else 0.8))
    assert len(site.oracle.acknowledged) > rounds
    site.start()
    resent = [_sender(site, study, 1, 20, sizes) for study in range(1, SENDERS + 1)]
    for sender in resent:
        sender.start()
    for sender in resent:
        sender.join()
    assert all(len(sender.acknowledged) == 20 for sender in resent)
    site.oracle.check(seconds=120)
    assert not list((site.bridge.data_dir / "incoming").iterdir())
    assert site.bridge.stop() == 0
    site.oracle.stored()


@pytest.mark.timeout(300)
def test_it_is_back_soon(make_site: MakeSite, numbers: Callable[..., int]) -> None:
    """T-KILL: killed with many instances in the index and started again, it accepts callers within 5 s."""
    site = make_site()
    site.start()
    each = numbers(500, 25_000)
    senders = [_sender(site, study, 1, each, (2_000,)) for study in range(1, SENDERS + 1)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(site.oracle.acknowledged) == SENDERS * each
    site.bridge.kill()
    began = time.monotonic()
    site.bridge.launch()
    site.bridge.wait(lambda: _answers(site), 60)
    taken = time.monotonic() - began
    print(f"{SENDERS * each:,} instances: accepts after {taken:.1f} s")
    assert taken < numbers(30, 5)
    site.bridge.wait(site.bridge.ready, 60)
    site.oracle.check(seconds=300)


def _answers(site: Site) -> bool:
    assert site.bridge.process is not None and site.bridge.process.poll() is None
    try:
        return echo(site.bridge.dimse_port) == SUCCESS
    except ConnectionError:
        return False


def _push(site: Site, number: int, sizes: tuple[int, ...], moment: float) -> None:
    """One round that ends by a kill."""
    senders = [_sender(site, study, 1 + number * EACH, EACH, sizes) for study in range(1, SENDERS + 1)]
    for sender in senders:
        sender.start()
    threading.Event().wait(moment)
    site.bridge.kill()
    for sender in senders:
        sender.join()


def _sender(site: Site, study: int, first: int, count: int, sizes: tuple[int, ...]) -> Sender:
    """Instances of a study, which has numbers of its own."""
    start = study * 1_000_000 + first
    return site.sender(study, range(start, start + count), sizes)
