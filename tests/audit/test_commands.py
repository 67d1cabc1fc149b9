"""Each command that touches what is kept leaves its event, and none names a patient."""

import json
import os
import pwd
import signal
import sqlite3
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID
from r4_validation import assert_r4

from pacsbridge import opening
from pacsbridge.bridge.publish import Deleted
from pacsbridge.cli import COMMANDS, main
from pacsbridge.commands.recording import recorded
from pacsbridge.config import load
from pacsbridge.kernel.audit import Event
from pacsbridge.kernel.audit_resource import audit_event
from pacsbridge.runtime import Runtime

SECRET = "Geheimrat"
USER = pwd.getpwuid(os.getuid()).pw_name

LEAVES = {
    "import": "import",
    "sync": "sync",
    "why": "why",
    "dead-letters": "letters-retried",
    "migrate": "migrate",
    "reindex": "reindex",
    "verify": "verify",
    "backup": "backup",
}
"""Command → the kind of its event."""

OTHERS = {"serve", "demo", "viewer", "check", "health", "translate", "manual"}
"""Those that audit what they serve themselves, or neither read nor change what is kept."""


class Bench:
    """Commands on a data directory of their own, and what they leave in the audit log."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        self.data = folder / "data"
        self._file = folder / "pacsbridge.toml"
        self._file.write_text(f'data_dir = "{self.data}"\n[blobs]\nmin_free_bytes = 0\n{more}')

    def run(self, *arguments: object) -> Result:
        """Run a command."""
        return CliRunner().invoke(main, [*map(str, arguments), "--config", str(self._file)])

    def events(self) -> list[Event]:
        """What is on record."""
        log = opening.open_audit_log(load(self._file, {}))
        assert log is not None
        with closing(log):
            assert log.broken() is None
            return [record.event for record in log.following(0, 1_000)]

    def last(self, *arguments: object, code: int = 0) -> Event:
        """The event that a command leaves, whose exit code is that."""
        done = self.run(*arguments)
        assert done.exit_code == code, done.output
        return self.events()[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty data directory."""
    return Bench(tmp_path)


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """Two instances of one study, a text, an instance without UID, in a folder of the patient's name."""
    folder = tmp_path / SECRET
    folder.mkdir()
    data = dcmread(str(get_testdata_file("CT_small.dcm")))
    data.PatientName = f"{SECRET}^Gustav"
    for number in range(2):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID(f"2.999.1.{number}")
        data.save_as(folder / f"{number}.dcm")
    (folder / f"{SECRET}.txt").write_text("no DICOM")
    del data.SOPInstanceUID
    data.save_as(folder / "bad.dcm")
    return folder


@pytest.fixture
def filled(bench: Bench, patient: Path) -> Bench:
    """These have been imported."""
    assert bench.run("import", patient).exit_code == 0
    return bench


def test_every_command_is_decided() -> None:
    """A command that is new has to leave an event, or be among those that need none."""
    assert set(COMMANDS) == LEAVES.keys() | OTHERS


def test_an_import(filled: Bench, patient: Path) -> None:
    """One event for the study with its patient and instances, one for the whole; both say who it was."""
    study, whole = filled.events()
    uid = str(dcmread(patient / "0.dcm", stop_before_pixels=True).StudyInstanceUID)
    assert (study.kind, study.outcome, study.study, study.instances) == ("import", "0", uid, 2)
    assert study.patient.startswith("Patient/")
    assert study.resource == f"ImagingStudy/{uid}"
    assert (whole.kind, whole.outcome) == ("import", "4")
    assert {name: whole.details[name] for name in ("new", "known", "skipped")} == {
        "new": "2",
        "known": "0",
        "skipped": "2",
    }
    assert {one.who.user for one in (study, whole) if one.who} == {USER}
    assert filled.last("import", patient).details["known"] == "2"


def test_maintenance(filled: Bench, tmp_path: Path) -> None:
    """Verify, why, migrate, reindex and backup, each with what came of it."""
    verified = filled.last("verify")
    assert (verified.kind, verified.outcome, verified.details["findings"]) == ("verify", "0", "0")
    asked = filled.last("why", "2.999.1.1")
    assert (asked.kind, b64decode(asked.query)) == ("why", b"2.999.1.1")
    assert filled.last("why", "2.999.404", code=1).kind == "why"
    migrated = filled.last("migrate")
    assert (migrated.kind, migrated.details["migrations"]) == ("migrate", "0")
    rebuilt = filled.last("reindex")
    assert (rebuilt.kind, rebuilt.outcome, rebuilt.details["instances"]) == ("reindex", "0", "2")
    copied = filled.last("backup", tmp_path / "copy")
    assert (copied.kind, copied.outcome, copied.destination) == ("backup", "0", str(tmp_path / "copy"))
    failed = filled.last("backup", filled.data / "copy", code=2)
    assert (failed.kind, failed.outcome) == ("backup", "8")
    assert "must not stand in the data directory" in failed.reason


def test_findings_make_it_a_minor_failure(filled: Bench) -> None:
    """What `verify` finds is on record by its number."""
    next(filled.data.glob("packs/*.pack")).unlink()
    found = filled.last("verify", code=1)
    assert (found.outcome, found.details["findings"]) == ("4", "3")


def test_dead_letters(filled: Bench, patient: Path) -> None:
    """Retry and discard, with numbers; a key that is a path is not kept."""
    tried = filled.last("dead-letters", "retry", patient / "bad.dcm", code=1)
    assert (tried.kind, tried.outcome) == ("letters-retried", "4")
    assert (tried.details["left"], tried.details["key"]) == ("1", "not a UID")
    gone = filled.last("dead-letters", "discard", "all")
    assert (gone.kind, gone.outcome) == ("letters-discarded", "0")
    assert (gone.details["discarded"], gone.details["key"]) == ("1", "all")
    assert filled.last("dead-letters", "discard", "1.2.3", code=1).outcome == "4"


@pytest.fixture
def archive(tmp_path: Path, patient: Path) -> Iterator[str]:
    """Another bridge that holds the study: where its DICOMweb is."""
    (tmp_path / "there").mkdir()
    there = Bench(
        tmp_path / "there",
        '[dimse]\nport = 0\n[fhir]\nport = 0\nbase_url = "http://127.0.0.1/fhir"\n',
    )
    assert there.run("import", patient).exit_code == 0
    running = Runtime(load(there._file, {}))
    running.start()
    yield f"http://127.0.0.1:{running.http.port}/dicomweb"
    running.stop()


def test_a_sync(tmp_path: Path, archive: str, free_port: Callable[[], int]) -> None:
    """One event for each archive: whom it asked, how many studies; one that is away is a failure."""
    away = f"http://127.0.0.1:{free_port()}/dicomweb"
    text = "".join(
        f'[[source]]\nname = "{name}"\nurl = "{url}"\nallow_plain_http = true\n'
        for name, url in (("there", archive), ("away", away))
    )
    bench = Bench(tmp_path, text)
    assert bench.run("sync").exit_code == 1
    there, gone = bench.events()
    assert (there.kind, there.outcome, there.destination) == ("sync", "0", archive)
    assert (there.details["source"], there.details["listed"], there.details["changed"]) == ("there", "1", "1")
    assert (gone.outcome, gone.details["source"], bool(gone.reason)) == ("4", "away", True)


def test_no_event_names_a_patient(filled: Bench, patient: Path, tmp_path: Path) -> None:
    """Neither data nor paths nor keys bring the name into the log; each event is legal R4."""
    for arguments in (
        ("verify",),
        ("dead-letters", "retry", patient / "bad.dcm"),
        ("dead-letters", "discard", patient / "bad.dcm"),
        ("dead-letters", "discard", "all"),
        ("reindex",),
        ("backup", tmp_path / "copy"),
        ("import", patient / "nothing"),
    ):
        filled.run(*arguments)
    with closing(sqlite3.connect(filled.data / "audit.sqlite")) as log:
        kept = [bytes(content) for (content,) in log.execute("SELECT content FROM audit_event")]
    assert len(kept) == 8
    assert not any(SECRET.encode() in content for content in kept)
    assert_r4(*(audit_event(1, 1_700_000_000_000_000, one) for one in filled.events()))


def test_a_command_that_is_interrupted(filled: Bench, tmp_path: Path) -> None:
    """What it had done until then is on record, and that it did not come to its end."""
    settings = load(tmp_path / "pacsbridge.toml", {})

    def work() -> None:
        with recorded(settings, "reindex") as deed:
            deed.tell(instances=7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    ended = filled.events()[-1]
    assert (ended.outcome, ended.reason, ended.details["instances"]) == ("4", "interrupted", "7")


def test_a_command_that_is_terminated(filled: Bench, tmp_path: Path) -> None:
    """SIGTERM ends it as a shell expects, and leaves its event; afterwards the signal is what it was."""
    settings, before = load(tmp_path / "pacsbridge.toml", {}), signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with recorded(settings, "reindex"):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        work()
    assert (ended.value.code, filled.events()[-1].reason) == (143, "exit code 143")
    assert signal.getsignal(signal.SIGTERM) == before


def test_studies_that_a_command_finds_gone(filled: Bench, tmp_path: Path) -> None:
    """One that is no longer published is an event of its own, of who called the command."""
    settings = load(tmp_path / "pacsbridge.toml", {})
    with recorded(settings, "reindex") as deed:
        deed.deleted.append(Deleted("1.2.3", "ImagingStudy/1.2.3", "Patient/p1"))
    gone, whole = filled.events()[-2:]
    assert (gone.kind, gone.study, gone.patient, whole.kind) == ("deleted", "1.2.3", "Patient/p1", "reindex")
    assert gone.who is not None
    assert gone.who.user == USER


def test_the_log_in_postgresql(tmp_path: Path, patient: Path, empty_postgresql: str) -> None:
    """Beside an index on a server the log is there, too."""
    bench = Bench(tmp_path, f'[store]\nurl = "{empty_postgresql}"\n')
    assert bench.run("import", patient).exit_code == 0
    assert [one.kind for one in bench.events()] == ["import", "import"]


def test_the_log_that_cannot_be_written_is_told(filled: Bench) -> None:
    """The command does its work, ends as it would, and says in one line what is missing."""
    (filled.data / "audit.sqlite").write_bytes(b"no database" * 1_000)
    for name in ("audit.sqlite-wal", "audit.sqlite-shm"):
        (filled.data / name).unlink(missing_ok=True)
    done = filled.run("migrate")
    assert done.exit_code == 1
    told = filled.run("dead-letters", "discard", "all")
    assert told.exit_code == 0
    [line] = told.stderr.splitlines()
    assert line.startswith("pacsbridge: not in the audit log: ")
    assert SECRET not in line


def test_without_an_audit_log(tmp_path: Path, patient: Path) -> None:
    """Where it is switched off commands work, and make none."""
    bench = Bench(tmp_path, "[audit]\nenabled = false\n")
    done = bench.run("import", patient, "--json")
    assert (done.exit_code, json.loads(done.stdout)["new"]) == (0, 2)
    assert not (bench.data / "audit.sqlite").exists()
