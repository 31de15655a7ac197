"""The closed sets of bank data: providers, kinds and states. Pure.

Sources: Open Finance Brasil (accounts 2.4.2, credit cards 2.3, consents 3.3.1, resources 3.1), Pluggy's item lifecycle,
Belvo's links.
"""

from enum import StrEnum


class Provider(StrEnum):
    """The provider of a bank's data."""

    PLUGGY = "pluggy"
    OFB = "ofb"
    """A bank's own Open Finance Brasil server, over mTLS."""
    BELVO = "belvo"
    FILE = "file"
    """OFX and CNAB files from the drop folder."""


class EntityKind(StrEnum):
    """The kind of owner of accounts."""

    HOUSEHOLD = "household"
    FIRM = "firm"


class ConnectionStatus(StrEnum):
    """The state of a connection: readable or not, and why."""

    ACTIVE = "active"
    NEEDS_USER = "needs_user"
    """Nothing is read until its owner acts: log-in, second factor, a new consent."""
    PAUSED = "paused"
    ENDED = "ended"
    """Revoked, deleted or closed for good; its retention term runs."""


CONNECTION_MOVES: dict[ConnectionStatus, frozenset[ConnectionStatus]] = {
    ConnectionStatus.ACTIVE: frozenset({ConnectionStatus.NEEDS_USER, ConnectionStatus.PAUSED, ConnectionStatus.ENDED}),
    ConnectionStatus.NEEDS_USER: frozenset({ConnectionStatus.ACTIVE, ConnectionStatus.PAUSED, ConnectionStatus.ENDED}),
    ConnectionStatus.PAUSED: frozenset({ConnectionStatus.ACTIVE, ConnectionStatus.ENDED}),
    ConnectionStatus.ENDED: frozenset(),
}
"""No read reopens an ended connection: a new consent is a new connection."""


class ConsentStatus(StrEnum):
    """The state of a consent (consents 3.3.1; Belvo's 'expired' is OFB's 'rejected')."""

    AWAITING_AUTHORISATION = "awaiting_authorisation"
    AUTHORISED = "authorised"
    REJECTED = "rejected"


class ConsentEnd(StrEnum):
    """The reason why a consent ended (consents 3.3.1, rejection reasons)."""

    CONSENT_EXPIRED = "consent_expired"
    CUSTOMER_MANUALLY_REJECTED = "customer_manually_rejected"
    CUSTOMER_MANUALLY_REVOKED = "customer_manually_revoked"
    CONSENT_MAX_DATE_REACHED = "consent_max_date_reached"
    CONSENT_TECHNICAL_ISSUE = "consent_technical_issue"
    INTERNAL_SECURITY_REASON = "internal_security_reason"
    OTHER = "other"


class AccountKind(StrEnum):
    """The kind of an account."""

    CHECKING = "checking"
    SAVINGS = "savings"
    PREPAID = "prepaid"
    CARD = "card"
    INVESTMENT = "investment"
    LOAN = "loan"


class BalanceKind(StrEnum):
    """The kind of amount that a balance has. A card's debt is negative."""

    CURRENT = "current"
    AVAILABLE = "available"
    BLOCKED = "blocked"
    AUTO_INVESTED = "auto_invested"
    RESERVED = "reserved"
    LIMIT = "limit"
    USED = "used"


class TransactionState(StrEnum):
    """The finality of a transaction. Only `posted` counts in booked totals."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    POSTED = "posted"
    EXPIRED = "expired"
    """A pending transaction that was never posted."""
    REMOVED = "removed"


PROVISIONAL = frozenset({TransactionState.SCHEDULED, TransactionState.PENDING})


class TransactionType(StrEnum):
    """The kind of money movement. Every word of the sources is mapped to one; new words to `other`."""

    PIX = "pix"
    TED = "ted"
    DOC = "doc"
    INTERNAL_TRANSFER = "internal_transfer"
    BOLETO = "boleto"
    COLLECTION = "collection"
    """Convênio de arrecadação: utilities and taxes."""
    PACKAGE_FEE = "package_fee"
    SINGLE_FEE = "single_fee"
    PAYROLL = "payroll"
    SALARY_PORTABILITY = "salary_portability"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    CARD = "card"
    OVERDRAFT_INTEREST = "overdraft_interest"
    YIELD = "yield"
    REDEMPTION = "redemption"
    CREDIT_OPERATION = "credit_operation"
    RESERVED_BALANCE = "reserved_balance"
    """A transfer to or from the owner's reserve ('caixinha')."""
    PURCHASE = "purchase"
    BILL_PAYMENT = "bill_payment"
    REVERSAL = "reversal"
    INTEREST = "interest"
    TAX = "tax"
    """A tax, for example IOF."""
    ANNUAL_FEE = "annual_fee"
    OTHER = "other"


class TransferStatus(StrEnum):
    """The decision whether a transaction moves money between accounts of one owner."""

    OWN = "own"
    """Both legs are known: see `transfer_id`."""
    ONE_LEG = "one_leg"
    """Its counterparty is the owner; the other account is not connected."""
    CANDIDATE = "candidate"
    """It may be a transfer: several other legs fit, or none well enough."""


class CategorySource(StrEnum):
    """The source of a transaction's category, the strongest first."""

    USER = "user"
    RULE = "rule"
    PROVIDER = "provider"
    MCC = "mcc"
    DICTIONARY = "dictionary"
    MODEL = "model"


class BillState(StrEnum):
    """The state of a card bill."""

    OPEN = "open"
    CLOSED = "closed"
    PARTLY_PAID = "partly_paid"
    PAID = "paid"
    OVERDUE = "overdue"
    INSTALMENTED = "instalmented"


class SyncOutcome(StrEnum):
    """The outcome of reading one connection. `partial` counts as failed; what was read is stored."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


class ErrorClass(StrEnum):
    """The reaction to a failed read."""

    TRANSIENT = "transient"
    """Retry after 1, 5, 15 minutes, then every hour: time-out, 5xx, 429, 423, 529, reset. After the third partial
    failure in a row it counts as complete."""
    BUSY = "busy"
    """The provider is processing the connection; it does not count as an attempt."""
    USER = "user"
    """Do not retry until the owner acts: log-in, second factor, consent."""
    PERMANENT = "permanent"
    """Do not retry until an operator acts: 400, 404, 410, an answer that cannot be understood."""
    OURS = "ours"
    """Our own credentials or settings are at fault."""


class ChangeReason(StrEnum):
    """The reason why a transaction changed."""

    POSTED = "posted"
    RESTATED = "restated"
    REKEYED = "rekeyed"
    REMOVED = "removed"
    REVIVED = "revived"
    EXPIRED = "expired"
    USER = "user"


class NoticeKind(StrEnum):
    """The subject of a notice to the owner of bank data."""

    NEEDS_USER = "needs_user"
    CONSENT_EXPIRING = "consent_expiring"
    CONSENT_ENDED = "consent_ended"
    STALE = "stale"
    QUARANTINE = "quarantine"
    INSIGHT = "insight"
