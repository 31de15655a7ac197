"""One failure stops nothing else, limits are kept, and owners are notified of what only they can fix."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.finance.states import ConnectionStatus, ConsentEnd
from kordant_jobs.jobs.bank_sync.service import Limits
from kordant_jobs.lab.banks.small_bank import SAME, SmallBank, entry
from kordant_jobs.lab.fakes.banks.faults import KINDS
from kordant_jobs.lab.fakes.banks.ofb import FakeOfb
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.store.finance import connections
from kordant_jobs_tests.databases import await_rows

DAY = date(2026, 3, 9)


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("kind", [*KINDS, "empty"])
def test_a_fault_loses_nothing_and_the_next_read_has_everything(
    bank: SmallBank, server: FakePluggy, kind: str, place: int
) -> None:
    """Of the item, its accounts, or their transactions."""
    (account,) = bank.open("checking")
    for n in range(12):
        entry(account, f"a{n}", f"-{n}.00", DAY - timedelta(days=n))
    bank.sync()
    bank.ledger.move(hours=1)
    entry(account, "new", "-33.00", bank.ledger.today, appears_at=bank.ledger.now)
    server.faults.script.extend(["ok"] * (place - 1) + [kind])
    figures = bank.sync()
    nothing_is_an_answer = kind == "empty" and place == 3
    with bank.db.connect() as connection:
        query = "SELECT outcome, error_code FROM kordant.sync_results ORDER BY ended_at DESC LIMIT 1"
        found = connection.execute(sa.text(query)).one()
    assert figures["failed"] == int(not nothing_is_an_answer), found
    assert len(bank.rows()) >= 12
    bank.ledger.move(hours=1)
    assert bank.sync()["successful"] == 1
    assert bank.compare() == SAME


def test_bad_rows_are_kept_aside_and_the_rest_is_read(bank: SmallBank, server: FakePluggy) -> None:
    (account,) = bank.open("checking")
    for n in range(100):
        entry(account, f"a{n}", f"-{n}.00", DAY - timedelta(days=n))
    good = {"id": "x", "date": "2026-03-09", "description": "X", "amount": -5, "type": "DEBIT"}
    server.extra_rows[account.id] = [
        {**good, "id": "a", "amount": "12" * 14}, {**good, "id": "b", "date": "1900-01-01"},
        {**good, "id": "c", "date": "2100-01-01"}, {**good, "id": "d", "amount": None},
    ]  # fmt: skip
    figures = bank.sync()
    assert (figures["rows_new"], figures["rows_quarantined"], figures["successful"]) == (100, 4, 1)
    with bank.db.connect() as connection:
        found = connection.execute(sa.text("SELECT reason FROM kordant.quarantined_rows ORDER BY 1")).scalars().all()
    assert found == ["amount_is_no_number", "amount_out_of_range", "date_out_of_range", "date_out_of_range"]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"type": []}, "no_direction"),
        ({"type": {}}, "no_direction"),
        ({"status": {}, "creditCardMetadata": 5, "amount": []}, "amount_is_no_number"),
        ({"id": "x\ud800"}, "id_is_no_text"),
        ({"id": "x\x00"}, "id_is_no_text"),
        ({"operationType": "NEW\x00\ud800"}, None),
    ],
)
def test_one_row_with_a_wrong_field_fails_no_other(
    bank: SmallBank, server: FakePluggy, odd: dict[str, object], reason: str | None
) -> None:
    (account,) = bank.open("checking")
    entry(account, "a", "-1.00", DAY)
    good = {"id": "x", "date": "2026-03-09", "description": "X", "amount": -5, "type": "DEBIT"}
    server.extra_rows[account.id] = [{**good, **odd}]
    figures = bank.sync()
    assert (figures["successful"], figures["rows_new"]) == (1, 1 if reason else 2)
    with bank.db.connect() as connection:
        found = connection.execute(sa.text("SELECT reason FROM kordant.quarantined_rows")).scalars().all()
    assert [one.replace("field_has_a_wrong_type", "no_direction") for one in found] == ([reason] if reason else [])


def test_when_many_rows_are_bad_nothing_of_the_read_is_kept(bank: SmallBank, server: FakePluggy) -> None:
    (account,) = bank.open("checking")
    entry(account, "a", "-1.00", DAY)
    server.extra_rows[account.id] = [{"id": str(n), "amount": None} for n in range(5)]
    figures = bank.sync()
    assert (figures["failed"], bank.rows()) == (1, [])


def test_one_dead_bank_stops_no_other(bank: SmallBank, server: FakePluggy) -> None:
    for n in range(5):
        (account,) = bank.open("checking", item=f"item-{n}", institution=str(n))
        entry(account, f"a{n}", f"-{n}.00", DAY)
    bank.ledger.items["item-3"].status = "SOMETHING_NEW"
    figures = bank.sync()
    assert (figures["successful"], figures["failed"], figures["total"]) == (4, 1, 5)


def test_only_failures_in_a_row_put_an_institution_off(bank: SmallBank) -> None:
    bank.limits = Limits(at_once=1, rates={})
    for n in range(9):
        bank.open("checking", item=f"item-{n}")
        if n != 4:
            bank.ledger.items[f"item-{n}"].status = "SOMETHING_NEW"
    figures = bank.sync()
    assert (figures["successful"], figures["failed"], figures["total"]) == (1, 8, 9)
    bank.ledger.items["item-4"].status = "SOMETHING_NEW"
    figures = bank.sync()
    assert (figures["failed"], figures["deferred_not_due"]) == (5, 4)


@pytest.mark.parametrize(
    ("status", "execution", "calls"), [("LOGIN_ERROR", "INVALID_CREDENTIALS", 0), ("WAITING_USER_INPUT", "", 0)]
)
def test_a_log_in_that_fails_is_not_tried_again(
    bank: SmallBank, server: FakePluggy, status: str, execution: str, calls: int
) -> None:
    bank.open("checking")
    bank.ledger.items["item-1"].status, bank.ledger.items["item-1"].execution = status, execution
    assert bank.sync()["failed"] == 1
    server.asked.clear()
    bank.ledger.move(2)
    figures = bank.sync()
    assert (figures["total"], figures["deferred_needs_user"], len(server.asked)) == (0, 1, calls)


def test_a_consent_that_was_revoked_during_a_read_lets_nothing_be_written(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    entry(account, "a", "-1.00", DAY)
    now = bank.ledger.now
    with bank.db.begin() as connection:
        claimed = connections.claim(connection, bank.keyring, bank.connection_ids["item-1"], now=now)
    assert claimed is not None
    with bank.db.begin() as connection:
        assert connections.set_status(connection, claimed.id, ConnectionStatus.ENDED, reason="revoked", now=now)
    with bank.db.begin() as connection, pytest.raises(connections.LeaseLost):
        connections.hold(connection, claimed)
    assert bank.sync()["total"] == 0
    with bank.db.begin() as connection:
        assert not connections.set_status(connection, claimed.id, ConnectionStatus.ACTIVE, reason="x", now=now)


def test_of_two_reads_that_begin_at_once_one_gets_the_connection(bank: SmallBank) -> None:
    bank.open("checking")

    def claim(connection: sa.Connection) -> connections.Claimed | None:
        return connections.claim(connection, bank.keyring, bank.connection_ids["item-1"], now=bank.ledger.now)

    def claim_late() -> connections.Claimed | None:
        with bank.db.begin() as connection:
            return claim(connection)

    with ThreadPoolExecutor() as pool, bank.db.begin() as first:
        assert claim(first) is not None
        late = pool.submit(claim_late)
        await_rows(
            bank.db, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        first.commit()
        assert late.result(10) is None


@pytest.mark.parametrize("reason", ["CONSENT_EXPIRED", "CUSTOMER_MANUALLY_REVOKED", "SOMETHING_NEW"])
def test_a_rejected_consent_ends_the_connection_and_its_owner_is_notified_why(ofb: SmallBank, reason: str) -> None:
    ofb.open("checking")
    ofb.sync()
    item = ofb.ledger.items["item-1"]
    item.consent_status, item.rejection = "REJECTED", reason
    ofb.ledger.move(1)
    assert ofb.sync()["failed"] == 1
    with ofb.db.connect() as connection:
        status = connection.execute(sa.text("SELECT status FROM kordant.bank_connections")).scalar_one()
        told = connection.execute(sa.text("SELECT kind, facts ->> 'reason' FROM kordant.finance_notices")).one()
        ended = connection.execute(sa.text("SELECT end_reason FROM kordant.bank_consents")).scalar_one()
    word = "other" if reason == "SOMETHING_NEW" else reason.lower()
    assert (status, tuple(told), ended) == ("ended", ("consent_ended", word), word)


def test_a_consent_that_ran_out_at_a_provider_is_reported_as_that(bank: SmallBank) -> None:
    bank.open("checking")
    bank.ledger.items["item-1"].expires_at = bank.ledger.now + timedelta(hours=1)
    bank.sync()
    bank.ledger.move(1)
    assert bank.sync()["failed"] == 1
    with bank.db.connect() as connection:
        query = "SELECT facts ->> 'reason' FROM kordant.finance_notices WHERE kind = 'consent_ended'"
        assert connection.execute(sa.text(query)).scalar_one() == ConsentEnd.CONSENT_EXPIRED


def test_a_connection_that_its_provider_does_not_know_ends_after_the_third_time_in_a_row(bank: SmallBank) -> None:
    bank.open("checking")
    item, how_often = bank.ledger.items["item-1"], []

    def failed(number: int) -> str:
        for _ in range(number):
            bank.ledger.move(hours=7)
            assert bank.sync()["failed"] == 1
        with bank.db.connect() as connection:
            query = "SELECT status, (SELECT count(*) FROM kordant.finance_notices) FROM kordant.bank_connections"
            status, notices = connection.execute(sa.text(query)).one()
        how_often.append(notices)
        return str(status)

    item.status = "SOMETHING_NEW"
    assert failed(4) == "active"
    item.is_deleted = True
    assert failed(2) == "active", "the failures before were others"
    item.is_deleted = False
    assert failed(1) == "active"
    item.is_deleted = True
    assert failed(2) == "active"
    assert failed(1) == "ended"
    assert how_often == [0, 0, 0, 0, 1]
    with bank.db.connect() as connection:
        told = connection.execute(sa.text("SELECT kind, facts ->> 'reason' FROM kordant.finance_notices")).one()
    assert tuple(told) == ("consent_ended", "other")


@pytest.mark.parametrize(("refresh_token", "status"), [("refresh-item-1", "REJECTED"), ("", "AUTHORISED")])
def test_ending_a_consent_is_safe_to_repeat_also_when_its_owner_has_revoked_it(
    ofb: SmallBank, refresh_token: str, status: str
) -> None:
    ofb.open("checking")
    item = ofb.ledger.items["item-1"]
    item.refresh_token = refresh_token  # none: the bank answers `invalid_grant`
    for _ in range(2):
        asyncio.run(ofb.bank.end(ofb.secret_of("item-1"), "201"))
    assert item.consent_status == status


def test_no_call_goes_over_a_months_limit(ofb: SmallBank, ofb_server: FakeOfb) -> None:
    account, card = ofb.open("checking", "card")
    for n in range(10):
        entry(account, f"a{n}", f"-{n}.00", DAY - timedelta(days=n))
        entry(card, f"c{n}", f"-{n}.00", DAY - timedelta(days=n))
    ofb.sync()
    with ofb.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.provider_budgets SET used = 215 WHERE endpoint = 'balances'"))
    assert ofb.sync()["successful"] == 1
    figures = ofb.sync()
    assert figures["failed"] == 1
    assert ofb_server.refused == 0
    assert ofb.sync(user_is_present=True)["successful"] == 1, "a part is kept for a user's own"


def test_each_consent_has_lists_of_its_own_in_a_month(ofb: SmallBank, ofb_server: FakeOfb) -> None:
    for n in range(5):
        ofb.open("checking", "card", item=f"item-{n}")
    assert ofb.sync()["successful"] == 5
    assert ofb_server.refused == 0


def test_nine_days_of_silence_take_one_historic_read(ofb: SmallBank, ofb_server: FakeOfb) -> None:
    (account,) = ofb.open("checking")
    for n in range(20):
        entry(account, f"a{n}", f"-{n}.00", DAY + timedelta(days=n - 5))
    ofb.sync()
    ofb.ledger.move(9)
    ofb.sync()
    assert ofb.compare() == SAME
    historic = [one for one in ofb_server.asked if "/transactions?" in one.path]
    assert len(historic) == 2


@pytest.mark.parametrize("trap", ["loop_next", "astray_next"])
def test_pages_that_lead_in_circles_or_elsewhere_are_an_error(ofb: SmallBank, ofb_server: FakeOfb, trap: str) -> None:
    (account,) = ofb.open("checking")
    for n in range(30):
        entry(account, f"a{n}", f"-{n}.00", DAY)
    ofb_server.page_size = 10
    setattr(ofb_server, trap, True)
    assert ofb.sync()["failed"] == 1
    assert ofb.rows() == []


def test_one_account_that_waits_for_a_joint_holder_does_not_fail_the_others(ofb: SmallBank) -> None:
    one, other = ofb.open("checking", "savings")
    entry(one, "a", "-1.00", DAY)
    entry(other, "b", "-2.00", DAY)
    other.status = "PENDING_AUTHORISATION"
    waits = []
    for _ in range(5):
        assert ofb.sync()["failed"] == 1
        with ofb.db.connect() as connection:
            due_at = connection.execute(sa.text("SELECT next_due_at FROM kordant.bank_connections")).scalar_one()
        waits.append(due_at - ofb.ledger.now)
        ofb.ledger.now = due_at
    assert [row.amount for row in ofb.rows()] == [Decimal(-1)]
    assert max(waits[:3]) < timedelta(minutes=20)
    assert min(waits[3:]) > timedelta(hours=3), "it fails for longer: its calls of the month are spread as any other's"


def test_an_owner_is_warned_30_7_and_1_days_before_a_consent_ends_once_each(ofb: SmallBank) -> None:
    ofb.open("checking")
    ofb.ledger.items["item-1"].expires_at = ofb.ledger.now + timedelta(days=40)
    warned = [ofb.sync()["warned"]]
    for _ in range(39):
        ofb.ledger.move(1)
        warned.append(ofb.sync(named=False)["warned"])
    with ofb.db.connect() as connection:
        query = "SELECT (facts ->> 'days')::int FROM kordant.finance_notices WHERE kind = 'consent_expiring' ORDER BY 1"
        assert connection.execute(sa.text(query)).scalars().all() == [1, 7, 30]


def test_data_that_the_provider_no_longer_refreshes_is_notified_once_each_time(bank: SmallBank) -> None:
    bank.open("checking")
    bank.ledger.items["item-1"].updated_at = bank.ledger.now - timedelta(hours=40)
    bank.sync()
    assert [bank.sync()["warned"], bank.sync()["warned"]] == [1, 0]
    bank.ledger.move(1)
    bank.ledger.items["item-1"].updated_at = bank.ledger.now
    assert bank.sync()["warned"] == 0
    bank.ledger.move(2)
    assert [bank.sync()["warned"], bank.sync()["warned"]] == [1, 0], "it was fresh in between"
