"""Configuration: one table of keys, the files held to it, its errors."""

import json
import tomllib
from pathlib import Path

import pytest

from pacsbridge import config
from pacsbridge.config import Config, reference
from pacsbridge.config.checks import endpoint_specs
from pacsbridge.config.effective import effective
from pacsbridge.config.schema import ENTRIES
from pacsbridge.errors import Misconfigured

FOLDER = Path(__file__).parent.parent / "config"
ANNOTATED = FOLDER / "pacsbridge.toml"


def loaded(tmp_path: Path, text: str, **environ: str) -> Config:
    """The settings of a file with this text."""
    file = tmp_path / "site.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(file, environ)


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    """What is said about a file with this text."""
    with pytest.raises(Misconfigured) as caught:
        loaded(tmp_path, text, **environ)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_the_annotated_file_is_current() -> None:
    """`config/pacsbridge.toml` is what the table says; `python scripts/generate_config.py` writes it."""
    assert ANNOTATED.read_text(encoding="utf-8") == reference.annotated()


def test_the_reference_is_current() -> None:
    """`config/README.md` is what the table says; `python scripts/generate_config.py` writes it."""
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == reference.markdown()


def test_the_annotated_file_says_the_defaults(tmp_path: Path) -> None:
    """Reading it changes nothing."""
    assert loaded(tmp_path, ANNOTATED.read_text(encoding="utf-8")) == loaded(tmp_path, "")


def test_the_annotated_file_can_be_used_whole() -> None:
    """With every hash before a key taken away it is still TOML, has every key, and is taken."""
    lines = ANNOTATED.read_text(encoding="utf-8").splitlines()
    bare = [line.removeprefix("# ") if _is_commented_key(line) else line for line in lines]
    document = tomllib.loads("\n".join(bare))
    for entry in ENTRIES:
        table = document[entry.section.name] if entry.section.name else document
        assert entry.name in (table[0] if entry.section.repeated else table), entry.path


def _is_commented_key(line: str) -> bool:
    text = line.removeprefix("# ")
    first, _, rest = text.partition(" = ")
    return text.startswith("[[") or (bool(rest) and first.isidentifier())


def test_the_examples_are_taken() -> None:
    """Every example of the annotated file is a legal value of its key."""
    for entry in ENTRIES:
        if entry.key.example is not None:
            entry.key.kind.read(entry.key.example)


def test_every_key_is_explained() -> None:
    """A key has a sentence about its meaning and words for what it may hold."""
    for entry in ENTRIES:
        assert entry.key.meaning.endswith((".", ",")), entry.path
        assert entry.key.kind.expects, entry.path


def test_defaults_are_themselves_legal() -> None:
    """Each default would pass as a given value."""
    for entry in ENTRIES:
        if entry.default not in (None, "", Path("./pacsbridge-data")):
            given = list(entry.default) if isinstance(entry.default, tuple) else entry.default
            assert entry.key.kind.read(given) == entry.default, entry.path


def test_a_file_is_read(tmp_path: Path) -> None:
    """Every form of value arrives as its type."""
    settings = loaded(
        tmp_path,
        """
        data_dir = "/srv/dicom"
        [dimse]
        port = 104
        services = ["echo"]
        network_timeout = 5
        [[peer]]
        ae_title = "CT1"
        host = "10.0.0.0/24"
        timezone = "Europe/Berlin"
        charset = 'ISO 2022 IR 6\\ISO 2022 IR 87'
        services = ["echo"]
        [systems]
        patient = { "HOSP_A" = "urn:oid:1.2.3" }
        """,
    )
    assert settings.data_dir == Path("/srv/dicom")
    assert (settings.dimse.port, settings.dimse.services, settings.dimse.network_timeout) == (
        104,
        ("echo",),
        5.0,
    )
    assert settings.peers[0].timezone == "Europe/Berlin"
    assert settings.systems.patient == {"HOSP_A": "urn:oid:1.2.3"}
    assert settings.file == tmp_path / "site.toml"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    """Every form of value, in JSON or TOML; an empty variable counts as none."""
    settings = loaded(
        tmp_path,
        "[fhir]\nport = 1\nmax_count = 70",
        PACSBRIDGE__FHIR__PORT="8081",
        PACSBRIDGE__FHIR__MAX_COUNT="",
        PACSBRIDGE__DATA_DIR="/data",
        PACSBRIDGE__DIMSE__AE_TITLE="42",
        PACSBRIDGE__DIMSE__REQUIRE_CALLED_AE="true",
        PACSBRIDGE__DIMSE__SERVICES='["store"]',
        PACSBRIDGE__SYSTEMS__PATIENT='{"A": "urn:oid:1.2"}',
        PACSBRIDGE__SYSTEMS__CODING='{ "B" = "urn:oid:1.3" }',
        PACSBRIDGE__PEER='[{"ae_title": "CT1", "services": ["store"]}]',
    )
    assert (settings.fhir.port, settings.fhir.max_count, settings.data_dir) == (8081, 70, Path("/data"))
    assert (settings.dimse.ae_title, settings.dimse.require_called_ae) == ("42", True)
    assert settings.dimse.services == ("store",)
    assert settings.systems.patient == {"A": "urn:oid:1.2"}
    assert settings.systems.coding == {"B": "urn:oid:1.3"}
    assert [peer.ae_title for peer in settings.peers] == ["CT1"]


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config before PACSBRIDGE_CONFIG before ./pacsbridge.toml before the defaults."""
    monkeypatch.chdir(tmp_path)
    assert config.load(None, {}).file is None
    for name in ("pacsbridge.toml", "named.toml", "given.toml"):
        (tmp_path / name).write_text(f'data_dir = "{name}"')
    environ = {"PACSBRIDGE_CONFIG": "named.toml"}
    assert config.load(None, {}).data_dir == Path("pacsbridge.toml")
    assert config.load(None, environ).data_dir == Path("named.toml")
    assert config.load(Path("given.toml"), environ).data_dir == Path("given.toml")


REFUSALS = {
    "unknown key": ("[fhir]\nprot = 1", "site.toml: fhir.prot is not a known key; the nearest is fhir.port"),
    "unknown table": ("[fihr]\nport = 1", "site.toml: fihr is not a known key; the nearest is fhir"),
    "key in no table": (
        "ae_title = 'X'",
        "site.toml: ae_title is not a known key; the nearest is dimse.ae_title",
    ),
    "nothing near": ("zzzz = 1", "site.toml: zzzz is not a known key"),
    "wrong type": (
        "[fhir]\nport = '80'",
        "site.toml: fhir.port must be a whole number from 0 to 65535, not '80'",
    ),
    "flag for a number": (
        "[fhir]\nport = true",
        "site.toml: fhir.port must be a whole number from 0 to 65535, not True",
    ),
    "out of range": (
        "[dimse]\nport = 65536",
        "site.toml: dimse.port must be a whole number from 0 to 65535, not 65536",
    ),
    "choice": (
        "[log]\nformat = 'xml'",
        'site.toml: log.format must be "console" or "json", not \'xml\'',
    ),
    "zone": (
        "[mapping]\ntimezone = 'Europe'",
        "site.toml: mapping.timezone must be an IANA time zone such as \"Europe/Berlin\", not 'Europe'",
    ),
    "table for a key": ("dimse = 1", "site.toml: dimse must be a table: [dimse]"),
    "table for an array": ("[peer]\nae_title = 'A'", "site.toml: peer must be an array of tables: [[peer]]"),
    "peer without a name": ("[[peer]]\nport = 104", "site.toml: peer 1 lacks ae_title"),
    "key of a peer": (
        "[[peer]]\nae_title = 'A'\n[[peer]]\nae_title = 'B'\nhots = 'c'",
        "site.toml: peer 2: peer.hots is not a known key; the nearest is peer.host",
    ),
    "host bits": (
        "[[peer]]\nae_title = 'A'\nhost = '10.0.0.1/24'",
        "peer 1: host must be an IP address, a network such as 10.0.0.0/24 or a host name, not '10.0.0.1/24'",
    ),
    "not TOML": ("[fhir\nport = 1", "site.toml: is not TOML"),
    "QIDO-RS": (
        "[[source]]\nname = 'x'",
        "site.toml: source: asking archives by QIDO-RS ([[source]]) is not available",
    ),
    "TLS": (
        "[dimse.tls]\ncertificate = 'x'",
        "site.toml: dimse.tls: DIMSE over TLS is not available in this version",
    ),
    "auth": ("[auth]\nissuer = 'x'", "authentication is not available in this version"),
    "C-FIND": (
        "[dimse]\nservices = ['echo', 'find']",
        "dimse.services: C-FIND is not available in this version",
    ),
    "object storage": (
        "[blobs]\nurl = 's3://b'",
        "blobs.url: object storage is not available in this version",
    ),
    "no blobs": (
        "[blobs]\nurl = 'none'",
        "a bridge that keeps no instances is not available in this version",
    ),
    "workers": ("[dimse]\nworkers = 2", "more than one receiver process is not available in this version"),
    "exposed": ("[dimse]\nhost = '10.0.0.1'", "set allow_insecure_listen = true"),
    "nameless": (
        "allow_insecure_listen = true\n[fhir]\nhost = '0.0.0.0'",
        "fhir.base_url must be given where fhir.host is 0.0.0.0",
    ),
    "no port": ("[fhir]\nport = 0", "fhir.base_url must be given where fhir.port is 0"),
    "one port": ("[dimse]\nport = 8080", "dimse.port and fhir.port are both 8080"),
    "order": ("[fhir]\nmax_count = 10", "fhir.default_count (50) must not be above fhir.max_count (10)"),
    "peer's service": (
        "[dimse]\nservices = ['echo']\n[[peer]]\nae_title = 'A'",
        "peer A: store is not among dimse.services",
    ),
    "peer twice": (
        "[[peer]]\nae_title = 'A'\n[[peer]]\nae_title = 'A'",
        "peer A: the same ae_title stands in 2",
    ),
    "endpoint": ("[[endpoint]]\naddress = 'ftp://x'", "endpoint: address must be an http or https URL"),
    "template": ("[fhir]\nprocedure_reference = 'https://x/Patient/{uid}'", "procedure_reference must read"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_fault_is_told_precisely(case: str, tmp_path: Path) -> None:
    """File, key, what is expected and the nearest known key."""
    text, expected = REFUSALS[case]
    assert expected in refusal(tmp_path, text)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """One line each, and an override is blamed under its own name."""
    told = refusal(
        tmp_path, "[fhir]\nport = 'a'\nmax_count = 0", PACSBRIDGE__FHIR__PORT="b", PACSBRIDGE__LOG__LEVEL="x"
    )
    assert [line.partition(":")[0] for line in told.splitlines()] == [
        "PACSBRIDGE__FHIR__PORT",
        "site.toml",
        "PACSBRIDGE__LOG__LEVEL",
    ]


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    """A misspelt override is not passed over."""
    told = refusal(tmp_path, "", PACSBRIDGE__FHIR__PROT="1")
    assert told == "PACSBRIDGE__FHIR__PROT: fhir.prot is not a known key; the nearest is fhir.port"


def test_a_single_underscore_is_told(tmp_path: Path) -> None:
    """It would be passed over; what Kubernetes sets for a service of that name is."""
    told = refusal(tmp_path, "", PACSBRIDGE_FHIR_PORT="8081")
    assert told == "PACSBRIDGE_FHIR_PORT is not a known variable; is it PACSBRIDGE__FHIR__PORT?"
    links = {
        "PACSBRIDGE_SERVICE_HOST": "10.0.0.1", "PACSBRIDGE_PORT": "tcp://10.0.0.1:8080",
        "PACSBRIDGE_PORT_8080_TCP_ADDR": "10.0.0.1", "PACSBRIDGE_SERVICE_PORT_HTTP": "8080",
    }  # fmt: skip
    assert loaded(tmp_path, "", **links) == loaded(tmp_path, "")


def test_a_file_that_is_not_there() -> None:
    """The file is named."""
    with pytest.raises(Misconfigured, match=r"nowhere\.toml: cannot be read"):
        config.load(Path("nowhere.toml"), {})


def test_base_urls_follow(tmp_path: Path) -> None:
    """They come from host and port, the second from the first."""
    assert loaded(tmp_path, "[fhir]\nhost = '::1'\nport = 9").dicomweb.base_url == "http://[::1]:9/dicomweb"
    behind = loaded(tmp_path, "[fhir]\nbase_url = 'https://pacs.example.org/r4/fhir/'")
    assert behind.fhir.base_url == "https://pacs.example.org/r4/fhir"
    assert behind.dicomweb.base_url == "https://pacs.example.org/r4/dicomweb"


def test_listening_beyond_loopback_takes_a_word(tmp_path: Path) -> None:
    """With the word it is taken; loopback needs none."""
    text = "allow_insecure_listen = true\n[dimse]\nhost = '0.0.0.0'"
    assert loaded(tmp_path, text).dimse.host == "0.0.0.0"
    assert (
        loaded(tmp_path, "[dimse]\nhost = '127.0.0.2'\n[fhir]\nhost = 'localhost'").fhir.host == "localhost"
    )


def test_passwords_are_masked(tmp_path: Path) -> None:
    """What is shown is JSON, and has no password; an error does not quote it either."""
    settings = loaded(tmp_path, "[store]\nurl = 'postgresql://bridge:hush@db/pacs'")
    shown = json.dumps(effective(settings))
    assert "postgresql://bridge:***@db/pacs" in shown
    assert "hush" not in shown
    assert "hush" not in refusal(tmp_path, "[store]\nurl = 'mysql://bridge:hush@db/pacs'")


def test_what_is_shown_is_what_is_given(tmp_path: Path) -> None:
    """The settings in force, written down and read again, are the same."""
    settings = loaded(tmp_path, ANNOTATED.read_text(encoding="utf-8"))
    shown = {name: one for name, one in effective(settings).items() if one is not None}
    lines = [f"{name} = {reference.toml(one)}" for name, one in shown.items()]
    assert loaded(tmp_path, "\n".join(lines)) == settings


def test_endpoints_become_specifications(tmp_path: Path) -> None:
    """A `[[endpoint]]` table carries its values over."""
    text = "[[endpoint]]\naddress = 'https://v.example/{study_uid}'\nconnection_type = 'ihe-iid'\nname = 'V'"
    (spec,) = endpoint_specs(loaded(tmp_path, text))
    assert (spec.name, spec.connection_type, spec.is_template) == ("V", "ihe-iid", True)


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """White space round them is no part of them; an empty or missing file is told with its key."""
    file = tmp_path / "key"
    file.write_text(" hush\n")
    assert config.secret(file, "fhir.id_key_file") == b"hush"
    file.write_text("\n")
    with pytest.raises(Misconfigured, match=r"fhir\.id_key_file: .* is empty"):
        config.secret(file, "fhir.id_key_file")
    with pytest.raises(Misconfigured, match=r"store\.password_file: cannot read"):
        config.secret(tmp_path / "none", "store.password_file")
