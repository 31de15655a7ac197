"""Commands for bank connections: kordant-jobs connections add | list | show | sync | pause | resume | end | runs."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from kordant_jobs.catalog import enqueue
from kordant_jobs.cli.arguments import id_of, one_of, read_line
from kordant_jobs.cli.entities import entity_id_of
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.finance.states import ConnectionStatus, Provider
from kordant_jobs.errors import SettingsError
from kordant_jobs.ports import BankFailed
from kordant_jobs.store.finance import connections, reading
from kordant_jobs.store.finance.tables import bank_connections

connections_app = typer.Typer(help="Bank connections: state, sync, consents, results.", no_args_is_help=True)
ConnectionId = Annotated[str, typer.Argument(help="The connection's id.")]
LIST = "`kordant-jobs connections list`"


def _id(connection: Connection, text: str) -> UUID:
    return id_of(connection, bank_connections.c.id, text, "connection", LIST)


@connections_app.command()
def add(
    entity: Annotated[str, typer.Argument(help="The entity's id.")],
    provider: Annotated[str, typer.Argument(help="pluggy, ofb, belvo or file.")],
    institution: Annotated[str, typer.Argument(help="The bank: the provider's id of it, or its CNPJ.")],
    as_json: AsJson = False,
) -> None:
    """Add a connection that its owner agreed to. The provider's id is typed at a prompt or read from standard input: an
    item, a link, or (ofb) JSON with consent and refresh_token."""
    chosen = one_of(Provider, provider, "provider")
    if not institution.strip() or len(institution) > 100:
        raise SettingsError("name the institution, as '201' or its CNPJ, in at most 100 characters.")
    item = read_line("item", hidden=True)
    if chosen is Provider.OFB:
        from kordant_jobs.adapters.banks.ofb import Grant

        try:
            Grant.of(item)
        except BankFailed:
            raise SettingsError('ofb needs JSON: {"consent": "urn:…", "refresh_token": "…"}.') from None
    with open_session() as session, session.db.begin() as connection:
        made = connections.create(
            connection,
            session.keyring,
            entity_id=entity_id_of(connection, entity),
            provider=chosen,
            institution=institution,
            item=item,
            now=datetime.now(UTC),
        )
    print_json({"id": made}) if as_json else out.print(f"{made}: due at once")


@connections_app.command("list")
def list_connections(
    entity: Annotated[str | None, typer.Option(help="Only of this entity.")] = None,
    status: Annotated[str | None, typer.Option(help=", ".join(ConnectionStatus) + ".")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List connections, those due first at the top, with the result of the last read."""
    wanted = one_of(ConnectionStatus, status, "--status") if status else None
    with open_session() as session, session.db.connect() as connection:
        chosen = entity_id_of(connection, entity) if entity else None
        found = reading.connections(connection, entity_id=chosen, status=wanted, limit=limit)
    columns = ["id", "provider", "institution", "status", "next_due_at", "due_reason", "last_outcome", "last_code"]
    print_json(found) if as_json else print_table(columns, [[one[name] for name in columns] for one in found])


@connections_app.command()
def show(connection: ConnectionId, as_json: AsJson = False) -> None:
    """Show a connection: its state, its consent, and the results of its last reads."""
    from kordant_jobs.jobs.bank_sync.files import refused_files

    with open_session() as session, session.db.connect() as database:
        connection_id = _id(database, connection)
        found = reading.connections(database, connection_id=connection_id)
        last = reading.results(database, connection_id)
        drop = session.settings.bank_drop
    if not found:
        raise SettingsError(f"there is no connection {connection_id}. {LIST} lists them.")
    refused = refused_files(drop, found[0]["entity_id"]) if found[0]["provider"] == Provider.FILE else []
    if as_json:
        print_json({**found[0], "results": last, "refused_files": refused})
        return
    print_facts({name: value for name, value in found[0].items() if value is not None})
    columns = ["ended_at", "outcome", "error_class", "error_code", "counts", "duration_ms"]
    print_table(columns, [[one[name] for name in columns] for one in last], title="\nresults")
    _print_refused(refused)


def _print_refused(refused: list[dict[str, object]]) -> None:
    if refused:
        columns = ["at", "entity_id", "file", "reason"]
        print_table(columns, [[one[name] for name in columns] for one in refused], title="\nrefused files")


@connections_app.command()
def sync(
    connections: Annotated[list[str] | None, typer.Argument(help="Which; none: those that are due.")] = None,
    as_json: AsJson = False,
) -> None:
    """Request a sync; `up` starts it at once."""
    from kordant_jobs.catalog.bank_sync import BankSync

    with open_session() as session, session.db.begin() as database:
        ids = tuple(_id(database, one) for one in connections or ())
        payload = BankSync(connection_ids=ids, also_due=not ids, user_is_present=bool(ids))
        request = enqueue(database, payload, requested_by="cli")
    print_json({"request_id": request}) if as_json else out.print(f"queued as {request}")


def _move(text: str, status: ConnectionStatus, as_json: bool) -> None:
    with open_session() as session, session.db.begin() as database:
        connection_id = _id(database, text)
        moved = connections.set_status(database, connection_id, status, reason="operator", now=datetime.now(UTC))
    if not moved:
        raise SettingsError(f"{connection_id} cannot become {status.value}: `connections show` says how it stands.")
    facts: dict[str, Any] = {"id": connection_id, "status": status.value}
    print_json(facts) if as_json else out.print(f"{connection_id}: {status.value}")


@connections_app.command()
def pause(connection: ConnectionId, as_json: AsJson = False) -> None:
    """Stop reading a connection until it is resumed."""
    _move(connection, ConnectionStatus.PAUSED, as_json)


@connections_app.command()
def resume(connection: ConnectionId, as_json: AsJson = False) -> None:
    """Resume a connection that was paused, or whose owner has acted."""
    _move(connection, ConnectionStatus.ACTIVE, as_json)


@connections_app.command()
def end(
    connection: ConnectionId,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """End a connection for good at its owner's wish, also at its provider. A new consent makes a new connection."""
    from kordant_jobs.adapters.banks.registry import open_banks
    from kordant_jobs.privacy.forget import end_at_provider

    if not yes:
        typer.confirm(f"End connection {connection} for good?", abort=True)
    with open_session() as session:
        with session.db.connect() as database:
            connection_id = _id(database, connection)
        end_at_provider(connection_id, db=session.db, keyring=session.keyring, banks=open_banks(session.settings))
    _move(connection, ConnectionStatus.ENDED, as_json)


@connections_app.command()
def runs(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="At most so many.")] = 20, as_json: AsJson = False
) -> None:
    """List the last runs of bank_sync: {successful, failed, total}, deferred connections, and refused files."""
    from kordant_jobs.jobs.bank_sync.files import refused_files

    with open_session() as session, session.db.connect() as database:
        found = reading.runs(database, limit=limit)
        drop = session.settings.bank_drop
    if as_json:
        print_json(found)
        return
    columns = ["started_at", "ended_at", "successful", "failed", "total", "active", "deferred"]
    print_table(columns, [[one[name] for name in columns] for one in found])
    _print_refused(refused_files(drop))
