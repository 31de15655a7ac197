"""Maps breaches that outside sources name to breaches in our catalogue: to an existing one where that is certain, else
to a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, Engine

from kordant_jobs.domain.darkwatch.breaches import Breach
from kordant_jobs.domain.darkwatch.exposures import Source
from kordant_jobs.errors import SourceUnavailable
from kordant_jobs.jobs.darkwatch_scan.drops import now_of
from kordant_jobs.jobs.darkwatch_scan.rules.asking import same_breach
from kordant_jobs.ports import ExposureSource, Finding
from kordant_jobs.redaction import storable
from kordant_jobs.store.darkwatch import breach_lookups


def resolve(source: ExposureSource, findings: Sequence[Finding], *, db: Engine) -> dict[str, str]:
    """Our names of the breaches that a source names, by its own keys. Breaches that it could not describe are
    missing."""
    described = {one.reference: one.breach for one in findings if one.breach is None or _is_keepable(one.breach)}
    if not described:
        return {}
    with db.begin() as connection:
        names = _known_names(connection, source.source, described)
    for reference in [one for one in described if one not in names and described[one] is None]:
        described[reference] = _described(source, reference, db=db)
    new = {
        reference: _named(source.source, reference, breach)
        for reference, breach in described.items()
        if reference not in names and breach is not None
    }
    with db.begin() as connection:
        again = _known_names(connection, source.source, {one: described[one] for one in new})
        breach_lookups.save(connection, [breach for one, breach in new.items() if one not in again])
    return names | {one: breach.name for one, breach in new.items()} | again


def _is_keepable(breach: Breach) -> bool:
    """True when a database can store a source's description of a breach."""
    texts = [one for one in vars(breach).values() if isinstance(one, str)] + list(breach.data_classes)
    return all(one == storable(one) for one in texts) and abs(breach.pwn_count or 0) < 2**63


def _named(source: Source, reference: str, breach: Breach) -> Breach:
    return replace(breach, name=reference if source is Source.HIBP else f"{source}:{reference}")


def _known_names(connection: Connection, source: Source, described: dict[str, Breach | None]) -> dict[str, str]:
    """Our names of those that are in our catalogue: HIBP's by name, others by the name that we gave them, or because
    they are the same as one of HIBP's."""
    ours = {one: one if source is Source.HIBP else f"{source}:{one}" for one in described}
    there = breach_lookups.known(connection, ours.values())
    names = {reference: name for reference, name in ours.items() if name in there}
    if source is Source.HIBP:
        return names
    rest = {one: breach or Breach(name=one, title=one) for one, breach in described.items() if one not in names}
    domains = {breach.domain.lower() for breach in rest.values() if breach.domain}
    similar = breach_lookups.alike(connection, list(rest), domains)
    for reference, breach in rest.items():
        if (name := same_breach(replace(breach, name=reference), similar)) is not None:
            names[reference] = name
    return names


def _described(source: ExposureSource, reference: str, *, db: Engine) -> Breach | None:
    """The source's description of one of its breaches, fetched by one process at a time."""
    with db.begin() as connection:
        lease = breach_lookups.may_look_up(connection, source.source, reference, now=now_of(connection))
    if lease is None:
        return None
    found: bool | None = None
    try:
        breach = source.describe(reference)
        if breach is not None and not _is_keepable(breach):
            breach = None
        found = breach is not None
    except SourceUnavailable:
        breach = None
    finally:
        with db.begin() as connection:
            breach_lookups.looked_up(connection, source.source, reference, lease, found=found)
    return breach
