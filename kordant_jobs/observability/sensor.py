"""The sensor that evaluates the alert rules twice a minute. It starts no run."""

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.observability.alerting import evaluate, open_operators
from kordant_jobs.settings import load_settings

EVERY_S = 30


@dg.sensor(
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Measures failures, backlog, time-outs, silent parts and stale sources, and tells operators "
    "(KORDANT_ALERT_URLS) when an alert begins and when it ends. `kordant-jobs alerts list` shows them.",
)
def operator_alert_sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> dg.SkipReason:
    """Evaluate the rules."""
    done = evaluate(db, open_operators(load_settings()))
    if done.failed:
        context.log.warning(f"{done.failed} notices to operators could not be delivered; they are tried again.")
    return dg.SkipReason(f"{done.fired} alerts began, {done.resolved} ended, {done.sent} notices went out")
