"""Open Finance Brasil servers: accounts 2.4 and credit cards 2.3 over mTLS, after the consent and its resources.
`ofb_rows` interprets the rows."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kordant_jobs import outside_json
from kordant_jobs.adapters.banks.http import LIMITS, PAGES_MAX, Server, Unlimited, Windows, list_of, part_of, rows_of
from kordant_jobs.adapters.banks.ofb_rows import (
    balances_of,
    bill,
    card_account,
    card_transaction,
    deposit_account,
    deposit_transaction,
    limits_of,
)
from kordant_jobs.adapters.sources.http import Session, SourceFailed, open_session
from kordant_jobs.domain.finance.states import (
    AccountKind,
    ConsentEnd,
    ErrorClass,
    Provider,
)
from kordant_jobs.domain.finance.values import (
    AccountRead,
    BadSeen,
    ConnectionRead,
    SeenAccount,
    SeenConsent,
    id_of,
    instant_of,
    text_of,
    today_in,
)
from kordant_jobs.errors import SettingsError
from kordant_jobs.ports import BankCalls, BankFailed, BankQuestion, KnownAccount

ACCOUNTS, CARDS, CONSENTS, RESOURCES = (
    "/open-banking/accounts/v2",
    "/open-banking/credit-cards-accounts/v2",
    "/open-banking/consents/v3",
    "/open-banking/resources/v3",
)
RECENT = timedelta(days=6)
"""The days that transactions-current covers: D-6 to today."""
LIST_EVERY = timedelta(days=8)
"""The shortest time between two reads of the lists of accounts, which are allowed four times a month."""
PAGE_SIZE = "1000"
GRANT_INVALID = "grant_invalid"


class BankDescription(BaseModel):
    """A bank's server. KORDANT_OFB_BANKS is a YAML list of these. Paths are those of PEM files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    institution: str
    base_url: str
    token_url: str
    client_id: str
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


def read_banks(path: Path | None) -> dict[str, BankDescription]:
    """The banks of a file, by institution; none without a file.

    Raises:
        SettingsError: it is not such a file.
    """
    if path is None:
        return {}
    try:
        listed = yaml.safe_load(path.read_text("utf-8"))
        banks = [BankDescription.model_validate(one) for one in listed]
    except (OSError, TypeError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(
            f"KORDANT_OFB_BANKS is no list of banks ({type(error).__name__}): see docs/banks.md."
        ) from None
    return {one.institution: one for one in banks}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """The secret of a connection: the consent, and the token that reads under it."""

    consent: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @classmethod
    def of(cls, item: str) -> Grant:
        """The grant of a connection's secret.

        Raises:
            BankFailed: the secret is not a grant.
        """
        try:
            value = outside_json.loads(item)
            return cls(consent=str(value["consent"]), refresh_token=str(value["refresh_token"]))
        except (ValueError, TypeError, KeyError):
            raise BankFailed(ErrorClass.OURS, "no_grant") from None


class OpenFinance:
    """A client for banks' own servers."""

    provider = Provider.OFB

    def __init__(self, banks: Mapping[str, BankDescription]) -> None:
        self._banks = banks
        self._tls: dict[str, ssl.SSLContext] = {}

    async def read(self, question: BankQuestion, calls: BankCalls) -> ConnectionRead:
        """Read what a consent allows. See `ports.Bank`."""
        bank, grant = self._bank(question.institution), Grant.of(question.item)
        async with open_session(LIMITS, {}, tls=self._context(bank)) as session:
            token = await self._token(session, bank, grant)
            reading = _Reading(_server(session, bank, token, calls), question)
            consent = await reading.consent(grant.consent)
            return await reading.all(consent)

    async def end(self, item: str, institution: str) -> None:
        """Delete a consent. See `ports.Bank`."""
        bank, grant = self._bank(institution), Grant.of(item)
        async with open_session(LIMITS, {}, tls=self._context(bank)) as session:
            try:
                token = await self._token(session, bank, grant)
            except BankFailed as failure:
                if failure.code != GRANT_INVALID:
                    raise
                return  # its owner revoked it, or it expired: nothing is read with it any more
            server = _server(session, bank, token, Unlimited())
            path = f"{CONSENTS}/consents/{grant.consent}"
            await server.ask(path, endpoint="consents", method="DELETE", accepted=frozenset({200, 204, 404}))

    def _bank(self, institution: str) -> BankDescription:
        if institution not in self._banks:
            raise BankFailed(ErrorClass.OURS, "bank_not_described")
        return self._banks[institution]

    def _context(self, bank: BankDescription) -> ssl.SSLContext | None:
        if bank.certificate is None:
            return None
        if bank.institution not in self._tls:
            context = ssl.create_default_context(cafile=str(bank.ca) if bank.ca else None)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            try:
                context.load_cert_chain(str(bank.certificate), str(bank.key) if bank.key else None)
            except (OSError, ssl.SSLError):
                raise BankFailed(ErrorClass.OURS, "no_certificate") from None
            self._tls[bank.institution] = context
        return self._tls[bank.institution]

    async def _token(self, session: Session, bank: BankDescription, grant: Grant) -> str:
        form = {"grant_type": "refresh_token", "refresh_token": grant.refresh_token, "client_id": bank.client_id}
        try:
            reply = await session.send("POST", bank.token_url, form=form, usable=frozenset({200, 400, 401}))
        except SourceFailed as failure:
            raise BankFailed(ErrorClass.TRANSIENT, failure.reason.value, retry_after_s=failure.retry_after_s) from None
        try:
            answer = outside_json.loads(reply.body)
        except ValueError:
            answer = None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if reply.status != 200:  # RFC 6749 § 5.2: the grant is invalid, expired or revoked
            error = answer.get("error") if isinstance(answer, dict) else None
            is_users = error == "invalid_grant"
            raise BankFailed(ErrorClass.USER if is_users else ErrorClass.OURS, GRANT_INVALID if is_users else "token")
        if not isinstance(token, str) or not token:
            raise BankFailed(ErrorClass.TRANSIENT, "unreadable")
        return token


def _server(session: Session, bank: BankDescription, token: str, calls: BankCalls) -> Server:
    def headers() -> Mapping[str, str]:
        # x-fapi-customer-ip-address would be the owner's own address, which we do not have: it is not made up
        return {"authorization": f"Bearer {token}", "x-fapi-interaction-id": str(uuid4())}

    return Server(session=session, base_url=bank.base_url.rstrip("/"), calls=calls, headers=headers)


class _Reading:
    """One pass over the data that a consent allows."""

    def __init__(self, server: Server, question: BankQuestion) -> None:
        self._server, self._question = server, question
        self._today = today_in(question.now)
        self._failures = list[str]()

    async def consent(self, consent_id: str) -> SeenConsent:
        """The consent, when it is valid.

        Raises:
            BankFailed: it does not (yet, or any more).
        """
        answer = await self._server.ask(f"{CONSENTS}/consents/{consent_id}", endpoint="consents")
        found = part_of(answer, "data")
        ended = None
        if found.get("status") == "REJECTED":
            word = text_of(part_of(part_of(found, "rejection"), "reason").get("code"), 60).lower()
            ended = ConsentEnd(word) if word in set(ConsentEnd) else ConsentEnd.OTHER
        consent = SeenConsent(
            provider_id=consent_id,
            permissions=tuple(text_of(one, 80) for one in found.get("permissions") or ()),
            granted_at=instant_of(found.get("creationDateTime")),
            expires_at=instant_of(found.get("expirationDateTime")),
            ended=ended,
        )
        if ended is not None:
            raise BankFailed(ErrorClass.USER, ended.value, consent=consent)
        if found.get("status") != "AUTHORISED":
            raise BankFailed(ErrorClass.USER, "consent_pending")
        return consent

    async def all(self, consent: SeenConsent) -> ConnectionRead:
        """Read every available account. An unavailable account is reported as a failure of its own."""
        cursor = dict(self._question.cursor)
        if cursor.get("resources_on") != self._today.isoformat():
            resources = _objects(await self._pages(f"{RESOURCES}/resources", endpoint="resources"))
            cursor["resources"] = {str(one.get("resourceId")): text_of(one.get("status")).lower() for one in resources}
            cursor["resources_on"] = self._today.isoformat()
        statuses: dict[str, str] = cursor["resources"]
        known = {one.provider_id: one for one in self._question.known}
        listed_on = cursor.get("listed_on")
        new = set(statuses) - set(known) - set(cursor.get("unlisted", ()))
        accounts: dict[str, SeenAccount] = {}
        if new or not listed_on or date.fromisoformat(listed_on) <= self._today - LIST_EVERY:
            try:
                accounts = await self._list(consent.provider_id)
            except BankFailed as failure:
                if failure.code != "budget" or not known:
                    raise
            else:
                cursor["listed_on"] = self._today.isoformat()
                cursor["unlisted"] = sorted(set(statuses) - set(accounts))  # of other kinds: loans, investments
        reads = []
        for provider_id in {**accounts, **known}:
            account, before = accounts.get(provider_id), known.get(provider_id)
            status = statuses.get(provider_id, "unavailable" if statuses else "available")
            read = await self._account(provider_id, account, before, status, cursor)
            reads.append(read)
        return ConnectionRead(
            accounts=tuple(reads),
            cursor=cursor,
            as_of_at=self._question.now,
            consent=consent,
            failures=tuple(self._failures),
        )

    async def _list(self, consent_id: str) -> dict[str, SeenAccount]:
        """The accounts of a consent; the limits of calls apply to each consent separately."""
        raw = await self._pages(f"{ACCOUNTS}/accounts", endpoint="accounts", subject=consent_id)
        deposits, bad = rows_of(raw, deposit_account)
        cards = list[SeenAccount]()
        listed = await self._pages(f"{CARDS}/accounts", endpoint="card-accounts", subject=consent_id)
        for row in _objects(listed):
            provider_id = id_of(row.get("creditCardAccountId"))
            if provider_id is None:
                bad += (BadSeen(reason="no_account_id", raw=row),)
                continue
            try:
                detail = await self._server.ask(
                    f"{CARDS}/accounts/{provider_id}", endpoint="card-account", subject=provider_id
                )
                cards.append(card_account(row, part_of(detail, "data")))
            except BankFailed as failure:
                self._failures.append(f"card: {failure.code}")
        self._failures += [f"account: {one.reason}" for one in bad]
        return {one.provider_id: one for one in (*deposits, *cards)}

    async def _account(
        self,
        provider_id: str,
        account: SeenAccount | None,
        known: KnownAccount | None,
        status: str,
        cursor: dict[str, Any],
    ) -> AccountRead:
        kind = account.kind if account else known.kind if known else AccountKind.CHECKING
        if status != "available":
            return AccountRead(provider_id=provider_id, account=account, failure=status)
        try:
            made = await (self._card if kind is AccountKind.CARD else self._deposit)(provider_id, known, cursor)
        except BankFailed as failure:
            return AccountRead(provider_id=provider_id, account=account, failure=failure.code)
        return AccountRead(provider_id=provider_id, account=account, **made)

    async def _rows(
        self, base: str, prefix: str, known: KnownAccount | None, cursor: dict[str, Any], provider_id: str
    ) -> tuple[list[Any], date]:
        dates = ("fromTransactionDate", "toTransactionDate") if prefix else ("fromBookingDate", "toBookingDate")

        async def fetch(begin: date, is_historic: bool) -> list[Any]:
            name = "transactions" if is_historic else "transactions-current"
            asked = dict(zip(dates, (begin.isoformat(), self._today.isoformat()), strict=True))
            return await self._pages(f"{base}/{name}", asked, endpoint=f"{prefix}{name}", subject=base)

        windows = Windows(provider_id=provider_id, known=known, cursor=cursor, today=self._today, recent=RECENT)
        return await windows.read(fetch)

    async def _deposit(self, provider_id: str, known: KnownAccount | None, cursor: dict[str, Any]) -> dict[str, Any]:
        base = f"{ACCOUNTS}/accounts/{provider_id}"
        balances = await self._server.ask(f"{base}/balances", endpoint="balances", subject=provider_id)
        raw, begin = await self._rows(base, "", known, cursor, provider_id)
        rows, bad = rows_of(raw, deposit_transaction)
        made = tuple(balances_of(part_of(balances, "data"), self._question.now))
        return {"transactions": rows, "bad": bad, "balances": made, "covers": (begin, self._today)}

    async def _card(self, provider_id: str, known: KnownAccount | None, cursor: dict[str, Any]) -> dict[str, Any]:
        base = f"{CARDS}/accounts/{provider_id}"
        limits = await self._pages(f"{base}/limits", endpoint="card-limits", subject=provider_id)
        raw_bills = list[Any]()
        if (mark := f"bills {provider_id}") not in cursor or cursor[mark] != self._today.isoformat():
            raw_bills = await self._pages(f"{base}/bills", endpoint="bills", subject=provider_id)
            cursor[mark] = self._today.isoformat()
        bills, bad_bills = rows_of(raw_bills, bill)
        raw, begin = await self._rows(base, "card-", known, cursor, provider_id)
        rows, bad = rows_of(raw, card_transaction)
        balances = tuple(limits_of(_objects(limits), self._question.now))
        return {
            "transactions": rows,
            "bad": bad + bad_bills,
            "bills": bills,
            "balances": balances,
            "covers": (begin, self._today),
        }

    async def _pages(
        self, path: str, params: Mapping[str, str] | None = None, *, endpoint: str, subject: str = ""
    ) -> list[Any]:
        """Read every page. `links.next` must lead to the same list, and never back. Its pagination-key is passed on, so
        that further pages do not count against the limit."""
        found, seen = list[Any](), set[str]()
        asked = {**(params or {}), "page-size": PAGE_SIZE}
        for number in range(PAGES_MAX):
            counted = endpoint if number == 0 else f"{endpoint}-page"
            answer = await self._server.ask(path, asked, endpoint=counted, subject=subject)
            found += list_of(answer, "data")
            following = part_of(answer, "links").get("next")
            if not following:
                return found
            parts = urlsplit(str(following))
            own = urlsplit(self._server.base_url)
            if (parts.netloc and parts.netloc != own.netloc) or not parts.path.endswith(path) or following in seen:
                raise BankFailed(ErrorClass.PERMANENT, "pages_lead_astray")
            seen.add(following)
            asked = {**asked, **dict(parse_qsl(parts.query))}
        raise BankFailed(ErrorClass.PERMANENT, "too_many_pages")


def _objects(rows: list[Any]) -> list[Mapping[str, Any]]:
    return [row for row in rows if isinstance(row, Mapping)]
