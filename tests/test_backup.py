"""`backup` and `verify` as commands, on a data directory that nobody serves."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from pacsbridge.blobs.packs import Packs
from pacsbridge.bridge.importing import IN_MEMORY
from pacsbridge.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command on the data directory `tmp_path/data`, or on another."""

    def run_(*arguments: str, data_dir: Path | None = None) -> Result:
        file = tmp_path / "pacsbridge.toml"
        file.write_text(f'data_dir = "{data_dir or tmp_path / "data"}"\n[blobs]\nmin_free_bytes = 0\n')
        return CliRunner().invoke(main, [*arguments, "--config", str(file)])

    return run_


@pytest.fixture
def filled(run: Run) -> Run:
    """One instance is stored."""
    take(run, "CT_small.dcm")
    return run


def take(run: Run, name: str) -> None:
    """Store a file of pydicom's."""
    path = get_testdata_file(name)
    assert isinstance(path, str)
    assert run("import", path).exit_code == 0


def test_a_copy_is_a_data_directory(filled: Run, tmp_path: Path) -> None:
    """What is restored verifies clean and knows its instance; its files are private."""
    folder = tmp_path / "copy"
    assert filled("backup", str(folder)).output == "1 files copied (0 MiB), 0 were there already\n"
    told = json.loads(filled("verify", "--json", data_dir=folder).output)
    assert told["findings"] == []
    assert (told["checked"]["records"], told["checked"]["studies"]) == (1, 1)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


def test_a_copy_that_breaks_off_leaves_the_one_before(filled: Run, tmp_path: Path) -> None:
    """Where a pack cannot be written the command fails; the copy is as it was, and verifies clean."""
    folder = tmp_path / "copy"
    assert filled("backup", str(folder)).exit_code == 0
    index = (folder / "index.sqlite").read_bytes()
    take(filled, "MR_small.dcm")
    (folder / "packs" / "00000002.pack.new").mkdir()
    done = filled("backup", str(folder))
    assert done.exit_code == 1
    assert "cannot bring the copy of packs/00000002.pack level" in done.output
    assert (folder / "index.sqlite").read_bytes() == index
    assert filled("verify", data_dir=folder).exit_code == 0
    (folder / "packs" / "00000002.pack.new").rmdir()
    assert filled("backup", str(folder)).exit_code == 0
    assert "instances: 2" in filled("verify", data_dir=folder).output


def test_generations_by_links(filled: Run, tmp_path: Path) -> None:
    """A copy whose files are linked elsewhere stays there as it was: files are replaced, not written into."""
    folder, kept = tmp_path / "copy", tmp_path / "kept"
    assert filled("backup", str(folder)).exit_code == 0
    shutil.copytree(folder, kept, copy_function=os.link)
    before = {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()}
    take(filled, "MR_small.dcm")
    assert filled("backup", str(folder)).exit_code == 0
    assert {path: path.read_bytes() for path in kept.rglob("*") if path.is_file()} == before
    shutil.copytree(kept, tmp_path / "restored")
    assert "instances: 1\n" in filled("verify", data_dir=tmp_path / "restored").output
    assert "instances: 2\n" in filled("verify", data_dir=folder).output


def test_folders_that_cannot_be_the_copy(filled: Run, tmp_path: Path) -> None:
    """One inside the data directory, the directory itself, one round it, the copy of another: exit code 2."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "id.key").write_text("of somebody else")
    for folder in (tmp_path / "data" / "copy", tmp_path / "data", tmp_path, other):
        assert filled("backup", str(folder)).exit_code == 2, folder
    assert not (tmp_path / "data" / "copy").exists()


def test_a_copy_that_is_in_use_is_not_overwritten(filled: Run, tmp_path: Path) -> None:
    """A bridge that runs on the copy keeps its files."""
    from pacsbridge import datadir

    with datadir.held(tmp_path / "copy"):
        done = filled("backup", str(tmp_path / "copy"))
    assert (done.exit_code, "in use" in done.output) == (1, True)


def test_the_leavings_of_another_database_are_removed(filled: Run, tmp_path: Path) -> None:
    """A write-ahead log beside the copy, of when it was tried out, does not spoil the next copy."""
    folder = tmp_path / "copy"
    assert filled("backup", str(folder)).exit_code == 0
    (folder / "index.sqlite-wal").write_bytes(b"of another database")
    assert filled("backup", str(folder)).exit_code == 0
    assert not (folder / "index.sqlite-wal").exists()


def spoil(file: Path) -> None:
    """Damage a database where SQLite alone does not look: pages behind the first."""
    with file.open("r+b") as open_:
        open_.seek(4096)
        open_.write(b"\xff" * (file.stat().st_size - 4096))


def spoil_table(file: Path) -> None:
    """Damage the table of instances alone."""
    with closing(sqlite3.connect(file)) as index:
        [(page,)] = index.execute("SELECT rootpage FROM sqlite_master WHERE name = 'instance'").fetchall()
    with file.open("r+b") as open_:
        open_.seek((page - 1) * 4096)
        open_.write(b"\xff" * 64)


def make_folder(file: Path) -> None:
    """Have something at the place of a database that cannot be opened."""
    anew(file)
    file.mkdir()


def anew(file: Path) -> None:
    """Remove a database, so that the next command begins a new one."""
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def forge(file: Path) -> None:
    """Change what an audit log has recorded."""
    with closing(sqlite3.connect(file)) as log:
        log.execute("DROP TRIGGER audit_event_fixed")
        log.execute("UPDATE audit_event SET at = at + 1 WHERE seq = 1")
        log.commit()


def forget(file: Path) -> None:
    """Take versions from an index that were published."""
    with closing(sqlite3.connect(file)) as index:
        index.execute("DELETE FROM resource WHERE type = 'ImagingStudy'")
        index.commit()


LOST_DATABASES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "index without a header": ("index.sqlite", lambda file: file.write_bytes(b"no database" * 99), "damaged"),
    "index with damaged pages": ("index.sqlite", spoil, "damaged"),
    "index with a damaged table": ("index.sqlite", spoil_table, "damaged"),
    "index that is none": ("index.sqlite", make_folder, "unread"),
    "index emptied": ("index.sqlite", lambda file: file.write_bytes(b""), "damaged"),
    "index gone": ("index.sqlite", anew, "gone"),
    "index gone back": ("index.sqlite", forget, "behind"),
    "log with damaged pages": ("audit.sqlite", spoil, "damaged"),
    "log emptied": ("audit.sqlite", lambda file: file.write_bytes(b""), "damaged"),
    "log gone": ("audit.sqlite", anew, "gone"),
    "log forged": ("audit.sqlite", forge, "damaged"),
}


@pytest.mark.parametrize("case", LOST_DATABASES)
def test_a_damaged_database_does_not_spoil_its_copy(case: str, filled: Run, tmp_path: Path) -> None:
    """The copy before stays; the loss is told in one line; the instances are copied all the same."""
    name, damage, kind = LOST_DATABASES[case]
    folder = tmp_path / "copy"
    assert filled("backup", str(folder)).exit_code == 0
    before = (folder / name).read_bytes()
    take(filled, "MR_small.dcm")
    damage(tmp_path / "data" / name)
    done = filled("backup", str(folder))
    assert done.exit_code == 1
    lines = done.output.splitlines()
    told = [line.split("  ")[:2] for line in lines if not line.startswith("pacsbridge: not in the audit log")]
    assert told[:-2] == [[kind, name]]
    assert ("it is empty" in done.output) == ("emptied" in case)
    assert lines[-2:] == ["1 files copied (0 MiB), 1 were there already", "1 findings"]
    assert (folder / name).read_bytes() == before
    assert not list(folder.glob("*.new"))
    restored = shutil.copytree(folder, tmp_path / "restored")
    assert "waiting: 1\n" in filled("verify", data_dir=restored).output or name == "audit.sqlite"
    path = get_testdata_file("MR_small.dcm")
    assert filled("import", str(path), data_dir=restored).exit_code == 0
    told = json.loads(filled("verify", "--json", data_dir=restored).output)
    assert (told["findings"], told["checked"]["instances"]) == ([], 2)


@pytest.mark.parametrize("name", ["index.sqlite", "audit.sqlite"])
def test_a_database_that_began_anew(name: str, filled: Run, tmp_path: Path) -> None:
    """It does not take the place of the copy with the history: it is put beside, until that is moved away."""
    folder = tmp_path / "copy"
    assert filled("backup", str(folder)).exit_code == 0
    anew(tmp_path / "data" / name)
    if name == "index.sqlite":
        with closing(sqlite3.connect(folder / name)) as index:
            index.execute("UPDATE resource SET version = 7 WHERE type = 'ImagingStudy'")
            index.commit()
        level = json.loads((folder / "level.json").read_text())
        level[name][2] += 6
        (folder / "level.json").write_text(json.dumps(level))
        assert filled("reindex").exit_code == 0
    before = (folder / name).read_bytes()
    outputs = [filled("backup", str(folder)).output.splitlines() for _ in range(3)]
    kinds = [{line.split("  ")[0] for line in lines if name in line} for lines in outputs]
    assert kinds[1:] == [{"behind"}, {"behind"}]
    assert (folder / name).read_bytes() == before
    (folder / name).rename(tmp_path / name)
    assert filled("backup", str(folder)).exit_code == 0
    assert filled("backup", str(folder)).exit_code == 0


def test_a_log_that_was_cut_off(filled: Run, tmp_path: Path) -> None:
    """A log from before, put back in place of the later one, is told; one that retention shortens is not."""
    folder, log = tmp_path / "copy", tmp_path / "data" / "audit.sqlite"
    earlier = log.read_bytes()
    assert filled("verify").exit_code == 0
    assert filled("backup", str(folder)).exit_code == 0
    later = log.read_bytes()
    log.write_bytes(earlier)
    assert "behind  audit.sqlite  " in filled("backup", str(folder)).output
    log.write_bytes(later)
    with closing(sqlite3.connect(log)) as open_:
        [(number, digest)] = open_.execute("SELECT seq, hash FROM audit_event WHERE seq = 2").fetchall()
        open_.execute("UPDATE audit_anchor SET through = ?, hash = ?", (number, digest))
        open_.execute("DELETE FROM audit_event WHERE seq <= 2")
        open_.commit()
    assert filled("backup", str(folder)).exit_code == 0


def test_a_copy_that_was_tried_out(filled: Run, tmp_path: Path) -> None:
    """What commands write into a copy is no loss of the source, and goes with the next backup."""
    folder = tmp_path / "copy"
    for _ in range(2):
        assert filled("backup", str(folder)).exit_code == 0
        assert filled("verify", data_dir=folder).exit_code == 0
        assert filled("reindex", data_dir=folder).exit_code == 0
    (folder / "level.json").write_text("[]")
    assert filled("backup", str(folder)).exit_code == 0


def test_a_disk_that_has_become_read_only(filled: Run, tmp_path: Path) -> None:
    """What a kernel does to a disk that fails is no reason not to copy what is on it."""
    folder, data = tmp_path / "copy", tmp_path / "data"
    assert filled("verify").exit_code == 0
    script = f"mount --bind {data} {data} && mount -o remount,ro,bind {data} && touch {data}/lock"
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    tried = shutil.which("unshare") and subprocess.run([*alone, script], capture_output=True, check=False)
    if not tried or b"Read-only file system" not in tried.stderr:
        pytest.skip("no file system can be made read-only: run as root, or allow user namespaces")
    command = f"{sys.executable} -m pacsbridge backup {folder} --config {tmp_path / 'pacsbridge.toml'}"
    script = script.replace("&& touch", "; touch") + f" 2>/dev/null; {command}"
    done = subprocess.run([*alone, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1 files copied (0 MiB), 0 were there already\n"), (
        done.stderr
    )
    told = json.loads(filled("verify", "--json", data_dir=folder).output)
    assert (told["findings"], told["checked"]["instances"]) == ([], 1)


def test_the_secret_of_ids_is_gone(filled: Run, tmp_path: Path) -> None:
    """Whose copy it is cannot be told: nothing is done, and the way out is said, and works."""
    folder, key = tmp_path / "copy", tmp_path / "data" / "id.key"
    assert filled("backup", str(folder)).exit_code == 0
    for damage in (b"", b"\xff\xfe\x00other"):
        key.write_bytes(damage)
        done = filled("backup", str(folder))
        assert (done.exit_code, "id.key" in done.output, done.output.count("\n")) == (2, True, 1)
    key.write_bytes((folder / "id.key").read_bytes())
    assert filled("backup", str(folder)).exit_code == 0


def test_commands_without_a_store(run: Run, tmp_path: Path) -> None:
    """They say so and make none; an unknown option is a usage error."""
    for arguments in (("verify",), ("backup", str(tmp_path / "copy"))):
        done = run(*arguments)
        assert (done.exit_code, "no store" in done.output) == (1, True)
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "copy").exists()
    assert run("verify", "--fast").exit_code == 2
    assert run("backup").exit_code == 2


def test_findings_are_lines_and_json(filled: Run, tmp_path: Path) -> None:
    """A flipped bit is a line with the UID, the same in JSON, and exit code 1."""
    pack = tmp_path / "data" / "packs" / "00000001.pack"
    data = bytearray(pack.read_bytes())
    data[-9] ^= 1
    pack.write_bytes(data)
    done = filled("verify")
    assert done.exit_code == 1
    assert done.output.startswith(
        "damaged  1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322  pack:00000001:44:"
    )
    assert done.output.endswith("\nrestore from a backup, or have sent again: damaged\n1 findings\n")
    [finding] = json.loads(filled("verify", "--json").output)["findings"]
    assert (finding["kind"], finding["uid"][:3]) == ("damaged", "1.3")


@pytest.fixture
def large(run: Run, tmp_path: Path) -> Path:
    """Two instances that are files of their own, and one that is not, are stored and copied: the objects."""
    for number in range(2):
        data = dcmread(str(get_testdata_file("CT_small.dcm")))
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID(f"2.999.7.{number}")
        data.PixelData = bytes(IN_MEMORY + number * 2)
        data.save_as(tmp_path / f"{number}.dcm")
        assert run("import", str(tmp_path / f"{number}.dcm")).exit_code == 0
    take(run, "MR_small.dcm")
    assert "5 files copied" in run("backup", str(tmp_path / "copy")).output
    return tmp_path / "data" / "objects"


def erase(data: Path, uid: str) -> None:
    """Erase an instance from the packs, as the store does."""
    with closing(sqlite3.connect(data / "index.sqlite")) as index:
        [(place,)] = index.execute("SELECT location FROM instance WHERE uid = ?", (uid,)).fetchall()
    packs = Packs(data, min_free_bytes=0)
    packs.discard(place)
    packs.close()


def copied(folder: Path) -> set[str]:
    """The objects of a data directory."""
    return {path.name for path in (folder / "objects").glob("??/*")}


def test_what_was_erased_leaves_the_copy_when_asked_to(large: Path, run: Run, tmp_path: Path) -> None:
    """Without --prune it stays; with it, it goes, and what is restored verifies as the original does."""
    folder = tmp_path / "copy"
    both = copied(folder)
    erase(tmp_path / "data", "2.999.7.0")
    assert len(both) == 2
    assert "removed" not in run("backup", str(folder)).output
    assert copied(folder) == both
    assert run("backup", str(folder), "--prune").output.endswith("were there already, 1 removed\n")
    assert copied(folder) == {path.name for path in large.glob("??/*")}
    assert run("backup", str(folder), "--prune").output.endswith("0 removed\n")
    said = [json.loads(run("verify", "--json", data_dir=one).output) for one in (tmp_path / "data", folder)]
    assert [[one["kind"] for one in each["findings"]] for each in said] == [["erased"], ["erased"]]


def test_what_was_lost_does_not_leave_the_copy(large: Path, run: Run, tmp_path: Path) -> None:
    """A large instance that is gone by itself is still needed: the copy is what it can be restored from."""
    folder = tmp_path / "copy"
    both = copied(folder)
    for path in large.glob("??/*"):
        path.unlink()
    done = run("backup", str(folder), "--prune")
    assert done.exit_code == 1
    assert [line.split("  ")[0] for line in done.output.splitlines()[:2]] == ["gone", "gone"]
    assert done.output.endswith(", 0 removed\n2 findings: nothing was removed\n")
    assert copied(folder) == both
    assert run("verify", data_dir=folder).exit_code == 0


@pytest.mark.parametrize("loss", ["pack", "bits"])
def test_nothing_is_removed_when_that_cannot_be_told(
    loss: str, large: Path, run: Run, tmp_path: Path
) -> None:
    """Where a pack is gone, or its records cannot be read, the copy keeps everything and says why."""
    folder = tmp_path / "copy"
    both = copied(folder)
    erase(tmp_path / "data", "2.999.7.0")
    packs = sorted((tmp_path / "data" / "packs").glob("*.pack"))
    if loss == "pack":
        packs[0].unlink()
    else:
        data = bytearray(packs[1].read_bytes())
        data[-5] ^= 1
        packs[1].write_bytes(data)
    done = run("backup", str(folder), "--prune")
    assert done.exit_code == 1
    assert "nothing was removed" in done.output
    assert copied(folder) == both


def test_what_reindex_mends(filled: Run, tmp_path: Path) -> None:
    """Rows that searches and queries are answered from are findings; the way out is told, and works."""
    with closing(sqlite3.connect(tmp_path / "data" / "index.sqlite")) as index:
        index.execute("DELETE FROM search_token WHERE param = 'ImagingStudy.modality'")
        index.execute("UPDATE study_key SET accession = 'other'")
        index.commit()
    done = filled("verify")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[-2:] == ["`pacsbridge reindex` makes anew: listing, search", "2 findings"]
    assert {line.split()[0] for line in lines if "1.3.6.1.4.1.5962" in line} == {"listing", "search"}
    assert filled("reindex").exit_code == 0
    assert filled("verify").output.endswith("\nno findings\n")
