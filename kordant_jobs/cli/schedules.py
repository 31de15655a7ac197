"""Commands for the price list: kordant-jobs schedules list | set | pause | resume | history | simulate | diff."""

import getpass
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Connection

from kordant_jobs.catalog import BY_NAME, job_row
from kordant_jobs.cli.arguments import one_of
from kordant_jobs.cli.output import AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.people.subscriptions import Tier as TierName
from kordant_jobs.domain.schedules.cadence import next_tick
from kordant_jobs.domain.schedules.cron import checked_zone
from kordant_jobs.domain.schedules.rows import Cadence, ScheduleRow, StoredScheduleRow
from kordant_jobs.domain.schedules.simulation import Outage, Planned, load_per_hour
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.store.schedules import due_slots
from kordant_jobs.triggers import price_list

schedules_app = typer.Typer(help="The price list: what runs when, for whom.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only check, and say what it would become.")]
Job = Annotated[str, typer.Argument(help="The job, by name or alias.")]
Tier = Annotated[str | None, typer.Option("--tier", help="basic, plus or premium; none: the row of no tier.")]
Changes = Annotated[list[str], typer.Argument(help="What to change, as cron='*/15 1-4 * * *' catch_up=all.")]
Note = Annotated[str | None, typer.Option("--note", help="Why, for the history.")]
Zone = Annotated[str, typer.Option("--tz", help="The time zone to show times in.")]


@contextmanager
def opened() -> Iterator[Connection]:
    """A transaction on a database that has a price list."""
    with open_session() as session, session.db.begin() as connection:
        price_list.ensure(connection)
        yield connection


def moment_of(text: str, option: str) -> datetime:
    """A typed time; UTC when it has no zone.

    Raises:
        SettingsError: the text is not a time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingsError(f"{option} {text}: write a moment as 2026-12-01T00:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def changes_of(words: Sequence[str]) -> dict[str, Any]:
    """The values in words `name=value`; true, false and numbers are converted."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise SettingsError(f"{word!r}: write name=value, as cron='0 3 * * *'.")
        found[name] = json.loads(value) if value in {"true", "false"} or value.isdecimal() else value
    return found


def _state(stored: StoredScheduleRow, now: datetime) -> str:
    if stored.row.job not in BY_NAME:
        return "no such job yet"
    return stored.inactive_reason(now) or "on"


@schedules_app.command("list")
def list_rows(tz: Zone = "UTC", as_json: AsJson = False) -> None:
    """List every row: what runs for which tier, the next time, and the number of subscriptions it serves."""
    zone, now = ZoneInfo(checked_zone(tz)), datetime.now(UTC)
    with opened() as connection:
        loaded = scheduler_config.load(connection)
        counts = {one.row.key: sum(map(len, due_slots.places(connection, one.row.key).values())) for one in loaded.rows}
    for problem in loaded.problems:
        err.print(f"invalid, and left as it was: {problem}")
    if as_json:
        print_json(
            [
                {
                    "name": one.row.name,
                    **one.row.to_json(),
                    "state": _state(one, now),
                    "next_at": next_tick(one.row, now),
                    "subscriptions": counts[one.row.key],
                    "version": one.version,
                    "changed_by": one.changed_by,
                }
                for one in loaded.rows
            ]
        )
        return
    print_table(
        ["schedule", "what", "cron", "zone", "next tick", "serves", "state"],
        [
            (
                one.row.name,
                one.row.words,
                one.row.cron,
                one.row.time_zone,
                f"{at.astimezone(zone):%a %d %b %H:%M}" if (at := next_tick(one.row, now)) else None,
                "everybody" if one.row.cadence is Cadence.EVERY_TICK else f"{counts[one.row.key]:,}",
                _state(one, now),
            )
            for one in loaded.rows
        ],
    )


@schedules_app.command("set")
def set_row(
    job: Job,
    changes: Changes,
    tier: Tier = None,
    note: Note = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Change a row. It is checked first, applied within seconds, and kept in the history."""
    wanted = changes_of(changes)
    with opened() as connection:
        key = price_list.key_of(job, tier)
        before = price_list.read_row(connection, key)
        after = price_list.proposed(before.row, wanted)
        if not dry_run:
            price_list.change(connection, key, wanted, by=getpass.getuser(), note=note)
    changed = what_changed(before.row, after)
    if as_json:
        print_json({"schedule": after.name, "dry_run": dry_run, "changed": changed})
        return
    word = "would change" if dry_run else "changed"
    out.print(f"{after.name}: {word if changed else 'nothing changes'}")
    print_facts({name: f"{old} → {new}" for name, (old, new) in changed.items()})


def what_changed(before: ScheduleRow, after: ScheduleRow) -> dict[str, tuple[Any, Any]]:
    """The differences between two rows: old and new value by name."""
    old, new = before.to_json(), after.to_json()
    return {name: (old[name], new[name]) for name in old if old[name] != new[name]}


@schedules_app.command()
def pause(
    job: Job,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown wherever the row is.")],
    tier: Tier = None,
    until: Annotated[str | None, typer.Option("--until", help="When it goes on by itself (UTC).")] = None,
    as_json: AsJson = False,
) -> None:
    """Pause a row. Runs of that time are not made up for."""
    with opened() as connection:
        end = moment_of(until, "--until") if until else None
        key = price_list.key_of(job, tier)
        stored = price_list.pause(connection, key, reason=reason, until=end, by=getpass.getuser())
    _say(stored, as_json=as_json)


@schedules_app.command()
def resume(job: Job, tier: Tier = None, as_json: AsJson = False) -> None:
    """Resume a paused row from now on."""
    with opened() as connection:
        stored = price_list.resume(connection, price_list.key_of(job, tier), by=getpass.getuser())
    _say(stored, as_json=as_json)


def _say(stored: StoredScheduleRow, *, as_json: bool) -> None:
    state = _state(stored, datetime.now(UTC))
    if as_json:
        print_json({"schedule": stored.row.name, "state": state, "version": stored.version})
    else:
        out.print(f"{stored.row.name}: {state}")


@schedules_app.command()
def history(
    job: Annotated[str | None, typer.Argument(help="Only this job's rows.")] = None,
    tier: Tier = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List changes with author and time, the newest first."""
    with opened() as connection:
        key = price_list.read_row(connection, price_list.key_of(job, tier)).row.key if job else None
        changes = scheduler_config.history(connection, key, limit=10_000)
    rows: list[dict[str, Any]] = []
    older = {(one.key, one.version): one.row for one in changes}
    own = {"version", "changed_at", "changed_by", "note"}
    for one in changes[:limit]:
        before, after = older.get((one.key, one.version - 1)) or {}, one.row or {}
        what = {name: [before.get(name), after[name]] for name in after if after[name] != before.get(name)}
        rows.append(
            {
                "job": one.key[0],
                "tier": one.key[1],
                "version": one.version,
                "at": one.changed_at,
                "by": one.changed_by,
                "note": one.note,
                "changed": "made" if not before else {name: pair for name, pair in what.items() if name not in own},
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(
        ["when (UTC)", "row", "version", "by", "what", "note"],
        [
            (f"{row['at']:%Y-%m-%d %H:%M:%S}", f"{row['job']}:{row['tier']}", row["version"], row["by"],
             _change_as_text(row["changed"]), row["note"])
            for row in rows
        ],
    )  # fmt: skip


def _change_as_text(changed: Any) -> str:
    if isinstance(changed, str):
        return changed
    return ", ".join(f"{name} {old} → {new}" for name, (old, new) in changed.items())


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
