"""The official test mass of Open Finance Brasil, read by the adapter's own functions: every file, or its reason."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from kordant_jobs.adapters.banks.http import list_of, part_of, rows_of
from kordant_jobs.adapters.banks.ofb_rows import balances_of, bill, card_transaction, deposit_transaction, limits_of
from kordant_jobs.domain.finance.values import BadSeen
from kordant_jobs.lab.figures import Figure, finish
from kordant_jobs.ports import BankFailed

NOW = datetime.now(UTC)
Reader = Callable[[Mapping[str, Any]], tuple[int, tuple[BadSeen, ...]]]


def _rows(read: Callable[[Mapping[str, Any]], Any]) -> Reader:
    def of(value: Mapping[str, Any]) -> tuple[int, tuple[BadSeen, ...]]:
        good, bad = rows_of(list_of(value, "data"), read)
        return len(good), bad

    return of


def _balances(value: Mapping[str, Any]) -> tuple[int, tuple[BadSeen, ...]]:
    return len(balances_of(part_of(value, "data"), NOW)), ()


def _limits(value: Mapping[str, Any]) -> tuple[int, tuple[BadSeen, ...]]:
    return len(limits_of([one for one in list_of(value, "data") if isinstance(one, Mapping)], NOW)), ()


def _object(value: Mapping[str, Any]) -> tuple[int, tuple[BadSeen, ...]]:
    return int("data" in value), ()


_CARD, _DEPOSIT = _rows(card_transaction), _rows(deposit_transaction)
READERS: tuple[tuple[str, str, Reader], ...] = (
    ("accounts/get-accounts-accountid-transactions/", "account transactions", _DEPOSIT),
    ("accounts/get-accounts-accountid-transactions-current/", "current account transactions", _DEPOSIT),
    ("accounts/get-accounts-accountid-balances/", "balances", _balances),
    ("creditCards/get-accounts-creditcardaccountid-bills/", "bills", _rows(bill)),
    ("creditCards/get-accounts-creditcardaccountid-bills-billId-transactions/", "card rows", _CARD),
    ("creditCards/get-accounts-creditcardaccountid-transactions/", "card rows", _CARD),
    ("creditCards/get-accounts-creditcardaccountid-transactions-current/", "card rows", _CARD),
    ("creditCards/get-accounts-creditcardaccountid-limits/", "card limits", _limits),
)  # fmt: skip


def measure(folder: Path) -> tuple[list[Figure], list[str]]:
    """The figures of reading a mass of files, and a line for each file or row that could not be read."""
    counts, problems = Counter[str](), list[str]()
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder).as_posix()
        counts["files"] += 1
        try:
            value = json.loads(path.read_text("utf-8-sig"), parse_float=Decimal)
        except ValueError as error:
            counts["files that are no JSON"] += 1
            problems.append(f"{name}: no JSON ({type(error).__name__})")
            continue
        kind, read = next(
            ((kind, read) for start, kind, read in READERS if name.startswith(start)), ("others", _object)
        )
        try:
            number, bad = read(value)
        except BankFailed as failure:
            problems.append(f"{name}: {failure.code}")
            continue
        counts["files read"] += 1
        counts[kind] += number
        problems += [f"{name}: a row, {one.reason}" for one in bad]
        counts["rows that were not understood"] += len(bad)
    return [Figure(key=name, value=number, unit="", goal=None) for name, number in counts.items()], problems


def read_mass(
    folder: Annotated[Path, typer.Argument(help="The folder with accounts/, creditCards/, consents/ and so on.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Read the official test mass of Open Finance Brasil: every file is read, or its reason printed."""
    figures, problems = measure(folder)
    for line in problems:
        typer.echo(line, err=True)
    raise SystemExit(finish("ofb mass", lambda: figures, as_json=as_json))
