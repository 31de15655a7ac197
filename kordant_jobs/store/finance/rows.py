"""Rows that were read, prepared for the ledger, with the keyed hashes that identify and compare them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from uuid import UUID

from kordant_jobs.domain.finance.matching import Posting, is_another, ordinals
from kordant_jobs.domain.finance.merchants import plain_letters
from kordant_jobs.domain.finance.states import AccountKind, ChangeReason, Provider, TransactionState
from kordant_jobs.domain.finance.types import refined
from kordant_jobs.domain.finance.values import SeenTransaction
from kordant_jobs.store.people.keyring import Keyring

ROW, ROW_CONTENT = "bank-row", "bank-row-content"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The rows read of one account. `covers`: the days that were read completely; `deleted`: aliases that the provider
    deleted, and when; `is_rekey`: the account was read over another connection before."""

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
        """The account's id as text, computed once for all its rows."""
        return str(self.account_id)

    @cached_property
    def entity_key(self) -> str:
        """The entity's id as text."""
        return str(self.entity_id)


@dataclass
class Outcome:
    """The outcome of one account's rows. `closes_too_many`: so many rows were missing that nothing was closed."""

    counts: Counter[str] = field(default_factory=Counter)
    new_ids: list[UUID] = field(default_factory=list)
    changed_ids: list[UUID] = field(default_factory=list)
    closes_too_many: bool = False


@dataclass(slots=True)
class Row:
    """A row on its way into the ledger."""

    target: Target
    seen: SeenTransaction
    alias: bytes
    content: bytes
    extra: bytes
    bill_id: UUID | None
    id: UUID | None = None
    reason: ChangeReason | None = None


def alias_hash(keyring: Keyring, provider: Provider, provider_id: str) -> bytes:
    """The blind index by which a provider's id of a row is found."""
    return keyring.blind_index(ROW, f"{provider}|{provider_id}")


def hash_rows(
    keyring: Keyring, targets: Sequence[Target], outcomes: Mapping[UUID, Outcome], *, today: date
) -> list[Row]:
    """The rows with their hashes. Of equal rows under one id the last counts; rows that cannot be the same one get an
    alias each."""
    rows = list[Row]()
    for target in targets:
        ordered = sorted(zip(target.rows, _names(target), strict=True), key=lambda one: one[0].booked_on)
        seen_rows = [_refined(seen, today) for seen, _ in ordered]
        bills = [target.bills.get(seen.bill) if seen.bill is not None else None for seen in seen_rows]
        aliases = keyring.blind_indexes(ROW, [name for _, name in ordered])
        contents = keyring.blind_indexes(ROW_CONTENT, map(_content, seen_rows))
        late = list(map(_late_content, seen_rows, bills))
        unlike = list(dict.fromkeys(late))  # most rows of an account have none of it
        extras = dict(zip(unlike, keyring.blind_indexes(ROW_CONTENT, unlike), strict=True))
        by_alias: dict[bytes, Row] = {}
        for seen, alias, content, extra, bill in zip(seen_rows, aliases, contents, late, bills, strict=True):
            row = Row(target=target, seen=seen, alias=alias, content=content, extra=extras[extra], bill_id=bill)
            other = by_alias.get(alias)
            if other is not None and other.content != content and _is_disjoint(other.seen, seen):
                row.alias = own_alias(keyring, row)
                outcomes[target.account_id].counts["id_collision"] += 1
            by_alias[row.alias] = row
        rows += by_alias.values()
        outcomes[target.account_id].counts["unchanged"] += len(by_alias)
    return rows


def _content(seen: SeenTransaction) -> str:
    """The fields that identify and show a row, as one text for comparison."""
    return (
        f"{seen.state}|{seen.booked_on.isoformat()}|{seen.occurred_at}|{seen.amount.normalize()}|{seen.currency}|"
        f"{seen.original_amount}|{seen.original_currency}|{seen.type}|{seen.counterparty_document}|"
        f"{seen.instalment_no}|{seen.instalment_of}|{seen.purchase_on}|{seen.description}"
    )


def _late_content(seen: SeenTransaction, bill_id: UUID | None) -> str:
    """The fields of a row that a provider may add later."""
    return f"late|{seen.category}|{bill_id}|{seen.mcc}|{seen.counterparty}"


def _refined(seen: SeenTransaction, today: date) -> SeenTransaction:
    """The row with a more exact type. A pending row with a future day becomes scheduled (future instalments)."""
    kind = refined(seen.type, seen.description)
    if kind is not seen.type:
        seen = replace(seen, type=kind)
    if seen.state is TransactionState.PENDING and seen.booked_on > today:
        seen = replace(seen, state=TransactionState.SCHEDULED)
    return seen


def _names(target: Target) -> list[str]:
    """The text that each row's alias is the hash of: the provider's id, else the values that distinguish the row on its
    day."""
    prints = {
        n: (str(one.booked_on), str(one.amount.normalize()), one.currency, plain_letters(one.description))
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
    return both_posted and is_another(posting_of(one), posting_of(other))


def posting_of(seen: SeenTransaction) -> Posting:
    """The values that distinguish a row from another one with the same id."""
    return Posting(booked_on=seen.booked_on, amount=seen.amount, description=seen.description)


def own_alias(keyring: Keyring, row: Row) -> bytes:
    """The alias of a row whose provider's id also belongs to another row."""
    return keyring.blind_index(ROW, f"{row.alias.hex()}|{row.seen.booked_on}|{row.seen.amount.normalize()}")
