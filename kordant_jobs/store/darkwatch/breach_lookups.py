"""Breaches under the names of outside sources: found in our table, or described by the source once."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from kordant_jobs.domain.darkwatch.breaches import Breach, BreachSource
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.engine.control import leases
from kordant_jobs.store.darkwatch.source_tables import breach_lookups
from kordant_jobs.store.darkwatch.tables import breaches, catalogue_imports

NEGATIVE_TTL = timedelta(minutes=5)
"""The time for which a breach that a source could not describe is not asked for again."""

LOOKUP_TTL_S = 60.0
"""Seconds for which one process may ask for a breach; longer than any request takes."""


def known(connection: Connection, names: Collection[str]) -> set[str]:
    """The names among these that are in our table of breaches."""
    query = sa.select(breaches.c.name).where(breaches.c.name.in_(list(names)))
    return set(connection.execute(query).scalars())


def alike(connection: Connection, names: Collection[str], domains: Collection[str]) -> list[Breach]:
    """Breaches in the catalogue that may be the same under another name: equal except for case and punctuation, or with
    the same domain."""
    table = breaches.c
    plain = sa.func.regexp_replace(sa.func.lower(table.name), "[^[:alnum:]]", "", "g")
    wanted = ["".join(filter(str.isalnum, name.casefold())) for name in names]
    query = sa.select(table.name, table.title, table.domain, table.breached_on).where(
        table.source == BreachSource.HIBP,
        sa.or_(plain.in_(wanted), sa.and_(table.domain != "", sa.func.lower(table.domain).in_(list(domains)))),
    )
    rows = connection.execute(query)
    return [Breach(name=r.name, title=r.title, domain=r.domain, breached_on=r.breached_on) for r in rows]


LONG_KNOWN = datetime(2000, 1, 1, tzinfo=UTC)


def save(connection: Connection, found: Iterable[Breach], *, as_news: bool = False) -> int:
    """Insert breaches that are missing; the catalogue's own entries stay. Returns the number of new ones. Without
    `as_news` each counts as known since its source added it, so that a breach mentioned in an answer does not cause
    everybody to be asked about again."""
    new = 0
    for breach in sorted(found, key=lambda one: one.name):
        values = {
            name: value
            for name, value in vars(breach).items()
            if name in breaches.c and name not in {"data_classes", "extra"}
        }
        if not as_news:
            values["known_at"] = breach.added_at or LONG_KNOWN
        row = insert(breaches).values(**values, data_classes=list(breach.data_classes), extra=breach.extra)
        new += connection.execute(row.on_conflict_do_nothing()).rowcount
    return new


def newest_at(connection: Connection) -> datetime | None:
    """The time at which the newest breach of HIBP's catalogue became known to us; None when there is none."""
    query = sa.select(sa.func.max(breaches.c.known_at)).where(breaches.c.source == BreachSource.HIBP)
    return connection.execute(query).scalar()


def is_newer(connection: Connection, breach: Breach) -> bool:
    """True when HIBP added `breach` after every breach that we know, or its name is new to us."""
    query = sa.select(sa.func.max(breaches.c.added_at)).where(breaches.c.source == BreachSource.HIBP)
    newest = connection.execute(query).scalar()
    added = breach.added_at
    unheard = breach.name not in known(connection, [breach.name])
    return unheard or (added is not None and newest is not None and added > newest)


def catalogue_is_due(connection: Connection) -> None:
    """Have the next scan read the whole catalogue again."""
    connection.execute(sa.update(catalogue_imports).values(checked_at=sa.text("'-infinity'")))


def may_look_up(connection: Connection, source: Source, reference: str, *, now: datetime) -> UUID | None:
    """A lease for asking the source about one of its breaches; None when another process has it, or the source recently
    knew none."""
    table = breach_lookups.c
    query = sa.select(table.looked_up_at).where(table.source == source, table.reference == reference, ~table.found)
    last = connection.execute(query).scalar()
    if last is not None and now - last < NEGATIVE_TTL:
        return None
    name = f"breach-lookup:{source}:{reference}"
    lease = leases.acquire(connection, name, limit=1, holder="breach_lookups", now=now, ttl_s=LOOKUP_TTL_S)
    return lease.id if lease else None


def looked_up(connection: Connection, source: Source, reference: str, lease: UUID, *, found: bool | None) -> None:
    """Record the result of a look-up; None: the source gave no answer, and may be asked again at once."""
    leases.release(connection, [lease])
    if found is None:
        return
    row = insert(breach_lookups).values(source=source, reference=reference, found=found, looked_up_at=sa.func.now())
    changed = {"found": row.excluded.found, "looked_up_at": row.excluded.looked_up_at}
    connection.execute(row.on_conflict_do_update(index_elements=["source", "reference"], set_=changed))
