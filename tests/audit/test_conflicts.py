"""Conflicts of instances in the audit log: who sent what, whose study it concerned, what became of it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import requests
from click.testing import CliRunner
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from pynetdicom import AE
from r4_validation import assert_r4

from pacsbridge import opening
from pacsbridge.audit.conflicts import Conflicts, Tally
from pacsbridge.cli import main
from pacsbridge.config import load
from pacsbridge.kernel.audit import Event, Who
from pacsbridge.kernel.audit_message import audit_message
from pacsbridge.kernel.audit_resource import audit_event
from pacsbridge.kernel.conflicts import Clash, Done
from pacsbridge.runtime import Runtime

A, B, STOW = "urn:dicom:ae:A", "urn:dicom:ae:B", "urn:pacsbridge:stow"
SERVERS = ("PB", "https://pacs.example/fhir")
CANARY = "Canary^Geheimrat"


def clash(done: Done = Done.KEPT, source: str = B, sender: Who | None = None, **more: Any) -> Clash:
    """One conflict."""
    study, patient = more.pop("study", "1.2.3"), more.pop("patient", {"key": "H|1"})
    return Clash(done, source, sender, study, patient, more.pop("apart", ["content"]))


def summed(*clashes: Clash) -> list[Event]:
    """The events of some conflicts."""
    tally = Tally(SERVERS, lambda facts: f"Patient/{facts['key'][-1]}" if facts else "")
    tally.add(clashes)
    found = list(tally.events())
    assert list(tally.events()) == []
    return found


def test_a_study_sent_anew_is_one_event() -> None:
    """Those that have all in common are counted; another sender, study or difference is another event."""
    who = Who("10.0.0.9", "B")
    many = [clash(sender=who) for _ in range(300)]
    others = [
        clash(sender=who, apart=["content", "patient"]),
        clash(sender=Who("10.0.0.10", "B")),
        clash(sender=who, study="1.2.4"),
        clash(Done.REPLACED, sender=who),
    ]
    assert sorted(one.instances for one in summed(*many, *others)) == [1, 1, 1, 1, 300]


@pytest.mark.parametrize(
    ("done", "outcome", "instances", "failed"),
    [
        (Done.REPLACED, "0", 1, 0),
        (Done.CHOSEN, "0", 1, 0),
        (Done.MOVED, "0", 1, 0),
        (Done.KEPT, "4", 1, 0),
        (Done.REFUSED, "8", 0, 1),
    ],
)
def test_each_is_legal_in_both_forms(done: Done, outcome: str, instances: int, failed: int) -> None:
    """DICOM Instances Accessed, an update (PS3.15 A.5.3): sender, study, its patient, and what differs."""
    [event] = summed(clash(done, sender=Who("10.0.0.9", "B"), apart=["content", "study", "patient"]))
    assert (event.outcome, event.instances, event.failed) == (outcome, instances, failed)
    resource = audit_event(5, 1_700_000_000_000_000, event)
    assert_r4(resource)
    assert (resource["type"]["code"], resource["action"]) == ("110103", "U")
    assert [one.get("altId") for one in resource["agent"]] == ["B", None]
    assert resource["agent"][0]["network"]["address"] == "10.0.0.9"
    told = {one["type"]: one["valueString"] for one in resource["entity"][-1]["detail"]}
    assert told == {"done": done.value, "differs in": "content, study, patient", "source": B}
    message = ET.fromstring(audit_message(1, event, "host"))
    codes = [one.attrib["csd-code"] for one in message.iter("ParticipantObjectIDTypeCode")]
    assert codes[:2] == ["110180", "2"]
    assert {one.attrib["UserID"] for one in message.iter("ActiveParticipant")} == {"B", "PB"}


def test_who_it_was_where_nobody_remembers() -> None:
    """After a crash the AE title is known still; of what an operator chose the source did nothing."""
    [kept] = summed(clash())
    assert (kept.who, kept.server) == (Who(title="B"), "PB")
    [chosen] = summed(clash(Done.CHOSEN))
    assert chosen.who is None
    [stow] = summed(clash(source=STOW))
    assert (stow.who, stow.server) == (None, SERVERS[1])


def test_they_are_told_a_while_later_or_at_the_end(wait_until: Callable[..., None]) -> None:
    """By a thread that ends then; what waits when all stops is told at once, and once."""
    told: list[Event] = []
    soon = Conflicts(told.append, Tally(SERVERS, lambda _facts: ""), seconds=0.2)
    for _ in range(3):
        soon.found([clash(), clash()])
    wait_until(lambda: told, 30)
    assert [one.instances for one in told] == [6]
    late = Conflicts(told.append, Tally(SERVERS, lambda _facts: ""), seconds=600)
    late.found([clash()])
    late.tell()
    late.tell()
    assert [one.instances for one in told] == [6, 1]


def test_a_flood_of_kinds_is_told_before_it_piles_up() -> None:
    """A sender that has each instance in a study of its own fills no memory."""
    told: list[Event] = []
    late = Conflicts(told.append, Tally(SERVERS, lambda _facts: ""), seconds=600)
    late.found([clash(study=f"1.2.{number}") for number in range(5_000)])
    assert len(told) == 5_000


# in a running bridge


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    """Starts bridges and stops them."""
    started: list[Runtime] = []

    def start(policy: str) -> Runtime:
        environ = {
            "DATA_DIR": str(tmp_path / "data"),
            "DIMSE__PORT": "0",
            "FHIR__PORT": "0",
            "FHIR__BASE_URL": "http://127.0.0.1/fhir",
            "FHIR__QUIET_SECONDS": "0",
            "BLOBS__MIN_FREE_BYTES": "0",
            "STORE__ON_CONFLICT": policy,
        }
        settings = load(None, {f"PACSBRIDGE__{name}": value for name, value in environ.items()})
        started.append(Runtime(settings))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.stop()


def images(patient: str, words: str) -> list[Dataset]:
    """Three instances of one study, the same each time but for the patient and a description."""
    found: list[Dataset] = []
    for number in range(3):
        one = dcmread(str(get_testdata_file("CT_small.dcm")))
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = UID(f"2.999.7.{number}")
        one.PatientName, one.PatientID, one.SeriesDescription = CANARY, patient, words
        found.append(one)
    return found


def send(running: Runtime, title: str, data: Sequence[Dataset]) -> list[int]:
    """Push instances on one association."""
    entity = AE(title)
    entity.add_requested_context(data[0].SOPClassUID, data[0].file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", running.dimse.port)
    assert association.is_established
    answers = [association.send_c_store(one) for one in data]
    association.release()
    return [answer.Status for answer in answers]


def conflicts(running: Runtime) -> list[Event]:
    """The events of conflicts that are on record."""
    assert running.audit is not None
    found = (record.event for record in running.audit.log.following(0, 1_000))
    return [one for one in found if one.kind == "conflict"]


@pytest.mark.parametrize(
    ("policy", "title", "status", "done"),
    [
        ("replace", "B", 0, Done.KEPT),
        ("replace", "A", 0, Done.REPLACED),
        ("refuse", "A", 0xC004, Done.REFUSED),
    ],
)
def test_a_study_pushed_under_another_patient(
    run: Callable[..., Runtime],
    wait_until: Callable[..., None],
    policy: str,
    title: str,
    status: int,
    done: Done,
) -> None:
    """By C-STORE: who sent it, from where, whose study it was; nothing of the patient but the reference."""
    running = run(policy)
    assert send(running, "A", images("GOOD", "first")) == [0, 0, 0]
    assert running.intake.indexer.drain(30)
    assert send(running, title, images("EVIL", "other")) == [status] * 3
    tell(running)
    wait_until(lambda: sum(one.instances + one.failed for one in came_to(running, done)) == 3, 30)
    assert {one.who for one in came_to(running, done)} == {Who("127.0.0.1", title)}
    event = next(one for one in came_to(running, done) if one.details["differs in"] == "content, patient")
    assert event.patient == of_study(running).patient != ""
    assert [one.patient for one in came_to(running, Done.MOVED)] == (
        [event.patient] if done is Done.REPLACED else []
    )
    assert CANARY not in str([one.as_dict() for one in conflicts(running)])
    assert_r4(*(audit_event(1, 1, one) for one in conflicts(running)))


def tell(running: Runtime) -> None:
    """Let the bridge tell now what it has found in all that came."""
    assert running.intake.indexer.drain(30)
    assert running.audit is not None
    running.audit.conflicts.tell()


def came_to(running: Runtime, done: Done) -> list[Event]:
    """Those of one end."""
    return [one for one in conflicts(running) if one.details["done"] == done.value]


def of_study(running: Runtime) -> Event:
    """The event of the first association that stored."""
    assert running.audit is not None
    return next(one.event for one in running.audit.log.following(0, 1_000) if one.event.kind == "store")


def test_over_http(run: Callable[..., Runtime], wait_until: Callable[..., None], tmp_path: Path) -> None:
    """By STOW-RS: from where, and that the source is another one than the application that pushed."""
    running = run("replace")
    assert send(running, "A", images("GOOD", "first")) == [0, 0, 0]
    file = tmp_path / "other.dcm"
    images("GOOD", "other")[0].save_as(file, enforce_file_format=True)
    part = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file.read_bytes() + b"\r\n--b--\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    url = f"http://127.0.0.1:{running.http.port}/dicomweb/studies"
    assert requests.post(url, data=part, headers=kind, timeout=30).status_code == 200
    tell(running)
    wait_until(lambda: conflicts(running), 30)
    [event] = conflicts(running)
    assert (event.who, event.details["done"]) == (Who("127.0.0.1"), Done.KEPT.value)
    assert (event.server, event.details["source"]) == ("http://127.0.0.1/fhir", STOW)


# by commands


def test_an_import_and_what_is_chosen_then(tmp_path: Path) -> None:
    """The operator is told what was put aside, and on record for it; it is taken by its own key alone."""
    file, folder = tmp_path / "pacsbridge.toml", tmp_path / "in"
    settings = f'data_dir = "{tmp_path / "data"}"\n[blobs]\nmin_free_bytes = 0\n'
    file.write_text(f'{settings}[store]\non_conflict = "keep-first"\n')
    folder.mkdir()

    def command(*arguments: object) -> Any:
        return CliRunner().invoke(main, [*map(str, arguments), "--config", str(file)])

    for words in ("first", "other"):
        for number, one in enumerate(images("GOOD", words)):
            one.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        done = command("import", folder)
        assert done.exit_code == 0, done.output
        assert ("3 put aside" in done.output) == (words == "other")
    log = opening.open_audit_log(load(file, {}))
    assert log is not None
    [event] = [one.event for one in log.following(0, 100) if one.event.kind == "conflict"]
    log.close()
    assert (event.who and event.who.client, event.instances, event.outcome) == ("pacsbridge", 3, "4")
    everything = command("dead-letters", "retry", "all")
    assert (everything.exit_code, everything.output.count("by its own key")) == (1, 3)
    chosen = command("dead-letters", "retry", "2.999.7.1")
    assert (chosen.exit_code, "1 tried again" in chosen.output) == (0, True), chosen.output
    store = opening.open_store(load(file, {}))
    assert sorted(one.key for one in store.dead_letters()) == ["2.999.7.0", "2.999.7.2"]
    store.close()
    assert command("verify").exit_code == 0
