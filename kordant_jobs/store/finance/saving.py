"""Saves one read of a connection, completely or not at all: accounts, rows, balances, bills, consent, cursor, and the
entity's new version."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert
from uuid_utils.compat import uuid7

from kordant_jobs.domain.finance.states import AccountKind, BillState, ConnectionStatus, NoticeKind, Provider
from kordant_jobs.domain.finance.values import AccountRead, ConnectionRead, SeenAccount, SeenBill, today_in
from kordant_jobs.domain.notifications.alerts import Severity
from kordant_jobs.engine.control import leases
from kordant_jobs.store.finance import connections, links, notices, transfers
from kordant_jobs.store.finance.connections import Claimed
from kordant_jobs.store.finance.entities import HOLDER, load_keys
from kordant_jobs.store.finance.rows import Target
from kordant_jobs.store.finance.tables import (
    account_links,
    bank_accounts,
    bank_balances,
    bank_connections,
    card_bills,
    quarantined_rows,
)
from kordant_jobs.store.finance.upsert import upsert
from kordant_jobs.store.people.keyring import Keyring, SubscriberKeys

IDENTITY, LINK, BILL, BAD = "account-identity", "account-link", "card-bill", "bad-row"
BAD_MOST = 0.05
"""The share of invalid rows above which nothing of a read is saved."""


class TooManyBad(Exception):
    """Too many rows are invalid for the read to be trusted; the text has the counts."""


@dataclass
class Saved:
    """The changes that a read made. `touched` are the transactions that are new or changed."""

    counts: Counter[str] = field(default_factory=Counter)
    created: list[UUID] = field(default_factory=list)
    touched: list[UUID] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    data_version: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Link:
    account_id: UUID
    kind: AccountKind
    is_primary: bool
    is_new_account: bool
    is_rekey: bool
    is_promoted: bool
    """It became primary by this read, which began where its last one ended: the next one reaches back."""


def save(
    connection: Connection,
    keyring: Keyring,
    claimed: Claimed,
    read: ConnectionRead,
    *,
    run_id: UUID | None,
    now: datetime,
    due_at: datetime,
) -> Saved:
    """Save a read, in the caller's transaction, and release the lease.

    Raises:
        LeaseLost: the connection is read elsewhere by now, or ended meanwhile.
        TooManyBad: nothing of it may be kept.
    """
    connections.hold(connection, claimed)
    keys = load_keys(connection, keyring, [claimed.entity_id], for_writing=True)
    saving = _Saving(connection, keyring, keys, claimed, now, Saved(failures=[*read.failures]))
    saving.all_of(read, run_id=run_id, due_at=due_at)
    return saving.saved


_FIND_LINK = sa.text("""
SELECT l.id, l.account_id, l.is_primary, l.rekeyed_at, l.resource_status, a.kind,
       EXISTS (SELECT FROM kordant.account_links o JOIN kordant.bank_connections c ON c.id = o.connection_id
               WHERE o.account_id = l.account_id AND o.ended_at IS NULL AND o.is_primary AND c.status = 'active')
           AS is_read
FROM kordant.account_links l JOIN kordant.bank_accounts a ON a.id = l.account_id
WHERE l.connection_id = :connection AND l.provider_account_index = :index AND l.ended_at IS NULL
""")

DELETED_COUNTS = timedelta(days=30)
"""The time for which a deletion by webhook is remembered: as long as its row is kept."""
_DELETED = sa.text("""
SELECT unnest(removed_aliases) AS alias, received_at FROM kordant.webhook_events
WHERE connection_id IN (SELECT id FROM kordant.bank_connections WHERE entity_id = :entity)
  AND received_at > :since AND removed_aliases <> '{}' ORDER BY received_at
""")


@dataclass(frozen=True)
class _Saving:
    """One read on its way into the database."""

    connection: Connection
    keyring: Keyring
    keys: SubscriberKeys
    claimed: Claimed
    now: datetime
    saved: Saved

    def all_of(self, read: ConnectionRead, *, run_id: UUID | None, due_at: datetime) -> None:
        """Save everything, and release the lease."""
        self._quarantine(read)
        if read.consent is not None:
            connections.save_consent(self.connection, self.keys, self.claimed, read.consent, now=self.now)
        deleted = self._deleted()
        targets, rekeyed, promoted = list[Target](), list[UUID](), list[str]()
        for one in read.accounts:
            if one.failure is not None:
                self.saved.failures.append(one.failure)
            link = self._link(one)
            if link is None:
                continue
            self._balances(link.account_id, one)
            if not link.is_primary:
                continue
            bills = self._bills(link, one)
            targets.append(self._target(link, one, bills, deleted))
            if link.is_promoted:
                promoted.append(one.provider_id)
            elif link.is_rekey and one.failure is None:
                rekeyed.append(link.account_id)
        outcomes = upsert(self.connection, self.keyring, self.keys, targets, run_id=run_id, now=self.now)
        for target in targets:
            outcome = outcomes[target.account_id]
            self.saved.counts += outcome.counts
            self.saved.created += outcome.new_ids
            self.saved.touched += outcome.new_ids + outcome.changed_ids
            if outcome.closes_too_many:
                self.saved.failures.append("vanished_rows")
                self._queue_quarantine_notice("vanished_rows")
        if rekeyed:
            mark = sa.update(account_links).where(
                account_links.c.connection_id == self.claimed.id, account_links.c.account_id.in_(rekeyed)
            )
            self.connection.execute(mark.values(rekeyed_at=self.now))
        cards = [one.account_id for one in targets if one.kind is AccountKind.CARD]
        links.link(self.connection, cards, self.saved.touched, today=today_in(self.now), now=self.now)
        if self.saved.touched:
            transfers.link(self.connection, self.claimed.entity_id, self.saved.touched)
            self.saved.data_version = bump(self.connection, self.claimed.entity_id, ["transactions"], now=self.now)
        self._advance(read.without(promoted), due_at=due_at)

    def _quarantine(self, read: ConnectionRead) -> None:
        """Save invalid rows, sealed, each once.

        Raises:
            TooManyBad: they are more than a few, or all there is.
        """
        bad = [row for one in read.accounts for row in one.bad]
        good = sum(len(one.transactions) for one in read.accounts)
        if bad and (not good or len(bad) > max(1, BAD_MOST * (good + len(bad)))):
            reasons = ", ".join(sorted({row.reason for row in bad}))
            raise TooManyBad(f"{len(bad)} of {good + len(bad)} rows cannot be understood ({reasons})")
        for row in bad:
            raw = json.dumps(row.raw, default=str, sort_keys=True)[:20_000]
            made = uuid7()
            sealed = self.keys.seal(self.claimed.entity_id, quarantined_rows.c.raw_encrypted, made, raw)
            self.connection.execute(
                insert(quarantined_rows)
                .values(
                    id=made,
                    entity_id=self.claimed.entity_id,
                    connection_id=self.claimed.id,
                    row_index=self.keyring.sign(BAD, raw.encode()),
                    reason=row.reason,
                    raw_encrypted=sealed,
                )
                .on_conflict_do_nothing()
            )
            self.saved.counts["quarantined"] += 1

    def _queue_quarantine_notice(self, reason: str) -> None:
        notices.queue(
            self.connection,
            entity_id=self.claimed.entity_id,
            connection_id=self.claimed.id,
            kind=NoticeKind.QUARANTINE,
            key=f"quarantine {self.claimed.id} {today_in(self.now)}",
            severity=Severity.LOW,
            facts={"reason": reason, "institution": self.claimed.institution},
        )

    def _link(self, read: AccountRead) -> _Link | None:
        """The link of an account that was read: the existing one, or a new one to the account that it identifies. None
        when the account cannot be identified: then nothing of it is imported."""
        index = self.keyring.blind_index(LINK, f"{self.claimed.provider}|{read.provider_id}")
        found = self.connection.execute(_FIND_LINK, {"connection": self.claimed.id, "index": index}).one_or_none()
        if found is not None:
            status = read.account.status if read.account else (read.failure or "available")
            if found.resource_status != status:
                at = account_links.c.id == found.id
                self.connection.execute(sa.update(account_links).where(at).values(resource_status=status))
            is_promoted = not found.is_read and (read.failure is None or read.covers is not None)
            if is_promoted:  # the connection over which it was read needs its owner, is paused, or ended
                self._demote(found.account_id)
                at = account_links.c.id == found.id
                self.connection.execute(sa.update(account_links).where(at).values(is_primary=True, rekeyed_at=None))
            return _Link(
                account_id=found.account_id,
                kind=AccountKind(found.kind),
                is_primary=found.is_primary or is_promoted,
                is_new_account=False,
                is_rekey=is_promoted or found.rekeyed_at is None,
                is_promoted=is_promoted and self.claimed.provider is not Provider.FILE,
            )
        if read.account is None:
            return None
        return self._new_link(read.account, index)

    def _demote(self, account_id: UUID) -> None:
        """Remove the primary mark, for another link to get it."""
        live = account_links.c
        primary = sa.update(account_links).where(
            live.account_id == account_id, live.ended_at.is_(None), live.is_primary
        )
        self.connection.execute(primary.values(is_primary=False))

    def _new_link(self, account: SeenAccount, index: bytes) -> _Link | None:
        updates = account.identity or f"{self.claimed.provider}|{self.claimed.institution}|{account.provider_id}"
        identity = self.keyring.blind_index(IDENTITY, updates)
        table, entity_id = bank_accounts.c, self.claimed.entity_id
        same = sa.select(table.id, table.kind).where(table.entity_id == entity_id, table.identity_index == identity)
        existing = self.connection.execute(same).one_or_none()
        live = account_links.c
        if existing is not None:
            others = self.connection.execute(
                sa.select(live.connection_id, live.is_primary, bank_connections.c.status)
                .join(bank_connections, bank_connections.c.id == live.connection_id)
                .where(live.account_id == existing.id, live.ended_at.is_(None))
            ).all()
            if any(one.connection_id == self.claimed.id for one in others):  # two cards with the same last digits
                self.saved.failures.append("ambiguous_account")
                self._queue_quarantine_notice("ambiguous_account")
                return None
            account_id = existing.id
            is_primary = not any(one.is_primary and one.status == ConnectionStatus.ACTIVE for one in others)
            if is_primary:
                self._demote(account_id)
        else:
            account_id, is_primary = uuid7(), True
            self.connection.execute(
                sa.insert(bank_accounts),
                {
                    "id": account_id,
                    "entity_id": entity_id,
                    "kind": account.kind.value,
                    "currency": account.currency,
                    "institution": account.institution,
                    "identity_index": identity,
                    "number_encrypted": self.keys.seal(entity_id, table.number_encrypted, account_id, account.number),
                    "name_encrypted": self.keys.seal(entity_id, table.name_encrypted, account_id, account.name),
                    "holder_index": self.keyring.blind_index(HOLDER, account.holder) if account.holder else None,
                },
            )
        link_id = uuid7()
        sealed = self.keys.seal(entity_id, live.provider_account_encrypted, link_id, account.provider_id)
        self.connection.execute(
            sa.insert(account_links),
            {
                "id": link_id,
                "entity_id": entity_id,
                "account_id": account_id,
                "connection_id": self.claimed.id,
                "provider_account_encrypted": sealed,
                "provider_account_index": index,
                "is_primary": is_primary,
                "resource_status": account.status,
                "began_at": self.now,
                "rekeyed_at": self.now if existing is None else None,
            },
        )
        return _Link(
            account_id=account_id,
            kind=account.kind,
            is_primary=is_primary,
            is_new_account=existing is None,
            is_rekey=existing is not None,
            is_promoted=False,
        )

    def _balances(self, account_id: UUID, read: AccountRead) -> None:
        """Write balances. Of two for one moment (two statements of a day) the one read later counts."""
        rows = [
            {
                "account_id": account_id,
                "kind": one.kind.value,
                "as_of_at": one.as_of_at,
                "amount": one.amount,
                "currency": one.currency,
            }
            for one in read.balances
        ]
        statement, table = insert(bank_balances), bank_balances.c
        updates = {name: statement.excluded[name] for name in ("amount", "currency")}
        upserting = statement.on_conflict_do_update(
            index_elements=["account_id", "kind", "as_of_at"],
            set_={**updates, "fetched_at": self.now},
            where=sa.or_(*(table[name].is_distinct_from(value) for name, value in updates.items())),
        )
        if rows:
            self.connection.execute(upserting, rows)

    def _bills(self, link: _Link, read: AccountRead) -> dict[str, UUID]:
        """Write the bills that were read. Returns our id of every named bill, by the provider's id."""
        named = {one.provider_id for one in read.bills} | {
            row.bill for row in read.transactions if row.bill is not None
        }
        indexes = {name: self.keyring.blind_index(BILL, f"{self.claimed.provider}|{name}") for name in named}
        table = card_bills.c
        for bill in read.bills:
            values = _bill_values(bill)
            statement = insert(card_bills).values(
                id=uuid7(),
                entity_id=self.claimed.entity_id,
                account_id=link.account_id,
                bill_index=indexes[bill.provider_id],
                first_seen_at=self.now,
                updated_at=self.now,
                state=(BillState.INSTALMENTED if bill.is_instalmented else BillState.CLOSED).value,
                **values,
            )
            updates: dict[str, sa.ColumnElement[Any]] = {name: statement.excluded[name] for name in values}
            updates |= {
                name: sa.func.coalesce(updates[name], table[name]) for name in ("closed_on", "total", "minimum")
            }
            changed = sa.or_(*(table[name].is_distinct_from(value) for name, value in updates.items()))
            self.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["account_id", "bill_index"], set_={**updates, "updated_at": self.now}, where=changed
                )
            )
        if not indexes:
            return {}
        rows = self.connection.execute(
            sa.select(table.id, table.bill_index).where(
                table.account_id == link.account_id, table.bill_index.in_(list(indexes.values()))
            )
        ).all()
        ours = {bytes(row.bill_index): row.id for row in rows}
        return {name: ours[index] for name, index in indexes.items() if index in ours}

    def _deleted(self) -> dict[bytes, datetime]:
        """The aliases that webhooks reported as deleted, and when; also from a connection that has ended."""
        given = {"entity": self.claimed.entity_id, "since": self.now - DELETED_COUNTS}
        return {bytes(row.alias): row.received_at for row in self.connection.execute(_DELETED, given).all()}

    def _target(
        self, link: _Link, read: AccountRead, bills: Mapping[str, UUID], deleted: Mapping[bytes, datetime]
    ) -> Target:
        return Target(
            account_id=link.account_id,
            entity_id=self.claimed.entity_id,
            kind=link.kind,
            provider=self.claimed.provider,
            rows=read.transactions,
            covers=read.covers if read.failure is None else None,
            deleted=deleted,
            bills=bills,
            is_new=link.is_new_account,
            is_rekey=link.is_rekey,
        )

    def _advance(self, read: ConnectionRead, *, due_at: datetime) -> None:
        leases.release(self.connection, [self.claimed.lease_id])
        table = bank_connections.c
        is_whole = not self.saved.failures
        cursor = json.dumps(dict(read.cursor), sort_keys=True)
        self.connection.execute(
            sa.update(bank_connections)
            .where(table.id == self.claimed.id)
            .values(
                cursor_encrypted=self.keys.seal(
                    self.claimed.entity_id, table.cursor_encrypted, self.claimed.id, cursor
                ),
                provider_data_as_of=sa.func.coalesce(read.as_of_at, table.provider_data_as_of),
                last_complete_at=self.now if is_whole else table.last_complete_at,
                consecutive_failures=0 if is_whole else table.consecutive_failures + 1,
                # a webhook that came while it was read made it due: it stays so
                next_due_at=sa.case((table.next_due_at > table.last_attempt_at, table.next_due_at), else_=due_at)
                if self.claimed.provider is not Provider.FILE
                else due_at,
                due_reason=sa.case((table.next_due_at > table.last_attempt_at, table.due_reason), else_="target"),
                lease_id=None,
            )
        )


def _bill_values(bill: SeenBill) -> dict[str, Any]:
    """The values of a bill that the bank gives; its state is derived from rows and payments (`links`)."""
    return {
        "due_on": bill.due_on,
        "closed_on": bill.closed_on,
        "total": bill.total,
        "minimum": bill.minimum,
        "currency": bill.currency,
        "charges": [[kind, str(amount)] for kind, amount in bill.charges],
        "payments": [[day.isoformat(), kind, str(amount)] for day, kind, amount in bill.payments],
    }


def bump(connection: Connection, entity_id: UUID, inputs: Sequence[str], *, now: datetime) -> int:
    """Start a new version of an entity's data, in which these kinds of input changed. Returns its number."""
    given = {"id": entity_id, "now": now, "inputs": list(inputs)}
    statement = sa.text("""
    INSERT INTO kordant.entity_versions AS v (entity_id, data_version, inputs, changed_at)
    VALUES (:id, 1, (SELECT jsonb_object_agg(one, 1) FROM unnest(cast(:inputs AS text[])) one), :now)
    ON CONFLICT (entity_id) DO UPDATE SET data_version = v.data_version + 1, changed_at = :now,
        inputs = v.inputs || (SELECT jsonb_object_agg(one, v.data_version + 1)
                              FROM unnest(cast(:inputs AS text[])) one)
    RETURNING data_version
    """)
    version: int = connection.execute(statement, given).scalar_one()
    return version
