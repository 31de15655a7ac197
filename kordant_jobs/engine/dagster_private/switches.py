"""The switches of schedules in Dagster's UI."""

from __future__ import annotations

from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType


def switched_off(instance: DagsterInstance) -> set[str]:
    """Names of the schedules that were switched off in Dagster's UI or with its command line."""
    off = instance.all_instigator_state(
        instigator_type=InstigatorType.SCHEDULE, instigator_statuses={InstigatorStatus.STOPPED}
    )
    return {one.instigator_name for one in off}
