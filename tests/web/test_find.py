"""The page that finds studies, as a browser without script has it."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import requests
from page_site import CT, Site, site, words

from pacsbridge import pages
from pacsbridge.access.sessions import SECONDS
from pacsbridge.errors import Absent, TooLarge
from pacsbridge.web.kept import MOST, Kept


def found(answer: requests.Response) -> list[str]:
    """The UIDs of the studies of a list, in its order."""
    assert answer.status_code == 200, words(answer)
    return re.findall(r'href="/studies/([0-9.]+)"', answer.text)


@pytest.mark.parametrize(
    ("fields", "number"),
    [
        ({}, 10),
        ({"name": "muster kathe"}, 2),
        ({"name": "MUSTER^KÄTHE"}, 2),
        ({"name": "nobody"}, 0),
        ({"id": "SYN-0001"}, 2),
        ({"id": "SYN-0001", "modality": "ct", "from": "2024-03-11", "to": "2024-03-11"}, 1),
        ({"accession": "SYN24-1001"}, 1),
        ({"uid": CT}, 1),
        ({"uid": f"urn:oid:{CT}"}, 1),
        ({"modality": "CT, MR"}, 5),
        ({"from": "2024-05"}, 4),
        ({"to": "20040119"}, 1),
        ({"source": "urn:dicom:ae:DEMO"}, 10),
        ({"status": "registered"}, 0),
    ],
)
def test_each_field_finds(looked_at: Site, fields: dict[str, str], number: int) -> None:
    """As the form sends it, and as a URL that somebody typed."""
    posted = looked_at.post("/", fields)
    assert len(found(posted)) == number
    assert found(looked_at.get("/", params=fields)) == found(posted)
    if number == 0:
        assert "No study is like that" in words(posted)


@pytest.mark.parametrize("private", ["name", "id", "accession"])
def test_what_says_something_of_a_patient_gets_into_no_url(looked_at: Site, private: str) -> None:
    """The result of such a form stands under a random name; any other under a URL that can be passed on."""
    alone = looked_at.post("/", {private: "SYN-0001", "modality": "CT"})
    assert re.fullmatch(rf"{looked_at.root}/\?search=[0-9a-f]{{32}}", alone.url)
    again = looked_at.browser.get(alone.url, timeout=30)
    assert found(again) == found(alone)
    assert looked_at.post("/", {private: "SYN-0001", "modality": "CT"}).url == alone.url
    assert not re.search(r'(?:href|action)="[^"]*SYN-0001', alone.text)
    shared = looked_at.post("/", {"modality": "CT", "name": "", "sort": "started"})
    assert shared.url == f"{looked_at.root}/?modality=CT&sort=started"


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"from": "soon"}, "From"),
        ({"to": "2024-02-31"}, "To"),
        ({"uid": "abc"}, "Study Instance UID"),
        ({"modality": "C|T"}, "Modality"),
        ({"sort": "name"}, "sort"),
        ({"_cursor": "x"}, "the place in the list"),
        ({"name": "a\x01b"}, "name"),
    ],
)
def test_a_bad_field_is_named(looked_at: Site, fields: dict[str, str], label: str) -> None:
    """400, in words that name the field."""
    answer = looked_at.get("/", params=fields)
    assert answer.status_code == 400
    assert f"{label}:" in words(answer)


@pytest.mark.parametrize("query", ["?name=%ff", "?" + "a=b&" * 300, "?from=" + "9" * 9000])
def test_a_bad_url_is_a_page_too(looked_at: Site, query: str) -> None:
    """400, and never a stack trace."""
    answer = looked_at.get(f"/{query}")
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
    assert "<h1>" in answer.text


def column(answer: requests.Response, label: str) -> list[str]:
    """What the list has in a column."""
    cells = re.findall(rf'data-label="{label}"[^>]*>(.*?)</t[dh]>', answer.text, re.DOTALL)
    return [re.sub("<[^>]*>", " ", cell).replace("no date", "").strip() for cell in cells]


@pytest.mark.parametrize(
    ("label", "name", "descends"),
    [
        ("Date", "started", True),
        ("Patient", "patient", False),
        ("Modality", "modality", False),
        ("Series", "series", True),
        ("Instances", "instances", True),
        ("Accession", "accession", False),
        ("Published", "_lastUpdated", True),
    ],
)
def test_the_list_is_sorted_as_asked_for(looked_at: Site, label: str, name: str, *, descends: bool) -> None:
    """A heading leads to an order by its column, and there to the other; one heading says so."""
    start = looked_at.get("/", params={"sort": "_lastUpdated" if name == "started" else "started"})
    first = looked_at.get(link(start, label))
    second = looked_at.get(link(first, f"{label} [↓↑]"))
    for answer, down in ((first, descends), (second, not descends)):
        assert re.findall(r'aria-sort="(\w+)"', answer.text) == ["descending" if down else "ascending"]
    listed = column(first, label)
    if label in ("Series", "Instances"):
        assert listed == sorted(listed, key=int, reverse=True)
        assert len(set(listed)) > 1
    elif label == "Accession":
        assert listed == sorted(listed)
    assert found(first) == found(second)[::-1]
    assert sorted(found(first)) == sorted(found(start))


def test_a_form_keeps_the_order_and_has_one_to_choose(looked_at: Site) -> None:
    """Where there are no headings, as on a phone, the form has the orders, and keeps them."""
    chosen = looked_at.get("/", params={"sort": "-accession"})
    [label] = re.findall(r'<option value="-accession" selected>([^<]*)<', chosen.text)
    assert f"10 studies, {label}" in words(chosen)
    posted = looked_at.post("/", {"name": "muster", "sort": "accession"})
    assert column(posted, "Accession") == ["SYN24-1001", "SYN24-1002"]
    assert 'name="sort" value="-accession"' in posted.text
    assert looked_at.get("/", params={"sort": "patient,started"}).status_code == 400


def test_what_is_not_found_leads_on_to_why(looked_at: Site) -> None:
    """With the key that was asked for, and not by a URL where that is a patient's."""
    for field, key in (("uid", "1.2.3"), ("accession", "NOPE-1"), ("id", "SYN-9999")):
        nothing = looked_at.post("/", {field: key})
        section = nothing.text.partition("No study is like that")[2]
        assert f'name="key" value="{key}"' in section
        assert f"={key}" not in section
        assert "Nothing is known under that key" in words(looked_at.post("/why", {"key": key}))


def test_pages_go_on_by_links_and_by_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search in a URL has links, one for a patient has forms; forth and back is the same list."""
    made = pages.web_settings
    monkeypatch.setattr(pages, "web_settings", lambda *given: replace(made(*given), count=3))
    with site(tmp_path) as running:
        first = running.get("/")
        second = running.get(link(first, "Next →"))
        third = running.get(link(second, "Next →"))
        last = running.get(link(third, "Next →"))
        whole = [uid for one in (first, second, third, last) for uid in found(one)]
        assert (len(whole), len(set(whole))) == (10, 10)
        assert found(running.get(link(second, "← Previous"))) == found(first)
        assert "Next" not in words(last)
        posted = running.post("/", {"name": "compressed"})
        fields = dict(
            re.findall(r'name="([^"]+)" value="([^"]+)"', posted.text.split("Pages of the list")[1])
        )
        assert fields["name"] == "compressed"
        later = running.browser.post(f"{running.root}/", fields, timeout=30)
        assert not set(found(later)) & set(found(posted))
        assert found(later)
        other = running.get("/", params={"modality": "CT", "_cursor": fields["_cursor"]})
        assert other.status_code == 400


@pytest.mark.parametrize("order", ["patient", "-accession"])
def test_a_place_in_the_list_that_is_a_patients_gets_into_no_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """In the order of names and accession numbers pages go on by forms; a place is good for its own order."""
    made = pages.web_settings
    monkeypatch.setattr(pages, "web_settings", lambda *given: replace(made(*given), count=4))
    with site(tmp_path) as running:
        seen = [running.get("/", params={"sort": order})]
        while "Next →" in seen[-1].text:
            assert "_cursor=" not in seen[-1].text
            seen.append(running.browser.post(f"{running.root}/", onward(seen[-1]), timeout=30))
            assert re.search(r"/\?search=[0-9a-f]{32}$", seen[-1].url)
        assert [len(found(one)) for one in seen] == [4, 4, 2]
        assert len({uid for one in seen for uid in found(one)}) == 10
        other = {**onward(seen[0]), "sort": order.removeprefix("-") if order[0] == "-" else f"-{order}"}
        assert running.browser.post(f"{running.root}/", other, timeout=30).status_code == 400


def onward(answer: requests.Response) -> dict[str, str]:
    """The fields of the form that leads to the next page."""
    form = answer.text.split("Pages of the list")[1].rpartition("<form")[2]
    return {name: unescape(text) for name, text in re.findall(r'name="([^"]+)" value="([^"]*)"', form)}


def test_searches_are_kept_in_bounds() -> None:
    """Each for its session, until it is over or others have taken its place; and none that is too long."""
    now = [0.0]
    kept = Kept(lambda: now[0])
    first = kept.keep("a", (("name", "x"),))
    assert kept.pairs("a", first) == (("name", "x"),)
    assert kept.keep("a", (("name", "x"),)) == first
    with pytest.raises(Absent):
        kept.pairs("b", first)
    for number in range(MOST):
        kept.keep("a", (("name", str(number)),))
    with pytest.raises(Absent):
        kept.pairs("a", first)
    last = kept.keep("a", (("name", "x"),))
    now[0] = SECONDS
    with pytest.raises(Absent):
        kept.pairs("a", last)
    with pytest.raises(TooLarge):
        kept.keep("a", (("name", "x" * 5_000),))


def test_a_search_that_is_kept_no_longer_says_so(looked_at: Site) -> None:
    """404 on a page with a way on; one that is too long is 413."""
    for path in ("/", "/why"):
        gone = looked_at.get(f"{path}?search={'0' * 32}")
        assert gone.status_code == 404
        assert "this search is kept no longer: make it again" in words(gone)
    assert looked_at.post("/", {"name": "x" * 5_000}).status_code == 413


def link(answer: requests.Response, label: str) -> str:
    """Where a link of a page leads."""
    hit = re.search(rf'<a href="([^"]+)"[^>]*>{label}</a>', answer.text)
    assert hit is not None, words(answer)
    return unescape(hit[1])


def test_an_empty_bridge_says_what_to_do(tmp_path: Path) -> None:
    """The line for storescu has our own port and AE title."""
    with site(tmp_path, samples=False, DIMSE__AE_TITLE="HERE") as running:
        said = words(running.get("/"))
    assert f"storescu -aec HERE 127.0.0.1 {running.running.settings.dimse.port} FILE.dcm" in said
