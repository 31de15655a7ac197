"""Databases for tests: copies of a migrated one, and one that is emptied between tests, which takes a hundredth."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import sqlalchemy as sa

from kordant_jobs.postgres import database

USES = 100
"""After so many tests a database is copied again: rows that went leave room behind in their tables."""

_TABLES = """SELECT c.oid, n.nspname, relname, format('of_%s_%s', nspname, relname) AS kept
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname IN ('kordant', 'dagster') AND relkind = 'r'"""

_KEEP = f"""
CREATE SCHEMA pristine;
CREATE TABLE pristine.shape_changes (command text);
CREATE FUNCTION pristine.note() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    IF TG_EVENT = 'sql_drop' AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary)
        OR TG_EVENT = 'ddl_command_end' AND EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                                                    WHERE coalesce(schema_name, '') NOT LIKE 'pg_temp%')
    THEN INSERT INTO pristine.shape_changes VALUES (TG_TAG); END IF; END $$;
CREATE TABLE pristine.sequences AS
    SELECT c.oid::regclass::text AS name, pg_sequence_last_value(c.oid) AS last_value, s.seqstart AS start
    FROM pg_class c JOIN pg_sequence s ON s.seqrelid = c.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('kordant', 'dagster');
DO $$ DECLARE t record; is_filled boolean; BEGIN
    FOR t IN {_TABLES} LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I)', t.nspname, t.relname) INTO is_filled;
        CONTINUE WHEN NOT is_filled;
        EXECUTE format('CREATE TABLE pristine.%I AS TABLE %I.%I', t.kept, t.nspname, t.relname);
    END LOOP; END $$;
CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION pristine.note();
CREATE EVENT TRIGGER note_change ON ddl_command_end EXECUTE FUNCTION pristine.note();
"""

_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity a
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND (state <> 'idle' OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory'))
"""
"""Who is idle holds nothing, and its pool may serve the next test."""

_EMPTY = f"""
SET LOCAL session_replication_role = replica;
DO $$ DECLARE t record; BEGIN
    FOR t IN SELECT *, to_regclass(format('pristine.%I', kept)) IS NOT NULL AS is_filled FROM ({_TABLES}) every LOOP
        CONTINUE WHEN NOT t.is_filled AND pg_relation_size(t.oid) = 0;
        EXECUTE format('DELETE FROM %I.%I', t.nspname, t.relname);
        IF t.is_filled THEN
            EXECUTE format('INSERT INTO %I.%I OVERRIDING SYSTEM VALUE SELECT * FROM pristine.%I',
                           t.nspname, t.relname, t.kept);
        END IF;
    END LOOP;
    PERFORM setval(name, coalesce(last_value, start), last_value IS NOT NULL) FROM pristine.sequences
    WHERE pg_sequence_last_value(name::regclass) IS DISTINCT FROM last_value; END $$;
"""
"""A table whose file has no bytes never had a row."""

_engines: dict[str, sa.Engine] = {}


def run(url: str, statement: str) -> None:
    """A statement by itself, outside any transaction."""
    engine = sa.create_engine(database.normal_url(url), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


def await_rows(db: sa.Engine, query: str) -> None:
    """Ask until there is a row, for 20 s at most."""
    deadline = time.monotonic() + 20
    while True:
        with db.connect() as connection:
            if connection.execute(sa.text(query)).first() is not None:
                return
        assert time.monotonic() < deadline, query


def database_at(url: str, name: str) -> str:
    """`url` with another database."""
    return database.normal_url(url).set(database=name).render_as_string(hide_password=False)


def _plainly(connection: sa.Connection, statements: str) -> None:
    """Statements in which % is no placeholder."""
    connection.connection.cursor().execute(statements)


def engine_at(url: str) -> sa.Engine:
    """An engine for one test on the connections that this process keeps to a database: what listens to this engine
    ends with it."""
    if url not in _engines:
        _engines[url] = database.create_engine(url)
    engine = _engines[url]
    if engine.pool.checkedout():  # type: ignore[attr-defined]  # a QueuePool; a test before has left a connection open
        engine.dispose()
    return engine.execution_options()


def _forget(url: str) -> None:
    if engine := _engines.pop(url, None):
        engine.dispose()


@contextmanager
def copy_of(admin_url: str, template: str) -> Iterator[str]:
    """The name of a copy of a database, which goes away afterwards."""
    name = f"test_{uuid4().hex}"
    run(admin_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield name
    finally:
        _forget(database_at(admin_url, name))
        run(admin_url, f"DROP DATABASE {name} WITH (FORCE)")


class Emptied:
    """One database after the other for the tests of a worker: emptied after each test, copied again when a test has
    changed more than rows. Only a superuser can; others get a copy a test."""

    def __init__(self, admin_url: str, template: str) -> None:
        self._admin_url, self._template = admin_url, template
        self._name: str | None = None
        self._uses = 0

    @contextmanager
    def lend(self) -> Iterator[str]:
        """The URL of an empty database."""
        if self._name is None:
            self._name = f"test_{uuid4().hex}"
            run(self._admin_url, f"CREATE DATABASE {self._name} TEMPLATE {self._template}")
            self._keep()
            self._uses = 0
        yield self._url
        self._uses += 1
        if self._uses >= USES or not self._empty():
            self.drop()

    def drop(self) -> None:
        """Drop what is there."""
        if self._name:
            _forget(self._url)
            run(self._admin_url, f"DROP DATABASE {self._name} WITH (FORCE)")
            self._name = None

    @property
    def _url(self) -> str:
        assert self._name
        return database_at(self._admin_url, self._name)

    def _keep(self) -> None:
        with engine_at(self._url).begin() as connection:
            if connection.execute(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar():
                _plainly(connection, _KEEP)

    def _empty(self) -> bool:
        with engine_at(self._url).begin() as connection:
            if connection.execute(sa.text("SELECT to_regclass('pristine.shape_changes') IS NULL")).scalar():
                return False
            if connection.execute(sa.text("SELECT EXISTS (SELECT FROM pristine.shape_changes)")).scalar():
                return False
            if connection.execute(sa.text("SELECT EXISTS (SELECT FROM pg_index WHERE NOT indisvalid)")).scalar():
                return False
            connection.execute(sa.text(_END_OTHERS))
            _plainly(connection, _EMPTY)
            return True
