"""A database that is not there, or is none, is said in one line that names no password."""

from __future__ import annotations

import socket

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from kordant_jobs.engine.listen import libpq
from kordant_jobs.errors import DatabaseUnavailable, SettingsError
from kordant_jobs.postgres import database


@pytest.mark.parametrize("written", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_every_spelling_of_a_url_becomes_psycopg2(written: str) -> None:
    url = database.normal_url(written)
    assert (url.drivername, url.host, url.database) == ("postgresql+psycopg2", "h", "d")


def test_several_hosts_are_read_in_libpqs_form_and_in_sqlalchemys() -> None:
    forms = ("postgresql://u:p%40@h1:5432,h2:6432/d?target_session_attrs=read-write",
             "postgresql://u:p%40@/d?host=h1:5432&host=h2:6432&target_session_attrs=read-write")  # fmt: skip
    expected = {"host": "h1,h2", "port": "5432,6432", "user": "u", "password": "p@", "dbname": "d",
                "target_session_attrs": "read-write"}  # fmt: skip
    for form in forms:
        assert libpq(database.normal_url(form)) == expected
        assert libpq(database.dagster_url(form)) == {**expected, "options": "-csearch_path=dagster"}


@pytest.mark.parametrize("written", ["", "nonsense", "mysql://u:sesame@h/d", "postgresql//u:sesame@h"])
def test_what_is_no_postgres_url_is_refused_without_repeating_it(written: str) -> None:
    with pytest.raises(SettingsError, match="KORDANT_DATABASE_URL is no Postgres URL") as caught:
        database.normal_url(written)
    assert "sesame" not in str(caught.value)


def test_dagsters_url_keeps_options_and_adds_its_schema() -> None:
    url = database.normal_url(database.dagster_url("postgresql://u@h/d?options=-cstatement_timeout%3D5s"))
    assert url.query["options"] == "-cstatement_timeout=5s -csearch_path=dagster"


def test_a_server_that_is_not_there_is_one_line_that_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    engine = database.create_engine(f"postgresql://u:sesame@127.0.0.1:{port}/d")
    with (
        pytest.raises(DatabaseUnavailable, match="Check KORDANT_DATABASE_URL") as caught,
        database.saying_what_failed(),
    ):
        engine.connect()
    assert "\n" not in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_a_database_that_goes_away_in_the_middle_is_said_and_the_next_statement_works(db: Engine) -> None:
    with db.connect() as connection:
        own = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with db.connect() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": own})
        with pytest.raises(DatabaseUnavailable), database.saying_what_failed():
            connection.execute(sa.text("SELECT 1"))
    with db.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar_one() == 1
