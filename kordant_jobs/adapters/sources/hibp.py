"""Have I Been Pwned, API v3: accounts, pastes, verified domains, and the k-anonymous search where the plan has it.

Breach data by Have I Been Pwned is licensed CC BY 4.0; every page that shows it must name the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, TypeAdapter

from kordant_jobs.adapters.breach_catalogue import HibpBreach
from kordant_jobs.adapters.sources.http import HttpLimits, HttpSource, Reply, Session, SourceFailed
from kordant_jobs.domain.darkwatch.breaches import Breach, BreachSource
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason
from kordant_jobs.domain.identifiers import IdentifierKind, sha1_hex
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.ports import Finding, Question, SourceTerms

HIBP_URL = "https://haveibeenpwned.com/api/v3"
PREFIX_DIGITS = 6
"""Hex digits of the SHA-1 that the k-anonymous search sends ('Searching by range'); the other 34 stay here."""

STEALER_LOGS = "StealerLogs"
"""Our name for the findings of stealer logs on an address; HIBP names the sites, not a breach."""

T = TypeVar("T")
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Row(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _Range(_Row):
    suffix: Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{34}$")] = Field(alias="hashSuffix")
    websites: tuple[_Name, ...]


class _Paste(_Row):
    site: _Name = Field(alias="Source")
    id: _Name = Field(alias="Id")
    date: datetime | None = Field(None, alias="Date")


class HibpPlan(_Row):
    """The limits of the key's subscription. `rpm` is requests a minute, for all requests with the key."""

    name: str = Field("", alias="SubscriptionName")
    rpm: int = Field(alias="Rpm", ge=1)
    includes_k_anonymity: bool = Field(False, alias="IncludesKAnon")
    includes_stealer_logs: bool = Field(False, alias="IncludesStealerLogs")


class _VerifiedDomain(_Row):
    name: _Name = Field(alias="DomainName")


class _Refusal(_Row):
    """The form of HIBP's errors."""

    status: int = Field(alias="statusCode")


_BREACHES = TypeAdapter(tuple[HibpBreach, ...])
_BREACH = TypeAdapter(HibpBreach)
_RANGES = TypeAdapter(tuple[_Range, ...])
_PASTES = TypeAdapter(tuple[_Paste, ...])
_DOMAIN = TypeAdapter(dict[str, tuple[_Name, ...]])
_DOMAINS = TypeAdapter(tuple[_VerifiedDomain, ...])
_SITES = TypeAdapter(tuple[_Name, ...])
_PLAN = TypeAdapter(HibpPlan)
_REFUSAL = TypeAdapter(_Refusal)


def _is_not_found(reply: Reply) -> bool:
    """True when a 404 is HIBP's own 'not pwned': an empty body, its JSON, or a plain sentence (range search).

    Raises:
        SourceFailed: it is a 404 of another server.
    """
    if reply.status != 404:
        return False
    body = reply.body.strip()
    if reply.looks_like_a_page or len(body) > 1000:
        raise SourceFailed(UnknownReason.UNREADABLE)
    if body[:1] in {b"{", b"["} and reply.read_as(_REFUSAL).status != 404:
        raise SourceFailed(UnknownReason.UNREADABLE)
    return True


class Hibp(HttpSource):
    """Have I Been Pwned with a key. With `use_range` an e-mail address is only looked up by the first six digits of its
    hash, and pastes are not looked up at all (they need the full address). Stealer logs are looked up for addresses at
    `stealer_log_domains`, which must be verified with HIBP and included in the plan: by the address, or with
    `use_range` by its domain only."""

    source = Source.HIBP
    name_of_service = "Have I Been Pwned"

    def __init__(
        self,
        key: SecretStr | None,
        *,
        base_url: str = HIBP_URL,
        use_range: bool = False,
        stealer_log_domains: Collection[str] = (),
        pastes: bool = True,
        limits: HttpLimits | None = None,
    ) -> None:
        super().__init__(base_url, limits=limits)
        self._key = key
        self._use_range = use_range
        self._stealer_log_domains = frozenset(stealer_log_domains)
        self._pastes = pastes and not use_range

    def _headers(self) -> Mapping[str, str]:
        return {"hibp-api-key": self._key.get_secret_value()} if self._key else {}

    def requests_for(self, kind: IdentifierKind) -> int:
        """One request for a kind that the source accepts, with a second one for pastes if it is an e-mail address and
        pastes are configured; else 0."""
        if kind is IdentifierKind.EMAIL:
            return 1 + self._pastes
        return int(kind in {IdentifierKind.PHONE, IdentifierKind.USERNAME, IdentifierKind.DOMAIN})

    def cost(self, question: Question) -> int:
        """One more request for an address that stealer logs are looked up for."""
        return self.requests_for(question.kind) + self._has_stealer_logs(question)

    def _has_stealer_logs(self, question: Question) -> bool:
        domain = question.canonical.rpartition("@")[2]
        return question.kind is IdentifierKind.EMAIL and domain in self._stealer_log_domains

    async def _findings(self, session: Session, question: Question) -> Sequence[Finding]:
        account = quote(question.canonical, safe="")
        if question.kind is IdentifierKind.DOMAIN:
            return await self._of_domain(session, account)
        if question.kind is not IdentifierKind.EMAIL:
            return await self._of_account(session, account)
        if self._use_range:
            found = list(await self._of_range(session, sha1_hex(question.canonical)))
        else:
            found = list(await self._of_account(session, account))
        if self._pastes:
            found += await self._of_pastes(session, account)
        if self._has_stealer_logs(question):
            found += await self._of_stealer_logs(session, question.canonical)
        return found

    async def _of_account(self, session: Session, account: str) -> Sequence[Finding]:
        reply = await session.get(f"{self._base}/breachedaccount/{account}", params={"truncateResponse": "false"})
        if _is_not_found(reply):
            return ()
        rows = reply.read_as(_BREACHES)
        if not rows:
            raise SourceFailed(UnknownReason.UNREADABLE)  # nothing is a 404, never an empty list
        return [Finding(reference=row.name, breach=row.breach()) for row in rows]

    async def _of_range(self, session: Session, digest: str) -> Sequence[Finding]:
        reply = await session.get(f"{self._base}/breachedaccount/range/{digest[:PREFIX_DIGITS]}")
        if _is_not_found(reply):
            return ()
        suffix = digest[PREFIX_DIGITS:]
        rows = [row for row in reply.read_as(_RANGES) if row.suffix.upper() == suffix]
        return [Finding(reference=name) for row in rows for name in row.websites]

    async def _of_pastes(self, session: Session, account: str) -> Sequence[Finding]:
        reply = await session.get(f"{self._base}/pasteaccount/{account}")
        if _is_not_found(reply):
            return ()
        return [Finding(reference=_paste_key(paste), breach=_paste_breach(paste)) for paste in reply.read_as(_PASTES)]

    async def _of_stealer_logs(self, session: Session, account: str) -> Sequence[Finding]:
        alias, _, domain = account.rpartition("@")
        if self._use_range:
            reply = await session.get(f"{self._base}/stealerlogsbyemaildomain/{quote(domain, safe='')}")
            there = not _is_not_found(reply) and any(
                one.lower() == alias and sites for one, sites in reply.read_as(_DOMAIN).items()
            )
        else:
            reply = await session.get(f"{self._base}/stealerlogsbyemail/{quote(account, safe='')}")
            there = not _is_not_found(reply) and bool(reply.read_as(_SITES))
        if not there:
            return ()
        return [Finding(reference=STEALER_LOGS, breach=_stealer_breach())]

    async def _of_domain(self, session: Session, domain: str) -> Sequence[Finding]:
        """Every breach with an address of a domain that was verified with HIBP. The addresses are discarded."""
        reply = await session.get(f"{self._base}/breacheddomain/{domain}")
        if _is_not_found(reply):
            return ()
        names = {name for found in reply.read_as(_DOMAIN).values() for name in found}
        return [Finding(reference=name) for name in sorted(names)]

    def describe(self, reference: str) -> Breach | None:
        """One breach of the catalogue; needs no key.

        Raises:
            SourceUnavailable: HIBP did not say.
        """
        reply = self.fetch(f"/breach/{quote(reference, safe='')}")
        return None if self._said(_is_not_found, reply) else self._read(reply).breach()

    def latest_breach(self) -> Breach:
        """The breach that was added last; needs no key, and may be requested every minute.

        Raises:
            SourceUnavailable: HIBP did not say.
        """
        return self._read(self.fetch("/latestbreach")).breach()

    def plan(self) -> HibpPlan:
        """The limits of the key's subscription.

        Raises:
            SourceUnavailable: HIBP did not say; also when it refuses the key.
        """
        reply = self.fetch("/subscription/status")
        if reply.status != 200:
            raise SourceUnavailable("Have I Been Pwned knows no subscription of this key. Check KORDANT_HIBP_API_KEY.")
        return self._said(lambda one: one.read_as(_PLAN), reply)

    def terms(self) -> SourceTerms:
        """The rate and the searches of the plan; where it includes stealer logs, the verified domains.

        Raises:
            SourceUnavailable: HIBP did not say; also when it refuses the key.
        """
        plan = self.plan()
        return SourceTerms(
            requests_per_minute=plan.rpm,
            k_anonymity=plan.includes_k_anonymity,
            stealer_logs=plan.includes_stealer_logs,
            stealer_log_domains=self._verified_domains() if plan.includes_stealer_logs else (),
        )

    def _verified_domains(self) -> tuple[str, ...]:
        reply = self.fetch("/subscribeddomains")
        if self._said(_is_not_found, reply):
            return ()
        return tuple(sorted(row.name.lower() for row in self._said(lambda one: one.read_as(_DOMAINS), reply)))

    def under(self, terms: SourceTerms) -> Hibp:
        """The source that uses these terms: by range where the plan includes it, and for stealer logs at the verified
        domains."""
        return Hibp(
            self._key,
            base_url=self._base,
            use_range=self._use_range or terms.k_anonymity,
            stealer_log_domains={*self._stealer_log_domains, *terms.stealer_log_domains},
            pastes=self._pastes,
            limits=self._limits,
        )

    def _said(self, read: Callable[[Reply], T], reply: Reply) -> T:
        try:
            return read(reply)
        except SourceFailed as failure:
            raise SourceUnavailable(f"Have I Been Pwned gave no usable answer ({failure.reason}).") from None

    def _read(self, reply: Reply) -> HibpBreach:
        if reply.status != 200:
            raise SourceUnavailable("Have I Been Pwned has no such page. Check KORDANT_HIBP_URL.")
        return self._said(lambda one: one.read_as(_BREACH), reply)


def _paste_key(paste: _Paste) -> str:
    return f"Paste-{hashlib.sha256(f'{paste.site}/{paste.id}'.encode()).hexdigest()[:16]}"


def _paste_breach(paste: _Paste) -> Breach:
    """A paste as a breach. Its title is left out: people write names and addresses there."""
    return Breach(
        name=_paste_key(paste),
        title=f"Paste on {paste.site}",
        breached_on=paste.date.date() if paste.date else None,
        added_at=None,
        data_classes=("Email addresses",),
        is_verified=True,
        source=BreachSource.PASTE,
    )


def _stealer_breach() -> Breach:
    return Breach(
        name=STEALER_LOGS,
        title="Stealer logs",
        data_classes=("Email addresses", "Passwords"),
        is_verified=True,
        is_stealer_log=True,
        source=BreachSource.HIBP,
    )
