"""Commands for the queue: kordant-jobs enqueue | requests … | dead …"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from kordant_jobs import outside_json
from kordant_jobs.catalog import enqueue_named, job_row
from kordant_jobs.cli.arguments import actor, id_of
from kordant_jobs.cli.output import EXIT_FAILED, AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.engine import Priority
from kordant_jobs.engine.control import Cause, Filter, Request, RequestStatus, operate
from kordant_jobs.errors import SettingsError

requests_app = typer.Typer(help="Requests: what waits, runs and has ended.", no_args_is_help=True)
dead_app = typer.Typer(help="Dead letters: requests whose last attempt failed.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which requests are meant.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Requests by id; none: those that the options name.")]
Job = Annotated[str | None, typer.Option("--job", help="Only this job, by name or alias.")]
Status = Annotated[str | None, typer.Option("--status", help="pending, running, completed, dead, cancelled, expired.")]
Entity = Annotated[str | None, typer.Option("--entity", help="Only what is about this entity, by id.")]
CauseName = Annotated[
    str | None, typer.Option("--cause", help="exception, timeout, memory, cpu, killed, lost or invalid.")
]
ErrorContains = Annotated[str | None, typer.Option("--error", help="Only those whose error holds these words.")]
OlderThan = Annotated[float | None, typer.Option("--older-than-days", help="Only those that ended before that.")]
All = Annotated[bool, typer.Option("--all", help="Mean every one, when nothing else narrows it.")]
Limit = Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")]
PriorityName = Annotated[str | None, typer.Option("--priority", help="critical, high, normal or low.")]
Moment = Annotated[str | None, typer.Option("--run-at", help="ISO moment with a zone, as 2026-11-21T12:00:00+00:00.")]


def _priority(text: str | None) -> Priority | None:
    if text is None:
        return None
    if text.upper() not in Priority.__members__:
        raise SettingsError(f"--priority {text}: choose one of {', '.join(one.word for one in Priority)}.")
    return Priority[text.upper()]


def _moment(text: str | None) -> datetime | None:
    try:
        moment = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if text is not None and (moment is None or moment.tzinfo is None):
        raise SettingsError("--run-at must be a moment with a zone, as 2026-11-21T12:00:00+00:00.")
    return moment


def _request_id(connection: Connection, text: str) -> UUID:
    return id_of(connection, operate.REQUEST_ID, text, "request", "`kordant-jobs requests list`")


def _filter(
    ids: list[str] | None = None,
    *,
    job: str | None = None,
    status: str | None = None,
    entity: str | None = None,
    cause: str | None = None,
    error: str | None = None,
    older_than_days: float | None = None,
    everything: bool = True,
) -> Filter:
    """The filter for the selected requests.

    Raises:
        SettingsError: a word is not one of its set, or no option selects requests and `everything` is false.
    """
    if status is not None and status not in set(RequestStatus):
        raise SettingsError(f"--status {status}: choose one of {', '.join(RequestStatus)}.")
    if cause is not None and cause not in set(Cause):
        raise SettingsError(f"--cause {cause}: choose one of {', '.join(Cause)}.")
    if not everything and not ids and (job, entity, cause, error, older_than_days) == (None,) * 5:
        raise SettingsError("name the requests: ids, --job, --entity, --cause, --error, --older-than-days, or --all.")
    days = None if older_than_days is None else timedelta(days=older_than_days)
    return Filter(
        job=job_row(job).name if job else None,
        statuses=(RequestStatus(status),) if status else None,
        entity_key=entity,
        cause=Cause(cause) if cause else None,
        error_like=error,
        ended_before=None if days is None else datetime.now(UTC) - days,
    )


def _shown(one: Request) -> dict[str, Any]:
    facts = asdict(one)
    return {**facts, "priority": one.priority.word, "partial": one.partial}


def _print_requests(found: Sequence[Request], *, as_json: bool) -> None:
    if as_json:
        print_json([_shown(one) for one in found])
        return
    print_table(
        ["id", "job", "by", "state", "priority", "due (UTC)", "try", "progress", "run", "cause", "error"],
        [
            (
                one.id,
                one.job,
                one.requested_by,
                "partial" if one.partial else one.status.value,
                one.priority.word,
                f"{one.run_at.astimezone(UTC):%m-%d %H:%M}",
                one.attempt,
                f"{one.progress.done}/{one.progress.total}" if one.progress.total else None,
                one.run_id and one.run_id[:8],
                one.cause,
                one.error,
            )
            for one in found
        ],
    )


def _act(
    what: str,
    act: Callable[[Connection, Filter], list[UUID]],
    where: Filter,
    ids: Sequence[str] | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Apply an action to the selected requests. Ids that are not among them are listed, with exit code 1."""
    with open_session() as session, session.db.begin() as connection:
        named = tuple(_request_id(connection, one) for one in ids or ())
        done = act(connection, replace(where, ids=named) if named else where)
    left = [one for one in named if one not in done]
    if as_json:
        print_json({"dry_run": dry_run, "requests": [str(one) for one in done], "left": [str(one) for one in left]})
    else:
        for request in done:
            out.print(str(request))
        words = "1 request" if len(done) == 1 else f"{len(done):,} requests"
        err.print(f"{words} {'would be ' if dry_run else ''}{what}")
        for request in left:
            err.print(f"{request} is left as it is: see `kordant-jobs requests show {request}`")
    if left:
        raise typer.Exit(EXIT_FAILED)


def enqueue(
    job: Annotated[str, typer.Argument(help="The job, by name or alias.")],
    payload: Annotated[str, typer.Argument(help="Its payload as JSON; ids only.")] = "{}",
    priority: PriorityName = None,
    run_at: Moment = None,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency key: the same key is the same request.")] = None,
    window_hours: Annotated[float, typer.Option(min=0.001, help="For how long the key counts.")] = 24.0,
    entity: Annotated[str | None, typer.Option("--entity", help="What it is about, by id.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="For whom, by id.")] = None,
    as_json: AsJson = False,
) -> None:
    """Queue a request of a job; `up` starts it at once. For example: enqueue darkwatch.scan '{"tiers": ["premium"]}'.
    A field of the payload that is wrong is named, and nothing is queued."""
    try:
        fields = outside_json.loads(payload)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise SettingsError('the payload must be a JSON object, as \'{"tiers": ["premium"]}\'.')
    with open_session() as session, session.db.begin() as connection:
        request_id = enqueue_named(
            connection,
            job,
            fields,
            requested_by=actor(),
            priority=_priority(priority),
            run_at=_moment(run_at),
            idempotency_key=key,
            window=timedelta(hours=window_hours),
            entity_key=entity,
            tenant=tenant,
        )
    print_json({"id": str(request_id)}) if as_json else out.print(str(request_id))
    if not session.settings.has_queue:
        err.print("It waits until `up` runs without KORDANT_LAUNCHER=stock: Dagster's own launcher serves no queue.")


@requests_app.command("list")
def requests_list(
    job: Job = None, status: Status = None, entity: Entity = None, limit: Limit = 50, as_json: AsJson = False
) -> None:
    """List requests, the newest first."""
    where = _filter(job=job, status=status, entity=entity)
    with open_session() as session, session.db.connect() as connection:
        found = operate.find(connection, where, limit=limit)
    _print_requests(found, as_json=as_json)


@requests_app.command("show")
def requests_show(request: Annotated[str, typer.Argument(help="The request's id.")], as_json: AsJson = False) -> None:
    """Show one request with its payload, progress, result and every attempt."""
    with open_session() as session, session.db.connect() as connection:
        found = operate.inspect(connection, _request_id(connection, request))
    if as_json:
        print_json({**_shown(found.request), "attempts": [asdict(one) for one in found.attempts]})
        return
    print_facts({name: value for name, value in _shown(found.request).items() if value is not None})
    columns = ["attempt", "run_id", "worker", "started_at", "ended_at", "outcome", "cause", "cpu_s", "peak_memory_mb"]
    rows = [tuple(getattr(one, name) for name in [*columns, "error"]) for one in found.attempts]
    print_table([*columns, "error"], rows, title="attempts")


@requests_app.command("cancel")
def requests_cancel(
    ids: Ids = None, job: Job = None, entity: Entity = None, everything: All = False, dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Cancel waiting requests; running ones are asked to stop, and stopped after the grace time."""
    where = _filter(ids, job=job, entity=entity, everything=everything)
    now = datetime.now(UTC)
    _act(
        "cancelled",
        lambda c, meant: operate.cancel(c, meant, now=now, dry_run=dry_run),
        where,
        ids,
        dry_run=dry_run,
        as_json=as_json,
    )


@requests_app.command("reprioritise")
def requests_reprioritise(
    ids: Ids = None, job: Job = None, entity: Entity = None, everything: All = False, priority: PriorityName = None,
    run_at: Moment = None, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give waiting requests another priority or time."""
    where = _filter(ids, job=job, entity=entity, everything=everything)
    level, moment = _priority(priority), _moment(run_at)
    if level is None and moment is None:
        raise SettingsError("say what to change: --priority, --run-at, or both.")
    _act(
        "changed",
        lambda c, meant: operate.reprioritise(c, meant, priority=level, run_at=moment, dry_run=dry_run),
        where,
        ids,
        dry_run=dry_run,
        as_json=as_json,
    )


@dead_app.command("list")
def dead_list(
    job: Job = None, cause: CauseName = None, error: ErrorContains = None, older_than_days: OlderThan = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Only those that are not acknowledged.")] = False,
    limit: Limit = 50, as_json: AsJson = False,
) -> None:  # fmt: skip
    """List dead requests, the newest first."""
    where = _filter(job=job, cause=cause, error=error, older_than_days=older_than_days, status="dead")
    with open_session() as session, session.db.connect() as connection:
        found = operate.find(connection, replace(where, acknowledged=False if unseen else None), limit=limit)
    _print_requests(found, as_json=as_json)


@dead_app.command("show")
def dead_show(request: Annotated[str, typer.Argument(help="The request's id.")], as_json: AsJson = False) -> None:
    """Show one dead request: its error, attempts and runs."""
    requests_show(request, as_json)


@dead_app.command("replay")
def dead_replay(
    ids: Ids = None, job: Job = None, cause: CauseName = None, error: ErrorContains = None,
    older_than_days: OlderThan = None, everything: All = False, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Queue dead requests again, with all their retries."""
    where = _filter(ids, job=job, cause=cause, error=error, older_than_days=older_than_days, everything=everything)
    now = datetime.now(UTC)
    _act(
        "replayed",
        lambda c, meant: operate.replay(c, meant, now=now, dry_run=dry_run),
        where,
        ids,
        dry_run=dry_run,
        as_json=as_json,
    )


@dead_app.command("ack")
def dead_ack(
    ids: Ids = None, job: Job = None, cause: CauseName = None, error: ErrorContains = None,
    older_than_days: OlderThan = None, everything: All = False, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Mark dead requests as seen: they stay, and no alarm counts them."""
    where = _filter(ids, job=job, cause=cause, error=error, older_than_days=older_than_days, everything=everything)
    now, who = datetime.now(UTC), actor()
    _act(
        "acknowledged",
        lambda c, meant: operate.acknowledge(c, meant, by=who, now=now, dry_run=dry_run),
        where,
        ids,
        dry_run=dry_run,
        as_json=as_json,
    )


@dead_app.command("expire")
def dead_expire(
    ids: Ids = None, job: Job = None, cause: CauseName = None, error: ErrorContains = None,
    older_than_days: OlderThan = None, everything: All = False, dry_run: DryRun = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give up dead requests for good."""
    where = _filter(ids, job=job, cause=cause, error=error, older_than_days=older_than_days, everything=everything)
    _act(
        "expired",
        lambda c, meant: operate.expire(c, meant, dry_run=dry_run),
        where,
        ids,
        dry_run=dry_run,
        as_json=as_json,
    )
