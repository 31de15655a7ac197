"""Decides the next step of each due request: one table of rules, the first that fits decides. Pure, and set-based:
100,000 requests are one frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

import polars as pl

from kordant_jobs.domain.removals.states import RemovalState as S


class Action(StrEnum):
    """The action beside the move."""

    NOTHING = "nothing"
    REQUEST = "request"
    """Send the request over the channel that the catalogue prefers."""
    REMIND = "remind"
    """Remind the broker."""
    COMPLAIN = "complain"
    """Draft a complaint to the regulator for the subscriber."""
    ASK_USER = "ask_user"
    """Tell the subscriber that it is their turn."""
    TELL_USER = "tell_user"
    """Tell the subscriber what became of it; no answer is needed."""


GRACE = timedelta(days=14)
"""After a deadline passed and the reminder went out, before a complaint is drafted."""
USER_REMINDED_EVERY = timedelta(days=14)
USER_REMINDED_MOST = 3
CHECK_AFTER_DONE = timedelta(days=3)
"""After a broker says that it is done: people-search sites need up to 72 hours until their pages follow."""
CHECK_AGAIN_UNKNOWN = timedelta(days=7)
CHECK_VERIFIED = timedelta(days=30)
"""Brokers relist: eraser runs again every 60 to 90 days, so a relisting is seen within 30."""
CATALOGUE_MAY_CHANGE = timedelta(days=30)
POLL_EVERY = timedelta(days=1)
"""Time between two status requests to a business of the Data Rights Protocol: its callbacks are optional."""
DAY_ENDS = timedelta(hours=12)
"""A last day has passed when it has passed everywhere, at noon UTC of the next day: no broker is reminded on a day on
which its law still lets it answer."""
ATTEMPTS_MOST = 3
"""Requests to one broker about one person, before we complain rather than ask again."""


@dataclass(frozen=True)
class Rule:
    """When `when` holds, go to `to` (None: stay) and do `action`; check again after `wait` (None: only when something
    comes in). A wait is a length of time from now, or an expression of the moment."""

    reason: str
    when: pl.Expr
    to: S | None
    action: Action = Action.NOTHING
    wait: timedelta | pl.Expr | None = None


def _in(*states: S) -> pl.Expr:
    return pl.col("state").is_in([state.value for state in states])


def _after(name: str) -> pl.Expr:
    """The first moment at which the last day has passed everywhere."""
    moment = (pl.col(name) + pl.duration(days=1)).cast(pl.Datetime("us")) + pl.lit(DAY_ENDS)
    return moment.dt.replace_time_zone("UTC")


def _rules(now: datetime) -> list[Rule]:
    today, moment = pl.lit((now - DAY_ENDS).date()), pl.lit(now)
    is_drp = (pl.col("channel") == "drp").fill_null(value=False)
    by_person = (pl.col("channel") == "web_form").fill_null(value=False)  # asked and answered past us: no reminder
    can_complain = pl.col("can_complain")
    fresh = (pl.col("checked_at") >= pl.col("state_since")).fill_null(value=False)
    listed = fresh & (pl.col("check_says") == "listed")
    not_listed = fresh & (pl.col("check_says") == "not_listed")
    can_ask, has_form, searched = pl.col("can_ask"), pl.col("has_form"), pl.col("has_search")
    waiting, extended = _in(S.SENT, S.ACKNOWLEDGED, S.IN_PROGRESS), _in(S.EXTENDED)
    late = (waiting & (pl.col("answer_by_on") < today)) | (extended & (pl.col("extended_by_on") < today))
    unconfirmed = (
        _in(S.SENT) & ~pl.col("answered") & ~by_person & (pl.col("reminders") == 0) & (pl.col("confirm_by_on") < today)
    ).fill_null(value=False)
    tired = pl.col("attempts") >= ATTEMPTS_MOST
    cooling = (pl.col("cool_until") > moment).fill_null(value=False)
    again = _in(S.RELISTED, S.BOUNCED, S.CONTACT_MOVED) | (_in(S.DENIED) & (pl.col("reason") == "too_many_requests"))
    verified_every = pl.when(searched).then(moment + pl.duration(days=CHECK_VERIFIED.days))
    next_deadline = (
        pl.when(extended)
        .then(_after("extended_by_on"))
        .when(_in(S.SENT) & (pl.col("confirm_by_on") >= today) & ~pl.col("answered"))
        .then(_after("confirm_by_on"))
        .otherwise(_after("answer_by_on"))
    )
    next_step = pl.when(is_drp).then(pl.min_horizontal(next_deadline, moment + POLL_EVERY)).otherwise(next_deadline)
    return [
        # Our own check counts before anything a broker says.
        Rule("still_listed", _in(S.COMPLETED) & listed, S.RELISTED, wait=timedelta()),
        Rule("listed_though_no_match", _in(S.NO_MATCH) & listed, S.RELISTED, wait=timedelta()),
        Rule("listed_again", _in(S.VERIFIED_REMOVED) & listed, S.RELISTED, wait=timedelta()),
        Rule(
            "our_check",
            _in(S.COMPLETED, S.OVERDUE, S.ESCALATED) & not_listed,
            S.VERIFIED_REMOVED,
            Action.TELL_USER,
            verified_every,
        ),
        Rule("checked", _in(S.NO_MATCH, S.VERIFIED_REMOVED), None, wait=verified_every),
        Rule("unchecked", _in(S.COMPLETED) & searched, None, wait=CHECK_AGAIN_UNKNOWN),
        Rule("no_check_possible", _in(S.COMPLETED), None),
        # Asking, and asking again.
        Rule("never_heeded", _in(S.RELISTED) & tired & can_complain, S.ESCALATED, Action.COMPLAIN, verified_every),
        Rule("given_up", _in(S.RELISTED) & tired, None),
        Rule("given_up", again & tired, None),
        Rule("cool_down", again & cooling & ~_in(S.BOUNCED, S.CONTACT_MOVED), None, wait=pl.col("cool_until")),
        Rule("asked", (_in(S.DRAFT) | again) & can_ask, S.QUEUED, Action.REQUEST),
        Rule(
            "form_for_a_person",
            (_in(S.DRAFT) | (again & ~_in(S.DENIED))) & has_form,
            S.NEEDS_USER_ACTION,
            Action.ASK_USER,
            USER_REMINDED_EVERY,
        ),
        Rule("no_contact", _in(S.DRAFT, S.BOUNCED, S.RELISTED), S.CONTACT_MOVED, wait=CATALOGUE_MAY_CHANGE),
        Rule("no_contact", _in(S.CONTACT_MOVED), None, wait=CATALOGUE_MAY_CHANGE),
        # The broker's clock.
        Rule("no_answer", late & by_person, S.OVERDUE, wait=GRACE),
        Rule("no_answer", late, S.OVERDUE, Action.REMIND, GRACE),
        Rule("no_confirmation", unconfirmed, None, Action.REMIND, _after("answer_by_on")),
        Rule("clock_runs", waiting | extended, None, wait=next_step),
        Rule("no_answer", _in(S.OVERDUE) & can_complain, S.ESCALATED, Action.COMPLAIN, verified_every),
        Rule("no_law", _in(S.OVERDUE), None, wait=verified_every),
        Rule("escalated", _in(S.ESCALATED), None, wait=verified_every),
        # The subscriber's turn.
        Rule(
            "user_reminded",
            _in(S.NEEDS_USER_ACTION, S.NEEDS_IDENTITY) & (pl.col("asked_user") < USER_REMINDED_MOST),
            None,
            Action.ASK_USER,
            USER_REMINDED_EVERY,
        ),
        Rule("status_polled", _in(S.NEEDS_IDENTITY) & is_drp, None, wait=POLL_EVERY),
        Rule("nothing_due", pl.lit(value=True), None),
    ]


CHECKED_STATES = (S.COMPLETED, S.NO_MATCH, S.VERIFIED_REMOVED, S.OVERDUE, S.ESCALATED)
"""States in which a due request is checked by ourselves before it is decided."""


def decide(due: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Decide every due request: `id`, `state`, `to_state` (null: it stays), `action`, `reason`, `next_at` (null: only
    when something comes in). `now` is aware.

    `due` is a frame as `store.removals.due.load` reads it. `can_ask`: a channel that we can use alone works;
    `has_form`: a form for a person; `can_complain`: a law obliges the broker, and an authority watches over it.
    """
    rules = _rules(now)
    number = pl.lit(len(rules) - 1, dtype=pl.UInt8)
    for place, rule in reversed(list(enumerate(rules))):
        number = pl.when(rule.when).then(pl.lit(place, dtype=pl.UInt8)).otherwise(number)
    next_at = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    for place, rule in enumerate(rules):
        if rule.wait is not None:
            wait = pl.lit(now + rule.wait) if isinstance(rule.wait, timedelta) else rule.wait
            next_at = pl.when(pl.col("rule") == place).then(wait).otherwise(next_at)
    return (
        due.with_columns(number.alias("rule"))
        .with_columns(next_at.alias("next_at"))
        .with_columns(
            _named("to_state", [rule.to for rule in rules]),
            _named("action", [rule.action for rule in rules]),
            _named("rule_reason", [rule.reason for rule in rules]),
        )
        .select("id", "state", "to_state", "action", pl.col("rule_reason").alias("reason"), "next_at")
    )


def _named(name: str, values: Sequence[StrEnum | str | None]) -> pl.Expr:
    texts = pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)
    return pl.lit(texts).gather(pl.col("rule").cast(pl.UInt32)).alias(name)


def after_day(day: date) -> datetime:
    """The first moment at which a last day has passed everywhere.

    >>> after_day(date(2026, 4, 16)).isoformat()
    '2026-04-17T12:00:00+00:00'
    """
    return datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC) + DAY_ENDS
