"""A fake Belvo: links, accounts, transactions by page; Basic authentication, trailing slashes, errors as arrays."""

import base64
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from kordant_jobs.lab.fakes.banks.faults import Faults
from kordant_jobs.lab.fakes.banks.ledger import Ledger, TrueAccount
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer

CATEGORIES = {"card": "CREDIT_CARD", "savings": "SAVINGS_ACCOUNT", "checking": "CHECKING_ACCOUNT"}
STATUSES = {"UPDATED": "valid", "LOGIN_ERROR": "invalid", "WAITING_USER_INPUT": "token_required"}


def error(status: int, code: str) -> Answer:
    """Belvo's form of errors: an array."""
    return Answer.of(status, [{"request_id": "r", "message": code, "code": code, "field": None}])


class FakeBelvo(FakeServer):
    """Shows a ledger. `page_size` is the most rows of a page."""

    def __init__(self, ledger: Ledger, *, faults: Faults | None = None, page_size: int = 1000) -> None:
        super().__init__()
        self.ledger, self.faults, self.page_size = ledger, faults or Faults(), page_size
        self.not_ready: set[str] = set()

    def answer(self, asked: Asked) -> Answer:
        """The answer, as far as nothing goes wrong."""
        return self.faults.on(asked, self._reply(asked), self.ledger.now)

    def _reply(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        query = dict(parse_qsl(parts.query))
        if asked.headers.get("authorization") != "Basic " + base64.b64encode(b"id:password").decode():
            return error(401, "authentication_failed")
        if not parts.path.endswith("/"):
            return Answer(status=301, headers={"location": parts.path + "/"})
        if parts.path.startswith("/api/links/"):
            return self._link(parts.path.removeprefix("/api/links/").strip("/"), asked.method)
        if "link" not in query:
            return error(400, "required")
        item = self.ledger.items.get(query["link"])
        if item is None or item.is_deleted:
            return error(404, "not_found")
        if parts.path == "/api/accounts/":
            return self._page([self._account(one) for one in self.ledger.of_item(item.id)], query, asked.path)
        account = self.ledger.accounts.get(query.get("account", ""))
        if parts.path != "/api/transactions/" or account is None:
            return error(404, "not_found")
        rows = [
            self._row(account, one, seen)
            for one, seen in account.shown(self.ledger.now)
            if seen.booked_on.isoformat() >= query.get("value_date__gte", "")
        ]
        return self._page(rows, query, asked.path)

    def _link(self, item_id: str, method: str) -> Answer:
        item = self.ledger.items.get(item_id)
        if item is None or item.is_deleted:
            return error(404, "not_found")
        if method == "DELETE":
            item.is_deleted = True
            return Answer(status=204)
        seen = (item.updated_at or self.ledger.now).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return Answer.of(
            200,
            {
                "id": item.id,
                "institution": "erebor_br_retail",
                "access_mode": "recurrent",
                "status": STATUSES.get(item.status, "unconfirmed"),
                "last_accessed_at": None if item.id in self.not_ready else seen,
            },
        )

    def _page(self, rows: list[Any], query: dict[str, str], path: str) -> Answer:
        size, number = min(int(query.get("page_size", 100)), self.page_size), int(query.get("page", 1))
        part = rows[(number - 1) * size : number * size]
        following = f"{self.url}{path}" if number * size < len(rows) else None
        return Answer.of(200, {"count": len(rows), "next": following, "previous": None, "results": part})

    def _account(self, account: TrueAccount) -> dict[str, Any]:
        balance = account.balance(self.ledger.now)
        is_card = account.kind == "card"
        return {
            "id": account.id,
            "link": account.item,
            "category": CATEGORIES[account.kind],
            "name": "Conta",
            "number": account.number,
            "agency": "1234",
            "currency": account.currency,
            "balance": {"current": float(-balance if is_card else balance), "available": float(balance)},
            "credit_data": {"credit_limit": float(account.limit)} if is_card else None,
            "collected_at": self.ledger.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _row(self, account: TrueAccount, entry: Any, seen: Any) -> dict[str, Any]:
        return {
            "id": seen.id,
            "account": {"id": account.id},
            "internal_identification": seen.id,
            "value_date": seen.booked_on.isoformat(),
            "accounting_date": None,
            "amount": float(abs(seen.amount)),
            "currency": account.currency,
            "type": "INFLOW" if seen.amount > 0 else "OUTFLOW",
            "status": "PROCESSED" if seen.is_posted else "PENDING",
            "description": seen.description,
            "category": None,
            "merchant": None,
            "created_at": seen.created_at.astimezone(UTC).isoformat(),
        }
