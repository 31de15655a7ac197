"""Statements are read as banks write them; what is none is told apart."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from kordant_jobs.adapters.banks.files import NoStatement, read_statements
from kordant_jobs.domain.finance.states import AccountKind, TransactionType

SGML = """
OFXHEADER:100
ENCODING:USASCII

<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>BRL
<BANKACCTFROM><BANKID>0237<BRANCHID>1234<ACCTID>34545-1<ACCTTYPE>{kind}</BANKACCTFROM>
<BANKTRANLIST><DTSTART>20260301<DTEND>20260331
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>{day}<TRNAMT>{amount}<FITID>{id}<MEMO>{memo}
</STMTTRN>
</BANKTRANLIST><LEDGERBAL><BALAMT>1.234,56<DTASOF>20260331120000[-3:BRT]</LEDGERBAL></STMTRS></STMTTRNRS></OFX>
"""


def ofx(**more: str) -> bytes:
    fields = {"kind": "CHECKING", "day": "20260310", "amount": "-5.00", "id": "1", "memo": "X", **more}
    return SGML.format(**fields).encode()


@pytest.mark.parametrize(
    ("written", "amount"),
    [("-530,86", "-530.86"), ("1.234,56", "1234.56"), ("1,234.56", "1234.56"), ("+ 3.00", "3.00"), ("10", "10")],
)
def test_amounts_are_read_as_banks_write_them(written: str, amount: str) -> None:
    (statement,) = read_statements(ofx(amount=written))
    assert [row.amount for row in statement.read.transactions] == [Decimal(amount)]


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("20260310", date(2026, 3, 10)),
        ("20260310120000[-3:BRT]", date(2026, 3, 10)),
        ("20260310015900[0:GMT]", date(2026, 3, 9)),
        ("20260310120000.000[-3:BRT]", date(2026, 3, 10)),
        ("20260310235959", date(2026, 3, 10)),
    ],
)
def test_a_day_is_the_one_in_sao_paulo(written: str, day: date) -> None:
    (statement,) = read_statements(ofx(day=written))
    assert statement.read.transactions[0].booked_on == day


@pytest.mark.parametrize("more", [{"day": "00000000"}, {"amount": "abc"}, {"amount": ""}, {"day": "20261345"}])
def test_a_row_that_cannot_be_read_is_reported_and_the_statement_is_read(more: dict[str, str]) -> None:
    (statement,) = read_statements(ofx(**more))
    assert (len(statement.read.transactions), len(statement.read.bad)) == (0, 1)


def test_a_row_and_a_balance_of_a_day_to_come_are_not_believed() -> None:
    ahead = str(datetime.now(UTC).year + 3)
    content = ofx().replace(b"<DTASOF>2026", b"<DTASOF>" + ahead.encode())
    (statement,) = read_statements(content)
    assert (len(statement.read.transactions), statement.read.balances, statement.as_of_at) == (1, (), None)
    assert [bad.reason for bad in statement.read.bad] == ["date_in_the_future"]
    (statement,) = read_statements(ofx(day=f"{ahead}0310"))
    assert (statement.read.transactions, len(statement.read.balances)) == ((), 1)
    assert [bad.reason for bad in statement.read.bad] == ["date_in_the_future"]


@pytest.mark.parametrize(("aggregate", "currency"), [("ORIGCURRENCY", "BRL"), ("CURRENCY", "USD")])
def test_what_an_amount_was_converted_from_is_not_its_currency(aggregate: str, currency: str) -> None:
    told = f"X<{aggregate}><CURRATE>5.1<CURSYM>USD</{aggregate}>"
    (statement,) = read_statements(ofx(memo=told))
    assert [row.currency for row in statement.read.transactions] == [currency]


def test_what_a_statement_says_of_its_account() -> None:
    (statement,) = read_statements(ofx(kind="SAVINGS", memo="PIX ENVIADO Pão &amp; Cia"))
    account = statement.read.account
    assert account is not None
    assert (account.kind, account.identity) == (AccountKind.SAVINGS, "savings|237|1234|345451")
    row = statement.read.transactions[0]
    assert (row.type, row.description, row.provider_id) == (TransactionType.PIX, "PIX ENVIADO Pão & Cia", "1")
    assert [one.amount for one in statement.read.balances] == [Decimal("1234.56")]
    assert statement.read.covers is None, "a file says nothing of what it leaves out"


def test_latin_1_that_says_it_is_ascii_is_read() -> None:
    (statement,) = read_statements(ofx(memo="PADARIA SÃO JOÃO").decode().encode("cp1252"))
    assert statement.read.transactions[0].description == "PADARIA SÃO JOÃO"


def _cnab_line(
    number: int, day: str, cents: int, direction: str, text: str, *, holder: str = "222563410000183",
    account: str = "00000272671109",
) -> str:  # fmt: skip
    head = f"0010001300{number:03}E   {holder}49801110533315798292006799{account}"
    fixed = f"{head}{'FIRM':<30}      DPV0110460689000000000000S{day}{day}{cents:018}{direction}2080006"
    return f"{fixed}{text:<25}ID{number}".ljust(240)


def _trailer(records: int) -> str:
    return f"00199999{'':9}000001{records:06}".ljust(240)


def test_a_statement_in_cnab_240_is_read_to_the_cent() -> None:
    lines = ["00100000".ljust(240), _cnab_line(1, "14122022", 179371, "C", "ANTONIO"),
             _cnab_line(2, "12122022", 5, "D", "MARIA"), _cnab_line(3, "99999999", 5, "D", "X"),
             _trailer(5)]  # fmt: skip
    (statement,) = read_statements("\r\n".join(lines).encode())
    assert [(row.booked_on, row.amount) for row in statement.read.transactions] == [
        (date(2022, 12, 14), Decimal("1793.71")), (date(2022, 12, 12), Decimal("-0.05")),
    ]  # fmt: skip
    assert [bad.reason for bad in statement.read.bad] == ["date_is_no_date"]


def test_each_account_of_a_cnab_file_has_its_own_holder_and_the_files_own_day() -> None:
    header = f"00100000{'':135}15122022093000".ljust(240)
    lines = [header, _cnab_line(1, "14122022", 5, "C", "X", holder="200000000000191"),
             _cnab_line(2, "14122022", 5, "C", "Y", holder="100052998224725", account="00000272671110"),
             _cnab_line(3, "14122022", 5, "C", "Z", holder="000000000000000", account="00000272671111"),
             _trailer(5)]  # fmt: skip
    found = read_statements("\n".join(lines).encode())
    assert [one.read.account and one.read.account.holder for one in found] == ["00000000000191", "52998224725", None]
    assert {one.as_of_at and one.as_of_at.isoformat() for one in found} == {"2022-12-15T09:30:00-03:00"}


def _cnab(*lines: str) -> bytes:
    return "\n".join(["00100000".ljust(240), *lines]).encode()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "neither"),
        (b"hello", "neither"),
        (b"<OFX></OFX>", "without a statement"),
        (b"<OFX><INVSTMTRS></INVSTMTRS></OFX>", "investments"),
        (b"0" * 400, "CNAB 400"),
        (ofx()[: ofx().index(b"</BANKTRANLIST>")], "cut off: it has no </OFX>"),
        (_cnab(_cnab_line(1, "14122022", 5, "C", "X")), "cut off: it has no trailer"),
        (_cnab(_cnab_line(1, "14122022", 5, "C", "X"), _trailer(4)), "counts 4 records, it has 3"),
        (("00100000".ljust(240) + "\n" + "0010001300001T".ljust(240)).encode(), "it has T"),
    ],
)
def test_what_is_no_statement_is_refused_with_what_it_is(content: bytes, says: str) -> None:
    with pytest.raises(NoStatement, match=says):
        read_statements(content)
