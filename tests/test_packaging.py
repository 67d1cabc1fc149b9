"""What surrounds the code: the compose file and the image against the configuration, the two commands."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pacsbridge import config
from pacsbridge.cli import COMMANDS, main
from pacsbridge.commands.answering import USAGE
from pacsbridge.config import Config

ROOT = Path(__file__).parent.parent
COMPOSE = ROOT / "docker-compose.yml"
UNIT = ROOT / "config" / "pacsbridge.service"
PROFILES = {None: {"pacsbridge"}, "postgres": {"pacsbridge-postgres", "postgres"}, "orthanc": {"orthanc"}}
NOT_IMPORTED = {"tzdata", "pylibjpeg", "pylibjpeg_openjpeg", "pylibjpeg_rle", "pyjpegls"}
IMPORTED_AS = {"jwt": "pyjwt", "pil": "pillow", "markdown_it": "markdown_it_py"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, merge keys resolved."""
    yaml = pytest.importorskip("ruamel.yaml", reason="no YAML reader: pip install check-jsonschema")
    document: dict[str, Any] = yaml.YAML(typ="safe").load(COMPOSE)
    return document


def project() -> dict[str, Any]:
    """What the project says of itself."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found: dict[str, Any] = tomllib.loads(text)["project"]
    return found


def bridges(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services that are ours."""
    return {name: one for name, one in compose["services"].items() if one.get("build")}


def settings_of(service: dict[str, Any]) -> Config:
    """The settings that a service starts with: the mounted file under its environment."""
    mounts = dict(one.split(":")[1::-1] for one in service["volumes"])
    return config.load(ROOT / mounts[service["environment"]["PACSBRIDGE_CONFIG"]], service["environment"])


def test_the_compose_file_fits_the_specification() -> None:
    """The schema of the Compose Specification, without a Docker engine."""
    pytest.importorskip("check_jsonschema", reason="no schema of compose files: pip install check-jsonschema")
    arguments = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_profiles_have_what_they_say(compose: dict[str, Any]) -> None:
    """The bridge alone by default; what a service waits for is in its profile."""
    found: dict[str | None, set[str]] = {}
    for name, service in compose["services"].items():
        for profile in service.get("profiles", [None]):
            found.setdefault(profile, set()).add(name)
    assert found == PROFILES
    for service in compose["services"].values():
        for other in service.get("depends_on", {}):
            assert compose["services"][other].get("profiles") == service.get("profiles")
            assert "healthcheck" in compose["services"][other]


def test_ports_are_published_on_loopback_once(compose: dict[str, Any]) -> None:
    """Nothing is reachable from elsewhere, and no two services want one port."""
    published = [port for one in compose["services"].values() for port in one.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    outside = [port.split(":")[1] for port in published]
    assert len(outside) == len(set(outside))


def test_volumes_are_declared_and_used(compose: dict[str, Any]) -> None:
    """Named volumes are those declared; mounted files exist."""
    mounts = [one.split(":")[0] for service in compose["services"].values() for one in service["volumes"]]
    named = {mount for mount in mounts if not mount.startswith(".")}
    assert named == set(compose["volumes"])
    assert all((ROOT / mount).exists() for mount in mounts if mount.startswith("."))


def test_every_bridge_has_settings_that_load(compose: dict[str, Any]) -> None:
    """File and environment are taken, the published ports are those listened on, links lead back outside."""
    for name, service in bridges(compose).items():
        settings = settings_of(service)
        assert settings.data_dir == Path("/data"), name
        outside = dict(port.split(":")[:0:-1] for port in service["ports"])
        assert set(outside) == {str(settings.fhir.port), str(settings.dimse.port)}
        assert settings.fhir.base_url == f"http://127.0.0.1:{outside[str(settings.fhir.port)]}/fhir"
    assert settings_of(bridges(compose)["pacsbridge-postgres"]).store.url.startswith("postgresql://")


def test_bridges_are_confined(compose: dict[str, Any]) -> None:
    """Nothing to write but data and a temporary folder, no capabilities, no new privileges, few processes."""
    for service in bridges(compose).values():
        assert service["read_only"] is True
        assert [one.partition(":")[0] for one in service["tmpfs"]] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert not service.get("privileged")
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["pids_limit"] <= 1000
        writable = [one.split(":")[1] for one in service["volumes"] if not one.endswith(":ro")]
        assert writable == ["/data"]


def test_orthanc_knows_the_bridge(compose: dict[str, Any]) -> None:
    """The AE title and port that it sends to are the bridge's."""
    settings = settings_of(compose["services"]["pacsbridge"])
    orthanc = json.loads(compose["services"]["orthanc"]["environment"]["ORTHANC_JSON"])
    assert orthanc["DicomModalities"]["pacsbridge"] == [
        settings.dimse.ae_title,
        "pacsbridge",
        settings.dimse.port,
    ]


def test_the_image_fits_the_defaults() -> None:
    """Ports, the health check's command, the data volume, the extras; it doesn't run as root."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    settings = config.load(ROOT / "config/compose.toml", {})
    assert f"EXPOSE {settings.fhir.port} {settings.dimse.port}" in text
    [check] = re.findall(r"^HEALTHCHECK .* CMD (.+)$", text, re.MULTILINE)
    assert json.loads(check) == ["pacsbridge", "health"]
    assert "health" in COMMANDS
    [extras] = re.findall(r"^ARG EXTRAS=(\S+)$", text, re.MULTILINE)
    assert '".[$EXTRAS]"' in text
    assert {*extras.split(","), "render"} <= project()["optional-dependencies"].keys()
    assert f"VOLUME {settings.data_dir}" in text
    assert re.search(r"^USER (?!root)", text, re.MULTILINE)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((ROOT / one).exists() for one in source.split())


def test_the_image_gets_what_it_copies() -> None:
    """`.dockerignore` lets through what the Dockerfile copies."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"!pyproject.toml", "!README.md", "!LICENSE", "!src"} <= set(allowed)


def unit() -> dict[str, list[str]]:
    """The unit of systemd: key → its values."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_runs_a_command_that_there_is() -> None:
    """`serve` with a configuration, its data where the unit lets it write, time to stop in."""
    keys = unit()
    program, *arguments = shlex.split(keys["ExecStart"][0])
    assert Path(program).name in project()["scripts"]
    assert arguments[0] in COMMANDS
    assert CliRunner().invoke(main, [*arguments[:2], "none", "--help"]).exit_code == 0
    variables = dict(one.split("=", 1) for one in shlex.split(keys["Environment"][0]))
    settings = config.load(ROOT / "config/pacsbridge.toml", variables)
    assert settings.data_dir == Path("/var/lib") / keys["StateDirectory"][0]
    assert int(keys["TimeoutStopSec"][0]) > 60
    assert keys["RestartPreventExitStatus"] == [str(USAGE)]
    assert keys["ExecReload"] == ["/bin/kill -HUP $MAINPID"]  # certificates are read anew
    assert int(keys["LimitNOFILE"][0]) > settings.limits.http_connections


def test_the_unit_is_confined(tmp_path: Path) -> None:
    """systemd takes every line of it, and rates its exposure below 2 of 10."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    copy.write_text(text.replace("/opt/pacsbridge/bin/pacsbridge", str(Path(sys.executable))))
    done = subprocess.run([program, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rating = [program, "security", "--offline=true", "--threshold=20", str(UNIT)]
    done = subprocess.run(rating, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_readme_has_the_two_commands() -> None:
    """Both stand there, one runs the demo and one the tests; the continuous check uses the second."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^python3 -m venv .venv && .*$", readme, re.MULTILINE)
    assert [shlex.split(one)[-2:] for one in commands][:1] == [[".venv/bin/pacsbridge", "demo"]]
    assert any(one.endswith("&& .venv/bin/pytest") for one in commands)
    assert ".venv/bin/pip install -e '.[dev]' && .venv/bin/pytest" in (ROOT / ".ci/run").read_text(
        encoding="utf-8"
    )


def test_dependencies_are_those_imported() -> None:
    """Each third-party module belongs to a dependency; each dependency but data and drivers is imported."""
    extras = project()["optional-dependencies"]
    declared = [*project()["dependencies"], *extras["postgres"], *extras["render"]]
    names = {re.split(r"[\[<>=]", one)[0].lower().replace("-", "_") for one in declared}
    pattern = re.compile(r"^\s*(?:from|import) ([a-zA-Z_]\w*)", re.MULTILINE)
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    imported = {name for text in texts for name in pattern.findall(_code(text))}
    foreign = imported - sys.stdlib_module_names - {"pacsbridge"}
    named = {IMPORTED_AS.get(name.lower(), name.lower()) for name in foreign}
    assert named == names - NOT_IMPORTED


def _code(text: str) -> str:
    return re.sub(r'"""(?s:.*?)"""', "", text)
