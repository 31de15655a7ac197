"""Belvo: links, accounts, transactions by page. Amounts are positive; INFLOW and OUTFLOW give the direction.

Lists show what Belvo has stored. Recurrent links refresh by themselves and announce it with a webhook. Errors are
arrays, and paths end with a slash. The documentation of a transaction's fields is incomplete; undocumented fields are
not used.
"""

import base64
from collections.abc import Mapping
from datetime import date, timedelta
from functools import partial
from typing import Any

from pydantic import SecretStr

from kordant_jobs.adapters.banks.http import LIMITS, PAGES_MAX, Server, Unlimited, Windows, list_of, part_of, rows_of
from kordant_jobs.adapters.sources.http import Session, open_session
from kordant_jobs.domain.finance.states import (
    AccountKind,
    BalanceKind,
    ErrorClass,
    Provider,
    TransactionState,
    TransactionType,
)
from kordant_jobs.domain.finance.values import (
    AccountRead,
    BadRow,
    ConnectionRead,
    SeenAccount,
    SeenBalance,
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
    today_in,
)
from kordant_jobs.ports import BankCalls, BankFailed, BankQuestion

CURRENT = timedelta(days=5)
"""Reads of fewer than six days count against the larger limit."""
PAGE_SIZE = 1000
USER_STATES = {"invalid": "login_error", "unconfirmed": "consent_pending", "token_required": "mfa_needed"}
KINDS = {
    "CHECKING_ACCOUNT": AccountKind.CHECKING,
    "SAVINGS_ACCOUNT": AccountKind.SAVINGS,
    "CREDIT_CARD": AccountKind.CARD,
    "LOAN_ACCOUNT": AccountKind.LOAN,
    "INVESTMENT_ACCOUNT": AccountKind.INVESTMENT,
}
STATES = {"PENDING": TransactionState.PENDING, "PROCESSED": TransactionState.POSTED}


class Belvo:
    """A client of api.belvo.com."""

    provider = Provider.BELVO

    def __init__(self, secret_id: str, password: SecretStr, *, base_url: str) -> None:
        both = f"{secret_id}:{password.get_secret_value()}".encode()
        self._headers = {"authorization": "Basic " + base64.b64encode(both).decode()}
        self._base = base_url.rstrip("/")

    async def read(self, question: BankQuestion, calls: BankCalls) -> ConnectionRead:
        """Read one link. See `ports.Bank`."""
        async with open_session(LIMITS, {}) as session:
            server = self._server(session, calls)
            link = await server.ask(f"/api/links/{question.item}/", endpoint="links")
            if (code := USER_STATES.get(str(link.get("status")))) is not None:
                raise BankFailed(ErrorClass.USER, code)
            fresh = instant_of(link.get("last_accessed_at"))
            if link.get("status") != "valid" or fresh is None:  # its first data is announced by `historical_update`
                raise BankFailed(ErrorClass.BUSY, "updating", retry_after_s=300)
            raw = await _pages(server, "/api/accounts/", {"link": question.item}, endpoint="accounts")
            accounts, bad = rows_of(raw, partial(_account, bank=question.institution))
            known, cursor = {one.provider_id: one for one in question.known}, dict(question.cursor)
            missing = set(known) - {one.provider_id for one, _ in accounts}
            reads = [AccountRead(provider_id=one, failure="account_missing") for one in sorted(missing)]
            today = today_in(question.now)
            for account, balances in accounts:
                windows = Windows(
                    provider_id=account.provider_id,
                    known=known.get(account.provider_id),
                    cursor=cursor,
                    today=today,
                    recent=CURRENT,
                )
                found, begin = await windows.read(partial(_dated, server, question.item, account.provider_id))
                rows, bad_rows = rows_of(found, partial(_transaction, account=account))
                reads.append(
                    AccountRead(
                        provider_id=account.provider_id,
                        account=account,
                        transactions=rows,
                        balances=balances,
                        bad=bad_rows,
                        covers=(begin, today),
                    )
                )
        failures = tuple(f"account: {one.reason}" for one in bad)
        return ConnectionRead(accounts=tuple(reads), cursor=cursor, as_of_at=fresh, failures=failures)

    async def end(self, item: str, institution: str) -> None:
        """Delete a link. See `ports.Bank`."""
        async with open_session(LIMITS, {}) as session:
            gone = frozenset({200, 204, 404})
            server = self._server(session, Unlimited())
            await server.ask(f"/api/links/{item}/", endpoint="links", method="DELETE", accepted=gone)

    def _server(self, session: Session, calls: BankCalls) -> Server:
        return Server(session=session, base_url=self._base, calls=calls, headers=lambda: self._headers)


async def _dated(server: Server, link: str, account: str, begin: date, is_historic: bool) -> list[Any]:
    asked = {"link": link, "account": account, "value_date__gte": begin.isoformat()}
    endpoint = "transactions" if is_historic else "transactions-current"
    return await _pages(server, "/api/transactions/", asked, endpoint=endpoint, subject=account)


async def _pages(
    server: Server, path: str, params: Mapping[str, str], *, endpoint: str, subject: str = ""
) -> list[Any]:
    found = list[Any]()
    for number in range(1, PAGES_MAX):
        asked = {**params, "page": str(number), "page_size": str(PAGE_SIZE)}
        counted = endpoint if number == 1 else f"{endpoint}-page"
        page = await server.ask(path, asked, endpoint=counted, subject=subject)
        found += list_of(page, "results")
        if not page.get("next"):
            return found
    raise BankFailed(ErrorClass.PERMANENT, "too_many_pages")


def _account(row: Mapping[str, Any], *, bank: str) -> tuple[SeenAccount, tuple[SeenBalance, ...]]:
    provider_id = id_of(row.get("id"))
    if provider_id is None:
        raise BadRow("no_account_id")
    kind = KINDS.get(str(row.get("category")), AccountKind.CHECKING)
    number, currency = text_of(row.get("number"), 60), currency_of(row.get("currency"))
    name, is_card = text_of(row.get("name"), 80), kind is AccountKind.CARD
    balance, credit = part_of(row, "balance"), part_of(row, "credit_data")
    as_of = instant_of(row.get("collected_at"))
    said = [
        (BalanceKind.CURRENT, balance.get("current"), -1 if is_card else 1),
        (BalanceKind.AVAILABLE, balance.get("available"), 1),
        (BalanceKind.LIMIT, credit.get("credit_limit"), 1),
    ]
    account = SeenAccount(
        provider_id=provider_id,
        kind=kind,
        currency=currency,
        institution=bank,
        identity=card_identity(bank, name, "", number)
        if is_card
        else deposit_identity(bank, text_of(row.get("agency"), 10), number, kind),
        number=number,
        name=name,
        holder=document_of(row.get("public_identification_value")),
    )
    balances = tuple(
        SeenBalance(kind=one, amount=sign * amount_of(value), currency=currency, as_of_at=as_of)
        for one, value, sign in said
        if value is not None and as_of is not None
    )
    return account, balances


def _transaction(row: Mapping[str, Any], *, account: SeenAccount) -> SeenTransaction:
    amount = amount_of(row.get("amount"))
    direction = {"INFLOW": 1, "OUTFLOW": -1}.get(str(row.get("type")))
    if direction is None or amount < 0:
        raise BadRow("no_direction" if direction is None else "amount_has_a_sign")
    is_card = account.kind is AccountKind.CARD
    state = STATES.get(str(row.get("status")), TransactionState.POSTED)
    merchant = part_of(row, "merchant")
    kind = TransactionType.OTHER
    if is_card:
        kind = TransactionType.PURCHASE if direction < 0 else TransactionType.REVERSAL
        if direction > 0 and "pagamento" in text_of(row.get("description")).casefold():
            kind = TransactionType.BILL_PAYMENT
    return SeenTransaction(
        provider_id=id_of(row.get("id")),
        state=state,
        booked_on=day_of(row.get("value_date"), midnight_is_a_day=True)[0],
        occurred_at=instant_of(row.get("accounting_date")),
        amount=amount * direction,
        currency=currency_of(row.get("currency")),
        type=kind,
        description=text_of(row.get("description")),
        counterparty=text_of(merchant.get("name") or merchant.get("merchant_name"), 200),
        category=text_of(row.get("category"), 80) or None,
    )
