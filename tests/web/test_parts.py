"""What pages are made of: differences, JSON as text, words for values, fields of the form."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pacsbridge.access.sessions import set_cookie
from pacsbridge.bridge.probing import Probe, Probed
from pacsbridge.errors import Absent, NotUnderstood, Unavailable
from pacsbridge.web.asking import Asked, parameters, read
from pacsbridge.web.differences import Change, changes
from pacsbridge.web.hosts import authority_of
from pacsbridge.web.json_text import MOST, json_text
from pacsbridge.web.telling import facts, has_pictures
from pacsbridge.web.wording import moment, number, plain, size, started, uid


def test_changes_are_named_by_what_changed() -> None:
    """Members of a list are told apart by their own names, so that one more in front changes nothing else."""
    before = {"status": "registered", "series": [{"uid": "1", "number": 1}], "meta": {"versionId": "1"}}
    after = {
        "status": "available",
        "series": [{"uid": "0", "number": 0}, {"uid": "1", "number": 1}],
        "meta": {"versionId": "2"},
    }
    assert changes(before, after) == [
        Change("status", "registered", "available"),
        Change("series[0].uid", None, "0"),
        Change("series[0].number", None, "0"),
    ]
    assert changes(after, {**after, "status": "available"}) == []
    assert changes({"a": True}, {}) == [Change("a", "true", None)]


def test_json_is_escaped_linked_and_cut() -> None:
    """Nothing in a resource is markup; our references are links; long lists of instances say how long."""
    text = json_text(
        {
            "a": '<b>"&',
            "subject": {"reference": "Patient/1"},
            "other": {"reference": "https://elsewhere/Patient/1"},
            "empty": [],
            "instance": [{"uid": str(one)} for one in range(MOST + 2)],
        }
    )
    assert "<b>" not in text
    assert '<a href="/resources/Patient/1">' in text
    assert 'href="https' not in text
    assert "… 2 more instances" in text
    assert "[]" in text


def test_values_are_said_as_people_read_them() -> None:
    """Counts, sizes, moments, dates that are as exact as they are."""
    assert number(1234567) == "1\u202f234\u202f567"
    assert [size(one) for one in (0, 999, 1000, 123_456, 5_000_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 KB",
        "123 KB",
        "5.0 GB",
    ]
    assert "2023-11-14 22:13:20 UTC" in moment(1_700_000_000_000_000)
    assert "2023-11-14 21:13:20 UTC" in moment("2023-11-14T22:13:20+01:00")
    dates = ("2024", "2024-03-11", "2024-03-11T10:15:30+01:00", "2024-03-11T10:15:30.123Z")
    assert [started(one) for one in dates] == [
        "2024",
        "2024-03-11",
        "2024-03-11 10:15 +01:00",
        "2024-03-11 10:15 UTC",
    ]
    name = '{"ABC":{"family":"Muster","given":["Käthe","A"]}}'
    kept = ('"a"', '{"b":1}', "c", name, "true")
    assert [plain(one) for one in kept] == ["a", "1", "c", "Muster, Käthe, A", "true"]
    assert uid("1.<2") == "1.<wbr>&lt;2"


@pytest.mark.parametrize(
    ("field", "text", "pairs"),
    [
        ("name", "Muster^K\u00e4the, Dr.", ["Muster", "K\u00e4the", "Dr."]),
        ("name", "a|b$c\\d", [r"a\|b\$c\\d"]),
        ("id", "A,B|C", [r"A\,B\|C"]),
        ("modality", " ct , mr ", ["CT,MR"]),
        ("from", "20240311", ["ge2024-03-11"]),
        ("to", "2024-03", ["le2024-03"]),
    ],
)
def test_a_field_is_a_search(field: str, text: str, pairs: list[str]) -> None:
    """What is special in a FHIR search is escaped, words are apart, days have hyphens."""
    found = parameters(read(((field, text),)))
    assert [value for name, value in found if not name.startswith("_")] == pairs


def test_a_bad_field_is_refused_by_name() -> None:
    """What cannot be meant is named after its field."""
    for field, text in (("uid", "1.2.x"), ("from", "11.3.2024"), ("modality", "CT|MR")):
        with pytest.raises(NotUnderstood) as caught:
            parameters(Asked({field: text}, "-started", ""))
        assert caught.value.parameter == field


def test_only_what_has_pixels_has_pictures() -> None:
    """Reports, states, documents, waveforms and structure sets have no picture."""
    classes = {
        "2": True,
        "4": True,
        "7.4": True,
        "88.11": False,
        "104.1": False,
        "11.1": False,
        "9.1.1": False,
    }
    for ending, expected in classes.items():
        code = f"urn:oid:1.2.840.10008.5.1.4.1.1.{ending}"
        assert has_pictures({"instance": [{"sopClass": {"code": code}}]}) is expected, ending
    assert not has_pictures({"instance": [{"sopClass": {"code": "urn:oid:1.2.3"}}]})
    assert not has_pictures({})


def test_what_a_study_does_not_say_is_not_said() -> None:
    """A study without anything has no facts; one with a reference tells its display."""
    assert facts({}) == []
    [fact] = facts({"referrer": {"display": "Dr. A"}})
    assert (fact.label, fact.words) == ("Referred by", "Dr. A")


def test_only_configured_addresses_are_asked() -> None:
    """Whatever an Endpoint says; a failure is told, with how long it took."""
    asked: list[tuple[str, str | None]] = []

    def away(study: str, token: str | None) -> str:
        asked.append((study, token))
        raise Unavailable("no answer")

    times = iter((1.0, 1.5))
    probe = Probe({"http://here/dicomweb": away}, lambda: next(times))
    assert probe.knows("http://here/dicomweb")
    assert probe.ask("http://here/dicomweb", "1.2", "t") == Probed(False, "no answer", 500.0)
    assert asked == [("1.2", "t")]
    with pytest.raises(Absent):
        probe.ask("http://here/dicomweb/", "1.2")


def test_where_a_form_comes_from() -> None:
    """The authority of an origin, if it has one."""
    assert [authority_of(one) for one in ("http://a:1", "null", "http://[")] == ["a:1", "", ""]


@pytest.mark.parametrize(
    ("scheme", "host", "name"),
    [
        ("http", "pacs.example", "pacsbridge"),
        ("http", "pacs.example:8080", "pacsbridge-8080"),
        ("http", "[::1]:8081", "pacsbridge-8081"),
        ("http", "[::1]", "pacsbridge"),
        ("http", "pacs.example:8;x=1", "pacsbridge"),
        ("https", "pacs.example", "__Host-pacsbridge"),
        ("https", "pacs.example:8443", "__Host-pacsbridge-8443"),
    ],
)
def test_a_cookie_stays_with_us(scheme: str, host: str, name: str) -> None:
    """No script reads it, no other site's page has it sent; over TLS it goes nowhere else; one a port."""
    request = make_mocked_request("GET", "/", headers={"Host": host}).clone(scheme=scheme)
    response = web.Response()
    set_cookie(request, response, "abc")
    cookie = response.cookies[name]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert bool(cookie["secure"]) is (scheme == "https")
    assert cookie["domain"] == ""
