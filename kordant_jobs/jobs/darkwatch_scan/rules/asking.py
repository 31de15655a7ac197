"""Rules for asking outside sources: when to ask again, and the meaning of their answers for a subscription. Pure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from kordant_jobs.domain.darkwatch.breaches import Breach
from kordant_jobs.domain.darkwatch.exposures import RETRYABLE, Source, UnknownReason, Verdict

RETRIES_S = (2.0, 60.0, 600.0, 3600.0, 21_600.0)
"""The wait after the first, second, … failed question; the last one repeats. The first is for a short failure, within
the same scan; six hours allow four attempts a day while a source is down."""

REFUSED_S = 86_400.0
"""The wait after an answer that requires an operator to change something: a day."""

RECHECK_AFTER: Mapping[Source, timedelta] = {
    Source.HIBP: timedelta(days=180),
    Source.XPOSEDORNOT: timedelta(days=30),
    Source.LEAKCHECK: timedelta(days=30),
}
"""The age that an answer may have. HIBP's change only when it adds a breach (its documentation: do not poll accounts),
and then every account is asked again; half a year covers changed breaches. The other sources announce no such changes.
"""


def retry_delay_s(reason: UnknownReason, attempts: int, retry_after_s: float | None) -> float:
    """Seconds before a question is asked again after `attempts` failures in a row; the source's Retry-After, if longer.

    >>> retry_delay_s(UnknownReason.UNAVAILABLE, 1, None), retry_delay_s(UnknownReason.RATE_LIMITED, 1, 7.0)
    (2.0, 7.0)
    >>> retry_delay_s(UnknownReason.KEY_REFUSED, 1, None)
    86400.0
    """
    own = RETRIES_S[min(max(attempts, 1), len(RETRIES_S)) - 1] if reason in RETRYABLE else REFUSED_S
    return max(own, retry_after_s or 0.0)


def source_verdict(*, exposures: int, unknown: Mapping[str, int]) -> tuple[Verdict, str | None]:
    """The verdict of a source on a subscription, from the number of alerted exposures and, by reason, of identifiers
    without an answer.

    >>> source_verdict(exposures=0, unknown={"timed_out": 1})
    (<Verdict.UNKNOWN: 'unknown'>, 'timed_out')
    """
    reason = max(unknown, key=lambda one: (unknown[one], one)) if unknown else None
    if exposures:
        return Verdict.EXPOSED, reason
    return (Verdict.UNKNOWN, reason) if reason else (Verdict.CLEAN, None)


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def same_breach(reported: Breach, known: Sequence[Breach]) -> str | None:
    """The breach in our catalogue that another source reports under its own name; None when there is none or it is
    uncertain.

    It is certain with the same name except for case and punctuation, or with the domain of exactly one breach, unless
    both have a day and these are more than a year apart.

    >>> adobe = Breach(name="Adobe", title="Adobe", domain="adobe.com")
    >>> same_breach(Breach(name="Adobe.com", title="", domain="adobe.com"), [adobe])
    'Adobe'
    """
    for one in known:
        if _plain(one.name) == _plain(reported.name):
            return one.name
    there = [one for one in known if reported.domain and one.domain.lower() == reported.domain.lower()]
    if len(there) != 1:
        return None
    days = (reported.breached_on, there[0].breached_on)
    if days[0] and days[1] and abs((days[0] - days[1]).days) > 366:
        return None
    return there[0].name
