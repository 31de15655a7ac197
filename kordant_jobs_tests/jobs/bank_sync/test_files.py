"""A file in the drop folder is read once, however often it is dropped; one that is no statement is kept and named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from kordant_jobs.domain.finance.states import ConnectionStatus
from kordant_jobs.jobs.bank_sync.files import Taken, refused_files, take_files
from kordant_jobs.lab.banks.small_bank import SmallBank, entry
from kordant_jobs.store.finance import connections
from kordant_jobs_tests.adapters.banks.test_files import ofx


def test_a_file_is_read_once_and_meets_the_account_of_another_provider(bank: SmallBank, tmp_path: Path) -> None:
    (account,) = bank.open("checking")
    account.number = "34545-1"
    entry(account, "a", "-9.00", bank.ledger.today)
    bank.sync()
    own = tmp_path / str(bank.entity_id)
    own.mkdir()
    two = ofx(id="1").replace(b"</STMTTRN>", b"</STMTTRN><STMTTRN><DTPOSTED>20260310<TRNAMT>-7<FITID>0</STMTTRN>" * 1)
    for name in ("a.ofx", "b.ofx"):
        (own / name).write_bytes(two)
    (own / "c.txt").write_bytes(b"hello")
    (tmp_path / "elsewhere").mkdir()
    taken = take_files(tmp_path, db=bank.db, keyring=bank.keyring, now=bank.ledger.now)
    assert (taken.files, taken.rows, len(taken.refused)) == (2, 2, 1)
    assert [path.name for path in own.glob("[!.]*")] == ["c.txt.refused"]
    assert "c.txt" not in str(taken.refused)
    assert take_files(tmp_path, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).refused == []
    assert sorted(row.amount for row in bank.rows()) == [Decimal(-9), Decimal(-7), Decimal(-5)]
    with bank.db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.bank_accounts")).scalar_one() == 2


def test_a_file_without_an_owner_is_refused(bank: SmallBank, tmp_path: Path) -> None:
    own = tmp_path / "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e"
    own.mkdir()
    (own / "a.ofx").write_bytes(ofx())
    (taken,) = take_files(tmp_path, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).refused
    assert "there is no entity" in taken[1]


@pytest.fixture
def own(bank: SmallBank, tmp_path: Path) -> Path:
    """The folder of an entity."""
    bank.open("checking")
    made = tmp_path / str(bank.entity_id)
    made.mkdir()
    return made


def test_a_file_that_breaks_the_reader_stops_no_other(bank: SmallBank, own: Path) -> None:
    (own / "a.ofx").write_bytes(ofx().replace(b"<CURDEF>BRL", b"<CURDEF>B1L"))
    (own / "b.ofx").symlink_to("/proc/self/mem")
    (own / "c.ofx").write_bytes(ofx())
    taken = take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now)
    assert (taken.files, taken.rows) == (1, 1)
    assert [why for _, why in taken.refused] == ["currency_is_no_code"]
    assert [why for _, why in taken.waiting] == ["OSError"]
    assert sorted(path.name for path in own.glob("[!.]*")) == ["a.ofx.refused", "b.ofx"]


def test_a_file_whose_connection_is_read_elsewhere_waits(bank: SmallBank, own: Path) -> None:
    (own / "a.ofx").write_bytes(ofx())
    take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now)
    with bank.db.begin() as connection:
        made = connection.execute(
            sa.text("SELECT id FROM kordant.bank_connections WHERE provider = 'file'")
        ).scalar_one()
        assert connections.claim(connection, bank.keyring, made, now=bank.ledger.now) is not None
    (own / "b.ofx").write_bytes(ofx(id="2", amount="-8.00"))
    taken = take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now)
    assert (taken.files, len(taken.refused), len(taken.waiting)) == (0, 0, 1)
    bank.ledger.move(hours=1)
    assert take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).rows == 1
    with bank.db.begin() as connection:
        connections.set_status(connection, made, ConnectionStatus.PAUSED, reason="operator", now=bank.ledger.now)
    (own / "c.ofx").write_bytes(ofx(id="3"))
    assert len(take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).waiting) == 1


def take(bank: SmallBank, own: Path, *contents: bytes) -> Taken:
    """Drop files one after another, and read each."""
    for number, content in enumerate(contents):
        (own / f"{number}.ofx").write_bytes(content)
        taken = take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now)
    return taken


def as_card(content: bytes) -> bytes:
    return content.replace(b"STMTRS>", b"CCSTMTRS>")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"id": "a", "day": "20261031", "memo": "UBER"}, {"id": "b", "day": "20261101", "memo": "PADARIA"}),
        ({"id": "a", "day": "20261031", "memo": "METRO"}, {"id": "b", "day": "20261101", "memo": "METRO"}),
        ({"id": "1", "day": "20261005", "memo": "AGUA"}, {"id": "1", "day": "20261105", "memo": "CINEMA"}),
    ],
)
@pytest.mark.parametrize("is_card", [True, False])
def test_another_transaction_of_the_same_amount_takes_no_place(
    bank: SmallBank, own: Path, first: dict[str, str], second: dict[str, str], is_card: bool
) -> None:
    months = [ofx(**first), ofx(**second)]
    if is_card:
        months = [as_card(one) for one in months]
    taken = take(bank, own, *months, *months)
    assert (taken.files, taken.rows) == (1, 0)
    assert [row.amount for row in bank.rows()] == [Decimal(-5)] * 2
    assert len({row.booked_on for row in bank.rows()}) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (ofx()[:-20], "the file is cut off: it has no </OFX>"),
        (ofx(amount="abc"), "1 of 1 rows cannot be understood (amount_is_no_number)"),
    ],
)
def test_a_file_that_is_cut_off_or_has_nothing_but_bad_rows_stays_with_its_reason(
    bank: SmallBank, own: Path, content: bytes, says: str
) -> None:
    taken = take(bank, own, content)
    assert (taken.files, [why for _, why in taken.refused]) == (0, [says])
    assert (own / "0.ofx.refused").read_bytes() == content
    with bank.db.connect() as connection:
        query = "SELECT count(*) FROM kordant.bank_connections WHERE provider = 'file' AND last_complete_at IS NOT NULL"
        assert connection.execute(sa.text(query)).scalar_one() == 0


def test_of_two_statements_of_a_day_the_later_balance_holds(bank: SmallBank, own: Path) -> None:
    take(bank, own, ofx(), ofx().replace(b"1.234,56", b"99,00"))
    with bank.db.connect() as connection:
        query = "SELECT amount FROM kordant.bank_balances b JOIN kordant.bank_accounts a ON a.id = b.account_id"
        found = connection.execute(sa.text(f"{query} WHERE institution = '0237'")).scalars().all()
    assert found == [Decimal(99)]


def test_new_rows_of_a_file_refresh_the_insights_and_the_same_file_does_not(bank: SmallBank, own: Path) -> None:
    def asked() -> int:
        with bank.db.connect() as connection:
            query = "SELECT count(*) FROM kordant.job_requests WHERE job = 'insights_refresh'"
            found: int = connection.execute(sa.text(query)).scalar_one()
            return found

    take(bank, own, ofx())
    assert asked() == 1
    with bank.db.begin() as connection:
        connection.execute(sa.text("DELETE FROM kordant.job_requests"))
    take(bank, own, ofx())
    assert asked() == 0


def test_refused_files_of_one_name_stay_both_with_their_reasons(bank: SmallBank, own: Path) -> None:
    for content in (b"hello", b"<OFX>"):
        (own / "a.ofx").write_bytes(content)
        take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now)
    found = refused_files(own.parent, bank.entity_id)
    assert [(one["file"], one["reason"]) for one in found] == [
        ("a.ofx.2.refused", "the file is cut off: it has no </OFX>"),
        ("a.ofx.refused", "neither OFX nor CNAB 240"),
    ]
    assert take_files(own.parent, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).refused == []
