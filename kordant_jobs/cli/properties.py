"""Commands for watched parcels and owners: kordant-jobs properties resolve | add | list | remove | show | not-me."""

import sys
from typing import Annotated

import sqlalchemy as sa
import typer

from kordant_jobs.cli.arguments import Subscription, actor, as_uuid
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.property.addresses import address_query
from kordant_jobs.domain.property.instruments import recorder_page
from kordant_jobs.domain.property.parcels import PARCELS, has_words, masked_parcel
from kordant_jobs.errors import SettingsError
from kordant_jobs.jobs.hometitle_scan.rules.owners import would_raise_alert
from kordant_jobs.settings import load_settings
from kordant_jobs.store.property import matching, reporting, rolls, watches

properties_app = typer.Typer(help="Watched parcels and owners, and what was recorded on them.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="Its id.")]


def _given(prompt: str) -> list[str]:
    """The lines of standard input; at a terminal one line, typed at a prompt."""
    if sys.stdin.isatty():
        return [typer.prompt(prompt)]
    return [line.strip() for line in sys.stdin if line.strip()]


@properties_app.command()
def resolve(
    county: Annotated[str, typer.Argument(help="The county, as `counties list` names it.")], as_json: AsJson = False
) -> None:
    """List the parcels that addresses may mean, by the county's address data: one address on each line of standard
    input. Let the subscriber confirm one, then pass its number to `properties add`."""
    from kordant_jobs.adapters.counties import open_counties

    counties = open_counties(load_settings())
    described = counties.get(county)
    if described.addresses is None:
        raise SettingsError(f"{county} has no address data: add `addresses:` to its file, or ask for the number.")
    reader, rows = counties.reader(described), []
    for number, line in enumerate(_given("Address"), 1):
        query = address_query(line)
        if query is None:
            raise SettingsError(f"line {number} is no address; they begin with a house number: 350 5th Avenue.")
        rows += [
            {"line": number, "parcel": one.parcel, "address": one.address, "alike": one.likeness}
            for one in reader.candidates(query)
        ]
    if as_json:
        print_json(rows)
    else:
        print_table(["line", "parcel", "address", "alike"], [tuple(row.values()) for row in rows])
        out.print("" if rows else "no parcel has such an address; ask for the parcel number on the tax bill")


@properties_app.command()
def add(
    subscription: Subscription,
    county: Annotated[str, typer.Argument(help="The county, as `counties list` names it.")],
    owner: Annotated[bool, typer.Option("--owner", help="Watch a name in the whole county, not a parcel.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whether it could be watched.")] = False,
    as_json: AsJson = False,
) -> None:
    """Watch parcels, one on each line of standard input: a number, optionally a tab and the owners' names, separated by
    ';'. With --owner each line is a name."""
    from kordant_jobs.adapters.counties import open_counties

    with open_session() as session:
        described = open_counties(session.settings).get(county)
        wanted: list[watches.NewWatch] = []
        out_of_reach: list[int] = []
        for number, line in enumerate(_given("Name" if owner else "Parcel number"), 1):
            if owner:
                if not would_raise_alert(line, people=described.people):
                    out_of_reach.append(number)
                wanted.append(watches.NewWatch(county=county, owners=(line,)))
                continue
            typed, _, names = line.partition("\t")
            parcel = None if has_words(typed) else described.parcel_number(typed)
            if parcel is None:
                example = PARCELS[described.parcel].example
                raise SettingsError(
                    f"line {number} is no parcel number of {county}; they look like {example}; owners follow a tab."
                )
            owners = tuple(name.strip() for name in names.split(";") if name.strip())
            wanted.append(watches.NewWatch(county=county, parcel=parcel, owners=owners))
        if out_of_reach:
            raise SettingsError(
                f"too many people in {county} have the name on line {', '.join(map(str, out_of_reach))}, so that no "
                "document by name alone would raise an alert: give it with the middle name, or watch the parcel."
            )
        made = []
        if not dry_run:
            with session.db.begin() as connection:
                made = watches.add(connection, session.keyring, as_uuid(subscription), wanted)
    if as_json:
        print_json({"valid": len(wanted), "added": [str(one) for one in made], "dry_run": dry_run})
    else:
        out.print(f"{len(wanted)} valid; {'nothing added (dry run)' if dry_run else f'{len(made)} added'}")


@properties_app.command("list")
def list_properties(subscription: Subscription, as_json: AsJson = False) -> None:
    """List a subscription's watches, with parcel numbers masked, and the number of findings that raised an alert."""
    with open_session() as session, session.db.begin() as connection:
        known = connection.execute(
            sa.text("SELECT 1 FROM kordant.subscriptions WHERE id = :id"), {"id": as_uuid(subscription)}
        )
        if known.first() is None:
            raise SettingsError(f"there is no subscription {subscription}; see `kordant-jobs subscribers`.")
        found = watches.load(connection, session.keyring, subscription_id=as_uuid(subscription))
        counts = dict(
            connection.execute(
                sa.text(
                    "SELECT watch_id, count(*) FROM kordant.property_findings f JOIN kordant.watched_properties w "
                    "ON w.id = f.watch_id WHERE w.subscription_id = :id AND f.is_told AND f.is_news GROUP BY 1"
                ),
                {"id": as_uuid(subscription)},
            )
            .tuples()
            .all()
        )
    rows = [
        {
            "watch": str(one.id),
            "county": one.county,
            "parcel": masked_parcel(one.parcel) if one.parcel else None,
            "owners": len(one.owners),
            "findings": counts.get(one.id, 0),
        }
        for one in found
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(["watch", "county", "parcel", "owners", "findings"], [tuple(row.values()) for row in rows])


@properties_app.command()
def remove(watch: Id) -> None:
    """Stop watching a parcel or owner."""
    with open_session() as session, session.db.begin() as connection:
        if not watches.remove(connection, as_uuid(watch)):
            raise SettingsError(f"{watch} is not watched; `kordant-jobs properties list` shows what is.")
    out.print("no longer watched")


@properties_app.command()
def show(watch: Id, as_json: AsJson = False) -> None:
    """Show the evidence on a watched parcel: every document and change of the owner roll, its effect, its severity and
    reasons, and open mortgages and liens. Names are not shown."""
    query = """
        SELECT f.id AS finding, i.key, i.number, i.code, f.event, f.severity, f.is_told, f.is_news, f.reasons,
               f.case_key,
               f.before_key, i.recorded_on, i.amount, f.probability, f.dismissed_at,
               coalesce(s.name, w.county) AS county, s.data_as_of,
               coalesce(s.recorder_url, '') AS recorder_url
        FROM kordant.property_findings f JOIN kordant.property_instruments i ON i.id = f.instrument_id
        JOIN kordant.watched_properties w ON w.id = f.watch_id LEFT JOIN kordant.county_states s ON s.county = w.county
        WHERE f.watch_id = :id ORDER BY i.recorded_on NULLS FIRST, i.key
    """
    state = """
        SELECT coalesce(s.name, w.county) AS county, s.data_as_of, v.verdict, v.reason, v.checked_on
        FROM kordant.watched_properties w LEFT JOIN kordant.county_states s ON s.county = w.county
        LEFT JOIN kordant.property_verdicts v ON v.subscription_id = w.subscription_id AND v.county = w.county
        WHERE w.id = :id ORDER BY v.checked_on DESC NULLS LAST LIMIT 1
    """
    with open_session() as session, session.db.connect() as connection:
        stands = connection.execute(sa.text(state), {"id": as_uuid(watch)}).first()
        if stands is None:
            raise SettingsError(f"there is no watch {watch}; `kordant-jobs properties list` shows a subscription's.")
        roll = rolls.shown(connection, as_uuid(watch))
        still_open = reporting.open_charges(connection, [as_uuid(watch)]).get(as_uuid(watch), [])
        rows = [dict(row._mapping) for row in connection.execute(sa.text(query), {"id": as_uuid(watch)})]
    for row in rows:
        row["link"] = recorder_page(row.pop("recorder_url"), key=row["key"], number=row["number"])
    if as_json:
        print_json({**stands._mapping, "open": still_open, "documents": rows, "owner_roll": roll})
        return
    verdict = f"{stands.verdict or 'not checked yet'}{f' ({stands.reason})' if stands.reason else ''}"
    print_facts({"county": stands.county, "data as of": stands.data_as_of, "verdict": verdict})
    if roll:
        print_facts({f"owner roll, {name.replace('_', ' ')}": value for name, value in roll.items()})
    print_table(
        ["finding", "recorded", "document", "event", "severity", "alert", "why", "case"],
        [
            (
                row["finding"], row["recorded_on"], row["number"] or row["key"], row["event"], row["severity"],
                row["is_told"] and row["is_news"], ", ".join(row["reasons"]), row["case_key"],
            )
            for row in rows
        ],
    )  # fmt: skip
    if still_open:
        print_table(
            ["open", "number", "amount", "recorded"],
            [(one["event"], one["number"], one["amount"], one["recorded_on"]) for one in still_open],
        )


@properties_app.command("not-me")
def not_me(finding: Id) -> None:
    """Record that a finding is not about the subscriber: no more alerts for it, nor for anything on that parcel by
    name."""
    with open_session() as session, session.db.begin() as connection:
        if not matching.not_me(connection, as_uuid(finding), said_by=actor()):
            raise SettingsError(f"there is no finding {finding}; `kordant-jobs properties show` shows them.")
    out.print("noted")
