"""The page that finds studies, as a browser without script has it."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import requests
from page_site import CT, Site, site, words

from pacsbridge import pages


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
    """The result of such a form stands under `/`; any other under a URL that can be passed on."""
    alone = looked_at.post("/", {private: "SYN-0001", "modality": "CT"})
    assert alone.url == f"{looked_at.root}/"
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


def test_the_list_is_sorted_as_asked_for(looked_at: Site) -> None:
    """Newest first unless asked otherwise; each heading leads to the other order."""
    newest, oldest = looked_at.get("/"), looked_at.get("/", params={"sort": "started"})
    assert found(newest) == found(oldest)[::-1]
    assert 'aria-sort="descending"' in newest.text
    assert 'aria-sort="ascending"' in oldest.text
    assert "/?sort=started" in newest.text


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
