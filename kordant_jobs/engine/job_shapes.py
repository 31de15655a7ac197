"""The one shape of a job in Dagster: plan → work in chunks → record → finish, or a single op.

A job gives plain functions; `sharded_job` and `one_op_job` make its Dagster jobs of them. The run config of the first
op is the job's payload, checked once. What a function is given goes by the names of its parameters:

    payload       the job's payload (first op only)
    plan          what `plan` returned
    chunk         one of `plan.chunks` (`work` only)
    results       what `work` returned, a value a chunk (`record` and `finish`)
    <function>    what the function of that name returned, for those in `beside` and for `record`
    report        the run's `Report`: progress, warnings, figures of this op
    now           the time, UTC
    anything else the resource of that name

A scan of counties, a shard each, with its partitions:

    @dataclass(frozen=True, kw_only=True)
    class TitlePlan:
        chunks: tuple[tuple[str, ...], ...]        # counties, at most 16 chunks
        total: int                                 # parcels: what progress counts up to

    def plan(payload: HometitleScan, db: Engine) -> TitlePlan: ...

    def compare(plan: TitlePlan, chunk: tuple[str, ...], report: Report, db: Engine, counties: Counties) -> Compared:
        compared = service.compare(chunk, db=db, counties=counties, progress=report.progress)
        for county in compared.stale:
            report.warn(f"{county} has no new records since {compared.as_of}")
        return compared

    def finish(results: list[Compared]) -> Summary:
        whole = sum(results, Compared())
        return Summary(asdict(whole), items_failed=whole.unreadable)

    JOBS = sharded_job(
        BY_NAME["hometitle_scan"],
        service="hometitle",
        plan=plan,
        work=compare,
        finish=finish,
        partitions={tier: Partitions(DAYS, partial(day_of, tier), "a day a partition") for tier in Tier},
    )

`removebrokers_process`, `voiceprint_batch` and `bank_sync` chunk brokers, clips and accounts the same way;
`insights_refresh` and `cleanup` chunk ranges of ids and kinds; `agent_workflow` is a `one_op_job`.
(No `annotations` future here, only here: Dagster reads the annotations of ops as objects.)
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import dagster as dg

from kordant_jobs.engine.config_schema import config_schema
from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.ops import op_body, report_figures
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.runs import HIDDEN
from kordant_jobs.engine.store.progress import Progress
from kordant_jobs.errors import PermanentError

CHUNKS_MAX = 16
"""The most chunks of one run. A mapped op costs 17 to 28 ms and 11 kB of event log, so a chunk should be much work, not
one item."""

Step = Callable[..., Any]


class Plan(Protocol):
    """The result of the first op of a sharded job: ids only, since Dagster stores it."""

    @property
    def chunks(self) -> Sequence[Any]:
        """The chunks of work; none is empty."""

    @property
    def total(self) -> int:
        """The total work in the job's own unit: `report.progress` counts up to it."""


@dataclass(frozen=True)
class Summary:
    """The result of a run, in figures. With `items_failed` above 0 its request ends as completed in part."""

    figures: Mapping[str, int]
    items_failed: int = 0


@dataclass(frozen=True)
class Partitions:
    """A Dagster job with partitions, beside the plain one. Each partition is a window of time; `payload` makes the
    payload of a window."""

    windows: dg.TimeWindowPartitionsDefinition
    payload: Callable[[dg.TimeWindow], Payload]
    purpose: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def payload_of(self, key: str) -> Payload:
        """The payload of the partition `key`."""
        return self.payload(self.windows.time_window_for_partition_key(key))


class Report:
    """The reports that an op makes while it works. None of them names a person."""

    def __init__(self, context: dg.OpExecutionContext, progress: Progress, output: str) -> None:
        self.progress = progress
        self._context = context
        self._output = output

    def warn(self, text: str) -> None:
        """Log something that an operator should know; the run goes on."""
        self._context.log.warning(text)

    def info(self, text: str) -> None:
        """Log something that explains the run."""
        self._context.log.info(text)

    def show(self, figures: Mapping[str, Any]) -> None:
        """Show figures of this op in Dagster's UI."""
        self._context.add_output_metadata(figures, output_name=self._output)


@dataclass(frozen=True)
class Jobs:
    """The Dagster jobs of one row."""

    row: JobRow
    plain: dg.JobDefinition
    partitioned: tuple[dg.JobDefinition, ...] = ()

    @property
    def all(self) -> tuple[dg.JobDefinition, ...]:
        """The plain job, and those with partitions."""
        return (self.plain, *self.partitioned)


def sharded_job(
    row: JobRow,
    *,
    service: str,
    plan: Step,
    work: Step,
    finish: Step,
    beside: Sequence[Step] = (),
    record: Step | None = None,
    partitions: Mapping[str, Partitions] | None = None,
) -> Jobs:
    """The jobs of `row`. `plan` returns a `Plan`, `work` handles one of its chunks, `finish` returns a `Summary`. Steps
    in `beside` run once, in parallel to the chunks; `record` runs after all of them. `partitions` is keyed by the names
    in `row.partitions`. Ops are named after their functions."""
    made = _Ops(row, partitions or {})
    first = made.first(plan, chunked=True)
    others = [(made.step(one, {"plan"}), one.__name__) for one in beside]
    names = {"plan", "results", *(name for _, name in others)}
    middle = made.step(record, names) if record else None
    last = made.step(finish, names | ({record.__name__} if record else set()), last=True)
    worker = made.step(work, {"plan", "place"})

    @dg.graph(name=row.name, description=row.purpose)
    def graph() -> None:
        planned, places = first()
        given = {"plan": planned, "results": places.map(lambda place: worker(plan=planned, place=place)).collect()}
        given |= {name: one(plan=planned) for one, name in others}
        if record and middle:
            given[record.__name__] = middle(**given)
        last(**given)

    return made.jobs(graph, service)


def one_op_job(row: JobRow, *, service: str, run: Step, partitions: Mapping[str, Partitions] | None = None) -> Jobs:
    """The jobs of `row` when its work is one op: `run` gets the payload and returns a `Summary`."""
    made = _Ops(row, partitions or {})
    only = made.first(run, chunked=False)

    @dg.graph(name=row.name, description=row.purpose)
    def graph() -> None:
        only()

    return made.jobs(graph, service)


class _Ops:
    """Makes the ops and jobs of one row. Op definitions carry the row's name, since Dagster requires unique names; in
    the job each op is named after its function."""

    def __init__(self, row: JobRow, partitions: Mapping[str, Partitions]) -> None:
        if set(partitions) != set(row.partitions):
            raise ValueError(f"{row.name}: the row has partitions {row.partitions}, its job {tuple(partitions)}.")
        self._row = row
        self._by_job = {f"{row.name}_{name}": one for name, one in partitions.items()}

    def first(self, function: Step, *, chunked: bool) -> Any:
        """The op that reads the payload."""
        row, output = self._row, "plan" if chunked else "result"
        if row.payload.op != function.__name__:
            raise ValueError(
                f"{row.name}: its first op is {function.__name__!r}, but {row.payload.__name__}.op is "
                f"{row.payload.op!r}: make them the same."
            )

        def compute(context: dg.OpExecutionContext) -> Iterator[Any]:
            with op_body(context, context.resources.db) as progress:
                progress.start(0, _words(function))
                payload = row.payload.checked(context.op_config)
                self._check_partition(context, payload)
                made = _call(function, context, Report(context, progress, output), {"payload": payload})
                if chunked:
                    progress.expect(made.total, "planned")
                else:
                    made = _finished(context, progress, made)
            yield dg.Output(made, output)
            for place in range(len(made.chunks) if chunked else 0):
                yield dg.DynamicOutput(place, mapping_key=f"{place:02d}", output_name="chunk")

        outs: dict[str, Any] = {output: dg.Out(), **({"chunk": dg.DynamicOut(int)} if chunked else {})}
        schema = dict(config_schema(row.payload))
        return self._op(function, compute, given={"payload"}, ins={}, out=outs, config_schema=schema)

    def step(self, function: Step, given: set[str], *, last: bool = False) -> Any:
        """An op after the first. It waits for all of `given`, and loads those that its function has as parameters."""
        taken = set(inspect.signature(function).parameters)
        if "chunk" in taken and "place" in given:
            taken |= {"plan", "place"}

        def compute(context: dg.OpExecutionContext, **inputs: Any) -> Any:
            with op_body(context, context.resources.db) as progress:
                progress.flush(_words(function))
                if "place" in inputs:
                    inputs["chunk"] = inputs["plan"].chunks[inputs.pop("place")]
                made = _call(function, context, Report(context, progress, "result"), inputs)
                return _finished(context, progress, made) if last else made

        ins = {name: dg.In() if name in taken else dg.In(dg.Nothing) for name in sorted(given)}
        return self._op(function, compute, given=given | {"chunk"}, ins=ins, out={"result": dg.Out()}, config_schema={})

    def _op(self, function: Step, compute: Step, *, given: set[str], **more: Any) -> Any:
        asked = set(inspect.signature(function).parameters) - given - {"report", "now"}
        made = dg.op(
            name=f"{self._row.name}__{function.__name__}",
            description=inspect.getdoc(function),
            required_resource_keys={"db", *asked},
            **more,
        )(compute)
        return made.alias(function.__name__)

    def _check_partition(self, context: dg.OpExecutionContext, payload: Payload) -> None:
        """Refuse a run with another partition key than its config says, since Dagster's launchRun accepts any key, or
        none.

        Raises:
            PermanentError: the job has no partition with this key, or the config is not that partition's window.
        """
        job, own = context.job_name, self._by_job.get(context.job_name)
        key = context.partition_key if context.has_partition_key else None
        if own is None and key is None:
            return
        if own is None or key is None or not own.windows.has_partition_key(key):
            raise PermanentError(f"{key} is no partition of {job}: take one that its Partitions page shows.")
        if payload != own.payload_of(key):
            raise PermanentError(f"the run config is not the one of partition {key}; launch it from the partition.")

    def jobs(self, graph: dg.GraphDefinition, service: str) -> Jobs:
        """The plain job of a graph, and one for each kind of partition."""
        row, common = self._row, {f"{HIDDEN}service": service}
        plain = graph.to_job(name=row.name, description=row.purpose, tags=common, executor_def=dg.in_process_executor)
        return Jobs(
            row,
            plain,
            tuple(
                graph.to_job(
                    name=name,
                    description=f"{row.name}: {one.purpose}",
                    tags={**common, **{name: str(value) for name, value in one.tags.items()}},
                    config=_partitioned_config(row, one),
                    executor_def=dg.in_process_executor,
                )
                for name, one in self._by_job.items()
            ),
        )


def _partitioned_config(row: JobRow, own: Partitions) -> dg.PartitionedConfig[Any]:
    @dg.partitioned_config(partitions_def=own.windows)
    def config_of(key: str) -> dict[str, Any]:
        return row.payload.run_config([own.payload_of(key)])

    return config_of


def _call(function: Step, context: dg.OpExecutionContext, report: Report, inputs: Mapping[str, Any]) -> Any:
    ours = {"report": report, "now": datetime.now(UTC), **inputs}
    names = inspect.signature(function).parameters
    return function(**{name: ours[name] if name in ours else getattr(context.resources, name) for name in names})


def _finished(context: dg.OpExecutionContext, progress: Progress, summary: Summary) -> dict[str, int]:
    report_figures(context, summary.figures, items_failed=summary.items_failed)
    progress.end("done")
    return dict(summary.figures)


def _words(function: Step) -> str:
    return function.__name__.replace("_", " ")
