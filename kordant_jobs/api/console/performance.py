"""background_jobs_performance: duration, failures and cost of each job, by week."""

from collections import defaultdict

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api.console import charts
from kordant_jobs.api.console.visit import Visit
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.observability import history

WEEKS = 8


def show(connection: Connection, visit: Visit) -> Response:
    """Show a chart and a table for each job."""
    visit.who.permit(Action.SYSTEM_READ, visit.who.of_all())
    say = visit.words.say
    by_job: dict[str, list[history.JobWeek]] = defaultdict(list)
    weeks_of_all = visit.cached("weeks", lambda: history.weekly(connection, weeks=WEEKS, now=visit.who.now))
    for week in weeks_of_all:
        by_job[week.job].append(week)
    days = [monday.date() for monday in reversed(history.mondays(visit.who.now, WEEKS))]
    drawn = []
    for job, weeks in sorted(by_job.items()):
        of = {one.week_of: one for one in weeks}
        summary = say("Duration of %(job)s by week: p50 solid, p95 dashed; the table below has the numbers.", job=job)
        chart = charts.lines(
            [str(day) for day in days],
            [of[day].p50_ms if day in of else None for day in days],
            [of[day].p95_ms if day in of else None for day in days],
            summary=summary,
        )
        drawn.append((job, chart, weeks))
    return visit.page(
        "performance.html",
        say("Performance of background jobs"),
        jobs=drawn,
        weeks=WEEKS,
        trends=history.trends(weeks_of_all, week_of=days[-1]),
        costs=history.costs(connection, weeks=2, now=visit.who.now),
    )
