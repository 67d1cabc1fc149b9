"""The tables of the audit log, which nothing changes once it is written: triggers of both engines see to it.

What events share (kind, outcome, who, where) is a facet: it is found by rows of its own, once, whereas each
event has but a patient, a resource and a study to be found by.

The log has a database of its own where that is a file, so that writing it neither waits for the index nor
makes what was read from the index look old; on a server it stands beside the index. It has a version of its
own for the same reason.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from pacsbridge.errors import Misconfigured

VERSION = 1

_TABLES = (
    "CREATE TABLE audit_setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    (
        "CREATE TABLE audit_event (seq {key} PRIMARY KEY, at BIGINT NOT NULL, facet BIGINT NOT NULL,"
        " patient TEXT NOT NULL, entity TEXT NOT NULL, study TEXT NOT NULL, content {bytes} NOT NULL,"
        " hash {bytes} NOT NULL)"
    ),
    "CREATE INDEX ix_audit_event_at ON audit_event (at, seq)",
    "CREATE INDEX ix_audit_event_facet ON audit_event (facet, seq)",
    "CREATE INDEX ix_audit_event_patient ON audit_event (patient, seq) WHERE patient <> ''",
    "CREATE INDEX ix_audit_event_entity ON audit_event (entity, seq) WHERE entity <> ''",
    "CREATE INDEX ix_audit_event_study ON audit_event (study, seq) WHERE study <> ''",
    "CREATE TABLE audit_facet (facet {key} PRIMARY KEY, name {bytes} NOT NULL UNIQUE)",
    (
        "CREATE TABLE audit_term (param TEXT NOT NULL, value {ordered} NOT NULL, facet BIGINT NOT NULL,"
        " system TEXT NOT NULL, PRIMARY KEY (param, value, facet, system))"
    ),
    (
        "CREATE TABLE audit_anchor (id INTEGER PRIMARY KEY CHECK (id = 0), through BIGINT NOT NULL,"
        " hash {bytes} NOT NULL)"
    ),
    (
        "CREATE TABLE audit_forward (destination TEXT PRIMARY KEY, through BIGINT NOT NULL,"
        " owner TEXT NOT NULL DEFAULT '', until BIGINT NOT NULL DEFAULT 0)"
    ),
    "INSERT INTO audit_anchor (id, through, hash) VALUES (0, 0, {empty})",
    f"INSERT INTO audit_setting (name, value) VALUES ('version', '{VERSION}')",
)

_WORDS = {
    "sqlite": {
        "key": "INTEGER",
        "bytes": "BLOB",
        "ordered": "TEXT",
        "empty": "x''",
    },
    "postgresql": {
        "key": "BIGINT",
        "bytes": "BYTEA",
        "ordered": 'TEXT COLLATE "C"',
        "empty": "''::bytea",
    },
}

_FIXED = "audit events are never changed"
_KEPT = "audit events are never deleted but by retention"
_FORWARD = "the anchor of the audit log never goes back"

_GUARDS: dict[str, Sequence[str]] = {
    "sqlite": (
        (
            "CREATE TRIGGER audit_event_fixed BEFORE UPDATE ON audit_event"
            f" BEGIN SELECT RAISE(ABORT, '{_FIXED}'); END"
        ),
        (
            "CREATE TRIGGER audit_event_kept BEFORE DELETE ON audit_event"
            " WHEN OLD.seq > (SELECT through FROM audit_anchor)"
            f" BEGIN SELECT RAISE(ABORT, '{_KEPT}'); END"
        ),
        (
            "CREATE TRIGGER audit_anchor_forward BEFORE UPDATE ON audit_anchor WHEN NEW.through < OLD.through"
            f" BEGIN SELECT RAISE(ABORT, '{_FORWARD}'); END"
        ),
        (
            "CREATE TRIGGER audit_anchor_kept BEFORE DELETE ON audit_anchor"
            f" BEGIN SELECT RAISE(ABORT, '{_KEPT}'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = '23514'; END $$"
        ),
        (
            "CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF OLD.seq > (SELECT through FROM audit_anchor) THEN"
            f" RAISE EXCEPTION USING MESSAGE = '{_KEPT}', ERRCODE = '23514'; END IF; RETURN OLD; END $$"
        ),
        (
            "CREATE TRIGGER audit_event_fixed BEFORE UPDATE ON audit_event FOR EACH ROW"
            f" EXECUTE FUNCTION audit_refuse('{_FIXED}')"
        ),
        (
            "CREATE TRIGGER audit_event_whole BEFORE TRUNCATE ON audit_event FOR EACH STATEMENT"
            f" EXECUTE FUNCTION audit_refuse('{_KEPT}')"
        ),
        (
            "CREATE TRIGGER audit_event_kept BEFORE DELETE ON audit_event FOR EACH ROW"
            " EXECUTE FUNCTION audit_keep()"
        ),
        (
            "CREATE TRIGGER audit_anchor_forward BEFORE UPDATE ON audit_anchor FOR EACH ROW"
            f" WHEN (NEW.through < OLD.through) EXECUTE FUNCTION audit_refuse('{_FORWARD}')"
        ),
        (
            "CREATE TRIGGER audit_anchor_kept BEFORE DELETE ON audit_anchor FOR EACH ROW"
            f" EXECUTE FUNCTION audit_refuse('{_KEPT}')"
        ),
    ),
}


def make(connection: Connection) -> None:
    """Make the tables where they are not there. Raises Misconfigured where a newer pacsbridge made them."""
    engine = connection.dialect.name
    if not connection.dialect.has_table(connection, "audit_setting"):
        for statement in (*(one.format(**_WORDS[engine]) for one in _TABLES), *_GUARDS[engine]):
            connection.exec_driver_sql(statement)
    found = connection.execute(text("SELECT value FROM audit_setting WHERE name = 'version'")).scalar()
    if int(found or 0) > VERSION:
        raise Misconfigured(f"audit: the log has version {found}, this pacsbridge knows {VERSION}")
