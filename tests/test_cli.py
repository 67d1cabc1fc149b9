"""Each command on good and bad input: exit codes 0, 1 and 2, errors of one line, JSON for programs."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import requests
from click.testing import CliRunner, Result

from pacsbridge import datadir
from pacsbridge.cli import COMMANDS, main
from pacsbridge.dicom.reader import read_header
from pacsbridge.dimse.push import push
from pacsbridge.errors import PacsbridgeError
from pacsbridge.samples import write_samples
from pacsbridge.store import findings


def r4() -> ModuleType:
    """The R4 rules of the tests."""
    spec = importlib.util.spec_from_file_location("r4_validation", Path(__file__).parent / "r4_validation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder and an environment without a configuration."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("PACSBRIDGE")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample studies as files."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture
def config(tmp_path: Path, free_port: Callable[[], int]) -> Path:
    """A configuration with a data directory and ports of its own."""
    path = tmp_path / "pacsbridge.toml"
    dimse = free_port()
    fhir = next(port for port in iter(free_port, 0) if port != dimse)
    path.write_text(
        f'data_dir = "{tmp_path}/data"\n[dimse]\nport = {dimse}\n[fhir]\nport = {fhir}\n'
        "quiet_seconds = 0.2\n[blobs]\nmin_free_bytes = 0\n"
    )
    return path


@pytest.fixture
def run(config: Path) -> Callable[..., Result]:
    """Runs a command under that configuration."""

    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(main, [*map(str, arguments), "--config", str(config)])

    return invoke


def one_line(result: Result, code: int) -> str:
    """The only line on standard error of a command that failed; AssertionError otherwise."""
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("pacsbridge:")]
    assert "Traceback" not in result.output
    return line


def documents(run: Callable[..., Result], config: Path) -> dict[str, bytes]:
    """Every published document of the data directory, versions included."""
    import sqlite3

    with sqlite3.connect(config.parent / "data" / "index.sqlite") as connection:
        rows = connection.execute(
            "SELECT r.type, r.id, v.version, v.body FROM resource r JOIN version v ON v.resource = r.pk"
        )
        return {f"{type_}/{id_}/{version}": body for type_, id_, version, body in rows}


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    """Each command says what it does."""
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_version_and_unknown_command() -> None:
    """`--version` is 0, a command that is none is a fault of usage."""
    assert CliRunner().invoke(main, ["--version"]).exit_code == 0
    assert CliRunner().invoke(main, ["transplant"]).exit_code == 2


def test_translate(run: Callable[..., Result], samples: Path) -> None:
    """One Bundle of legal R4 resources, every reference inside it; nothing is stored."""
    result = run("translate", samples)
    assert result.exit_code == 0
    bundle = json.loads(result.stdout)
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    resources = [entry["resource"] for entry in bundle["entry"]]
    r4().assert_r4(*resources)
    assert {"ImagingStudy", "Patient", "Endpoint"} <= {one["resourceType"] for one in resources}
    names = {f"{one['resourceType']}/{one['id']}" for one in resources}
    studies = [one for one in resources if one["resourceType"] == "ImagingStudy"]
    for study in studies:
        assert study["subject"].get("reference", next(iter(names))) in names
    assert not Path("data").exists()


def test_translate_tells_what_it_skipped(run: Callable[..., Result], samples: Path, tmp_path: Path) -> None:
    """Junk beside DICOM is named on standard error; the Bundle on standard output stays clean."""
    junk = tmp_path / "notes.txt"
    junk.write_text("not DICOM")
    result = run("translate", junk, samples / "bundled")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["entry"]
    assert f"skipped {junk}: " in result.stderr
    assert "no DICOM instance" in one_line(run("translate", junk), 1)


@pytest.mark.parametrize("command", ["translate", "import"])
def test_path_that_is_not_there(run: Callable[..., Result], command: str) -> None:
    """A fault of usage."""
    result = run(command, "/nowhere/at/all")
    assert result.exit_code == 2
    assert "/nowhere/at/all" in result.output


def test_import_twice(run: Callable[..., Result], samples: Path, config: Path) -> None:
    """The second import takes nothing new: no byte more in the packs, no new version."""
    first = run("import", samples, "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["skipped"] == []
    assert json.loads(first.stdout)["taken"] == len([p for p in samples.rglob("*") if p.is_file()])
    packs = config.parent / "data" / "packs"
    before, published = sum(p.stat().st_size for p in packs.iterdir()), documents(run, config)
    assert any(name.startswith("ImagingStudy/") for name in published)
    again = run("import", samples)
    assert again.exit_code == 0
    assert f"0 new, {json.loads(first.stdout)['new']} known already, 0 skipped" in again.stdout
    assert sum(p.stat().st_size for p in packs.iterdir()) == before
    assert documents(run, config) == published


def test_import_with_junk(run: Callable[..., Result], samples: Path, tmp_path: Path) -> None:
    """Junk in a folder is skipped with a reason each; what is DICOM is taken; nothing but junk fails."""
    folder = tmp_path / "cd"
    folder.mkdir()
    image = (samples / "bundled" / "CT_small.dcm").read_bytes()
    (folder / "image").write_bytes(image)
    (folder / "empty").touch()
    (folder / "readme.txt").write_text("hello")
    (folder / "cut.dcm").write_bytes(image[:400])
    result = run("import", folder, "--json")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["taken"] == 1
    assert {Path(row["path"]).name for row in told["skipped"]} == {"empty", "readme.txt", "cut.dcm"}
    assert all(row["reason"] for row in told["skipped"])
    (folder / "image").unlink()
    assert run("import", folder).exit_code == 1


def test_import_that_breaks_off(run: Callable[..., Result], samples: Path, config: Path) -> None:
    """When nothing more can be kept, what was done until then is told."""
    config.write_text(config.read_text().replace("min_free_bytes = 0", f"min_free_bytes = {1 << 50}"))
    result = run("import", samples)
    assert "disk full" in one_line(result, 1)
    assert "0 new, 0 known already, 0 skipped" in result.stdout


@pytest.mark.parametrize("command", ["translate", "import"])
def test_pipe(run: Callable[..., Result], tmp_path: Path, command: str) -> None:
    """A pipe is skipped, not waited for."""
    os.mkfifo(tmp_path / "pipe")
    result = run(command, tmp_path / "pipe")
    assert result.exit_code == 1
    assert f"skipped {tmp_path}/pipe: not a regular file" in result.output


@pytest.mark.parametrize("named", ["", "DICOMDIR"])
def test_import_of_a_medium(run: Callable[..., Result], samples: Path, tmp_path: Path, named: str) -> None:
    """A folder with a DICOMDIR, or the DICOMDIR itself: the instances, and no complaint."""
    from pydicom.fileset import FileSet

    medium = FileSet()
    for path in sorted((samples / "ct-head").iterdir())[:3]:
        medium.add(path)
    medium.write(tmp_path / "cd")
    result = run("import", tmp_path / "cd" / named, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"new": 3, "known": 0, "taken": 3, "skipped": []}


def test_check(run: Callable[..., Result]) -> None:
    """All well: 0, as text and as JSON."""
    result = run("check")
    assert result.exit_code == 0
    assert "ok     store" in result.stdout
    told = json.loads(run("check", "--json").stdout)
    assert all(finding["ok"] for finding in told["checks"])


@pytest.mark.parametrize(("free", "low"), [(0, False), (1 << 50, True)])
def test_check_of_a_disk_that_fills_up(
    run: Callable[..., Result], config: Path, free: int, low: bool
) -> None:
    """Beyond the watermark it works and warns: scanners are being turned away."""
    with config.open("a") as file:
        file.write(f"reject_free_bytes = {free}\n")
    result = run("check")
    assert result.exit_code == 0
    assert ("ok     blobs: WARNING" in result.stdout) == low


@pytest.mark.parametrize("url", ["", '[store]\nurl = "postgresql://127.0.0.1:1/x"\n'])
def test_check_leaves_no_trace(run: Callable[..., Result], config: Path, url: str) -> None:
    """What `serve` would make is not made."""
    with config.open("a") as file:
        file.write(url)
    assert run("check").exit_code == bool(url)
    assert not (config.parent / "data").exists()


@pytest.mark.parametrize("which", ["dimse", "fhir"])
def test_check_of_a_port_in_use(run: Callable[..., Result], config: Path, which: str) -> None:
    """What `serve` could not listen on is a finding."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports(config)[which]))
        taken.listen()
        result = run("check")
    assert result.exit_code == 1
    assert f"FAILED {which}: {which}.port: cannot listen" in result.stdout
    assert "in use" in result.stdout


@pytest.mark.parametrize("taken", ["data", "data/lock/x"])
def test_check_of_a_data_dir_that_serve_refuses(
    run: Callable[..., Result], tmp_path: Path, taken: str
) -> None:
    """A file where the directory should be, or a name in it that cannot be written."""
    (tmp_path / taken).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / taken).touch()
    result = run("check")
    assert result.exit_code == 1
    assert "FAILED data_dir: data_dir: cannot write to" in result.stdout


def test_check_of_a_peer_that_is_away(
    run: Callable[..., Result], config: Path, free_port: Callable[[], int]
) -> None:
    """Exit 1, the peer is named, the rest is tried all the same."""
    port = free_port()
    with config.open("a") as file:
        file.write(f'[[peer]]\nae_title = "GONE"\nhost = "127.0.0.1"\nport = {port}\n')
    result = run("check", "--json")
    assert result.exit_code == 1
    found = {finding["name"]: finding for finding in json.loads(result.stdout)["checks"]}
    assert (found["store"]["ok"], found["peer GONE"]["ok"]) == (True, False)
    assert str(port) in found["peer GONE"]["text"]


def test_check_masks_secrets(run: Callable[..., Result], config: Path, free_port: Callable[[], int]) -> None:
    """A password in the database's address is shown nowhere, the database that is away is a finding."""
    with config.open("a") as file:
        file.write(f'[store]\nurl = "postgresql://me:geheim77@127.0.0.1:{free_port()}/x"\n')
    result = run("check")
    assert result.exit_code == 1
    assert "FAILED store" in result.stdout
    assert "geheim77" not in result.output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[fhir]\nprot = 1\n", "port"),
        ("[dimse]\nae_title = 7\n", "ae_title"),
        ("[fhir\n", "toml"),
        ('[store]\nurl = "mysql://x"\n', "store.url"),
    ],
)
def test_configuration_at_fault(tmp_path: Path, text: str, expected: str) -> None:
    """Exit 2, one line that names the key, or the nearest one."""
    path = tmp_path / "bad.toml"
    path.write_text(text)
    result = CliRunner().invoke(main, ["check", "--config", str(path)])
    if expected == "store.url" and result.exit_code == 1:
        assert "FAILED store: store.url" in result.stdout
    else:
        assert expected in one_line(result, 2).lower()


def test_configuration_that_is_not_there(tmp_path: Path) -> None:
    """Exit 2."""
    result = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "none.toml")])
    assert "none.toml" in one_line(result, 2)


def test_migrate(run: Callable[..., Result]) -> None:
    """The first time brings the schema, the second finds it up to date."""
    assert "migrations run" in run("migrate").stdout
    assert "up to date" in run("migrate").stdout


def test_reindex_changes_nothing(run: Callable[..., Result], samples: Path, config: Path) -> None:
    """The rebuilt index gives the same documents under the same versions."""
    assert run("import", samples).exit_code == 0
    before = documents(run, config)
    result = run("reindex")
    assert result.exit_code == 0, result.output
    assert f"{len([p for p in samples.rglob('*') if p.is_file()])} instances indexed" in result.stdout
    assert documents(run, config) == before


def test_reindex_beside_another_process(run: Callable[..., Result], samples: Path, config: Path) -> None:
    """Refused while the data directory is in use; an import beside it is not; and none while it reindexes."""
    data = config.parent / "data"
    with datadir.held(data):
        assert "in use" in one_line(run("reindex"), 1)
        assert run("import", samples / "bundled").exit_code == 0
    with datadir.held(data, alone=True):
        assert "reindexed" in one_line(run("import", samples), 1)
        assert "reindexed" in one_line(run("serve"), 1)
    assert run("reindex").exit_code == 0


def test_why(run: Callable[..., Result], samples: Path) -> None:
    """A UID that is known: what is held, as text and JSON; an unknown one exits 1."""
    run("import", samples / "bundled" / "CT_small.dcm")
    study = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
    assert study in run("why", study).stdout
    told = json.loads(run("why", study, "--json").stdout)
    assert len(told["instances"]) == told["counts"]["instances"] == 1
    assert "nothing is known" in one_line(run("why", "2.999.404"), 1)


@pytest.mark.parametrize(
    "command", [("why", "1.2"), ("dead-letters", "list"), ("dead-letters", "show", "1.2")]
)
def test_asking_where_there_is_no_store(run: Callable[..., Result], config: Path, command: list[str]) -> None:
    """Says so, and makes none."""
    data = config.parent / "data"
    assert one_line(run(*command), 1) == f"pacsbridge: no store at {data}/index.sqlite"
    assert not data.exists()


def test_why_says_what_it_leaves_out(
    run: Callable[..., Result], samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is more than is shown, the number of the rest stands at the end of its kind."""
    files = sorted((samples / "ct-head").iterdir())[:3]
    run("import", *files)
    monkeypatch.setattr(findings, "_MOST", 2)
    study = read_header(files[0].read_bytes()).attributes.text("StudyInstanceUID")
    lines = run("why", study).stdout.splitlines()
    assert lines.count("instance") == 2
    assert "… and 1 more instances" in lines


def test_damaged_database(run: Callable[..., Result], samples: Path, config: Path) -> None:
    """The file is named, and so is the way out, which works."""
    run("import", samples / "bundled")
    index = config.parent / "data" / "index.sqlite"
    index.write_bytes(b"no database" * 1000)
    for name in ("index.sqlite-wal", "index.sqlite-shm"):
        index.with_name(name).unlink(missing_ok=True)
    for command in (("why", "1.2"), ("import", samples), ("reindex",)):
        line = one_line(run(*command), 1)
        assert f"{index} is damaged" in line
        assert "pacsbridge reindex" in line
    index.rename(index.with_name("away"))
    assert run("reindex").exit_code == 0


def test_reindex_over_a_damaged_pack(run: Callable[..., Result], samples: Path, config: Path) -> None:
    """The rest is indexed; how much is damaged is told, and is no success."""
    files = sorted((samples / "ct-head").iterdir())[:3]
    run("import", *files)
    (pack,) = (config.parent / "data" / "packs").iterdir()
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 0xFF
    pack.write_bytes(content)
    for _ in range(2):
        result = run("reindex")
        assert "1 damaged records" in one_line(result, 1)
        assert "2 instances indexed" in result.stdout


def test_dead_letters(run: Callable[..., Result], tmp_path: Path) -> None:
    """An empty list is no fault; a key that is unknown is one."""
    run("migrate")
    assert json.loads(run("dead-letters", "list", "--json").stdout) == []
    assert one_line(run("dead-letters", "show", "2.999.404"), 1)


@pytest.mark.parametrize("arguments", [("sync",), ("sync", "main-pacs", "--full")])
def test_sync_without_an_archive(run: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    """Says that none is configured, which is the configuration's fault."""
    assert one_line(run(*arguments), 2).startswith("pacsbridge: source: ")


@pytest.mark.parametrize("command", ["retry", "discard"])
@pytest.mark.parametrize("key", ["2.999.404", "all"])
def test_dead_letters_that_are_not_there(run: Callable[..., Result], command: str, key: str) -> None:
    """Nothing under that key, or nothing at all: said in one line."""
    run("migrate")
    assert "no dead letter" in one_line(run("dead-letters", command, key), 1)


class Served:
    """`pacsbridge serve` as a child process."""

    def __init__(self, config: Path) -> None:
        self.log = config.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pacsbridge", "serve", "--config", str(config)], stdout=log, stderr=log
            )

    def end(self) -> None:
        """Kill what still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def serve(config: Path) -> Iterator[Callable[[], Served]]:
    """Starts `serve`; ends it."""
    started: list[Served] = []

    def start() -> Served:
        started.append(Served(config))
        return started[-1]

    yield start
    for one in started:
        one.end()


def ports(config: Path) -> dict[str, int]:
    """The ports of a configuration."""
    import tomllib

    told = tomllib.loads(config.read_text())
    return {"dimse": told["dimse"]["port"], "fhir": told["fhir"]["port"]}


def test_sigterm_under_load(
    serve: Callable[[], Served], config: Path, samples: Path, wait_until: Callable[..., None]
) -> None:
    """Stops in order while senders push: exit 0, no traceback, and a new start serves what was taken."""
    served = serve()
    url = f"http://127.0.0.1:{ports(config)['fhir']}"

    def ready() -> bool:
        assert served.process.poll() is None, served.log.read_text()
        try:
            return requests.get(f"{url}/health/ready", timeout=2).status_code == 200
        except requests.ConnectionError:
            return False

    wait_until(ready, 20)
    files = sorted(path for path in samples.rglob("*.dcm"))
    pushed: list[int] = []

    def send() -> None:
        while True:
            try:
                pushed.append(push(files, "SENDER", "PACSBRIDGE", "127.0.0.1", ports(config)["dimse"]))
            except (PacsbridgeError, OSError, RuntimeError, ValueError):
                return

    threads = [threading.Thread(target=send, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pushed) > 1, 20)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0
    assert "Traceback" not in served.log.read_text()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("which", ["dimse", "fhir"])
def test_port_in_use(serve: Callable[[], Served], config: Path, which: str) -> None:
    """Exit 2 with one line that names the key."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports(config)[which]))
        taken.listen()
        served = serve()
        assert served.process.wait(20) == 2
    lines = [line for line in served.log.read_text().splitlines() if line.startswith("pacsbridge:")]
    assert len(lines) == 1
    assert f"{which}.port" in lines[0]
    assert "Traceback" not in served.log.read_text()


def test_data_dir_that_cannot_be_made(config: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    """Exit 2 with one line."""
    (tmp_path / "file").touch()
    config.write_text(f'data_dir = "{tmp_path}/file/data"\n' + config.read_text().split("\n", 1)[1])
    assert "data_dir" in one_line(run("serve"), 2)


def test_data_dir_that_cannot_be_written(config: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    """Exit 2 with one line; a name that is taken stands for a file system that takes none."""
    (tmp_path / "data" / "lock").mkdir(parents=True)
    assert "cannot write" in one_line(run("serve"), 2)


@pytest.mark.parametrize("command", ["serve", "migrate", "reindex"])
def test_postgresql_down_at_the_start(
    config: Path, run: Callable[..., Result], free_port: Callable[[], int], command: str
) -> None:
    """Exit 1 with one line that names the database, and not its password."""
    with config.open("a") as file:
        file.write(f'[store]\nurl = "postgresql://me:geheim77@127.0.0.1:{free_port()}/x"\n')
    result = run(command)
    assert "store.url" in one_line(result, 1)
    assert "geheim77" not in result.output
