"""A file in the drop folder is read once, however often it is dropped; one that is no statement is kept and named."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import sqlalchemy as sa

from kordant_jobs.jobs.bank_sync.files import take_files
from kordant_jobs.lab.banks.small_bank import SmallBank, entry
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
    assert [path.name for path in own.iterdir()] == ["c.txt.refused"]
    assert "c.txt" not in str(taken.refused)
    assert take_files(tmp_path, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).refused == []
    assert sorted(row.amount for row in bank.rows()) == [Decimal(-9), Decimal(-7), Decimal(-5)]
    with bank.db.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM kordant.bank_accounts")).scalar_one() == 2


def test_a_file_for_nobody_is_refused(bank: SmallBank, tmp_path: Path) -> None:
    own = tmp_path / "0198c2b4-5d7e-7c3a-9a54-3d1f0c2b4a6e"
    own.mkdir()
    (own / "a.ofx").write_bytes(ofx())
    (taken,) = take_files(tmp_path, db=bank.db, keyring=bank.keyring, now=bank.ledger.now).refused
    assert "there is no entity" in taken[1]
