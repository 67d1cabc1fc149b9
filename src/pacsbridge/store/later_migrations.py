"""Migrations from the sixth on; see `migrations`."""

import sqlalchemy as sa
from alembic.operations import Operations


def watched(op: Operations) -> None:
    """What operators look at: arrivals by the hour, what archives owe, dead letters by their time."""
    op.create_table(
        "arrival",
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("instances", sa.BigInteger, nullable=False),
        sa.Column("studies", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO arrival (hour, source, instances, studies)"
        " SELECT received / 3600000000, source, count(*), 0 FROM instance GROUP BY 1, 2"
    )
    op.execute(
        "INSERT INTO arrival (hour, source, instances, studies)"
        " SELECT told / 3600000000, source, 0, count(*) FROM report WHERE body IS NOT NULL GROUP BY 1, 2"
    )
    _partial(op, "ix_report_usable", "report", ["source"], "body IS NOT NULL AND gone IS NULL")
    _partial(op, "ix_report_unusable", "report", ["source"], "body IS NULL AND gone IS NULL")
    _partial(op, "ix_report_owed", "report", ["source", "fetched"], "digest IS NULL AND gone IS NULL")
    op.create_index("ix_dead_letter_last", "dead_letter", ["last", "pk"])


def conflicts_of_instances(op: Operations) -> None:
    """`why` finds the conflicts of one instance."""
    op.create_index("ix_conflict_instance_uid", "conflict", ["instance_uid"])


def orders_of_studies(op: Operations) -> None:
    """Lists of studies in the order of what they are found by, each with the study behind it."""
    for column in ("patient_name", "accession"):
        op.drop_index(f"ix_study_key_{column}", "study_key")
    for column in ("patient_name", "accession", "modalities", "series", "instances"):
        op.create_index(f"ix_study_key_{column}", "study_key", [column, "study"])


def _partial(op: Operations, name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
