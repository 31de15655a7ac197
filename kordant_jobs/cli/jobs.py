"""Commands for jobs as a whole: kordant-jobs jobs list | history | trends | cost | pause | resume."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from kordant_jobs.catalog import CATALOG, job_row
from kordant_jobs.cli.arguments import actor
from kordant_jobs.cli.output import AsJson, out, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.engine.control import operate

jobs_app = typer.Typer(help="Jobs: what there is, and which are paused.", no_args_is_help=True)

Job = Annotated[str, typer.Argument(help="The job, by name or alias.")]


@jobs_app.command("list")
def jobs_list(as_json: AsJson = False) -> None:
    """List every job with its limits, and whether it is paused."""
    with open_session() as session, session.db.connect() as connection:
        paused = {one.job: one for one in operate.paused(connection)}
    rows = [
        {
            "job": row.name,
            "alias": row.alias,
            "priority": row.priority.word,
            "at_once": row.concurrency,
            "paused": asdict(paused[row.name]) if row.name in paused else None,
        }
        for row in CATALOG
    ]
    if as_json:
        print_json(rows)
        return
    reasons = {name: one.reason for name, one in paused.items()}
    print_table(
        ["job", "also called", "priority", "at once", "paused"],
        [(row.name, row.alias, row.priority.word, row.concurrency, reasons.get(row.name)) for row in CATALOG],
    )


@jobs_app.command("history")
def jobs_history(
    weeks: Annotated[int, typer.Option(min=1, max=57, help="So many weeks, this one included.")] = 4,
    job: Annotated[str | None, typer.Option("--job", help="Only this job, by name or alias.")] = None,
    as_json: AsJson = False,
) -> None:
    """List attempts by job and week: successes, durations, costs. Kept for 400 days."""
    from kordant_jobs.observability import history

    wanted = job_row(job).name if job else None
    with open_session() as session, session.db.connect() as connection:
        found = history.weekly(connection, weeks=weeks, now=datetime.now(UTC), job=wanted)
    rows = [asdict(one) for one in found]
    if as_json:
        print_json(rows)
        return
    shown = [[f"{one:,.0f}" if isinstance(one, float) else one for one in row.values()] for row in rows]
    print_table(["week of", "job", "attempts", "ended well", "p50 ms", "p95 ms", "mean ms", "CPU s"], shown)


@jobs_app.command("trends")
def jobs_trends(
    by: Annotated[Literal["slow", "failing"], typer.Option(help="What comes first.")] = "slow",
    as_json: AsJson = False,
) -> None:
    """List the slowest or most failing jobs of this week, compared with the week before."""
    from kordant_jobs.observability import history

    now = datetime.now(UTC)
    with open_session() as session, session.db.connect() as connection:
        found = history.weekly(connection, weeks=2, now=now)
    trends = list(history.trends(found, week_of=history.mondays(now, 1)[0].date()))
    if by == "failing":
        trends.sort(key=lambda one: (-one.failed_share, one.job))
    rows = [asdict(one) for one in trends]
    if as_json:
        print_json(rows)
        return
    shares = ("failed_share", "failed_before")
    shown = [
        [
            value if not isinstance(value, float) else f"{value:.1%}" if name in shares else f"{value:,.0f}"
            for name, value in row.items()
        ]
        for row in rows
    ]
    print_table(["job", "attempts", "p95 ms", "before", "failed", "before", "CPU s", "before"], shown)


@jobs_app.command("cost")
def jobs_cost(
    weeks: Annotated[int, typer.Option(min=1, max=520, help="So many weeks, this one included.")] = 4,
    as_json: AsJson = False,
) -> None:
    """List CPU seconds by week, job and tier, and per subscription. Accurate to the hour; kept for good."""
    from kordant_jobs.observability import history

    with open_session() as session:
        history.keep_costs(session.db)
        with session.db.connect() as connection:
            found = history.costs(connection, weeks=weeks, now=datetime.now(UTC))
    rows = [{**asdict(one), "per_subscription_s": one.per_subscription_s} for one in found]
    if as_json:
        print_json(rows)
        return
    shown = [
        [one.week_of, one.job, one.tier or "–", f"{one.cpu_s:,.1f}", one.subscriptions or "–",
         "–" if one.per_subscription_s is None else f"{one.per_subscription_s:,.3f}"]
        for one in found
    ]  # fmt: skip
    print_table(["week of", "job", "tier", "CPU s", "subscriptions", "CPU s each"], shown)


@jobs_app.command("pause")
def jobs_pause(
    job: Job,
    reason: Annotated[str, typer.Option("--reason", help="Why; `jobs list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Start no runs of a job, however they are requested; requests wait, and running ones continue. Only `dagster job
    execute` still runs at once, in its own process."""
    name, who = job_row(job).name, actor()
    with open_session() as session, session.db.begin() as connection:
        new = operate.pause(connection, name, reason=reason, by=who, now=datetime.now(UTC))
    _say(name, "paused", new, as_json=as_json)


@jobs_app.command("resume")
def jobs_resume(job: Job, as_json: AsJson = False) -> None:
    """Start a job's requests again, including those that waited."""
    name = job_row(job).name
    with open_session() as session, session.db.begin() as connection:
        was_paused = operate.resume(connection, name)
    _say(name, "resumed", was_paused, as_json=as_json)


def _say(name: str, what: str, changed: bool, *, as_json: bool) -> None:
    if as_json:
        print_json({"job": name, what: changed})
    else:
        out.print(f"{name}: {what}" if changed else f"{name}: nothing changes")
