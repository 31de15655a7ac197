"""Which exposures are told, how urgent they are, and what a source's silence means. Pure: no clock, no database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from kordant_jobs.domain.alerts import Severity
from kordant_jobs.domain.exposures import Judgement, SecretKind, Verdict

OVERLAP = timedelta(hours=1)
"""How far a scan looks back over what the one before covered. A row's `created_at` is when its transaction began,
so a transaction that took up to an hour to commit is still seen; what is found twice is written once."""

MAX_CHUNKS = 12
"""Chunks of one run. A mapped op costs about 20 ms and 11 kB of event log, so a chunk is many dumps, not one."""


@dataclass(frozen=True, kw_only=True)
class BreachFlags:
    """What the catalogue says of a breach that decides whether its exposures are told."""

    is_sensitive: bool = False
    is_fabricated: bool = False
    is_retired: bool = False
    is_spam_list: bool = False


def judge(breach: BreachFlags, *, verified: bool) -> Judgement:
    """Whether an exposure in `breach` is told to whoever watches the identifier.

    A sensitive breach tells something about the person by itself, so only the proven owner of the identifier hears
    of it (HIBP, 'Sensitive breaches'). A fabricated or retired breach and a spam list are no incident that one can
    act on (the filter that Mozilla Monitor applies too).

    >>> judge(BreachFlags(is_sensitive=True), verified=False).value
    'withheld_sensitive'
    """
    if breach.is_fabricated or breach.is_retired or breach.is_spam_list:
        return Judgement.NOT_A_BREACH
    if breach.is_sensitive and not verified:
        return Judgement.WITHHELD_SENSITIVE
    return Judgement.ALERT


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
"""Data that suffices to take money or an identity at once, and that one cannot simply change."""

HIGH_DATA = frozenset(
    {
        "Passwords",
        "Historical passwords",
        "Auth tokens",
        "Security questions and answers",
        "Partial credit card data",
        "Health insurance information",
        "Personal health data",
        "Password hints",
        "Private messages",
    }
)
"""Data that opens an account, or that harms by being known."""

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
"""Data that makes a fraud against the person believable."""


def severity(data_classes: Collection[str], secret: SecretKind) -> Severity:
    """How urgent an exposure is: by the worst of what the breach holds, and by what stood beside the identifier.

    A password in clear is usable by anybody now, hence critical; a hashed one after some work, hence high.
    The names of the data classes are HIBP's (`GET /dataclasses`).

    >>> severity(["Email addresses"], SecretKind.CLEAR).value, severity(["Email addresses"], SecretKind.NONE).value
    ('critical', 'low')
    """
    held = set(data_classes)
    if secret is SecretKind.CLEAR or held & CRITICAL_DATA:
        return Severity.CRITICAL
    if secret is SecretKind.HASHED or held & HIGH_DATA:
        return Severity.HIGH
    return Severity.MEDIUM if held & MEDIUM_DATA else Severity.LOW


def verdict(*, exposures: int, dumps_read: int, dumps_unread: int) -> tuple[Verdict, str | None]:
    """What our corpus says of a subscription with that many told exposures.

    >>> verdict(exposures=0, dumps_read=3, dumps_unread=1)
    (<Verdict.UNKNOWN: 'unknown'>, '1 breach dump could not be read yet')
    """
    unread = None
    if dumps_unread:
        unread = f"{dumps_unread} breach {'dump' if dumps_unread == 1 else 'dumps'} could not be read yet"
    if exposures:
        return Verdict.EXPOSED, unread
    if unread:
        return Verdict.UNKNOWN, unread
    if not dumps_read:
        return Verdict.UNKNOWN, "no breach dump was ingested yet"
    return Verdict.CLEAN, None


T = TypeVar("T")


def balanced(weighted: Sequence[tuple[T, int]], chunks: int = MAX_CHUNKS) -> list[list[T]]:
    """Share out weighted work over at most `chunks` lists of about equal weight, heaviest first; none is empty.

    >>> balanced([("a", 9), ("b", 5), ("c", 4)], 2)
    [['a'], ['b', 'c']]
    """
    count = min(chunks, len(weighted))
    shares: list[tuple[int, list[T]]] = [(0, []) for _ in range(count)]
    for one, weight in sorted(weighted, key=lambda pair: -pair[1]):
        least = min(range(count), key=lambda place: (shares[place][0], place))
        shares[least] = (shares[least][0] + max(1, weight), [*shares[least][1], one])
    return [share for _, share in shares]


@dataclass(frozen=True, kw_only=True)
class Window:
    """The moments in which a pair (item, dump) became known that a scan covers: `since` ≤ moment < `until`.

    A pair becomes known when the later of the two does. `since` None means each subscription's own watermark.
    """

    since: datetime | None
    until: datetime
