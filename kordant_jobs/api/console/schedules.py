"""Schedules: the price list with its next ticks, and one row with its history, to pause and resume."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api import schedules
from kordant_jobs.api.console.visit import Visit
from kordant_jobs.api.problems import Problem
from kordant_jobs.api.schemas import Pause
from kordant_jobs.catalog import BY_NAME
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.schedules.cadence import next_tick
from kordant_jobs.domain.schedules.rows import ScheduleRow, StoredScheduleRow
from kordant_jobs.domain.schedules.simulation import Planned
from kordant_jobs.store.schedules import config as scheduler_config
from kordant_jobs.triggers import price_list

HERE = "/console/schedules"
TICKS, VERSIONS, FORECAST_DAYS = 5, 20, 7
FORECAST_KEPT_S = 600.0
"""Seconds for which the forecast is cached. A changed row renews it at once; changed subscriptions may wait."""


def _ticks(row: ScheduleRow, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    while len(found) < count and (at := next_tick(row, found[-1] if found else after)) is not None:
        found.append(at)
    return found


def show_list(connection: Connection, visit: Visit) -> Response:
    """Show the price list, and a forecast of its runs."""
    visit.who.permit(Action.SCHEDULE_READ)
    now, loaded = visit.who.now, scheduler_config.load(connection)
    rows = [(one, one.inactive_reason(now), next(iter(_ticks(one.row, now, 1)), None)) for one in loaded.rows]
    return visit.page(
        "schedules.html",
        visit.words.say("Schedules"),
        rows=rows,
        problems=loaded.problems,
        forecast=visit.cached(
            "forecast", lambda: _forecast(connection, loaded.rows, now), of=loaded.rows, for_s=FORECAST_KEPT_S
        ),
        days=FORECAST_DAYS,
    )


def _forecast(
    connection: Connection, rows: Sequence[StoredScheduleRow], now: datetime
) -> list[tuple[date, str, int, int | None, datetime]]:
    """The forecast by day (UTC) and schedule: number of runs, number of subscriptions (None: the job is not split by
    them), and the time of the first start."""
    known = [one for one in rows if one.row.job in BY_NAME]
    planned = price_list.planned(connection, known, start=now, until=now + timedelta(days=FORECAST_DAYS))
    by_day: dict[tuple[date, str], list[Planned]] = {}
    for one in planned:
        by_day.setdefault((one.starts_at.astimezone(UTC).date(), one.name), []).append(one)
    return [(day, name, len(some), _served(some), some[0].starts_at) for (day, name), some in by_day.items()]


def _served(planned: Sequence[Planned]) -> int | None:
    counts = [one.subscriptions for one in planned if one.subscriptions is not None]
    return sum(counts) if counts else None


def _key(visit: Visit) -> tuple[str, str]:
    return visit.request.path_params["job"], visit.request.path_params["tier"]


def show_one(connection: Connection, visit: Visit) -> Response:
    """Show one row: its values, next ticks, and versions."""
    key = _key(visit)
    shown = schedules.read(connection, visit.who, *key).body
    stored = scheduler_config.get(connection, (shown["job"], shown["tier"]))
    versions = scheduler_config.history(connection, (shown["job"], shown["tier"]), limit=VERSIONS)
    return visit.page(
        "schedule.html",
        visit.words.say("Schedule %(name)s", name=shown["name"]),
        one=shown,
        is_paused=bool(stored and stored.pause),
        ticks=_ticks(stored.row, visit.who.now, TICKS) if stored and not shown["paused"] else [],
        versions=versions,
    )


def handle_form(connection: Connection, visit: Visit) -> Response:
    """Pause or resume a row."""
    key = _key(visit)
    if visit.form.get("action") == "resume":
        schedules.resume(connection, visit.who, key)
        return visit.go(f"{HERE}/{'/'.join(key)}", done="resume")
    reason, until = visit.form.get("reason", "").strip(), visit.form.get("until", "").strip()
    try:
        end = datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None
        body = Pause(reason=reason, until=end)
    except ValueError:
        detail = visit.words.say("A pause has a reason, and an end in the future or none. Nothing was done.")
        raise Problem("invalid", detail) from None
    schedules.pause(connection, visit.who, key, body)
    return visit.go(f"{HERE}/{'/'.join(key)}", done="pause")
