"""Rows of accounts into the ledger: COPY, one look-up, and one statement that writes only what is new or changed.

Many accounts may be given at once. A row is known by the keyed hash of its provider's id (`alias`); one whose id is not
known may be a row that is kept (`domain.finance.matching`). Who calls holds the lease of each account's connection, in
the transaction that commits its cursor too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID, uuid5

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.matching import (
    EXPIRES_AFTER,
    MISSING_FOR,
    Known,
    Newcomer,
    closes_too_many,
    match,
    ordinals,
)
from kordant_jobs.domain.finance.merchants import goes_to_a_person, merchant_of, plain
from kordant_jobs.domain.finance.states import PROVISIONAL, AccountKind, ChangeReason, Provider, TransactionState
from kordant_jobs.domain.finance.types import FINAL_AT_ONCE, refined
from kordant_jobs.domain.finance.values import SeenTransaction, today_in
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.finance.entities import HOLDER
from kordant_jobs.store.finance.merchants import Payee
from kordant_jobs.store.finance.merchants import keys_of as merchants_of_entities
from kordant_jobs.store.finance.tables import transactions
from kordant_jobs.store.people.keyring import Keyring, Sealed, SubscriberKeys

ROW, ROW_CONTENT, TRANSFER = "bank-row", "bank-row-content", "bank-transfer"
PLANS = UUID("6f0f6c2e-9c0b-4f7e-9a3c-7a54b1d3c0de")
EXPLICIT_AFTER = timedelta(minutes=30)
"""A deletion that a webhook told of waits for the row that takes its place."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Rows that were read of one account. `covers`: days that were read whole; `deleted`: aliases that the provider
    said are gone, and when it did; `is_rekey`: the account came over another connection before."""

    account_id: UUID
    entity_id: UUID
    kind: AccountKind
    provider: Provider
    rows: Sequence[SeenTransaction]
    covers: tuple[date, date] | None = None
    deleted: Mapping[bytes, datetime] = field(default_factory=dict)
    bills: Mapping[str, UUID] = field(default_factory=dict)
    is_new: bool = False
    is_rekey: bool = False

    @cached_property
    def account_key(self) -> str:
        """The account's id as text, made once for all its rows."""
        return str(self.account_id)

    @cached_property
    def entity_key(self) -> str:
        """The entity's id as text."""
        return str(self.entity_id)


@dataclass
class Outcome:
    """What became of one account's rows. `closes_too_many`: the read showed so little that nothing was closed."""

    counts: Counter[str] = field(default_factory=Counter)
    new_ids: list[UUID] = field(default_factory=list)
    changed_ids: list[UUID] = field(default_factory=list)
    closes_too_many: bool = False


@dataclass(slots=True)
class _Row:
    """A seen row on its way into the ledger."""

    target: Target
    seen: SeenTransaction
    alias: bytes
    content: bytes
    extra: bytes
    bill_id: UUID | None
    id: UUID | None = None
    reason: ChangeReason | None = None


def alias_of(keyring: Keyring, provider: Provider, provider_id: str) -> bytes:
    """What a provider's id is looked up by."""
    return keyring.blind_index(ROW, f"{provider}|{provider_id}")


def upsert(
    connection: Connection,
    keyring: Keyring,
    keys: SubscriberKeys,
    targets: Sequence[Target],
    *,
    run_id: UUID | None,
    now: datetime,
) -> dict[UUID, Outcome]:
    """Write what was read of these accounts, in the caller's transaction; by account, what became of it."""
    outcomes = {target.account_id: Outcome() for target in targets}
    rows = _rows(keyring, targets, outcomes, today=today_in(now))
    met = [row for row in rows if not row.target.is_new]
    _stage(connection, met)
    fresh = [row for row in rows if row.target.is_new] + _resolve(connection, keyring, met)
    if newcomers := [row for row in fresh if row.id is None and not row.target.is_new]:
        _recognise(connection, keys, newcomers, outcomes)
    _write(connection, keyring, keys, fresh, outcomes, run_id=run_id, now=now)
    for row in fresh:
        outcomes[row.target.account_id].counts["unchanged"] -= 1
    _close(connection, [one for one in targets if not one.is_new], outcomes, run_id=run_id, now=now)
    return outcomes


def _rows(keyring: Keyring, targets: Sequence[Target], outcomes: Mapping[UUID, Outcome], *, today: date) -> list[_Row]:
    """The rows with their hashes. Of equal rows under one id the last counts; unlike ones are rows of their own."""
    rows = list[_Row]()
    for target in targets:
        ordered = sorted(zip(target.rows, _names(target), strict=True), key=lambda one: one[0].booked_on)
        seen_rows = [_refined(seen, today) for seen, _ in ordered]
        bills = [target.bills.get(seen.bill) if seen.bill is not None else None for seen in seen_rows]
        aliases = keyring.blind_indexes(ROW, [name for _, name in ordered])
        contents = keyring.blind_indexes(ROW_CONTENT, map(_content, seen_rows))
        late = list(map(_late_content, seen_rows, bills))
        unlike = list(dict.fromkeys(late))  # most rows of an account have none of it
        extras = dict(zip(unlike, keyring.blind_indexes(ROW_CONTENT, unlike), strict=True))
        by_alias: dict[bytes, _Row] = {}
        for seen, alias, content, extra, bill in zip(seen_rows, aliases, contents, late, bills, strict=True):
            row = _Row(target=target, seen=seen, alias=alias, content=content, extra=extras[extra], bill_id=bill)
            other = by_alias.get(alias)
            if other is not None and other.content != content and _is_disjoint(other.seen, seen):
                row.alias = _own_alias(keyring, row)
                outcomes[target.account_id].counts["id_collision"] += 1
            by_alias[row.alias] = row
        rows += by_alias.values()
        outcomes[target.account_id].counts["unchanged"] += len(by_alias)
    return rows


def _content(seen: SeenTransaction) -> str:
    """What decides and shows a row, as text that is equal when it is."""
    return (
        f"{seen.state}|{seen.booked_on.isoformat()}|{seen.occurred_at}|{seen.amount.normalize()}|{seen.currency}|"
        f"{seen.original_amount}|{seen.original_currency}|{seen.type}|{seen.counterparty_document}|"
        f"{seen.instalment_no}|{seen.instalment_of}|{seen.purchase_on}|{seen.description}"
    )


def _late_content(seen: SeenTransaction, bill_id: UUID | None) -> str:
    """What a provider may say of a row later."""
    return f"late|{seen.category}|{bill_id}|{seen.mcc}|{seen.counterparty}"


def _refined(seen: SeenTransaction, today: date) -> SeenTransaction:
    """The row with a more exact type; a pending one of a day to come is scheduled (future instalments)."""
    kind = refined(seen.type, seen.description)
    if kind is not seen.type:
        seen = replace(seen, type=kind)
    if seen.state is TransactionState.PENDING and seen.booked_on > today:
        seen = replace(seen, state=TransactionState.SCHEDULED)
    return seen


def _names(target: Target) -> list[str]:
    """What each row's alias is the hash of: the provider's id, or what tells the row apart on its day."""
    prints = {
        n: (str(one.booked_on), str(one.amount.normalize()), one.currency, plain(one.description))
        for n, one in enumerate(target.rows)
        if one.provider_id is None
    }
    places = dict(zip(prints, ordinals(prints.values()), strict=True))
    return [
        f"{target.provider}|{one.provider_id}"
        if one.provider_id is not None
        else "|".join([target.provider, "", *prints[n], str(places[n])])
        for n, one in enumerate(target.rows)
    ]


def _is_disjoint(one: SeenTransaction, other: SeenTransaction) -> bool:
    both_posted = one.state is TransactionState.POSTED and other.state is TransactionState.POSTED
    return both_posted and one.amount != other.amount and one.booked_on != other.booked_on


def _own_alias(keyring: Keyring, row: _Row) -> bytes:
    return keyring.blind_index(ROW, f"{row.alias.hex()}|{row.seen.booked_on}|{row.seen.amount.normalize()}")


_SEEN = """
CREATE TEMP TABLE IF NOT EXISTS bank_seen
    (place int, account_id uuid, alias bytea, content_hash bytea, extra_hash bytea) ON COMMIT DELETE ROWS
"""
ANALYSE_ABOVE = 1_000


def _stage(connection: Connection, rows: Sequence[_Row]) -> None:
    connection.execute(sa.text(_SEEN))
    connection.execute(sa.text("DELETE FROM bank_seen"))
    frame = pl.DataFrame(
        {
            "place": range(len(rows)),
            "account_id": [row.target.account_key for row in rows],
            "alias": [row.alias for row in rows],
            "content_hash": [row.content for row in rows],
            "extra_hash": [row.extra for row in rows],
        },
        schema={
            "place": pl.Int64,
            "account_id": pl.String,
            "alias": pl.Binary,
            "content_hash": pl.Binary,
            "extra_hash": pl.Binary,
        },
    )
    write_frame(connection, frame, "bank_seen")
    if len(rows) > ANALYSE_ABOVE:
        connection.execute(sa.text("ANALYZE bank_seen"))


_FRESH = """
SELECT s.place, x.id, x.state, x.booked_on, x.amount, x.removed_by, x.content_hash <> s.content_hash AS is_changed,
       t.id IS NULL AND EXISTS (SELECT FROM bank_seen o WHERE o.account_id = x.account_id AND o.alias = x.alias)
           AS is_anothers
FROM bank_seen s
LEFT JOIN kordant.transactions t ON t.account_id = s.account_id AND t.alias = s.alias
LEFT JOIN kordant.transaction_aliases a ON t.id IS NULL AND a.account_id = s.account_id AND a.alias = s.alias
LEFT JOIN kordant.transactions x ON x.id = coalesce(t.id, a.transaction_id)
WHERE t.id IS NULL OR t.content_hash <> s.content_hash OR t.extra_hash <> s.extra_hash
   OR t.state IN ('removed', 'expired') OR t.missing_since_at IS NOT NULL
"""


def _resolve(connection: Connection, keyring: Keyring, rows: Sequence[_Row]) -> list[_Row]:
    """The rows that are not kept as they are, each with the id of the row that it is, if any is known by its alias."""
    fresh, collided = list[_Row](), dict[int, _Row]()
    for found in connection.execute(sa.text(_FRESH)).all():
        row = rows[found.place]
        if found.id is not None and found.removed_by == "user":
            continue  # what its owner deleted stays so
        both_posted = found.state == TransactionState.POSTED and row.seen.state is TransactionState.POSTED
        if both_posted and found.amount != row.seen.amount and found.booked_on != row.seen.booked_on:
            row.alias = _own_alias(keyring, row)
            collided[found.place] = row
            continue
        if found.is_anothers:  # a former id of a row that is there under its present one: by now it is another row's
            fresh.append(row)
            continue
        row.id = found.id
        if found.id is not None and found.is_changed:
            was = TransactionState(found.state)
            row.reason = _reason(was, row.seen.state)
        elif found.id is not None and found.state in {"removed", "expired"}:
            row.reason = ChangeReason.REVIVED
        fresh.append(row)
    return fresh + (_resolve_collided(connection, collided) if collided else [])


_RENAME = """
UPDATE bank_seen s SET alias = c.alias FROM unnest(cast(:places AS int[]), cast(:aliases AS bytea[])) AS c(place, alias)
WHERE s.place = c.place
"""
_COLLIDED = """
SELECT s.place, t.id FROM bank_seen s
LEFT JOIN kordant.transactions t ON t.account_id = s.account_id AND t.alias = s.alias
WHERE s.place = ANY(cast(:places AS int[])) AND t.content_hash IS DISTINCT FROM s.content_hash
  AND t.removed_by IS DISTINCT FROM 'user'
"""


def _resolve_collided(connection: Connection, collided: Mapping[int, _Row]) -> list[_Row]:
    """Rows, by place, whose id stands for another row: known under an alias of their own, or new."""
    given = {"places": list(collided), "aliases": [row.alias for row in collided.values()]}
    connection.execute(sa.text(_RENAME), given)
    fresh = []
    for found in connection.execute(sa.text(_COLLIDED), given).all():
        row = collided[found.place]
        row.id, row.reason = found.id, ChangeReason.RESTATED if found.id is not None else None
        fresh.append(row)
    return fresh


def _reason(was: TransactionState, now: TransactionState) -> ChangeReason:
    if was in {TransactionState.REMOVED, TransactionState.EXPIRED}:
        return ChangeReason.REVIVED
    if was in PROVISIONAL and now is TransactionState.POSTED:
        return ChangeReason.POSTED
    return ChangeReason.RESTATED


_KNOWN = """
SELECT t.id, t.account_id, t.state, t.booked_on, t.amount, t.currency, t.purchase_on, t.instalment_no,
       t.entity_id, t.description_encrypted,
       w.is_rekey OR t.alias = ANY(cast(:deleted AS bytea[])) OR t.missing_since_at IS NOT NULL
           OR t.booked_on BETWEEN w.first_on AND w.last_on OR (w.is_card AND t.bill_id IS NULL) AS is_restated
FROM kordant.transactions t
JOIN unnest(cast(:accounts AS uuid[]), cast(:lows AS date[]), cast(:highs AS date[]), cast(:firsts AS date[]),
            cast(:lasts AS date[]), cast(:cards AS boolean[]), cast(:rekeys AS boolean[]))
     AS w(account_id, low_on, high_on, first_on, last_on, is_card, is_rekey) ON w.account_id = t.account_id
WHERE t.booked_on BETWEEN w.low_on AND w.high_on AND t.state IN ('scheduled', 'pending', 'posted')
  AND NOT EXISTS (SELECT FROM bank_seen s WHERE s.account_id = t.account_id AND s.alias = t.alias)
"""
"""Rows that a newcomer may be: not among what was read, although it should be (its day was read whole, it was missing
before, or its id is none that stays)."""
BACK, FORTH = timedelta(days=16), timedelta(days=2)
PURCHASE_BACK = timedelta(days=62)


def _recognise(
    connection: Connection, keys: SubscriberKeys, newcomers: Sequence[_Row], outcomes: Mapping[UUID, Outcome]
) -> None:
    """Give newcomers the ids of the rows that they are, where that can be told."""
    by_account = defaultdict[UUID, list[_Row]](list)
    for row in newcomers:
        by_account[row.target.account_id].append(row)
    targets = [rows[0].target for rows in by_account.values()]
    far = date(1, 1, 1)
    given = {
        "accounts": [str(one.account_id) for one in targets],
        "lows": [min(row.seen.booked_on for row in rows) - (PURCHASE_BACK if rows[0].target.kind is AccountKind.CARD
                 else BACK) for rows in by_account.values()],
        "highs": [max(row.seen.booked_on for row in rows) + FORTH for rows in by_account.values()],
        "firsts": [one.covers[0] if one.covers else far for one in targets],
        "lasts": [one.covers[1] if one.covers else far for one in targets],
        "cards": [one.kind is AccountKind.CARD for one in targets],
        "rekeys": [one.is_rekey for one in targets],
        "deleted": [alias for one in targets for alias in one.deleted],
    }  # fmt: skip
    known = defaultdict[UUID, list[Known]](list)
    place = transactions.c.description_encrypted
    for found in connection.execute(sa.text(_KNOWN), given).all():
        sealed = found.description_encrypted
        text = ""
        if sealed is not None:
            value = Sealed(subscriber_id=found.entity_id, column=place, row_id=found.id, sealed=bytes(sealed))
            text = keys.open(value)
        known[found.account_id].append(
            Known(
                id=found.id,
                state=TransactionState(found.state),
                booked_on=found.booked_on,
                amount=found.amount.normalize(),
                currency=found.currency,
                description=text,
                purchase_on=found.purchase_on,
                instalment_no=found.instalment_no,
                is_restated=found.is_restated,
            )
        )
    for account_id, rows in by_account.items():
        states = {one.id: one.state for one in known[account_id]}
        matches = match([_newcomer(number, row) for number, row in enumerate(rows)], known[account_id])
        for number, claimed in matches.claims.items():
            row = rows[number]
            row.id = claimed
            reason = _reason(states[claimed], row.seen.state)
            is_same = reason is ChangeReason.RESTATED and row.target.is_rekey
            row.reason = ChangeReason.REKEYED if is_same else reason
        outcomes[account_id].counts["ambiguous"] += len(matches.ambiguous)
        outcomes[account_id].counts["suggested"] += len(matches.suggested)


def _newcomer(place: int, row: _Row) -> Newcomer:
    return Newcomer(
        place=place,
        state=row.seen.state,
        booked_on=row.seen.booked_on,
        amount=row.seen.amount.normalize(),
        currency=row.seen.currency,
        description=row.seen.description,
        purchase_on=row.seen.purchase_on,
        instalment_no=row.seen.instalment_no,
    )


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
"""What a provider leaves out later is not wiped."""
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


def _write(
    connection: Connection,
    keyring: Keyring,
    keys: SubscriberKeys,
    fresh: Sequence[_Row],
    outcomes: Mapping[UUID, Outcome],
    *,
    run_id: UUID | None,
    now: datetime,
) -> None:
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
    """A firm's number (CNPJ), which is nobody's secret."""
    document = seen.counterparty_document
    return document if document is not None and len(document) == 14 else None


def _values(keyring: Keyring, keys: SubscriberKeys, row: _Row, row_id: UUID, merchant: str | None) -> tuple[Any, ...]:
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


_UNSEEN = f"""
SELECT t.id, t.account_id, t.state, t.missing_since_at, t.alias, t.booked_on,
       t.booked_on BETWEEN w.first_on AND w.last_on AS is_covered,
       CASE WHEN w.is_card THEN t.bill_id IS NOT NULL
            ELSE t.type IN ({", ".join(f"'{one.value}'" for one in sorted(FINAL_AT_ONCE))}) OR t.booked_on < :today
       END AS is_final
FROM kordant.transactions t
JOIN unnest(cast(:accounts AS uuid[]), cast(:firsts AS date[]), cast(:lasts AS date[]), cast(:cards AS boolean[]))
     AS w(account_id, first_on, last_on, is_card) ON w.account_id = t.account_id
WHERE (t.booked_on BETWEEN w.first_on AND w.last_on OR t.alias = ANY(cast(:deleted AS bytea[]))
       OR t.state IN ('scheduled', 'pending'))
  AND t.state IN ('scheduled', 'pending', 'posted')
  AND NOT EXISTS (SELECT FROM bank_seen s WHERE s.account_id = t.account_id AND s.alias = t.alias)
"""  # noqa: S608 - put together from constants
_TAKE_OUT = """
WITH closing AS (
    SELECT t.* FROM kordant.transactions t WHERE t.id = ANY(cast(:ids AS uuid[])) FOR UPDATE
), before AS (
    INSERT INTO kordant.transaction_versions
        (transaction_id, version, state, booked_on, amount, type, reason, sync_run_id, ended_at)
    SELECT id, version, state, booked_on, amount, type, :state, :run, :now FROM closing RETURNING transaction_id
)
UPDATE kordant.transactions t SET state = :state, removed_at = :now, removed_by = 'bank', removed_reason = :reason,
    version = t.version + 1, updated_at = :now FROM closing c WHERE t.id = c.id
"""


def _close(
    connection: Connection,
    targets: Sequence[Target],
    outcomes: Mapping[UUID, Outcome],
    *,
    run_id: UUID | None,
    now: datetime,
) -> None:
    """Rows that the read did not show: noted the first time, closed the second, or at once when the bank said so."""
    whole = [one for one in targets if one.covers is not None]
    if not whole:
        return
    today, deleted = today_in(now), {alias: at for one in whole for alias, at in one.deleted.items()}
    windows = [one.covers or (today, today) for one in whole]
    given = {
        "accounts": [str(one.account_id) for one in whole],
        "firsts": [first for first, _ in windows],
        "lasts": [last for _, last in windows],
        "cards": [one.kind is AccountKind.CARD for one in whole],
        "deleted": list(deleted),
        "today": today,
    }
    missing, removed, expired = list[UUID](), defaultdict[UUID, list[UUID]](list), defaultdict[UUID, list[UUID]](list)
    explicit = defaultdict[UUID, list[UUID]](list)
    for row in connection.execute(sa.text(_UNSEEN), given).all():
        told_at = deleted.get(bytes(row.alias))
        is_provisional = row.state in PROVISIONAL
        if told_at is not None and told_at <= now - EXPLICIT_AFTER:
            explicit[row.account_id].append(row.id)
        elif is_provisional and row.booked_on < today - EXPIRES_AFTER:
            expired[row.account_id].append(row.id)
        elif row.is_covered and row.missing_since_at is None:
            missing.append(row.id)
        elif row.is_covered and not is_provisional and not row.is_final and row.missing_since_at <= now - MISSING_FOR:
            removed[row.account_id].append(row.id)
    if missing:
        query = "UPDATE kordant.transactions SET missing_since_at = :now WHERE id = ANY(cast(:ids AS uuid[]))"
        connection.execute(sa.text(query), {"ids": [str(one) for one in missing], "now": now})
    shown = Counter(one.account_id for one in whole for _ in one.rows)
    for account_id in list(removed):
        if closes_too_many(len(removed[account_id]), shown[account_id] + len(removed[account_id])):
            outcomes[account_id].closes_too_many = True
            del removed[account_id]
    for by_account, state, reason in (
        (explicit, "removed", "explicit"),
        (removed, "removed", "absent"),
        (expired, "expired", "expired"),
    ):
        for account_id, ids in by_account.items():
            listed = [str(one) for one in ids]
            connection.execute(
                sa.text(_TAKE_OUT), {"ids": listed, "state": state, "reason": reason, "run": run_id, "now": now}
            )
            outcomes[account_id].counts[state] += len(ids)
            outcomes[account_id].changed_ids += ids
