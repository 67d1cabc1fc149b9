"""The tables of the index, for both engines."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from pacsbridge.kernel.query import STUDY_ORDERS

VERSION = 8
"""The schema version that this code reads and writes: the number of the last migration."""

metadata = MetaData()

Key = BigInteger().with_variant(Integer, "sqlite")
"""A row number; SQLite numbers rows by itself only under the type INTEGER."""

Ordered = Text().with_variant(Text(collation="C"), "postgresql")
"""A text that is compared by its code points, on both engines."""

NEVER = -(2**62)
"""The moments of a resource without a date: before all others, so that they sort and compare as numbers."""

WIDE = 86_400_000_000
"""Microseconds of a day: dates that cover more are few, and have an index of their own."""

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("pack", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
)

patient = Table(
    "patient",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False, unique=True),
    Column("facts", Text, nullable=False),
)

study = Table(
    "study",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False, unique=True),
    Column("patient", Key, ForeignKey("patient.pk"), nullable=False, index=True),
    Column("facts", Text, nullable=False),
    Column("sources", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("published", Integer, nullable=False),
    Column("changed", BigInteger),
    Column("due", BigInteger),
    Index("ix_study_due", "due"),
)

series = Table(
    "series",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("study", Key, ForeignKey("study.pk"), nullable=False),
    Column("uid", Text, nullable=False),
    Column("facts", Text, nullable=False),
    UniqueConstraint("study", "uid", name="uq_series_study_uid"),
    Index("ix_series_uid", "uid"),
)

instance = Table(
    "instance",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("uid", Text, nullable=False, unique=True),
    Column("study", Key, ForeignKey("study.pk"), nullable=False),
    Column("series", Key, ForeignKey("series.pk"), nullable=False),
    Column("sop_class", Text, nullable=False),
    Column("number", BigInteger),
    Column("title", Text),
    Column("availability", Text),
    Column("attributes", Text),
    Column("transfer_syntax", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("source", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Index("ix_instance_study_series", "study", "series"),
)

report = Table(
    "report",
    metadata,
    Column("source", Text, primary_key=True),
    Column("study_uid", Text, primary_key=True),
    Column("digest", LargeBinary),
    Column("date", Text),
    Column("body", LargeBinary),
    Column("content", LargeBinary),
    Column("fetched", BigInteger, nullable=False),
    Column("told", BigInteger, nullable=False, server_default="0"),
    Column("gone", Text),
    Index("ix_report_study_uid", "study_uid"),
    Index("ix_report_date", "source", "date"),
)
"""What each archive says about a study: `digest` is that of its record, None for it to be asked for again;
`content` that of the facts in `body`, which lack where they could not be had. `told` is when it said
something new, `fetched` when it was asked last. UIDs outlive row numbers."""

for _name, _columns, _where in (
    ("usable", (report.c.source,), "body IS NOT NULL AND gone IS NULL"),
    ("unusable", (report.c.source,), "body IS NULL AND gone IS NULL"),
    ("owed", (report.c.source, report.c.fetched), "digest IS NULL AND gone IS NULL"),
):
    Index(
        f"ix_report_{_name}",
        *_columns,
        sqlite_where=literal_column(_where),
        postgresql_where=literal_column(_where),
    )

arrival = Table(
    "arrival",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("source", Text, primary_key=True),
    Column("instances", BigInteger, nullable=False),
    Column("studies", BigInteger, nullable=False),
)
"""What has come in an hour (since 1970) from a source: pushed instances, studies told by an archive."""

reported_instance = Table(
    "reported_instance",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("study", Key, ForeignKey("study.pk"), nullable=False),
    Index("ix_reported_instance_study", "study", "source"),
)

study_record = Table(
    "study_record",
    metadata,
    Column("study", Key, ForeignKey("study.pk"), primary_key=True),
    Column("body", Text, nullable=False),
)
"""What C-FIND and QIDO-RS answer of a study and its patient: tag → values. Written as it is published."""

study_key = Table(
    "study_key",
    metadata,
    Column("study", Key, ForeignKey("study.pk"), primary_key=True),
    Column("patient", Key, nullable=False),
    Column("uid", Text, nullable=False),
    Column("date", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("patient_id", Ordered, nullable=False),
    Column("patient_name", Ordered, nullable=False),
    Column("birth_date", BigInteger, nullable=False),
    Column("sex", Text, nullable=False),
    Column("accession", Ordered, nullable=False),
    Column("study_id", Ordered, nullable=False),
    Column("modalities", Text, nullable=False),
    Column("series", BigInteger, nullable=False),
    Column("instances", BigInteger, nullable=False),
    Index("ix_study_key_date", "date", "study"),
    Index("ix_study_key_uid", "uid"),
    Index("ix_study_key_patient", "patient"),
    Index("ix_study_key_patient_id", "patient_id"),
    *(Index(f"ix_study_key_{column}", column, "study") for column in STUDY_ORDERS),
)
"""What studies are found by, narrow: a wildcard at the beginning of a value looks at every row."""

series_record = Table(
    "series_record",
    metadata,
    Column("study", Key, ForeignKey("study.pk"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("modality", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_series_record_uid", "uid"),
)
"""The same of a series; `number` is its place in the study."""

encoding = Table(
    "encoding",
    metadata,
    Column("sop_class", Text, primary_key=True),
    Column("transfer_syntax", Text, primary_key=True),
)
"""How instances of each SOP class are encoded, or have been: what C-GET prefers to negotiate."""

rejection = Table(
    "rejection",
    metadata,
    Column("sop_uid", Text, primary_key=True),
    Column("by_uid", Text, primary_key=True),
    Column("study_uid", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_rejection_study_uid", "study_uid"),
)

issue = Table(
    "issue",
    metadata,
    Column("instance_uid", Text, primary_key=True),
    Column("keyword", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("study_uid", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_issue_study_uid", "study_uid"),
)

conflict = Table(
    "conflict",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("study_uid", Text, nullable=False),
    Column("instance_uid", Text, nullable=False),
    Column("level", Text, nullable=False),
    Column("field", Text, nullable=False),
    Column("known", Text, nullable=False),
    Column("new", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("ix_conflict_study_uid", "study_uid"),
    Index("ix_conflict_instance_uid", "instance_uid"),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("location", Text),
    Column("attempts", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    UniqueConstraint("kind", "key", "source", "reason", name="uq_dead_letter"),
    Index("ix_dead_letter_key", "key"),
    Index("ix_dead_letter_last", "last", "pk"),
)

commitment = Table(
    "commitment",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("calling_ae", Text, nullable=False),
    Column("transaction_uid", Text, nullable=False),
    Column("asked", LargeBinary, nullable=False),
    Column("failures", LargeBinary),
    Column("requested", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    UniqueConstraint("calling_ae", "transaction_uid", name="uq_commitment"),
    Index("ix_commitment_due", "due"),
    sqlite_autoincrement=True,
)
"""Storage commitment requests whose outcome has not been told yet; row numbers are never used again."""

resource = Table(
    "resource",
    metadata,
    Column("pk", Key, primary_key=True),
    Column("type", Text, nullable=False),
    Column("id", Ordered, nullable=False),
    Column("version", Integer, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("study", Key),
    Column("low", BigInteger, nullable=False, server_default=str(NEVER)),
    Column("high", BigInteger, nullable=False, server_default=str(NEVER)),
    Column("local_low", BigInteger, nullable=False, server_default=str(NEVER)),
    Column("local_high", BigInteger, nullable=False, server_default=str(NEVER)),
    Index("ix_resource_study", "study"),
    UniqueConstraint("type", "id", name="uq_resource_type_id"),
    Index("ix_resource_type_pk", "type", "pk"),
    Index("ix_resource_type_updated", "type", "updated", "pk"),
    Index("ix_resource_low", "type", "low", "pk", "high"),
    Index("ix_resource_local", "type", "local_low", "pk", "local_high"),
    sqlite_autoincrement=True,
)

for _name, _low, _high in (("low", "low", "high"), ("local", "local_low", "local_high")):
    _wide = resource.c[_high] - resource.c[_low] > literal_column(str(WIDE))
    Index(
        f"ix_resource_{_name}_wide",
        resource.c.type,
        resource.c[_low],
        resource.c.pk,
        sqlite_where=_wide,
        postgresql_where=_wide,
    )

version = Table(
    "version",
    metadata,
    Column("resource", Key, ForeignKey("resource.pk"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("updated", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("body", LargeBinary),
    Column("type", Text, nullable=False, server_default=""),
    Column("low", BigInteger, nullable=False, server_default=str(NEVER)),
    Column("local_low", BigInteger, nullable=False, server_default=str(NEVER)),
    Index("ix_version_type_updated", "type", "updated", "resource", "version"),
    Index("ix_version_updated", "updated", "resource", "version"),
)

summary = Table(
    "summary",
    metadata,
    Column("resource", Key, ForeignKey("resource.pk"), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

token = Table(
    "search_token",
    metadata,
    Column("resource", Key, ForeignKey("resource.pk"), primary_key=True),
    Column("param", Text, primary_key=True),
    Column("system", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Index("ix_search_token", "param", "value", "resource", "system"),
)

Index(
    "ix_search_token_system",
    token.c.param,
    token.c.system,
    token.c.resource,
    sqlite_where=token.c.system != literal_column("''"),
    postgresql_where=token.c.system != literal_column("''"),
)

reference = Table(
    "search_reference",
    metadata,
    Column("resource", Key, ForeignKey("resource.pk"), primary_key=True),
    Column("param", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Index("ix_search_reference", "param", "target", "resource", "type"),
)

string = Table(
    "search_string",
    metadata,
    Column("resource", Key, ForeignKey("resource.pk"), primary_key=True),
    Column("param", Text, primary_key=True),
    Column("value", Ordered, primary_key=True),
    Index("ix_search_string", "param", "value", "resource"),
)

SEARCH_TABLES = (token, reference, string)
"""The tables whose rows say how a published resource can be found."""
