"""Files of banks: OFX and QFX (SGML or XML, as banks write them), and statements in CNAB 240 (segment E, FEBRABAN).

A statement does not say what it leaves out, so a missing row closes nothing. A truncated file (OFX without its last
tag, CNAB without its trailer or with fewer records than the trailer counts) is refused. So are other kinds of files
(collections and payments in CNAB, investments in OFX), with the kind in the error.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from html import unescape
from typing import Any

from kordant_jobs.adapters.banks.http import rows_of
from kordant_jobs.domain.finance.states import AccountKind, BalanceKind, TransactionState, TransactionType
from kordant_jobs.domain.finance.values import (
    ZONE,
    AccountRead,
    BadRow,
    BadSeen,
    SeenAccount,
    SeenBalance,
    SeenTransaction,
    amount_of,
    checked_day,
    currency_of,
    deposit_identity,
    document_of,
    id_of,
    text_of,
    today_in,
)

T = TransactionType
_OFX_TYPES = {
    "INT": T.YIELD, "DIV": T.YIELD, "FEE": T.SINGLE_FEE, "SRVCHG": T.PACKAGE_FEE, "DEP": T.DEPOSIT, "ATM": T.WITHDRAWAL,
    "CASH": T.WITHDRAWAL, "POS": T.CARD, "XFER": T.INTERNAL_TRANSFER, "DIRECTDEP": T.PAYROLL, "PAYMENT": T.BOLETO,
    "DIRECTDEBIT": T.COLLECTION,
}  # fmt: skip
_WORDS = (
    ("PIX", T.PIX), ("TED", T.TED), ("DOC", T.DOC), ("BOLETO", T.BOLETO), ("IOF", T.TAX), ("SALARIO", T.PAYROLL),
    ("SAQUE", T.WITHDRAWAL), ("TARIFA", T.SINGLE_FEE),
)  # fmt: skip
_KINDS = {"CHECKING": AccountKind.CHECKING, "SAVINGS": AccountKind.SAVINGS, "CREDITLINE": AccountKind.LOAN}
_TAG = re.compile(r"<\s*(/?)\s*([A-Za-z0-9._]+)\s*(/?)\s*>([^<]*)")
_CURRENCIES = frozenset({"CURRENCY", "ORIGCURRENCY"})
"""CURRENCY: the row's amount is in this one. ORIGCURRENCY: it was converted from this one (OFX 1.6, 5.2)."""
_END = re.compile(r"<\s*/\s*OFX\s*>", re.IGNORECASE)
_DATE = re.compile(
    r"(\d{4})(\d{2})(\d{2})(?:(\d{2})(\d{2})(\d{2})?)?(?:[.,]\d+)?\s*(?:\[\s*([+-]?\d{1,2}(?:\.\d+)?)[^]]*\]?)?"
)
CNAB_LINE = 240
IN_FUTURE = "date_in_the_future"


class NoStatement(ValueError):
    """The file is not a readable statement; the text names what it is instead."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One account's statement in a file: its bank, and the rows and balances read."""

    bank: str
    read: AccountRead
    as_of_at: datetime | None = None


def read_statements(content: bytes) -> list[Statement]:
    """The statements of a file in either format.

    Raises:
        NoStatement: it is not a statement.
    """
    head = content[:4000].upper()
    if b"<OFX>" in head or b"OFXHEADER" in head:
        return _ofx(content)
    lines = [line for line in decoded(content).splitlines() if line.strip("\x1a \x00")]
    if lines and len(lines[0]) >= 399:
        raise NoStatement("CNAB 400: collections or payments, no statement of an account")
    if lines and all(len(line) >= CNAB_LINE - 1 for line in lines[:3]) and lines[0][7:8] == "0":
        return _cnab(lines)
    raise NoStatement("neither OFX nor CNAB 240")


def decoded(content: bytes) -> str:
    """The text of a file. UTF-8 is tried first, since the encoding that a file declares is often wrong."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


@dataclass
class _Part:
    """One statement of an OFX file while it is read: fields by name, rows, balances."""

    is_card: bool
    is_investment: bool
    fields: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)
    balances: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def _ofx(content: bytes) -> list[Statement]:
    text = decoded(content)
    if _END.search(text) is None:
        raise NoStatement("the file is cut off: it has no </OFX>")
    parts = list(_parts(text))
    found = [_statement(part) for part in parts if part.rows or not part.is_investment]
    if not found:
        what = "an OFX file of investments" if parts else "an OFX file without a statement"
        raise NoStatement(what)
    return found


def _parts(text: str) -> Iterator[_Part]:
    """The statements of an OFX text. A value ends at the next tag, whether its own tag is closed or not."""
    part: _Part | None = None
    place: dict[str, str] = {}
    within = ""
    for closing, raw_name, _, raw_value in _TAG.findall(text):
        name, value = raw_name.upper(), unescape(raw_value).strip()
        if name in {"STMTRS", "CCSTMTRS", "INVSTMTRS"}:
            if part is not None:
                yield part
            part = None if closing else _Part(is_card=name == "CCSTMTRS", is_investment=name == "INVSTMTRS")
            place = part.fields if part is not None else {}
        elif part is None:
            continue
        elif name == "STMTTRN":
            place = {} if not closing else part.fields
            within = ""
            if not closing:
                part.rows.append(place)
        elif name in {"LEDGERBAL", "AVAILBAL"}:
            place = {} if not closing else part.fields
            if not closing:
                part.balances.append((name, place))
        elif name == "BANKTRANLIST" and closing:
            place = part.fields
        elif name in _CURRENCIES:
            within = "" if closing else f"{name}."
        elif not closing and value:
            place.setdefault(within + name, value)
    if part is not None:
        yield part


def _statement(part: _Part) -> Statement:
    fields = part.fields
    bank, number = text_of(fields.get("BANKID"), 20), text_of(fields.get("ACCTID"), 60)
    kind = AccountKind.CARD if part.is_card else _KINDS.get(fields.get("ACCTTYPE", "").upper(), AccountKind.CHECKING)
    kind = AccountKind.INVESTMENT if part.is_investment else kind
    said = fields.get("CURDEF", "").strip().upper()
    currency = currency_of(said) if len(said) == 3 else "BRL"
    branch = text_of(fields.get("BRANCHID"), 20)
    identity = f"card|{number}" if part.is_card and number else deposit_identity(bank, branch, number, kind)
    provider_id = identity or f"{bank}|{number}"
    account = SeenAccount(
        provider_id=provider_id,
        kind=kind,
        currency=currency,
        institution=bank or text_of(fields.get("ORG"), 40) or "file",
        identity=identity,
        number="/".join(one for one in (bank, branch, number) if one),
    )
    rows, bad = rows_of(part.rows, lambda row: _transaction(row, currency))
    balances, newest, ahead = list[SeenBalance](), None, tuple[BadSeen, ...]()
    for name, given in part.balances:
        try:
            as_of = _day(given.get("DTASOF", ""))
            amount = _amount(given.get("BALAMT", ""))
        except BadRow as why:
            if str(why) == IN_FUTURE:
                ahead = (BadSeen(reason=IN_FUTURE, raw=given),)  # one for all: a statement's balances share their day
            continue  # a balance that cannot be read is none
        moment = datetime.combine(as_of, time(23, 59), ZONE)
        kind_of = BalanceKind.CURRENT if name == "LEDGERBAL" else BalanceKind.AVAILABLE
        balances.append(SeenBalance(kind=kind_of, amount=amount, currency=currency, as_of_at=moment))
        newest = max(newest or moment, moment)
    read = AccountRead(
        provider_id=provider_id, account=account, transactions=rows, balances=tuple(balances), bad=bad + ahead
    )
    return Statement(bank=account.institution, read=read, as_of_at=newest)


def _amount(text: str) -> Decimal:
    """An amount as banks write it: a comma or a point before the decimals, perhaps points between thousands."""
    plain = text.replace(" ", "").replace("\u00a0", "").removeprefix("+")
    if "," in plain:
        plain = (
            plain.replace(".", "").replace(",", ".") if plain.rfind(",") > plain.rfind(".") else plain.replace(",", "")
        )
    return amount_of(plain)


def _day(text: str) -> date:
    """The day in Sao Paulo of an OFX date. A date without a zone is the bank's own day."""
    given = _DATE.match(text.strip())
    if given is None:
        raise BadRow("date_is_no_date")
    year, month, day, hour, minute, second, zone = given.groups()
    try:
        day_of_bank = date(int(year), int(month), int(day))
        if zone is None or hour is None:
            return _past_day(day_of_bank)
        own = timezone(timedelta(hours=float(zone)))
        clock = time(int(hour), int(minute or 0), min(int(second or 0), 59), tzinfo=own)
        return _past_day(datetime.combine(day_of_bank, clock).astimezone(ZONE).date())
    except (ValueError, OverflowError) as error:
        raise error if isinstance(error, BadRow) else BadRow("date_is_no_date") from None


def _past_day(day: date) -> date:
    """A day of an event in a statement: at most one day after today, for clocks that differ.

    Raises:
        BadRow: no account has it, or it is to come.
    """
    if checked_day(day) > today_in(datetime.now(UTC)) + timedelta(days=1):
        raise BadRow(IN_FUTURE)
    return day


def _transaction(row: Mapping[str, Any], currency: str) -> SeenTransaction:
    description = " ".join(text_of(row.get(name), 250) for name in ("NAME", "MEMO") if row.get(name))
    word = text_of(row.get("TRNTYPE"), 40).upper()
    kind = next((one for mark, one in _WORDS if re.search(rf"\b{mark}\b", description.upper())), _OFX_TYPES.get(word))
    amount = _amount(str(row.get("TRNAMT", "")))
    own = text_of(row.get("CURRENCY.CURSYM") or row.get("CURSYM"), 3)
    return SeenTransaction(
        provider_id=id_of(row.get("FITID")),
        state=TransactionState.POSTED,
        booked_on=_day(str(row.get("DTPOSTED") or row.get("DTUSER") or "")),
        amount=amount,
        currency=own if len(own) == 3 and own.isupper() else currency,
        type=kind or T.OTHER,
        type_raw=None if kind else word or None,
        description=description,
    )


def _cnab(lines: list[str]) -> list[Statement]:
    """Segment E of CNAB 240, positions counted from 1: holder 18 to 32, account 53 to 71, name 73, day 143, amount 151,
    C or D 169, text 177. The header has the file's own day, at 144, and its time, at 152."""
    rows = [line for line in lines if line[7:8] == "3" and line[13:14] == "E"]
    if not rows:
        kinds = sorted({line[13:14] for line in lines if line[7:8] == "3"})
        raise NoStatement(
            f"CNAB 240 without segment E (it has {', '.join(kinds) or 'none'}): no statement of an account"
        )
    if lines[-1][7:8] != "9":
        raise NoStatement("the file is cut off: it has no trailer (a record of type 9)")
    if (counted := lines[-1][23:29]).isdecimal() and int(counted) > len(lines):
        raise NoStatement(f"the file is cut off: its trailer counts {int(counted)} records, it has {len(lines)}")
    by_account: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for line in rows:
        key = (line[0:3], line[52:57], line[58:72].strip())
        by_account.setdefault(key, []).append({"line": line})
    found, made_at = [], _cnab_made_at(lines[0])
    for (bank, branch, number), own in by_account.items():
        identity = deposit_identity(bank, branch, number, AccountKind.CHECKING)
        transactions, bad = rows_of(own, _cnab_row)
        account = SeenAccount(
            provider_id=identity or number,
            kind=AccountKind.CHECKING,
            currency="BRL",
            institution=bank,
            identity=identity,
            number=f"{bank}/{branch}/{number}",
            name=text_of(own[0]["line"][72:102], 40),
            holder=_cnab_holder(own[0]["line"]),
        )
        read = AccountRead(provider_id=account.provider_id, account=account, transactions=transactions, bad=bad)
        found.append(Statement(bank=bank, read=read, as_of_at=made_at))
    return found


def _cnab_holder(line: str) -> str | None:
    """The CPF (kind 1) or CNPJ (kind 2) of a row's holder."""
    kind, digits = line[17:18], line[18:32]
    return document_of({"1": digits[-11:], "2": digits}.get(kind)) if digits.strip("0 ") else None


def _cnab_made_at(header: str) -> datetime | None:
    try:
        made_at = datetime.strptime(header[143:157], "%d%m%Y%H%M%S").replace(tzinfo=ZONE)
        _past_day(made_at.date())
    except ValueError:
        return None
    return made_at


def _cnab_row(row: Mapping[str, Any]) -> SeenTransaction:
    line: str = row["line"].ljust(CNAB_LINE)
    day, digits, direction = line[142:150], line[150:168].strip(), line[168:169]
    if direction not in {"C", "D"} or not digits.isdecimal():
        raise BadRow("no_direction" if digits.isdecimal() else "amount_is_no_number")
    try:
        booked_on = _past_day(date(int(day[4:]), int(day[2:4]), int(day[:2])))
    except ValueError as error:
        raise error if isinstance(error, BadRow) else BadRow("date_is_no_date") from None
    amount = Decimal(digits) / 100
    description = text_of(line[176:201], 60)
    return SeenTransaction(
        provider_id=id_of(line[201:240].strip()),
        state=TransactionState.POSTED,
        booked_on=booked_on,
        amount=amount if direction == "C" else -amount,
        currency="BRL",
        type=next((one for mark, one in _WORDS if mark in description.upper()), T.OTHER),
        type_raw=line[169:172].strip() or None,
        description=description,
    )
