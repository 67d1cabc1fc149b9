"""Numbered migrations, forward only; each runs in one transaction with its number.

A fresh database runs all of them, so that fresh and migrated are the same by construction; a test compares
the outcome with `schema.metadata`. A migration never changes once released.
"""

from collections.abc import Callable

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from pacsbridge.errors import Misconfigured
from pacsbridge.store.engine import Database
from pacsbridge.store.later_migrations import conflicts_of_instances, orders_of_studies, watched

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_NAME = "schema_version"


def current(database: Database) -> int:
    """The version of the database's schema; 0 when it is empty."""
    with database.read() as connection:
        return _version(connection)


def pending(database: Database) -> int:
    """How many migrations the database lacks. Misconfigured when it is newer than this code."""
    found = current(database)
    if found > len(MIGRATIONS):
        raise Misconfigured(
            f"store: the database has schema version {found}, this pacsbridge knows {len(MIGRATIONS)}: "
            "it was written by a newer pacsbridge; install that one or restore a backup"
        )
    return len(MIGRATIONS) - found


def migrate(database: Database) -> int:
    """Bring the schema up to date; returns how many migrations ran. Safe to call from several processes."""
    done = 0
    while pending(database):
        with database.write(patient=True) as connection:
            done += _next(connection)
    return done


def _next(connection: Connection) -> int:
    found = _version(connection)
    if found >= len(MIGRATIONS):
        return 0
    MIGRATIONS[found](Operations(MigrationContext.configure(connection)))
    connection.execute(
        sa.text("UPDATE setting SET value = :v WHERE name = :n"), {"v": str(found + 1), "n": _NAME}
    )
    return 1


def _version(connection: Connection) -> int:
    if not sa.inspect(connection).has_table("setting"):
        return 0
    found = connection.execute(sa.text("SELECT value FROM setting WHERE name = :n"), {"n": _NAME}).scalar()
    return int(found or 0)


def _first(op: Operations) -> None:
    """The tables of the first release."""
    _settings(op)
    _studies(op)
    _instances(op)
    _records(op)
    _documents(op)
    _search_rows(op)
    op.execute(f"INSERT INTO setting (name, value) VALUES ('{_NAME}', '0')")


def _settings(op: Operations) -> None:
    op.create_table(
        "setting",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("pack", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )


def _studies(op: Operations) -> None:
    op.create_table(
        "patient",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("facts", sa.Text, nullable=False),
    )
    op.create_table(
        "study",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=False),
        sa.Column("uid", sa.Text, nullable=False, unique=True),
        sa.Column("patient", _KEY, sa.ForeignKey("patient.pk"), nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("sources", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("published", sa.Integer, nullable=False),
        sa.Column("changed", sa.BigInteger),
        sa.Column("due", sa.BigInteger),
    )
    op.create_index("ix_study_patient", "study", ["patient"])
    op.create_index("ix_study_due", "study", ["due"])
    op.create_table(
        "series",
        sa.Column("pk", _KEY, primary_key=True, autoincrement=False),
        sa.Column("study", _KEY, sa.ForeignKey("study.pk"), nullable=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.UniqueConstraint("study", "uid", name="uq_series_study_uid"),
    )
    op.create_index("ix_series_uid", "series", ["uid"])


def _instances(op: Operations) -> None:
    op.create_table(
        "instance",
        sa.Column("pk", _KEY, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False, unique=True),
        sa.Column("study", _KEY, sa.ForeignKey("study.pk"), nullable=False),
        sa.Column("series", _KEY, sa.ForeignKey("series.pk"), nullable=False),
        sa.Column("sop_class", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.Column("title", sa.Text),
        sa.Column("availability", sa.Text),
        sa.Column("transfer_syntax", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.LargeBinary, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_instance_study_series", "instance", ["study", "series"])


def _records(op: Operations) -> None:
    op.create_table(
        "rejection",
        sa.Column("sop_uid", sa.Text, primary_key=True),
        sa.Column("by_uid", sa.Text, primary_key=True),
        sa.Column("study_uid", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_rejection_study_uid", "rejection", ["study_uid"])
    op.create_table(
        "issue",
        sa.Column("instance_uid", sa.Text, primary_key=True),
        sa.Column("keyword", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("study_uid", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_issue_study_uid", "issue", ["study_uid"])
    op.create_table(
        "conflict",
        sa.Column("pk", _KEY, primary_key=True),
        sa.Column("study_uid", sa.Text, nullable=False),
        sa.Column("instance_uid", sa.Text, nullable=False),
        sa.Column("level", sa.Text, nullable=False),
        sa.Column("field", sa.Text, nullable=False),
        sa.Column("known", sa.Text, nullable=False),
        sa.Column("new", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_conflict_study_uid", "conflict", ["study_uid"])
    op.create_table(
        "dead_letter",
        sa.Column("pk", _KEY, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("location", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("kind", "key", "source", "reason", name="uq_dead_letter"),
    )
    op.create_index("ix_dead_letter_key", "dead_letter", ["key"])


def _documents(op: Operations) -> None:
    op.create_table(
        "resource",
        sa.Column("pk", _KEY, primary_key=True),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("study", _KEY),
        sa.UniqueConstraint("type", "id", name="uq_resource_type_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_resource_study", "resource", ["study"])
    op.create_index("ix_resource_type_pk", "resource", ["type", "pk"])
    op.create_index("ix_resource_type_updated", "resource", ["type", "updated", "pk"])
    op.create_table(
        "version",
        sa.Column("resource", _KEY, sa.ForeignKey("resource.pk"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("updated", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary),
    )


def _search_rows(op: Operations) -> None:
    shapes: dict[str, tuple[sa.Column[str] | sa.Column[int], ...]] = {
        "search_token": (sa.Column("system", sa.Text), sa.Column("value", sa.Text)),
        "search_reference": (sa.Column("type", sa.Text), sa.Column("target", sa.Text)),
        "search_date": (sa.Column("low", sa.BigInteger), sa.Column("high", sa.BigInteger)),
        "search_string": (sa.Column("value", sa.Text),),
    }
    for name, columns in shapes.items():
        op.create_table(
            name,
            sa.Column("resource", _KEY, sa.ForeignKey("resource.pk"), nullable=False),
            sa.Column("param", sa.Text, nullable=False),
            *(sa.Column(column.name, column.type, nullable=False) for column in columns),
            sa.PrimaryKeyConstraint("resource", "param", *(column.name for column in columns)),
        )
    op.create_index("ix_search_token", "search_token", ["param", "value", "resource", "system"])
    op.create_index("ix_search_reference", "search_reference", ["param", "target", "resource", "type"])
    op.create_index("ix_search_date", "search_date", ["param", "low", "high", "resource"])
    op.create_index("ix_search_string", "search_string", ["param", "value", "resource"])


def _searched(op: Operations) -> None:
    """What searching, sorting and history need; `Store.refresh` fills in what the documents say."""
    op.drop_table("search_date")
    _dates(op, "resource", ("low", "high", "local_low", "local_high"))
    _dates(op, "version", ("low", "local_low"))
    op.create_index("ix_resource_low", "resource", ["type", "low", "pk", "high"])
    op.create_index("ix_resource_local", "resource", ["type", "local_low", "pk", "local_high"])
    _partial(op, "ix_resource_low_wide", "resource", ["type", "low", "pk"], "high - low > 86400000000")
    _partial(
        op,
        "ix_resource_local_wide",
        "resource",
        ["type", "local_low", "pk"],
        "local_high - local_low > 86400000000",
    )
    _partial(op, "ix_search_token_system", "search_token", ["param", "system", "resource"], "system != ''")
    op.add_column("version", sa.Column("type", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE version SET type = (SELECT type FROM resource WHERE pk = version.resource)")
    op.create_index("ix_version_type_updated", "version", ["type", "updated", "resource", "version"])
    op.create_index("ix_version_updated", "version", ["updated", "resource", "version"])
    op.create_table(
        "summary",
        sa.Column("resource", _KEY, sa.ForeignKey("resource.pk"), primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE resource ALTER COLUMN id TYPE text COLLATE "C"')
        op.execute('ALTER TABLE search_string ALTER COLUMN value TYPE text COLLATE "C"')


def _reported(op: Operations) -> None:
    """What archives say about studies."""
    op.create_table(
        "report",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("study_uid", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary),
        sa.Column("date", sa.Text),
        sa.Column("body", sa.LargeBinary),
        sa.Column("content", sa.LargeBinary),
        sa.Column("fetched", sa.BigInteger, nullable=False),
        sa.Column("told", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("gone", sa.Text),
    )
    op.create_index("ix_report_study_uid", "report", ["study_uid"])
    op.create_index("ix_report_date", "report", ["source", "date"])
    op.create_table(
        "reported_instance",
        sa.Column("uid", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("study", _KEY, sa.ForeignKey("study.pk"), nullable=False),
    )
    op.create_index("ix_reported_instance_study", "reported_instance", ["study", "source"])
    _commitments(op)


def _commitments(op: Operations) -> None:
    """What is asked of storage commitment."""
    op.create_table(
        "commitment",
        sa.Column("pk", _KEY, primary_key=True),
        sa.Column("calling_ae", sa.Text, nullable=False),
        sa.Column("transaction_uid", sa.Text, nullable=False),
        sa.Column("asked", sa.LargeBinary, nullable=False),
        sa.Column("failures", sa.LargeBinary),
        sa.Column("requested", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("calling_ae", "transaction_uid", name="uq_commitment"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_commitment_due", "commitment", ["due"])


def _queried(op: Operations) -> None:
    """What C-FIND and QIDO-RS answer from; every study is published again, and archives are asked again."""
    op.add_column("instance", sa.Column("attributes", sa.Text))
    op.create_table(
        "study_record",
        sa.Column("study", _KEY, sa.ForeignKey("study.pk"), primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    ordered = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    texts = ("patient_id", "patient_name", "accession", "study_id")
    op.create_table(
        "study_key",
        sa.Column("study", _KEY, sa.ForeignKey("study.pk"), primary_key=True, autoincrement=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("sex", sa.Text, nullable=False),
        sa.Column("modalities", sa.Text, nullable=False),
        *(sa.Column(name, ordered, nullable=False) for name in texts),
        sa.Column("patient", _KEY, nullable=False),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("date", "time", "birth_date", "series", "instances")
        ),
    )
    op.create_index("ix_study_key_date", "study_key", ["date", "study"])
    for name in ("uid", "patient", "patient_id", "patient_name", "accession"):
        op.create_index(f"ix_study_key_{name}", "study_key", [name])
    op.create_table(
        "series_record",
        sa.Column("study", _KEY, sa.ForeignKey("study.pk"), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("modality", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("ix_series_record_uid", "series_record", ["uid"])
    op.execute("UPDATE study SET revision = revision + 1, due = 0, changed = coalesce(changed, 0)")
    op.execute("UPDATE report SET digest = NULL WHERE gone IS NULL")


def _retrieved(op: Operations) -> None:
    """How instances are encoded, by their SOP class."""
    columns = [sa.Column(name, sa.Text, primary_key=True) for name in ("sop_class", "transfer_syntax")]
    op.create_table("encoding", *columns)
    op.execute("INSERT INTO encoding SELECT DISTINCT sop_class, transfer_syntax FROM instance")


def _dates(op: Operations, table: str, columns: tuple[str, ...]) -> None:
    for name in columns:
        never = sa.Column(name, sa.BigInteger, nullable=False, server_default="-4611686018427387904")
        op.add_column(table, never)


def _partial(op: Operations, name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


MIGRATIONS: tuple[Callable[[Operations], None], ...] = (
    _first,
    _searched,
    _reported,
    _queried,
    _retrieved,
    watched,
    conflicts_of_instances,
    orders_of_studies,
)
"""Migration n+1 at index n."""
