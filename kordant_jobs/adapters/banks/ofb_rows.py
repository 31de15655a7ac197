"""Interprets rows of Open Finance Brasil, of both versions: accounts, balances, limits, transactions and bills. Pure.

Amounts have no sign; `creditDebitType` gives the direction. A bill's total is the amount due. `transactionId` is final
at once or from the next day on (`domain.finance.types.FINAL_AT_ONCE`), for a card once its bill is closed. Version 1 of
both interfaces (dates without time, bare numbers, a textual `chargeIdentificator`) is supported as well.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kordant_jobs.domain.finance.states import (
    AccountKind,
    BalanceKind,
    TransactionState,
    TransactionType,
)
from kordant_jobs.domain.finance.types import ACCOUNT_TYPES, CARD_TYPES, type_of
from kordant_jobs.domain.finance.values import (
    BadRow,
    SeenAccount,
    SeenBalance,
    SeenBill,
    SeenTransaction,
    amount_of,
    card_identity,
    currency_of,
    day_of,
    deposit_identity,
    document_of,
    id_of,
    instant_of,
    text_of,
    whole_of,
)

STATES = {
    "TRANSACAO_EFETIVADA": TransactionState.POSTED,
    "LANCAMENTO_FUTURO": TransactionState.SCHEDULED,
    "TRANSACAO_PROCESSANDO": TransactionState.PENDING,
}
KINDS = {
    "CONTA_DEPOSITO_A_VISTA": AccountKind.CHECKING,
    "CONTA_POUPANCA": AccountKind.SAVINGS,
    "CONTA_PAGAMENTO_PRE_PAGA": AccountKind.PREPAID,
}
BALANCES = (
    ("availableAmount", BalanceKind.AVAILABLE),
    ("blockedAmount", BalanceKind.BLOCKED),
    ("automaticallyInvestedAmount", BalanceKind.AUTO_INVESTED),
    ("reservedAmount", BalanceKind.RESERVED),
)


def deposit_account(row: Mapping[str, Any]) -> SeenAccount:
    """A deposit account. `row` is its entry in the list of accounts.

    Raises:
        BadRow: it cannot be understood.
    """
    provider_id = id_of(row.get("accountId"))
    if provider_id is None:
        raise BadRow("no_account_id")
    kind = KINDS.get(str(row.get("type")), AccountKind.CHECKING)
    number = text_of(row.get("number"), 20) + text_of(row.get("checkDigit"), 2)
    bank, branch = text_of(row.get("compeCode"), 3), text_of(row.get("branchCode"), 4)
    return SeenAccount(
        provider_id=provider_id,
        kind=kind,
        currency=currency_of(row.get("currency")),
        institution=text_of(row.get("companyCnpj"), 14),
        identity=deposit_identity(bank, branch, number, kind),
        number=f"{bank}/{branch}/{number}",
        name=text_of(row.get("brandName"), 80),
    )


def card_account(row: Mapping[str, Any], detail: Mapping[str, Any]) -> SeenAccount:
    """A card account. `row` is its entry in the list of accounts; `detail` is the response for this account, which has
    the numbers of its cards."""
    methods = detail.get("paymentMethod")
    listed = methods if isinstance(methods, list) else [methods]
    numbers = [text_of(one.get("identificationNumber"), 100) for one in listed if isinstance(one, Mapping)]
    institution, name = text_of(row.get("companyCnpj"), 14), text_of(row.get("name"), 50)
    return SeenAccount(
        provider_id=str(row["creditCardAccountId"]),
        kind=AccountKind.CARD,
        currency="BRL",
        institution=institution,
        identity=card_identity(institution, name, text_of(row.get("creditCardNetwork"), 20), "".join(numbers[:1])),
        number=", ".join(number[-4:] for number in numbers),
        name=name,
    )


def _money(value: Any) -> tuple[Any, str]:
    """Amount and currency of OFB's object for both."""
    if not isinstance(value, Mapping):
        raise BadRow("no_amount")
    return amount_of(value.get("amount")), currency_of(value.get("currency"))


def balances_of(data: Mapping[str, Any], now: datetime) -> list[SeenBalance]:
    """The balances of a deposit account."""
    as_of = instant_of(data.get("updateDateTime")) or now
    found = []
    for name, kind in BALANCES:
        if isinstance(data.get(name), Mapping):
            amount, currency = _money(data[name])
            found.append(SeenBalance(kind=kind, amount=amount, currency=currency, as_of_at=as_of))
    if found and found[0].kind is BalanceKind.AVAILABLE:
        blocked = sum((one.amount for one in found if one.kind is BalanceKind.BLOCKED), start=found[0].amount * 0)
        whole = found[0].amount + blocked
        found.append(SeenBalance(kind=BalanceKind.CURRENT, amount=whole, currency=found[0].currency, as_of_at=as_of))
    return found


def limits_of(rows: list[Mapping[str, Any]], now: datetime) -> list[SeenBalance]:
    """The limit and used amount of a card: of the total credit line, or the largest where there are several."""
    whole = [one for one in rows if one.get("creditLineLimitType") == "LIMITE_CREDITO_TOTAL"] or rows
    found = []
    for kind, name in ((BalanceKind.LIMIT, "limitAmount"), (BalanceKind.USED, "usedAmount")):
        given = [_money(one[name]) for one in whole if isinstance(one.get(name), Mapping)]
        if given:
            amount, currency = max(given)
            found.append(SeenBalance(kind=kind, amount=amount, currency=currency, as_of_at=now))
    return found


def deposit_transaction(row: Mapping[str, Any]) -> SeenTransaction:
    """A row of a deposit account, of either version.

    Raises:
        BadRow: it cannot be understood.
    """
    amount, currency = _money(row.get("transactionAmount", row))
    if amount < 0:
        raise BadRow("amount_has_a_sign")
    day, instant = day_of(row.get("transactionDateTime") or row.get("transactionDate"), midnight_is_a_day=True)
    kind, raw = type_of(row.get("type"), ACCOUNT_TYPES)
    state = STATES.get(str(row.get("completedAuthorisedPaymentType")))
    if state is None:
        raise BadRow("no_state")
    return SeenTransaction(
        provider_id=id_of(row.get("transactionId")),
        state=state,
        booked_on=day,
        occurred_at=instant,
        amount=amount * _direction(row),
        currency=currency,
        type=kind,
        type_raw=raw,
        description=text_of(row.get("transactionName")),
        counterparty_document=document_of(row.get("partieCnpjCpf")),
    )


def _direction(row: Mapping[str, Any]) -> int:
    try:
        return {"CREDITO": 1, "DEBITO": -1}[str(row.get("creditDebitType"))]
    except KeyError:
        raise BadRow("no_direction") from None


def card_transaction(row: Mapping[str, Any]) -> SeenTransaction:
    """A row of a card, of either version.

    Raises:
        BadRow: it cannot be understood.
    """
    amount, currency = _money(row.get("brazilianAmount"))
    original, original_currency = _money(row["amount"]) if isinstance(row.get("amount"), Mapping) else (None, None)
    if amount < 0:
        raise BadRow("amount_has_a_sign")
    purchase, instant = day_of(row.get("transactionDateTime") or row.get("transactionDate"), midnight_is_a_day=True)
    posted = row.get("billPostDate")
    kind, raw = type_of(row.get("transactionType"), CARD_TYPES)
    name, given = text_of(row.get("transactionName")), row.get("chargeIdentificator")
    direction = _direction(row)
    if kind is TransactionType.PURCHASE and direction > 0 and "FATURA" in f"{name} {raw}".upper():
        kind = TransactionType.BILL_PAYMENT
    charges = whole_of(row.get("chargeNumber"), 1, 999)
    number = whole_of(given, 1, 999)  # version 1 has a text of the bank's there: the merchant
    shop = text_of(given, 100) if number is None else ""
    foreign = original_currency not in {None, currency}
    return SeenTransaction(
        provider_id=id_of(row.get("transactionId")),
        state=TransactionState.POSTED,
        booked_on=day_of(posted, midnight_is_a_day=True)[0] if posted else purchase,
        occurred_at=instant,
        amount=amount * direction,
        currency=currency,
        original_amount=original * direction if foreign and original is not None else None,
        original_currency=original_currency if foreign else None,
        type=kind,
        type_raw=raw,
        description=f"{name} {shop}".strip() if shop else name,
        mcc=str(row["payeeMCC"]).zfill(4)[:4] if whole_of(row.get("payeeMCC"), 1, 9999) else None,
        bill=id_of(row.get("billId")),
        instalment_no=number if charges and number and number <= charges else None,
        instalment_of=charges if charges and number and number <= charges else None,
        purchase_on=purchase,
    )


def bill(row: Mapping[str, Any]) -> SeenBill:
    """A closed bill.

    Raises:
        BadRow: it cannot be understood.
    """
    provider_id = id_of(row.get("billId"))
    if provider_id is None:
        raise BadRow("no_bill_id")
    total, currency = _money(row.get("billTotalAmount"))
    least = row.get("billMinimumAmount")
    return SeenBill(
        provider_id=provider_id,
        due_on=day_of(row.get("dueDate"), midnight_is_a_day=True)[0],
        closed_on=None,
        total=total,
        minimum=_money(least)[0] if isinstance(least, Mapping) else None,
        currency=currency,
        charges=tuple(
            (text_of(one.get("type"), 60), amount_of(one.get("amount")))
            for one in row.get("financeCharges") or ()
            if isinstance(one, Mapping)
        ),
        payments=tuple(
            (
                day_of(one.get("paymentDate"), midnight_is_a_day=True)[0],
                text_of(one.get("valueType"), 60),
                amount_of(one.get("amount")),
            )
            for one in row.get("payments") or ()
            if isinstance(one, Mapping)
        ),
        is_instalmented=any(
            isinstance(one, Mapping) and one.get("valueType") == "VALOR_PAGAMENTO_FATURA_PARCELADO"
            for one in row.get("payments") or ()
        ),
    )
