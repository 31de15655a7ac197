"""Migrations lead to the schema that the code speaks of, and back, on tables that hold rows."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine

from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.schema import SCHEMA, metadata
from kordant_jobs.store import migrate
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.retention.deleting import unindexed_references
from kordant_jobs.store.tables import wanted_indexes
from kordant_jobs_tests.jobs.people import subscribe


def test_the_migrations_and_the_schema_agree(db: Engine) -> None:
    with db.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table_schema": SCHEMA,
                "include_schemas": True,
                "include_name": lambda name, kind, parents: name == SCHEMA if kind == "schema" else True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


def test_every_check_of_the_schema_is_in_the_database(db: Engine) -> None:
    wanted = {str(c.name) for t in metadata.tables.values() for c in t.constraints if isinstance(c, sa.CheckConstraint)}
    with db.connect() as connection:
        there = set(connection.execute(sa.text("SELECT conname FROM pg_constraint WHERE contype = 'c'")).scalars())
    assert wanted <= there


def test_down_and_up_again_works_on_filled_tables(db: Engine, keyring: Keyring) -> None:
    subscribe(db, keyring, "ann@example.com")
    newest = migrate.revision(db)
    migrate.downgrade(db, "base")
    assert migrate.revision(db) is None
    with db.connect() as connection:
        tables = sa.inspect(connection).get_table_names(schema=SCHEMA)
    assert set(tables) <= {"alembic_version"}
    migrate.upgrade(db)
    assert migrate.revision(db) == newest
    subscribe(db, keyring, "ann@example.com")


def test_upgrading_twice_changes_nothing(db: Engine, keyring: Keyring) -> None:
    subscribe(db, keyring, "ann@example.com")
    migrate.upgrade(db)
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.subscribers")).scalar_one() == 1


def test_no_migration_is_written_from_a_database_that_is_behind(db: Engine) -> None:
    migrate.downgrade(db, "-1")
    with pytest.raises(SettingsError, match=r"not up to date.*db upgrade"):
        migrate.draft(db, "nothing")


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        ("9999", r"at migration 9999, of a later version .* knows up to \d{4}"),
        ("0001", r"0001; .* upgrades from \d{4} on"),
    ],
)
def test_a_database_that_this_version_does_not_know_is_refused_in_one_line(
    db: Engine, revision: str, text: str
) -> None:
    with db.begin() as connection:
        connection.execute(sa.text(f"UPDATE kordant.alembic_version SET version_num = '{revision}'"))
    with pytest.raises(SettingsError, match=text):
        migrate.upgrade(db)


def test_every_foreign_key_has_an_index(db: Engine) -> None:
    with db.connect() as connection:
        assert [
            fault for table in metadata.sorted_tables for fault in unindexed_references(connection, table.name)
        ] == []


def test_an_index_that_is_missing_is_made_again_by_its_statement(db: Engine) -> None:
    names = ("job_requests_merge_once", "verdict_counts_checked_on_idx", "exposures_item_id_breach_name_key")
    there = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'kordant' ORDER BY 1"
    with db.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        before = connection.execute(sa.text(there)).all()
        assert {name for name, _ in before} - {"alembic_version_pkc"} == set(wanted_indexes())
        connection.execute(sa.text("ALTER TABLE kordant.exposures DROP CONSTRAINT exposures_item_id_breach_name_key"))
        connection.execute(sa.text(f"DROP INDEX kordant.{names[0]}, kordant.{names[1]}"))
        for name in names:
            connection.execute(sa.text(wanted_indexes()[name]))
        assert connection.execute(sa.text(there)).all() == before
