"""C-FIND with pynetdicom as the requestor, and raw PDUs where a requestor would not go wrong by itself."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from find_peer import anything_goes, responses
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind as PatientRoot,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRoot,
)

from pacsbridge.bridge.publish import Publisher
from pacsbridge.dimse.find import Finder
from pacsbridge.dimse.server import DimseServer
from pacsbridge.dimse.settings import DimseSettings
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.resources import Publication
from pacsbridge.store.records import Arrival
from pacsbridge.store.store import Store

NOW = 1_800_000_000_000_000
STUDIES = 30
NAMES = ("Müller^Jörg", "Yamada^Tarou=山田^太郎", "Roe^Richard", "Poe^Edgar", "Doe^Jane")
LIMIT = 25


def header(number: int) -> Attributes:
    """The header of the one instance of a study."""
    texts = {
        "StudyInstanceUID": f"1.2.{number}",
        "SeriesInstanceUID": f"1.3.{number}",
        "SOPInstanceUID": f"1.4.{number}",
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
        "PatientName": NAMES[number % 5],
        "PatientID": f"P{number % 5}",
        "StudyDate": f"202001{number + 1:02}",
        "StudyTime": f"{number % 24:02}1500",
        "TimezoneOffsetFromUTC": "+0200",
        "Modality": "CT",
    }
    return Attributes({keyword: (text,) for keyword, text in texts.items()})


class Archive:
    """A listener over a store with some studies."""

    def __init__(self, folder: Path) -> None:
        self.store = Store("sqlite", folder, quiet_seconds=0)
        self.store.migrate()
        arrivals = [
            Arrival(extract(header(n)), "urn:x", NOW, "1.2.840.10008.1.2.1", "p:0", 1, n.to_bytes(32))
            for n in range(STUDIES)
        ]
        self.store.put(arrivals, {}, NOW)
        Publisher(self.store, Publication(), lambda: NOW).publish_all()
        finder = Finder(self.store, "PACSBRIDGE", LIMIT)
        settings = DimseSettings(port=0)
        self.server = DimseServer(settings, _never, _never, operations={"find": finder.find})
        self.server.start()

    @contextmanager
    def associated(self, model: str = StudyRoot, options: bytes | None = None) -> Iterator[Association]:
        """An association for queries."""
        entity = AE("WORKSTATION")
        entity.add_requested_context(model)
        items = []
        if options is not None:
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid = model
            item.service_class_application_information = options
            items.append(item)
        association = entity.associate("127.0.0.1", self.server.port, ext_neg=items)
        assert association.is_established
        try:
            yield association
        finally:
            association.release()

    def ask(
        self, model: str = StudyRoot, options: bytes | None = None, **keys: object
    ) -> tuple[Sequence[Dataset], Dataset]:
        """Identifiers of all answers, and the last status."""
        with self.associated(model, options) as association:
            return answers(association, query(**keys), model)


def _never(*_: object) -> object:
    raise AssertionError


def query(**keys: object) -> Dataset:
    """An identifier."""
    asked = Dataset()
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def answers(
    association: Association, asked: Dataset, model: str = StudyRoot
) -> tuple[Sequence[Dataset], Dataset]:
    """Identifiers of all answers, and the last status."""
    found = list(responses(association, asked, model))
    assert all(status.Status in (0xFF00, 0xFF01) for status, _identifier in found[:-1])
    return [identifier for _status, identifier in found[:-1]], found[-1][0]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """One for all tests: none of them changes anything."""
    made = Archive(tmp_path_factory.mktemp("find"))
    yield made
    made.server.stop(5)
    made.store.close()


def test_answers_have_what_is_asked(archive: Archive) -> None:
    """Keys with and without values, and what is computed; nothing that nobody asked for."""
    [found], status = archive.ask(
        QueryRetrieveLevel="STUDY",
        StudyInstanceUID="1.2.4",
        PatientName="",
        StudyDescription="",
        ModalitiesInStudy="",
        NumberOfStudyRelatedInstances="",
        InstanceAvailability="",
        RetrieveAETitle="",
    )
    assert status.Status == 0
    assert found.PatientName == "Doe^Jane"
    assert found.ModalitiesInStudy == "CT"
    assert found.NumberOfStudyRelatedInstances == 1
    assert found.InstanceAvailability == "ONLINE"
    assert found.RetrieveAETitle == "PACSBRIDGE"
    assert found.StudyDescription == ""
    assert found.QueryRetrieveLevel == "STUDY"
    assert len(found) == 8


def test_a_key_that_is_not_supported_is_told(archive: Archive) -> None:
    """It is left out of the answers, whose status is 0xFF01."""
    asked = query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.4", KVP="")
    with archive.associated() as association:
        (status, found), (last, _) = association.send_c_find(asked, StudyRoot)
    assert (status.Status, last.Status) == (0xFF01, 0)
    assert "KVP" not in found


def test_nothing_is_an_answer_too(archive: Archive) -> None:
    """Success without a match."""
    found, status = archive.ask(QueryRetrieveLevel="STUDY", PatientID="nobody")
    assert (found, status.Status) == ([], 0)


def test_more_than_the_limit_is_told(archive: Archive) -> None:
    """The last status is a warning that says how many there were."""
    found, status = archive.ask(QueryRetrieveLevel="STUDY", StudyInstanceUID="")
    assert len(found) == LIMIT
    assert status.Status == 0xB000
    assert status.ErrorComment == f"only the first {LIMIT} matches"


def test_a_cancel_ends_it(archive: Archive) -> None:
    """0xFE00 is the last status, soon after; and the association goes on."""
    with archive.associated() as association:
        statuses = []
        asked = query(QueryRetrieveLevel="STUDY", StudyInstanceUID="")
        for number, (status, _identifier) in enumerate(association.send_c_find(asked, StudyRoot, msg_id=7)):
            statuses.append(status.Status)
            if number == 0:
                association.send_c_cancel(7, None, StudyRoot)
        again, last = answers(association, query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.4"))
    assert statuses[-1] in (0xFE00, 0xB000)  # the answers may have been under way already
    assert (len(again), last.Status) == (1, 0)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller*"),
        ("ISO_IR 192", "müller^jörg"),
        ("ISO_IR 192", "山田*"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "=山田*"),
    ],
)
def test_character_sets_of_questions(archive: Archive, charset: str, name: str) -> None:
    """What is asked in any character set finds what was stored in another."""
    asked = {"QueryRetrieveLevel": "STUDY", "SpecificCharacterSet": charset}
    found, _status = archive.ask(**asked, PatientName=name.removeprefix("="), StudyInstanceUID="")
    assert len(found) == 6
    for one in found:
        assert str(one.PatientName) in ("Müller^Jörg", "Yamada^Tarou=山田^太郎")


WRONG = [
    # keys, model, status, part of the comment
    ({"PatientID": ""}, StudyRoot, 0xA900, "(0008,0052) is missing"),
    ({"QueryRetrieveLevel": "WARD"}, StudyRoot, 0xA900, "unknown"),
    ({"QueryRetrieveLevel": "PATIENT"}, StudyRoot, 0xA900, "no level PATIENT"),
    ({"QueryRetrieveLevel": "SERIES"}, StudyRoot, 0xA900, "Study Instance UID is needed"),
    (
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": ["1.2.1", "1.2.2"]},
        StudyRoot,
        0xA900,
        "Study Instance UID",
    ),
    ({"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": "1.2.1"}, StudyRoot, 0xA900, "Series Instance UID"),
    ({"QueryRetrieveLevel": "STUDY"}, PatientRoot, 0xA900, "Patient ID is needed"),
    ({"QueryRetrieveLevel": "STUDY", "PatientID": "P*"}, PatientRoot, 0xA900, "Patient ID is needed"),
    ({"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2.x"}, StudyRoot, 0xC000, "(0020,000D)"),
    ({"QueryRetrieveLevel": "STUDY", "StudyDate": "20209999"}, StudyRoot, 0xC000, "(0008,0020)"),
    ({"QueryRetrieveLevel": ["STUDY", "SERIES"]}, StudyRoot, 0xC000, "more than one value"),
    ({"QueryRetrieveLevel": "STUDY", "SpecificCharacterSet": "KLINGON"}, StudyRoot, 0xC000, "0008,0005"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("keys", "model", "expected", "comment"), WRONG)
def test_what_is_wrong_is_refused(
    archive: Archive, keys: dict[str, object], model: str, expected: int, comment: str
) -> None:
    """A status of the standard with a comment that names the fault; the next query is answered."""
    with archive.associated(model) as association, anything_goes():
        found, status = answers(association, query(**keys), model)
        good = query(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2.4", PatientID="P4")
        again, last = answers(association, good, model)
    assert (found, status.Status) == ([], expected)
    assert comment in status.ErrorComment
    assert (len(again), last.Status) == (1, 0)


def test_relational_queries_have_to_be_agreed_on(archive: Archive) -> None:
    """With extended negotiation a level is searched without the keys above it."""
    found, status = archive.ask(options=b"\x01", QueryRetrieveLevel="SERIES", Modality="CT", SeriesNumber="")
    assert (len(found), status.Status) == (LIMIT, 0xB000)
    found, status = archive.ask(options=b"\x01", QueryRetrieveLevel="IMAGE", SOPInstanceUID="1.4.9")
    assert (len(found), status.Status) == (1, 0)
    found, status = archive.ask(options=b"\x00", QueryRetrieveLevel="SERIES", Modality="CT")
    assert status.Status == 0xA900


def test_what_is_agreed_on_is_told(archive: Archive) -> None:
    """The acceptor answers relational, combined times and time zones by 1, fuzzy matching by 0."""
    with archive.associated(options=b"\x01\x01\x01\x01") as association:
        [item] = [
            one
            for one in association.acceptor.user_information
            if isinstance(one, SOPClassExtendedNegotiation)
        ]
    assert item.service_class_application_information == b"\x01\x01\x00\x01"


def test_combined_times_have_to_be_agreed_on(archive: Archive) -> None:
    """From one evening to the next morning, or each day's evening and morning."""
    keys = {"QueryRetrieveLevel": "STUDY", "StudyDate": "20200101-20200103", "StudyTime": "0100-0200"}
    apart, _ = archive.ask(**keys, StudyInstanceUID="")
    together, _ = archive.ask(options=b"\x00\x01", **keys, StudyInstanceUID="")
    assert {one.StudyInstanceUID for one in apart} == {"1.2.1"}
    assert {one.StudyInstanceUID for one in together} == {"1.2.1"}
    keys["StudyTime"] = "0100-0000"
    wrapped, _ = archive.ask(options=b"\x00\x01", **keys, StudyInstanceUID="")
    assert {one.StudyInstanceUID for one in wrapped} == {"1.2.1"}


def test_a_query_in_a_time_zone(archive: Archive) -> None:
    """What was at a quarter past midnight in one zone was the evening before in UTC, and is told so."""
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "StudyTime": ""}
    found, status = archive.ask(
        options=b"\0\0\0\x01", **keys, StudyDate="20191231", TimezoneOffsetFromUTC="+0000"
    )
    assert status.Status == 0
    [one] = found
    assert (one.StudyInstanceUID, one.StudyDate, one.StudyTime) == ("1.2.0", "20191231", "221500")
    assert one.TimezoneOffsetFromUTC == "+0000"
    found, status = archive.ask(**keys, StudyDate="20191231", TimezoneOffsetFromUTC="CET")
    assert (found, status.Status) == ([], 0xC000)
    assert "TimezoneOffsetFromUTC" in status.ErrorComment or "0008,0201" in status.ErrorComment


def test_patients_by_patient_root(archive: Archive) -> None:
    """Five of them, each once, with their studies counted."""
    found, status = archive.ask(
        PatientRoot, QueryRetrieveLevel="PATIENT", PatientID="", NumberOfPatientRelatedStudies=""
    )
    assert status.Status == 0
    assert sorted(one.PatientID for one in found) == [f"P{number}" for number in range(5)]
    assert {one.NumberOfPatientRelatedStudies for one in found} == {6}


def test_a_service_that_is_off_is_not_negotiated(serve: Callable[..., object]) -> None:
    """A listener without anything to answer queries accepts no context for them."""
    house = serve()
    entity = AE()
    entity.add_requested_context(StudyRoot)
    association = entity.associate("127.0.0.1", house.port)  # type: ignore[attr-defined]
    assert not association.accepted_contexts
    association.abort()
