"""What the code has in its tables, the manual has: each row, by the name that people look for."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from prometheus_client import generate_latest

from pacsbridge import errors, metrics
from pacsbridge.access.scopes import supported
from pacsbridge.bridge import commitment
from pacsbridge.bridge.verification import KINDS as FINDINGS
from pacsbridge.cli import main
from pacsbridge.config.schema import ENTRIES
from pacsbridge.dicom.charsets import DEFINED_TERMS, charset_of
from pacsbridge.dicomweb import receipt
from pacsbridge.dicomweb.app import PICTURES, READS
from pacsbridge.dicomweb.faults import STATUS
from pacsbridge.dicomweb.media import MEDIA
from pacsbridge.dimse import admission, find, negotiation, retrieval, status
from pacsbridge.fhir.faults import FAULTS
from pacsbridge.fhir.routes import ROUTES
from pacsbridge.kernel import body_parts, modalities, schemes
from pacsbridge.kernel.attributes import ELEMENTS
from pacsbridge.kernel.audit import KINDS as EVENTS
from pacsbridge.kernel.mapping import ROWS
from pacsbridge.kernel.model import Level, Merge
from pacsbridge.kernel.query_keys import KEYS
from pacsbridge.kernel.search_parameters import ALIASES, SEARCHED
from pacsbridge.kernel.search_results import CONTROLS
from pacsbridge.kernel.search_values import PREFIXES
from pacsbridge.kernel.terminology import CONNECTION_TYPES
from pacsbridge.logs import FIELDS
from pacsbridge.manual import mapping, operations, paths, recording, searching
from pacsbridge.manual.book import pages
from pacsbridge.render.syntaxes import DECODED
from pacsbridge.web.app import ROUTES as ROUTES_OF_PAGES

SOURCE = Path(__file__).parent.parent.parent / "src" / "pacsbridge"


def section(slug: str, anchor: str) -> str:
    """The Markdown of a page from one heading to the next of its level, or of a higher one."""
    page = pages()[slug]
    level = next(one.level for one in page.headings if one.anchor == anchor)
    title = next(one.title for one in page.headings if one.anchor == anchor)
    found = re.search(rf"(?ms)^#{{{level}}} {re.escape(title)}$(.*?)(?=^#{{1,{level}}} |\Z)", page.markdown)
    assert found is not None, (slug, anchor)
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in a text, as cells."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not re.match(r"^\|[ -]*-", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("level", list(Level))
def test_every_row_of_the_mapping(level: Level) -> None:
    """Each fact with its attributes and their tags, its path, its merge, in the code's order."""
    expected = [row for row in ROWS if row.level is level and row.path]
    found = rows(section("mapping", level.value))[1:]
    assert len(found) == len(expected)
    for row, (attributes, path, how, merge) in zip(expected, found, strict=True):
        for keyword in row.keywords:
            tag = ELEMENTS[keyword].tag
            assert f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})" in attributes
        assert path.replace("`", "") == row.path
        assert merge == row.merge.value
        assert how


def test_every_fact_and_rule_is_explained() -> None:
    """What is said of facts and rules is said of all, and of none that is not there."""
    facts = {(row.level, row.name) for row in ROWS if row.path}
    assert {(level, name) for level, names in mapping.HOW.items() for name in names} == facts
    assert set(mapping.MERGES) == set(Merge)


def codes(anchor: str) -> dict[str, list[str]]:
    """The first cells of a table of codes, several names apart, with the rest of their rows, unquoted."""
    found = rows(section("codes", anchor))[1:]
    plain = [[cell.replace("`", "") for cell in row] for row in found]
    return {name: row[1:] for row in plain for name in row[0].split(", ")}


def test_every_code() -> None:
    """Modalities with their kind, body parts, schemes and connection types."""
    assert {code: row[0] for code, row in codes("modalities").items() if row[0]} == modalities.MODALITIES
    derived = {code for code, row in codes("modalities").items() if row[1] == "derived"}
    assert derived == modalities.DERIVED
    assert codes("body-parts") == {term: [*found] for term, found in body_parts.body_parts().items()}
    assert codes("coding-schemes") == {name: [system] for name, system in schemes.BY_DESIGNATOR.items()}
    assert codes("connection-types-of-endpoints").keys() == CONNECTION_TYPES.keys()
    assert codes("sides").keys() == set("LRB")


@pytest.mark.parametrize("type_", SEARCHED)
def test_every_search_parameter(type_: str) -> None:
    """Each with its expression and its modifiers, and what else it is called."""
    found = {row[0]: " ".join(row) for row in rows(section("searching", type_.lower()))[1:]}
    assert len(found) == len(SEARCHED[type_])
    for one in SEARCHED[type_].values():
        text = next(text for name, text in found.items() if name.split()[0] == f"`{one.code}`")
        assert one.type in text
        assert one.expression(type_) in text.replace("\\|", "|")
        assert all(f"`:{modifier}`" in text for modifier in one.supported_modifiers)
    aliases = {alias for alias, code in ALIASES.items() if code in SEARCHED[type_]}
    assert all(f"`{alias}`" in "".join(found) for alias in aliases)


def test_every_way_to_search() -> None:
    """Modifiers, prefixes and what shapes a result."""
    modifiers = {name for table in SEARCHED.values() for one in table.values() for name in one.modifiers}
    named = {one for table in SEARCHED.values() for p in table.values() for one in p.targets}
    assert searching.MODIFIERS.keys() == modifiers - named | {"missing"}
    assert searching.COMPARISONS.keys() == PREFIXES
    text = pages()["searching"].markdown
    assert all(f"`{name}`" in text for name in CONTROLS)


def test_meanings_are_of_parameters() -> None:
    """No meaning is left of a parameter that is gone."""
    known = {f"{type_}.{code}" for type_, table in SEARCHED.items() for code in table}
    shared = {code for table in SEARCHED.values() for code in table if code.startswith("_")}
    assert searching.MEANINGS.keys() <= known | shared


def test_every_query_key() -> None:
    """Each attribute with its tag, VR and level."""
    found = {row[0]: row for row in rows(section("queries", "keys"))}
    for key in KEYS.values():
        _name, tag, vr, level, _origin = found[key.keyword]
        assert (tag, vr) == (f"({key.tag[:4]},{key.tag[4:]})", key.vr)
        assert level.split()[0] == key.level.value


def test_every_setting() -> None:
    """Each key under the table of the file that it belongs to."""
    for entry in ENTRIES:
        name, repeated = entry.section.path, entry.section.repeated
        title = f"[[{name}]]" if repeated else f"[{name}]" if name else "At the top"
        found = pages()["configuration"].markdown.partition(f"## {title}\n")[2].partition("\n## ")[0]
        assert f"| `{entry.name}` |" in found, entry.path


def test_every_metric() -> None:
    """Each that is served, with its labels; and no other."""
    found = {row[0].strip("`"): row for row in rows(section("operations", "metrics"))[1:]}
    served = set(re.findall(r"^# HELP (\S+)", generate_latest(metrics.REGISTRY).decode(), re.MULTILINE))
    own = {name for name in served if not name.startswith("pacsbridge_process_")}
    assert set(found) == own
    assert found["pacsbridge_http_requests_total"][2] == "`route`, `method`, `status`"


def test_alerts_are_about_metrics_that_are_there() -> None:
    """Each name in the example rules is served, and each label is one of it."""
    rules = re.search(r"(?s)```yaml\n(.*?)```", pages()["operations"].markdown)
    assert rules is not None
    labels = {one.name: set(one.labels) for one in metrics.described()}
    asked = re.findall(r"(pacsbridge_\w+)(?:\{([^}]*)\})?", rules[1])
    assert len(asked) >= 5
    for name, matchers in asked:
        assert set(re.findall(r"(\w+)[!=]", matchers)) <= labels[name], name
    yaml = pytest.importorskip("ruamel.yaml", reason="no YAML reader: pip install check-jsonschema")
    assert yaml.YAML(typ="safe").load(rules[1])["groups"][0]["rules"]


def test_every_field_of_the_log() -> None:
    """All of the list, and none that has gone."""
    text = section("operations", "the-log")
    assert all(f"`{field}`" in text for field in FIELDS)
    assert operations.FIELD_MEANINGS.keys() <= FIELDS


def test_every_kind_of_dead_letter() -> None:
    """All kinds that the source makes."""
    sources = "".join(path.read_text(encoding="utf-8") for path in (SOURCE / "bridge").glob("*.py"))
    made = set(re.findall(r'DeadLetter\(\s*"([a-z]+)"', sources)) | {
        "damaged",
        "index",
        commitment.LETTER,
        "archive",
        "conflict",
    }
    assert operations.LETTERS.keys() == made


def test_every_error_of_http() -> None:
    """Each error with its status in both services and its issue type."""
    found = [tuple(row[:3]) for row in rows(section("http", "errors"))[1:]]
    expected = [
        (str(int(fault.status)), f"`{fault.code.value}`", str(int(STATUS[kind])))
        for kind, fault in FAULTS.items()
    ]
    assert sorted(found) == sorted(expected)


def test_every_path() -> None:
    """Each route of both services, with its method."""
    text = pages()["http"].markdown
    for route in ROUTES:
        assert f"`{route.method} /fhir{route.path}`" in text
    for path in (*READS, *PICTURES):
        assert f"`GET /dicomweb{path.replace(':.+', '')}`" in text
    assert all(f"`{scope}`" in text for scope in supported())


def test_every_page() -> None:
    """Each page for people, and no words about one that is gone."""
    text = pages()["http"].markdown
    shown = [
        route.path for route in ROUTES_OF_PAGES if route.method == "GET" and route.path[:8] != "/static/"
    ]
    names = {re.sub(r":[^/]*\}(?=/|$)", "}", path) for path in shown}
    assert all(f"`GET {name}`" in text for name in names)
    assert paths.PAGES.keys() <= names


STATUSES = {
    "c-store": {status.SUCCESS, *status.STATUSES.values()},
    "c-find": {
        find.PENDING,
        find.PENDING_WITHOUT_KEYS,
        find.CANCELLED,
        find.LIMITED,
        status.SUCCESS,
        0xA900,
        0xC000,
    },
    "c-get-and-c-move": {
        *(retrieval.PENDING, retrieval.CANCELLED, retrieval.SOME_FAILED, retrieval.NOT_COUNTED),
        *(retrieval.NONE_SENT, retrieval.UNKNOWN_DESTINATION, status.SUCCESS),
    },
    "n-action": {
        *status.ACTION_STATUSES.values(),
        *(status.NO_SUCH_CLASS, status.NO_SUCH_INSTANCE, status.NO_SUCH_ACTION),
    },
    "what-a-stored-instance-is-answered": set(receipt.REASONS.values()),
}


@pytest.mark.parametrize("service", STATUSES)
def test_every_status(service: str) -> None:
    """Each status that a service may answer with, once, with a cause."""
    found = rows(section("conformance", service))[1:]
    numbers = [int(row[0].strip("`"), 16) for row in found]
    assert set(numbers) >= STATUSES[service]
    assert sorted(set(numbers)) == numbers
    assert all(row[1] and row[2] for row in found)


def test_every_error_has_a_status() -> None:
    """No error of ours is without a row in the manual, whichever protocol it meets."""
    kinds = set(_errors(errors.PacsbridgeError))
    assert kinds <= FAULTS.keys()


def _errors(kind: type[errors.PacsbridgeError]) -> Iterator[type[errors.PacsbridgeError]]:
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ == "pacsbridge.errors":
            yield from _errors(one)


def test_every_event_and_finding() -> None:
    """What the audit log records, what `verify` finds; and no words about what is gone."""
    events = rows(section("security", "the-audit-log"))[1:]
    assert len(events) == len(EVENTS)
    assert recording.MEANINGS.keys() <= EVENTS.keys()
    found = {row[0].strip("`"): row[1] for row in rows(section("operations", "verify"))[1:]}
    assert found == dict(FINDINGS)
    assert recording.REMEDIES.keys() <= FINDINGS.keys()


def test_every_refusal_of_an_association() -> None:
    """Each reason with the three numbers of the A-ASSOCIATE-RJ."""
    found = {row[0]: row[1:] for row in rows(section("conformance", "why-an-association-is-rejected"))[1:]}
    assert found.keys() == admission.REFUSALS.keys()
    for reason, numbers in admission.REFUSALS.items():
        assert [int(cell.split()[0]) for cell in found[reason]] == list(numbers)


def test_every_class_and_syntax() -> None:
    """Those of each service, those that are read here, those with media types, those that are decoded."""
    text = pages()["conformance"].markdown
    listed = set(re.findall(r"`([0-9.]{9,})`", text))
    services = {
        uid for uid in listed if negotiation.service_of(uid) in {"echo", "commitment", "find", "get", "move"}
    }
    assert len(services) == 8
    assert {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.104.1"} <= listed
    assert {*negotiation.READABLE, *MEDIA, *DECODED} <= listed
    assert len([uid for uid in listed if negotiation.is_storage(uid)]) > 150


def test_every_character_set() -> None:
    """The defined terms, each of which is understood."""
    text = section("conformance", "character-sets")
    for term in filter(None, DEFINED_TERMS):
        assert f"`{term}`" in text
        assert charset_of((term,)).problem is None


def test_every_command() -> None:
    """Each with its options; the groups' members too."""
    text = pages()["commands"].markdown
    for path, command in _commands(main, "pacsbridge"):
        found = text.partition(f"## {path}\n")[2].partition("\n## ")[0]
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(f"`{name}" in found for name in option.opts), (path, option.name)


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command
