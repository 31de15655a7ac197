"""Command for capacity: kordant-jobs capacity."""

from dataclasses import asdict
from typing import Annotated

import typer

from kordant_jobs.catalog import BY_NAME
from kordant_jobs.cli.output import err, print_json, print_table
from kordant_jobs.domain.operators.capacity import COEFFICIENTS, Limits, PlannedSize, exceeded_limits, needs
from kordant_jobs.errors import SettingsError


def _given(pairs: list[str] | None) -> dict[str, float]:
    found = {}
    for pair in pairs or []:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            found = {"": 0.0}
        if name not in COEFFICIENTS or "" in found:
            raise SettingsError(f"--set {pair}: write NAME=NUMBER; `capacity --coefficients` has the names.")
    return found


def capacity(
    subscribers: Annotated[int, typer.Option("--subscribers", min=1, help="How many.")] = 10_000_000,
    records: Annotated[float, typer.Option(min=0, help="Records of dumps in the corpus.")] = 1e10,
    dump_records: Annotated[float, typer.Option(min=0, help="Records of dumps that come in a month.")] = 1e9,
    host_cores: Annotated[int, typer.Option(min=1, help="Cores of a host.")] = 8,
    host_runs: Annotated[int, typer.Option(min=1, help="Runs at the same time on a host.")] = 16,
    report_hours: Annotated[float, typer.Option(min=0.1, help="Hours in which a day's reports must be made.")] = 3.0,
    change: Annotated[list[str] | None, typer.Option("--set", help="A coefficient of yours: NAME=NUMBER.")] = None,
    coefficients: Annotated[bool, typer.Option("--coefficients", help="The coefficients, and their sources.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON value instead of words.")] = False,
) -> None:
    """Show what a number of subscribers needs: hosts, connections, bytes; and which of the catalogue's limits it
    exceeds."""
    given = _given(change)
    if coefficients:
        rows = [{"name": name, **asdict(one)} for name, one in COEFFICIENTS.items()]
        if as_json:
            print_json(rows)
        else:
            print_table(["coefficient", "value", "unit", "basis", "source"], [tuple(row.values()) for row in rows])
        return
    wanted = PlannedSize(
        subscribers=subscribers,
        records=records,
        dump_records=dump_records,
        host_cores=host_cores,
        host_runs=host_runs,
        report_hours=report_hours,
    )
    found = needs(wanted, given)
    scan, report = BY_NAME["darkwatch_scan"], BY_NAME["reports_generate"]
    limits = Limits(scan_memory_mb=scan.memory_mb, report_cpu_s=report.cpu_s, report_runs=report.concurrency)
    said = exceeded_limits(found, limits)
    if as_json:
        print_json({"wanted": asdict(wanted), "needs": [asdict(one) for one in found], "walls": said})
        return
    print_table(
        ["need", "value", "unit", "how"],
        [(one.key, f"{one.value:,.0f}" if one.value >= 10 else f"{one.value:.2f}", one.unit, one.how) for one in found],
    )
    for one in said:
        err.print(f"does not fit: {one}")
