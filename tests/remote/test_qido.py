"""Searches of an archive: what is asked, what comes back, and what is no answer."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog.testing
from remote.hostile import (
    STUDY_UID,
    Clock,
    Fault,
    HostileArchive,
    bomb,
    changed,
    content,
    html,
    status,
    study,
    text,
    truncated,
    twice,
    without_uids,
    wrong_vrs,
)

from pacsbridge.errors import BadAnswer, Declined, Unavailable, WrongKind, reason
from pacsbridge.remote.qido import Archive

FIELDS = {"studies": ["StudyDate", "00081030", "NoSuchKeyword"], "series": ["Modality"]}


@pytest.fixture
def held(archive: HostileArchive) -> HostileArchive:
    """An archive with three studies."""
    for number in (1, 2, 3):
        archive.holdings.add(study(f"1.2.{number}", date=f"2026010{number}"))
    return archive


def uids(rows: Any) -> list[str]:
    """The studies of rows."""
    return [text(row, STUDY_UID) for row in rows]


def test_studies(held: HostileArchive, make_archive: Callable[..., Archive]) -> None:
    """Limit and offset always go along; the attributes go as tags in one parameter."""
    found = make_archive(FIELDS).studies([("StudyDate", "20260102-")], limit=10)
    assert (uids(found.rows), found.more, found.dropped) == (["1.2.2", "1.2.3"], False, 0)
    (asked,) = held.asked
    assert asked.path == "/dicom-web/studies"
    assert asked.pairs == [
        ("StudyDate", "20260102-"),
        ("limit", "10"),
        ("offset", "0"),
        ("includefield", "00080020,00081030,NoSuchKeyword"),
    ]
    assert asked.headers["accept"] == "application/dicom+json"


def test_pages(held: HostileArchive, make_archive: Callable[..., Archive]) -> None:
    """The archive says whether there are more, even where it gives fewer than were asked for."""
    held.options.page_cap = 2
    asker = make_archive()
    first, second = asker.studies((), limit=500), asker.studies((), limit=500, offset=2)
    assert (uids(first.rows), first.more) == (["1.2.1", "1.2.2"], True)
    assert (uids(second.rows), second.more) == (["1.2.3"], False)


@pytest.mark.parametrize(
    ("warning", "more"),
    [
        ("299 http://x: There are 7 additional results that can be requested", True),
        ("299 - There are additional results that can be requested", True),
        (
            "299 x: The fuzzymatching parameter is not supported. Only literal matching.",
            False,
        ),
        ('110 - "Response is Stale", 299 x: THERE ARE 7 ADDITIONAL RESULTS', True),
        ("110 - additional", False),
        ("", False),
    ],
)
def test_warnings(
    archive: HostileArchive, make_archive: Callable[..., Archive], warning: str, more: bool
) -> None:
    """PS3.18 8.3.4.4: of the warnings with 299 one says that there are more."""
    archive.faults.append(content(b"[{}]", Warning=warning))
    assert make_archive().studies((), limit=1).more is more


@pytest.mark.parametrize("level", ["series", "instances"])
def test_below_studies(held: HostileArchive, make_archive: Callable[..., Archive], level: str) -> None:
    """One study is asked for by its path, several by a list, none not at all."""
    search = getattr(make_archive(FIELDS), level)
    assert uids(search(["1.2.1"], limit=2).rows) == ["1.2.1", "1.2.1"]
    assert set(uids(search(["1.2.1", "1.2.3"], limit=100, offset=1).rows)) == {"1.2.1", "1.2.3"}
    assert search([], limit=9) == ((), False, 0)
    one, several = held.asked
    assert one.path == f"/dicom-web/studies/1.2.1/{level}"
    assert several.path == f"/dicom-web/{level}"
    assert several.query.startswith("StudyInstanceUID=1.2.1,1.2.3&limit=100&offset=1")
    assert [one.params.get("includefield") for one in held.asked] == [
        "00080060" if level == "series" else None
    ] * 2


@pytest.mark.parametrize(
    "uid", ["", ".", "..", "../studies", "1.2/3", "1,2", "1?x=1", "1%2e", "1\n", "1" * 65]
)
def test_what_is_no_uid_is_not_asked_for(
    archive: HostileArchive, make_archive: Callable[..., Archive], uid: str
) -> None:
    """It would ask for something else; that is how an archive's answer could lead us about."""
    for several in ([uid], ["1.2.3", uid]):
        with pytest.raises(BadAnswer, match=r"^a UID that cannot be asked for$"):
            make_archive().series(several, limit=1)
    assert archive.asked == []


def test_includefield_is_given_up(held: HostileArchive, make_archive: Callable[..., Archive]) -> None:
    """Refused once, it is left out at once and from then on, at this level alone."""
    held.options.refuses_includefield = True
    asker = make_archive(FIELDS)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert len(asker.studies((), limit=10).rows) == 3
        assert len(asker.series(["1.2.1"], limit=10).rows) == 2
    assert ["includefield" in one.params for one in held.asked] == [True, False, False, True, False]
    assert [(one["event"], one["source"], one["type"]) for one in logs] == [
        ("includefield_refused", "main", "studies"),
        ("includefield_refused", "main", "series"),
    ]


def test_a_bad_question_is_no_reason_to_give_up_includefield(
    held: HostileArchive, make_archive: Callable[..., Archive]
) -> None:
    """What is refused without it too says nothing about it."""
    asker = make_archive(FIELDS)
    held.faults.extend([status(400)] * 2)
    with pytest.raises(Declined, match=r"^HTTP 400$"):
        asker.studies((), limit=10)
    asker.studies((), limit=10)
    assert ["includefield" in one.params for one in held.asked] == [True, False, True]


@pytest.mark.parametrize("code", [404, 414])
def test_other_refusals_stand(held: HostileArchive, make_archive: Callable[..., Archive], code: int) -> None:
    """Only 400 is worth another question."""
    held.faults.append(status(code))
    with pytest.raises(Declined, match=f"^HTTP {code}$"):
        make_archive(FIELDS).studies((), limit=10)
    assert len(held.asked) == 1


def test_uid_lists_that_are_refused(held: HostileArchive, make_archive: Callable[..., Archive]) -> None:
    """Declined, or nothing: what to do about it is the caller's to know."""
    asker = make_archive(FIELDS)
    held.options.refuses_uid_lists = True
    with pytest.raises(Declined):
        asker.series(["1.2.1", "1.2.2"], limit=10)
    held.options.refuses_uid_lists, held.options.finds_nothing_by_uid_lists = False, True
    assert asker.series(["1.2.1", "1.2.2"], limit=10).rows == []


EMPTY: dict[str, Fault] = {
    "204": status(204),
    "no body": content(b""),
    "no body, no type": content(b"", ""),
    "blank": content(b" \r\n"),
    "list": content(b"[]"),
    "mark": content(b"\xef\xbb\xbf[]"),
}


@pytest.mark.parametrize("case", EMPTY)
def test_nothing_found(archive: HostileArchive, make_archive: Callable[..., Archive], case: str) -> None:
    """There are many ways to say it."""
    archive.faults.append(EMPTY[case])
    assert make_archive().studies((), limit=1) == ([], False, 0)


BAD: dict[str, tuple[Fault, str]] = {
    "html": (html(), "not JSON: text/html"),
    "empty html": (content(b"[]", "Text/HTML"), "not JSON: text/html"),
    "xml": (content(b"<x/>", "multipart/related; type=x"), "not JSON: multipart/related"),
    "no type": (content(b"<x/>", ""), "not JSON"),
    "patient in the type": (content(b"<x/>", "Synthetic Person/x"), "not JSON"),
    "broken off": (truncated(), "JSON breaks off"),
    "broken off in a letter": (content('[{"a":"ü'.encode()[:-1]), "JSON that cannot be read"),
    "nonsense": (content(b"Synthetic^Person"), "JSON that cannot be read"),
    "not a number": (content(b"[NaN]"), "JSON that cannot be read"),
    "latin": (content(b'[{"a":"\xfc"}]'), "JSON that cannot be read"),
    "two": (content(b"[] []"), "JSON that cannot be read"),
    "object": (content(b'{"message": "Synthetic^Person"}'), "not a list of objects"),
    "text": (content(b'"Synthetic^Person"'), "not a list of objects"),
    "null": (content(b"null"), "not a list of objects"),
    "nested lists": (content(b"[" * 1_000_000), "JSON that cannot be read"),
    "nested objects": (content(b'[{"a":' * 1_000_000), "JSON that cannot be read"),
    "zeros": (bomb(1 << 20), "JSON that cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_answer(archive: HostileArchive, make_archive: Callable[..., Archive], case: str) -> None:
    """Said in our words, without a second try; nobody's recursion ends."""
    fault, why = BAD[case]
    archive.faults.append(fault)
    with pytest.raises(BadAnswer) as caught:
        make_archive().studies((), limit=1)
    assert reason(caught.value) == why
    assert len(archive.asked) == 1


KINDS: dict[str, tuple[Fault, type[BadAnswer]]] = {
    "html": (html(), WrongKind),
    "blank before it": (content(b"\xef\xbb\xbf \r\n<html>", "TEXT/HTML ; charset=x"), WrongKind),
    "xml": (content(b"<x/>", "application/dicom+xml"), WrongKind),
    "picture": (content(b"\x89PNG", "image/png"), WrongKind),
    "words": (content(b"No studies found", "text/plain"), BadAnswer),
    "bytes": (content(b"\0\1", "application/octet-stream"), BadAnswer),
    "no type": (content(b"<x/>", ""), BadAnswer),
    "nonsense that says it is JSON": (content(b"<x/>"), BadAnswer),
    "broken off": (truncated(), BadAnswer),
    "broken off, called a page": (content(b'[{"00', "text/html"), BadAnswer),
}


@pytest.mark.parametrize("case", KINDS)
def test_what_is_of_another_kind(
    archive: HostileArchive, make_archive: Callable[..., Archive], case: str
) -> None:
    """Another thing by its name and by its beginning is the archive's fault; the rest may be a study's."""
    fault, kind = KINDS[case]
    archive.faults.extend([fault] * 2)
    asker = make_archive()
    with pytest.raises(BadAnswer) as listed:
        asker.studies((), limit=1)
    with pytest.raises(BadAnswer) as alone:
        asker.metadata("1.2")
    assert (type(listed.value), type(alone.value)) == (kind, kind)


def test_who_is_no_archive_is_left_alone(
    archive: HostileArchive, make_archive: Callable[..., Archive], clock: Clock
) -> None:
    """Pages instead of studies are failures: after three the circuit is open, for ever longer."""
    archive.routes["/dicom-web/studies"] = html()
    asker = make_archive()
    for _time in range(600):
        with pytest.raises((WrongKind, Unavailable)):
            asker.studies((), limit=1)
        clock.now += 1
    assert len(archive.asked) < 20
    with pytest.raises(Unavailable, match=r"^it has failed lately \(not JSON: text/html\)"):
        asker.studies((), limit=1)
    archive.routes.clear()
    clock.now += 600
    assert asker.studies((), limit=1).rows == []
    assert asker.client.circuit.state == "closed"


def test_pages_instead_of_single_studies_open_nothing(
    archive: HostileArchive, make_archive: Callable[..., Archive]
) -> None:
    """An archive may have no better way to say that a study is broken; the others are had."""
    asker = make_archive()
    archive.faults.extend([html()] * 9)
    for ask in (asker.series, asker.instances, asker.instances):
        for uids in (["1.2"], ["1.2", "1.3"], ["1.4"]):
            with pytest.raises(WrongKind):
                ask(uids, limit=9)
    assert asker.client.circuit.state == "closed"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream", ""])
def test_types_that_do_not_matter(
    archive: HostileArchive, make_archive: Callable[..., Archive], kind: str
) -> None:
    """JSON is JSON, whatever it is called."""
    archive.faults.append(content(b'[{"x": 1}]', kind))
    assert make_archive().studies((), limit=1).rows == [{"x": 1}]


def test_members_that_are_no_objects(archive: HostileArchive, make_archive: Callable[..., Archive]) -> None:
    """Dropped and counted; the others stay."""
    archive.faults.append(content(b'[null, {"a": 1}, "x", [], 7, {}]'))
    assert make_archive().studies((), limit=1) == ([{"a": 1}, {}], False, 4)


@pytest.mark.parametrize("change", [wrong_vrs, without_uids, twice])
def test_rows_are_passed_on_as_they_are(
    held: HostileArchive, make_archive: Callable[..., Archive], change: Callable[[Any], Any]
) -> None:
    """What attributes mean is for others to judge."""
    held.faults.append(changed(change))
    assert make_archive().studies((), limit=9).rows == change(held.holdings.studies)


def test_close(held: HostileArchive, make_archive: Callable[..., Archive]) -> None:
    """Connections end, and nothing more is asked."""
    asker = make_archive()
    asker.studies((), limit=1)
    asker.close()
    with pytest.raises(Unavailable, match="shutting down"):
        asker.studies((), limit=1)
    assert held.connections == 1
