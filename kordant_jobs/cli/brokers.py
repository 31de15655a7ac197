"""Commands for the catalogue of data brokers: kordant-jobs brokers import | list | show | diff | confirm |
directory."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import sqlalchemy as sa
import typer

from kordant_jobs.adapters.brokers.lists import read_broker_list
from kordant_jobs.cli.output import EXIT_FAILED, AsJson, err, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.removals.brokers import Change
from kordant_jobs.domain.removals.brokers import diff as difference
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.removals import catalogue, rights
from kordant_jobs.store.removals.tables import broker_rows

if TYPE_CHECKING:
    from kordant_jobs.adapters.brokers.lists import BrokerList

brokers_app = typer.Typer(help="Data brokers: the catalogue and the lists it is made from.", no_args_is_help=True)

STARTER = "starter"
SHOWN_MOST = 50


def _read(path: str) -> BrokerList:
    try:
        content = (
            files("kordant_jobs.adapters.brokers").joinpath("starter.yaml").read_bytes()
            if path == STARTER
            else Path(path).read_bytes()
        )
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}). Give a file, or `starter`.") from None
    return read_broker_list(content)


def _doubt(found: BrokerList, rows_before: int) -> str | None:
    """Why a list may not be whole, if so."""
    if found.is_cut:
        return "the file ends in the middle of a row."
    if found.rows and len(found.rows) * 2 < rows_before:
        return f"the list has {len(found.rows)} usable rows, where it had {rows_before}."
    return None


def _words(change: Change) -> str:
    if change.kind != "changed":
        facts = change.after or change.before
        return str(facts.get("name", ""))
    return "; ".join(f"{name}: {change.before[name]!r} → {change.after[name]!r}" for name in change.after)


def _show_changes(changes: list[Change], *, every: bool) -> None:
    rows = [(one.key, one.kind, _words(one)) for one in changes]
    print_table(["broker", "what", "how"], rows if every else rows[:SHOWN_MOST])
    if len(rows) > SHOWN_MOST and not every:
        out.print(f"… and {len(rows) - SHOWN_MOST} more: --all shows them")


@brokers_app.command("import")
def import_list(
    path: Annotated[str, typer.Argument(help="A list, or `starter`: our own small one.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show every change.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Take it though it is cut off, or much shorter than before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import a list of brokers; it replaces the former list of the same kind. The format is recognised by its header or
    structure: eraser, justvanish, datenanfragen, DuckDuckGo's recipes, joins, the California registry (8 or 77 columns)
    and its tested links, or our own. Importing it again changes nothing. A file that ends in the middle of a row, or
    has less than half of the rows that its list had, is refused without --yes."""
    found = _read(path)
    orphans: list[tuple[str, str]] = []
    with open_session() as session, session.db.begin() as connection:
        doubt = _doubt(found, catalogue.rows_of(connection, found.source))
        if doubt and not (yes or dry_run):
            raise SettingsError(f"{path}: {doubt} Nothing was imported. Get it again, or take it with --yes.")
        if doubt:
            err.print(f"{path}: {doubt}", markup=False)
        if dry_run:
            changes = catalogue.diff_with(connection, found.source, found.rows)
            facts: dict[str, Any] = {"rows": len(found.rows)}
        else:
            done = catalogue.import_rows(connection, found.source, found.rows, now=datetime.now(UTC))
            changes = list(done.changes)
            orphans = catalogue.without_parent(connection, found.source) if found.rows else []
            facts = {"rows": done.rows, "new": done.new_rows, "changed": done.changed_rows, "gone": done.gone_rows}
    facts = {"list": found.layout, "rows read": found.rows_read, **facts, "skipped": len(found.skipped),
             "brokers": dict(Counter(one.kind for one in changes))}  # fmt: skip
    if as_json:
        listed = [[one.key, one.kind, dict(one.before), dict(one.after)] for one in changes]
        reasons = [[one.key, one.reason] for one in found.skipped]
        print_json({**facts, "reasons": reasons, "without_parent": orphans, "changes": listed})
        return
    print_facts(facts)
    for one in found.skipped:
        out.print(f"  skipped {one.key}: {one.reason}", markup=False)
    for key, parent in orphans:
        out.print(f"  {key} is asked itself: the catalogue has no one broker {parent}, which handles it", markup=False)
    if not found.rows:
        out.print("  nothing was imported: no row can be used, and what was imported before stays")
    if changes:
        _show_changes(changes, every=every)


@brokers_app.command("diff")
def diff(
    before: Annotated[str, typer.Argument(help="A list.")],
    after: Annotated[str, typer.Argument(help="Another list: a later one, say, perhaps in another layout.")],
    every: Annotated[bool, typer.Option("--all", help="Show every change.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show the differences between two lists, by broker. Nothing is imported. Exit code 1 when they differ."""
    changes = difference(catalogue.facts_of(_read(before).rows), catalogue.facts_of(_read(after).rows))
    if as_json:
        print_json([[one.key, one.kind, dict(one.before), dict(one.after)] for one in changes])
    elif changes:
        _show_changes(changes, every=every)
    if changes:
        raise typer.Exit(EXIT_FAILED)


@brokers_app.command("list")
def list_brokers(
    category: Annotated[str | None, typer.Option(help="Only of this category.")] = None, as_json: AsJson = False
) -> None:
    """List the brokers of the catalogue: the channel for each, and which broker handles which."""
    query = """
        SELECT b.key, b.name, b.version, b.channels, o.key AS handled_by, b.sources, b.facts -> 'categories' AS kinds,
               (SELECT count(*) FROM kordant.broker_contact_faults f WHERE f.broker_id = b.id) AS faults
        FROM kordant.brokers b LEFT JOIN kordant.brokers o ON o.id = b.handled_by
        WHERE b.retired_at IS NULL AND (cast(:category AS text) IS NULL OR b.facts -> 'categories' ? :category)
        ORDER BY b.key
    """
    with open_session() as session, session.db.connect() as connection:
        rows = connection.execute(sa.text(query), {"category": category}).all()
    if as_json:
        print_json([dict(row._mapping) for row in rows])
        return
    print_table(
        ["broker", "name", "asked by", "handled by", "lists", "faults"],
        [(r.key, r.name, ", ".join(r.channels) or "no way in", r.handled_by, ", ".join(r.sources), r.faults or "")
         for r in rows],
    )  # fmt: skip


def _found(connection: sa.Connection, text: str) -> Any:
    if (row := catalogue.find(connection, text)) is None:
        raise SettingsError(f"there is no one broker {text!r}: `kordant-jobs brokers list` has their keys.")
    return row


@brokers_app.command("show")
def show(
    broker: Annotated[str, typer.Argument(help="Its key, a domain of it, or its name.")], as_json: AsJson = False
) -> None:
    """Show everything known about a broker: facts, faults of its contacts, and the rows that they come from."""
    with open_session() as session, session.db.connect() as connection:
        row = _found(connection, broker)
        faults = catalogue.faults(connection, row.id)
        rows = connection.execute(sa.select(broker_rows).where(broker_rows.c.broker_id == row.id)).all()
    if as_json:
        print_json({**row.facts, "version": row.version, "channels": row.channels,
                    "faults": [dict(one._mapping) for one in faults], "rows": [one.row for one in rows]})  # fmt: skip
        return
    print_facts({**{name: value for name, value in row.facts.items() if value}, "version": row.version,
                 "channels": ", ".join(row.channels)})  # fmt: skip
    for one in faults:
        out.print(f"  {one.contact} does not work since {one.since:%Y-%m-%d} ({one.fault})", markup=False)
    print_table(
        ["list", "row", "since", "gone"],
        [(one.source, one.row_key, f"{one.first_seen_at:%Y-%m-%d}", one.gone_at and f"{one.gone_at:%Y-%m-%d}")
         for one in rows],
    )  # fmt: skip


@brokers_app.command()
def confirm(broker: Annotated[str, typer.Argument(help="Its key, a domain of it, or its name.")]) -> None:
    """Confirm that a broker's contacts work: the next run continues requests that wait for a contact."""
    with open_session() as session, session.db.begin() as connection:
        row = _found(connection, broker)
        ended = catalogue.clear_faults(connection, row.id)
        connection.execute(
            sa.text("UPDATE kordant.removal_requests SET next_at = now() WHERE broker_id = :id AND state = :state"),
            {"id": row.id, "state": "contact_moved"},
        )
    out.print(f"{ended} faults ended")


@brokers_app.command()
def directory(path: Annotated[Path, typer.Argument(help="Businesses of the Data Rights Protocol, as JSON.")]) -> None:
    """Import the directory document of the Data Rights Protocol: its businesses can then get requests over the
    protocol."""
    from kordant_jobs.adapters.brokers.drp import read_businesses

    try:
        good, bad = read_businesses(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}).") from None
    with open_session() as session, session.db.begin() as connection:
        taken = rights.write_businesses(connection, good, now=datetime.now(UTC))
    out.print(f"{taken} businesses")
    for name, reason in bad:
        err.print(f"left out {name or '(no id)'}: {reason}", markup=False)
