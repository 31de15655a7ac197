"""Sensors: what new data asks for. Each asks a pure question and answers with run requests; none does work."""

import hashlib

import dagster as dg
from sqlalchemy import Engine

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.alerts import Channel
from kordant_jobs.jobs.darkwatch_scan.job import darkwatch_scan
from kordant_jobs.jobs.darkwatch_scan.service import DropBox, new_files, now_of
from kordant_jobs.jobs.notifications_send.job import notifications_send
from kordant_jobs.store.keyring import Keyring
from kordant_jobs.store.outbox import due

POLL_S = 2
"""Dagster takes 0 for 30 s; its sensor daemon itself waits 5 s between rounds."""


REALTIME_TIERS = BY_NAME[darkwatch_scan.name].realtime_tiers
UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


@dg.sensor(
    job=darkwatch_scan,
    minimum_interval_seconds=POLL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A new file in the drop folder: subscriptions of the real-time tiers are scanned at once.",
)
def drop_folder_sensor(
    context: dg.SensorEvaluationContext,
    db: dg.ResourceParam[Engine],
    keyring: dg.ResourceParam[Keyring],
    drop_box: dg.ResourceParam[DropBox],
) -> dg.SensorResult | dg.SkipReason:
    """Ask for one scan when finished files lie there that were never registered; for the same files only once."""
    with db.connect() as connection:
        files = new_files(connection, drop_box, keyring, now_of(connection))
    if not files:
        return dg.SkipReason("no new file in the drop folder")
    facts = "\n".join(f"{keyring.file_key(file.name).hex()} {file.size} {file.mtime_ns}" for file in files)
    request = dg.RunRequest(
        run_key=hashlib.sha256(facts.encode()).hexdigest(),
        run_config={"ops": {"plan": {"config": {"tiers": [tier.value for tier in REALTIME_TIERS]}}}},
        tags={"kordant/trigger": "drop_folder"},
    )
    return dg.SensorResult(run_requests=[request])


@dg.sensor(
    job=notifications_send,
    minimum_interval_seconds=POLL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="A notification is due: one run sends all that are.",
)
def outbox_sensor(context: dg.SensorEvaluationContext, db: dg.ResourceParam[Engine]) -> dg.SensorResult | dg.SkipReason:
    """Ask for one run when something is due and no run is under way: a run sends until nothing is due."""
    with db.connect() as connection:
        waiting = due(connection, Channel.EMAIL)
    if not waiting:
        return dg.SkipReason("nothing is due")
    unfinished = dg.RunsFilter(job_name=notifications_send.name, statuses=list(UNFINISHED))
    if context.instance.get_runs_count(unfinished):
        return dg.SkipReason("a run is sending already")
    return dg.SensorResult(run_requests=[dg.RunRequest(tags={"kordant/trigger": "outbox"})])
