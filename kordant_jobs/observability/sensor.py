"""The sensor that evaluates the alert rules twice a minute. It starts no runs."""

import dagster as dg
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from kordant_jobs.domain.operators.alert_rules import BY_NAME
from kordant_jobs.observability.alerting import evaluate, machine_of, open_operators, run_for_alert
from kordant_jobs.observability.history import keep_costs
from kordant_jobs.settings import load_settings

EVERY_S = 30


def _write_on_run(instance: dg.DagsterInstance, db: Engine, rule: str, subject: str) -> None:
    """Add the alert to the run that it is about, where Dagster's UI shows it."""
    with db.connect() as connection:
        run_id = run_for_alert(connection, rule, subject)
    run = instance.get_run_by_id(run_id) if run_id else None
    if run is not None:
        known = BY_NAME[rule]
        instance.report_engine_event(f"Alert {rule}: {known.what}. To begin with: {known.first_step}", run)


@dg.sensor(
    minimum_interval_seconds=EVERY_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Measures failures, backlog, time-outs, silent parts and stale sources, and tells operators "
    "(KORDANT_ALERT_URLS) when an alert begins and when it ends. `kordant-jobs alerts list` shows them.",
)
def operator_alert_sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> dg.SkipReason:
    """Evaluate the alert rules, notify operators, and roll up costs."""
    settings = load_settings()
    done = evaluate(db, open_operators(settings), machine_of(settings))
    for rule, subject in done.began:
        _write_on_run(context.instance, db, rule, subject)
    try:
        keep_costs(db)
    except DBAPIError as error:
        context.log.warning(f"Costs were not rolled up ({type(error.orig).__name__}); the next tick tries again.")
    if done.failed:
        context.log.warning(f"{done.failed} notices to operators could not be delivered; they are tried again.")
    return dg.SkipReason(f"{done.fired} alerts began, {done.resolved} ended, {done.sent} notices went out")
