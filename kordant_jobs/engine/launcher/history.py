"""Ends of runs from Dagster's storage, for ends that were reported while no process listened."""

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus

from kordant_jobs.engine.failure import failure_of
from kordant_jobs.engine.launcher.run import CAUSE_TAG
from kordant_jobs.engine.requests import Cause
from kordant_jobs.engine.runs import LOST, RETURNING, RunEnd

_REASON_TAG = "dagster/failure_reason"


def end_of(instance: DagsterInstance, run_id: str) -> RunEnd | None:
    """The end of a run; None while it runs, or when there is no such run. CPU and memory are unknown."""
    run = instance.get_run_by_id(run_id)
    if run is None or not run.is_finished:
        return None
    match run.status:
        case DagsterRunStatus.SUCCESS:
            return RunEnd(run_id=run_id, outcome="success")
        case DagsterRunStatus.CANCELED:
            return RunEnd(run_id=run_id, outcome="canceled")
        case _:
            return _failed(instance, run)


def _failed(instance: DagsterInstance, run: DagsterRun) -> RunEnd:
    cause = run.tags.get(CAUSE_TAG)
    if cause is None and run.tags.get(_REASON_TAG) == "UNEXPECTED_TERMINATION":
        cause = RETURNING  # it was interrupted, and no process could record why: the system went down
    if cause in {LOST, RETURNING}:
        return RunEnd(
            run_id=run.run_id, outcome="lost", cause=cause, error="its process ended with the system that ran it"
        )
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE):
        if entry.dagster_event is not None:
            failure = failure_of(entry.dagster_event)
            return RunEnd(
                run_id=run.run_id,
                outcome="failure",
                cause=cause or Cause.EXCEPTION.value,
                error=failure.error,
                retry_after_s=failure.retry_after_s,
                permanent=failure.permanent,
            )
    return RunEnd(
        run_id=run.run_id, outcome="failure", cause=cause or Cause.KILLED.value, error="see the run's event log"
    )
