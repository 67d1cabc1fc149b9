"""Configuration: one table of keys, the files held to it, its errors."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pacsbridge import config
from pacsbridge.config import Config, kinds, reference
from pacsbridge.config.checks import endpoint_specs, source_endpoint_specs
from pacsbridge.config.effective import effective
from pacsbridge.config.schema import ENTRIES, SECTIONS, Source
from pacsbridge.config.table import Section, entries, key, section, sections, tables
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
        assert entry.name in table_at(document, entry.section.path), entry.path


def table_at(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The table of this path, of arrays the first member."""
    for name in path.split(".") if path else ():
        below = document[name]
        document = below[0] if isinstance(below, list) else below
    return document


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
    "nested key": (
        "[[source]]\n[[source]]\n[[source.endpoint]]\n[[source.endpoint]]\nadress = 'http://a'",
        "2: endpoint 2: source.endpoint.adress is not a known key; the nearest is source.endpoint.address",
    ),
    "nested value": (
        "[[source]]\nname = 'a'\nurl = 'http://a'\n[[source.endpoint]]\naddress = 'http://a'\nstatus = 'up'",
        'site.toml: source 1: endpoint 1: status must be "active", "suspended", "error", "off", ',
    ),
    "nested table without a key": (
        "[[source]]\nname = 'a'\nurl = 'http://a'\n[[source.endpoint]]\nname = 'x'",
        "site.toml: source 1: endpoint 1 lacks address",
    ),
    "nested table for an array": (
        "[[source]]\nname = 'a'\nurl = 'http://a'\n[source.endpoint]\naddress = 'http://a'",
        "site.toml: source 1: endpoint must be an array of tables: [[source.endpoint]]",
    ),
    "nested array at the top": (
        "'source.endpoint' = []",
        "site.toml: source.endpoint is part of an array of tables, which is given whole: [[source]]",
    ),
    "key of a source": (
        "[[source]]\nname = 'a'\nurl = 'http://a'\npol_seconds = 1",
        "site.toml: source 1: source.pol_seconds is not a known key; the nearest is source.poll_seconds",
    ),
    "source without anything": (
        "[[source]]",
        "site.toml: source 1 lacks name\nsite.toml: source 1 lacks url",
    ),
    "TLS": (
        "[dimse.tls]\ncertificate = 'x'",
        "dimse.tls: certificate and key are given together",
    ),
    "TLS with an authority alone": (
        "[dimse.tls]\nca = 'x'",
        "dimse.tls.ca needs dimse.tls.certificate",
    ),
    "TLS with lists alone": (
        "[dimse.tls]\ncertificate = 'x'\nkey = 'x'\ncrl = 'x'",
        "dimse.tls.crl needs dimse.tls.ca, the authorities whose lists it holds",
    ),
    "syslog with lists alone": (
        "[audit]\nsyslog_url = 'tls://a'\nsyslog_crl = 'x'",
        "audit.syslog_crl needs audit.syslog_ca, the authorities whose lists it holds",
    ),
    "syslog without TLS": (
        "[audit]\nsyslog_url = 'udp://a'\nsyslog_ca = 'x'\nsyslog_crl = 'x'",
        "audit.syslog_ca, syslog_crl, syslog_certificate and syslog_key are for a syslog_url of tls://",
    ),
    "auth without a way": (
        "[auth]\nissuer = 'x'",
        "auth: one of jwks_url, jwks_file, introspection_url must say how tokens are verified",
    ),
    "auth in two ways": (
        "[auth]\njwks_url = 'https://a/k'\njwks_file = 'k'\nissuer = 'i'\naudience = 'a'",
        "auth: jwks_url and jwks_file are ways to verify tokens of which one can be used",
    ),
    "auth of anybody": (
        "[auth]\njwks_file = 'k'\nissuer = 'i'",
        "auth.jwks_file needs auth.audience",
    ),
    "introspection without a name": (
        "[auth]\nintrospection_url = 'https://a/i'\nissuer = 'i'\naudience = 'a'\nclient_id = 'c'",
        "auth.introspection_url needs auth.client_secret_file",
    ),
    "keys over http": (
        "[auth]\njwks_url = 'http://login.example/k'\nissuer = 'i'\naudience = 'a'",
        "auth.jwks_url: http://login.example/k is http, where others may meddle",
    ),
    "signatures by a shared secret": (
        "[auth]\nalgorithms = ['HS256']",
        "auth.algorithms must be a list of signature algorithms",
    ),
    "unsigned tokens": (
        "[auth]\nalgorithms = ['none']",
        "auth.algorithms must be a list of signature algorithms",
    ),
    "no algorithm": (
        "[auth]\njwks_file = 'k'\nissuer = 'i'\naudience = 'a'\nalgorithms = []",
        "auth.algorithms: without any no token is good",
    ),
    "certificate without a key": (
        "[fhir.tls]\ncertificate = 'c'",
        "fhir.tls: certificate and key are given together",
    ),
    "client certificates without TLS": (
        "[fhir.tls]\nca = 'c'",
        "fhir.tls.ca needs fhir.tls.certificate",
    ),
    "lists of nobody": (
        "[fhir.tls]\ncertificate = 'c'\nkey = 'k'\ncrl = 'l'",
        "fhir.tls.crl needs fhir.tls.ca, the authorities whose lists it holds",
    ),
    "HTTP for everybody": (
        "[fhir]\nhost = '192.0.2.1'\n[fhir.tls]\ncertificate = 'c'\nkey = 'k'",
        "fhir.host: 192.0.2.1 can be reached from other machines, and nobody has to authenticate ([auth])",
    ),
    "tokens in the clear": (
        "[fhir]\nhost = '192.0.2.1'\n[auth]\njwks_file = 'k'\nissuer = 'i'\naudience = 'a'",
        (
            "and nothing is encrypted (fhir.tls, fhir.trusted_proxies); listen on 127.0.0.1, or set "
            "fhir.allow_insecure_listen = true"
        ),
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
    "exposed": ("[dimse]\nhost = '10.0.0.1'", "set dimse.allow_insecure_listen = true"),
    "the other port's word": (
        "[dimse]\nhost = '10.0.0.1'\nallow_insecure_listen = true\n[fhir]\nhost = '10.0.0.1'",
        "set fhir.allow_insecure_listen = true",
    ),
    "nameless": (
        "allow_insecure_listen = true\n[fhir]\nhost = '0.0.0.0'",
        "fhir.base_url must be given where fhir.host is 0.0.0.0",
    ),
    "no port": ("[fhir]\nport = 0", "fhir.base_url must be given where fhir.port is 0"),
    "one port": ("[dimse]\nport = 8080", "dimse.port and fhir.port are both 8080"),
    "order": ("[fhir]\nmax_count = 10", "fhir.default_count (50) must not be above fhir.max_count (10)"),
    "peer's service": (
        "[dimse]\nservices = ['echo']\n[[peer]]\nae_title = 'A'\nservices = ['echo', 'store']",
        "peer A: store is not among dimse.services",
    ),
    "certificates without an authority": (
        "[[peer]]\nae_title = 'A'\ncertificates = ['a.example']",
        "peer A: certificates need dimse.tls.ca, without which callers show none",
    ),
    "a digest that is none": (
        "[[peer]]\nae_title = 'A'\ncertificates = ['sha256:12']",
        "peer 1: certificates must be a list of names in certificates and SHA-256 digests, not ['sha256:12']",
    ),
    "peer twice": (
        "[[peer]]\nae_title = 'A'\n[[peer]]\nae_title = 'A'",
        "peer A: the same ae_title stands in 2",
    ),
    "endpoint": ("[[endpoint]]\naddress = 'ftp://x'", "endpoint: address must be an http or https URL"),
    "template": ("[fhir]\nprocedure_reference = 'https://x/Patient/{uid}'", "procedure_reference must read"),
}


SOURCE_VALUES: dict[str, tuple[list[str], list[str]]] = {
    "name": (["'A-z_0.9'", f"'{'n' * 64}'"], ["''", "'ä'", "'a b'", f"'{'n' * 65}'", "1"]),
    "url": (
        ["'http://127.0.0.1:8042/dicom-web'", "'https://h/'", "'http://[::1]:1'"],
        ["'ftp://h'", "'https://u:p@h'", "'https://h?q=1'", "'https://h:99999'", "'https://h:0'", "'h'"],
    ),
    "poll_seconds": (["0", "0.5", "86400"], ["-1", "86401", "nan", "'30'", "true"]),
    "lookback_days": (["0", "3650"], ["-1", "3651", "1.5"]),
    "timezone": (["'Europe/Berlin'"], ["'Europe'", "''", "1"]),
    "charset": (["''", "'ISO_IR 100'"], ["'latin-1'"]),
    "headers": (
        ["{}", "{ X-Site = 'north' }", "{ \"X!#$%&'*+.^_`|~\" = '' }", "{ X = 'a\tb é' }"],
        [
            "{ 'X Site' = 'a' }", "{ '' = 'a' }", "{ 'X:' = 'a' }", '{ X = "a\\r\\nY: b" }', '{ X = "a\\n" }',
            "{ X = 'a ' }", "{ X = 1 }", "{ X = 'a', x = 'b' }", '{ X = "a\\u0000" }', "{ X = '☃' }", "[]",
        ],
    ),
    "username": (["'bridge'"], ["''", "' '", "'a:b'", '"a\\n"']),
    "password": (["'hush'"], ["''", "1"]),
    "password_file": (["'/none/such'"], ["''", "1"]),
    "bearer_token_file": (["'/none/such'"], ["''", "1"]),
    "oauth2_token_url": (
        ["'https://login.example/token?tenant=1'"], ["'login'", "'https://u:p@h'", "'https://h#f'", "1"],
    ),
    "oauth2_client_id": (["'bridge'"], ["''", "1"]),
    "oauth2_client_secret_file": (["'/none/such'"], ["''", "1"]),
    "oauth2_scope": (["'a b'"], ["''", "1"]),
    "allow_plain_http": (["true", "false"], ["'true'", "0"]),
    "verify_tls": (["true", "false"], ["'no'", "1"]),
    "ca": (["'/none/such'"], ["''", "true"]),
    "certificate": (["'/none/such'"], ["''", "true"]),
    "key": (["'/none/such'"], ["''", "true"]),
    "on_delete": (["'entered-in-error'", "'unknown'", "'delete'", "'ignore'"], ["'keep'", "''", "1"]),
    "level": (["'instance'", "'series'", "'study'"], ["'patient'", "1"]),
    "changes": (["'auto'", "'none'", "'orthanc'"], ["'dcm4chee'", "false"]),
    "page": (["1", "10000"], ["0", "10001", "1.0"]),
    "connections": (["1", "32"], ["0", "33"]),
    "answer_seconds": (["0.1", "3600"], ["0", "3601", "inf"]),
    "answer_bytes": (["65536", "1073741824"], ["65535", "1073741825"]),
    "patient_system": (["'urn:oid:1.2.3'"], ["'1.2.3'", "''"]),
    "accession_system": (["'urn:oid:1.2.3'"], ["'1.2.3'", "''"]),
    "study_id_system": (["'urn:oid:1.2.3'"], ["'1.2.3'", "''"]),
}  # fmt: skip
"""Key of [[source]] → values that it takes, values that it refuses, as TOML writes them."""

COMPANIONS = {
    "username": ["password_file"],
    "password": ["username"],
    "password_file": ["username"],
    "oauth2_token_url": ["oauth2_client_id", "oauth2_client_secret_file"],
    "oauth2_client_id": ["oauth2_token_url", "oauth2_client_secret_file"],
    "oauth2_client_secret_file": ["oauth2_token_url", "oauth2_client_id"],
    "oauth2_scope": ["oauth2_token_url", "oauth2_client_id", "oauth2_client_secret_file"],
    "key": ["certificate"],
}
"""Key of [[source]] → those that it cannot stand without."""


def source_with(**values: str) -> str:
    """A [[source]] table with these values, as TOML writes them."""
    whole = {"name": "'a'", "url": "'https://a.example'", **values}
    return "\n".join(["[[source]]", *(f"{name} = {value}" for name, value in whole.items())])


@pytest.mark.parametrize("name", SOURCE_VALUES)
def test_a_source_takes_what_its_keys_say(name: str, tmp_path: Path) -> None:
    """Of each key the values at its edges, with the keys that it needs beside it."""
    beside = {other: SOURCE_VALUES[other][0][0] for other in COMPANIONS.get(name, ())}
    for good in SOURCE_VALUES[name][0]:
        (source,) = loaded(tmp_path, source_with(**{**beside, name: good})).sources
        expected = tomllib.loads(f"value = {good}")["value"]
        held = getattr(source, name)
        assert (str(held) if isinstance(held, Path) else held) == _without_slash(name, expected), good


def _without_slash(name: str, value: Any) -> Any:
    return value.rstrip("/") if name == "url" else value


@pytest.mark.parametrize("name", SOURCE_VALUES)
def test_a_source_refuses_what_its_keys_exclude(name: str, tmp_path: Path) -> None:
    """Of each key the values beyond its edges; the message names the source by its number, and the key."""
    for bad in SOURCE_VALUES[name][1]:
        told = refusal(tmp_path, source_with(**{name: bad}))
        assert told.startswith(f"site.toml: source 1: {name} must be "), bad
        assert len(told.splitlines()) == 1


def test_every_key_of_a_source_is_tried() -> None:
    """The table above has every key."""
    assert set(SOURCE_VALUES) == {entry.name for entry in ENTRIES if entry.section.path == "source"}


def test_a_source_has_defaults(tmp_path: Path) -> None:
    """A name and a URL are enough."""
    assert loaded(tmp_path, source_with()).sources == (Source(name="a", url="https://a.example"),)
    assert loaded(tmp_path, "").sources == ()
    assert (loaded(tmp_path, "").fhir.ask_sources, loaded(tmp_path, "").fhir.ask_seconds) == (False, 5.0)


TWO = "[[source]]\nname = '{}'\nurl = '{}'\n[[source]]\nname = '{}'\nurl = '{}'"
OAUTH2 = {
    "oauth2_token_url": "'https://login.example'",
    "oauth2_client_id": "'c'",
    "oauth2_client_secret_file": "'s'",
}
PLAIN = (
    "source a: url: http://pacs.example would get credentials over http, where others may read along; "
    "use https, or set allow_plain_http = true if the network between is trusted"
)
CONTRADICTIONS = {
    "one name": (
        TWO.format("a", "http://a", "a", "http://b"),
        "source a: the same name stands in 2 [[source]] tables",
    ),
    "one url": (
        TWO.format("a", "http://pacs/x/", "b", "http://PACS:80/x"),
        "source b: its url http://PACS:80/x is that of source a",
    ),
    "two authentications": (
        source_with(username="'u'", password="'p'", bearer_token_file="'t'"),
        "source a: username and bearer_token_file are kinds of authentication of which one can be used",
    ),
    "three authentications": (
        source_with(headers="{ authorization = 'x' }", bearer_token_file="'t'", **OAUTH2),
        "source a: headers (Authorization) and bearer_token_file and oauth2_token_url are kinds of auth",
    ),
    "no password": (source_with(username="'u'"), "source a: username needs password or password_file"),
    "no username": (source_with(password="'p'"), "source a: password needs username"),
    "no username for a file": (source_with(password_file="'p'"), "source a: password_file needs username"),
    "two passwords": (
        source_with(username="'u'", password="'p'", password_file="'f'"),
        "source a: password and password_file are both given",
    ),
    "no client": (
        source_with(oauth2_token_url="'https://login.example'"),
        "source a: oauth2_token_url needs oauth2_client_id and oauth2_client_secret_file",
    ),
    "no token server": (
        source_with(oauth2_client_id="'c'", oauth2_client_secret_file="'s'"),
        "source a: oauth2_client_id needs oauth2_token_url",
    ),
    "scope alone": (
        source_with(oauth2_scope="'x'"),
        "source a: oauth2_scope needs oauth2_token_url and oauth2_client_id and oauth2_client_secret_file",
    ),
    "key alone": (source_with(key="'k'"), "source a: key needs certificate"),
    "authority unused": (
        source_with(ca="'c'", verify_tls="false"),
        "source a: ca says nothing where verify_tls is false",
    ),
    "endpoint of a source": (
        source_with() + "\n[[source.endpoint]]\naddress = 'ftp://x'",
        "source a: endpoint: address must be an http or https URL",
    ),
    "password in the clear": (
        source_with(url="'http://pacs.example'", username="'u'", password_file="'p'"),
        PLAIN,
    ),
    "Authorization in the clear": (
        source_with(url="'http://pacs.example'", headers="{ AUTHORIZATION = 'x' }"),
        PLAIN,
    ),
    "cookie in the clear": (source_with(url="'http://pacs.example'", headers="{ Cookie = 'x' }"), PLAIN),
    "token in the clear": (source_with(url="'http://pacs.example'", bearer_token_file="'t'"), PLAIN),
    "OAuth 2 in the clear": (source_with(url="'http://pacs.example'", **OAUTH2), PLAIN),
    "client secret in the clear": (
        source_with(**{**OAUTH2, "oauth2_token_url": "'http://login.example'"}),
        "source a: oauth2_token_url: http://login.example would get credentials over http",
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_contradiction_in_sources_is_told(case: str, tmp_path: Path) -> None:
    """One line, which names the source and the keys."""
    text, expected = CONTRADICTIONS[case]
    told = refusal(tmp_path, text)
    assert told.startswith(expected)
    assert len(told.splitlines()) == 1


IN_ORDER = {
    "two sources": TWO.format("a", "http://pacs/x", "b", "http://pacs/y"),
    "certificate with its key": source_with(certificate="'c'"),
    "own authority": source_with(ca="'c'"),
    "no check of the server": source_with(verify_tls="false"),
    "Authorization of one's own": source_with(headers="{ Authorization = 'x' }"),
    "fields beside a password": source_with(headers="{ X = 'x' }", username="'u'", password="'p'"),
    "nothing to read along": source_with(url="'http://pacs.example'", headers="{ X = 'x' }"),
    "loopback": source_with(url="'http://127.0.0.1:8042'", username="'u'", password="'p'"),
    "loopback of IPv6": source_with(url="'http://[::1]:8042'", bearer_token_file="'t'"),
    "localhost": source_with(
        url="'http://LOCALHOST'", **{**OAUTH2, "oauth2_token_url": "'http://localhost:8'"}
    ),
    "with a word": source_with(
        url="'http://pacs.example'", username="'u'", password="'p'", allow_plain_http="true"
    ),
}


@pytest.mark.parametrize("case", IN_ORDER)
def test_sources_without_contradiction_are_taken(case: str, tmp_path: Path) -> None:
    """What looks like one of those above and is none."""
    assert loaded(tmp_path, IN_ORDER[case]).sources


def test_all_faults_of_nested_tables_are_told_at_once(tmp_path: Path) -> None:
    """Outer ones first, each with its place; a table that is not right doesn't hide what stands in it."""
    told = refusal(
        tmp_path,
        """
        [[source]]
        name = "a"
        page = 0
        [[source.endpoint]]
        name = ""
        [[source]]
        name = "b"
        url = "https://b"
        [[source.endpoint]]
        address = "https://b"
        host = "b"
        """,
    )
    assert told.splitlines() == [
        "site.toml: source 1 lacks url",
        "site.toml: source 1: page must be a whole number from 1 to 10000, not 0",
        "site.toml: source 1: endpoint 1 lacks address",
        "site.toml: source 1: endpoint 1: name must be a text that is not blank, not ''",
        "site.toml: source 2: endpoint 1: source.endpoint.host is not a known key; the nearest is dimse.host",
    ]


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


def test_the_environment_gives_an_array_whole(tmp_path: Path) -> None:
    """It replaces the members of the file, those within them too, and is blamed under its own name."""
    text = source_with() + "\n[[source.endpoint]]\naddress = 'https://a.example/x'"
    given = '[{"name": "b", "url": "https://b", "endpoint": [{"address": "https://b/y", "name": "Y"}]}]'
    (source,) = loaded(tmp_path, text, PACSBRIDGE__SOURCE=given).sources
    assert (source.name, [one.address for one in source.endpoints]) == ("b", ["https://b/y"])
    told = refusal(tmp_path, text, PACSBRIDGE__SOURCE=given.replace("https://b/y", ""))
    assert told.startswith("PACSBRIDGE__SOURCE: source 1: endpoint 1: address must be a text")
    told = refusal(tmp_path, text, PACSBRIDGE__SOURCE="a, b")
    assert told == "PACSBRIDGE__SOURCE: source must be an array of tables: [[source]]"


def test_the_environment_gives_no_part_of_an_array(tmp_path: Path) -> None:
    """A key of one member is refused, and the variable that would do is named by its table."""
    for name in ("SOURCE__URL", "SOURCE__ENDPOINT", "SOURCE__ENDPOINT__ADDRESS", "PEER__HOST"):
        array = name.partition("__")[0].lower()
        path = name.replace("__", ".").lower()
        told = refusal(tmp_path, source_with(), **{f"PACSBRIDGE__{name}": "x"})
        expected = f"{path} is part of an array of tables, which is given whole: [[{array}]]"
        assert told == f"PACSBRIDGE__{name}: {expected}"


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


@pytest.mark.parametrize(
    ("own", "bytes_"), [("", 2 << 30), ("min_free_bytes = 5", 10), ("reject_free_bytes = 7", 7)]
)
def test_the_watermark_follows_what_must_stay_free(tmp_path: Path, own: str, bytes_: int) -> None:
    """Who is content with less room for instances turns callers away later as well."""
    blobs = loaded(tmp_path, f"[blobs]\n{own}").blobs
    assert (blobs.reject_free_bytes, blobs.reject_used_percent) == (bytes_, 100)


def test_listening_beyond_loopback_takes_a_word(tmp_path: Path) -> None:
    """With the word it is taken; loopback needs none."""
    both = "allow_insecure_listen = true\n[dimse]\nhost = '0.0.0.0'"
    own = "[dimse]\nhost = '0.0.0.0'\nallow_insecure_listen = true"
    for text in (both, own):
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


def test_secrets_of_sources_are_masked(tmp_path: Path) -> None:
    """Password and values of fields whole, wherever they are shown; an error does not quote them either."""
    text = source_with(username="'u'", password="'https://hush'", headers="{ X-Key = 'hush', Y = 'hush' }")
    settings = loaded(tmp_path, text)
    (shown,) = effective(settings)["source"]
    assert (shown["username"], shown["password"]) == ("u", "***")
    assert shown["headers"] == {"X-Key": "***", "Y": "***"}
    assert "hush" not in json.dumps(effective(settings))
    assert "hush" not in repr(settings)
    (bare,) = effective(loaded(tmp_path, source_with()))["source"]
    assert (bare["password"], bare["headers"]) == (None, {})
    for bad in (source_with(password="['hush']"), source_with(headers="{ 'X Y' = 'hush' }")):
        assert "hush" not in refusal(tmp_path, bad)


NESTED = """
[[source]]
name = "main-pacs"
url = "http://127.0.0.1:8042/dicom-web"
poll_seconds = 60
timezone = "Europe/Berlin"
certificate = "/etc/ssl/own.pem"
on_delete = "unknown"
[[source.endpoint]]
address = "https://pacs.example.org/dicom-web"
[[source.endpoint]]
connection_type = "ihe-iid"
address = "https://viewer.example.org/?study={study_uid}"
mime_types = ["text/html"]
[[source]]
name = "other"
url = "https://other.example.org"
[[peer]]
ae_title = "CT1"
"""


def test_nested_tables_go_round(tmp_path: Path) -> None:
    """They arrive where they stand; written down as shown and read again, they are the same."""
    settings = loaded(tmp_path, NESTED)
    first, second = settings.sources
    assert [one.connection_type for one in first.endpoints] == ["dicom-wado-rs", "ihe-iid"]
    assert second.endpoints == ()
    shown = _given(effective(settings))
    assert [one["address"] for one in shown["source"][0]["endpoint"]] == [
        "https://pacs.example.org/dicom-web",
        "https://viewer.example.org/?study={study_uid}",
    ]
    lines = [f"{name} = {reference.toml(one)}" for name, one in shown.items()]
    assert loaded(tmp_path, "\n".join(lines)) == settings


def _given(shown: Any) -> Any:
    """Without the keys that have no value, at every depth."""
    if isinstance(shown, dict):
        return {name: _given(one) for name, one in shown.items() if one is not None}
    return [_given(one) for one in shown] if isinstance(shown, list) else shown


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


def test_endpoints_of_a_source(tmp_path: Path) -> None:
    """Its tables, or the archive itself."""
    first, second = loaded(tmp_path, NESTED).sources
    wado, viewer = source_endpoint_specs(first)
    assert (wado.address, viewer.is_template) == ("https://pacs.example.org/dicom-web", True)
    (own,) = source_endpoint_specs(second)
    assert (own.address, own.connection_type) == ("https://other.example.org", "dicom-wado-rs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """The innermost."""

    wet: bool = key(kinds.FLAG, False, "Whether it is wet.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One that holds a table and an array."""

    leaf: Leaf = section(Leaf)
    buds: tuple[Leaf, ...] = tables(Leaf, "bud", "Not open yet.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The top."""

    trunk: Branch = section(Branch)
    boughs: tuple[Branch, ...] = tables(Branch, "bough")


def test_tables_are_walked_at_every_depth() -> None:
    """Each after the one round it; its keys stand in the innermost array round it."""
    found = [(one.path, one.array, one.meaning) for one in sections(Tree)]
    assert found == [
        ("", "", "The top."),
        ("trunk", "", "One that holds a table and an array."),
        ("trunk.leaf", "", "The innermost."),
        ("trunk.bud", "trunk.bud", "Not open yet."),
        ("bough", "bough", "One that holds a table and an array."),
        ("bough.leaf", "bough", "The innermost."),
        ("bough.bud", "bough.bud", "Not open yet."),
    ]
    paths = [entry.path for one in sections(Tree) for entry in entries(one)]
    assert paths == ["trunk.leaf.wet", "trunk.bud.wet", "bough.leaf.wet", "bough.bud.wet"]


def test_a_class_may_stand_in_two_places() -> None:
    """`[[endpoint]]` and `[[source.endpoint]]` have the same keys and each its own explanation."""
    places: dict[str, Section] = {one.path: one for one in SECTIONS}
    own, of_source = places["endpoint"], places["source.endpoint"]
    assert own.cls is of_source.cls and own.meaning != of_source.meaning
    assert [one.name for one in entries(own)] == [one.name for one in entries(of_source)]


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


@pytest.mark.parametrize(
    ("own", "expected"), [("", ("echo",)), ("services = []", ()), ("services = ['echo']", ("echo",))]
)
def test_a_peer_may_ask_for_what_is_switched_on(tmp_path: Path, own: str, expected: tuple[str, ...]) -> None:
    """Unless its table says otherwise: switching a service off needs no change of each peer."""
    text = f"[dimse]\nservices = ['echo']\n[[peer]]\nae_title = 'A'\n{own}"
    assert loaded(tmp_path, text).peers[0].services == expected


@pytest.mark.parametrize(
    "way",
    ["trusted_proxies = ['10.0.0.5']", "tls = { certificate = 'c', key = 'k' }"],
)
def test_http_with_tokens_and_tls_may_be_reached(way: str, tmp_path: Path) -> None:
    """Beyond loopback no further word is needed where callers authenticate and nobody reads along."""
    text = f"""
        [fhir]
        host = "192.0.2.1"
        {way}
        [auth]
        jwks_file = "k"
        issuer = "i"
        audience = "a"
    """
    settings = loaded(tmp_path, text)
    assert settings.auth.on
    assert settings.fhir.base_url.startswith("https" if "tls" in way else "http:")
