"""A fake Pluggy v2: /auth, /items, /accounts, /v2/transactions by cursor, /bills; and its webhooks."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kordant_jobs.domain.finance.values import ZONE, instant_of
from kordant_jobs.lab.fakes.banks.faults import Faults
from kordant_jobs.lab.fakes.banks.ledger import Entry, Ledger, Shown, TrueAccount
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer

FORBIDDEN = {"from", "to", "page", "pageSize", "limit", "itemId", "order"}
KEY_LASTS = timedelta(hours=2)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def error(status: int, word: str) -> Answer:
    """Pluggy's form of errors."""
    return Answer.of(status, {"code": status, "codeDescription": word, "message": word.lower()})


class FakePluggy(FakeServer):
    """Shows a ledger. `page_size` is at most 500; `shuffle_pages`: rows move while they are paged; `full_next`: `next`
    is a whole address."""

    def __init__(self, ledger: Ledger, *, faults: Faults | None = None, page_size: int = 500) -> None:
        super().__init__()
        self.ledger, self.faults, self.page_size = ledger, faults or Faults(), page_size
        self.keys: dict[str, datetime] = {}
        self.full_next = False
        self.repeat_cursor = False
        self.duplicate_rows = False
        self.extra_rows: dict[str, list[dict[str, Any]]] = {}
        """Rows as they stand, by account: malformed ones."""

    def answer(self, asked: Asked) -> Answer:
        """The answer, as far as nothing goes wrong."""
        return self.faults.on(asked, self._reply(asked), self.ledger.now)

    def _reply(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        query = dict(parse_qsl(parts.query))
        if parts.path == "/auth":
            return self._auth(asked)
        made = self.keys.get(asked.headers.get("x-api-key", ""))
        if made is None or self.ledger.now - made > KEY_LASTS:
            return error(401, "CLIENT_KEYS_UNAUTHORIZED")
        if parts.path.startswith("/items/"):
            return self._item(parts.path.removeprefix("/items/"), asked.method)
        if parts.path == "/accounts":
            accounts = [self._account(one) for one in self.ledger.of_item(query.get("itemId", ""))]
            return Answer.of(200, {"results": accounts, "page": 1, "total": len(accounts), "totalPages": 1})
        if parts.path == "/v2/transactions":
            return self._transactions(query)
        if parts.path == "/transactions":
            return error(410, "ENDPOINT_DEPRECATED")
        if parts.path == "/bills":
            return self._bills(query.get("accountId", ""))
        return error(404, "NOT_FOUND")

    def _auth(self, asked: Asked) -> Answer:
        body = json.loads(asked.body or b"{}")
        if (body.get("clientId"), body.get("clientSecret")) != ("client", "secret"):
            return error(401, "CLIENT_KEYS_UNAUTHORIZED")
        key = base64.b64encode(f"key-{len(self.keys)}".encode()).decode()
        self.keys[key] = self.ledger.now
        return Answer.of(200, {"apiKey": key})

    def _item(self, item_id: str, method: str) -> Answer:
        item = self.ledger.items.get(item_id)
        if item is None or item.is_deleted:
            return error(404, "ITEM_NOT_FOUND")
        if method == "DELETE":
            item.is_deleted = True
            return Answer(status=204)
        found = {
            "id": item.id,
            "status": item.status,
            "executionStatus": item.execution,
            "statusDetail": {name: {"isUpdated": good, "warnings": []} for name, good in item.detail.items()} or None,
            "lastUpdatedAt": _utc(item.updated_at or self.ledger.now),
            "nextAutoSyncAt": _utc(self.ledger.now + timedelta(hours=8)),
            "consentExpiresAt": _utc(item.expires_at) if item.expires_at else None,
            "extra": {"of": "a later version"},
        }
        return Answer.of(200, found)

    def _account(self, account: TrueAccount) -> dict[str, Any]:
        is_card = account.kind == "card"
        balance = account.balance(self.ledger.now)
        subtype = {"card": "CREDIT_CARD", "savings": "SAVINGS_ACCOUNT"}.get(account.kind, "CHECKING_ACCOUNT")
        return {
            "id": account.id,
            "itemId": account.item,
            "type": "CREDIT" if is_card else "BANK",
            "subtype": subtype,
            "number": account.number,
            "balance": float(-balance if is_card else balance),
            "currencyCode": account.currency,
            "name": "Gold" if is_card else "Conta",
            "owner": "Ann Example",
            "taxNumber": account.holder,
            "bankData": None if is_card else {"transferNumber": f"341/1234/{account.number}", "closingBalance": 0},
            "creditData": {"brand": "VISA", "creditLimit": float(account.limit)} if is_card else None,
        }

    def _transactions(self, query: Mapping[str, str]) -> Answer:
        if FORBIDDEN & set(query) or ("dateFrom" in query and "createdAtFrom" in query):
            return error(400, "INVALID_PARAMETER")
        ids = query["ids"].split(",") if "ids" in query else []
        if len(ids) > 500:
            return error(400, "TOO_MANY_IDS")
        account = self.ledger.accounts.get(query.get("accountId", ""))
        if account is None:
            return error(404, "ACCOUNT_NOT_FOUND")
        rows = account.shown(self.ledger.now)
        if "dateFrom" in query:
            rows = [one for one in rows if one[1].booked_on.isoformat() >= query["dateFrom"]]
        if since := instant_of(query.get("createdAtFrom")):
            rows = [one for one in rows if one[1].created_at >= since]
        if ids:
            rows = [one for one in rows if one[1].id in ids]
        start = 0
        if after := query.get("after"):
            start = int(base64.b64decode(after))
        page = [self._row(account, entry, seen) for entry, seen in rows[start : start + self.page_size]]
        if self.duplicate_rows and start:
            page = [self._row(account, *rows[start - 1]), *page]
        if start == 0 and "createdAtFrom" not in query and not ids:
            page += self.extra_rows.get(account.id, [])
        following = None
        if start + self.page_size < len(rows):
            at = 0 if self.repeat_cursor else start + self.page_size
            cursor = base64.b64encode(str(at).encode()).decode()
            following = f"?accountId={account.id}&after={cursor}"
            if self.full_next:
                following = f"https://api.pluggy.ai/v2/transactions{following}"
        return Answer.of(200, {"results": page, "next": following})

    def _row(self, account: TrueAccount, entry: Entry, seen: Shown) -> dict[str, Any]:
        is_card, is_credit = account.kind == "card", seen.amount > 0
        size = float(abs(seen.amount))
        no, of = entry.instalment or (None, None)
        card = {
            "billId": seen.bill,
            "installmentNumber": no,
            "totalInstallments": of,
            "purchaseDate": entry.purchase_on and f"{entry.purchase_on.isoformat()}T00:00:00.000Z",
            "payeeMCC": entry.mcc,
        }
        return {
            "id": seen.id,
            "accountId": account.id,
            "date": f"{seen.booked_on.isoformat()}T03:00:00.000Z",
            "description": seen.description,
            "descriptionRaw": seen.description,
            "amount": size if is_credit != is_card else -size,
            "amountInAccountCurrency": None,
            "currencyCode": account.currency,
            "type": "CREDIT" if is_credit else "DEBIT",
            "status": "POSTED" if seen.is_posted else "PENDING",
            "category": None,
            "operationType": None if is_card else entry.word,
            "creditCardMetadata": card if is_card else None,
            "paymentData": _payment(entry, is_credit),
            "createdAt": _utc(seen.created_at),
            "updatedAt": _utc(self.ledger.now),
        }

    def _bills(self, account_id: str) -> Answer:
        account = self.ledger.accounts.get(account_id)
        if account is None:
            return error(404, "ACCOUNT_NOT_FOUND")
        found = [
            {
                "id": one.id,
                "dueDate": f"{one.due_on.isoformat()}T00:00:00.000Z",
                "billClosingDate": f"{one.closed_at.astimezone(ZONE).date().isoformat()}T00:00:00.000Z",
                "totalAmount": float(one.total),
                "totalAmountCurrencyCode": "BRL",
                "financeCharges": [{"type": kind, "amount": float(amount)} for kind, amount in one.charges],
            }
            for one in account.bills
            if one.closed_at <= self.ledger.now
        ]
        return Answer.of(200, {"results": found, "page": 1, "total": len(found), "totalPages": 1})


def _payment(entry: Entry, is_credit: bool) -> dict[str, Any] | None:
    if entry.other_document is None:
        return None
    kind = "CPF" if len(entry.other_document) == 11 else "CNPJ"
    other = {"documentNumber": {"type": kind, "value": entry.other_document}, "name": None}
    return {"payer" if is_credit else "receiver": other}
