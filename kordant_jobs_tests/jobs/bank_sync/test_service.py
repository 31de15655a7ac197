"""A sync ends in the ledger of the bank, whatever the provider does: nothing twice, nothing lost, history kept."""

from __future__ import annotations

import asyncio
import time
from datetime import date, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.finance.states import ConnectionStatus, Provider
from kordant_jobs.jobs.bank_sync.service import Limits
from kordant_jobs.lab.banks.small_bank import SmallBank, entry
from kordant_jobs.lab.fakes.banks.faults import KINDS
from kordant_jobs.lab.fakes.banks.ledger import Item, TrueBill, reconnected
from kordant_jobs.lab.fakes.banks.ofb import FakeOfb
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.store.finance import connections

SAME = {"lost": 0, "doubled": 0, "difference": Decimal(0)}
DAY = date(2026, 3, 9)


def test_a_first_sync_brings_everything_and_a_second_writes_nothing(any_bank: SmallBank) -> None:
    bank = any_bank
    account, card = bank.open("checking", "card")
    for n in range(30):
        entry(account, f"a{n}", f"-{n}.50", DAY - timedelta(days=n))
        entry(card, f"c{n}", f"-{n}.99", DAY - timedelta(days=n))
    first = bank.sync()
    assert (first["successful"], first["failed"], first["total"], first["rows_new"]) == (1, 0, 1, 60)
    assert bank.compare() == SAME
    second = bank.sync()
    assert "rows_new" not in second
    assert "rows_changed" not in second
    assert second["rows_unchanged"] > 0
    assert bank.compare() == SAME


def test_pages_that_overlap_give_each_row_once(bank: SmallBank, server: FakePluggy) -> None:
    (account,) = bank.open("checking")
    for n in range(25):
        entry(account, f"a{n}", "-5.00", DAY - timedelta(days=n % 3))
    server.page_size, server.duplicate_rows, server.full_next = 10, True, True
    assert bank.sync()["rows_new"] == 25
    assert bank.compare() == SAME


@pytest.mark.parametrize("renamed", [False, True])
def test_a_pending_row_that_posts_is_the_same_row(any_bank: SmallBank, renamed: bool) -> None:
    bank = any_bank
    (account,) = bank.open("checking")
    entry(account, "old", "-5.00", DAY - timedelta(days=30))
    day = bank.ledger.today
    posts = bank.ledger.now + timedelta(days=1)
    entry(account, "tip", "-80.00", day + timedelta(days=1), pending_on=day, posts_at=posts,
          appears_at=bank.ledger.now, renamed_at=[posts] if renamed else [], word="CARTAO")  # fmt: skip
    bank.sync()
    (pending,) = bank.rows(state="pending")
    bank.ledger.move(1, hours=1)
    assert bank.sync()["rows_posted"] == 1
    posted = next(row for row in bank.rows() if row.id == pending.id)
    assert (posted.booked_on, posted.authorised_on) == (day + timedelta(days=1), day)
    assert bank.rows(state="pending") == []
    assert bank.compare() == SAME


def test_a_pending_row_is_in_no_booked_total_and_expires(any_bank: SmallBank) -> None:
    bank = any_bank
    (account,) = bank.open("checking")
    entry(account, "old", "-5.00", DAY - timedelta(days=30))
    entry(account, "hold", "-300.00", bank.ledger.today, never_posts=True, appears_at=bank.ledger.now,
          gone_at=bank.ledger.now + timedelta(days=3))  # fmt: skip
    bank.sync()
    assert bank.compare() == SAME
    for _ in range(4):
        bank.ledger.move(4)
        bank.sync()
    assert [row.state for row in bank.rows(state=None)].count("expired") == 1
    assert bank.compare() == SAME


def test_a_bill_that_closes_changes_every_id_and_no_row(any_bank: SmallBank) -> None:
    bank = any_bank
    (card,) = bank.open("card")
    closing = bank.ledger.now + timedelta(hours=20)
    for n in range(5):
        entry(card, f"c{n}", f"-{n}1.00", bank.ledger.today - timedelta(days=n), renamed_at=[closing],
              renamed_description=f"LOJA C{n} SAO PAULO", bill="bill-1", bill_from=closing)  # fmt: skip
    card.bills.append(TrueBill(id="bill-1", due_on=DAY + timedelta(days=10), closed_at=closing, total=Decimal(105)))
    bank.sync()
    before = {row.id: row.amount for row in bank.rows()}
    bank.ledger.move(1)
    figures = bank.sync()
    assert figures["rows_changed"] == 5
    assert "rows_new" not in figures
    assert {row.id: row.amount for row in bank.rows()} == before
    shows_bills = bank.bank.provider is not Provider.BELVO
    assert all((row.bill_id is not None) is shows_bills for row in bank.rows())
    assert bank.compare() == SAME


def test_a_row_that_was_dated_back_is_found(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    entry(account, "a", "-5.00", DAY)
    bank.sync()
    bank.ledger.move(1)
    entry(account, "late", "-77.00", DAY - timedelta(days=40), appears_at=bank.ledger.now - timedelta(hours=1))
    assert bank.sync()["rows_new"] == 1
    assert bank.compare() == SAME


def test_a_row_that_vanishes_is_closed_after_two_reads_and_revived_when_it_is_back(bank: SmallBank) -> None:
    (card,) = bank.open("card")
    for n in range(10):
        entry(card, f"c{n}", f"-{n}1.00", DAY - timedelta(days=n))
    gone = entry(card, "gone", "-99.00", DAY, gone_at=bank.ledger.now + timedelta(hours=1),
                 back_at=bank.ledger.now + timedelta(days=3))  # fmt: skip
    bank.sync()
    bank.ledger.move(hours=2)
    bank.sync()
    assert len(bank.rows()) == 11, "absent once is not gone"
    bank.ledger.move(hours=7)
    assert bank.sync()["rows_removed"] == 1
    assert bank.compare() == SAME
    (closed,) = bank.rows(state="removed")
    bank.ledger.move(3)
    assert gone.is_there(bank.ledger.now)
    assert bank.sync()["rows_revived"] == 1
    assert closed.id in {row.id for row in bank.rows()}
    assert bank.compare() == SAME


def test_a_page_that_is_half_empty_closes_nothing(bank: SmallBank) -> None:
    (card,) = bank.open("card")
    for n in range(20):
        entry(card, f"c{n}", f"-{n}1.00", DAY - timedelta(days=n), gone_at=bank.ledger.now + timedelta(hours=1))
    entry(card, "stays", "-3.00", DAY)
    bank.sync()
    bank.ledger.move(1)
    bank.sync()
    bank.ledger.move(1)
    figures = bank.sync()
    assert figures["failed"] == 1
    assert len(bank.rows()) == 21


def test_connecting_again_gives_every_row_its_old_place(any_bank: SmallBank) -> None:
    bank = any_bank
    account, card = bank.open("checking", "card")
    for n in range(60):
        entry(account, f"a{n}", "-5.00" if n % 3 else f"-{n}.00", DAY - timedelta(days=n // 2), description="METRO")
        entry(card, f"c{n}", f"-{n}.90", DAY - timedelta(days=n))
    bank.sync()
    before = {row.id for row in bank.rows()}
    with bank.db.begin() as connection:
        for one in bank.connection_ids.values():
            connections.set_status(connection, one, ConnectionStatus.ENDED, reason="deleted", now=bank.ledger.now)
    bank.connection_ids.clear()
    reconnected(bank.ledger, "item-1", Item(id="item-2"))
    bank.connect("item-2")
    bank.ledger.move(hours=1)
    figures = bank.sync()
    assert figures.get("rows_new", 0) == 0
    assert figures["rows_rekeyed"] + figures.get("rows_changed", 0) == 120
    assert {row.id for row in bank.rows()} == before
    assert bank.compare() == SAME


def test_an_account_connected_again_before_the_old_connection_ended_is_read_over_the_new_one(
    any_bank: SmallBank,
) -> None:
    bank = any_bank
    (account,) = bank.open("checking")
    for n in range(20):
        entry(account, f"a{n}", f"-{n}.00", DAY - timedelta(days=n))
    bank.sync()
    before = {row.id for row in bank.rows()}
    with bank.db.begin() as connection:
        (old,) = bank.connection_ids.values()
        connections.set_status(connection, old, ConnectionStatus.NEEDS_USER, reason="login", now=bank.ledger.now)
    reconnected(bank.ledger, "item-1", Item(id="item-2"))
    bank.connect("item-2")
    bank.ledger.move(hours=1)
    figures = bank.sync()
    assert (figures["successful"], figures.get("rows_new", 0)) == (1, 0)
    assert {row.id for row in bank.rows()} == before
    entry(account, "new", "-33.00", bank.ledger.today, appears_at=bank.ledger.now)
    bank.sync()
    assert bank.compare() == SAME


@pytest.mark.parametrize("status", [ConnectionStatus.NEEDS_USER, ConnectionStatus.PAUSED, ConnectionStatus.ENDED])
def test_a_second_connection_takes_over_when_the_first_is_read_no_more(
    any_bank: SmallBank, status: ConnectionStatus
) -> None:
    bank = any_bank
    (account,) = bank.open("checking")
    entry(account, "known", "-5.00", DAY - timedelta(days=40))
    bank.sync()
    before = {row.id for row in bank.rows()}
    reconnected(bank.ledger, "item-1", Item(id="item-2"))
    bank.connect("item-2")
    late = bank.ledger.now + timedelta(minutes=30)
    entry(account, "late", "-77.00", DAY - timedelta(days=41), appears_at=late)
    bank.ledger.move(hours=1)
    bank.sync()
    assert {row.id for row in bank.rows()} == before, "over the second connection nothing is counted"
    with bank.db.begin() as connection:
        connections.set_status(connection, bank.connection_ids["item-1"], status, reason="x", now=bank.ledger.now)
    for _ in range(2):
        bank.ledger.move(1)
        bank.sync()
    assert bank.compare() == SAME
    assert len(bank.rows()) == 2
    assert before < {row.id for row in bank.rows()}


def test_two_equal_fares_of_a_day_without_ids_stay_two(bank: SmallBank, server: FakePluggy) -> None:
    (account,) = bank.open("checking")
    row = {"id": " ", "date": "2026-03-09T03:00:00.000Z", "description": "METRO", "amount": -5, "type": "DEBIT",
           "currencyCode": "BRL", "status": "POSTED"}  # fmt: skip
    server.extra_rows[account.id] = [row, dict(row)]
    assert bank.sync()["rows_new"] == 2
    assert "rows_new" not in bank.sync()
    assert [one.amount for one in bank.rows()] == [Decimal("-5.0000")] * 2


def test_one_id_in_two_accounts_is_two_rows(bank: SmallBank, server: FakePluggy) -> None:
    one, other = bank.open("checking", "savings")
    row = {"id": "same", "date": "2026-03-09T03:00:00.000Z", "description": "X", "amount": -5, "type": "DEBIT"}
    server.extra_rows = {one.id: [row, dict(row)], other.id: [row]}
    assert bank.sync()["rows_new"] == 2


def test_an_id_that_stands_for_two_rows_gives_both_every_time(bank: SmallBank, server: FakePluggy) -> None:
    (account,) = bank.open("checking")
    row = {"id": "same", "date": "2026-03-09T03:00:00.000Z", "description": "X", "amount": -5, "type": "DEBIT"}
    other = {**row, "date": "2026-03-05T03:00:00.000Z", "amount": -7}
    server.extra_rows[account.id] = [row, other]
    assert bank.sync()["rows_new"] == 2
    for rows in ([other, row], [row], [other]):
        server.extra_rows[account.id] = rows
        assert "rows_new" not in bank.sync()
    assert sorted(one.amount for one in bank.rows()) == [Decimal(-7), Decimal(-5)]


def test_what_its_owner_deleted_stays_deleted_and_what_they_said_stays_said(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    entry(account, "mine", "-5.00", DAY)
    entry(account, "hidden", "-6.00", DAY)
    bank.sync()
    with bank.db.begin() as connection:
        connection.execute(sa.text("UPDATE kordant.transactions SET state = 'removed', removed_by = 'user', "
                                   "removed_at = now() WHERE amount = -6"))  # fmt: skip
        connection.execute(sa.text("UPDATE kordant.transactions SET category_id = 'food', category_source = 'user' "
                                   "WHERE amount = -5"))  # fmt: skip
    account.entries[0].description = "ANOTHER TEXT"
    for _ in range(3):
        bank.ledger.move(1)
        bank.sync()
    (row,) = bank.rows()
    assert (row.category_id, row.category_source) == ("food", "user")
    assert len(bank.rows(state="removed")) == 1


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


@pytest.mark.parametrize("reason", ["CONSENT_EXPIRED", "CUSTOMER_MANUALLY_REVOKED", "SOMETHING_NEW"])
def test_a_rejected_consent_ends_the_connection_and_its_owner_is_told_why(ofb: SmallBank, reason: str) -> None:
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


def test_data_that_the_provider_no_longer_refreshes_is_told_once_each_time(bank: SmallBank) -> None:
    bank.open("checking")
    bank.ledger.items["item-1"].updated_at = bank.ledger.now - timedelta(hours=40)
    bank.sync()
    assert [bank.sync()["warned"], bank.sync()["warned"]] == [1, 0]
    bank.ledger.move(1)
    bank.ledger.items["item-1"].updated_at = bank.ledger.now
    assert bank.sync()["warned"] == 0
    bank.ledger.move(2)
    assert [bank.sync()["warned"], bank.sync()["warned"]] == [1, 0], "it was fresh in between"


def test_transfers_between_own_accounts_are_marked(bank: SmallBank) -> None:
    one, other = bank.open("checking", "savings")
    mine, friend = "52998224725", "11144477735"
    entry(one, "out", "-250.00", DAY, other_document=mine)
    entry(other, "in", "250.00", DAY + timedelta(days=1), other_document=mine)
    entry(one, "decoy", "-250.00", DAY, other_document=friend)
    entry(one, "alone", "-80.00", DAY, other_document=mine)
    bank.sync()
    rows = {(row.amount, row.transfer_status) for row in bank.rows()}
    assert rows == {
        (Decimal(-250), "own"), (Decimal(250), "own"), (Decimal(-250), None), (Decimal(-80), "one_leg"),
    }  # fmt: skip
    assert len({row.transfer_id for row in bank.rows() if row.transfer_id}) == 1


def test_a_transfer_whose_leg_is_gone_is_none_any_more(bank: SmallBank) -> None:
    one, other = bank.open("checking", "card")
    entry(one, "out", "-250.00", DAY, word="BOLETO")
    entry(other, "in", "250.00", DAY, description="Pagamento recebido", gone_at=bank.ledger.now + timedelta(hours=1))
    for n in range(5):
        entry(other, f"c{n}", f"-{n}1.00", DAY)
    bank.sync()
    assert [row.transfer_status for row in bank.rows()].count("own") == 2
    for _ in range(2):
        bank.ledger.move(1)
        bank.sync()
    assert [row.transfer_status for row in bank.rows()].count("own") == 0


def test_a_refund_finds_its_purchase_and_only_that_of_its_merchant(ofb: SmallBank) -> None:
    (card,) = ofb.open("card")
    entry(card, "a", "-80.00", DAY - timedelta(days=9), description="LOJA AZUL")
    entry(card, "b", "-80.00", DAY - timedelta(days=8), description="LOJA VERDE")
    entry(card, "c", "80.00", DAY, description="LOJA AZUL")
    ofb.sync()
    rows = {(row.amount, row.booked_on): row for row in ofb.rows()}
    refund = rows[Decimal(80), DAY]
    assert refund.refund_of == rows[Decimal(-80), DAY - timedelta(days=9)].id


def test_what_a_bill_does_not_explain_is_named_and_its_payments_settle_it(bank: SmallBank) -> None:
    (card,) = bank.open("card")
    closed = bank.ledger.now - timedelta(days=2)
    for n in range(1, 4):
        entry(card, f"c{n}", f"-{n}0.00", DAY - timedelta(days=n), bill="bill-1")
    card.bills.append(
        TrueBill(id="bill-1", due_on=DAY + timedelta(days=9), closed_at=closed, total=Decimal("63.38"),
                 charges=[("IOF", Decimal(3))])
    )  # fmt: skip
    bank.sync()

    def bill() -> tuple[Decimal, str]:
        with bank.db.connect() as connection:
            return tuple(connection.execute(sa.text("SELECT unexplained, state FROM kordant.card_bills")).one())

    assert bill() == (Decimal("0.3800"), "closed")
    entry(card, "p1", "40.00", bank.ledger.today, description="Pagamento recebido", appears_at=bank.ledger.now)
    bank.sync()
    assert bill() == (Decimal("0.3800"), "partly_paid")
    entry(card, "p2", "23.38", bank.ledger.today, description="Pagamento recebido", appears_at=bank.ledger.now)
    bank.sync()
    assert bill() == (Decimal("0.3800"), "paid")


def test_instalments_to_come_are_scheduled_and_in_no_total(bank: SmallBank) -> None:
    (card,) = bank.open("card")
    for n in range(1, 4):
        day = DAY + timedelta(days=30 * (n - 1))
        entry(card, f"c{n}", "-33.33", day, appears_at=bank.ledger.now, instalment=(n, 3), purchase_on=DAY,
              posts_at=bank.ledger.now + timedelta(days=30 * (n - 1)), description="LOJA X")  # fmt: skip
    bank.sync()
    assert [row.state for row in bank.rows(state=None)].count("scheduled") == 2
    assert len({row.plan_id for row in bank.rows(state=None)}) == 1
    assert bank.compare() == SAME


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "UTC", "America/Noronha"])
def test_the_servers_time_zone_changes_no_day(bank: SmallBank, monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    (account,) = bank.open("checking")
    entry(account, "a", "-5.00", date(2026, 3, 1))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    bank.sync()
    monkeypatch.undo()
    time.tzset()
    assert [row.booked_on for row in bank.rows()] == [date(2026, 3, 1)]


def test_descriptions_that_drift_are_one_merchants_and_a_persons_name_is_no_key(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    texts = ["PAG*PADARIA SOL 01/03", "PADARIA SOL SAO PAULO BR", "PADARIA SOLL", "PIX ENVIADO MARIA DE SOUZA",
             "NETFLIX.COM 123", "PADARIA LUA"]  # fmt: skip
    for n, text in enumerate(texts[:2]):
        entry(account, f"a{n}", "-5.00", DAY - timedelta(days=n), description=text)
    bank.sync()
    for n, text in enumerate(texts[2:]):
        entry(account, f"b{n}", f"-{n + 6}.00", DAY - timedelta(days=n), description=text, word="CARTAO")
    bank.sync()
    keys = [row.merchant_key for row in sorted(bank.rows(), key=lambda row: -row.amount)]
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 4
    assert [key for key in keys if not key.startswith("~")] == ["NETFLIX"]


def test_no_word_of_a_persons_name_is_a_key_in_clear(bank: SmallBank) -> None:
    (account,) = bank.open("checking")
    texts = ["PIX ENVIADO CLARO MENDES", "PIX ENVIADO UBER ALVES", "MARIA PACHECO", "RAIA LIMA", "TIM NUNES",
             "NETFLIX JOANA PRADO", "UBER *TRIP", "UBER TRIP JOANA", "SHELL POSTO ALVES"]  # fmt: skip
    for n, text in enumerate(texts):
        word = "PIX" if "PIX" in text else "CARTAO"
        entry(account, f"a{n}", f"-{n + 1}.00", DAY - timedelta(days=n), description=text, word=word)
    bank.sync()
    keys = [row.merchant_key for row in sorted(bank.rows(), key=lambda row: -row.amount)]
    assert {key.partition("~")[0].strip() for key in keys} == {"", "NETFLIX", "UBER TRIP", "SHELL"}
    assert all(key.startswith("~") for key in keys[:5])
    assert keys[6] == keys[7], "of one firm and alike"
