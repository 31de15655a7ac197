"""Decides whether an exposure raises an alert, for which reason, and how urgent it is. Pure. `docs/judgement.md`
explains it to people.

Each rule has its reason. The first rule in `judge` that applies decides.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from kordant_jobs.domain.darkwatch.exposures import Judgement, JudgementReason, SecretKind
from kordant_jobs.domain.notifications.alerts import Severity


@dataclass(frozen=True, kw_only=True)
class BreachFlags:
    """The facts of a breach that decide whether its exposures raise an alert. `is_unverified`: a catalogue lists it and
    could not verify it. That never applies to a dump that we hold, since we have its data."""

    is_sensitive: bool = False
    is_fabricated: bool = False
    is_retired: bool = False
    is_spam_list: bool = False
    is_unverified: bool = False
    is_malware: bool = False
    is_stealer_log: bool = False


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The decision whether an exposure raises an alert, and the rule that decided."""

    judgement: Judgement
    reason: JudgementReason


def judge(breach: BreachFlags, *, verified: bool, held_by_us: bool = False, not_me: bool = False) -> Ruling:
    """Decide whether an exposure in `breach` raises an alert to the subscriber who watches the identifier.

    `verified`: the subscriber proved to own it. `held_by_us`: it is in a dump of our own. `not_me`: the subscriber said
    that it is not theirs.

    >>> judge(BreachFlags(is_sensitive=True), verified=False).judgement.value
    'withheld_sensitive'
    >>> judge(BreachFlags(is_stealer_log=True), verified=True).reason.value
    'stealer_log'
    """
    if not_me:  # The subscriber knows best; an alert that comes again teaches them to ignore the next one.
        return Ruling(judgement=Judgement.NOT_ME, reason=JudgementReason.NOT_ME)
    if breach.is_fabricated:  # Made up to look like a breach: nothing of the person leaked (HIBP, 'Fabricated').
        return Ruling(judgement=Judgement.NOT_A_BREACH, reason=JudgementReason.FABRICATED)
    if breach.is_retired:  # Taken back by the catalogue: it must not be shown any more (HIBP, 'Retired breach').
        return Ruling(judgement=Judgement.NOT_A_BREACH, reason=JudgementReason.RETIRED)
    if breach.is_spam_list:  # Addresses gathered to send spam: no account is at risk (HIBP, 'Spam list').
        return Ruling(judgement=Judgement.NOT_A_BREACH, reason=JudgementReason.SPAM_LIST)
    if breach.is_sensitive and not verified:
        # Being in it is intimate: a person who only types an address must not learn it.
        return Ruling(judgement=Judgement.WITHHELD_SENSITIVE, reason=JudgementReason.SENSITIVE_AND_NOT_VERIFIED)
    if breach.is_unverified and not held_by_us:
        # It could not be verified (HIBP, 'Unverified'): kept, and alerted once it is verified.
        return Ruling(judgement=Judgement.WITHHELD_UNVERIFIED, reason=JudgementReason.UNVERIFIED)
    return Ruling(judgement=Judgement.ALERT, reason=_reason_to_alert(breach))


def _reason_to_alert(breach: BreachFlags) -> JudgementReason:
    if breach.is_stealer_log:
        return JudgementReason.STEALER_LOG
    if breach.is_malware:
        return JudgementReason.MALWARE
    return JudgementReason.SENSITIVE_TO_ITS_OWNER if breach.is_sensitive else JudgementReason.BREACH


CRITICAL_DATA = frozenset(
    {
        "Social security numbers",
        "Government issued IDs",
        "Passport numbers",
        "Driver's licenses",
        "Bank account numbers",
        "Credit cards",
        "Credit card CVV",
        "PINs",
        "Biometric data",
        "Encrypted keys",
        "Mnemonic phrases",
        "Private keys",
        "Taxation records",
    }
)
"""Data that suffices to take money or an identity at once, and that cannot simply be changed. Its age does not
matter."""

PASSWORD_DATA = frozenset({"Passwords", "Historical passwords"})

HIGH_DATA = PASSWORD_DATA | {
    "Auth tokens",
    "Security questions and answers",
    "Partial credit card data",
    "Health insurance information",
    "Personal health data",
    "Password hints",
    "Private messages",
}
"""Data that opens an account, or whose disclosure does harm."""

MEDIUM_DATA = frozenset(
    {
        "Phone numbers",
        "Physical addresses",
        "Dates of birth",
        "Names",
        "Geographic locations",
        "Purchases",
        "IP addresses",
        "Social media profiles",
    }
)
"""Data that makes fraud against the person more convincing."""

OLD_AFTER_DAYS = 5 * 365
"""A breach this old is one step less urgent: its passwords have been tried everywhere, or changed. The figure is our
judgement, not measured."""

_RISING = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The facts that make an exposure urgent. `reused`: a password of the same identifier is in another breach too."""

    data_classes: Collection[str]
    secret: SecretKind = SecretKind.NONE
    age_days: int | None = None
    reused: bool = False
    from_a_device: bool = False
    """True when malware took it from a device: a stealer log, or the loot of a botnet."""


def urgency(facts: Facts) -> Severity:
    """The urgency of an exposure: by the worst of what the breach holds and of what stood beside the identifier.

    - A password in clear is usable by anybody now: critical. A hashed one is, after some work: high.
    - What malware took from a device is at least high, since the device may still be infected, whatever its age.
    - A password while another one of the same identifier is out already: one step up. Two show how the person makes
      them, and lists of such pairs are what is tried first.
    - Older than `OLD_AFTER_DAYS`: one step down, unless a password in clear, data that does not age, or a device.

    >>> urgency(Facts(data_classes=["Passwords"])).value, urgency(Facts(data_classes=["Passwords"], reused=True)).value
    ('high', 'critical')
    >>> urgency(Facts(data_classes=["Passwords"], age_days=4000)).value
    'medium'
    """
    base = severity(facts.data_classes, facts.secret)
    if base is Severity.CRITICAL:
        return base
    step = _RISING.index(base)
    has_password = facts.secret in PASSWORD_BESIDE or bool(PASSWORD_DATA & set(facts.data_classes))
    if facts.reused and has_password:
        step += 1
    if facts.age_days is not None and facts.age_days > OLD_AFTER_DAYS and not facts.from_a_device:
        step -= 1
    if facts.from_a_device:
        step = max(step, _RISING.index(Severity.HIGH))
    return _RISING[min(max(step, 0), len(_RISING) - 1)]


PASSWORD_BESIDE = frozenset((SecretKind.HASHED, SecretKind.CLEAR))


def severity(data_classes: Collection[str], secret: SecretKind) -> Severity:
    """The urgency by what leaked alone. The names of the data classes are HIBP's (`GET /dataclasses`).

    >>> severity(["Email addresses"], SecretKind.CLEAR).value, severity(["Email addresses"], SecretKind.NONE).value
    ('critical', 'low')
    """
    held = set(data_classes)
    if secret is SecretKind.CLEAR or held & CRITICAL_DATA:
        return Severity.CRITICAL
    if secret is SecretKind.HASHED or held & HIGH_DATA:
        return Severity.HIGH
    return Severity.MEDIUM if held & MEDIUM_DATA else Severity.LOW


def age_days(breached_on: date | None, today: date) -> int | None:
    """The age of a breach in days; None when its day is unknown. A future day counts as today."""
    return None if breached_on is None else max(0, (today - breached_on).days)
