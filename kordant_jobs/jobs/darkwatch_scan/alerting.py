"""Turns the exposures of chosen subscriptions into alerts: judged and rated, in the caller's transaction."""

from dataclasses import fields
from datetime import date

import polars as pl
from sqlalchemy import Connection

from kordant_jobs.domain.darkwatch.exposures import SecretKind
from kordant_jobs.jobs.darkwatch_scan import rules
from kordant_jobs.store.darkwatch import judging


def write_alerts(connection: Connection, *, today: date, provisional: bool = False) -> int:
    """Judge the chosen subscriptions' exposures and write the alerts that are due. Returns the number of new or
    completed alerts. A `provisional` alert is completed by the next call that is not provisional. A provisional call
    judges only new exposures, since other transactions may be changing the rest."""
    again = not provisional
    judging.save_judgements(connection, judged(judging.unjudged(connection, again=again)), again=again)
    severities = rated(judging.unalerted(connection, again=again), today)
    return judging.save_alerts(connection, severities, provisional=provisional)


def judged(kinds: pl.DataFrame) -> pl.DataFrame:
    """The kinds of `judging.unjudged` with the ruling on each."""
    flags = [field.name for field in fields(rules.BreachFlags)]
    rulings = [
        rules.judge(
            rules.BreachFlags(**{flag: row[flag] for flag in flags}),
            verified=row["verified"],
            held_by_us=row["held_by_us"],
            not_me=row["not_me"],
        )
        for row in kinds.to_dicts()
    ]
    return kinds.with_columns(
        pl.Series("judgement", [one.judgement for one in rulings], dtype=pl.String),
        pl.Series("judgement_reason", [one.reason for one in rulings], dtype=pl.String),
    )


def rated(kinds: pl.DataFrame, today: date) -> pl.DataFrame:
    """The kinds of `judging.unalerted` with the urgency of each."""
    urgencies = [
        rules.urgency(
            rules.Facts(
                data_classes=row["data_classes"],
                secret=SecretKind(row["secret"]),
                age_days=rules.age_days(row["breached_on"], today),
                reused=row["reused"],
                from_a_device=row["from_a_device"],
            )
        )
        for row in kinds.to_dicts()
    ]
    return kinds.with_columns(pl.Series("severity", urgencies, dtype=pl.String))
