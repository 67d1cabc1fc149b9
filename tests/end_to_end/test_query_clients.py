"""C-FIND and QIDO-RS by other people's clients, as viewers ask, in many character sets, and asked wrongly."""

import re
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from find_peer import PATIENT_ROOT, STUDY_ROOT, associated, find, find_raw, query, responses
from pynetdicom import AE

SCRIPTS = Path(pydicom.data.__file__).parent / "charset_files"
NAMED = (
    "chrArab.dcm",
    "chrFren.dcm",
    "chrGerm.dcm",
    "chrH31.dcm",
    "chrH32.dcm",
    "chrI2.dcm",
    "chrX1.dcm",
    "chrX2.dcm",
)
THORAX = "SYN24-1001"


@pytest.fixture(scope="module")
def bridge(make_lasting_bridge: Callable[..., Any], sample_files: Sequence[Path]) -> Any:
    """It has all samples, and patients with names in many scripts; a C-FIND has 40 answers at most."""
    made = make_lasting_bridge(dimse="find_limit = 40").start()
    paths = [*sample_files, *(SCRIPTS / name for name in NAMED)]
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    entity = AE()
    for one in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in headers}:
        entity.add_requested_context(*one)
    association = entity.associate("127.0.0.1", made.dimse_port)
    assert {association.send_c_store(path).Status for path in paths} == {0}
    association.release()
    made.wait(lambda: sum(one["numberOfInstances"] for one in made.studies().values()) == len(paths))
    made.headers = headers
    made.thorax = next(ds.StudyInstanceUID for ds in headers if ds.get("AccessionNumber") == THORAX)
    return made


def search(bridge: Any, path: str) -> list[dict[str, Any]]:
    """The results of a search."""
    answer = requests.get(bridge.dicomweb + path, timeout=10)
    assert answer.status_code in (200, 204), answer.text
    return list(answer.json()) if answer.content else []


def first(row: Mapping[str, Any], tag: str) -> Any:
    """The first value of an element of DICOM JSON."""
    return row[tag]["Value"][0]


# DCMTK


def findscu(bridge: Any, dcmtk: Callable[[str], str], *arguments: str) -> str:
    """What DCMTK's findscu says."""
    command = [dcmtk("findscu"), "-v", *arguments, "127.0.0.1", str(bridge.dimse_port)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20)
    return done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (
            (
                "-S",
                "-k",
                "QueryRetrieveLevel=STUDY",
                "-k",
                f"AccessionNumber={THORAX}",
                "-k",
                "StudyInstanceUID",
            ),
            1,
        ),
        (("-P", "-k", "QueryRetrieveLevel=PATIENT", "-k", "PatientID=SYN-000*", "-k", "PatientName"), 3),
        (("-S", "-k", "0008,0052=STUDY", "-k", "ModalitiesInStudy=MR\\US", "-k", "StudyDate=20240101-"), 2),
        (("-S", "-k", "0008,0052=STUDY", "-k", "PatientID=NOBODY"), 0),
    ],
)
def test_findscu(bridge: Any, dcmtk: Callable[[str], str], arguments: Sequence[str], number: int) -> None:
    """DCMTK finds by either model, with names and tags, one value, wildcards, lists and ranges."""
    said = findscu(bridge, dcmtk, *arguments)
    assert len(re.findall(r"Find Response: \d+ \(Pending\)", said)) == number
    assert "Final Find Response (Success)" in said


def test_findscu_goes_down(bridge: Any, dcmtk: Callable[[str], str]) -> None:
    """From a study to its series, with their counts."""
    keys = ("-k", "0008,0052=SERIES", "-k", f"0020,000d={bridge.thorax}", "-k", "Modality", "-k", "0020,1209")
    said = findscu(bridge, dcmtk, "-S", *keys)
    assert len(re.findall(r"\(0008,0060\) CS \[[A-Z]+\s*\]", said)) == 5
    assert len(re.findall(r"\(0020,1209\) IS \[\d+", said)) == 5


# dicomweb-client


def test_dicomweb_client_pages_and_filters(bridge: Any) -> None:
    """Its pages make the whole, its filters narrow it, its fields come."""
    client = DICOMwebClient(bridge.dicomweb)
    whole = client.search_for_studies(get_remaining=True)
    pages = [client.search_for_studies(limit=4, offset=start) for start in range(0, len(whole), 4)]
    assert [first(one, "0020000D") for page in pages for one in page] == [
        first(one, "0020000D") for one in whole
    ]
    [found] = client.search_for_studies(
        search_filters={"AccessionNumber": THORAX, "PatientName": "muster^käthe*"},
        fields=["00081032", "PatientAge"],
    )
    assert first(found, "0020000D") == bridge.thorax
    assert len(client.search_for_series(bridge.thorax, fields=["SeriesDescription"])) == 5
    scans = client.search_for_series(search_filters={"Modality": "CT", "StudyInstanceUID": bridge.thorax})
    assert {first(one, "00080060") for one in scans} == {"CT"}
    series = first(scans[0], "0020000E")
    instances = client.search_for_instances(bridge.thorax, series)
    assert len(instances) == first(scans[0], "00201209")
    number = first(instances[-1], "00200013")
    [one] = client.search_for_instances(bridge.thorax, series, search_filters={"InstanceNumber": number})
    assert one == instances[-1]
    assert client.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []


# as viewers ask

OHIF_LIST = {
    "limit": "101",
    "offset": "0",
    "fuzzymatching": "false",
    "includefield": "00081030,00080060,00080090,00100030",
}
"""What OHIF's list of studies sends with each search (its DICOMweb data source, `qido.js`)."""

WEASIS_STUDY = (
    "00080020,00080030,00080050,00080061,00080090,00081030,00100010,00100020,00100021,00100030,00100040,"
    "0020000D,00200010"
)
"""What Weasis asks to be told of a study (its `RsQueryResult`)."""


@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ({}, 18),
        ({"PatientName": "*must*"}, 2),
        ({"00100020": "*SYN*"}, 5),
        ({"AccessionNumber": "*2001*"}, 1),
        ({"StudyDescription": "*thorax*"}, 0),
        ({"ModalitiesInStudy": "CT,MR"}, 5),
        ({"ModalitiesInStudy": "CT\\MR"}, 5),
        ({"StudyDate": "20240301-20240430"}, 2),
        ({"StudyDate": "19700102-20240311", "PatientName": "*muster*"}, 1),
        ({"fuzzymatching": "true", "PatientName": "*kathe*"}, 2),
    ],
)
def test_as_ohif_asks(bridge: Any, filters: Mapping[str, str], number: int) -> None:
    """Its list of studies: every filter it has, with all parameters that it sends beside them."""
    answer = requests.get(f"{bridge.dicomweb}/studies", params={**OHIF_LIST, **filters}, timeout=10)
    rows = answer.json() if answer.content else []
    assert len(rows) == number
    assert all(first(one, "00201208") >= 1 and "0020000D" in one for one in rows)


def test_as_ohif_opens(bridge: Any) -> None:
    """It asks for studies by lists of UIDs with backslashes, then for the series of each."""
    others = {str(ds.StudyInstanceUID) for ds in bridge.headers} - {bridge.thorax}
    listed = "\\".join((bridge.thorax, min(others)))
    parameters = {**OHIF_LIST, "StudyInstanceUID": listed}
    rows = requests.get(f"{bridge.dicomweb}/studies", params=parameters, timeout=10).json()
    assert {first(one, "0020000D") for one in rows} == {bridge.thorax, min(others)}
    series = search(bridge, f"/studies/{bridge.thorax}/series?includefield=0008103E,00080021")
    assert len(series) == 5
    assert all({"0020000D", "0020000E", "00080060", "00201209"} <= one.keys() for one in series)


def test_as_weasis_asks(bridge: Any) -> None:
    """From a patient, an accession number or a UID down to instances, by the URLs that answers give."""
    for key in (f"00080050={THORAX}", f"0020000D={bridge.thorax}", "00100020=SYN-0001&00080020=20240311"):
        [study] = search(bridge, f"/studies?{key}&includefield={WEASIS_STUDY}")
        assert first(study, "0020000D") == bridge.thorax
        assert {"00080020", "00080050", "00080061", "00100010", "00100030"} <= study.keys()
    series = search(
        bridge, f"/studies/{bridge.thorax}/series?includefield=0008103E,00080060,0020000E,00200011,00081190"
    )
    for one in series:
        answer = requests.get(
            f"{first(one, '00081190')}/instances?includefield=00080018,00200013,00081190", timeout=10
        )
        assert "Warning" not in answer.headers
        assert len(answer.json()) == first(one, "00201209")
        assert all(first(row, "00081190").endswith(first(row, "00080018")) for row in answer.json())
    uid = first(series[0], "0020000E")
    beyond = ",0008103E,00080060,00081190,00200011"
    [found] = search(bridge, f"/series?0020000E={uid}&includefield={WEASIS_STUDY}{beyond}")
    assert first(found, "00080050") == THORAX
    instance = first(search(bridge, f"/studies/{bridge.thorax}/instances?limit=1")[0], "00080018")
    [found] = search(bridge, f"/instances?00080018={instance}&includefield={WEASIS_STUDY}{beyond},00200013")
    assert first(found, "00080050") == THORAX


# what is negotiated


def test_relational(bridge: Any) -> None:
    """Agreed on, series and images are found across studies by keys of any level above."""
    scans = {str(ds.SeriesInstanceUID) for ds in bridge.headers if ds.get("Modality") == "CT"}
    with associated(bridge.dimse_port, b"\x01") as association:
        found, last = find(association, query("SERIES", Modality="CT"))
        assert (last.Status, {str(one.SeriesInstanceUID) for one in found}) == (0, scans)
        found, last = find(association, query("IMAGE", PatientID="SYN-0002"), PATIENT_ROOT)
        expected = {ds.SOPInstanceUID for ds in bridge.headers if ds.PatientID == "SYN-0002"}
        assert (last.Status, {one.SOPInstanceUID for one in found}) == (0, expected)
        number = query("SERIES", PatientName="muster*", SeriesNumber="1", StudyDate="20240311")
        assert len(find(association, number)[0]) == 1


def test_combined_times(bridge: Any) -> None:
    """Agreed on, date and time are one moment; else each has its own range, as PS3.4 C.2.2.2.5 says."""
    asked = query("STUDY", StudyDate="20240311-20240801", StudyTime="120000-100000")
    counts = []
    for options in (b"\x00\x01", b""):
        with associated(bridge.dimse_port, options) as association:
            counts.append(len(find(association, asked)[0]))
    assert counts == [3, 0]


def test_limit_and_cancel(bridge: Any) -> None:
    """Beyond the limit the last status says how many were given; a cancel ends an operation with 0xFE00."""
    with associated(bridge.dimse_port, b"\x01") as association:
        found, last = find(association, query("IMAGE"))
        assert (len(found), last.Status) == (40, 0xB000)
        assert last.ErrorComment == "only the first 40 matches"
        answers = responses(association, query("IMAGE"), number=5)
        next(answers)
        association.send_c_cancel(5, query_model=STUDY_ROOT)
        statuses = [status.Status for status, _none in answers]
        assert statuses[-1] in (0xFE00, 0xB000)  # all may have been under way already
        assert len(find(association, query("STUDY", AccessionNumber=THORAX))[0]) == 1


def test_many_at_a_time(bridge: Any) -> None:
    """Eight associations that ask at once all get what is theirs."""
    counts: list[int] = []

    def ask(number: int) -> None:
        with associated(bridge.dimse_port) as association:
            for _turn in range(5):
                counts.append(len(find(association, query("STUDY", PatientID=f"SYN-000{number % 2 + 1}"))[0]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert sorted(counts) == [1] * 20 + [2] * 20


# character sets


@pytest.mark.parametrize(
    ("charset", "asked", "name"),
    [
        ("ISO_IR 100", "MUSTER^KÄTHE*", "Muster^Käthe^^Dr."),
        ("ISO_IR 192", "MUSTER^KÄTHE*", "Muster^Käthe^^Dr."),
        ("GB18030", "Wang*=王^小东*", "Wang^XiaoDong=王^小东"),
        ("GBK", "*=王^小东*", "Wang^XiaoDong=王^小东"),
        (("", "ISO 2022 IR 87"), "Mihon*=見本*", "Mihon^Tarou=見本^太郎=みほん^たろう"),
        ("ISO_IR 192", "見本^太郎", "Mihon^Tarou=見本^太郎=みほん^たろう"),
        (("ISO 2022 IR 13", "ISO 2022 IR 87"), "ﾔﾏﾀﾞ*", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (("", "ISO 2022 IR 149"), "Hong*=洪*", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("ISO_IR 127", "قباني*", "قباني^لنزار"),
        ("ISO_IR 192", "WANG*=王^小東*", "Wang^XiaoDong=王^小東"),
        ("ISO_IR 6", "Exemple^*", "Exemple^Zoë^Ångström"),
    ],
)
def test_character_sets(bridge: Any, charset: str | Sequence[str], asked: str, name: str) -> None:
    """Asked in one character set, stored in another: found, and the answer reads right."""
    with associated(bridge.dimse_port) as association:
        found, last = find(association, query("STUDY", charset, PatientName=asked, PatientComments=""))
    assert last.Status == 0
    assert {str(one.PatientName) for one in found} == {name}


# asked wrongly


def element(tag: int, value: bytes) -> bytes:
    """An element in Implicit VR Little Endian."""
    padded = value + b" " * (len(value) % 2)
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(padded)) + padded


def sequence(*items: bytes) -> bytes:
    """A Request Attributes Sequence."""
    return element(0x00400275, b"".join(struct.pack("<HHL", 0xFFFE, 0xE000, len(one)) + one for one in items))


def nested(depth: int) -> bytes:
    """Sequences in sequences."""
    made = element(0x00080050, b"")
    for _level in range(depth):
        made = sequence(made)
    return made


def level(name: bytes) -> bytes:
    """Query/Retrieve Level."""
    return element(0x00080052, name)


def uids(number: int) -> bytes:
    """Study Instance UIDs, many of them."""
    return element(0x0020000D, b"\\".join(b"1.2.%d" % one for one in range(number)))


STUDY, UID = level(b"STUDY"), element(0x0020000D, b"")
SERIES_OF_ONE = level(b"SERIES") + element(0x0020000D, b"1.2.3")
UTF_8 = element(0x00080005, b"ISO_IR 192")

REFUSED: Sequence[tuple[str, str, bytes, int, str]] = (
    # what is wrong, model, identifier, status, Error Comment
    ("no identifier", STUDY_ROOT, b"", 0xC000, "a request without an identifier"),
    ("no level", STUDY_ROOT, UID, 0xA900, "Query/Retrieve Level (0008,0052) is missing"),
    ("an empty level", STUDY_ROOT, level(b"") + UID, 0xA900, "Query/Retrieve Level (0008,0052) is missing"),
    (
        "an unknown level",
        STUDY_ROOT,
        level(b"WORKLIST"),
        0xA900,
        "Query/Retrieve Level (0008,0052) is unknown",
    ),
    (
        "small letters",
        STUDY_ROOT,
        level(b"study") + UID,
        0xA900,
        "Query/Retrieve Level (0008,0052) is unknown",
    ),
    ("two levels", STUDY_ROOT, level(b"STUDY\\SERIES"), 0xC000, "(0008,0052): more than one value"),
    ("patients", STUDY_ROOT, level(b"PATIENT"), 0xA900, "Study Root has no level PATIENT"),
    ("no study", STUDY_ROOT, level(b"SERIES"), 0xA900, "Study Instance UID is needed, or relational queries"),
    (
        *("any study", STUDY_ROOT, level(b"SERIES") + UID, 0xA900),
        "Study Instance UID is needed, or relational queries",
    ),
    (
        *("two studies", STUDY_ROOT, level(b"SERIES") + uids(2), 0xA900),
        "Study Instance UID is needed, or relational queries",
    ),
    (
        *("no series", STUDY_ROOT, level(b"IMAGE") + uids(1), 0xA900),
        "Series Instance UID is needed, or relational queries",
    ),
    ("no patient", PATIENT_ROOT, STUDY + UID, 0xA900, "Patient ID is needed, or relational queries"),
    (
        *("some patients", PATIENT_ROOT, STUDY + element(0x00100020, b"SYN*"), 0xA900),
        "Patient ID is needed, or relational queries",
    ),
    ("cut short in a head", STUDY_ROOT, STUDY + UID[:-3], 0xC000, "the data set ends within an element"),
    (
        *("cut short in a value", STUDY_ROOT, STUDY + element(0x00100020, b"abcd")[:-2], 0xC000),
        "an element is longer than what it stands in",
    ),
    ("noise", STUDY_ROOT, b"\xff" * 100, 0xC000, "something other than an item in a sequence"),
    (
        *(
            "another transfer syntax",
            STUDY_ROOT,
            struct.pack("<HH2sH", 8, 0x52, b"CS", 6) + b"STUDY ",
            0xC000,
        ),
        "an element is longer than what it stands in",
    ),
    (
        *("a key twice", STUDY_ROOT, STUDY + 2 * element(0x00100020, b"SYN-0001"), 0xC000),
        "(0010,0020): given more than once",
    ),
    ("3 MB", STUDY_ROOT, STUDY + element(0x00104000, b"x" * 3_000_000), 0xC001, "longer than 1048576 bytes"),
    ("too many UIDs", STUDY_ROOT, STUDY + uids(20_000), 0xC000, "(0020,000D): more than 10000 values"),
    (
        *(
            "too many keys",
            STUDY_ROOT,
            STUDY + b"".join(element(0x00310000 + n, b"") for n in range(1, 256)),
            0xC000,
        ),
        "more than 200 keys",
    ),
    (
        *("too many wildcards", STUDY_ROOT, STUDY + element(0x00100010, b"*a" * 30), 0xC000),
        "(0010,0010): more than 16 wildcards",
    ),
    (
        *("two items", STUDY_ROOT, SERIES_OF_ONE + sequence(b"", b""), 0xC000),
        "(0040,0275): more than one item, or nested too deep",
    ),
    (
        *("nested deep", STUDY_ROOT, SERIES_OF_ONE + nested(2_000), 0xC000),
        "(0040,0275): more than one item, or nested too deep",
    ),
    (
        *("a sequence of text", STUDY_ROOT, SERIES_OF_ONE + element(0x00400275, b"some text"), 0xC000),
        "something other than an item in a sequence",
    ),
    (
        *("an unknown charset", STUDY_ROOT, element(0x00080005, b"KLINGON") + STUDY, 0xC000),
        "the character set (0008,0005) is not known",
    ),
    (
        *("not of its charset", STUDY_ROOT, UTF_8 + STUDY + element(0x00100010, b"\xff\xfe*"), 0xC000),
        "(0010,0010): bytes that the character set does not have",
    ),
    (
        *("a surrogate", STUDY_ROOT, UTF_8 + STUDY + element(0x00100010, b"\xed\xa0\x80*"), 0xC000),
        "(0010,0010): bytes that the character set does not have",
    ),
    (
        *("no charset", STUDY_ROOT, STUDY + element(0x00100010, b"K\xe4the*"), 0xC000),
        "(0010,0010): bytes outside ASCII, and no character set is known",
    ),
    ("no UID", STUDY_ROOT, STUDY + element(0x0020000D, b"1.2*"), 0xC000, "(0020,000D): not a UID"),
    (
        "no date",
        STUDY_ROOT,
        STUDY + element(0x00080020, b"soon"),
        0xC000,
        "(0008,0020): not a value or range of DA",
    ),
    (
        "no time",
        STUDY_ROOT,
        STUDY + element(0x00080030, b"2561"),
        0xC000,
        "(0008,0030): not a value or range of TM",
    ),
    (
        "no number",
        STUDY_ROOT,
        SERIES_OF_ONE + element(0x00200011, b"nan"),
        0xC000,
        "(0020,0011): not a number",
    ),
    (
        "two names",
        STUDY_ROOT,
        STUDY + element(0x00100010, b"A\\B"),
        0xC000,
        "(0010,0010): more than one value",
    ),
    ("NUL", STUDY_ROOT, STUDY + element(0x00100010, b"A\0*"), 0xC000, "(0010,0010): a NUL within a value"),
    (
        *("a wildcard in a list", STUDY_ROOT, STUDY + element(0x00080061, b"C*\\MR"), 0xC000),
        "(0008,0061): wildcards in one of several values",
    ),
)


def test_what_is_wrong_is_told(bridge: Any) -> None:
    """Each wrong identifier has a failure that names it, no match, and leaves the association usable."""
    good = STUDY + element(0x00080050, THORAX.encode())
    with associated(bridge.dimse_port) as association:
        for wrong, model, identifier, status, comment in REFUSED:
            assert find_raw(association, identifier, model) == (0, status, comment), wrong
        assert find_raw(association, good) == (1, 0, "")


PASSED: Sequence[tuple[str, bytes, int]] = (
    ("out of order", element(0x00080050, THORAX.encode()) + STUDY, 1),
    ("padded by NUL", level(b"STUDY\0") + element(0x00080050, THORAX.encode() + b"\0\0"), 1),
    (
        "lengths of groups",
        element(0x00080000, b"\x0e\0\0\0") + STUDY + element(0x00080050, THORAX.encode()),
        1,
    ),
    ("private keys", STUDY + element(0x00080050, THORAX.encode()) + element(0x00091001, b"secret"), 1),
    ("a key of another level", STUDY + element(0x00080050, THORAX.encode()) + element(0x00080060, b"MR"), 1),
    ("10,000 UIDs", STUDY + uids(10_000), 0),
    ("a name of 60,000 letters", STUDY + element(0x00100010, b"a" * 60_000), 0),
    ("an empty sequence", level(b"SERIES") + element(0x0020000D, b"1.2.3") + sequence(), 0),
    ("an empty item", level(b"SERIES") + element(0x0020000D, b"1.2.3") + sequence(b""), 0),
    ("from now to then", STUDY + element(0x00080020, b"20240801-20240101"), 0),
)


def test_what_is_odd_is_answered(bridge: Any) -> None:
    """What is unusual but can be understood is answered rightly, unknown keys passed over."""
    with associated(bridge.dimse_port) as association:
        for odd, identifier, number in PASSED:
            assert find_raw(association, identifier) == (number, 0, ""), odd


WRONG_PARAMETERS = (
    ("/studies?limit=-1", "limit: not a number from 0 up"),
    ("/studies?limit=", "limit: not a number from 0 up"),
    ("/studies?limit=1.5", "limit: not a number from 0 up"),
    ("/studies?offset=99999999999999999999", "offset: not a number from 0 up"),
    ("/studies?limit=1&limit=2", "limit: given more than once"),
    ("/studies?fuzzymatching=yes", "fuzzymatching: neither true nor false"),
    ("/studies?PatientNam=x", "PatientNam: nothing that can be searched by here"),
    ("/studies?Modality=CT", "Modality: nothing that can be searched by here"),
    ("/studies?00091001=x", "00091001: nothing that can be searched by here"),
    ("/studies?=x", "?: nothing that can be searched by here"),
    ("/studies?orderby=StudyDate", "orderby: nothing that can be searched by here"),
    ("/studies?PatientName=a&PatientName=b", "PatientName: given more than once"),
    ("/studies?00100010=a&PatientName=b", "PatientName: given more than once"),
    ("/studies?PatientName=" + "*a" * 20, "PatientName: more than 16 wildcards"),
    ("/studies?PatientName=%00", "PatientName: a NUL within a value"),
    ("/studies?StudyDate=2024-01-01", "StudyDate: not a value or range of DA"),
    ("/studies?StudyDate=20241301", "StudyDate: not a value or range of DA"),
    ("/studies?StudyDate=-", "StudyDate: not a value or range of DA"),
    ("/studies?StudyTime=2561", "StudyTime: not a value or range of TM"),
    ("/studies?StudyInstanceUID=abc", "StudyInstanceUID: not a UID"),
    ("/studies?StudyInstanceUID=" + "1." * 40 + "1", "StudyInstanceUID: not a UID"),
    ("/studies?ModalitiesInStudy=C*,MR", "ModalitiesInStudy: wildcards in one of several values"),
    ("/series?SeriesNumber=one", "SeriesNumber: not a number"),
    ("/series?SeriesNumber=nan", "SeriesNumber: not a number"),
    ("/series?RequestAttributesSequence=x", "RequestAttributesSequence: a sequence has no value of its own"),
    (
        "/series?RequestAttributesSequence.Nope=x",
        "RequestAttributesSequence.Nope: nothing that can be searched by here",
    ),
    ("/studies?PatientName.PatientID=x", "PatientName.PatientID: not a sequence"),
    ("/studies/1.2.x/series", "the study is not a UID"),
)


@pytest.mark.parametrize(("path", "reason"), WRONG_PARAMETERS)
def test_wrong_parameters_are_named(bridge: Any, path: str, reason: str) -> None:
    """400 with the name of what is wrong, and no result."""
    answer = requests.get(bridge.dicomweb + path, timeout=10)
    assert (answer.status_code, answer.json()) == (400, {"status": 400, "reason": reason})


def test_no_names_in_the_log(bridge: Any) -> None:
    """What was asked for, found and refused leaves nothing about patients in the log."""
    with associated(bridge.dimse_port) as association:
        find(association, query("STUDY", PatientName="Muster^*", AccessionNumber=""))
        find_raw(association, STUDY + element(0x00080020, b"soon") + element(0x00100010, b"Muster"))
    requests.get(f"{bridge.dicomweb}/studies?PatientName=Muster*&StudyDate=Muster", timeout=10)
    text = bridge.log.read_text()
    assert "query answered" in text and "request refused" in text
    assert not re.search("muster|syn-0001|syn24|soon", text, re.IGNORECASE)
