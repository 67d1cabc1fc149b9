"""The oracle itself: it passes a sound bridge, and notices each breach."""

import pytest
from benchmarks.sender import uid
from pushing import SUCCESS

from .conftest import Site


def test_a_sound_bridge(site: Site) -> None:
    """All invariants hold of a bridge that nobody attacked."""
    site.oracle.rest()
    with site.line() as line, site.oracle.bounded(200):
        assert {site.push(line, number) for number in range(1, 6)} == {SUCCESS}
    site.oracle.check(settled=True)


def test_each_breach_is_noticed(site: Site) -> None:
    """Lost instances, other bytes, refusals without reason, older versions, a name in the log, memory."""
    oracle = site.oracle
    with site.line() as line:
        assert site.push(line, 1) == SUCCESS
    oracle.check()
    digest = oracle.acknowledged[uid(1, 1)]
    oracle.acknowledged[uid(1, 1)] = bytes(32)
    with pytest.raises(AssertionError, match="other bytes"):
        oracle.stored(seconds=0.5)
    oracle.acknowledged = {uid(1, 1): digest, uid(1, 2): digest}
    with pytest.raises(AssertionError, match="lost"):
        oracle.stored(seconds=0.5)
    oracle.declined[uid(1, 3)] = 0xC000
    with pytest.raises(AssertionError):
        oracle.on_record()
    oracle._versions = dict.fromkeys(oracle._versions, 9)
    with pytest.raises(AssertionError, match="went from version 9"):
        oracle.rising()
    with site.bridge.log.open("a") as log:
        log.write(oracle.canary)
    with pytest.raises(AssertionError, match="canary"):
        oracle.discreet()
    with pytest.raises(AssertionError, match="more"), oracle.bounded(-1):
        pass
