"""The audit log holds what was done, and shows every way in which somebody changed it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.api.serve import keep
from kordant_jobs.domain.access.audit import Break, Entry, link
from kordant_jobs.errors import PermanentError
from kordant_jobs.store.audit import log
from kordant_jobs.store.audit.tables import audit_log
from kordant_jobs.store.people.keyring import Keyring

ROWS = 20


def entry(number: int) -> Entry:
    return Entry(actor="user:1", role="admin", source="api", action="requests.cancel", target_kind="request",
                 target_id=str(number), after={"n": number})  # fmt: skip


def filled(db: Engine, keyring: Keyring) -> None:
    with db.begin() as connection:
        log.record(connection, keyring, *(entry(number) for number in range(ROWS)))


def test_a_log_that_was_not_changed_holds(db: Engine, keyring: Keyring) -> None:
    filled(db, keyring)
    with db.connect() as connection:
        verdict = log.check(connection, keyring)
    assert (verdict.holds, verdict.checked, verdict.head.seq) == (True, ROWS, ROWS)


def test_what_is_rolled_back_leaves_no_entry_and_no_gap(db: Engine, keyring: Keyring) -> None:
    filled(db, keyring)
    with db.connect() as connection:
        log.record(connection, keyring, entry(99))
        connection.rollback()
        log.record(connection, keyring, entry(100))
        connection.commit()
        assert log.check(connection, keyring).checked == ROWS + 1
        assert log.entries(connection, limit=1)[0][1]["target"]["id"] == "100"


@pytest.mark.parametrize("statement", [
    "UPDATE kordant.audit_log SET entry = 'x' WHERE seq = 3",
    "DELETE FROM kordant.audit_log WHERE seq = 3",
    "TRUNCATE kordant.audit_log",
])  # fmt: skip
def test_the_database_refuses_to_change_the_log(db: Engine, keyring: Keyring, statement: str) -> None:
    filled(db, keyring)
    with pytest.raises(DBAPIError, match="append-only"), db.begin() as connection:
        connection.execute(sa.text(statement))


def sql(statements: str) -> Callable[[Connection], None]:
    def run(connection: Connection) -> None:
        for one in statements.split(";"):
            connection.execute(sa.text(one))

    return run


def swap(connection: Connection) -> None:
    """Two rows change places, with their links."""
    sql("UPDATE kordant.audit_log SET seq = -1 WHERE seq = 7; UPDATE kordant.audit_log SET seq = 7 WHERE seq = 8;"
        "UPDATE kordant.audit_log SET seq = 8 WHERE seq = -1")(connection)  # fmt: skip


def rewrite_from(first: int) -> Callable[[Connection], None]:
    """The text of a row is changed, and every hash from there is computed again."""

    def rewrite(connection: Connection) -> None:
        column = audit_log.c
        row = connection.execute(sa.select(audit_log).where(column.seq == first)).one()
        entry_text, prev = row.entry.replace("user:1", "user:2"), bytes(row.prev_hash)
        for seq, mac, text in connection.execute(
            sa.select(column.seq, column.mac, column.entry).where(column.seq >= first).order_by(column.seq)
        ).all():
            new_text = entry_text if seq == first else text
            own = link(prev, seq, bytes(mac), new_text)
            connection.execute(
                sa.update(audit_log).where(column.seq == seq).values(entry=new_text, prev_hash=prev, hash=own)
            )
            prev = own

    return rewrite


def without_mac(connection: Connection) -> None:
    """A row of somebody with the database's rights, and not with the key, through the triggers."""
    text = entry(500).text(datetime.now(UTC))
    connection.execute(sa.insert(audit_log).values(seq=0, entry=text, mac=b"0" * 16, prev_hash=b"", hash=b""))


TAMPERINGS = {
    "a byte of an entry": (
        sql("UPDATE kordant.audit_log SET entry = overlay(entry placing 'x' from 3) WHERE seq = 5"), 5, Break.ALTERED),
    "a code": (sql("UPDATE kordant.audit_log SET mac = sha256('x') WHERE seq = 5"), 5, Break.ALTERED),
    "a hash": (sql("UPDATE kordant.audit_log SET hash = sha256('x') WHERE seq = 5"), 5, Break.ALTERED),
    "a link": (sql("UPDATE kordant.audit_log SET prev_hash = sha256('x') WHERE seq = 5"), 5, Break.FORK),
    "two rows swapped": (swap, 7, Break.FORK),
    "the first deleted": (sql("DELETE FROM kordant.audit_log WHERE seq = 1"), 1, Break.GAP),
    "one in the middle deleted": (sql("DELETE FROM kordant.audit_log WHERE seq = 9"), 9, Break.GAP),
    "the last deleted": (sql(f"DELETE FROM kordant.audit_log WHERE seq = {ROWS}"), ROWS, Break.TRUNCATED),
    "all deleted": (sql("DELETE FROM kordant.audit_log"), 1, Break.TRUNCATED),
    "rows renumbered over a deleted one": (
        sql("DELETE FROM kordant.audit_log WHERE seq = 9; UPDATE kordant.audit_log SET seq = -seq WHERE seq > 9;"
            "UPDATE kordant.audit_log SET seq = -seq - 1 WHERE seq < 0"), 9, Break.FORK),
    "a row that somebody without the key added": (without_mac, ROWS + 1, Break.FORGED),
    "an entry changed and the chain made again": (rewrite_from(5), 5, Break.FORGED),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_each_kind_of_tampering_is_found_at_its_row(db: Engine, keyring: Keyring, tmp_path: Path, kind: str) -> None:
    tamper, seq, found = TAMPERINGS[kind]
    filled(db, keyring)
    anchors = tmp_path / "anchors.jsonl"
    with db.begin() as connection:
        log.write_anchor(connection, keyring, anchors)
        connection.execute(sa.text("SET LOCAL session_replication_role = replica") if tamper is not without_mac
                           else sa.text("SELECT 1"))  # fmt: skip
        tamper(connection)
    with db.connect() as connection:
        verdict = log.check(connection, keyring, log.read_anchors(anchors, keyring))
    assert (verdict.seq, verdict.kind) == (seq, found)


def test_a_log_made_again_with_the_key_shows_against_an_anchor(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    filled(db, keyring)
    anchors = tmp_path / "anchors.jsonl"
    with db.begin() as connection:
        log.write_anchor(connection, keyring, anchors)
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        connection.execute(sa.delete(audit_log))
        connection.execute(sa.text("SET LOCAL session_replication_role = origin"))
        log.record(connection, keyring, *(entry(number) for number in range(1000, 1000 + ROWS)))
    with db.connect() as connection:
        assert log.check(connection, keyring).holds
        verdict = log.check(connection, keyring, log.read_anchors(anchors, keyring))
    assert (verdict.seq, verdict.kind) == (ROWS, Break.ANCHOR)


def test_rows_cut_off_at_the_end_are_noticed_and_no_later_anchor_hides_them(
    db: Engine, keyring: Keyring, tmp_path: Path
) -> None:
    """Also when new rows stand in their place."""
    anchors = tmp_path / "anchors.jsonl"

    def cut(rows: int) -> None:
        with db.begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(sa.text("DELETE FROM kordant.audit_log WHERE seq > :seq"), {"seq": ROWS - rows})

    def fault() -> tuple[int | None, Break | None]:
        with suppress(PermanentError):
            keep(db, keyring, anchors)
        with db.connect() as connection:
            return log.known_fault(connection)[1:]

    filled(db, keyring)
    assert fault() == (None, None)
    cut(3)
    assert fault() == (ROWS - 2, Break.TRUNCATED)
    with db.begin() as connection:
        log.record(connection, keyring, *(entry(number) for number in range(100, 105)))
    before = anchors.read_text()
    assert fault() == (ROWS, Break.ANCHOR)
    with pytest.raises(PermanentError, match="once the cause is known, move the file away"):
        keep(db, keyring, anchors)
    assert anchors.read_text() == before
    anchors.unlink()
    assert fault() == (None, None)


def test_an_anchor_that_was_changed_proves_nothing(db: Engine, keyring: Keyring, tmp_path: Path) -> None:
    filled(db, keyring)
    anchors = tmp_path / "anchors.jsonl"
    with db.connect() as connection:
        log.write_anchor(connection, keyring, anchors)
        assert log.write_anchor(connection, keyring, anchors) is None
    anchors.write_text(anchors.read_text().replace('"seq": 20', '"seq": 19'))
    with pytest.raises(PermanentError, match="was not signed"):
        log.read_anchors(anchors, keyring)


def test_writers_at_once_and_one_that_is_killed_leave_a_whole_chain(db: Engine, keyring: Keyring) -> None:
    def write(writer: int) -> None:
        for number in range(25):
            with db.begin() as connection:
                log.record(connection, keyring, entry(writer * 1000 + number))

    victim = db.connect()
    log.record(victim, keyring, entry(-1))
    pid = victim.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    threads = [threading.Thread(target=write, args=(one,)) for one in range(4)]
    for thread in threads:
        thread.start()
    with db.connect() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    for thread in threads:
        thread.join()
    victim.invalidate()
    victim.close()
    with db.connect() as connection:
        verdict = log.check(connection, keyring)
    assert (verdict.holds, verdict.checked) == (True, 100)


def test_a_change_by_sql_is_in_the_log_too(db: Engine, keyring: Keyring) -> None:
    from kordant_jobs.triggers import price_list

    with db.begin() as connection:
        price_list.ensure(connection)
    with db.begin() as connection:
        connection.execute(
            sa.text("UPDATE kordant.scheduler_config SET cron = '5 4 * * *' WHERE job = 'notifications_send'")
        )
    with db.connect() as connection:
        _, found = log.entries(connection, limit=1)[0]
        assert log.check(connection, keyring).holds
    assert found["source"] == "sql"
    assert found["action"] == "scheduler_config.update"
    assert found["actor"].startswith("sql:")
    assert (found["before"]["cron"], found["after"]["cron"]) == ("*/15 * * * *", "5 4 * * *")


def test_a_fault_is_known_until_a_whole_pass_finds_none(db: Engine, keyring: Keyring) -> None:
    """In parts of eight rows, over twenty; the pass goes on with new rows, and begins again behind the last."""

    def verify_on(times: int) -> tuple[int | None, Break | None]:
        for _ in range(times):
            with db.begin() as connection:
                log.verify_on(connection, keyring, rows=8)
        with db.connect() as connection:
            return log.known_fault(connection)[1:]

    def change(change: str) -> None:
        with db.begin() as connection:
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(sa.text(f"UPDATE kordant.audit_log SET entry = {change} WHERE seq = 5"))

    filled(db, keyring)
    assert verify_on(2) == (None, None)
    with db.begin() as connection:
        log.record(connection, keyring, entry(99))
    assert verify_on(2) == (None, None)
    change("entry || ' '")  # the pass is behind that row
    assert verify_on(2) == (None, None)
    assert verify_on(2) == (5, Break.ALTERED)
    change("rtrim(entry)")
    assert verify_on(2) == (5, Break.ALTERED)  # not yet a whole pass
    assert verify_on(1) == (None, None)
    with db.connect() as connection:
        assert log.known_fault(connection)[0] is not None
