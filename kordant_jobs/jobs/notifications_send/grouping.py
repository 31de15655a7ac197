"""Groups notifications into messages: one for each person and breach, and at most the capped number of messages an
hour. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.domain.notifications.choices import Held
from kordant_jobs.domain.notifications.pending import AlertRow, Claim, Mark, NoticeRow, PropertyRow
from kordant_jobs.jobs.notifications_send.rules import CRITICAL_WAIT, ONE_HOUR, hold

Target = tuple[UUID, UUID | None]
"""A subscription and one of its addresses; None: the subscriber's contact."""

ORDER = list(Severity)


@dataclass(kw_only=True)
class Grouping:
    """The result for a batch. `messages` are sent now, each with its notifications; `held` wait."""

    messages: list[list[UUID]] = field(default_factory=list)
    held: list[Mark] = field(default_factory=list)


def bundle(
    rows: Sequence[NoticeRow],
    claims: Mapping[UUID, Claim],
    *,
    sent_last_hour: Mapping[Target, int],
    cap: int | None,
    now: datetime,
) -> Grouping:
    """Put notifications of one breach to one address into one message. What exceeds `cap` messages an hour is combined,
    while the most urgent breaches keep their own message. Beyond the cap, critical alerts form one message at once and
    then one every five minutes; others wait for an hour and form one. Digests, reports and repeated messages stay as
    they are."""
    found = Grouping()
    targets: dict[Target, list[NoticeRow]] = {}
    for row in rows:
        targets.setdefault((row.subscription_id, row.address_id), []).append(row)
    for target, own in targets.items():
        fresh = [row for row in own if _is_fresh(row, claims[row.id])]
        fixed = _together([row for row in own if not _is_fresh(row, claims[row.id])], claims)
        found.messages += fixed
        sent = sent_last_hour.get(target, 0) + len(fixed)
        _bundle_fresh(found, _by_breach(fresh), claims, sent=sent, cap=cap, now=now)
    return found


def _is_fresh(row: NoticeRow, claim: Claim) -> bool:
    """True when it may be combined with others: an alert whose message was never begun."""
    return (
        isinstance(row, AlertRow | PropertyRow)
        and row.held_for is None
        and claim.mail_id is None
        and not claim.interrupted
    )


def _together(rows: Sequence[NoticeRow], claims: Mapping[UUID, Claim]) -> list[list[UUID]]:
    messages: dict[UUID, list[UUID]] = {}
    for row in rows:
        messages.setdefault(claims[row.id].mail_id or row.id, []).append(row.id)
    return list(messages.values())


def _by_breach(rows: Sequence[NoticeRow]) -> list[list[NoticeRow]]:
    """One list for each breach, the most urgent first."""
    breaches: dict[str, list[NoticeRow]] = {}
    for row in rows:
        about = row.breach_name if isinstance(row, AlertRow) else ""
        about = f"property {row.instrument_id}" if isinstance(row, PropertyRow) else about
        breaches.setdefault(about, []).append(row)
    return sorted(breaches.values(), key=lambda group: -_urgency(group))


def _urgency(group: Sequence[NoticeRow]) -> int:
    return max(ORDER.index(Severity(row.severity)) for row in group)


def _bundle_fresh(
    found: Grouping,
    groups: list[list[NoticeRow]],
    claims: Mapping[UUID, Claim],
    *,
    sent: int,
    cap: int | None,
    now: datetime,
) -> None:
    left = len(groups) if cap is None else cap - sent
    alone = groups if len(groups) <= left else groups[: max(0, left - 1)]
    found.messages += [[row.id for row in group] for group in alone]
    rest = [row for group in groups[len(alone) :] for row in group]
    if not rest:
        return
    is_critical = _urgency(rest) == ORDER.index(Severity.CRITICAL)
    if left > 0 or (is_critical and left == 0):
        found.messages.append([row.id for row in rest])
        return
    for row in rest:
        wait = CRITICAL_WAIT if row.severity == Severity.CRITICAL else ONE_HOUR
        found.held.append(hold(claims[row.id], "many came within an hour", now + wait, Held.MANY))
