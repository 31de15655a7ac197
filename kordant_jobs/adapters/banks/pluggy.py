"""Pluggy v2: items, accounts, transactions by cursor, bills.

`type` gives the direction of a transaction; card amounts are inverted (a purchase is DEBIT and positive). Dates are
instants; a bill's due date is a calendar day at UTC midnight. A row gets a new id when it is restated.
"""

import asyncio
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakKeyDictionary

from pydantic import SecretStr

from kordant_jobs.adapters.banks.http import LIMITS, PAGES_MAX, Server, Unlimited, list_of, part_of, rows_of
from kordant_jobs.adapters.sources.http import Session, open_session
from kordant_jobs.domain.finance.states import (
    AccountKind,
    BalanceKind,
    ConsentEnd,
    ErrorClass,
    Provider,
    TransactionState,
    TransactionType,
)
from kordant_jobs.domain.finance.types import ACCOUNT_TYPES, type_of
from kordant_jobs.domain.finance.values import (
    AccountRead,
    BadRow,
    ConnectionRead,
    SeenAccount,
    SeenBalance,
    SeenBill,
    SeenConsent,
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
    whole_of,
)
from kordant_jobs.ports import BankCalls, BankFailed, BankQuestion, KnownAccount

OVERLAP = timedelta(minutes=15)
"""The time before the newest `createdAt` at which the next read starts, since rows are ingested while pages are
read."""
WINDOW = {AccountKind.CARD: timedelta(days=45)}
WINDOW_ELSE = timedelta(days=10)
"""The days that every sync reads completely, to see corrections, late fields and removals. For a card they reach back
before its last closing."""
FIRST_READ = timedelta(days=365)
IDS_MAX = 500

USER_STATES = {
    "LOGIN_ERROR": "login_error",
    "WAITING_USER_INPUT": "mfa_needed",
    "WAITING_USER_ACTION": "user_action_needed",
}
USER_EXECUTIONS = {
    "INVALID_CREDENTIALS": "login_error",
    "INVALID_CREDENTIALS_MFA": "mfa_needed",
    "ACCOUNT_CREDENTIALS_RESET": "login_error",
    "ACCOUNT_LOCKED": "account_locked",
    "ACCOUNT_NEEDS_ACTION": "user_action_needed",
    "USER_AUTHORIZATION_NOT_GRANTED": "consent_not_granted",
    "USER_AUTHORIZATION_PENDING": "consent_pending",
    "USER_INPUT_TIMEOUT": "mfa_needed",
}
BUSY_STATES = {"UPDATING", "MERGING"}
GOOD_EXECUTIONS = {"SUCCESS", "PARTIAL_SUCCESS", "CREATED", "", None}


def check_item(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The products that are missing from an item's last update.

    Raises:
        BankFailed: it cannot be read as it stands: by the table of item states.
    """
    status, execution = item.get("status"), item.get("executionStatus")
    # why it failed is the more exact word: LOGIN_ERROR covers locked accounts, too
    if (code := USER_EXECUTIONS.get(str(execution))) or (code := USER_STATES.get(str(status))):
        raise BankFailed(ErrorClass.USER, code)
    if status in BUSY_STATES:
        raise BankFailed(ErrorClass.BUSY, "updating", retry_after_s=300)
    if execution == "ALREADY_LOGGED_IN":
        raise BankFailed(ErrorClass.TRANSIENT, "already_logged_in", retry_after_s=1800)
    if execution not in GOOD_EXECUTIONS or status not in {"UPDATED", "OUTDATED"}:
        raise BankFailed(ErrorClass.TRANSIENT, text_of(execution or status, 40).lower() or "unknown_state")
    if execution != "PARTIAL_SUCCESS":
        return ()
    detail = part_of(item, "statusDetail")
    return tuple(sorted(f"{name}_not_updated" for name in detail if part_of(detail, name).get("isUpdated") is False))


class Pluggy:
    """A client of api.pluggy.ai. One API key serves all reads of all processes for two hours; it is renewed once when
    it is refused."""

    provider = Provider.PLUGGY

    def __init__(self, client_id: str, secret: SecretStr, *, base_url: str) -> None:
        self._client_id, self._secret, self._base = client_id, secret, base_url.rstrip("/")
        self._key = ""
        self._signing_in = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()

    async def read(self, question: BankQuestion, calls: BankCalls) -> ConnectionRead:
        """Read one item. See `ports.Bank`."""
        async with open_session(LIMITS, {}) as session:
            server = self._server(session, calls)
            item = await self._ask(server, f"/items/{question.item}", endpoint="items")
            if instant_of(item.get("consentExpiresAt")) and _is_over(item, question.now):
                expired = ConsentEnd.CONSENT_EXPIRED
                raise BankFailed(ErrorClass.USER, expired.value, consent=_consent(item, expired))
            failures = check_item(item)
            found = await self._ask(server, "/accounts", {"itemId": question.item}, endpoint="accounts")
            accounts, bad = rows_of(
                list_of(found, "results"), partial(_account, now=question.now, bank=question.institution)
            )
            failures += tuple(f"account: {one.reason}" for one in bad)
            reads, cursor = list[AccountRead](), dict(question.cursor)
            known = {one.provider_id: one for one in question.known}
            for provider_id in set(known) - {one.provider_id for one, _ in accounts}:
                reads.append(AccountRead(provider_id=provider_id, failure="account_missing"))
            for account, balances in accounts:
                since = question.cursor.get(account.provider_id)
                read, newest = await self._account(
                    server, account, balances, known.get(account.provider_id), since, question.now
                )
                reads.append(read)
                if newest is not None:
                    cursor[account.provider_id] = newest
        return ConnectionRead(
            accounts=tuple(reads),
            cursor=cursor,
            as_of_at=instant_of(item.get("lastUpdatedAt")),
            consent=_consent(item) if item.get("consentExpiresAt") else None,
            failures=failures,
        )

    async def end(self, item: str, institution: str) -> None:
        """Delete an item. See `ports.Bank`."""
        async with open_session(LIMITS, {}) as session:
            server = self._server(session, Unlimited())
            gone = frozenset({200, 204, 404})
            await self._ask(server, f"/items/{item}", endpoint="items", method="DELETE", accepted=gone)

    def _server(self, session: Session, calls: BankCalls) -> Server:
        return Server(session=session, base_url=self._base, calls=calls, headers=lambda: {"x-api-key": self._key})

    async def _ask(
        self, server: Server, path: str, params: Mapping[str, str] | None = None, *, endpoint: str, **more: Any
    ) -> dict[str, Any]:
        used = self._key
        if used:
            try:
                return await server.ask(path, params, endpoint=endpoint, **more)
            except BankFailed as failure:
                if failure.error_class is not ErrorClass.OURS:
                    raise
        await self._sign_in(server, used)
        return await server.ask(path, params, endpoint=endpoint, **more)

    async def _sign_in(self, server: Server, refused: str) -> None:
        async with self._signing_in.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            if self._key != refused:
                return  # another read has renewed it
            body = {"clientId": self._client_id, "clientSecret": self._secret.get_secret_value()}
            answer = await server.ask("/auth", endpoint="auth", method="POST", body=body)
            if (key := id_of_key(answer.get("apiKey"))) is None:
                raise BankFailed(ErrorClass.OURS, "unreadable")
            self._key = key

    async def _account(
        self,
        server: Server,
        account: SeenAccount,
        balances: tuple[SeenBalance, ...],
        known: KnownAccount | None,
        since: Any,
        now: datetime,
    ) -> tuple[AccountRead, str | None]:
        """The read of one account, and its newest `createdAt`."""
        today = today_in(now)
        back = WINDOW.get(account.kind, WINDOW_ELSE) if since else FIRST_READ
        window = (today - back, today)
        about = {"accountId": account.provider_id}
        raw = await self._transactions(server, {**about, "dateFrom": window[0].isoformat()})
        mark = instant_of(since)
        if mark is not None:
            newer = (mark - OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            raw += await self._transactions(server, {**about, "createdAtFrom": newer})
            asked = [] if known is None else list(known.provisional)
            missing = sorted(set(asked) - {str(row.get("id")) for row in raw if isinstance(row, Mapping)})
            for start in range(0, len(missing), IDS_MAX):
                part = missing[start : start + IDS_MAX]
                raw += await self._transactions(server, {**about, "ids": ",".join(part)})
        rows, bad = rows_of(raw, partial(_transaction, account=account))
        bills: tuple[SeenBill, ...] = ()
        failure = None
        if account.kind is AccountKind.CARD:
            try:
                found = await self._ask(server, "/bills", about, endpoint="bills")
                bills, bad_bills = rows_of(list_of(found, "results"), _bill)
                bad += bad_bills
            except BankFailed as why:
                failure = f"bills: {why.code}"
        made = [str(row["createdAt"]) for row in raw if isinstance(row, Mapping) and instant_of(row.get("createdAt"))]
        read = AccountRead(
            provider_id=account.provider_id,
            account=account,
            transactions=rows,
            balances=balances,
            bills=bills,
            bad=bad,
            covers=window,
            failure=failure,
        )
        return read, max(made, default=None, key=lambda one: instant_of(one) or now)

    async def _transactions(self, server: Server, params: Mapping[str, str]) -> list[Any]:
        """All pages. `next` may be a query or a whole address; only its cursor is used."""
        found, cursors, after = list[Any](), set[str](), None
        for _ in range(PAGES_MAX):
            asked = {**params, **({"after": after} if after else {})}
            page = await self._ask(server, "/v2/transactions", asked, endpoint="transactions")
            found += list_of(page, "results")
            following = page.get("next")
            if not following:
                return found
            after = dict(parse_qsl(urlsplit(str(following)).query)).get("after")
            if not after or after in cursors:
                raise BankFailed(ErrorClass.PERMANENT, "pages_repeat")
            cursors.add(after)
        raise BankFailed(ErrorClass.PERMANENT, "too_many_pages")


def id_of_key(value: Any) -> str | None:
    """An API key: a JWT, longer than an id."""
    return value if isinstance(value, str) and value.isascii() and 0 < len(value) < 10_000 else None


def _is_over(item: Mapping[str, Any], now: datetime) -> bool:
    expires = instant_of(item.get("consentExpiresAt"))
    return expires is not None and expires <= now


def _consent(item: Mapping[str, Any], ended: ConsentEnd | None = None) -> SeenConsent:
    return SeenConsent(
        provider_id=str(item.get("id")), expires_at=instant_of(item.get("consentExpiresAt")), ended=ended
    )


_SUBTYPES = {"SAVINGS_ACCOUNT": AccountKind.SAVINGS, "CREDIT_CARD": AccountKind.CARD}


def _account(row: Mapping[str, Any], *, now: datetime, bank: str) -> tuple[SeenAccount, tuple[SeenBalance, ...]]:
    provider_id = id_of(row.get("id"))
    if provider_id is None:
        raise BadRow("no_account_id")
    is_card = row.get("type") == "CREDIT"
    kind = AccountKind.CARD if is_card else _SUBTYPES.get(str(row.get("subtype")), AccountKind.CHECKING)
    currency, number = currency_of(row.get("currencyCode")), text_of(row.get("number"), 60)
    credit = part_of(row, "creditData")
    transfer_number = text_of(part_of(row, "bankData").get("transferNumber"), 60)
    if is_card:
        identity = card_identity(bank, text_of(row.get("name"), 80), text_of(credit.get("brand"), 30), number)
    else:  # 341/1234/12345-6: bank, branch, number
        whole = transfer_number.split("/")
        institution, branch, own_number = whole if len(whole) == 3 else (bank, "", number)
        identity = deposit_identity(institution, branch, own_number, kind)
    as_of = instant_of(row.get("updatedAt")) or now
    said = [(BalanceKind.CURRENT, row.get("balance"), -1 if is_card else 1)]
    if is_card:
        said.append((BalanceKind.LIMIT, credit.get("creditLimit"), 1))
        said.append((BalanceKind.AVAILABLE, credit.get("availableCreditLimit"), 1))
    balances = tuple(
        SeenBalance(kind=name, amount=sign * amount_of(value), currency=currency, as_of_at=as_of)
        for name, value, sign in said
        if value is not None
    )
    account = SeenAccount(
        provider_id=provider_id,
        kind=kind,
        currency=currency,
        institution=bank,
        identity=identity,
        number=transfer_number or number,
        name=text_of(row.get("name"), 100),
        holder=document_of(row.get("taxNumber")),
    )
    return account, balances


def _transaction(row: Mapping[str, Any], *, account: SeenAccount) -> SeenTransaction:
    amount_in_account = row.get("amountInAccountCurrency")
    size = abs(amount_of(row.get("amount") if amount_in_account is None else amount_in_account))
    direction = row.get("type")
    if direction not in {"DEBIT", "CREDIT"}:
        raise BadRow("no_direction")
    day, instant = day_of(row.get("date"), midnight_is_a_day=False)
    kind, raw = type_of(row.get("operationType"), ACCOUNT_TYPES)
    card, payment = part_of(row, "creditCardMetadata"), part_of(row, "paymentData")
    if account.kind is AccountKind.CARD and kind is TransactionType.OTHER:
        kind = TransactionType.PURCHASE if direction == "DEBIT" else _credit_of_card(row)
    posted = row.get("status", "POSTED") != "PENDING"
    other = part_of(payment, "payer" if direction == "CREDIT" else "receiver")
    purchase = card.get("purchaseDate")
    currency = currency_of(row.get("currencyCode"))
    foreign = amount_in_account is not None and currency != account.currency
    merchant = part_of(row, "merchant")
    return SeenTransaction(
        provider_id=id_of(row.get("id")),
        state=TransactionState.POSTED if posted else TransactionState.PENDING,
        booked_on=day,
        occurred_at=instant,
        amount=size if direction == "CREDIT" else -size,
        currency=account.currency if amount_in_account is not None else currency,
        original_amount=abs(amount_of(row.get("amount"))).copy_sign(1 if direction == "CREDIT" else -1)
        if foreign
        else None,
        original_currency=currency if foreign else None,
        type=kind,
        type_raw=raw,
        description=text_of(row.get("descriptionRaw") or row.get("description")),
        counterparty=text_of(merchant.get("businessName") or merchant.get("name") or other.get("name"), 200),
        counterparty_document=document_of(merchant.get("cnpj") or part_of(other, "documentNumber").get("value")),
        mcc=text_of(str(card.get("payeeMCC") or ""), 4) or None,
        category=text_of(row.get("category"), 80) or None,
        bill=id_of(card.get("billId")),
        instalment_no=whole_of(card.get("installmentNumber"), 1, 999),
        instalment_of=whole_of(card.get("totalInstallments"), 1, 999),
        purchase_on=day_of(purchase, midnight_is_a_day=True)[0] if purchase else None,
        transfer_key=id_of(payment.get("referenceNumber")),
    )


def _credit_of_card(row: Mapping[str, Any]) -> TransactionType:
    text = f"{row.get('category')} {row.get('description')}".casefold()
    is_payment = any(word in text for word in ("payment", "pagamento", "pgto"))
    return TransactionType.BILL_PAYMENT if is_payment else TransactionType.REVERSAL


def _bill(row: Mapping[str, Any]) -> SeenBill:
    provider_id = id_of(row.get("id"))
    if provider_id is None:
        raise BadRow("no_bill_id")
    due: date = day_of(str(row.get("dueDate"))[:10], midnight_is_a_day=True)[0]
    total, minimum, closing = row.get("totalAmount"), row.get("minimumPaymentAmount"), row.get("billClosingDate")
    charges = [one for one in row.get("financeCharges") or () if isinstance(one, Mapping)]
    return SeenBill(
        provider_id=provider_id,
        due_on=due,
        closed_on=day_of(str(closing)[:10], midnight_is_a_day=True)[0] if closing else None,
        total=None if total is None else amount_of(total),
        minimum=None if minimum is None else amount_of(minimum),
        currency=currency_of(row.get("totalAmountCurrencyCode")),
        charges=tuple((text_of(one.get("type"), 60), amount_of(one.get("amount"))) for one in charges),
    )
