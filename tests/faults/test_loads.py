"""T-DUP, T-RACE, T-HUGE, T-SHUT, T-KILL-T, T-SOAK: what many senders do to one bridge, and to one study."""

import random
import signal
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import requests
from benchmarks.sender import command, p_data, uid
from bystander import bystander, echoes, reads
from pushing import OUT_OF_RESOURCES, SUCCESS, Association, association, encoded, template

from .conftest import MakeSite, Site


def run(threads: Iterable[threading.Thread]) -> None:
    """All of them at once, to their ends."""
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


@pytest.mark.timeout(300)
def test_one_instance_from_many(make_site: MakeSite, each_engine: str | None) -> None:
    """T-DUP: identical bytes over eight associations at once: 0x0000 to each, one row, one object."""
    site = make_site(dimse="spool_bytes = 65536", url=each_engine).start()
    ready, data = threading.Barrier(8), encoded(1, 1, 300_000, site.oracle.canary)

    def send() -> None:
        with site.line() as line:
            for _ in range(3):
                ready.wait()
                assert line.store(uid(1, 1), data) == SUCCESS

    run(threading.Thread(target=send) for _ in range(8))
    assert site.oracle.statuses == {SUCCESS: 24}
    site.oracle.check()
    [[count]] = site.oracle.rows("SELECT count(*) FROM instance")
    assert count == 1


REPLACED, KEPT, REFUSED = "replaced", "first kept", "refused"
"""What the audit log says that came of conflicts."""

POLICIES = {
    "replace": (REPLACED, KEPT),
    "keep-first": (KEPT, KEPT),
    "refuse": (REFUSED, REFUSED),
    "replace-any": (REPLACED, REPLACED),
}
"""Policy → what comes of other content from the application that sent the first, and from another one."""


@pytest.mark.parametrize("policy", POLICIES)
def test_other_content_under_a_known_uid(make_site: MakeSite, policy: str) -> None:
    """T-DUP: other bytes, series, study, patient, by the same and by another AE: by the policy, on record."""
    site = make_site(f'[store]\non_conflict = "{policy}"\n').start()
    outcomes = dict(zip(("BENCH", "OTHER"), POLICIES[policy], strict=True))
    for number, (calling, outcome) in enumerate(outcomes.items(), 1):
        first, *others = _contents(number, site.oracle.canary)
        with site.line() as line:
            assert line.store(uid(1, number), first) == SUCCESS
        with association(site.bridge.dimse_port, site.oracle.note, calling=calling) as line:
            for data in others:
                assert line.store(uid(1, number), data) == (0xC004 if outcome == REFUSED else SUCCESS)
                if outcome == KEPT:
                    site.oracle.note(uid(1, number), first, SUCCESS)
                site.oracle.stored()
    site.bridge.wait(lambda: all(_conflicts(site, number) >= len(others) for number in (1, 2)), 60)
    site.bridge.wait(lambda: all((who, done) in _audited(site) for who, done in outcomes.items()), 60)
    why = site.bridge.run("why", uid(1, 2)).stdout
    assert ("conflict" in why, "dead letter" in why) == (True, outcomes["OTHER"] != REPLACED)
    site.oracle.check()


def _contents(number: int, canary: str) -> Sequence[bytes]:
    """Five contents of one UID: other bytes, another series, study and patient than the first."""
    first = encoded(number, number, 1000, canary)
    return [
        first,
        encoded(number, number, 1002, canary),
        first.replace(uid(3, number).encode(), uid(3, number + 6).encode()),
        encoded(number, number + 6, 1000, canary),
        first.replace(b"FAULT ", b"OTHER "),
    ]


def _conflicts(site: Site, number: int) -> int:
    """How many contents are on record as in conflict with another one."""
    query = f"SELECT count(*) FROM conflict WHERE field = 'content' AND instance_uid = '{uid(1, number)}'"
    [[count]] = site.oracle.rows(query)
    return int(count)


def _audited(site: Site) -> set[tuple[str, str]]:
    """Who has caused conflicts that are in the audit log, and what came of them."""
    answer = site.bridge.get("AuditEvent?type=110103&_count=100").json()
    found = [entry["resource"] for entry in answer.get("entry", [])]
    return {(one["agent"][0]["altId"], _details(one)["done"]) for one in found}


def _details(event: dict[str, Any]) -> dict[str, str]:
    told = (detail for entity in event["entity"] for detail in entity.get("detail", ()))
    return {detail["type"]: detail["valueString"] for detail in told}


@pytest.mark.timeout(300)
def test_first_objects_of_one_study(
    make_site: MakeSite, each_engine: str | None, numbers: Callable[..., int]
) -> None:
    """T-RACE: many associations bring the first instances of the same new studies; counts are exact."""
    site = make_site(dimse="max_associations = 100", url=each_engine).start()
    lines, each, studies = numbers(10, 20), numbers(5, 50), numbers(3, 100)
    ready = threading.Barrier(lines)

    def send(number: int) -> None:
        with site.line() as line:
            for study in range(1, studies + 1):
                ready.wait()
                for place in range(each):
                    site.push(line, study * 1_000_000 + number * 1000 + place, study, 1000)

    with bystander(site.bridge):
        run(threading.Thread(target=send, args=(number,)) for number in range(lines))
    assert site.oracle.statuses == {SUCCESS: lines * each * studies}
    site.oracle.check()
    assert {one["numberOfInstances"] for one in site.bridge.studies().values()} == {lines * each}


@pytest.mark.timeout(300)
def test_a_huge_study(site: Site, numbers: Callable[..., int]) -> None:
    """T-HUGE: thousands of instances of one study; an instance costs the last what it costs the first."""
    count, series = numbers(2000, 20_000), numbers(30, 300)
    oracle, seconds = site.oracle, list[float]()
    data = template(1000, oracle.canary).replace(uid(2, 0).encode(), uid(2, 1).encode())
    with oracle.bounded(300), bystander(site.bridge, echoes(site.bridge), reads(site.bridge)):
        with site.line() as line:
            for number in range(1, count + 1):
                own = data.replace(uid(1, 0).encode(), uid(1, number).encode())
                own = own.replace(uid(3, 0).encode(), uid(3, number % series).encode())
                start = time.process_time()
                assert line.store(uid(1, number), own) == SUCCESS
                seconds.append(time.process_time() - start)
        begin = time.monotonic()
        site.bridge.wait(lambda: _listed(site) == count, 60)
        built = time.monotonic() - begin
    print(f"published {built:.1f} s after the last of {count}")
    assert built < numbers(60, 2)
    oracle.check()
    url = f"{site.bridge.fhir}/ImagingStudy/{uid(2, 1)}"
    whole, summary = requests.get(url, timeout=30), requests.get(f"{url}?_summary=true", timeout=30)
    assert len(summary.content) < len(whole.content) / 10
    known = {"If-None-Match": whole.headers["ETag"]}
    assert requests.get(url, headers=known, timeout=30).status_code == 304
    times = sorted(requests.get(url, timeout=30).elapsed.total_seconds() for _ in range(20))
    print(f"{len(whole.content)} bytes in {times[18]:.3f} s (p95)")
    assert times[18] < numbers(10, 0.5)


def _listed(site: Site) -> int:
    answer = site.bridge.get(f"ImagingStudy/{uid(2, 1)}?_elements=numberOfInstances")
    return int(answer.json()["numberOfInstances"]) if answer.status_code == 200 else 0


@pytest.mark.timeout(300)
def test_end_under_load(make_site: MakeSite, each_engine: str | None, numbers: Callable[..., int]) -> None:
    """T-SHUT: SIGTERM while four senders push: what is in flight is finished, exit code 0, nothing lost."""
    site = make_site(url=each_engine)
    chance = random.Random(7)
    for number in range(numbers(2, 20)):
        site.start()
        start = number * 10_000
        spans = [range(study * 1_000_000 + start, study * 1_000_000 + start + 5000) for study in range(1, 5)]
        senders = [site.sender(study, spans[study - 1], (10_000, 500_000)) for study in range(1, 5)]
        for sender in senders:
            sender.start()
        threading.Event().wait(chance.uniform(0.2, 1))
        begin = time.monotonic()
        assert site.bridge.stop() == 0
        print(f"ended after {time.monotonic() - begin:.1f} s")
        assert time.monotonic() - begin < 30
        for sender in senders:
            sender.join()
        assert sum(len(sender.acknowledged) for sender in senders) > 0
        assert site.oracle.statuses.keys() <= {SUCCESS, OUT_OF_RESOURCES}
    site.start()
    site.oracle.check()


@pytest.mark.timeout(300)
def test_kills_while_it_drains(
    make_site: MakeSite, each_engine: str | None, numbers: Callable[..., int]
) -> None:
    """T-KILL-T: killed again and again while it indexes and publishes; one current version of each study."""
    site = make_site(url=each_engine).start()
    count, lines = numbers(100, 5000), 4

    def send(number: int) -> None:
        with site.line() as line:
            for place in range(1, count + 1):
                site.push(line, number * 1_000_000 + place, number * 100_000 + place // 4, 500)

    run(threading.Thread(target=send, args=(number,)) for number in range(1, lines + 1))
    assert site.oracle.statuses == {SUCCESS: lines * count}
    chance = random.Random(11)
    for _ in range(numbers(3, 20)):
        site.bridge.kill()
        site.bridge.launch()
        threading.Event().wait(chance.uniform(0.5, 3))
    site.bridge.kill()
    site.start()
    site.oracle.check()


@pytest.mark.timeout(300)
def test_endurance(site: Site, numbers: Callable[..., float]) -> None:
    """T-SOAK: associations come and go, one in twenty breaks off; threads, descriptors and memory stay."""
    oracle, chance, over = site.oracle, random.Random(3), threading.Event()
    _work(site, chance, 1, 2_000)
    oracle.rest()
    before = oracle.resident()
    end, pace = time.monotonic() + numbers(15, 8 * 3600), numbers(0, 1)
    round_, sizes = 1, list[int]()
    while (began := time.monotonic()) < end:
        round_ += 1
        _work(site, chance, round_, 2_000)
        sizes.append(oracle.resident())
        over.wait(max(0, began + pace - time.monotonic()))
    print(f"{round_} rounds, {before} MiB before, {sizes[-1]} MiB at the end")
    assert oracle.statuses.keys() == {SUCCESS}
    assert sizes[-1] < before + numbers(60, 100)
    assert _hourly(sizes) < numbers(60, 1)
    oracle.check(seconds=300, settled=True)


HOUR = 3_600
"""Rounds of an hour, at night."""


def _hourly(sizes: Sequence[int]) -> float:
    """MiB that an hour adds once the first is over; 0 where there is no second."""
    later = sizes[HOUR:]
    if len(later) < HOUR:
        return 0.0
    slope = statistics.linear_regression(range(len(later)), later).slope * HOUR
    print(f"{slope:.2f} MiB an hour after the first: {sizes[:: HOUR // 4]}")
    return slope


def _work(site: Site, chance: random.Random, round_: int, size: int) -> None:
    """Five associations of ten instances each, two rounds a study, some break off; and some reads."""
    for number in range(5):
        line = site.dial()
        for place in range(10):
            site.push(line, round_ * 100 + number * 10 + place, round_ // 2, size)
        if chance.random() < 0.05:
            _break_off(line, chance)
        else:
            line.release()
    for path in ("ImagingStudy?_count=5&_sort=-started", "Patient?name=canary", "metadata"):
        assert site.bridge.get(path).status_code == 200


def _break_off(line: Association, chance: random.Random) -> None:
    """In the middle of an instance: by closing, by a reset, by A-ABORT."""
    line.socket.sendall(p_data(command(1, uid(1, 1)), bytes(100_000))[: chance.randrange(100, 50_000)])
    ways: Sequence[Callable[[], object]] = (
        lambda: None,
        lambda: line.socket.setsockopt(1, 13, struct.pack("ii", 1, 0)),
        lambda: line.socket.sendall(struct.pack(">BxLBBBB", 7, 4, 0, 0, 0, 0)),
    )
    chance.choice(ways)()
    line.close()


def test_end_by_the_keyboard(site: Site) -> None:
    """T-SHUT: SIGINT ends it as well, exit code 0."""
    assert site.bridge.process is not None
    site.bridge.process.send_signal(signal.SIGINT)
    assert site.bridge.process.wait(30) == 0
