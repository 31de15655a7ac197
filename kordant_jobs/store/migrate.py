"""Migrations of every table of ours, the engine's included, by Alembic. The scripts are in `migrations/versions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from kordant_jobs.errors import SettingsError
from kordant_jobs.postgres.database import saying_what_failed
from kordant_jobs.postgres.schema import DAGSTER_SCHEMA, SCHEMA

if TYPE_CHECKING:  # Alembic takes a quarter of a second to import, and only migrations need it
    from alembic.config import Config


def _alembic(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Migrate the database to `revision`. Concurrent calls wait for each other; at the newest revision nothing happens.

    Raises:
        SettingsError: there is no such revision, or this version of the project does not know the database's.
    """
    from alembic import command

    with saying_what_failed(), engine.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('kordant_jobs.migrations'))"))
        connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        connection.execute(sa.text(f"CREATE SCHEMA IF NOT EXISTS {DAGSTER_SCHEMA}"))
        config = _alembic(connection)
        _must_be_known(config, revision)
        _must_know_its_state(config, connection)
        command.upgrade(config, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Migrate the database back to `revision` (`base` drops all our tables).

    Raises:
        SettingsError: there is no such revision.
    """
    from alembic import command

    with saying_what_failed(), engine.begin() as connection:
        config = _alembic(connection)
        _must_be_known(config, revision)
        command.downgrade(config, revision)


def _must_know_its_state(config: Config, connection: Connection) -> None:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    stands_at = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
    if stands_at is None or stands_at in known:
        return
    if stands_at < min(known):
        raise SettingsError(
            f"the database is at migration {stands_at}; this version of kordant-jobs upgrades from {min(known)} on. "
            f"Take it there with the version that made it, or start with an empty database."
        )
    raise SettingsError(
        f"the database is at migration {stands_at}, of a later version of kordant-jobs; this one knows up to "
        f"{max(known)}. Use that version, or take the database back with it: `db downgrade {max(known)}`."
    )


def _must_be_known(config: Config, revision: str) -> None:
    from alembic.script import ScriptDirectory

    known = [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    relative = revision[:1] in {"+", "-"} and revision[1:].isdecimal()
    if revision not in {"head", "base", *known} and not (relative and 0 < int(revision[1:]) <= len(known)):
        raise SettingsError(f"there is no migration {revision!r}; there are base, {', '.join(known)} and head.")


def draft(engine: Engine, what: str) -> Path:
    """Draft a new migration from the database's current state to the definitions in `tables`; a person has to review
    it.

    Raises:
        SettingsError: the database is not at the newest migration yet, or there is nothing to do.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    with saying_what_failed(), engine.begin() as connection:
        config = _alembic(connection)
        config.set_main_option("file_template", "m%%(rev)s_%%(slug)s")
        config.set_main_option("path_separator", "os")
        newest = ScriptDirectory.from_config(config).get_current_head() or "0000"
        try:
            made = command.revision(config, what, autogenerate=True, rev_id=f"{int(newest) + 1:04d}")
        except CommandError as error:
            raise SettingsError(f"{error} Run `kordant-jobs db upgrade` first.") from None
    assert made is not None  # noqa: S101 - one revision was asked for
    assert not isinstance(made, list)  # noqa: S101 - as above
    return Path(made.path)


def newest() -> str:
    """The id of this version's newest migration."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return str(ScriptDirectory.from_config(config).get_current_head())


def revision(engine: Engine) -> str | None:
    """The current migration of the database, None before the first."""
    from alembic.runtime.migration import MigrationContext

    with saying_what_failed(), engine.connect() as connection:
        return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()
