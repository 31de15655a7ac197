"""What runs: a row a job. The README's table is made from it, and a test holds Dagster's jobs to it."""

from __future__ import annotations

from dataclasses import dataclass

from kordant_jobs.domain.tiers import Tier


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job: its name everywhere, the product's dotted name for it, and what starts it."""

    name: str
    alias: str
    purpose: str
    started_by: str
    partitioned_tiers: tuple[Tier, ...] = ()
    """For each of these a job `<name>_<tier>` with a daily partition."""
    realtime_tiers: tuple[Tier, ...] = ()
    """Tiers whose subscriptions are served at once when new data arrives; the others at their cadence."""

    @property
    def dagster_jobs(self) -> tuple[str, ...]:
        """The names of its jobs in Dagster."""
        return (self.name, *(f"{self.name}_{tier}" for tier in self.partitioned_tiers))


CATALOG: tuple[JobRow, ...] = (
    JobRow(
        name="darkwatch_scan",
        alias="darkwatch.scan",
        purpose="watched identifiers against breach dumps: exposures, verdicts, alerts",
        started_by="a new file in the drop folder (premium at once); by hand; a day's partition of a tier",
        partitioned_tiers=tuple(Tier),
        realtime_tiers=(Tier.PREMIUM,),
    ),
    JobRow(
        name="notifications_send",
        alias="notifications.send",
        purpose="what waits in the outbox, as e-mail: each alert once",
        started_by="a notification that is due; by hand",
    ),
    JobRow(
        name="reports_generate",
        alias="reports.generate",
        purpose="a PDF a subscription and period: what was checked, found and advised",
        started_by="by hand, for all, some tiers or some subscriptions",
    ),
)

BY_NAME = {row.name: row for row in CATALOG}


def markdown_table() -> str:
    """The catalogue as the README shows it."""
    head = "| job | also called | what it does | started by |\n| --- | --- | --- | --- |\n"
    rows = []
    for row in CATALOG:
        names = ", ".join(f"`{name}`" for name in (row.name, *row.dagster_jobs[1:]))
        rows.append(f"| {names} | `{row.alias}` | {row.purpose} | {row.started_by} |")
    return head + "\n".join(rows) + "\n"
