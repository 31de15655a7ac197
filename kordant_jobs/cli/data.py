"""Commands for stored data: kordant-jobs db | dumps | catalogue."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import sqlalchemy as sa
import typer
from uuid_utils.compat import uuid7

from kordant_jobs.adapters.drop_folder import open_dump_place
from kordant_jobs.cli.arguments import id_of, one_of
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.darkwatch.exposures import DumpStatus
from kordant_jobs.errors import PermanentError, SettingsError
from kordant_jobs.settings import load_settings
from kordant_jobs.store import migrate
from kordant_jobs.store.access import isolation
from kordant_jobs.store.darkwatch import dumps
from kordant_jobs.store.darkwatch.tables import breach_dumps

if TYPE_CHECKING:
    from kordant_jobs.adapters.dumps import Ledger

db_app = typer.Typer(help="The database: where it is, its migrations.", no_args_is_help=True)
dumps_app = typer.Typer(help="Breach dumps: what was dropped, ingested, quarantined.", no_args_is_help=True)
catalogue_app = typer.Typer(help="The catalogue of known breaches.", no_args_is_help=True)

DumpId = Annotated[str, typer.Argument(help="The dump's id, as `dumps list` shows it.")]
ShapeOption = Annotated[
    str | None, typer.Option("--shape", help="Read it as this shape, as csv or sql_insert; a wrong one lists all.")
]
ColumnsOption = Annotated[
    Path | None,
    typer.Option("--columns", exists=True, dir_okay=False, help="YAML: which column has which role (`dumps explain`)."),
]
RegionOption = Annotated[str | None, typer.Option("--region", help="The country of numbers without a code (ISO 3166).")]


def _dump_id(connection: sa.Connection, text: str) -> UUID:
    return id_of(connection, breach_dumps.c.id, text, "dump", "`kordant-jobs dumps list`")


@db_app.command("url")
def db_url() -> None:
    """Print the database's URL for psql and pg_dump, without a password."""
    with open_session() as session:
        out.print(session.server.libpq)


@db_app.command("upgrade")
def db_upgrade(to: Annotated[str, typer.Option(help="The migration to come to.")] = "head") -> None:
    """Migrate the database to the newest migration (every start does this too)."""
    with open_session() as session:
        migrate.upgrade(session.db, to)
        out.print(f"at migration {migrate.revision(session.db)}")


@db_app.command("downgrade")
def db_downgrade(
    to: Annotated[str, typer.Argument(help="The migration to go back to; `base` drops everything.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Migrate the database back. Data of later migrations is lost."""
    with open_session() as session:
        if not yes and not typer.confirm(
            f"Go back to {to} in {session.server.shown}? Later tables and columns are lost"
        ):
            raise typer.Exit(1)
        migrate.downgrade(session.db, to)
        out.print(f"at migration {migrate.revision(session.db) or 'none'}")


@db_app.command("migration")
def db_migration(what: Annotated[str, typer.Argument(help="What it does, as 'counties are watched'.")]) -> None:
    """For developers: write a migration from the database's current state to the definitions in
    `store/<area>/tables.py`."""
    with open_session() as session:
        out.print(f"wrote {migrate.draft(session.db, what)}; read it, then `kordant-jobs db upgrade`")


@db_app.command("prune")
def db_prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete history that is older than KORDANT_KEEP_*: ended requests, Dagster's runs, events and ticks.

    The daemon of `up` does the same every ten minutes, the stock one does not. Alerts, exposures and reports stay.
    """
    from kordant_jobs.app import SYSTEM
    from kordant_jobs.engine.control import operate

    with open_session() as session:
        files = session.settings.state_dir / "dagster" / "storage"
        now, keep = operate.DatabaseClock(session.db).now(), operate.RetentionDays.of(SYSTEM.settings())
        pruned = operate.prune(session.db, now=now, keep=keep, more=SYSTEM.prunable, run_files=files, dry_run=dry_run)
    facts = {"dry_run": dry_run, **pruned.counts}
    print_json(facts) if as_json else print_facts(facts)


@db_app.command("harden")
def db_harden() -> None:
    """Isolate the API's callers in the database, by roles and row security; needs a user that may create roles.

    The API does it by itself at its start where it may. Safe to repeat.
    """
    with open_session() as session, session.db.begin() as connection:
        if not isolation.may_harden(connection):
            raise PermanentError(
                "this database's user may not create roles: run `db harden` once with KORDANT_DATABASE_URL naming one "
                "that may (a superuser, or CREATEROLE), then grant both kordant_reads_… roles to the other."
            )
        isolation.harden(connection)
    out.print("callers are isolated in the database; the API uses it from its next start on")


@dumps_app.command("list")
def dumps_list(
    status: Annotated[
        str | None,
        typer.Option(help="Only this state: registered, ingested, partial, quarantined, superseded, dismissed."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List every dump with its state, shape and figures; a quarantined one with the reason."""
    table = breach_dumps.c
    hidden = {"content_sha256", "file_key"}
    query = sa.select(*(column for column in table if column.name not in hidden)).order_by(table.registered_at)
    if status:
        query = query.where(table.status == one_of(DumpStatus, status, "--status"))
    with open_session() as session, session.db.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["id", "file", "breach", "state", "shape", "lines", "bad", "reason"],
        [
            (
                row["id"],
                row["file_label"],
                row["breach_name"],
                row["status"],
                " ".join(filter(None, [row["shape"], row["compression"]])),
                f"{row['lines']:,}",
                f"{sum(row['bad_lines'].values()):,}",
                row["reason"],
            )
            for row in rows
        ],
    )


@dumps_app.command("add")
def dumps_add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The dump; it is copied or uploaded.")],
    breach: Annotated[
        str | None, typer.Option(help="The breach it is of, by catalogue name; else by file name.")
    ] = None,
    shape: ShapeOption = None,
    columns: ColumnsOption = None,
    region: RegionOption = None,
    known_at: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When it became known (UTC), as 2026-11-21."),
    ] = None,
) -> None:
    """Put a dump into the drop place and register it, with options that cannot be detected from the file."""
    from kordant_jobs.adapters.dumps import content_sha256
    from kordant_jobs.cli.explain import reader_options
    from kordant_jobs.jobs.darkwatch_scan.drops import register_file

    options = reader_options(shape, columns, region).to_text()
    with open_session() as session:
        _breach_must_be_known(session.db, breach)
        digest = bytes.fromhex(content_sha256(file))
        with session.db.connect() as connection:
            if dumps.is_registered(connection, digest):
                out.print("this dump is known already: nothing to do")
                return
        moment = known_at.replace(tzinfo=UTC) if known_at else None
        place, made = open_dump_place(session.settings), uuid7()
        draft = place.put(file, f".{file.name}.part")
        with dumps.ingesting(session.db, made):  # no scan reads it before it has its name
            registered = register_file(
                session.db, draft, session.keyring, name=file.name, known_at=moment, breach_name=breach, shape=options,
                content=file, dump_id=made,
            )  # fmt: skip
            register_file(session.db, place.rename(draft, file.name), session.keyring, content=file)
        if registered is None:  # by another process meanwhile: its dump is read from our file now
            out.print("this dump is known already: the next scan reads it")
            return
        out.print(f"registered as {made}; the next scan reads it")


def _breach_must_be_known(db: sa.Engine, name: str | None) -> None:
    from kordant_jobs.store.darkwatch.tables import breaches

    if name is None:
        return
    with db.connect() as connection:
        if not connection.execute(sa.select(breaches.c.name).where(breaches.c.name == name)).scalar():
            raise SettingsError(f"--breach {name}: no such breach is known. See `kordant-jobs catalogue list`.")


@dumps_app.command("show")
def dumps_show(dump: DumpId, as_json: AsJson = False) -> None:
    """Show one dump: which reader read which part, and what was not understood."""
    from kordant_jobs.adapters.dumps import Ledger
    from kordant_jobs.jobs.darkwatch_scan.drops import label_of

    hidden = {"content_sha256", "file_key"}
    query = sa.select(*(column for column in breach_dumps.c if column.name not in hidden))
    with open_session() as session, session.db.connect() as connection:
        dump_id = _dump_id(connection, dump)
        row = connection.execute(query.where(breach_dumps.c.id == dump_id)).mappings().first()
        if row is None:
            raise SettingsError(f"there is no dump {dump_id}. See `kordant-jobs dumps list`.")
        files = open_dump_place(session.settings).files()
        lies_at = next((one.where for one in files if label_of(one.name, session.keyring) == row["file_label"]), None)
    ledger = Ledger.of_json(row["ledger"])
    if as_json:
        print_json({**row, "understood_share": ledger.understood_share})
        return
    facts = {name: value for name, value in row.items() if name not in {"ledger", "bad_lines"} and value is not None}
    print_facts({**facts, **({"lies at": lies_at} if lies_at else {})})
    show_ledger(ledger)


@dumps_app.command("explain")
def dumps_explain(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A file, dropped or not.")],
    lines: Annotated[int, typer.Option(min=0, help="So many records are shown, masked.")] = 20,
    shape: ShapeOption = None,
    columns: ColumnsOption = None,
    region: RegionOption = None,
    as_json: AsJson = False,
) -> None:
    """Show how a file is understood: its readers, the roles of its columns, the persons found. Nothing is stored. A map
    of columns gives roles by place or header: `delimiter: ";"` and `columns: {1: email, Kennwort: password}`."""
    from kordant_jobs.cli.explain import explain, reader_options

    options = reader_options(shape, columns, region)
    explained = explain(
        file,
        shape=options.shape,
        columns=options.columns,
        lines=lines,
        region=options.region or load_settings().phone_region,
    )
    if as_json:
        print_json(explained.to_json())
        return
    print_facts(explained.facts())
    show_ledger(explained.ledger)
    print_table(["line", "kind", "identifier", "beside it"], explained.records)


def show_ledger(ledger: Ledger) -> None:
    """Print shares by reader, segments, and what was not understood."""
    shares = ", ".join(f"{share:.1%} as {name}" for name, share in ledger.shares().items())
    out.print(
        f"{ledger.understood_share:.1%} understood ({shares}); {ledger.only_swept:,} of {ledger.records:,} identifiers "
        f"only swept; {ledger.undecoded:,} lines not decoded; {ledger.skipped_members:,} members skipped"
    )
    print_table(
        ["member", "reader", "from line", "to line", "lines", "bad", "identifiers", "only swept"],
        [
            (
                one.member or "",
                one.reader,
                one.first_line,
                one.last_line,
                one.lines,
                one.bad,
                one.records,
                one.only_swept,
            )
            for one in ledger.segments
        ],
    )
    if ledger.skipped:
        print_table(["skipped member", "since it is"], [(one.member, one.reason) for one in ledger.skipped])


@dumps_app.command("retry")
def dumps_retry(
    dump: DumpId, shape: ShapeOption = None, columns: ColumnsOption = None, region: RegionOption = None
) -> None:
    """Let the next scan read a quarantined or partly read dump again. Options given now replace earlier ones."""
    from kordant_jobs.cli.explain import reader_options

    options = reader_options(shape, columns, region)
    _move(dump, DumpStatus.REGISTERED, "it is read again by the next scan", options.to_text())


@dumps_app.command("accept")
def dumps_accept(dump: DumpId) -> None:
    """Accept a partly read dump as read; it no longer makes verdicts unknown, and its file is deleted."""
    _move(dump, DumpStatus.INGESTED, "it counts as read", None)


@dumps_app.command("dismiss")
def dumps_dismiss(dump: DumpId) -> None:
    """Dismiss a quarantined or partly read dump; it no longer makes verdicts unknown."""
    _move(dump, DumpStatus.DISMISSED, "it counts no more", None)


def _move(dump: str, to: str, words: str, options: str | None) -> None:
    from kordant_jobs.adapters.corpus import open_corpus

    with open_session() as session, session.db.begin() as connection:
        dump_id = _dump_id(connection, dump)
        if not dumps.move(connection, dump_id, DumpStatus(to), told_shape=options):
            raise SettingsError(f"{dump_id} is neither quarantined nor partly read. See `kordant-jobs dumps list`.")
        if to != DumpStatus.INGESTED:
            open_corpus(session.settings).remove(dump_id)  # what was read of it, if anything
    out.print(f"{dump_id}: {words}")


@catalogue_app.command("import")
def catalogue_import(
    where: Annotated[str, typer.Argument(help="A file in HIBP's model, or its address.")], as_json: AsJson = False
) -> None:
    """Import a breach catalogue now. A file of another kind changes nothing."""
    from kordant_jobs.adapters.breach_catalogue import open_catalogue, parse_catalogue
    from kordant_jobs.store.darkwatch import breaches

    catalogue = open_catalogue(where)
    assert catalogue is not None  # noqa: S101 - a given place always opens
    content = catalogue.read()
    found, rejected = parse_catalogue(content)
    with open_session() as session, session.db.begin() as connection:
        new = breaches.save_catalogue(connection, content, found, rejected=rejected)
    facts = {"breaches": len(found), "new": new, "left_out": rejected}
    print_json(facts) if as_json else print_facts(facts)


@catalogue_app.command("list")
def catalogue_list(as_json: AsJson = False) -> None:
    """List every known breach."""
    from kordant_jobs.store.darkwatch.tables import breaches

    table = breaches.c
    query = sa.select(table.name, table.title, table.breached_on, table.pwn_count, table.source).order_by(table.name)
    with open_session() as session, session.db.connect() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    if as_json:
        print_json(rows)
        return
    print_table(["name", "title", "breached on", "accounts", "source"], [tuple(row.values()) for row in rows])
