"""The pages of operators over HTTP: sources, dead letters, why; what they show, do, and refuse."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from benchmarks.sender import uid
from operating_site import AE, NOW, SECOND, URL, MakeSite, Site, standing, text_of
from pushing import encoded
from token_issuer import Issuer

from pacsbridge.access.gate import gate
from pacsbridge.access.scopes import OPERATING
from pacsbridge.bridge.archive_standing import Load
from pacsbridge.bridge.archive_state import LastRound
from pacsbridge.bridge.association_log import Association, Associations, Caller
from pacsbridge.bridge.intake import Incoming
from pacsbridge.bridge.sources import Source
from pacsbridge.kernel.model import Facts
from pacsbridge.kernel.reports import Report
from pacsbridge.store import schema
from pacsbridge.store.overview import Backlog
from pacsbridge.store.records import Arrival, Draft, Reported
from pacsbridge.web.operations import Peer

LIVE = {"X-Pacsbridge-Live": "1"}
POSTS = ("/sources/sync", "/dead-letters/1/retry", "/dead-letters/1/discard", "/dead-letters/all", "/why")
GETS = ("/sources", "/dead-letters", "/dead-letters/all?action=retry", "/why")


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes sites and closes them."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        made.append(Site(tmp_path, **options))
        return made[-1]

    yield make
    for site in made:
        site.close()


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """With two configured peers, nobody of whom has called."""
    return make_site(
        peers=(Peer("CT1", "10.1.2.3", 104, ("echo", "store")), Peer("MR1", None, 104, ("store",)))
    )


def push(site: Site, number: int, at: int = NOW) -> None:
    """One instance of one study, that is published."""
    facts = Facts(
        {"key": "A|1"},
        {"uid": "1.2.3"},
        {"uid": "1.2.3.1"},
        {"uid": f"1.2.3.1.{number}", "sop_class": "1.2.840.10008.5.1.4.1.1.2"},
    )
    digest = sha256(str(number).encode()).digest()
    site.store.put([Arrival(facts, AE, at, "1.2.840.10008.1.2.1", f"p:{number}:9", 9, digest)], {}, NOW)


# sources


def test_sources_tell_how_an_archive_stands(site: Site) -> None:
    """Its state, its last round, its backlog, its error with the time, and how far the first load is."""
    state = standing(
        frontier="2019-03-02", last_round=NOW, last=LastRound(NOW, 2.5, 40, 3, 0, 1),
        error="HTTP 503", error_at=NOW + 60 * SECOND,
    )  # fmt: skip
    site.archives = [
        replace(state, reach="left alone", waits=90, backlog=Backlog(10, 2, 1), load=Load(0.25, 7200))
    ]
    said = text_of(site.get("/sources").text)
    for words in (
        "main-pacs",
        "left alone for a while",
        "40 listed, 3 new or changed, 0 gone, 1 failed",
        "Failed 2023-11-14 22:14:20 UTC : HTTP 503",
        "2 to be asked for again, 1 left alone until they change",
        "First load: 25 %, about 2 h left",
        "everything since 2019-03-02",
        "Tried again 2023-11-14 22:14:50 UTC",
    ):
        assert words in said, (words, said)


def test_sources_tell_who_pushes(site: Site) -> None:
    """Configured peers, whether they have called or not, and others; what each brought and was refused."""
    now = Association("CT1", "PACSBRIDGE", "10.1.2.3", NOW - 5 * SECOND, 7, 1, 900)
    ended = Association("ROGUE", "PACSBRIDGE", "10.9.9.9", NOW, 0, 4, 0, NOW, "aborted by the peer")
    site.seen = Associations([now], [ended], {"ROGUE": Caller(1, 0, 4, NOW, "10.9.9.9")})
    push(site, 1)
    page = site.get("/sources").text
    rows = re.findall(r'<tr>\s*<th scope="row".*?</tr>', page, re.DOTALL)
    told = [" ".join(text_of(row).split()) for row in rows]
    peers = [row for row in told if "204" not in row][-5:]
    assert peers[0] == "CT1 10.1.2.3:104 echo, store connected 1 7 1"
    assert peers[1] == "MR1 any store none since the start 0 0 0"
    assert peers[2].startswith("ROGUE not configured 10.9.9.9 2023-11-14")
    assert peers[3] == "CT1 10.1.2.3 2023-11-14 22:13:15 UTC 7 1"
    assert peers[4] == "ROGUE 10.9.9.9 2023-11-14 22:13:20 UTC aborted by the peer 0 4"
    assert 'href="/dead-letters?source=urn%3Adicom%3Aae%3AROGUE"' in page


@pytest.mark.parametrize(("span", "instances"), [("", 2), ("?span=24h", 2), ("?span=7d", 3)])
def test_arrivals_are_drawn_and_told(site: Site, span: str, instances: int) -> None:
    """As bars with their numbers, and the same in a table."""
    for number, hours in enumerate((0, 23, 24, 200)):
        push(site, number, NOW - hours * 3600 * SECOND)
    page = site.get(f"/sources{span}").text
    assert f"{instances} instances received" in text_of(page)
    assert len(re.findall("<rect ", page)) == instances
    assert len(re.findall(r'<tr><th scope="row">\w{3} \d\d', page)) == instances


def test_a_span_that_there_is_not(site: Site) -> None:
    """400 in words."""
    answer = site.get("/sources?span=1y")
    assert (answer.status_code, "span is one of 24h, 7d" in text_of(answer.text)) == (400, True)


def test_sync_now(site: Site) -> None:
    """Begins a round with the archive that is named, and says so; there is none of another name."""
    page = site.get("/sources").text
    assert "A round with main-pacs begins" in text_of(site.post("/sources/sync", page, name="main-pacs").text)
    assert site.synced == ["main-pacs"]
    assert site.post("/sources/sync", page, name="other").status_code == 404
    assert "A round with" not in site.get("/sources?synced=<b>").text


def test_names_are_shown_as_text(site: Site) -> None:
    """An AE title is anything that a caller sends."""
    rogue = Association("<script>x</script>", "A", "10.0.0.1", NOW, 0, 0, 0, NOW, "released")
    site.seen = Associations([], [rogue], {rogue.calling_ae: Caller()})
    page = site.get("/sources").text
    assert "<script>x" not in page
    assert "&lt;script&gt;x" in page


# what stays up to date


@pytest.mark.parametrize("path", ["/sources?span=7d", "/dead-letters"])
def test_regions_alone(site: Site, path: str) -> None:
    """By the field of our script the regions come without their frame, and 304 while they are the same."""
    whole, live = site.get(path), site.get(path, **LIVE)
    assert "<html" in whole.text
    assert "<html" not in live.text
    assert re.findall(r'id="([\w-]+)" data-live', live.text) == re.findall(
        r'id="([\w-]+)" data-live', whole.text
    )
    tag = live.headers["ETag"]
    same = site.get(path, **LIVE, **{"If-None-Match": tag})
    assert (same.status_code, same.content) == (304, b"")
    site.archives = [standing(last_round=NOW)]
    site.bury("refused", "1.2")
    assert site.get(path, **LIVE, **{"If-None-Match": tag}).status_code == 200


def test_pages_are_ready_for_the_script(site: Site) -> None:
    """It is a module of ours; the line that it writes to and the one that is read out are there."""
    page = site.get("/sources").text
    script = re.search(r'<script type="module" src="(/static/\w+/live.js)"', page)
    assert script is not None
    assert site.get(script[1]).headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert 'aria-live="polite" data-live-spoken' in page
    assert "data-live-state" in page


# dead letters


def test_letters_are_shown_the_latest_first(site: Site) -> None:
    """With kind, reason, source, times; those that nobody here can repeat without a way to retry them."""
    site.bury("refused", "1.2.3", "SOP Class UID differs", at=NOW - SECOND)
    site.bury("refused", "1.2.3", "SOP Class UID differs", at=NOW)
    pk = site.bury("archive", "1.2.4", "JSON breaks off", URL, NOW + SECOND)
    page = site.get("/dead-letters").text
    said = text_of(page)
    assert said.index("JSON breaks off main-pacs") < said.index("SOP Class UID differs CT1")
    assert "first 2023-11-14 22:13:19 UTC" in said
    assert re.findall(r'id="retry-(\d+)"', page) == [str(pk)]
    assert len(re.findall(r'id="discard-\d+"', page)) == 2


def test_letters_are_chosen_by_reason(site: Site) -> None:
    """The list of reasons leads to those alone, with their number."""
    for number in range(3):
        site.bury("refused", str(number), "too large & broken")
    site.bury("refused", "9", "other")
    link = re.search(r'href="(/dead-letters\?kind=[^"]+broken)"', site.get("/dead-letters").text)
    assert link is not None
    said = text_of(site.get(link[1].replace("&amp;", "&")).text)
    assert "3 letters kind: refused reason: too large &amp; broken" in said


def test_letters_are_paged(site: Site) -> None:
    """Fifty at a time, each once."""
    for number in range(120):
        site.bury("refused", f"1.2.{number}", at=NOW + number)
    seen, path = [], "/dead-letters?kind=refused"
    while path:
        page = site.get(path).text
        seen += re.findall(r"/why\?key=1\.2\.(\d+)\"", page)
        further = re.search(r'href="([^"]+)" rel="next"', page)
        path = further[1].replace("&amp;", "&") if further else ""
    assert seen == [str(number) for number in reversed(range(120))]


@pytest.mark.parametrize(
    "path",
    [
        "/dead-letters?after=x",
        "/dead-letters?after=1.2.3",
        f"/dead-letters?after={'9' * 30}.1",
        "/dead-letters/all",
        "/dead-letters/all?action=burn",
    ],
)
def test_parameters_that_cannot_be_read(site: Site, path: str) -> None:
    """400 and a page in words."""
    answer = site.get(path)
    assert (answer.status_code, "That could not be understood" in answer.text) == (400, True)


def test_one_letter_is_tried_again(site: Site) -> None:
    """The page behind it tells what came of it, and shows the same choice."""
    kept = site.bury("refused", "1.1")
    pk = site.bury("archive", "1.2", source=URL)
    page = site.get("/dead-letters").text
    told = site.post(f"/dead-letters/{pk}/retry", page, source=URL)
    assert "asked for it again at the next round" in text_of(told.text)
    assert told.url.endswith("/dead-letters?source=http%3A%2F%2Fpacs.example%2Fdicom-web&told=waiting")
    assert "no longer on record" in text_of(site.post(f"/dead-letters/{pk}/retry", page).text)
    assert "Only its sender can repeat it" in text_of(site.post(f"/dead-letters/{kept}/retry", page).text)
    assert [letter.key for letter in site.store.dead_letters()] == ["1.1"]


def test_one_letter_is_given_up(site: Site) -> None:
    """That one alone."""
    site.bury("refused", "1.1")
    pk = site.bury("refused", "1.2")
    page = site.get("/dead-letters").text
    assert "It is discarded" in text_of(site.post(f"/dead-letters/{pk}/discard", page).text)
    assert "no longer on record" in text_of(site.post(f"/dead-letters/{pk}/discard", page).text)
    assert [letter.key for letter in site.store.dead_letters()] == ["1.1"]


def confirmed(site: Site, query: str) -> tuple[str, dict[str, str]]:
    """The page that asks whether all are meant, and the fields of its form."""
    page = site.get(f"/dead-letters/all?{query}").text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    fields.pop("csrf")
    return page, fields


def test_all_of_a_kind_are_given_up_after_a_question(site: Site) -> None:
    """Those that were there when it was asked."""
    for number in range(3):
        site.bury("refused", str(number))
    site.bury("archive", "1.2", source=URL)
    page, fields = confirmed(site, "action=discard&kind=refused")
    assert "Dead letters 3 Kind refused" in text_of(page)
    assert len(site.store.dead_letters()) == 4
    site.bury("refused", "came later")
    told = site.post("/dead-letters/all", page, **fields)
    assert "3 discarded" in text_of(told.text)
    assert [letter.key for letter in site.store.dead_letters()] == ["came later", "1.2"]


def test_all_of_a_kind_are_tried_again_after_a_question(site: Site) -> None:
    """In the background; the page tells how far that is."""
    for number in range(700):
        site.bury("archive", f"1.2.{number}", source=URL)
    page, fields = confirmed(site, "action=retry&kind=archive")
    assert "They are being tried again" in text_of(site.post("/dead-letters/all", page, **fields).text)
    deadline = time.monotonic() + 60
    while site.store.dead_letters() and time.monotonic() < deadline:
        time.sleep(0.05)
    while "700 of 700 tried again" not in (said := text_of(site.get("/dead-letters", **LIVE).text)):
        assert time.monotonic() < deadline, said
        time.sleep(0.05)


def test_a_conflict_is_decided_by_its_kind_alone(site: Site) -> None:
    """Trying all again leaves it, and says so; chosen by its kind it takes the place of what is held."""
    contents = {name: encoded(1, 1, 100, f"{name}^Patient") for name in "AB"}
    for name, data in contents.items():
        source = Source(f"urn:dicom:ae:{name}", name)
        site.intake.adopt(Incoming(data, "1.2.840.10008.1.2.1", source))
        assert site.intake.indexer.drain(30)
    assert "Take this one" in text_of(site.get("/dead-letters").text)
    for query, left, said in (
        ("action=retry", 1, "Conflicts are left as they are"),
        ("action=retry&kind=conflict", 0, "takes the place of what is held"),
    ):
        page, fields = confirmed(site, query)
        assert said in text_of(page)
        site.post("/dead-letters/all", page, **fields)
        deadline = time.monotonic() + 60
        while site.work.progress is None or site.work.progress.running:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert len(site.store.dead_letters()) == left
        assert ("conflicts for you to decide" in text_of(site.get("/dead-letters", **LIVE).text)) == left
    assert site.intake.indexer.drain(30)
    [held] = site.store.held(uid(2, 1))
    assert held.sha256 == sha256(contents["B"]).digest()


@pytest.mark.parametrize("last", ["", "x", "9" * 20, "٣"])
def test_a_confirmation_that_names_no_letter(site: Site, last: str) -> None:
    """Is refused, and nothing is deleted."""
    site.bury("refused", "1")
    page = site.get("/dead-letters").text
    assert site.post("/dead-letters/all", page, action="discard", last=last).status_code == 400
    assert len(site.store.dead_letters()) == 1


def test_many_letters_make_no_large_page(site: Site) -> None:
    """Of 50,000 a page is sent, and the first one takes no long look at the others."""
    rows = [
        {"kind": "refused", "key": f"1.2.{n}", "reason": f"reason {n % 500}", "source": AE, "attempts": 1,
         "first": NOW + n, "last": NOW + n, "location": None}
        for n in range(50_000)
    ]  # fmt: skip
    with site.store._database.write() as connection:
        connection.execute(schema.dead_letter.insert(), rows)
    site.get("/dead-letters")
    begun = time.process_time()
    page = site.get("/dead-letters").text
    assert "50 000 letters" in text_of(page)
    assert len(page) < 200_000
    assert time.process_time() - begun < 1


# why


def test_why_tells_what_the_command_tells(site: Site) -> None:
    """Of a UID, by a URL that can be shared; with ways to the study, its letters and its source."""
    push(site, 1)
    site.bury("refused", "1.2.3", "SOP Class UID differs")
    site.store.put_reports(
        URL, [Reported("1.2.3", b"d", "20240311", Report({"key": "A|1"}, {"uid": "1.2.3"}))], NOW
    )
    page = site.get("/why?key=1.2.3").text
    said = text_of(page)
    for words in ("Study 1", "Instance 1", "Dead letter 1", "Report of an archive 1", "main-pacs", "CT1"):
        assert words in said, (words, said)
    assert 'href="/studies/1.2.3"' in page
    assert 'href="/dead-letters?kind=refused"' in page


def test_a_patient_id_does_not_get_into_a_url(site: Site) -> None:
    """It is asked for by a form, and the answer comes at once; a UID goes on to a URL of its own."""
    content = {
        "resourceType": "ImagingStudy", "id": "1.2.3",
        "subject": {"identifier": {"system": "urn:pat", "value": "P-4711"}},
    }  # fmt: skip
    push(site, 1)
    site.store.publish([Draft("ImagingStudy", "1.2.3", content, site.store.due(NOW * 2)[0].pk)], NOW)
    page = site.get("/why").text
    answer = site.post("/why", page, key=" P-4711 ")
    assert "1.2.3" in text_of(answer.text).replace(". ", ".")
    assert re.fullmatch(rf"{site.origin}/why\?search=[0-9a-f]{{32}}", answer.url)
    assert site.post("/why", page, key="1.2.3").url == f"{site.origin}/why?key=1.2.3"
    assert site.get("/why?key=P-4711").status_code == 400


def test_why_of_what_nobody_knows(site: Site) -> None:
    """Says so, and where to look next; a key of any length or kind does no harm."""
    page = site.get("/why").text
    assert "Nothing is known under that key" in text_of(site.post("/why", page, key="' OR 1=1 --").text)
    assert "Nothing is known" not in text_of(site.post("/why", page, key="").text)
    assert site.post("/why", page, key="x" * 257).status_code == 400


# who may


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({}, None),
        ({}, "0" * 64),
        ({"Sec-Fetch-Site": "cross-site"}, "good"),
        ({"Origin": "http://x.example"}, "good"),
    ],
)
def test_forged_posts_are_refused(site: Site, path: str, headers: dict[str, str], csrf: str | None) -> None:
    """Without our seal, or from somebody else's page: 403, and nothing has happened."""
    site.bury("refused", "1")
    if csrf == "good":
        found = re.search(r'name="csrf" value="([^"]+)"', site.get("/why").text)
        csrf = found[1] if found else ""
    fields = {"name": "main-pacs", "action": "discard", "last": "1", "key": "1"}
    answer = site.forged(path, headers, **fields, **({} if csrf is None else {"csrf": csrf}))
    assert answer.status_code == 403
    assert (site.synced, len(site.store.dead_letters())) == ([], 1)


@pytest.fixture
def token(make_site: MakeSite) -> Iterator[Callable[[str], tuple[Site, dict[str, str]]]]:
    """A site that asks for tokens, and the field with one for a scope."""
    issuer = Issuer()
    guarding = gate(issuer.settings())
    guarded = make_site(gate=guarding)

    def field(scope: str) -> tuple[Site, dict[str, str]]:
        return guarded, {"Authorization": f"Bearer {issuer.token(scope=scope)}"}

    yield field
    guarding.close()
    issuer.close()


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize(
    ("scope", "status"),
    [("system/*.read", 200), (OPERATING, 200), ("user/ImagingStudy.rs user/Patient.rs", 403)],
)
def test_operators_alone_see_these_pages(token: Any, path: str, scope: str, status: int) -> None:
    """Whoever may read studies is no operator for that."""
    guarded, field = token(scope)
    assert guarded.get(path, **field).status_code == status


def test_operators_alone_set_things_in_motion(token: Any) -> None:
    """A token that may only read studies discards nothing and asks no archive."""
    guarded, field = token("user/ImagingStudy.rs")
    for path in POSTS:
        assert guarded.forged(path, field, name="main-pacs").status_code == 403
    assert guarded.synced == []


@pytest.mark.parametrize("path", GETS)
def test_nobody_sees_them_without_signing_in(token: Any, path: str) -> None:
    """A browser is led to where that is done; the script is told."""
    guarded, _field = token("")
    assert guarded.get(path).status_code == 303
    assert guarded.get(path, **LIVE).status_code == 401
