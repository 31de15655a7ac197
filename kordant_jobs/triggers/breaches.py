"""The sensor for new breaches. It only records a new breach; `new_data_sensor` then requests the scan that reads the
whole catalogue and asks about everybody again."""

import json

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.catalog.darkwatch_scan import DarkwatchScan
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.ports import BreachFeed
from kordant_jobs.settings import load_settings
from kordant_jobs.store.darkwatch import breach_lookups

CHECK_EVERY_S = 60
"""Seconds between two checks. One is a page in HIBP's cache; its documentation recommends a check every few minutes."""


@dg.sensor(
    job_name=DarkwatchScan.job,
    minimum_interval_seconds=CHECK_EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING if load_settings().hibp_watch else dg.DefaultSensorStatus.STOPPED,
    description="Have I Been Pwned has a new breach: it is noted, and the tiers that have real time are scanned at "
    "once. Runs with KORDANT_HIBP_WATCH=1.",
)
def latest_breach_sensor(
    context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine], breach_feed: dg.ResourceParam[BreachFeed]
) -> dg.SensorResult | dg.SkipReason:
    """Record the newest breach unless it is recorded already."""
    try:
        latest = breach_feed.latest_breach()
    except SourceUnavailable as error:
        return dg.SkipReason(str(error))
    seen = json.dumps([latest.name, latest.added_at.isoformat() if latest.added_at else None])
    if seen == context.cursor:
        return dg.SkipReason("nothing is new")
    with db.begin() as connection:
        new = breach_lookups.is_newer(connection, latest)
        if new:
            breach_lookups.save(connection, [latest], as_news=True)
            breach_lookups.catalogue_is_due(connection)
    said = f"{latest.name} is new and noted; a scan follows" if new else f"{latest.name} was known"
    return dg.SensorResult(skip_reason=said, cursor=seen)
