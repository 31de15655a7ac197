"""The capacity needed for a number of subscribers: machines, connections, bytes. Pure arithmetic on measured
coefficients.

Each coefficient names where it was measured, or that it was assumed. It does not affect how the system runs.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.resources import files

DAYS_A_MONTH = 365.25 / 12
MB = 1e6


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A number of the model, with its unit and its source."""

    value: float
    unit: str
    basis: str
    """`measured`, `assumed` or `chosen`."""
    source: str


COEFFICIENTS: Mapping[str, Coefficient] = {
    name: Coefficient(value=float(Fraction(value)), unit=unit, basis=basis, source=source)
    for basis, found in tomllib.loads(files(__package__).joinpath("capacity.toml").read_text("utf-8")).items()
    for name, (value, unit, source) in found.items()
}
"""The coefficients by name."""

KEPT_DAYS = 30
"""The retention of completed requests and successful runs (KORDANT_KEEP_DONE_DAYS)."""


@dataclass(frozen=True, kw_only=True)
class PlannedSize:
    """The planned size of the system. `records` is the number of dump lines in the corpus; `dump_records` is the number
    of dump lines that arrive in a month."""

    subscribers: int
    records: float = 1e10
    dump_records: float = 1e9
    host_cores: int = 8
    host_runs: int = 16
    report_hours: float = 3.0
    """The hours in which the reports of a Monday, or of the first of a month, must be made."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """One figure of the result, and its calculation."""

    key: str
    value: float
    unit: str
    how: str


def needs(planned: PlannedSize, given: Mapping[str, float] | None = None) -> list[Need]:
    """The needs of a system of the planned size (runs a day, storage, cores, hosts, connections), one `Need` each.
    `given` replaces coefficients by name.

    >>> found = {one.key: one.value for one in needs(PlannedSize(subscribers=10_000_000))}
    >>> round(found["scans_a_day"] / 1e6, 2), round(found["rows_gb"]), round(found["monday_core_hours"])
    (2.14, 26, 147)
    """
    c = {name: one.value for name, one in COEFFICIENTS.items()} | dict(given or {})
    tiers = {name: planned.subscribers * c[f"share_{name}"] for name in ("basic", "plus", "premium")}
    scans = sum(count * c[f"scans_{name}"] for name, count in tiers.items())
    runs = 3 * c["ticks"] + 96  # scheduled scans of three tiers; notifications every 15 minutes, at least
    changes = planned.subscribers * c["churn"] / DAYS_A_MONTH
    alerts = planned.subscribers * c["alerts"] / 365.25
    largest = max(count * c[f"scans_{name}"] / c["ticks"] for name, count in tiers.items())
    items = planned.subscribers * c["items"]
    items_mb = (min(items, c["items_at_once"]) * c["item_memory"] + items * c["item_watched"]) / MB
    monday = tiers["premium"] * c["report_cpu"] / 3600
    first = tiers["plus"] * c["report_cpu"] / 3600
    cores = max(monday, first) / planned.report_hours
    cores += planned.dump_records / DAYS_A_MONTH * c["dump_bytes"] / MB * c["ingest"] / 86_400
    cores += (runs + changes) * c["run_cpu"] / 86_400
    hosts = max(2, math.ceil(cores / planned.host_cores))
    connections = hosts * (c["idle_connections"] + planned.host_runs * c["run_connections"])
    history = KEPT_DAYS * (runs * c["events_scan"] + changes * c["events_run"])
    rows = planned.subscribers * c["row_subscription"]
    written = scans * c["rewritten"] + runs * c["events_scan"] + changes * c["events_run"] + alerts * c["row_alert"]
    return [
        Need(key="scans_a_day", value=scans, unit="subscriptions", how="tiers × how often each is scanned"),
        Need(key="largest_tick", value=largest, unit="subscriptions", how="the tier with most, spread over its ticks"),
        Need(key="runs_a_day", value=runs + changes, unit="runs", how="scheduled scans, notifications, changes"),
        Need(key="scan_memory_mb", value=items_mb, unit="MB", how="a part of the items, and the hashes of all"),
        Need(key="rows_gb", value=rows / 1e9, unit="GB", how="rows of subscriptions at rest"),
        Need(key="alerts_gb_a_year", value=alerts * 365.25 * c["row_alert"] / 1e9, unit="GB", how="alerts a year"),
        Need(key="history_gb", value=history / 1e9, unit="GB", how=f"Dagster's events, {KEPT_DAYS} days"),
        Need(key="written_gb_a_day", value=written / 1e9, unit="GB", how="rewritten and new rows; WAL is more"),
        Need(key="corpus_gb", value=planned.records * c["corpus"] / 1e9, unit="GB", how="records of dumps, blinded"),
        Need(key="monday_core_hours", value=monday, unit="core-hours", how="weekly reports of premium"),
        Need(key="first_core_hours", value=first, unit="core-hours", how="monthly reports of plus, on the first"),
        Need(key="cores", value=cores, unit="cores", how=f"reports in {planned.report_hours:g} h, ingestion, runs"),
        Need(key="hosts", value=hosts, unit="hosts", how=f"of {planned.host_cores} cores; two at least"),
        Need(
            key="host_memory_mb",
            value=c["host_memory"] + planned.host_runs * c["run_memory"],
            unit="MB",
            how="warm processes and idle runs; what runs load comes on top",
        ),
        Need(key="connections", value=connections, unit="connections", how="hosts × (idle + runs × 3)"),
    ]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits that the catalogue sets for one run of scans and of reports."""

    scan_memory_mb: float
    report_cpu_s: float
    report_runs: int


def exceeded_limits(found: Sequence[Need], limits: Limits) -> list[str]:
    """The limits that are exceeded at that size, as text: the first one reached, and how to raise it."""
    value = {one.key: one.value for one in found}
    said = []
    if value["scan_memory_mb"] > limits.scan_memory_mb:
        said.append(
            f"a scan of all needs {value['scan_memory_mb']:,.0f} MB for watched items, and its limit is "
            f"{limits.scan_memory_mb:,.0f}: give darkwatch_scan more memory, or scan tiers apart."
        )
    hours = limits.report_runs * limits.report_cpu_s / 3600
    for key, when in (("monday_core_hours", "a Monday"), ("first_core_hours", "the first of a month")):
        if value[key] > hours:
            said.append(
                f"the reports of {when} take {value[key]:,.0f} core-hours, and {limits.report_runs} runs of "
                f"reports_generate may use {hours:,.1f}: ask for them by subscriptions, in several requests."
            )
    if value["connections"] > 200:
        said.append(
            f"{value['connections']:,.0f} connections are more than a Postgres should have: put PgBouncer before it "
            "(docs/deploy.md)."
        )
    return said
