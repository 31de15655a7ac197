"""background_jobs_health: a row for each job, alerts, and the daemons."""

from sqlalchemy import Connection
from starlette.responses import Response

from kordant_jobs.api.console.visit import Visit
from kordant_jobs.domain.access.policy import Action
from kordant_jobs.domain.operators.alert_rules import AlertState
from kordant_jobs.observability import health as job_health
from kordant_jobs.observability import heartbeats
from kordant_jobs.store.operators import alerts


def show(connection: Connection, visit: Visit) -> Response:
    """Show the first page; a reader without the right to it is sent to the requests."""
    if not visit.may(Action.SYSTEM_READ):
        return visit.go("/console/requests")
    now = visit.who.now
    month_shares = visit.cached("month", lambda: job_health.month(connection, now=now))
    jobs = job_health.jobs(connection, now=now, month_shares=month_shares)
    firing = [one for one in alerts.listed(connection, all_of_them=False, limit=50) if one.state == AlertState.FIRING]
    ages_s = heartbeats.ages_s(connection)
    silent = heartbeats.silent(ages_s)
    parts = [(part, age_s, "silent" if part in silent else "alive") for part, age_s in ages_s.items()]
    return visit.page(
        "health.html", visit.words.say("Health of background jobs"), jobs=jobs, firing=firing, parts_=parts,
        rules=alerts.rules(connection), days=job_health.BUDGET_DAYS,
    )  # fmt: skip
