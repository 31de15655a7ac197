"""A fake Open Finance Brasil bank: consents, resources, accounts and credit cards over mTLS, with its limits.

It keeps the rules of the contract: page sizes, pagination-key, D-6 of the current list, an interaction id that must be
there, limits of a month (only calls that succeeded count), and who is allowed at all.
"""

import socketserver
import ssl
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

from kordant_jobs.adapters.banks.ofb import ACCOUNTS, CARDS, CONSENTS, RESOURCES
from kordant_jobs.domain.finance.limits import MONTHLY
from kordant_jobs.domain.finance.states import Provider
from kordant_jobs.domain.finance.values import month_of
from kordant_jobs.lab.fakes.banks.certificates import Certificates
from kordant_jobs.lab.fakes.banks.faults import Faults
from kordant_jobs.lab.fakes.banks.ledger import Entry, Item, Ledger, Shown, TrueAccount
from kordant_jobs.lab.fakes.http import Answer, Asked, FakeServer

CNPJ = "00000000000191"
TYPES = {"checking": "CONTA_DEPOSITO_A_VISTA", "savings": "CONTA_POUPANCA"}


def error(status: int, code: str) -> Answer:
    """OFB's form of errors."""
    return Answer.of(status, {"errors": [{"code": code, "title": code, "detail": code}], "meta": {}})


def money(amount: Decimal) -> dict[str, str]:
    """OFB's form of amounts: a text with four decimals, without a sign."""
    return {"amount": f"{abs(amount):.4f}", "currency": "BRL"}


class FakeOfb(FakeServer):
    """Shows a ledger. `calls` counts successes, by account, endpoint and month; `refused` what was over a limit."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        certificates: Certificates | None = None,
        faults: Faults | None = None,
        page_size: int | None = None,
    ) -> None:
        super().__init__()
        self.ledger, self.certificates, self.faults, self.page_size = (
            ledger,
            certificates,
            faults or Faults(),
            page_size,
        )
        self.calls = Counter[tuple[str, str, date]]()
        self.refused = 0
        self._counting: tuple[str, str, date] | None = None
        self.limits = MONTHLY[Provider.OFB]
        self.loop_next = False
        self.astray_next = False
        self.extra_rows: dict[str, list[Any]] = {}

    def _make(self) -> socketserver.TCPServer:
        server = super()._make()
        if self.certificates is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(str(self.certificates.server))
            context.load_verify_locations(str(self.certificates.ca))
            context.verify_mode = ssl.CERT_REQUIRED
            # the handshake happens when the connection's own thread reads, so that no handshake delays another
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        return server

    @property
    def url(self) -> str:
        """Where it listens."""
        return super().url.replace("http://", "https://") if self.certificates is not None else super().url

    def answer(self, asked: Asked) -> Answer:
        """The answer, as far as nothing goes wrong."""
        parts = urlsplit(asked.path)
        if parts.path == "/token":
            return self._token(dict(parse_qsl(asked.body.decode())))
        interaction = asked.headers.get("x-fapi-interaction-id", "")
        try:
            UUID(interaction)
        except ValueError:
            return Answer.of(400, {"errors": []}, x_fapi_interaction_id=str(uuid4()))
        item = self._item_of(asked.headers.get("authorization", ""))
        if item is None:
            return error(401, "UNAUTHORISED")
        made = self._reply(item, asked.method, parts.path, dict(parse_qsl(parts.query)))
        answer = Answer(
            status=made.status, body=made.body, headers={**made.headers, "x-fapi-interaction-id": interaction}
        )
        found = self.faults.on(asked, answer, self.ledger.now)
        if self._counting is not None and found.status == 200:
            self.calls[self._counting] += 1  # only what succeeds counts, whether the answer arrives or not
        self._counting = None
        return found

    def _token(self, form: Mapping[str, str]) -> Answer:
        for item in self.ledger.items.values():
            if item.refresh_token and item.refresh_token == form.get("refresh_token"):
                return Answer.of(200, {"access_token": f"access-{item.id}", "token_type": "Bearer", "expires_in": 300})
        return Answer.of(400, {"error": "invalid_grant"})

    def _item_of(self, authorization: str) -> Item | None:
        return self.ledger.items.get(authorization.removeprefix("Bearer access-"))

    def _reply(self, item: Item, method: str, path: str, query: Mapping[str, str]) -> Answer:
        if path.startswith(f"{CONSENTS}/consents/"):
            return self._consent(item, method)
        if item.consent_status != "AUTHORISED":
            return error(403, "FORBIDDEN")
        accounts = self.ledger.of_item(item.id)
        if path == f"{RESOURCES}/resources":
            rows = [
                {
                    "resourceId": one.id,
                    "type": "CREDIT_CARD_ACCOUNT" if one.kind == "card" else "ACCOUNT",
                    "status": one.status,
                }
                for one in accounts
            ]
            return self._page(path, rows, query)
        base = CARDS if path.startswith(CARDS) else ACCOUNTS
        chosen = [one for one in accounts if (one.kind == "card") == (base == CARDS)]
        if path == f"{base}/accounts":
            return self._counted(item.id, path, [self._listed(one) for one in chosen], query, base)
        account_id, _, what = path.removeprefix(f"{base}/accounts/").partition("/")
        account = next((one for one in chosen if one.id == account_id), None)
        if account is None:
            return error(404, "NOT_FOUND")
        if account.status != "AVAILABLE":
            return error(403, "STATUS_RESOURCE_UNAVAILABLE")
        return self._of_account(account, path, what, query)

    def _counted(
        self, subject: str, path: str, rows: list[Any], query: Mapping[str, str], base: str, what: str = "accounts"
    ) -> Answer:
        """A list that the limits count, once for all of its pages when the pagination-key comes back."""
        name = what if base == ACCOUNTS else {"bills": "bills"}.get(what, f"card-{what}")
        if query.get("pagination-key") is None:
            key, limit = (subject, name, month_of(self.ledger.now)), self.limits.get(name)
            if limit is not None and self.calls[key] >= limit:
                self.refused += 1
                return error(429, "TOO_MANY_REQUESTS")
            self._counting = key
        return self._page(path, rows, query)

    def _consent(self, item: Item, method: str) -> Answer:
        if method == "DELETE":
            item.consent_status, item.rejection = "REJECTED", "CUSTOMER_MANUALLY_REVOKED"
            return Answer(status=204)
        data: dict[str, Any] = {
            "consentId": item.id,
            "status": item.consent_status,
            "permissions": ["ACCOUNTS_READ", "ACCOUNTS_TRANSACTIONS_READ"],
            "creationDateTime": "2026-01-01T00:00:00Z",
        }
        if item.rejection:
            data["rejection"] = {"rejectedBy": "USER", "reason": {"code": item.rejection}}
        if item.expires_at:
            data["expirationDateTime"] = item.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return Answer.of(200, {"data": data, "links": {}, "meta": {}})

    def _page(self, path: str, rows: list[Any], query: Mapping[str, str]) -> Answer:
        size = int(query.get("page-size", 25))
        if not 25 <= size <= 1000:
            return error(422, "INVALID_PAGE_SIZE")
        size = self.page_size or size
        number = int(query.get("page", 1))
        part = rows[(number - 1) * size : number * size]
        links: dict[str, str] = {"self": f"{self.url}{path}"}
        if number * size < len(rows):
            kept = {**query, "page": str(1 if self.loop_next else number + 1), "pagination-key": "k" * 20}
            host = "https://elsewhere.example" if self.astray_next else self.url
            links["next"] = f"{host}{path}?" + "&".join(f"{name}={value}" for name, value in kept.items())
        return Answer.of(200, {"data": part, "links": links, "meta": {"requestDateTime": "2026-01-01T00:00:00Z"}})

    def _listed(self, account: TrueAccount) -> dict[str, Any]:
        if account.kind == "card":
            return {
                "creditCardAccountId": account.id,
                "brandName": "Banco",
                "companyCnpj": CNPJ,
                "name": "Ourocard",
                "productType": "GOLD",
                "creditCardNetwork": "VISA",
            }
        number, digit = account.number.split("-")
        return {
            "brandName": "Banco",
            "companyCnpj": CNPJ,
            "type": TYPES[account.kind],
            "compeCode": "341",
            "branchCode": "1234",
            "number": number.zfill(8),
            "checkDigit": digit,
            "accountId": account.id,
        }

    def _of_account(self, account: TrueAccount, path: str, what: str, query: Mapping[str, str]) -> Answer:
        is_card = account.kind == "card"
        if what == "" and is_card:
            numbers = [{"identificationNumber": account.number[-4:], "isMultipleCreditCard": False}]
            return Answer.of(200, {"data": {"name": "Ourocard", "paymentMethod": numbers}, "links": {}, "meta": {}})
        if what == "balances":
            balance = account.balance(self.ledger.now)
            data = {
                "availableAmount": {"amount": f"{balance:.4f}", "currency": "BRL"},
                "blockedAmount": money(Decimal(0)),
                "automaticallyInvestedAmount": money(Decimal(0)),
                "updateDateTime": self.ledger.now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            counted = self._counted(account.id, path, [], {}, ACCOUNTS, "balances")
            return Answer.of(200, {"data": data, "links": {}, "meta": {}}) if counted.status == 200 else counted
        if what == "limits":
            used = -account.balance(self.ledger.now)
            row = {
                "creditLineLimitType": "LIMITE_CREDITO_TOTAL",
                "limitAmount": money(account.limit),
                "usedAmount": money(used),
            }
            return self._counted(account.id, path, [row], query, CARDS, "limits")
        if what == "bills":
            return self._counted(account.id, path, self._bills(account), query, CARDS, "bills")
        if what not in {"transactions", "transactions-current"}:
            return error(404, "NOT_FOUND")
        first = query.get("fromTransactionDate" if is_card else "fromBookingDate", "")
        if what == "transactions-current" and first < (self.ledger.today - timedelta(days=6)).isoformat():
            return error(422, "DATE_OUT_OF_RANGE")
        rows = [
            self._row(account, one, seen)
            for one, seen in account.shown(self.ledger.now)
            if seen.booked_on.isoformat() >= first and (seen.is_posted or not is_card)  # cards list nothing pending
        ]
        rows += self.extra_rows.get(account.id, [])
        return self._counted(account.id, path, rows, query, CARDS if is_card else ACCOUNTS, what)

    def _row(self, account: TrueAccount, entry: Entry, seen: Shown) -> dict[str, Any]:
        direction = "CREDITO" if seen.amount > 0 else "DEBITO"
        common = {"transactionId": seen.id, "creditDebitType": direction, "transactionName": seen.description}
        if account.kind == "card":
            no, of = entry.instalment or (None, None)
            bought = entry.purchase_on or seen.booked_on
            return {
                **common,
                "identificationNumber": account.number[-4:],
                "transactionType": "PAGAMENTO" if seen.amount < 0 else "ESTORNO",
                "billId": seen.bill,
                "chargeIdentificator": str(no) if no else None,
                "chargeNumber": of,
                "brazilianAmount": money(seen.amount),
                "amount": money(seen.amount),
                "transactionDateTime": f"{bought.isoformat()}T00:00:00.000Z",
                "billPostDate": seen.booked_on.isoformat(),
                "payeeMCC": entry.mcc,
            }
        return {
            **common,
            "completedAuthorisedPaymentType": "TRANSACAO_EFETIVADA" if seen.is_posted else "TRANSACAO_PROCESSANDO",
            "type": entry.word,
            "transactionAmount": money(seen.amount),
            "transactionDateTime": f"{seen.booked_on.isoformat()}T00:00:00.000Z",
            "partieCnpjCpf": entry.other_document,
        }

    def _bills(self, account: TrueAccount) -> list[Any]:
        return [
            {
                "billId": one.id,
                "dueDate": one.due_on.isoformat(),
                "billTotalAmount": {"amount": f"{one.total:.4f}", "currency": "BRL"},
                "billMinimumAmount": money(one.total / 10),
                "isInstalment": False,
                "financeCharges": [
                    {"type": kind, "amount": f"{amount:.2f}", "currency": "BRL"} for kind, amount in one.charges
                ],
                "payments": [
                    {
                        "valueType": "VALOR_PAGAMENTO_FATURA_REALIZADO",
                        "paymentDate": day.isoformat(),
                        "paymentMode": "PIX",
                        "amount": f"{amount:.2f}",
                        "currency": "BRL",
                    }
                    for day, amount in one.payments
                ],
            }
            for one in account.bills
            if one.closed_at <= self.ledger.now
        ]
