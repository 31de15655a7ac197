"""The one shape of a job: its payload is its run config, its functions get what they name, its partitions are held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal
from uuid import UUID, uuid4

import dagster as dg
import pytest
from dagster import serialize_value
from pydantic import AwareDatetime, Field
from sqlalchemy import Engine

from kordant_jobs.catalog import CATALOG
from kordant_jobs.definitions import JOBS
from kordant_jobs.engine.job_shapes import Partitions, Report, Summary, one_op_job, sharded_job
from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.ops import ITEMS_FAILED
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.queue.recorded import AsStarted, claimed_payload, payload_of_run, run_of
from kordant_jobs.engine.store.progress import read_progress
from kordant_jobs.errors import PermanentError

DAYS = dg.DailyPartitionsDefinition(start_date="2026-11-01")


class Survey(Payload):
    """Counties to survey."""

    job: ClassVar[str] = "survey"

    counties: tuple[str, ...] = Field((), description="Only these.")
    depth: Literal["short", "long"] = "short"
    since: AwareDatetime | None = None
    parcel: UUID | None = None
    shares: dict[str, float] = Field({})


ROW = JobRow(
    name="survey",
    alias="tests.survey",
    purpose="tests",
    started_by="tests",
    payload=Survey,
    partitions=("north",),
    timeout_s=60,
    cpu_s=60,
    memory_mb=256,
    concurrency=1,
)


@dataclass(frozen=True, kw_only=True)
class SurveyPlan:
    depth: str
    chunks: tuple[str, ...]

    @property
    def total(self) -> int:
        return len(self.chunks)


def plan(payload: Survey, report: Report) -> SurveyPlan:
    """Choose the counties."""
    report.show({"counties": len(payload.counties)})
    return SurveyPlan(depth=payload.depth, chunks=payload.counties)


def measure(plan: SurveyPlan, chunk: str, report: Report, rod: str) -> str:
    report.progress.advance(1, "measuring")
    report.warn(f"{chunk} is wet")
    return f"{chunk} {plan.depth} {rod}"


def ask_neighbours(plan: SurveyPlan) -> list[int]:
    return [plan.total]


def record(results: list[str], ask_neighbours: list[int]) -> str:
    return " + ".join(results) + f" = {ask_neighbours[0]}"


def finish(results: list[str], record: str, report: Report) -> Summary:
    report.info(record)
    return Summary({"measured": len(results)}, items_failed=results.count("wet short iron"))


def day_of(day: dg.TimeWindow) -> Survey:
    return Survey(counties=("Kings",), since=day.start)


class Part(StrEnum):
    NORTH = "north"


NORTH = {"north": Partitions(DAYS, day_of, "a day", {"tests/part": Part.NORTH})}
JOB = sharded_job(
    ROW,
    service="title",
    plan=plan,
    work=measure,
    finish=finish,
    beside=[ask_neighbours],
    record=record,
    partitions=NORTH,
)


def run(db: Engine, job: dg.JobDefinition = JOB.plain, **how: Any) -> dg.ExecuteInProcessResult:
    return job.execute_in_process(resources={"db": db, "rod": "iron"}, **how)


def configured(**config: Any) -> dict[str, Any]:
    return {"ops": {"plan": {"config": config}}}


def config_fields(job: dg.JobDefinition) -> dict[str, Mapping[str, Any]]:
    """By op, the fields of its config."""
    root: Any = job.run_config_schema.config_type
    ops = root.fields["ops"].config_type.fields
    return {name: op.config_type.fields["config"].config_type.fields for name, op in ops.items()}


def test_functions_get_what_they_name_and_the_last_one_gives_the_figures(db: Engine) -> None:
    done = run(db, run_config=configured(counties=["wet", "dry"], depth="short"))
    assert done.output_for_node("record") == "wet short iron + dry short iron = 2"
    assert done.output_for_node("finish") == {"measured": 2}
    (last,) = [event for event in done.all_events if event.is_successful_output and event.step_key == "finish"]
    assert {name: one.value for name, one in last.step_output_data.metadata.items()} == {"measured": 2, ITEMS_FAILED: 1}
    reading = read_progress(db, done.run_id)
    assert reading
    assert (reading.done, reading.total, reading.message) == (2, 2, "done")


def test_a_plan_without_chunks_is_a_run_that_finishes(db: Engine) -> None:
    assert run(db).output_for_node("finish") == {"measured": 0}


def test_the_launchpad_gets_types_defaults_choices_and_words() -> None:
    shown = config_fields(JOB.plain)["plan"]
    assert set(shown) == set(Survey.model_fields)
    assert (shown["counties"].description, shown["counties"].default_value) == ("Only these.", [])
    assert [one.config_value for one in shown["depth"].config_type.enum_values] == ["short", "long"]
    assert "with its zone" in shown["since"].description
    with pytest.raises(dg.DagsterInvalidConfigError, match="depth"):
        dg.validate_run_config(JOB.plain, configured(depth="deep"))


def test_what_dagster_cannot_check_is_refused_by_the_model_and_the_field_named(db: Engine) -> None:
    with pytest.raises(dg.Failure, match=r"survey: payload.parcel: Input should be a valid UUID") as caught:
        run(db, run_config=configured(parcel="x"))
    assert not caught.value.allow_retries
    with pytest.raises(PermanentError, match=r"survey: payload.parcel: Input should be a valid UUID"):
        claimed_payload(ROW, {"parcel": "x"})


@pytest.mark.parametrize("row", CATALOG, ids=lambda row: row.name)
def test_each_job_of_the_catalogue_reads_the_whole_payload_of_its_row_and_no_other_config(row: JobRow) -> None:
    (jobs,) = [one for one in JOBS if one.row is row]
    assert sorted(job.name for job in jobs.all) == sorted(row.dagster_jobs)
    for job in jobs.all:
        reading = {name: set(fields) for name, fields in config_fields(job).items() if fields}
        assert reading == {row.payload.op: set(row.payload.model_fields)}


def test_a_payload_that_a_job_does_not_read_is_refused_and_not_dropped() -> None:
    """Whatever the payload, its run config names the op that must read it; `{}` is the config of no payload."""

    @dg.op
    def deaf() -> None: ...

    @dg.job(name="deaf_job")
    def deaf_job() -> None:
        deaf()

    for payload in (Survey(counties=("Kings",)), Survey()):
        with pytest.raises(dg.DagsterInvalidConfigError):
            dg.validate_run_config(deaf_job, Survey.run_config([payload]))


def test_config_of_an_op_that_reads_none_is_refused() -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="counties"):
        dg.validate_run_config(JOB.plain, {"ops": {"measure": {"config": {"counties": ["Kings"]}}}})


def test_an_op_that_is_not_the_payloads_is_no_job() -> None:
    def scan(payload: Survey) -> Summary:
        return Summary({})

    with pytest.raises(ValueError, match=r"its first op is 'scan', but Survey.op is 'plan'"):
        one_op_job(ROW, service="title", run=scan, partitions=NORTH)


def test_partitions_that_the_row_does_not_name_are_no_job() -> None:
    with pytest.raises(ValueError, match="the row has partitions"):
        sharded_job(ROW, service="title", plan=plan, work=measure, finish=finish)


def test_jobs_are_plain_enough_for_a_code_server_to_send() -> None:
    for job in JOB.all:
        assert {type(value) for value in job.tags.values()} == {str}
        serialize_value(job.get_job_snapshot())


def test_a_partition_runs_its_own_window(db: Engine) -> None:
    (north,) = JOB.partitioned
    assert (north.name, dict(north.tags)) == (
        "survey_north",
        {".dagster/kordant_service": "title", "tests/part": "north"},
    )
    done = run(db, north, partition_key="2026-11-18")
    assert done.output_for_node("finish") == {"measured": 1}


@pytest.mark.parametrize(
    ("job", "tags", "config", "says"),
    [
        ("survey_north", {"dagster/partition": "2025-01-01"}, {}, "2025-01-01 is no partition of survey_north"),
        ("survey_north", {"dagster/partition": "yesterday"}, {}, "yesterday is no partition of survey_north"),
        ("survey", {"dagster/partition": "2026-11-18"}, {}, "2026-11-18 is no partition of survey"),
        ("survey_north", {}, {}, "None is no partition of survey_north"),
        ("survey_north", {"dagster/partition": "2026-11-18"}, {"counties": ["Kings"]}, "not the one of partition"),
    ],
)
def test_a_partition_that_is_none_or_is_configured_otherwise_does_no_work(
    db: Engine, job: str, tags: dict[str, str], config: dict[str, Any], says: str
) -> None:
    (made,) = [one for one in JOB.all if one.name == job]
    done = run(db, made, run_config=configured(**config), tags=tags, raise_on_error=False)
    assert not done.success
    assert says in str([event.event_specific_data for event in done.all_events])


def test_what_dagster_started_is_a_payload_and_a_retry_starts_the_same() -> None:
    parcel = str(uuid4())
    started = AsStarted(job="survey", config={**configured(parcel=parcel), "loggers": {"console": {}}})
    kept = payload_of_run(ROW, started)
    assert kept == Survey(parcel=UUID(parcel))
    claimed = claimed_payload(ROW, kept.model_dump(mode="json"))
    assert run_of(ROW, [claimed]) == AsStarted(job="survey", config=configured(parcel=parcel))


def test_a_retry_of_a_partition_is_of_the_same_job_and_partition() -> None:
    config = Survey.run_config([day_of(DAYS.time_window_for_partition_key("2026-11-18"))])
    started = AsStarted(job="survey_north", config=config, partition_key="2026-11-18")
    kept = payload_of_run(ROW, started).model_dump(mode="json")
    assert run_of(ROW, [claimed_payload(ROW, kept)]) == started


def test_a_run_that_was_refused_is_kept_as_it_came_and_refused_again() -> None:
    kept = payload_of_run(ROW, AsStarted(job="survey", config=configured(parcel="x"))).model_dump(mode="json")
    assert kept == {"parcel": "x"}
    with pytest.raises(PermanentError, match=r"payload\.parcel"):
        claimed_payload(ROW, kept)


def test_no_one_sends_in_a_partition_of_another_job() -> None:
    with pytest.raises(PermanentError, match=r"survey: payload\.partition: Extra inputs are not permitted"):
        claimed_payload(ROW, {"partition": {"job": "cleanup", "key": "2026-11-18"}, "payload": {}})
