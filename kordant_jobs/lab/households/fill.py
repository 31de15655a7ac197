"""Writes an invented world into the tables of banks, as a sync would have: rows, transfers, bills, balances,
versions."""

import hashlib
from collections.abc import Sequence
from datetime import date, datetime, time
from uuid import UUID, uuid5

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.finance.states import EntityKind
from kordant_jobs.domain.finance.values import ZONE
from kordant_jobs.domain.insights.assess import money
from kordant_jobs.lab.households.books import account_codes, balances
from kordant_jobs.lab.households.generator import World
from kordant_jobs.lab.households.written import as_written
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.finance import entities, tables
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

SPACE = UUID("6b1f3c0e-8a54-4f0e-9a53-0d7c1f6f2a11")
KNOWN_FIRMS_ONLY = "~"


def entity_id(world: World, index: int) -> UUID:
    """The id of an entity of a world: the same in every database."""
    return uuid5(SPACE, f"{world.seed} {index}")


def _ids(kind: str, world: World, *columns: str) -> pl.Expr:
    """Ids made from columns, the same in every database."""
    text = pl.concat_str(pl.lit(f"{kind} {world.seed}"), *columns, separator=" ")
    return text.map_elements(lambda one: str(uuid5(SPACE, one)), return_dtype=pl.String)


def fill(
    connection: Connection,
    keyring: Keyring,
    world: World,
    *,
    as_of: date | None = None,
    subscription_ids: Sequence[UUID] = (),
    with_lines: bool = False,
) -> list[UUID]:
    """Make the world's entities with all that a sync would have brought by `as_of`; their ids, by their number.
    The first entities belong to the subscriptions given. `with_lines` seals the statement lines, too: 10 µs a row."""
    day = as_of or world.as_of
    made = []
    for index, archetype, owner in world.entities.select("entity", "archetype", "owner").iter_rows():
        kind = EntityKind.FIRM if archetype == "firm" else EntityKind.HOUSEHOLD
        subscription = subscription_ids[index] if index < len(subscription_ids) else None
        one = entity_id(world, index)
        made.append(
            entities.create(connection, keyring, kind=kind, name=owner, subscription_id=subscription, entity_id=one)
        )
    owners = pl.DataFrame({"entity": range(len(made)), "entity_id": [str(one) for one in made]}).with_columns(
        pl.col("entity").cast(pl.Int32)
    )
    accounts = (
        account_codes(world)
        .join(owners, on="entity")
        .with_columns(_ids("account", world, "entity", "account").alias("account_id"))
    )
    write_frame(
        connection,
        accounts.select(
            pl.col("account_id").alias("id"), "entity_id", "kind", pl.lit("BRL").alias("currency"),
            pl.lit("invented").alias("institution"),
            pl.col("account_id").str.replace_all("-", "").str.decode("hex").alias("identity_index"),
        ),
        "kordant.bank_accounts",
    )  # fmt: skip
    _write_balances(connection, world, accounts, day)
    written = as_written(world).filter(pl.col("day") <= day)
    if with_lines:
        written = _sealed(written, world, entities.load_keys(connection, keyring, made))
    write_rows(connection, keyring, world, accounts, written, day)
    connection.execute(
        sa.text(
            "UPDATE kordant.entity_versions SET data_version = data_version + 1, changed_at = now() "
            "WHERE entity_id = ANY(:ids)"
        ),
        {"ids": made},
    )
    return made


def _write_balances(connection: Connection, world: World, accounts: pl.DataFrame, day: date) -> None:
    at = datetime.combine(day, time(23), ZONE)
    known = balances(world, day).drop("kind").join(accounts, on=["entity", "account"])
    cards = known.filter(pl.col("kind") == "card")
    said = pl.concat(
        [
            known.select("account_id", pl.lit("current").alias("kind"), "balance"),
            cards.select("account_id", pl.lit("limit").alias("kind"), pl.lit(800_000, dtype=pl.Int64).alias("balance")),
            cards.select("account_id", pl.lit("used").alias("kind"), (-pl.col("balance")).clip(0).alias("balance")),
        ]
    )
    write_frame(
        connection,
        said.select(
            "account_id", "kind", pl.lit(at).alias("as_of_at"), money("balance").alias("amount"),
            pl.lit("BRL").alias("currency"),
        ),
        "kordant.bank_balances",
    )  # fmt: skip


def write_rows(
    connection: Connection, keyring: Keyring, world: World, accounts: pl.DataFrame, written: pl.DataFrame, day: date
) -> None:
    """Append rows of a world. Payees are kept as keyed hashes, as a sync keeps what is not a known firm."""
    names = written["name"].unique()
    hashed = [KNOWN_FIRMS_ONLY + keyring.blind_index("payee", one).hex() for one in names]
    rows = (
        written.join(accounts.select("entity", "account", "account_id", "entity_id"), on=["entity", "account"])
        .with_columns(
            pl.col("name").replace_strict(dict(zip(names, hashed, strict=True))).alias("merchant_key"),
            _ids("row", world, "entity", "uid").alias("id"),
            _ids("bill", world, "entity", "account", "cash_day").alias("bill_id"),
            pl.col("account").str.starts_with("card").alias("is_card"),
        )
        .with_columns(pl.when(pl.col("is_card") & (pl.col("closes_on") <= day)).then("bill_id").alias("bill_id"))
    )
    write_frame(connection, _bills(rows), "kordant.card_bills")
    origin = _ids("row", world, "entity", "refund_of")
    foreign = _ids("row", world, "entity", "iof_of")
    write_frame(
        connection,
        rows.select(
            "id", "account_id", "entity_id", pl.col("id").str.replace_all("-", "").str.decode("hex").alias("alias"),
            "state", pl.col("day").alias("booked_on"), money("cents").alias("amount"), pl.lit("BRL").alias("currency"),
            money("orig_cents").alias("original_amount"),
            pl.when(pl.col("orig_cents").is_not_null()).then(pl.lit("USD")).alias("original_currency"), "type",
            pl.col("mcc").cast(pl.String), "merchant_key", "bill_id", pl.col("no").alias("instalment_no"),
            pl.col("of").alias("instalment_of"),
            pl.when("is_own").then(pl.lit("own")).otherwise(None).alias("transfer_status"),
            pl.when(pl.col("iof_of").is_not_null()).then(foreign).otherwise(None).alias("iof_of"),
            pl.when(pl.col("type") == "reversal").then(origin).otherwise(None).alias("refund_of"),
            pl.lit(hashlib.sha256(b"").digest()).alias("content_hash"), pl.lit(b"1").alias("extra_hash"),
            *(["description_encrypted"] if "description_encrypted" in rows.columns else []),
        ),
        "kordant.transactions",
    )  # fmt: skip


def _sealed(written: pl.DataFrame, world: World, keys: SubscriberKeys) -> pl.DataFrame:
    ids = written.select(_ids("row", world, "entity", "uid")).to_series()
    column = tables.transactions.c.description_encrypted
    sealed = [
        keys.seal(entity_id(world, entity), column, UUID(row), line)
        for entity, row, line in zip(written["entity"], ids, written["description"], strict=True)
    ]
    return written.with_columns(pl.Series("description_encrypted", sealed, dtype=pl.Binary))


def _bills(rows: pl.DataFrame) -> pl.DataFrame:
    """Bills of the cards' rows. A bill is due on the day that its rows say."""
    return (
        rows.filter(pl.col("bill_id").is_not_null() & pl.col("cash_day").is_not_null())
        .group_by("bill_id", "entity_id", "account_id", "cash_day").agg((-pl.col("cents").sum()).alias("total"))
        .select(
            pl.col("bill_id").alias("id"), "entity_id", "account_id",
            pl.col("bill_id").str.replace_all("-", "").str.decode("hex").alias("bill_index"),
            pl.col("cash_day").alias("due_on"), money("total").alias("total"), pl.lit("BRL").alias("currency"),
            pl.lit("closed").alias("state"),
        )
    )  # fmt: skip
