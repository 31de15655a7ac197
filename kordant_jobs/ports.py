"""The outside parties that jobs use, as Protocols. Each has a real adapter and a fake beside it in `adapters/`."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from kordant_jobs.domain.darkwatch.breaches import Breach
from kordant_jobs.domain.darkwatch.exposures import Source, UnknownReason, Verdict
from kordant_jobs.domain.finance.states import AccountKind, ErrorClass, Provider
from kordant_jobs.domain.finance.values import ConnectionRead, SeenConsent
from kordant_jobs.domain.identifiers import IdentifierKind
from kordant_jobs.domain.notifications.receipts import Cause
from kordant_jobs.domain.removals.replies import CheckVerdict
from kordant_jobs.domain.voice.models import Manifest
from kordant_jobs.errors import PermanentError


class BreachCatalogue(Protocol):
    """A catalogue of the known breaches (HIBP v3 model)."""

    def read(self) -> bytes:
        """The raw bytes of the whole catalogue.

        Raises:
            SourceUnavailable: it could not be read.
        """


@dataclass(frozen=True, kw_only=True)
class Question:
    """One identifier to ask a source about. The identifier is left out of `repr`."""

    item_id: UUID
    kind: IdentifierKind
    canonical: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One breach with the identifier, according to a source. `reference` is the source's own stable key for it, never
    its title; `breach` is the source's description, if it gave one."""

    reference: str
    breach: Breach | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a source on one identifier. Only a complete, well-formed answer without findings is clean.
    `retry_after_s` is the source's own wait before the next question, capped."""

    item_id: UUID
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    reason: UnknownReason | None = None
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        if bool(self.findings) != (self.verdict is Verdict.EXPOSED):
            raise ValueError("findings and only they make an answer 'exposed'")
        if (self.reason is not None) != (self.verdict is Verdict.UNKNOWN):
            raise ValueError("an unknown answer has a reason, and only it")


@dataclass(frozen=True, kw_only=True)
class SourceTerms:
    """The terms of a source key's plan: requests a minute, and searches without the whole identifier. `burst` is the
    number of requests that may be sent at once, None where only the minute counts; `stealer_log_domains` are the mail
    domains for which stealer logs may be requested."""

    requests_per_minute: int
    burst: int | None = None
    k_anonymity: bool = False
    stealer_logs: bool = False
    stealer_log_domains: tuple[str, ...] = ()


class ExposureSource(Protocol):
    """An outside source that can be asked whether an identifier is in a breach."""

    @property
    def source(self) -> Source:
        """The name of the source."""

    def requests_for(self, kind: IdentifierKind) -> int:
        """The number of requests for one question of this kind; 0: the source does not accept the kind."""

    def cost(self, question: Question) -> int:
        """The number of requests for this question: that of its kind, or more for some."""

    def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer for each question, in their order, in limited time. Whatever the server does becomes an answer (at
        worst *unknown*), never an error. Each request is made once: the caller decides about retries."""

    def terms(self) -> SourceTerms | None:
        """The terms of its key, read again; None where they are the same for all keys.

        Raises:
            SourceUnavailable: the source gave no usable answer.
        """

    def under(self, terms: SourceTerms) -> ExposureSource:
        """The same source, limited to these terms."""

    def describe(self, reference: str) -> Breach | None:
        """The source's description of one of its breaches; None when it has none with that key.

        Raises:
            SourceUnavailable: the source gave no usable answer.
        """


class BreachFeed(Protocol):
    """A feed that names the newest breach."""

    def latest_breach(self) -> Breach:
        """The breach that was added last.

        Raises:
            SourceUnavailable: the source gave no usable answer.
        """


@dataclass(frozen=True, kw_only=True)
class OutgoingMail:
    """One mail to one person, ready to send: `content` is the whole message as RFC 5322 bytes. `id` is the same in all
    attempts and part of the Message-ID, so that a recipient can recognise a second copy. Recipient and content are left
    out of `repr`."""

    id: UUID
    recipient: str = field(repr=False)
    content: bytes = field(repr=False)
    sender: str | None = field(default=None, repr=False)
    """The envelope's sender, to which bounces go; None: the transport's own."""


@dataclass(frozen=True, kw_only=True)
class OutgoingPush:
    """One push message to one device or browser. `address` is its token (for a browser: its subscription, as JSON).
    `id` is the same in all attempts. Where the provider supports it, a message with the same `id` replaces the former
    one on the device. `data` are strings for the app: ids only."""

    id: UUID
    address: str = field(repr=False)
    title: str = field(repr=False)
    body: str = field(repr=False)
    data: Mapping[str, str] = field(default_factory=dict, repr=False)
    urgent: bool = False
    ttl_s: int = 86_400


@dataclass(frozen=True, kw_only=True)
class OutgoingText:
    """One text message to one phone, `address` as +E.164. `id` is the same in all attempts."""

    id: UUID
    address: str = field(repr=False)
    text: str = field(repr=False)


class DeliveryOutcome(StrEnum):
    """The outcome of one message."""

    DELIVERED = "delivered"
    """Accepted by the provider, now or (where it can tell) before."""
    DEFERRED = "deferred"
    """Temporarily refused; the same message may be accepted later (SMTP 4yz, HTTP 429 and 5yz)."""
    UNCERTAIN = "uncertain"
    """Handed over without an answer: it may have been accepted. Sending it again may make a second copy."""
    NO_SUCH_ADDRESS = "no_such_address"
    """The address does not exist or accepts nothing; writing again would harm our reputation (5.1.1, a dead token)."""
    MISMATCH = "mismatch"
    """The address does not fit our key, topic or project: it is dead, or our set-up is wrong."""
    REFUSED = "refused"
    """Refused for a reason that an operator has to check (policy, size, an answer without details)."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The delivery of the message `mail_id`. `code` is the reply's code (`smtp 450 4.2.1`, `fcm UNREGISTERED`), never
    its text; `retry_after_s`, `provider_id` and `gone_at` (the time since when the address is invalid) are the
    provider's own values, where it gave them. `is_handed_over` False: its content never left us, as when the server
    refused the recipient."""

    mail_id: UUID
    outcome: DeliveryOutcome
    code: str | None = None
    is_handed_over: bool = True
    cause: Cause = Cause.UNKNOWN
    retry_after_s: float | None = None
    provider_id: str | None = None
    gone_at: datetime | None = None


M_contra = TypeVar("M_contra", contravariant=True)


class Transport(Protocol[M_contra]):
    """A provider that accepts messages."""

    def deliver(self, messages: Iterable[M_contra], /) -> Generator[Delivery, None, None]:
        """Deliver messages, and yield each one's outcome as it becomes known. Mails are sent one after another, in
        order.

        A message that cannot be handed over gets an outcome of its own and does not stop the others. To stop, end
        `messages`: those taken by then are still delivered and reported. When the generator is closed early, the
        yielded messages were sent; the outcome of others that it had taken is unknown.

        Raises:
            SourceUnavailable: the transport itself failed (not reached).
            SettingsError: our key, account or address of it is wrong: nothing is sent until an operator acts.
                In both cases a message without a yielded outcome was not accepted; of those in progress it is not
                known.
        """


MailTransport = Transport[OutgoingMail]
PushTransport = Transport[OutgoingPush]
TextTransport = Transport[OutgoingText]


class ReportStorage(Protocol):
    """Stores finished reports, by their content."""

    def put(self, content: bytes) -> str:
        """Store `content`; the same content is stored once. Returns its key, which reveals nothing about a person.

        Raises:
            TransientError: it could not be kept. Nothing of it is there.
        """

    def get(self, key: str) -> bytes:
        """The content stored under `key`.

        Raises:
            PermanentError: there is none, or it is not what was put there.
            TransientError: the store does not answer.
        """

    def old_keys(self, before: datetime) -> Iterator[str]:
        """Keys of reports stored before a given time, and of no other files there.

        Raises:
            TransientError: the store does not answer.
        """

    def delete(self, key: str) -> None:
        """Delete the content under `key`, if it exists.

        Raises:
            PermanentError: it is not the key of a report.
            TransientError: it could not be deleted.
        """


@dataclass(frozen=True, kw_only=True)
class InboundMessage:
    """One received mail; `key` identifies it at its source."""

    key: str
    content: bytes = field(repr=False)


class InboundMail(Protocol):
    """A mailbox for brokers' replies."""

    def messages(self, limit: int) -> Iterable[InboundMessage]:
        """Up to `limit` unread mails, the oldest first.

        Raises:
            SourceUnavailable: the mailbox cannot be read.
        """

    def done(self, keys: Sequence[str]) -> None:
        """Delete mails from the mailbox whose content is stored, encrypted, in the database."""

    def put_aside(self, keys: Sequence[str]) -> None:
        """Set aside mails that belong to no request: they are kept for an operator, and not read again."""

    def tidy(self, before: datetime) -> int:
        """Delete the mails that were set aside before a given time: they may be personal, and belong to no request.
        Returns their number."""


@dataclass(frozen=True, kw_only=True)
class RescanQuestion:
    """A person to search for on one site; `recipe` describes how (see `adapters.brokers.search`)."""

    site: str
    recipe: Mapping[str, str]
    person: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RescanAnswer:
    """The result of checking a site. It is *not listed* only when the page says so; `reason` is a code where it is
    unknown."""

    verdict: CheckVerdict
    reason: str | None = None


class RescanSource(Protocol):
    """Checks whether a broker lists a person."""

    def check(self, question: RescanQuestion) -> RescanAnswer:
        """Check once. Whatever the site does gives an answer, at worst *unknown*, never an error."""


@dataclass(frozen=True, kw_only=True)
class WebOutcome:
    """The outcome of one request to a broker's site: `done` when the site gave the expected answer, `uncertain` when it
    may have accepted the request. `code` is a code, never text of the site; `is_handed_over` False: nothing left us."""

    done: bool
    code: str
    uncertain: bool = False
    is_handed_over: bool = True


class BrokerWeb(Protocol):
    """Brokers' web sites, for steps that a mail cannot do."""

    def follow(self, url: str, domains: frozenset[str]) -> WebOutcome:
        """Open a confirmation link. Every redirect must stay within `domains`; nothing else is opened."""

    def post(self, form: Mapping[str, Any], fields: Mapping[str, str]) -> WebOutcome:
        """Post a plain form once, as its recipe describes."""


@dataclass(frozen=True, kw_only=True)
class RightsStatus:
    """A status object of the Data Rights Protocol, as far as it is readable."""

    request_id: str
    state: str
    reason: str | None = None
    expected_by: datetime | None = None
    user_verification_url: str | None = field(default=None, repr=False)
    processing_details: str | None = field(default=None, repr=False)


class RightsError(Exception):
    """A business answered a protocol call with an error. `fatal`: it can never succeed; `forbidden`: our token is no
    longer accepted; `passing`: the same call may succeed later."""

    def __init__(self, code: str, *, fatal: bool = False, forbidden: bool = False, passing: bool = False) -> None:
        super().__init__(code)
        self.code, self.fatal, self.forbidden, self.passing = code, fatal, forbidden, passing


class RightsAgent(Protocol):
    """Our role as an authorised agent of the Data Rights Protocol 1.0."""

    def register(self, business: Mapping[str, Any]) -> str:
        """A new token at a business; it invalidates the former one.

        Raises:
            RightsError, SourceUnavailable: it was refused, or there was no answer.
        """

    def exercise(
        self, business: Mapping[str, Any], token: str, claims: Mapping[str, Any], *, request_id: UUID
    ) -> RightsStatus:
        """Exercise a right. Raises the same errors as `register`."""

    def status(self, business: Mapping[str, Any], token: str, outside_id: str) -> RightsStatus:
        """The state of a request. Raises the same errors as `register`."""

    def revoke(self, business: Mapping[str, Any], token: str, outside_id: str, reason: str) -> RightsStatus:
        """Withdraw a request. Raises the same errors as `register`."""


class SynthesisDetector(Protocol):
    """A model that scores windows of sound for signs of synthesis; a high score is like human speech."""

    manifest: Manifest

    def scores(self, windows: NDArray[np.float32]) -> Sequence[float]:
        """A finite score for each of `windows`, [count, `manifest.window_samples`] at 16 kHz in -1 … 1.

        Raises:
            SourceUnavailable: it did not answer, or not with a number for each.
            SetupError: its file is missing or is another one.
        """


class BankFailed(Exception):
    """A connection could not be read: the reaction to it, a code, and the time of the next attempt. `consent`: how it
    ended; `refused`: the server answered that it did nothing, so that the call counts against no limit."""

    def __init__(
        self,
        error_class: ErrorClass,
        code: str,
        *,
        retry_after_s: float | None = None,
        consent: SeenConsent | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(f"{error_class.value}: {code}")
        self.refused = refused
        self.error_class, self.code = error_class, code
        self.retry_after_s, self.consent = retry_after_s, consent


@dataclass(frozen=True, kw_only=True)
class KnownAccount:
    """The stored facts of an account that is read again. `provisional` are ids of rows that are not final."""

    provider_id: str = field(repr=False)
    kind: AccountKind
    currency: str
    provisional: tuple[str, ...] = field(default=(), repr=False)
    oldest_provisional_on: date | None = None


@dataclass(frozen=True, kw_only=True)
class BankQuestion:
    """One connection to read. `item` is the provider's id (OFB: consent and refresh token); `cursor` is from the last
    committed read, empty the first time."""

    institution: str
    item: str = field(repr=False)
    cursor: Mapping[str, Any]
    known: tuple[KnownAccount, ...]
    now: datetime


class BankCalls(Protocol):
    """The limits of calls to a provider, which all processes share."""

    def one(self, endpoint: str, subject: str = "") -> AbstractAsyncContextManager[None]:
        """Make one call within the block. It counts against the month's limit of its endpoint and subject (an account,
        a consent), unless the block ends with a BankFailed with `refused`: then it is released.

        Raises:
            BankFailed: busy, `budget` or `rate`: the limit is reached, and no call was made.
        """


class Bank(Protocol):
    """A provider of bank data."""

    @property
    def provider(self) -> Provider:
        """The provider's name."""

    async def read(self, question: BankQuestion, calls: BankCalls) -> ConnectionRead:
        """Read one connection completely, each call once.

        Raises:
            BankFailed: nothing of it could be read.
        """

    async def end(self, item: str, institution: str) -> None:
        """Delete the connection at the provider; one that no longer exists there is fine.

        Raises:
            BankFailed: it could not be deleted: try again.
        """


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """One sign-in of a person through an OpenID provider, from the redirect there to the return."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str = field(repr=False)
    """The PKCE verifier: its holder may redeem the code."""
    must_repeat: bool = False
    """True: the person must sign in again, even with a session at the provider."""


class SignInRefused(PermanentError):
    """A sign-in that is refused. The text is a code for the reason, without any value."""


class IdentityProvider(Protocol):
    """An OpenID provider for our people."""

    @property
    def issuer(self) -> str:
        """The provider's identity: an https address."""

    def address(self, sign_in: SignIn) -> str:
        """The address to which the browser goes to sign in.

        Raises:
            SourceUnavailable: the provider could not be asked.
        """

    def claims(self, sign_in: SignIn, code: str, issuer: str | None) -> Mapping[str, Any]:
        """The provider's claims about the person who returned with `code`. `issuer` is the `iss` of that answer.

        Raises:
            SignInRefused: the code or the ID token is not good.
            SourceUnavailable: the provider could not be asked.
        """
