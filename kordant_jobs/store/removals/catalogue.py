"""The catalogue of brokers: lists are imported, rows are merged into brokers, every change is a version."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.removals import brokers as nouns
from kordant_jobs.domain.removals.brokers import Broker, BrokerRow, Change, ListSource
from kordant_jobs.domain.removals.states import RemovalState
from kordant_jobs.store.removals import moves
from kordant_jobs.store.removals.tables import (
    broker_contact_faults,
    broker_domains,
    broker_rows,
    broker_versions,
    brokers,
    removal_requests,
)

CAP_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class Imported:
    """The result of an import: rows by outcome, and changes of brokers."""

    rows: int
    new_rows: int
    changed_rows: int
    gone_rows: int
    changes: tuple[Change, ...]


def import_rows(connection: Connection, source: ListSource, rows: Sequence[BrokerRow], *, now: datetime) -> Imported:
    """Replace a list's rows with these. A row that is no longer in the list is kept with the time, and no longer
    counts. The same list changes nothing; a list without rows (none were usable, or the file is of another kind)
    removes nothing. Requests follow a broker that is merged into another."""
    if not rows:
        return Imported(rows=0, new_rows=0, changed_rows=0, gone_rows=0, changes=())
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext('kordant_jobs.brokers'))"))
    table = broker_rows.c
    before = {
        one.row_key: one for one in connection.execute(sa.select(broker_rows).where(table.source == source.value))
    }
    given = {row.key: _as_json(row) for row in rows}
    new = [key for key in given if key not in before]
    changed = [key for key in given if key in before and (before[key].row != given[key] or before[key].gone_at)]
    gone = [key for key, one in before.items() if key not in given and one.gone_at is None]
    if not (new or changed or gone):
        return Imported(rows=len(rows), new_rows=0, changed_rows=0, gone_rows=0, changes=())
    if gone:
        update = sa.update(broker_rows).where(table.source == source.value, table.row_key.in_(gone))
        connection.execute(update.values(gone_at=now))
    merged = _merge(_current(connection, without=source) + list(rows))
    changes = _save(connection, merged, now)
    of_key = {row.key: row.id for row in connection.execute(sa.select(brokers.c.key, brokers.c.id))}
    moved = _moved_brokers(connection, {place: of_key[key] for place, key in merged.of_row.items()})
    values = [
        {"source": source.value, "row_key": key, "broker_id": of_key[merged.of_row[source, key]], "row": given[key],
         "gone_at": None}
        for key in (*new, *changed)
    ]  # fmt: skip
    if values:
        statement = insert(broker_rows)
        fresh = {name: statement.excluded[name] for name in ("broker_id", "row", "gone_at")}
        connection.execute(statement.on_conflict_do_update(index_elements=["source", "row_key"], set_=fresh), values)
    _move_rows(connection, {place: of_key[key] for place, key in merged.of_row.items()})
    _move_requests(connection, moved, now)
    handled = {
        of_key[one.key]: of_key[owner]
        for one in changes
        if one.kind == "changed" and not one.before.get("handled_by") and (owner := one.after.get("handled_by"))
    }
    _move_requests(connection, handled, now, states=UNSENT)
    return Imported(
        rows=len(rows), new_rows=len(new), changed_rows=len(changed), gone_rows=len(gone), changes=tuple(changes)
    )


def _move_rows(connection: Connection, broker_of: Mapping[tuple[ListSource, str], UUID]) -> None:
    """Move rows to another broker when a list shows that they belong there."""
    table = broker_rows.c
    stored = connection.execute(sa.select(table.source, table.row_key, table.broker_id).where(table.gone_at.is_(None)))
    wrong = [
        {"s": row.source, "k": row.row_key, "b": wanted}
        for row in stored
        if (wanted := broker_of[ListSource(row.source), row.row_key]) != row.broker_id
    ]
    if wrong:
        update = sa.update(broker_rows).where(table.source == sa.bindparam("s"), table.row_key == sa.bindparam("k"))
        connection.execute(update.values(broker_id=sa.bindparam("b")), wrong)


def _moved_brokers(connection: Connection, broker_of: Mapping[tuple[ListSource, str], UUID]) -> dict[UUID, UUID]:
    """The brokers that now have the rows of retired ones, by the retired broker."""
    query = sa.select(broker_rows.c.source, broker_rows.c.row_key, broker_rows.c.broker_id)
    retired = query.join(brokers, brokers.c.id == broker_rows.c.broker_id).where(brokers.c.retired_at.is_not(None))
    found = {row.broker_id: broker_of.get((ListSource(row.source), row.row_key)) for row in connection.execute(retired)}
    return {old: new for old, new in found.items() if new is not None and new != old}


_FOLLOW = """
WITH successors AS (
    SELECT o.id AS old, coalesce(b.handled_by, b.id) AS new
    FROM unnest(cast(:old AS uuid[]), cast(:new AS uuid[])) AS o (id, new) JOIN kordant.brokers b ON b.id = o.new
), ranked AS (
    SELECT r.id, s.new,
           row_number() OVER (PARTITION BY r.subscriber_id, s.new, r.ask ORDER BY r.created_at, r.id) AS place
    FROM kordant.removal_requests r JOIN successors s ON s.old = r.broker_id
    WHERE r.state <> 'cancelled' AND (cast(:states AS text[]) IS NULL OR r.state = ANY(:states)) AND NOT EXISTS (
        SELECT 1 FROM kordant.removal_requests k
        WHERE k.subscriber_id = r.subscriber_id AND k.broker_id = s.new AND k.ask = r.ask AND k.state <> 'cancelled')
), followed AS (
    UPDATE kordant.removal_requests r
    SET broker_id = f.new, next_at = CASE r.state WHEN 'contact_moved' THEN :now ELSE r.next_at END
    FROM ranked f WHERE f.place = 1 AND r.id = f.id RETURNING r.id, r.broker_id
)
UPDATE kordant.removal_messages m SET broker_id = f.broker_id FROM followed f WHERE m.request_id = f.id
"""


UNSENT = [RemovalState.DRAFT.value, RemovalState.QUEUED.value]


def _move_requests(
    connection: Connection, moved: Mapping[UUID, UUID], now: datetime, *, states: list[str] | None = None
) -> None:
    """Move requests to the brokers that theirs were merged into, or that handle theirs now; a person who has a request
    there keeps just that one. `states`: only requests in these (None: all); a request that was sent to a broker that
    still exists stays."""
    if not moved:
        return
    pairs = {"old": [str(one) for one in moved], "new": [str(one) for one in moved.values()], "now": now,
             "states": states}  # fmt: skip
    connection.execute(sa.text(_FOLLOW), pairs)
    table = removal_requests.c
    left = connection.execute(
        sa.select(table.id, table.state).where(
            table.broker_id.in_(list(moved)),
            table.state.in_(states) if states is not None else table.state != RemovalState.CANCELLED.value,
        )
    )
    rows = [
        {"id": str(row.id), "from_state": row.state, "to_state": "cancelled", "reason": "broker_merged", "next_at": now}
        for row in left
    ]
    moves.apply(connection, moves.frame_of(rows), now=now, actor="catalogue")


def _as_json(row: BrokerRow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(row)))
    return found


def _row_of(raw: Mapping[str, Any]) -> BrokerRow:
    lists = ("domains", "emails", "regions", "categories", "dead_links")
    return BrokerRow(**{**raw, **{name: tuple(raw[name]) for name in lists}, "source": ListSource(raw["source"])})


def _current(connection: Connection, *, without: ListSource) -> list[BrokerRow]:
    query = sa.select(broker_rows.c.row).where(broker_rows.c.gone_at.is_(None), broker_rows.c.source != without.value)
    return [_row_of(raw) for raw in connection.execute(query).scalars()]


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Brokers by key, the broker of each row, and which broker handles which."""

    brokers: Mapping[str, Broker]
    of_row: Mapping[tuple[ListSource, str], str]
    handled_by: Mapping[str, str]

    @property
    def facts(self) -> dict[str, dict[str, Any]]:
        """The facts of each broker, with who handles it."""
        return {key: {**one.facts(), "handled_by": self.handled_by.get(key, "")} for key, one in self.brokers.items()}


def _merge(rows: Iterable[BrokerRow]) -> Merged:
    """Group rows by domain. A row without one belongs to the only broker of its name, if there is just one."""
    found = list(rows)
    by_name: dict[str, set[str]] = {}
    for row in found:
        if domain := nouns.domain_of(row):
            by_name.setdefault(nouns.squashed(row.name), set()).add(domain)
    groups: dict[str, list[BrokerRow]] = {}
    of_row = {}
    for row in found:
        key = nouns.domain_of(row)
        if not key:
            named = by_name.get(nouns.squashed(row.name), set())
            key = next(iter(named)) if len(named) == 1 else nouns.squashed(row.name)
        groups.setdefault(key, []).append(row)
        of_row[row.source, row.key] = key
    merged = {key: nouns.merge(key, own) for key, own in groups.items()}
    return Merged(brokers=merged, of_row=of_row, handled_by=_handlers(merged, by_name))


def _handlers(merged: Mapping[str, Broker], by_name: Mapping[str, set[str]]) -> dict[str, str]:
    """The broker that handles each other broker's requests: its parent, else the owner of the page that both give,
    else of the mailbox that both have. Chains are followed to their end; a cycle ends at the key that sorts first."""
    owners = {domain: key for key, broker in sorted(merged.items(), reverse=True) for domain in broker.domains}
    direct = nouns.same_page(merged)
    for key, broker in merged.items():
        text = broker.handled_by
        named = by_name.get(nouns.squashed(text), set()) if text else set()
        own = {one for one in named if one.partition(".")[0] == nouns.squashed(text)}
        owner = owners.get(nouns.registrable(text)) or next((next(iter(s)) for s in (named, own) if len(s) == 1), None)
        if text and owner and owner != key:
            direct[key] = owner
    direct |= nouns.same_mailbox({key: broker for key, broker in merged.items() if key not in direct})
    found = {}
    for key in direct:
        path, at = [key], key
        while at in direct and direct[at] not in path:
            at = direct[at]
            path.append(at)
        end = min(path[path.index(direct[at]) :]) if at in direct else at
        if end != key:
            found[key] = end
    return found


def _save(connection: Connection, merged: Merged, now: datetime) -> list[Change]:
    before = {row.key: row for row in connection.execute(sa.select(brokers))}
    handled_before = {row.key: row.handled_by for row in before.values()}
    facts = merged.facts
    changes = nouns.diff({key: row.facts for key, row in before.items() if row.retired_at is None}, facts)
    ids = {key: row.id for key, row in before.items()} | {key: uuid4() for key in facts if key not in before}
    fresh = []
    for change in changes:
        if change.kind == "removed":
            connection.execute(sa.update(brokers).where(brokers.c.key == change.key).values(retired_at=now))
            continue
        one, version = merged.brokers[change.key], (before[change.key].version + 1 if change.key in before else 1)
        recipe = one.recipe
        fresh.append(
            {
                "id": ids[change.key], "key": change.key, "name": one.name, "version": version,
                "facts": facts[change.key], "sources": list(one.sources), "channels": [c.value for c in one.channels],
                "has_search": bool(recipe.get("search")), "daily_cap": min(int(recipe.get("daily_cap", 50)), CAP_MOST),
                "cool_down_days": int(recipe.get("cool_down_days", 25)), "updated_at": now, "retired_at": None,
            }
        )  # fmt: skip
    if fresh:
        statement = insert(brokers)
        values = {name: statement.excluded[name] for name in fresh[0] if name not in {"id", "key"}}
        connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=values), fresh)
        versions = [
            {"broker_id": row["id"], "version": row["version"], "facts": row["facts"], "since": now} for row in fresh
        ]
        connection.execute(sa.insert(broker_versions), versions)
        _save_domains(connection, [(ids[c.key], merged.brokers[c.key]) for c in changes if c.kind != "removed"])
    handled = [
        {"of": ids[key], "by": ids[owner] if owner else None}
        for key in facts
        if ids.get(owner := merged.handled_by.get(key, "")) != handled_before.get(key)
    ]
    if handled:
        update = sa.update(brokers).where(brokers.c.id == sa.bindparam("of")).values(handled_by=sa.bindparam("by"))
        connection.execute(update, handled)
    return changes


def _save_domains(connection: Connection, changed: Sequence[tuple[UUID, Broker]]) -> None:
    """Assign each domain to one broker: the one that is merged by it, else the first that mentions it."""
    table = broker_domains.c
    connection.execute(sa.delete(broker_domains).where(table.broker_id.in_([one for one, _ in changed])))
    rows = {domain: broker_id for broker_id, one in reversed(changed) for domain in one.domains}
    rows |= {one.key: broker_id for broker_id, one in changed if one.key in one.domains}
    if rows:
        statement = insert(broker_domains).on_conflict_do_nothing()
        connection.execute(statement, [{"domain": name, "broker_id": one} for name, one in rows.items()])


def without_parent(connection: Connection, source: ListSource) -> list[tuple[str, str]]:
    """Brokers that this list assigns to another broker which is not in the catalogue, or is there several times: each
    with that name. They get requests themselves."""
    table, parent = broker_rows.c, broker_rows.c.row["handled_by"].astext
    query = (
        sa.select(brokers.c.key, parent.label("parent"))
        .join(broker_rows, table.broker_id == brokers.c.id)
        .where(table.source == source.value, table.gone_at.is_(None), brokers.c.handled_by.is_(None))
        .where(parent != "", sa.not_(brokers.c.facts["domains"].has_key(parent)), brokers.c.key != parent)
    )
    return [(row.key, row.parent) for row in connection.execute(query.distinct().order_by(brokers.c.key))]


def diff_with(connection: Connection, source: ListSource, rows: Sequence[BrokerRow]) -> list[Change]:
    """The changes that importing these rows would make, without making them."""
    if not rows:
        return []
    query = sa.select(brokers.c.key, brokers.c.facts).where(brokers.c.retired_at.is_(None))
    before = {row.key: row.facts for row in connection.execute(query)}
    return nouns.diff(before, _merge(_current(connection, without=source) + list(rows)).facts)


def rows_of(connection: Connection, source: ListSource) -> int:
    """The rows that a list has."""
    query = sa.select(sa.func.count()).where(broker_rows.c.source == source.value, broker_rows.c.gone_at.is_(None))
    return int(connection.execute(query).scalar_one())


def facts_of(rows: Sequence[BrokerRow]) -> Mapping[str, Mapping[str, Any]]:
    """The facts of the brokers that these rows alone make, by key, with who handles whom."""
    return _merge(rows).facts


def find(connection: Connection, text: str) -> Any | None:
    """A broker by its key, a domain, the key of one of its rows, or its name; None when there is none, or several."""
    key = nouns.registrable(text) or text.strip().lower()
    query = sa.select(brokers).outerjoin(broker_domains, broker_domains.c.broker_id == brokers.c.id)
    query = query.where(sa.or_(brokers.c.key == key, broker_domains.c.domain == key)).distinct()
    found = connection.execute(query).all()
    if not found:
        own = sa.select(broker_rows.c.broker_id).where(broker_rows.c.row_key == text.strip().lower())
        found = connection.execute(sa.select(brokers).where(brokers.c.id.in_(own))).all()
    if not found:
        named = connection.execute(sa.select(brokers.c.id, brokers.c.name).where(brokers.c.retired_at.is_(None)))
        ids = [row.id for row in named if nouns.squashed(row.name) == nouns.squashed(text)]
        found = connection.execute(sa.select(brokers).where(brokers.c.id.in_(ids))).all()
    return found[0] if len(found) == 1 else None


def domains_of(connection: Connection, broker_ids: Collection[UUID]) -> dict[UUID, frozenset[str]]:
    """The domains of brokers and of those whose requests they handle: confirmation links may lead only there."""
    query = (
        sa.select(brokers.c.id, brokers.c.handled_by, broker_domains.c.domain)
        .join(brokers, brokers.c.id == broker_domains.c.broker_id)
        .where(sa.or_(brokers.c.id.in_(broker_ids), brokers.c.handled_by.in_(broker_ids)))
    )
    found: dict[UUID, set[str]] = {one: set() for one in broker_ids}
    for row in connection.execute(query) if found else ():
        for owner in {row.id, row.handled_by} & found.keys():
            found[owner].add(row.domain)
    return {one: frozenset(domains) for one, domains in found.items()}


def note_fault(connection: Connection, broker_id: UUID, contact: str, fault: str, *, now: datetime) -> None:
    """Record that a broker's contact does not work: no request uses it until a new version of the catalogue or an
    operator changes that."""
    values = {"broker_id": broker_id, "contact": contact, "fault": fault, "since": now}
    connection.execute(insert(broker_contact_faults).values(**values).on_conflict_do_nothing())


def clear_faults(connection: Connection, broker_id: UUID) -> int:
    """Remove the faults of a broker's contacts, after an operator checked them. Returns their number."""
    statement = sa.delete(broker_contact_faults).where(broker_contact_faults.c.broker_id == broker_id)
    return int(connection.execute(statement).rowcount)


def by_id(connection: Connection, broker_id: UUID) -> Any:
    """One broker, which must exist."""
    return connection.execute(sa.select(brokers).where(brokers.c.id == broker_id)).one()


def faults(connection: Connection, broker_id: UUID) -> list[Any]:
    """The faulty contacts of a broker, with reason and time."""
    query = sa.select(broker_contact_faults).where(broker_contact_faults.c.broker_id == broker_id)
    return list(connection.execute(query))
