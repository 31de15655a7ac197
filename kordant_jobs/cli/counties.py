"""Commands for counties: kordant-jobs counties list | check."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from kordant_jobs.cli.output import EXIT_FAILED, AsJson, out, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.property.addresses import AT
from kordant_jobs.errors import KordantError
from kordant_jobs.settings import load_settings
from kordant_jobs.store.property import records

counties_app = typer.Typer(help="Counties: whose records are read, how fresh they are.", no_args_is_help=True)


@counties_app.command("list")
def list_counties(as_json: AsJson = False) -> None:
    """List every described county: its freshness, what its records cover, what was not understood. Sends no
    requests."""
    from kordant_jobs.adapters.counties import open_counties

    with open_session() as session:
        counties = open_counties(session.settings)
        with session.db.connect() as connection:
            states = records.states(connection)
    today = datetime.now(UTC).date()
    rows: list[dict[str, Any]] = []
    for county in counties.by_id.values():
        state = states.get(county.id)
        as_of = state.data_as_of if state else None
        stale = as_of is not None and (today - as_of).days > county.latency_days
        rows.append(
            {
                "county": county.id,
                "name": county.name,
                "driver": county.driver.value,
                "covers": [one.value for one in county.capabilities] + ["owner_roll"] * bool(county.owner_roll),
                "data_as_of": as_of and as_of.isoformat(),
                "state": "never read" if state is None else state.reason or ("stale" if stale else "fresh"),
                "owner_roll_problem": state and state.roll_reason,
                "checked_at": state and state.checked_at and state.checked_at.isoformat(),
                "rows": state.rows if state else 0,
                "not_understood": dict(state.rows_not_understood) if state else {},
            }
        )
    if as_json:
        print_json({"counties": rows, "problems": list(counties.problems)})
        return
    print_table(
        ["county", "driver", "covers", "data as of", "state", "rows", "not understood"],
        [
            (
                row["county"], row["driver"], ", ".join(row["covers"]), row["data_as_of"], row["state"], row["rows"],
                ", ".join(f"{number} × {reason}" for reason, number in row["not_understood"].items()),
            )
            for row in rows
        ],
    )  # fmt: skip
    for row in rows:
        if row["owner_roll_problem"]:
            out.print(f"{row['county']}: its owner roll could not be read: {row['owner_roll_problem']}")
    for problem in counties.problems:
        out.print(f"[red]{problem}[/]")


@counties_app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The county's YAML file.")],
    rows: Annotated[int, typer.Option(min=1, max=1000, help="How many rows to try.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Try a county's file against its source: shows how the first rows are understood. Names are not shown; nothing is
    stored."""
    from kordant_jobs.adapters.counties import open_counties
    from kordant_jobs.adapters.counties.description import read_file

    county = read_file(file)
    reader = open_counties(load_settings()).reader(county)
    try:
        made = reader.sample(rows, today=datetime.now(UTC).date())
        wanted = {parcel for one in made.documents for parcel in one.parcels if not parcel.startswith(AT)}
        listed = len(reader.roll(wanted)) if county.owner_roll else None
    except KordantError as error:
        raise KordantError(f"{county.id}: {error} The file itself is valid.") from None
    found = [
        {
            "key": one.instrument.key,
            "code": one.instrument.code,
            "event": one.instrument.event.value,
            "recorded_on": one.instrument.recorded_on and one.instrument.recorded_on.isoformat(),
            "amount": None if one.instrument.amount is None else str(one.instrument.amount),
            "parcels": len(one.parcels),
            "givers": len(one.instrument.givers),
            "takers": len(one.instrument.takers),
        }
        for one in made.documents
    ]
    if as_json:
        print_json(
            {
                "county": county.id,
                "rows": made.rows,
                "documents": found,
                "not_understood": dict(made.problems),
                "owner_roll": listed,
            }
        )
    else:
        print_table(list(found[0]) if found else ["key"], [tuple(one.values()) for one in found])
        for problem, number in made.problems.most_common():
            out.print(f"not understood: {problem} ({number})")
        if listed is not None:
            out.print(f"owner roll: it lists {listed} of their {len(wanted)} parcels")
    if not found:
        raise typer.Exit(EXIT_FAILED)
