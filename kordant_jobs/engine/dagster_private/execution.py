"""Executes one run in this process, on definitions that were loaded once, and ends runs without a worker."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter, in_process_executor
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository
from dagster._core.errors import (
    DagsterExecutionInterruptedError,
)
from dagster._core.events import (
    DagsterEvent,
    DagsterEventType,
    EngineEventData,
)
from dagster._core.execution.api import execute_run_iterator
from dagster._core.snowflake_partner import set_snowflake_partner_env_var
from dagster._grpc.impl import core_execute_run
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.hosted_user_process import recon_job_from_origin

from kordant_jobs.engine.dagster_private.event_log import PooledEventLogStorage
from kordant_jobs.engine.dagster_private.warm_up import WARM_UP_TAG, warm_up
from kordant_jobs.errors import SetupError


class WarmJob(ReconstructableJob):
    """A job whose definition this process has loaded; another process loads it as usual."""

    _loaded: dict[str, Any] = {}  # noqa: RUF012 - one table a process, on purpose

    def get_repository_definition(self) -> Any:  # type: ignore[override]  # Dagster's own is typed more widely
        """The repository."""
        return self._loaded.get("") or super().get_repository_definition()

    def get_definition(self) -> Any:  # type: ignore[override]  # Dagster's own is typed more widely
        """The job. With a selection of ops it is built again."""
        if not (self.op_selection or self.asset_selection or self.asset_check_selection):
            found = self._loaded.get(self.job_name)
            if found is not None:
                return found
        return super().get_definition()


def load_definitions(module: str) -> list[str]:
    """Import the definitions and build every job, once for all children. Returns the names of the jobs."""
    repository = ReconstructableRepository.for_module(module, "defs").get_definition()
    repository.load_all_definitions()
    jobs = {job.name: job for job in repository.get_all_jobs()}
    for job in jobs.values():
        assert job.run_config_schema  # noqa: S101 - made when first asked for, which takes 10 ms
    WarmJob._loaded.update({"": repository, **jobs})
    return sorted(jobs)


def _warm(job: ReconstructableJob) -> ReconstructableJob:
    return WarmJob(*job)


@contextmanager
def _deleted_afterwards(instance: DagsterInstance) -> Iterator[None]:
    try:
        yield
    finally:
        for run_id in instance.get_run_ids(RunsFilter(tags={WARM_UP_TAG: "yes"})):
            with suppress(Exception):
                instance.delete_run(run_id)


def warm_up_run(instance: DagsterInstance) -> None:
    """Run a job that does nothing through every step of a run, and delete it from the history."""
    repository = ReconstructableRepository.for_module(warm_up.__module__, "defs")
    with _deleted_afterwards(instance):
        run = instance.create_run_for_job(warm_up, tags={WARM_UP_TAG: "yes"}, status=DagsterRunStatus.NOT_STARTED)
        job = ReconstructableJob(repository, "warm_up")
        with _holding_back(instance):
            for _ in core_execute_run(job, run, instance, inject_env_vars=False):
                pass


def execute(instance: DagsterInstance, run_id: str) -> Iterator[DagsterEvent]:
    """Run one run in this process, as Dagster's own worker does; yields its events as they are stored."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.job_code_origin is None:
        raise SetupError(f"run {run_id} is not in Dagster's storage, or does not say where its code is")
    pid = os.getpid()
    job = _warm(recon_job_from_origin(run.job_code_origin))
    with _held_back(instance, job):
        instance.report_engine_event(f"Started in a warm process (pid {pid}).", run, EngineEventData.in_process(pid))
        if run.parent_run_id or run.has_repository_load_data or job.job_name not in WarmJob._loaded:
            yield from core_execute_run(job, run, instance, inject_env_vars=True)
        else:
            yield from _execute_first(job, run, instance)


def _execute_first(job: ReconstructableJob, run: DagsterRun, instance: DagsterInstance) -> Iterator[DagsterEvent]:
    """Like Dagster's `core_execute_run`, without reading the run again, and without the plan that a re-execution
    continues from: this run continues no other."""
    set_snowflake_partner_env_var()
    instance.inject_env_vars(run.remote_job_origin.location_name if run.remote_job_origin else None)
    try:
        yield from execute_run_iterator(job, run._replace(execution_plan_snapshot_id=None), instance)
    except (KeyboardInterrupt, DagsterExecutionInterruptedError):
        end_if_unfinished(instance, run.run_id, "It was interrupted before the job's own code ended.")
        instance.report_engine_event("Run execution terminated by interrupt", run)
        raise
    except Exception as error:
        words = f"{type(error).__name__} that is likely Dagster's own error, rather than one of the job's code."
        cause = EngineEventData.engine_error(serializable_error_info_from_exc_info(sys.exc_info()))
        instance.report_engine_event(words, run, cause)
        raise


def _held_back(instance: DagsterInstance, job: ReconstructableJob) -> AbstractContextManager[None]:
    """Collect event writes of a run whose events only this process writes."""
    if job.job_name in WarmJob._loaded and job.get_definition().executor_def.name == in_process_executor.name:
        return _holding_back(instance)
    return nullcontext()


def _holding_back(instance: DagsterInstance) -> AbstractContextManager[None]:
    storage: object = instance.event_log_storage
    return storage.held_back() if isinstance(storage, PooledEventLogStorage) else nullcontext()


def end_if_unfinished(instance: DagsterInstance, run_id: str, message: str) -> None:
    """Fail (or cancel) a run that its own worker left unfinished because Dagster itself raised."""
    fail(instance, run_id, message, {})


def fail(instance: DagsterInstance, run_id: str, message: str, tags: Mapping[str, str]) -> str:
    """End a run whose worker is gone: canceled when that was requested, else failed. A run that has ended stays
    unchanged. Returns the run's status then, 'UNKNOWN' when there is no such run."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return "UNKNOWN"
    if run.is_finished:
        return run.status.value
    if tags:
        instance.add_run_tags(run_id, tags)
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, message)
        return DagsterRunStatus.CANCELED.value
    instance.report_run_failed(run, message)
    return DagsterRunStatus.FAILURE.value


def cancel(instance: DagsterInstance, run_id: str) -> None:
    """Mark a run as being canceled, so that its interruption is not a failure."""
    run = instance.get_run_by_id(run_id)
    if run is not None and not run.is_finished and run.status != DagsterRunStatus.CANCELING:
        instance.report_run_canceling(run)


_WAITS = frozenset({DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING})


def start_given(instance: DagsterInstance, run_id: str, tags: Mapping[str, str]) -> DagsterRun | None:
    """Mark a run that Dagster made as started, with these tags added. Safe to repeat. None when it no longer waits: it
    has ended, was deleted, or was to be cancelled, in which case it is cancelled now."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return None
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run)
        return None
    if run.status not in _WAITS:
        return None
    instance.add_run_tags(run_id, tags)
    _report(instance, run, DagsterEventType.RUN_STARTING)
    return run._replace(tags={**run.tags, **tags})


def queued_again(instance: DagsterInstance, run: DagsterRun) -> None:
    """Show a run whose start failed as queued again."""
    _report(instance, run, DagsterEventType.RUN_ENQUEUED)


def _report(instance: DagsterInstance, run: DagsterRun, kind: DagsterEventType) -> None:
    event = DagsterEvent(event_type_value=kind.value, job_name=run.job_name)
    instance.report_dagster_event(event, run_id=run.run_id)
