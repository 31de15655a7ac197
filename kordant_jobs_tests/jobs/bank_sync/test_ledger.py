"""What rows say together: transfers, refunds, bills, instalments, days, merchants."""

from __future__ import annotations

import time
from datetime import date, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from kordant_jobs.lab.banks.small_bank import SAME, SmallBank, entry
from kordant_jobs.lab.fakes.banks.ledger import TrueBill

DAY = date(2026, 3, 9)


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
