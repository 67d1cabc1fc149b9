"""T-BOMB, T-CHARSET, T-UID, T-POLY, T-XSS, T-PHI, T-FUZZ: data that is made to do harm."""

import gzip
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from bystander import bystander
from data_sets import CT, DEFLATED, STOW_HEADERS, data_set, element, file, items, multipart, nested
from pushing import SUCCESS
from pydicom import dcmread
from pydicom.data import get_charset_files

from pacsbridge.dicom.reader import read_header

from .conftest import MakeSite, Site

MIB = 1 << 20
PRIVATE = 0x00091001


def stow(site: Site, *parts: bytes) -> requests.Response:
    """Store by STOW-RS; the oracle learns what was taken, and of the bodies of errors."""
    url = f"{site.bridge.dicomweb}/studies"
    answer = requests.post(url, multipart(*parts), headers=STOW_HEADERS, timeout=60)
    for part in parts if answer.status_code == 200 else ():
        header = read_header(part)
        site.oracle.note(
            str(header.attributes.text("SOPInstanceUID")), part[header.dataset_offset :], SUCCESS
        )
    return site.oracle.answered(answer)


def _file(number: int, *more: bytes) -> bytes:
    return file(data_set(number, more=more), f"2.999.1.1.{number}")


def _deflated(number: int, head: bytes, more: bytes, times: int) -> bytes:
    """A deflated data set: in a sequence that is read, so that it has to be looked into."""
    start = data_set(number)[:100] + head
    return file(start, f"2.999.1.1.{number}", DEFLATED, repeated=(more, times))


BOMBS: dict[str, Callable[[], bytes]] = {
    "deflated 1000 to 1": lambda: _deflated(1, element(PRIVATE, "UN", b"", 1 << 30), bytes(MIB), 1024),
    "deflated elements": lambda: _deflated(2, b"", element(PRIVATE, "LO", b"") * 8192, 128),
    "a million elements": lambda: _file(3, *[element(PRIVATE, "LO", b"")] * 1_000_000),
    "half a million items": lambda: _file(4, items(500_000)),
    "nesting of 65": lambda: _file(5, nested(65)),
    "nesting of 400": lambda: _file(6, nested(400)),
    "nesting of 100000": lambda: _file(7, nested(100_000)),
    "a length of 4 GiB": lambda: _file(8, element(PRIVATE, "UN", b"x", 0xFFFFFFF0))[:300],
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs(lasting_site: Site, bomb: str, numbers: Callable[..., float]) -> None:
    """T-BOMB: refused with a reason, in a second, within 200 MB, while others are served."""
    site = lasting_site
    content, before = BOMBS[bomb](), _letters(site)
    with site.oracle.bounded(200), bystander(site.bridge):
        start = time.monotonic()
        answer = stow(site, content)
        seconds = time.monotonic() - start
    print(f"{bomb}: {answer.status_code} after {seconds:.2f} s")
    assert answer.status_code in (400, 409, 413, 415)
    assert seconds < numbers(10, 1)
    assert _letters(site) == before + 1
    site.oracle.check()


def _letters(site: Site) -> int:
    [[count]] = site.oracle.rows("SELECT coalesce(sum(attempts), 0) FROM dead_letter")
    return int(count)


BODIES: dict[str, tuple[str, dict[str, str], Callable[[], bytes], set[int]]] = {
    "JSON nested 10000 deep": (
        "/fhir",
        {"Content-Type": "application/fhir+json"},
        lambda: b'{"resourceType":"Bundle","type":"batch","entry":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        {400},
    ),
    "10000 parts": ("/dicomweb/studies", STOW_HEADERS, lambda: multipart(*[b"x"] * 10_000), {400, 409, 413}),
    "a gzip bomb": (
        "/fhir/ImagingStudy/_search",
        {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"},
        lambda: gzip.compress(bytes(1 << 30), 1),
        {413},
    ),
    "a batch too long": (
        "/fhir",
        {"Content-Type": "application/fhir+json"},
        lambda: b" " * (2 * MIB),
        {413},
    ),
}


@pytest.mark.parametrize("body", BODIES)
def test_bodies(lasting_site: Site, body: str, numbers: Callable[..., float]) -> None:
    """T-BOMB: the same of bodies over HTTP."""
    site = lasting_site
    path, headers, make, statuses = BODIES[body]
    content = make()
    with site.oracle.bounded(200), bystander(site.bridge):
        start = time.monotonic()
        answer = requests.post(site.bridge.root + path, content, headers=headers, timeout=60)
        seconds = time.monotonic() - start
    print(f"{body}: {answer.status_code} after {seconds:.2f} s")
    assert answer.status_code in statuses
    assert seconds < numbers(10, 1)


TEXTS: dict[str, tuple[str, bytes]] = {
    "NUL": ("ISO_IR 100", b"M\0ller^A"),
    "CR and LF": ("ISO_IR 100", b"M\r\nller^A"),
    "ESC": ("ISO_IR 100", b"M\x1b$Bller\x1b"),
    "surrogate": ("ISO_IR 192", b"M\xed\xa0\x80ller"),
    "overlong": ("ISO_IR 192", b"M\xc0\xafller"),
    "cut UTF-8": ("ISO_IR 192", b"M\xf0\x9f\x98"),
    "beyond Unicode": ("ISO_IR 192", b"M\xf5\x80\x80\x80"),
    "right to left": ("ISO_IR 192", "M\u202eller\u200d^\u05d0".encode()),
    "unknown term": ("ISO_IR 999", b"M\xfcller"),
    "another than declared": ("ISO_IR 192", b"M\xfcller^H\xe4ns"),
    "several, ISO 2022": ("\\ISO 2022 IR 87\\ISO 2022 IR 13", b"Yamada=\x1b$B;3ED\x1b(B=\x1b$B$d$^$@\x1b(B"),
    "GB18030": ("GB18030", "王^小东".encode("gb18030")),
    "GBK": ("GBK", "王^小东".encode("gbk")),
    "GB18030, cut": ("GB18030", "王^小东".encode("gb18030")[:-1]),
    "64 KB": ("ISO_IR 192", ("Ä" * 32_000).encode()[:65_000]),
}
"""What is declared, and the bytes of a Patient's Name."""

ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


@pytest.mark.timeout(300)
def test_texts(make_site: MakeSite, each_engine: str | None) -> None:
    """T-CHARSET: hostile text and all of pydicom's character set files: kept to the byte, legal in FHIR."""
    site = make_site(url=each_engine).start()
    paths = [Path(str(name)) for name in get_charset_files("*.dcm")]
    found = [path.read_bytes() for path in paths if "StudyInstanceUID" in dcmread(path)]
    assert len(found) >= 14
    for number, (terms, raw) in enumerate(TEXTS.values(), 1):
        values = {"SpecificCharacterSet": terms, "PatientName": raw, "StudyDescription": raw[:60]}
        found.append(file(data_set(1, number, **values), f"2.999.{number}.1.1"))  # type: ignore[arg-type]
    answers = [stow(site, one) for one in found]
    assert {answer.status_code for answer in answers} == {200}
    site.oracle.check()
    for text in _strings(list(site.oracle.documents().values())):
        assert not ILLEGAL.search(text)
    assert len(site.bridge.studies()) >= len(TEXTS)
    for number, one in enumerate(found[-len(TEXTS) :], 1):
        kept = requests.get(_instance(site, number), headers={"Accept": "application/dicom"}, timeout=30)
        assert kept.content.endswith(one[-100:])
    for path in (
        "Patient?name=%00",
        "Patient?name=%ED%A0%80",
        "Patient?name=M%C3%BC",
        "ImagingStudy?patient.name=%1B",
    ):
        assert site.bridge.get(path).status_code in (200, 400)


def _strings(value: Any) -> Iterator[str]:
    """All texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _instance(site: Site, study: int, number: int = 1) -> str:
    base = f"{site.bridge.dicomweb}/studies/2.999.{study}/series/2.999.{study}.1"
    return f"{base}/instances/2.999.{study}.1.{number}"


UIDS = (
    "../../../../tmp/escaped",
    "1.2/../../escaped",
    "1" * 65,
    "",
    "1.2\\..\\escaped",
    "1.2\0/escaped",
    "%2e%2e/x",
)


@pytest.mark.parametrize(
    "keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"]
)
def test_paths_for_uids(lasting_site: Site, keyword: str) -> None:
    """T-UID: nothing that a peer says becomes a path; what is no UID is refused, and on record."""
    site = lasting_site
    before = _outside(site)
    for number, uid in enumerate(UIDS):
        values: dict[str, Any] = {keyword: uid}
        answer = stow(site, file(data_set(number, 1, **values), f"2.999.1.1.{number}"))
        assert answer.status_code == (200 if "\\" in uid else 409), uid  # of several values the first counts
        assert requests.get(f"{site.bridge.dicomweb}/studies/{uid}x", timeout=10).status_code in (400, 404)
    assert _outside(site) == before
    for path in (site.bridge.data_dir / "packs").iterdir():
        assert re.fullmatch(r"[0-9]{8}\.pack", path.name)
    site.oracle.check()


def _outside(site: Site) -> set[str]:
    """What lies about, but in the data directory."""
    folders = (site.bridge.folder, site.bridge.folder.parent, Path("/tmp"))
    names = {str(path) for folder in folders for path in folder.iterdir()}
    return {name for name in names if "escaped" in name} | {str(p) for p in site.bridge.folder.iterdir()}


@pytest.mark.parametrize(
    ("preamble", "kept"),
    [
        (b"MZ\x90\0program", False),
        (b"\x7fELFprogram", False),
        (b"#!/bin/sh\nexit", False),
        (b"II*\0tiff", True),
    ],
)
def test_files_that_are_programs(lasting_site: Site, preamble: bytes, kept: bool) -> None:
    """T-POLY: the first 128 bytes are zero again, unless they make a TIFF; sent as an attachment."""
    site = lasting_site
    study = 100 + preamble[0]
    one = file(data_set(1, study), f"2.999.{study}.1.1", preamble=preamble)
    assert stow(site, one).status_code == 200
    site.oracle.check()
    answer = requests.get(_instance(site, study), headers={"Accept": "application/dicom"}, timeout=30)
    assert answer.content[:128] == (preamble if kept else b"").ljust(128, b"\0")
    assert answer.headers["Content-Type"].startswith("application/dicom")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"].startswith("attachment")


SCRIPT = "<script>alert(1)</script>"


def test_scripts_in_names(lasting_site: Site) -> None:
    """T-XSS: what a header or a URL says is JSON and not sniffed, or escaped on a page without scripts."""
    site = lasting_site
    values = {"PatientName": f"{SCRIPT}^x", "StudyDescription": SCRIPT, "PatientID": '"><img src=x>'}
    one = file(data_set(1, 300, **values), "2.999.300.1.1")  # type: ignore[arg-type]
    assert stow(site, one).status_code == 200
    site.oracle.check()
    paths = (
        "/fhir/ImagingStudy", "/fhir/Patient", f"/fhir/{SCRIPT}", f"/fhir/Patient/{SCRIPT}", f"/{SCRIPT}",
        f"/fhir/Patient?{SCRIPT}=1", f"/fhir/Patient?birthdate={SCRIPT}", f"/dicomweb/{SCRIPT}",
        "/dicomweb/studies",
        f"/dicomweb/studies?{SCRIPT}=1", f"/dicomweb/studies/{SCRIPT}",
        "/dicomweb/studies/2.999.300/metadata",
        "/", "/studies/2.999.300", "/resources/ImagingStudy/2.999.300", "/why", f"/studies/{SCRIPT}",
    )  # fmt: skip
    for path in paths:
        for accept in ("*/*", "text/html"):
            answer = requests.get(site.bridge.root + path, headers={"Accept": accept}, timeout=10)
            assert answer.status_code < 500
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                assert SCRIPT not in answer.text
                assert "<img src=x>" not in answer.text
                assert "script-src" in answer.headers["Content-Security-Policy"] or (
                    "default-src 'self'" in answer.headers["Content-Security-Policy"]
                )
            elif SCRIPT in answer.text:
                assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_names_stay_out_of_logs_and_errors(lasting_site: Site) -> None:
    """T-PHI: a name in data, in searches, in URLs that are wrong, in bodies that are none.

    Names of parameters are told to who sent them; values never are.
    """
    site = lasting_site
    canary = site.oracle.canary.partition("^")[0]
    with site.line() as line:
        assert site.push(line, 1) == SUCCESS
        assert line.store("2.999.1.1.2", data_set(3, PatientName=canary)) != SUCCESS
    site.oracle.check()
    site.oracle.check()
    assert len(site.bridge.get("Patient", params={"name": canary}).json()["entry"]) == 1
    wrong = (
        f"Patient?birthdate={canary}", f"Patient/{canary}%20", f"{canary}",
        f"Patient?_sort={canary}", f"ImagingStudy?started={canary}",
    )  # fmt: skip
    for path in wrong:
        site.oracle.answered(site.bridge.get(path))
        site.oracle.answered(requests.get(f"{site.bridge.dicomweb}/{path}", timeout=10))
    for path in (
        f"studies?StudyDate={canary}",
        f"studies?limit={canary}",
        f"studies/{canary}",
    ):
        site.oracle.answered(requests.get(f"{site.bridge.dicomweb}/{path}", timeout=10))
    for path in ("/fhir", "/fhir/Patient/_search", "/dicomweb/studies"):
        site.oracle.answered(requests.post(site.bridge.root + path, canary, timeout=10))
    stow(site, canary.encode())
    stow(site, file(data_set(9, SOPInstanceUID=canary), canary))
    site.oracle.check()
    letters = site.bridge.run("dead-letters", "list").stdout
    assert letters
    assert CT


QUESTIONS = (
    "'; DROP TABLE study;--",
    "%",
    "_",
    "\\",
    "*?*",
    '"',
    "a' OR '1'='1",
    "\u0000",
    "${jndi:x}",
    "{{7*7}}",
    "\ud7ff",
)


@pytest.mark.timeout(300)
def test_questions_that_are_statements(make_site: MakeSite, each_engine: str | None) -> None:
    """T-FUZZ: SQL, wildcards and templates are values like others: no 500, and they match what they say."""
    site = make_site(url=each_engine).start()
    answers = [
        stow(site, file(data_set(1, n, PatientID=f"ID{n}", PatientName=f"Anna{mark}^x"), f"2.999.{n}.1.1"))
        for n, mark in enumerate("%_\\'\"", 1)
        if mark != "\\"
    ]
    assert {answer.status_code for answer in answers} == {200}
    site.oracle.check()
    for text in QUESTIONS:
        for path, name in (
            ("Patient", "name"),
            ("Patient", "identifier"),
            ("ImagingStudy", "patient.name:contains"),
        ):
            assert site.bridge.get(path, params={name: text}).status_code in (200, 400)
        for name in ("PatientName", "PatientID", "StudyDescription", "StudyDate"):
            found = requests.get(f"{site.bridge.dicomweb}/studies", params={name: text}, timeout=10)
            assert found.status_code in (200, 204, 400)
    for name, text in (("name:contains", "%%"), ("identifier", "ID_"), ("family", "_nna")):
        assert "entry" not in site.bridge.get("Patient", params={name: text}).json()
    asked = requests.get(f"{site.bridge.dicomweb}/studies", params={"PatientID": "ID%"}, timeout=10)
    assert asked.status_code == 204
    xml = site.bridge.get("metadata", headers={"Accept": "application/fhir+xml"})
    assert xml.status_code == 406
