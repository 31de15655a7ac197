"""A row of a bank is one row of ours, whatever becomes of its id, its state and its account's connection."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.finance.states import ConnectionStatus, Provider
from kordant_jobs.lab.banks.small_bank import SAME, SmallBank, entry
from kordant_jobs.lab.fakes.banks.ledger import Item, TrueBill, reconnected
from kordant_jobs.lab.fakes.banks.pluggy import FakePluggy
from kordant_jobs.store.finance import connections

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
