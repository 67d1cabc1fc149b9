"""C-FIND and QIDO-RS find what Orthanc finds in the same studies, pushed or told of by an archive."""

import json
import random
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import pydicom.data
import pytest
from find_peer import PATIENT_ROOT, STUDY_ROOT, UNIQUE, associated, find, query
from orthanc_peer import Orthanc, source
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pynetdicom import AE

SHIPPED = Path(pydicom.data.__file__).parent
TEST_FILES = ("liver_1frame.dcm", "waveform_ecg.dcm", "SC_rgb_rle.dcm", "693_J2KI.dcm", "JPEG2000.dcm")
MISREAD = ("chrH32.dcm", "chrJapMulti.dcm", "chrJapMultiExplicitIR6.dcm")
"""Orthanc does not follow the switch to ISO 2022 IR 87 from IR 13, nor within a group (PS3.5 6.1.2.5)."""

LEVELS = tuple(UNIQUE)
KEYS: Mapping[str, Sequence[str]] = {
    "PATIENT": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "STUDY": (
        *("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName"),
        *("StudyDescription", "StudyInstanceUID", "ModalitiesInStudy"),
    ),
    "SERIES": (
        *("Modality", "SeriesNumber", "SeriesDescription", "SeriesInstanceUID", "BodyPartExamined"),
        *("ProtocolName", "StationName", "Manufacturer", "PerformedProcedureStepDescription"),
    ),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "AcquisitionNumber", "NumberOfFrames"),
}
"""What queries are made of, by level."""

COUNTS = {
    "STUDY": ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    "SERIES": ("NumberOfSeriesRelatedInstances",),
}

Keys = dict[str, str | list[str]]
Asks = Callable[[str, str, Keys], tuple[list[Dataset], int]]


class Archives(NamedTuple):
    """A bridge and an Orthanc that have the same, and the headers of it."""

    bridge: Any
    orthanc: Orthanc
    headers: Sequence[Dataset]


def shipped() -> Iterator[Path]:
    """Patients' names in many scripts, and some of every kind."""
    yield from (one for one in (SHIPPED / "charset_files").glob("*.dcm") if one.name not in MISREAD)
    yield from (SHIPPED / "test_files" / name for name in TEST_FILES)


def push(port: int, paths: Sequence[Path]) -> None:
    """Store files by pynetdicom."""
    entity, read = AE(), [pydicom.dcmread(path) for path in paths]
    for one in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in read}:
        entity.add_requested_context(*one)
    association = entity.associate("127.0.0.1", port)
    assert {association.send_c_store(path).Status for path in paths} == {0}
    association.release()


def taken(path: Path, seen: set[str]) -> bool:
    """Whether a file is one to compare: Orthanc takes all that lack a Patient ID for one patient."""
    ds = pydicom.dcmread(path, stop_before_pixels=True)
    uid = ds.get("SOPInstanceUID", "")
    new = bool(uid and ds.get("PatientID")) and uid not in seen
    seen.add(uid)
    return new


@pytest.fixture(scope="module")
def archives(
    make_lasting_bridge: Callable[..., Any],
    make_orthanc: Callable[..., Orthanc],
    sample_files: Sequence[Path],
) -> Archives:
    """Both have been sent the same, and all of it is published."""
    seen: set[str] = set()
    paths = [one for one in (*sample_files, *shipped()) if taken(one, seen)]
    orthanc, bridge = make_orthanc(*paths), make_lasting_bridge().start()
    push(bridge.dimse_port, paths)
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    bridge.wait(lambda: sum(one["numberOfInstances"] for one in bridge.studies().values()) == len(paths))
    return Archives(bridge, orthanc, headers)


# values of queries, from the data itself


def value(header: Dataset, keyword: str) -> str:
    """The first value of an attribute, "" where there is none."""
    found = header.get("Modality" if keyword == "ModalitiesInStudy" else keyword)
    first = found[0] if isinstance(found, pydicom.multival.MultiValue) and found else found
    return "" if first is None else str(first).strip()


class Maker:
    """Makes queries from headers; equal seeds make equal ones."""

    def __init__(
        self, headers: Sequence[Dataset], seed: str, keys: Mapping[str, Sequence[str]] = KEYS
    ) -> None:
        self.headers = headers
        self._keys = keys
        self.chance = random.Random(seed)
        self._forms: Mapping[str, Callable[[str, str], str | list[str]]] = {
            "DA": self._day,
            "TM": self._time,
            "UI": self._uids,
            "IS": lambda _keyword, text: text,
            "CS": lambda _keyword, text: text,
            "PN": self._name,
        }

    def keys(self, level: str, top: str) -> Keys:
        """Keys of a level and those above which one header at least satisfies, or nearly does."""
        header = self.chance.choice(self.headers)
        above = LEVELS[LEVELS.index(top) : LEVELS.index(level)]
        keys: Keys = {UNIQUE[one]: value(header, UNIQUE[one]) for one in above}
        reached = LEVELS[: LEVELS.index(level) + 1] if level in LEVELS[:2] else (*above, level)
        pool = [keyword for one in reached for keyword in self._keys[one] if keyword not in keys]
        if level != "STUDY" and "ModalitiesInStudy" in pool:
            pool.remove("ModalitiesInStudy")
        for keyword in self.chance.sample(pool, self.chance.randint(1, 3)):
            keys[keyword] = self.form(keyword, value(header, keyword))
        return keys

    def form(self, keyword: str, text: str) -> str | list[str]:
        """What asks for a text, in one of the ways that its VR has."""
        if not text.strip("^= "):
            return ""
        return self._forms.get(dictionary_VR(tag_for_keyword(keyword) or 0), self._text)(keyword, text)

    def _day(self, keyword: str, text: str) -> str:
        low, high = sorted((text, value(self.chance.choice(self.headers), keyword) or text))
        return self.chance.choice((text, f"{low}-{high}", f"{low}-", f"-{high}"))

    def _time(self, _keyword: str, text: str) -> str:
        """To the second, at which nothing in the data is: less exact ones are another test's."""
        low, high = sorted(f"{self.chance.randrange(24):02}{self.chance.randrange(60):02}17" for _ in "ab")
        exact = [text] if re.fullmatch(r"[0-9]{6}", text) else []
        return self.chance.choice((*exact, f"{low}-{high}", f"{low}-", f"-{high}"))

    def _uids(self, keyword: str, text: str) -> str | list[str]:
        others = [value(one, keyword) for one in self.chance.sample(self.headers, 3)]
        return self.chance.choice((text, [*others, "1.2.3.4", text]))

    def _name(self, keyword: str, text: str) -> str:
        """Whatever case; wildcards within the first group, at letters of ASCII."""
        whole = (
            text
            if "=" in text
            else self.chance.choice((text, text.upper(), text.lower()) if text.isascii() else (text,))
        )
        letters = [
            place for place, one in enumerate(text.partition("=")[0]) if one.isascii() and one.isalpha()
        ]
        if not letters:
            return text
        place = self.chance.choice(letters)
        masked = f"{text[:place]}?{text[place + 1 :]}"
        return self.chance.choice((whole, text[: place + 1] + "*", masked, f"*{text[place]}*"))

    def _text(self, _keyword: str, text: str) -> str:
        start = self.chance.randrange(len(text))
        end = self.chance.randrange(start, len(text)) + 1
        middle, hole = f"*{text[start:end]}*", f"{text[:start]}?{text[start + 1 :]}"
        return self.chance.choice(
            (text, text[:end] + "*", "*" + text[start:], middle, hole, text[:start] + "*?" + text[end + 1 :])
        )


def satisfiable(header: Dataset, keys: Keys) -> bool:
    """Whether a header has a value of all that is asked for; what lacks one satisfies no condition.

    PS3.4 C.2.2.2 knows no other: Orthanc lets what lacks an attribute satisfy any.
    """
    asked = [keyword for keyword, one in keys.items() if one and set(one) != {"*"}]
    return all(value(header, keyword) or keyword.startswith("NumberOf") for keyword in asked)


def answering(found: Sequence[Dataset], level: str, keys: Keys, headers: Sequence[Dataset]) -> Sequence[str]:
    """The unique keys of what was found and has what is asked for, each once."""
    possible = {value(one, UNIQUE[level]) for one in headers if satisfiable(one, keys)}
    return sorted({value(one, UNIQUE[level]) for one in found} & possible)


# C-FIND


@pytest.fixture(scope="module")
def ask(archives: Archives) -> Iterator[tuple[Asks, Asks]]:
    """What Orthanc and the bridge answer to the same identifier."""
    ports = archives.orthanc.dicom_port, archives.bridge.dimse_port
    with associated(ports[0]) as theirs, associated(ports[1]) as ours:

        def asks(association: Any) -> Asks:
            def asked(level: str, model: str, keys: Keys) -> tuple[list[Dataset], int]:
                found, last = find(association, query(level, **keys), model)
                return found, last.Status

            return asked

        yield asks(theirs), asks(ours)


MODELS = {STUDY_ROOT: "STUDY", PATIENT_ROOT: "PATIENT"}
"""Information model → its top level."""


@pytest.mark.parametrize(
    ("model", "level"),
    [(model, level) for model, top in MODELS.items() for level in LEVELS[LEVELS.index(top) :]],
)
def test_same_matches(archives: Archives, ask: tuple[Asks, Asks], model: str, level: str) -> None:
    """Twenty queries that a seed makes from the data: the same patients, studies, series or instances."""
    theirs, ours = ask
    maker, differences, found = Maker(archives.headers, f"{model} {level}"), [], 0
    for _number in range(20):
        keys = maker.keys(level, MODELS[model])
        expected, _status = theirs(level, model, keys)
        answers, status = ours(level, model, keys)
        uids = sorted(value(one, UNIQUE[level]) for one in answers)
        right = answering(expected, level, keys, archives.headers)
        if status or uids != right:
            differences.append((keys, f"{status:04X}", uids, right))
        found += len(uids)
    assert differences == []
    assert found >= 12


SAME: Sequence[tuple[str, Keys]] = (
    ("STUDY", {}),
    ("STUDY", {"PatientName": "SAMPLE*"}),
    ("STUDY", {"PatientName": "muster^käthe*"}),
    ("STUDY", {"PatientName": "MUSTER^KÄTHE*"}),
    ("STUDY", {"PatientName": "Mihon*=見本*"}),
    ("STUDY", {"PatientName": "*=見本*"}),
    ("STUDY", {"PatientName": "Люкceмбypг"}),
    ("STUDY", {"PatientName": "Nobody^*"}),
    ("STUDY", {"PatientID": "syn-0001"}),
    ("STUDY", {"PatientID": "SYN 0003/b"}),
    ("STUDY", {"PatientID": "?*"}),
    ("STUDY", {"PatientID": "SYN?000?"}),
    ("STUDY", {"AccessionNumber": "SYN24-100?", "PatientSex": "F"}),
    ("STUDY", {"AccessionNumber": "syn24-1001"}),
    ("STUDY", {"StudyDescription": "*[*"}),
    ("STUDY", {"StudyDescription": "*%*"}),
    ("STUDY", {"StudyDescription": "*_*"}),
    ("STUDY", {"StudyDescription": "*.*"}),
    ("STUDY", {"StudyDate": "20240311-20240405", "StudyTime": "120000-160000"}),
    ("STUDY", {"StudyDate": "20240801", "StudyTime": "235959"}),
    ("STUDY", {"StudyDate": "20240801-20240311"}),
    ("STUDY", {"PatientSex": ["F", "M"]}),
    ("STUDY", {"ModalitiesInStudy": "SR"}),
    ("STUDY", {"ModalitiesInStudy": ["CT", "MR"]}),
    ("STUDY", {"ModalitiesInStudy": "C*"}),
    ("STUDY", {"ModalitiesInStudy": "ct"}),
    ("STUDY", {"ModalitiesInStudy": "CT", "PatientID": "SYN-0001", "StudyDate": "20240311-"}),
    ("STUDY", {"StudyInstanceUID": ["1.2.3", "1.2.4"]}),
)
"""Subtle ones on which all agree."""


@pytest.mark.parametrize(("level", "keys"), SAME)
def test_same_subtleties(archives: Archives, ask: tuple[Asks, Asks], level: str, keys: Keys) -> None:
    """What people ask in earnest: case, scripts, marks of patterns, several keys, lists, nothing."""
    theirs, ours = (one(level, STUDY_ROOT, keys)[0] for one in ask)
    assert sorted(value(one, UNIQUE[level]) for one in ours) == answering(
        theirs, level, keys, archives.headers
    )


Having = Callable[[Dataset], bool]


def some(keyword: str, expression: str) -> Having:
    """Whether a header's value has the form of a regular expression."""
    return lambda header: re.fullmatch(expression, value(header, keyword)) is not None


def of_ideographs(header: Dataset) -> bool:
    """Whether the second group of the name is of one patient."""
    return "=見本^太郎=" in str(header.PatientName)


DIFFERENT: Sequence[tuple[str, Keys, Having, str]] = (
    ("STUDY", {"PatientName": "muster^kathe*"}, some("PatientName", "Muster.*"), "PS3.4 C.2.2.2.1: accents"),
    ("STUDY", {"PatientName": "見本^太郎"}, of_ideographs, "PS3.5 6.2.1.1: component groups"),
    ("STUDY", {"StudyTime": "10"}, some("StudyTime", "10.*"), "PS3.5 6.2: TM of less precision"),
    ("STUDY", {"StudyTime": "1015"}, some("StudyTime", "1015.*"), "PS3.5 6.2"),
    ("STUDY", {"StudyTime": "101530.0"}, some("StudyTime", "101530"), "PS3.5 6.2: the same time"),
    ("STUDY", {"StudyTime": "0905-1015"}, some("StudyTime", "090?5.*|09.*|10(0|1[0-5]).*"), "C.2.2.2.5"),
    ("STUDY", {"StudyTime": "10:15:30"}, some("StudyTime", "101530"), "PS3.5 6.2: TM of older editions"),
    ("STUDY", {"StudyDate": "2024.03.11"}, some("StudyDate", "20240311"), "PS3.5 6.2: DA of older editions"),
    ("STUDY", {"StudyDate": "-20170101"}, some("StudyDate", "(19|200|201[0-6]).*|20170101"), "C.2.2.2.5"),
    ("STUDY", {"StudyDate": "*"}, lambda _header: True, "PS3.4 C.2.2.2.4: `*` alone is universal"),
    ("STUDY", {"SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.4"}, some("Modality", "MR"), "C.6.1.1.3"),
    ("STUDY", {"NumberOfStudyRelatedSeries": "5"}, some("AccessionNumber", "SYN24-1001"), "C.6.1.1.3"),
)
"""Where Orthanc finds less or more than the standard says: what is right, by the headers, and the clause."""


@pytest.mark.parametrize(("level", "keys", "right", "clause"), DIFFERENT)
def test_where_the_standard_says_otherwise(
    archives: Archives, ask: tuple[Asks, Asks], level: str, keys: Keys, right: Having, clause: str
) -> None:
    """What headers say is found, though Orthanc finds something else."""
    theirs, ours = ({value(one, UNIQUE[level]) for one in asks(level, STUDY_ROOT, keys)[0]} for asks in ask)
    assert ours == {value(one, UNIQUE[level]) for one in archives.headers if right(one)}
    assert ours
    assert theirs != ours, clause


def test_any_of_several_values(archives: Archives, ask: tuple[Asks, Asks]) -> None:
    """One value of Image Type that matches is enough (PS3.4 C.2.2.3); Orthanc matches all as one text."""
    header = next(one for one in archives.headers if len(one.get("ImageType", "")) > 1)
    above: Keys = {UNIQUE[one]: value(header, UNIQUE[one]) for one in ("STUDY", "SERIES")}
    found, _status = ask[1]("IMAGE", STUDY_ROOT, {**above, "ImageType": header.ImageType[1]})
    assert header.SOPInstanceUID in [one.SOPInstanceUID for one in found]


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_same_values(archives: Archives, ask: tuple[Asks, Asks], level: str) -> None:
    """Of all that both return of a level, and of its counts, the values are the same."""
    above = LEVELS[1 : LEVELS.index(level)]
    wanted = (*KEYS["PATIENT"], *KEYS["STUDY"], *KEYS[level], *COUNTS.get(level, ()))
    compared = 0
    for within in sorted({tuple(value(header, UNIQUE[one]) for one in above) for header in archives.headers})[
        :12
    ]:
        named = {UNIQUE[one]: uid for one, uid in zip(above, within, strict=True)}
        keys: Keys = {**dict.fromkeys(wanted, ""), **named}
        theirs, ours = (
            {value(one, UNIQUE[level]): one for one in asks(level, STUDY_ROOT, keys)[0]} for asks in ask
        )
        assert theirs.keys() == ours.keys()
        for uid, theirs_one in theirs.items():
            pairs = [(str(theirs_one.get(one, "")), str(ours[uid].get(one, ""))) for one in wanted]
            both = [pair for pair in pairs if all(pair)]
            assert [one for one, _other in both] == [other for _one, other in both]
            compared += len(both)
    assert compared > 100


# QIDO-RS

TAGS = {"STUDY": "0020000D", "SERIES": "0020000E", "IMAGE": "00080018"}
RESOURCES = {"STUDY": "studies", "SERIES": "series", "IMAGE": "instances"}


PLAIN = re.compile(r"[A-Za-z0-9.*?,^/:_-]*")
"""What needs no escape: Orthanc's searches do not undo any (PS3.18 8.3.4 by RFC 3986 2.1)."""


def search(url: str, path: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of a search, of which nothing is escaped."""
    query = "&".join(f"{name}={text}" for name, text in parameters.items())
    asked = urllib.request.Request(f"{url}{path}?{query}", headers={"Accept": "application/dicom+json"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        body = answer.read()
    return list(json.loads(body)) if body else []


def uids(rows: Sequence[Mapping[str, Any]], level: str) -> list[str]:
    """The unique keys of results."""
    return sorted(one[TAGS[level]]["Value"][0] for one in rows)


def path_of(level: str, keys: Keys, named: int) -> tuple[str, Keys]:
    """The path of a search, of which some levels above are named by it and not by parameters."""
    left, path = dict(keys), ""
    for one in LEVELS[1 : 1 + named]:
        path += f"/{RESOURCES[one]}/{left.pop(UNIQUE[one])}"
    return f"{path}/{RESOURCES[level]}", left


def parameters_of(keys: Keys, maker: Maker) -> dict[str, str]:
    """Keys as parameters, by keyword or by tag; lists are separated by commas."""
    joined = {keyword: one if isinstance(one, str) else ",".join(one) for keyword, one in keys.items()}
    texts = {keyword: one for keyword, one in joined.items() if PLAIN.fullmatch(one)}
    return {
        maker.chance.choice((keyword, f"{tag_for_keyword(keyword):08X}")): text
        for keyword, text in texts.items()
    }


def named_in(parameters: Mapping[str, str]) -> set[str]:
    """The keywords of what parameters ask for."""
    return {keyword_for_tag(name) or name for name in parameters}


@pytest.mark.parametrize(
    ("level", "named"),
    [("STUDY", 0), ("SERIES", 0), ("SERIES", 1), ("IMAGE", 0), ("IMAGE", 1), ("IMAGE", 2)],
)
def test_same_search_results(archives: Archives, level: str, named: int) -> None:
    """Twelve searches of each of the six paths that a seed makes from the data have the same results."""
    maker, differences, found = Maker(archives.headers, f"{level} {named}"), [], 0
    for _number in range(12):
        keys = maker.keys(level, "STUDY")
        path, left = path_of(level, keys, named)
        parameters = parameters_of(left, maker)
        theirs, ours = (
            uids(search(url, path, parameters), level)
            for url in (archives.orthanc.url, archives.bridge.dicomweb)
        )
        asked = {keyword: keys[keyword] for keyword in keys if keyword in named_in(parameters)}
        possible = {value(one, UNIQUE[level]) for one in archives.headers if satisfiable(one, asked)}
        if ours != [one for one in theirs if one in possible]:
            differences.append((path, parameters, ours, theirs))
        found += len(ours)
    assert differences == []
    assert found >= 5


def filled(element: Any) -> Any:
    """An element of DICOM JSON without groups of names that are empty (PS3.18 F.2.2)."""
    if isinstance(element, dict):
        return {name: filled(one) for name, one in element.items() if one}
    return [filled(one) for one in element] if isinstance(element, list) else element


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_same_json(archives: Archives, level: str) -> None:
    """Of all that both return, the elements of DICOM JSON are the same, but for where they lead."""
    theirs, ours = (
        {
            one[TAGS[level]]["Value"][0]: one
            for one in search(url, f"/{RESOURCES[level]}", {"includefield": "all"})
        }
        for url in (archives.orthanc.url, archives.bridge.dicomweb)
    )
    assert theirs.keys() == ours.keys()
    for uid, row in theirs.items():
        both = (row.keys() & ours[uid].keys()) - {"00081190"}
        assert {tag: filled(row[tag]) for tag in both} == {tag: ours[uid][tag] for tag in both}
        assert len(both) > 5


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_pages_make_the_whole(archives: Archives, level: str) -> None:
    """Pages of seven have each result once, in one order, and Orthanc has as many."""
    url, path = archives.bridge.dicomweb, f"/{RESOURCES[level]}"
    whole = [one[TAGS[level]]["Value"][0] for one in search(url, path, {})]
    pages = [search(url, path, {"limit": 7, "offset": start}) for start in range(0, len(whole) + 7, 7)]
    assert [one[TAGS[level]]["Value"][0] for page in pages for one in page] == whole
    assert sorted(whole) == uids(search(archives.orthanc.url, path, {}), level)


# archives


TOLD = {
    "PATIENT": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "STUDY": ("StudyDate", "AccessionNumber", "StudyID", "StudyInstanceUID", "ModalitiesInStudy"),
    "SERIES": ("Modality", "SeriesNumber", "SeriesInstanceUID"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}
"""What an archive tells of without its files being read."""


@pytest.fixture(scope="module")
def synced(archives: Archives, make_lasting_bridge: Callable[..., Any]) -> Any:
    """A bridge that has been sent nothing, and has asked that Orthanc."""
    bridge = make_lasting_bridge(source(archives.orthanc, poll=0))
    done = bridge.run("sync")
    assert done.returncode == 0, done.stderr
    return bridge.start()


@pytest.mark.parametrize(
    ("model", "level"),
    [(model, level) for model, top in MODELS.items() for level in LEVELS[LEVELS.index(top) :]],
)
def test_what_archives_tell_is_found_likewise(
    archives: Archives, synced: Any, model: str, level: str
) -> None:
    """What was never sent is found by C-FIND as what was, at every level."""
    maker, found = Maker(archives.headers, f"told {model} {level}", TOLD), 0
    with associated(archives.bridge.dimse_port) as pushed, associated(synced.dimse_port) as told:
        for _number in range(10):
            keys = maker.keys(level, MODELS[model])
            both = [find(one, query(level, **keys), model) for one in (pushed, told)]
            assert {last.Status for _answers, last in both} == {0}, keys
            sent, asked = (sorted(value(one, UNIQUE[level]) for one in answers) for answers, _last in both)
            assert asked == sent, keys
            found += len(asked)
    assert found >= 5


@pytest.mark.parametrize(
    ("level", "named"),
    [("STUDY", 0), ("SERIES", 0), ("SERIES", 1), ("IMAGE", 0), ("IMAGE", 1), ("IMAGE", 2)],
)
def test_what_archives_tell_is_searched_likewise(
    archives: Archives, synced: Any, level: str, named: int
) -> None:
    """The same by each of the six paths of QIDO-RS."""
    maker, found = Maker(archives.headers, f"told {level} {named}", TOLD), 0
    for _number in range(8):
        path, left = path_of(level, maker.keys(level, "STUDY"), named)
        parameters = parameters_of(left, maker)
        sent, asked = (
            uids(search(one.dicomweb, path, parameters), level) for one in (archives.bridge, synced)
        )
        assert asked == sent, (path, parameters)
        found += len(asked)
    assert found >= 3
