"""The circuit: opens after failures, lets one request try, and gives up hope slowly."""

import threading
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from remote.hostile import Clock

from pacsbridge.errors import Unavailable
from pacsbridge.remote.circuit import PROBE_SECONDS, Circuit

NEVER = float("inf")


def circuit(clock: Clock, chance: float = 1.0, longest: float = 300.0) -> Circuit:
    """A circuit whose pauses are whole ones."""
    return Circuit(clock, lambda: chance, longest=longest)


Step = tuple[str, float | None, str, float | None]

TABLE: dict[str, list[Step]] = {
    "a success changes nothing": [("succeeded", None, "closed", None)],
    "two failures are not enough": [("failed", None, "closed", None)] * 2,
    "a success starts the count anew": [
        *[("failed", None, "closed", None)] * 2,
        ("succeeded", None, "closed", None),
        *[("failed", None, "closed", None)] * 2,
        ("failed", None, "open", 1.0),
    ],
    "a time that the server names opens at once": [("failed", 7.0, "open", 7.0)],
    "the longer of pause and named time": [("failed", 0.2, "open", 1.0)],
    "a server may put us off for an hour": [("failed", 1e9, "open", 3600.0)],
    "nobody is put off into the past": [("failed", -5.0, "closed", None)],
    "failures of requests from before tell nothing new": [
        ("failed", 5.0, "open", 5.0),
        ("failed", None, "open", 5.0),
        ("failed", 3.0, "open", 5.0),
        ("failed", 9.0, "open", 9.0),
    ],
    "a late success closes": [("failed", 5.0, "open", 5.0), ("succeeded", None, "closed", None)],
    "one tries when the time has come, and opens anew": [
        ("failed", 1.0, "open", 1.0),
        ("wait", 1.0, "half-open", 0.0),
        ("probe", None, "half-open", 0.0),
        ("failed", None, "open", 2.0),
        ("wait", 1.9, "open", 0.1),
        ("refused", 0.1, "open", 0.1),
        ("wait", 0.1, "half-open", 0.0),
        ("probe", None, "half-open", 0.0),
        ("refused", 1.0, "half-open", 0.0),
        ("failed", 50.0, "open", 50.0),
        ("wait", 60.0, "half-open", -10.0),
        ("probe", None, "half-open", -10.0),
        ("succeeded", None, "closed", None),
        ("through", None, "closed", None),
        *[("failed", None, "closed", None)] * 2,
        ("failed", None, "open", 1.0),
    ],
}
"""What happens, with what; the state then, and the seconds until the next request may try."""


@pytest.mark.parametrize("case", TABLE)
def test_states(case: str) -> None:
    """Each row: an event, the state that comes of it, and how long it lasts."""
    clock = Clock()
    one = circuit(clock)
    for event, number, state, left in TABLE[case]:
        if event == "failed":
            one.failed(number)
        elif event == "succeeded":
            one.succeeded()
        elif event == "wait":
            clock.now += number or 0
        elif event == "refused":
            with pytest.raises(Unavailable) as caught:
                one.check()
            assert caught.value.retry_after == pytest.approx(number)
        else:
            assert one.check() is (event == "probe")
        until = one.until
        assert (one.state, until is None) == (state, left is None)
        assert until is None or until - clock() == pytest.approx(left, abs=1e-6)


def test_pauses_double() -> None:
    """From one second to five minutes, and no further."""
    clock = Clock()
    one = circuit(clock)
    pauses = []
    for _ in range(3):
        one.failed()
    for _ in range(50):
        pauses.append((one.until or 0) - clock())
        clock.now += pauses[-1]
        assert one.check()
        one.failed()
    assert pauses[:11] == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
    assert set(pauses[10:]) == {300}


@pytest.mark.parametrize(("chance", "pause"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_pauses_differ(chance: float, pause: float) -> None:
    """Between half and whole, so that several bridges don't come back in step."""
    clock = Clock()
    one = circuit(clock, chance)
    for _ in range(3):
        one.failed()
    assert (one.until or 0) - clock() == pytest.approx(pause)


@given(
    steps=st.lists(st.floats(0.0, 50.0), max_size=300),
    chances=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20),
    named=st.lists(st.none() | st.floats(0.0, 100.0), min_size=1, max_size=7),
    hold=st.floats(0.0, 20.0),
)
def test_who_is_long_away_is_seldom_asked(
    steps: list[float], chances: list[float], named: list[float | None], hold: float
) -> None:
    """However time goes on, whatever chance and the server say: one at a time, and 30 s between two."""
    clock, turn = Clock(), iter(range(10**9))
    one = Circuit(clock, lambda: chances[next(turn) % len(chances)])
    for _ in range(3):
        one.failed()
    probes = []
    for number, step in enumerate([*steps, *[10.0] * 100]):
        clock.now += step
        if one.state == "open":
            with pytest.raises(Unavailable):
                one.check()
            continue
        assert one.check()
        probes.append(clock())
        clock.now += hold
        with pytest.raises(Unavailable):
            one.check()
        one.failed(named[number % len(named)])
    assert all(later - earlier >= PROBE_SECONDS - 1e-6 for earlier, later in pairwise(probes[4:]))


def test_threads_send_one() -> None:
    """Of many that ask at the moment when it may be tried, one is let through."""
    clock = Clock()
    one = circuit(clock)
    one.failed(1.0)
    clock.now += 2
    barrier, through = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait(10)
        with suppress(Unavailable):
            through.append(one.check())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert through == [True]


def test_somebody_who_cannot_wait_may_try_at_once() -> None:
    """One request, as if the pause were over; where nothing has failed nothing changes."""
    clock = Clock(0)
    one = circuit(clock)
    one.hurry()
    assert (one.state, one.left) == ("closed", None)
    one.failed(60.0, "HTTP 503")
    assert (one.state, one.left) == ("open", 60.0)
    with pytest.raises(Unavailable, match=r"failed lately \(HTTP 503\) and is left alone"):
        one.check()
    one.hurry()
    assert (one.state, one.left, one.check()) == ("half-open", 0.0, True)
    with pytest.raises(Unavailable):
        one.check()
