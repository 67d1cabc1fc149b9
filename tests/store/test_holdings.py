"""What retrievals ask the store beforehand."""

import pytest
from sqlalchemy import event

from pacsbridge.bridge.publish import Publisher
from pacsbridge.kernel.attributes import Attributes
from pacsbridge.kernel.extract import extract
from pacsbridge.kernel.publication import Publication
from pacsbridge.store.records import Arrival
from pacsbridge.store.store import Store

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT, JPEG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"
NOW = 1_800_000_000_000_000


def arrival(
    number: int, patient: str = "", sop_class: str = CT, syntax: str = EXPLICIT, **more: str
) -> Arrival:
    """The only instance of a study."""
    texts = {
        "StudyInstanceUID": f"1.2.{number}",
        "SeriesInstanceUID": f"1.3.{number}",
        "SOPInstanceUID": f"1.4.{number}",
        "SOPClassUID": sop_class,
        "PatientID": patient,
        **more,
    }
    header = Attributes({keyword: (text,) for keyword, text in texts.items() if text})
    return Arrival(extract(header), "urn:x", NOW, syntax, f"p:{number}", 1, number.to_bytes(32))


@pytest.fixture
def filled(store: Store) -> Store:
    """Four studies of three patients, one of them without a number."""
    arrivals = [
        arrival(1, "P|1"),
        arrival(2, "P|1", MR, IssuerOfPatientID="ELSE%|WHERE"),
        arrival(3, "P2", syntax=JPEG),
        arrival(4),
    ]
    store.put(arrivals, {}, NOW)
    Publisher(store, Publication(), lambda: NOW + 10**8).publish_all()
    return store


def test_the_studies_of_a_patient(filled: Store) -> None:
    """By the PatientID, whoever issued it; exactly that one."""
    assert filled.holdings.studies_of_patient("P|1") == ["1.2.1", "1.2.2"]
    assert filled.holdings.studies_of_patient("P2") == ["1.2.3"]
    assert filled.holdings.studies_of_patient("P") == []


def test_the_patient_of_a_study(filled: Store) -> None:
    """The PatientID as it stands in the header, without its issuer; None where there is none."""
    studies = [f"1.2.{number}" for number in range(1, 6)]
    assert [filled.holdings.patient_id(uid) for uid in studies] == ["P|1", "P|1", "P2", None, None]


def test_how_classes_are_encoded(filled: Store) -> None:
    """Each transfer syntax once; it stays when the same comes again, and goes with the facts."""
    filled.put([arrival(5, "P5", syntax=JPEG), arrival(6, "P5", syntax=JPEG)], {}, NOW)
    found = filled.holdings.transfer_syntaxes([CT, MR, "1.2.3"])
    assert {uid: sorted(syntaxes) for uid, syntaxes in found.items()} == {
        CT: [EXPLICIT, JPEG],
        MR: [EXPLICIT],
    }
    filled.forget_facts()
    assert filled.holdings.transfer_syntaxes([CT]) == {}


@pytest.mark.parametrize("store_url", ["sqlite"])
def test_an_index_serves_each_question(filled: Store, store_url: str) -> None:
    """No question of a retrieval looks at a whole table."""
    asked: list[tuple[str, object]] = []
    engine = filled._database.engine
    event.listen(engine, "before_cursor_execute", lambda *said: asked.append((said[2], said[3])))
    filled.holdings.studies_of_patient("P2")
    filled.holdings.patient_id("1.2.1")
    filled.holdings.transfer_syntaxes([CT])
    statements = [one for one in asked if one[0].startswith("SELECT")]
    with filled._database.read() as connection:
        for statement, values in statements:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)  # type: ignore[arg-type]
            assert not [row for row in plan.all() if row[-1].startswith("SCAN")], statement
    assert len(statements) == 3
