"""Commands for entities: kordant-jobs entities create | list | show | export | forget."""

import json
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from kordant_jobs.cli.arguments import id_of, one_of, read_lines
from kordant_jobs.cli.output import AsJson, out, print_facts, print_json, print_table
from kordant_jobs.cli.session import open_session
from kordant_jobs.domain.finance.states import EntityKind
from kordant_jobs.domain.finance.values import document_of
from kordant_jobs.errors import SettingsError
from kordant_jobs.store.people.tables import subscriptions

entities_app = typer.Typer(help="Households and firms whose bank accounts are read.", no_args_is_help=True)
EntityId = Annotated[str, typer.Argument(help="The entity's id.")]
LIST = "`kordant-jobs entities list`"


def entity_id_of(connection: Connection, text: str) -> UUID:
    """The id of the entity that was typed.

    Raises:
        SettingsError: there is none.
    """
    from kordant_jobs.store.finance.tables import entities

    return id_of(connection, entities.c.id, text, "entity", LIST)


@entities_app.command()
def create(
    kind: Annotated[str, typer.Option(help="household or firm.")] = EntityKind.HOUSEHOLD.value,
    subscription: Annotated[str | None, typer.Option(help="The subscription that gets its alerts.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create an entity. Lines `name: …` and `document: …` (CPF or CNPJ) are typed at a prompt, or read from standard
    input."""
    from kordant_jobs.store.finance import entities

    chosen = one_of(EntityKind, kind, "--kind")
    said = {
        word.strip().lower(): rest.strip() for word, _, rest in (line.partition(":") for line in read_lines("name"))
    }
    if not said.get("name") or set(said) - {"name", "document"}:
        raise SettingsError("give a line `name: …`, and perhaps `document: …`. Nothing was made.")
    document = document_of(said.get("document"))
    if said.get("document") and document is None:
        raise SettingsError("the document is no CPF (11 digits) or CNPJ (14). Nothing was made.")
    with open_session() as session, session.db.begin() as connection:
        linked_id = id_of(connection, subscriptions.c.id, subscription, "subscription") if subscription else None
        made = entities.create(
            connection,
            session.keyring,
            kind=chosen,
            name=said["name"],
            document=document,
            subscription_id=linked_id,
        )
    print_json({"id": made}) if as_json else out.print(str(made))


@entities_app.command("list")
def list_entities(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 100, as_json: AsJson = False
) -> None:
    """List entities, with the size of their data and whether their insights are older than it."""
    from kordant_jobs.store.finance import entities

    with open_session() as session, session.db.begin() as connection:
        found = entities.find(connection, session.keyring, limit=limit)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    rows = [
        (
            one.id, one.kind.value, one.name or "(forgotten)", one.connections, one.accounts, one.transactions,
            "stale" if one.is_stale else "",
        )
        for one in found
    ]  # fmt: skip
    print_table(["id", "kind", "name", "connections", "accounts", "transactions", "insights"], rows)


@entities_app.command()
def show(entity: EntityId, as_json: AsJson = False) -> None:
    """Show an entity: its accounts with balances and their unexplained part, and its connections."""
    from kordant_jobs.store.finance import entities, reading

    with open_session() as session, session.db.begin() as connection:
        entity_id = entity_id_of(connection, entity)
        found = entities.find(connection, session.keyring, entity_id=entity_id)
        if not found:
            raise SettingsError(f"there is no entity {entity_id}. {LIST} lists them.")
        accounts = reading.accounts(connection, session.keyring, entity_id)
        connected = reading.connections(connection, entity_id=entity_id)
    if as_json:
        print_json({**asdict(found[0]), "accounts": accounts, "connections": connected})
        return
    print_facts({name: value for name, value in asdict(found[0]).items() if value is not None})
    columns = ["kind", "number", "balance", "currency", "as_of_at", "rows", "history_from", "unexplained"]
    print_table(columns, [[one[name] for name in columns] for one in accounts], title="\naccounts")
    columns = ["id", "provider", "institution", "status", "status_reason", "last_complete_at", "consent_until"]
    print_table(columns, [[one[name] for name in columns] for one in connected], title="\nconnections")


@entities_app.command()
def export(entity: EntityId) -> None:
    """Print all data of an entity, decrypted, as JSON: with purposes and sources."""
    from kordant_jobs.privacy.held import stored_data
    from kordant_jobs.store.finance.tables import entities

    with open_session() as session, session.db.connect() as connection:
        entity_id = entity_id_of(connection, entity)
        found = stored_data(connection, session.keyring, entity_id, root=entities)
    if not found:
        raise SettingsError(f"there is no entity {entity_id}, or it was forgotten.")
    document = {"entity": entity_id, "held": [asdict(one) for one in found]}
    out.print(json.dumps(document, default=str, ensure_ascii=False, indent=2))


@entities_app.command()
def forget(
    entity: EntityId,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete an entity for good: its connections at their providers, its key, and all its rows."""
    from kordant_jobs.adapters.banks.registry import open_banks
    from kordant_jobs.privacy.forget import forget_entity

    with open_session() as session:
        with session.db.connect() as connection:
            entity_id = entity_id_of(connection, entity)
        if not yes:
            typer.confirm(f"Forget entity {entity_id} for good?", abort=True)
        banks = open_banks(session.settings)
        deleted = forget_entity(entity_id, db=session.db, keyring=session.keyring, banks=banks)
    if deleted is None:
        raise SettingsError(f"there is no entity {entity_id}, or it was forgotten before.")
    print_json(deleted) if as_json else print_facts({"deleted": deleted})
