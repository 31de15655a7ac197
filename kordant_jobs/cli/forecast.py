"""Forecasts schedules and changes of them: kordant-jobs schedules simulate | diff."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from kordant_jobs.catalog import BY_NAME, job_row
from kordant_jobs.cli.arguments import one_of
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.schedules import (
    Changes,
    Job,
    Tier,
    Zone,
    changes_of,
    moment_of,
    opened,
    schedules_app,
    what_changed,
)
from kordant_jobs.domain.people.tiers import Tier as TierName
from kordant_jobs.domain.schedules.cadence import next_tick
from kordant_jobs.domain.schedules.cron import checked_zone
from kordant_jobs.domain.schedules.rows import ScheduleRow
from kordant_jobs.domain.schedules.simulation import Outage, Planned, load_per_hour
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.triggers import price_list

__all__ = ["schedules_app"]

Days = Annotated[int, typer.Option("--days", min=1, max=400, help="How many days from now.")]
Down = Annotated[
    list[str] | None, typer.Option("--down", help="An outage (UTC), as 2026-12-01T00:00/2026-12-04T00:00.")
]


def _outages(down: Sequence[str] | None) -> list[Outage]:
    found = []
    for text in down or ():
        start, _, end = text.partition("/")
        outage = (moment_of(start, "--down"), moment_of(end, "--down"))
        if outage[0] >= outage[1]:
            raise SettingsError(f"--down {text}: it ends before it begins.")
        found.append(outage)
    return found


@schedules_app.command("simulate")
def simulate_rows(
    days: Days = 30,
    tier: Tier = None,
    job: Annotated[str | None, typer.Option("--job", help="Only this job.")] = None,
    tz: Zone = "UTC",
    down: Down = None,
    as_json: AsJson = False,
) -> None:
    """Show what will run when, and for how many subscriptions, by the real rules; with the load per hour of the day."""
    now = datetime.now(UTC)
    outages = _outages(down)
    named = job_row(job).name if job else None
    whose = one_of(TierName, tier, "--tier") if tier else None
    checked_zone(tz)
    with opened() as connection:
        rows = [
            one
            for one in scheduler_config.load(connection).rows
            if one.row.job in BY_NAME and whose in {None, one.row.tier} and named in {None, one.row.job}
        ]
        planned = price_list.planned(connection, rows, start=now, until=now + timedelta(days=days), outages=outages)
    if as_json:
        print_json({"from": now, "days": days, "planned": [vars(one) for one in planned],
                    "load_per_hour": load_per_hour(planned, checked_zone(tz))})  # fmt: skip
        return
    _print_planned(planned, tz)


def _print_planned(planned: Sequence[Planned], tz: str) -> None:
    zone = ZoneInfo(checked_zone(tz))
    days: dict[tuple[str, str], list[Planned]] = {}
    for one in planned:
        days.setdefault((f"{one.starts_at.astimezone(zone):%Y-%m-%d %a}", one.name), []).append(one)
    print_table(
        ["day", "schedule", "runs", "subscriptions", "first", "last"],
        [
            (
                day,
                name,
                len(ones),
                "everybody" if ones[0].subscriptions is None else f"{sum(one.subscriptions or 0 for one in ones):,}",
                f"{ones[0].starts_at.astimezone(zone):%H:%M}",
                f"{ones[-1].starts_at.astimezone(zone):%H:%M}",
            )
            for (day, name), ones in days.items()
        ],
    )
    load = load_per_hour(planned, tz)
    most = max((served for _, served in load.values()), default=0) or 1
    out.print(f"\nload per hour of the day ({tz})")
    for hour, (runs, served) in load.items():
        out.print(f"  {hour:02d}  {runs:6,} runs  {served:9,} subscriptions  {'▇' * round(30 * served / most)}")
    if not planned:
        out.print("  nothing runs")


@schedules_app.command()
def diff(job: Job, changes: Changes, tier: Tier = None, days: Days = 31, as_json: AsJson = False) -> None:
    """Show the effect of a change before it is made: its values, its next ticks, its runs and the subscriptions they
    serve."""
    now = datetime.now(UTC)
    with opened() as connection:
        before = price_list.read_row(connection, price_list.key_of(job, tier))
        after = price_list.proposed(before.row, changes_of(changes))
        forecasts: dict[str, dict[str, Any]] = {}
        savepoint = connection.begin_nested()
        for name in ("before", "after"):
            if name == "after":
                stored = price_list.change(connection, before.row.key, changes_of(changes), by=getpass.getuser())
            else:
                stored = before
            planned = price_list.planned(connection, [stored], start=now, until=now + timedelta(days=days))
            forecasts[name] = {
                "next_at": list(_ticks(stored.row, now, 3)),
                "runs": len(planned),
                "served": sum(one.subscriptions or 0 for one in planned),
                "load_per_hour": load_per_hour(planned),
            }
        savepoint.rollback()  # nothing of it stays
    changed = what_changed(before.row, after)
    if as_json:
        print_json({"schedule": after.name, "changed": changed, "days": days, **forecasts})
        return
    print_facts({name: f"{old} → {new}" for name, (old, new) in changed.items()})
    if not changed:
        out.print("nothing changes")
    print_table(
        [f"in {days} days", "before", "after"],
        [
            ("next ticks (UTC)", *(", ".join(f"{at:%a %H:%M}" for at in one["next_at"]) for one in forecasts.values())),
            ("runs", *(f"{one['runs']:,}" for one in forecasts.values())),
            ("subscriptions served", *(f"{one['served']:,}" for one in forecasts.values())),
        ],
    )


def _ticks(row: ScheduleRow, now: datetime, count: int) -> Iterator[datetime]:
    at: datetime | None = now
    for _ in range(count):
        at = at and next_tick(row, at)
        if at is not None:
            yield at
