"""What looks after certificates: new files are taken, broken ones are not, and their end is told."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest
from certificate_site import Pair, Site
from structlog.testing import capture_logs

from pacsbridge import metrics
from pacsbridge.tls import contexts
from pacsbridge.tls.certificates import Identity, ListPlace, Place
from pacsbridge.tls.contexts import Files, Renewable
from pacsbridge.tls.renewal import Renewal


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        """Seconds since 1970."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Now."""
    return Clock()


@pytest.fixture
def pair(site: Site) -> Pair:
    """Ours."""
    return site.issue("own")


@pytest.fixture
def renewal(pair: Pair, clock: Clock) -> Renewal:
    """What looks after it; the tests say when."""
    place = Place("dimse.tls.certificate", pair.certificate)
    files = Files(Identity(place, Place("dimse.tls.key", pair.key)))
    context = Renewable("dimse", files, partial(contexts.server, files))
    return Renewal([context], [place], pace=clock, clock=clock)


def outcomes(outcome: str) -> float:
    """How often that has come out, by the metric."""
    return float(metrics.TLS_RENEWALS.labels("dimse", outcome)._value.get())


def until() -> float:
    """When it ends, by the metric."""
    return float(metrics.TLS_NOT_AFTER.labels("dimse.tls.certificate", "")._value.get())


def test_a_new_file_is_taken_once_it_rests(renewal: Renewal, site: Site) -> None:
    """Not while it may still be written: at the second look that finds the same; and then only once."""
    before = outcomes("renewed")
    renewal.look()
    assert outcomes("renewed") == before
    site.issue("own", days=(-1, 90))
    renewal.look()
    assert outcomes("renewed") == before
    renewal.look()
    assert outcomes("renewed") == before + 1
    assert 89 < (until() - datetime.now(UTC).timestamp()) / 86400 < 91
    renewal.look()
    renewal.look()
    assert outcomes("renewed") == before + 1


def test_a_link_to_another_file_is_followed(site: Site, clock: Clock) -> None:
    """As certbot replaces certificates: the names are links, which are turned to new files."""
    first, second = site.issue("one"), site.issue("two")
    live = Pair(site.folder / "live.pem", site.folder / "live.key")
    for link, file in zip(live, first, strict=True):
        link.symlink_to(file)
    place = Place("fhir.tls.certificate", live.certificate)
    files = Files(Identity(place, Place("fhir.tls.key", live.key)))
    renewal = Renewal(
        [Renewable("dimse", files, partial(contexts.server, files))], [place], pace=clock, clock=clock
    )
    before = outcomes("renewed")
    for link, file in zip(live, second, strict=True):
        new = link.with_suffix(".new")
        new.symlink_to(file)
        os.replace(new, link)
    renewal.look()
    renewal.look()
    assert outcomes("renewed") == before + 1


def test_a_broken_file_is_told_once_and_tried_again(
    renewal: Renewal, pair: Pair, clock: Clock, site: Site
) -> None:
    """One line and one count a change; then after an hour, as its time may have come."""
    before = outcomes("failed")
    pair.certificate.write_text("half of it")
    with capture_logs() as lines:
        for _ in range(5):
            renewal.look()
        assert outcomes("failed") == before + 1
        clock.now += 3600
        renewal.look()
    assert outcomes("failed") == before + 2
    said = [one["reason"] for one in lines if one["event"] == "certificates not renewed"]
    assert len(said) == 2
    assert all(one.startswith(f"dimse.tls.certificate: {pair.certificate} holds no certi") for one in said)
    renewed = outcomes("renewed")
    site.issue("own")
    renewal.look()
    renewal.look()
    assert outcomes("renewed") == renewed + 1


def test_all_are_read_anew_when_that_is_asked_for(renewal: Renewal) -> None:
    """Changed or not (SIGHUP)."""
    before = outcomes("renewed")
    renewal.renew()
    assert outcomes("renewed") == before + 1


LEVELS: dict[str, tuple[tuple[float, float], str]] = {
    "good": ((-1, 90), "info"),
    "soon": ((-1, 9), "warning"),
    "over": ((-9, -1), "error"),
}


@pytest.mark.parametrize("case", LEVELS)
def test_the_end_is_told_every_day(site: Site, clock: Clock, case: str) -> None:
    """At the start and once a day, at the level that it deserves; the metric has the moment."""
    days, level = LEVELS[case]
    place = Place("source.certificate", site.issue("own", days=days).certificate, "main-pacs")
    renewal = Renewal([], [place], pace=clock, clock=clock)
    with capture_logs() as lines:
        renewal.start()
        renewal.stop()
        for hours in range(48):
            clock.now += 3600
            renewal.look()
            assert len(lines) == 1 + (hours + 1) // 24
    assert {(one["log_level"], one["certificate"]) for one in lines} == {
        (level, "source main-pacs: certificate")
    }
    found = metrics.TLS_NOT_AFTER.labels("source.certificate", "main-pacs")._value.get()
    assert datetime.fromtimestamp(found, UTC).isoformat() == lines[0]["until"]


def test_the_end_of_a_list_is_told_at_once(site: Site, clock: Clock) -> None:
    """Lists are good for days or hours: nobody is let in from that moment on, and the log says so then."""
    place = ListPlace("dimse.tls.crl", site.revoke(days=(-1, 0.5)), issuers=Place("dimse.tls.ca", site.ca))
    renewal = Renewal([], [place], pace=clock, clock=clock)
    with capture_logs() as lines:
        renewal.start()
        renewal.stop()
        for _ in range(20):
            clock.now += 3600
            renewal.look()
    assert [one["log_level"] for one in lines] == ["info", "error"]
    assert lines[1]["reason"].startswith(f"dimse.tls.crl: {place.path} expired on ")
    found = metrics.TLS_NOT_AFTER.labels("dimse.tls.crl", "")._value.get()
    assert clock.now - 9 * 3600 < found < clock.now - 7 * 3600


def test_a_thread_looks(pair: Pair, site: Site, wait_until: Callable[..., None]) -> None:
    """Started, it needs nobody to ask it; stopped, it is gone."""
    place = Place("dimse.tls.certificate", pair.certificate)
    files = Files(Identity(place, Place("dimse.tls.key", pair.key)))
    context = Renewable("dimse", files, partial(contexts.server, files))
    renewal = Renewal([context], [place], look_seconds=0.05)
    before = outcomes("renewed")
    renewal.start()
    site.issue("own")
    wait_until(lambda: outcomes("renewed") > before, 30)
    renewal.stop()
    assert not renewal._thread.is_alive()
