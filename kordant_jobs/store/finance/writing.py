"""Writes new or changed rows to the ledger, sealed: COPY, and one statement that also keeps former versions and ids."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.merchants import goes_to_a_person, merchant_of
from kordant_jobs.domain.finance.states import PROVISIONAL, ChangeReason
from kordant_jobs.domain.finance.values import SeenTransaction
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.finance.entities import HOLDER
from kordant_jobs.store.finance.identify import ANALYSE_ABOVE
from kordant_jobs.store.finance.merchants import Payee
from kordant_jobs.store.finance.merchants import keys_of as merchants_of_entities
from kordant_jobs.store.finance.rows import Outcome, Row
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

TRANSFER = "bank-transfer"
PLANS = UUID("6f0f6c2e-9c0b-4f7e-9a3c-7a54b1d3c0de")
_COLUMNS = (
    "id", "account_id", "entity_id", "alias", "state", "booked_on", "occurred_at", "amount", "currency",
    "original_amount", "original_currency", "type", "type_raw", "mcc", "counterparty_encrypted", "counterparty_index",
    "transfer_index", "description_encrypted", "merchant_key", "category_id", "bill_id", "instalment_no",
    "instalment_of", "purchase_on", "plan_id", "provider_id_encrypted", "content_hash", "extra_hash",
)  # fmt: skip
_BINARY = frozenset(name for name in _COLUMNS if isinstance(transactions.c[name].type, sa.LargeBinary))
_KEPT_WHEN_ABSENT = (
    "mcc", "bill_id", "transfer_index", "counterparty_encrypted", "counterparty_index", "purchase_on", "plan_id",
    "instalment_no", "instalment_of", "merchant_key",
)  # fmt: skip
"""Fields that keep their value when a later read leaves them out."""
_PLAIN = tuple(
    name
    for name in _COLUMNS
    if name not in {"id", "account_id", "entity_id", "state", "category_id", *_KEPT_WHEN_ABSENT}
)
_IS_OURS = "t.category_source IN ('user', 'rule')"
_SET = ", ".join(
    [f"{name} = r.{name}" for name in _PLAIN]
    + [f"{name} = coalesce(r.{name}, t.{name})" for name in _KEPT_WHEN_ABSENT]
    + [
        "state = CASE WHEN t.state = 'posted' THEN 'posted' ELSE r.state END",
        "authorised_on = coalesce(t.authorised_on, CASE WHEN t.state IN ('pending', 'scheduled') THEN t.booked_on END)",
        f"category_id = CASE WHEN r.category_id IS NULL OR {_IS_OURS} THEN t.category_id ELSE r.category_id END",
        f"category_source = CASE WHEN r.category_id IS NULL OR {_IS_OURS} THEN t.category_source ELSE 'provider' END",
        "version = t.version + (r.reason IS NOT NULL)::int",
        "updated_at = :now, missing_since_at = NULL, removed_at = NULL, removed_by = NULL, removed_reason = NULL",
    ]
)
_LISTED = ", ".join(_COLUMNS)
_WRITE = f"""
WITH changed AS (
    UPDATE kordant.transactions t SET {_SET} FROM bank_rows r WHERE r.is_known AND t.id = r.id RETURNING t.id
), before AS (
    INSERT INTO kordant.transaction_versions
        (transaction_id, version, state, booked_on, amount, type, reason, sync_run_id, ended_at)
    SELECT t.id, t.version, t.state, t.booked_on, t.amount, t.type, r.reason, :run, :now
    FROM bank_rows r JOIN kordant.transactions t ON t.id = r.id WHERE r.is_known AND r.reason IS NOT NULL
    RETURNING transaction_id
), aliases AS (
    INSERT INTO kordant.transaction_aliases (account_id, alias, transaction_id, ended_at)
    SELECT t.account_id, t.alias, t.id, :now FROM bank_rows r JOIN kordant.transactions t ON t.id = r.id
    WHERE r.is_known AND t.alias <> r.alias ON CONFLICT DO NOTHING RETURNING transaction_id
), made AS (
    INSERT INTO kordant.transactions ({_LISTED}, category_source, authorised_on, first_seen_at, updated_at)
    SELECT {_LISTED}, CASE WHEN category_id IS NOT NULL THEN 'provider' END,
           CASE WHEN state IN ('pending', 'scheduled') THEN booked_on END, :now, :now
    FROM bank_rows WHERE NOT is_known RETURNING id
)
SELECT (SELECT count(*) FROM changed) AS changed, (SELECT count(*) FROM made) AS made
"""  # noqa: S608 - put together from constants
_ROWS = (
    f"CREATE TEMP TABLE IF NOT EXISTS bank_rows ON COMMIT DELETE ROWS AS SELECT {_LISTED}, true AS is_known, "  # noqa: S608 - put together from constants
    "''::text AS reason FROM kordant.transactions WITH NO DATA"
)


def write(
    connection: Connection,
    keyring: Keyring,
    keys: SubscriberKeys,
    fresh: Sequence[Row],
    outcomes: Mapping[UUID, Outcome],
    *,
    run_id: UUID | None,
    now: datetime,
) -> None:
    """Write the rows that are new (without an id) or changed, and count them in `outcomes`."""
    if not fresh:
        return
    named = [(row, _payee(row.seen)) for row in fresh]
    by_entity = defaultdict[UUID, set[Payee]](set)
    for row, payee in named:
        by_entity[row.target.entity_id].add(payee)
    merchants = merchants_of_entities(connection, keyring, keys, by_entity)
    values = []
    for row, payee in named:
        outcome, is_known = outcomes[row.target.account_id], row.id is not None
        if row.id is None:
            row.id = uuid7()
            outcome.counts["new"] += 1
            outcome.new_ids.append(row.id)
        elif row.reason is not None:
            outcome.counts[_COUNTED[row.reason]] += 1
            outcome.changed_ids.append(row.id)
        merchant = _firm(row.seen) or merchants.get((row.target.entity_id, payee))
        values.append((*_values(keyring, keys, row, row.id, merchant), is_known, row.reason and row.reason.value))
    names = [*_COLUMNS, "is_known", "reason"]
    schema = {name: pl.Binary if name in _BINARY else pl.Boolean if name == "is_known" else pl.String for name in names}
    connection.execute(sa.text(_ROWS))
    connection.execute(sa.text("DELETE FROM bank_rows"))
    write_frame(connection, pl.DataFrame(values, schema=schema, orient="row"), "bank_rows")
    if len(fresh) > ANALYSE_ABOVE:
        connection.execute(sa.text("ANALYZE bank_rows"))
    connection.execute(sa.text(_WRITE), {"run": run_id, "now": now})


_COUNTED = {
    ChangeReason.POSTED: "posted",
    ChangeReason.RESTATED: "changed",
    ChangeReason.REKEYED: "rekeyed",
    ChangeReason.REVIVED: "revived",
}


def _payee(seen: SeenTransaction) -> Payee:
    is_person = goes_to_a_person(seen.type, seen.description)
    return Payee(name=merchant_of(seen.description, seen.counterparty), is_person=is_person)


def _firm(seen: SeenTransaction) -> str | None:
    """A firm's number (CNPJ), which is public."""
    document = seen.counterparty_document
    return document if document is not None and len(document) == 14 else None


def _values(keyring: Keyring, keys: SubscriberKeys, row: Row, row_id: UUID, merchant: str | None) -> tuple[Any, ...]:
    seen, target, table = row.seen, row.target, transactions.c

    def sealed(column: sa.Column[Any], text: str | None) -> bytes | None:
        return keys.seal(target.entity_id, column, row_id, text) if text else None

    document = seen.counterparty_document
    is_part = seen.instalment_of is not None and seen.instalment_of > 1
    whole = round(seen.amount * (seen.instalment_of or 1)) if is_part else None
    plan = f"{target.account_id}|{merchant}|{seen.purchase_on}|{seen.instalment_of}|{whole}" if is_part else ""
    return (
        str(row_id), target.account_key, target.entity_key, row.alias, seen.state.value,
        seen.booked_on.isoformat(), seen.occurred_at and seen.occurred_at.isoformat(), str(seen.amount), seen.currency,
        None if seen.original_amount is None else str(seen.original_amount), seen.original_currency, seen.type.value,
        seen.type_raw, seen.mcc, sealed(table.counterparty_encrypted, seen.counterparty),
        keyring.blind_index(HOLDER, document) if document else None,
        keyring.blind_index(TRANSFER, seen.transfer_key) if seen.transfer_key else None,
        sealed(table.description_encrypted, seen.description), merchant,
        seen.category, row.bill_id and str(row.bill_id), _text(seen.instalment_no), _text(seen.instalment_of),
        seen.purchase_on and seen.purchase_on.isoformat(), str(uuid5(PLANS, plan)) if is_part else None,
        sealed(table.provider_id_encrypted, seen.provider_id) if seen.state in PROVISIONAL else None,
        row.content, row.extra,
    )  # fmt: skip


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)
