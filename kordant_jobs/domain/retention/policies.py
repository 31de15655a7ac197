"""Retention policies: one row for each kind, with its legal ground; and legal holds, which keep data whatever its term.
The shipped terms are in `policies.toml`.

Sources: LGPD art. 15 and 16, Marco Civil art. 15, GDPR art. 5(1)(e) and 17(3), CCPA regulations § 7101 (requests are
recorded for 24 months). The terms are our judgement; a lawyer has to confirm them.
"""

import tomllib
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from importlib.resources import files
from uuid import UUID
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/Sao_Paulo")
"""Retention is counted in days of this time zone, whatever the server's."""


class Action(StrEnum):
    """The action on rows whose term is over."""

    DELETE = "delete"
    SHRED_KEY = "shred_key"
    """Delete the owner's key first, then all of the owner's rows."""
    THIN = "thin"
    """Keep one row for each day."""
    KEEP = "keep"
    """Delete nothing: the kind is listed so that its ground is documented."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The term of one kind. `keep_days` counts from the kind's time; None only with `Action.KEEP`."""

    kind: str
    action: Action
    keep_days: int | None
    legal_basis: str
    note: str = ""

    def __post_init__(self) -> None:
        if (self.keep_days is None) != (self.action is Action.KEEP):
            raise ValueError(f"{self.kind}: a term in days goes with every action but `keep`.")

    @property
    def term_days(self) -> int:
        """The term in days.

        Raises:
            ValueError: the kind is kept.
        """
        if self.keep_days is None:
            raise ValueError(f"{self.kind} is kept: it has no term.")
        return self.keep_days

    def cutoff(self, today: date) -> datetime:
        """The time before which rows of this kind are deleted.

        >>> Policy(kind="k", action=Action.DELETE, keep_days=1, legal_basis="b").cutoff(date(2018, 11, 5)).isoformat()
        '2018-11-04T01:00:00-02:00'
        """
        start = datetime.combine(today - timedelta(days=self.term_days), time(), tzinfo=ZONE)
        return datetime.fromtimestamp(start.timestamp(), ZONE)  # a midnight that the clock skipped is its next hour


def _read_policies() -> dict[str, Policy]:
    raw = tomllib.loads(files(__package__).joinpath("policies.toml").read_text("utf-8"))
    return {
        kind: Policy(
            kind=kind,
            action=Action(one.get("action", Action.DELETE)),
            keep_days=one.get("days"),
            legal_basis="; ".join(raw["grounds"][ground] for ground in one["grounds"]),
            note=one.get("note", ""),
        )
        for kind, one in raw["policies"].items()
    }


BY_KIND = _read_policies()
"""The terms that apply until an operator sets another: `kordant-jobs cleanup policy`."""


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A hold on the rows of one owner, of one kind, or of a range of time; with several of them given, on the rows that
    match all. `owner_id` is a subscriber's or an entity's. `since` and `before` limit the kind's time, `before`
    excluded."""

    id: UUID
    reason: str
    placed_by: str
    owner_id: UUID | None = None
    kind: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    until: datetime | None = None
    """The time at which the hold ends by itself; None: when it is released."""
