"""Stores counties' records: documents by the recorder's key, parcels by blind index, names encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.property.instruments import (
    ROLL,
    Event,
    Form,
    Instrument,
    Party,
    Role,
    key_apart,
    recorders_key,
)
from kordant_jobs.domain.property.names import Order, flipped, lookup_keys, parse
from kordant_jobs.domain.property.parcels import index_text
from kordant_jobs.postgres.bulk import write_frame
from kordant_jobs.store.people.keyring import Keyring
from kordant_jobs.store.property.tables import property_instruments

PARCEL, NAME_KEY = "parcel", "parcel-name"
"""Kinds of blind indexes: of county and parcel number, and of county and a name's look-up key."""


@dataclass(frozen=True, kw_only=True)
class CountyState:
    """The state of a county: its last read, and why it failed."""

    county: str
    watermarks: Mapping[str, str]
    freshness: str | None
    table_version: str | None
    data_as_of: date | None
    reason: str | None
    checked_at: datetime | None
    read_at: datetime | None
    rows: int
    rows_not_understood: Mapping[str, int]
    roll_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The numbers of documents that were new, that had changed, and of new ones that share another one's key."""

    new: int = 0
    changed: int = 0
    apart: int = 0

    def __add__(self, other: Saved) -> Saved:
        return Saved(new=self.new + other.new, changed=self.changed + other.changed, apart=self.apart + other.apart)


def states(connection: Connection) -> dict[str, CountyState]:
    """The state of every county that was ever read."""
    names = ", ".join(CountyState.__dataclass_fields__)
    rows = connection.execute(sa.text(f"SELECT {names} FROM kordant.county_states"))  # noqa: S608 - our own fields
    return {row.county: CountyState(**row._mapping) for row in rows}


def save_state(
    connection: Connection,
    county: str,
    *,
    watermarks: Mapping[str, str] | None = None,
    freshness: str | None = None,
    table_version: str | None = None,
    as_of: date | None = None,
    rows: int = 0,
    problems: Mapping[str, int] | None = None,
    reason: str | None = None,
    name: str | None = None,
    recorder_url: str | None = None,
    has_liens: bool | None = None,
) -> None:
    """Write the result of reading a county. A failure (`reason`) keeps the results of earlier reads."""
    connection.execute(
        sa.text("""
        INSERT INTO kordant.county_states AS s (county, watermarks, freshness, table_version, data_as_of, rows,
                                                rows_not_understood, reason, checked_at, read_at, name, recorder_url,
                                                has_liens)
        VALUES (:county, coalesce(cast(:marks AS jsonb), '{}'), :freshness, :version, :as_of, :rows,
                coalesce(cast(:problems AS jsonb), '{}'), :reason, now(), CASE WHEN :reason IS NULL THEN now() END,
                :name, :recorder_url, :has_liens)
        ON CONFLICT (county) DO UPDATE SET
            watermarks = coalesce(cast(:marks AS jsonb), s.watermarks),
            freshness = coalesce(excluded.freshness, s.freshness),
            table_version = coalesce(excluded.table_version, s.table_version),
            data_as_of = greatest(excluded.data_as_of, s.data_as_of),
            rows = CASE WHEN cast(:marks AS jsonb) IS NULL THEN s.rows ELSE excluded.rows END,
            rows_not_understood = coalesce(cast(:problems AS jsonb), s.rows_not_understood),
            reason = excluded.reason, checked_at = now(), read_at = coalesce(excluded.read_at, s.read_at),
            name = coalesce(excluded.name, s.name), recorder_url = coalesce(excluded.recorder_url, s.recorder_url),
            has_liens = coalesce(excluded.has_liens, s.has_liens)
        """),
        {
            "county": county,
            "marks": None if watermarks is None else json.dumps(dict(watermarks)),
            "freshness": freshness,
            "version": table_version,
            "as_of": as_of,
            "rows": rows,
            "problems": None if problems is None else json.dumps(dict(problems)),
            "reason": reason,
            "name": name,
            "recorder_url": recorder_url,
            "has_liens": has_liens,
        },
    )


def save_roll_reason(connection: Connection, county: str, reason: str | None) -> None:
    """Write the reason why a county's owner roll could not be read; None: it was read."""
    connection.execute(
        sa.text("""
        INSERT INTO kordant.county_states (county, roll_reason) VALUES (:county, :reason)
        ON CONFLICT (county) DO UPDATE SET roll_reason = excluded.roll_reason
        """),
        {"county": county, "reason": reason},
    )


def roll_changed_at(connection: Connection, county: str, freshness: str) -> datetime:
    """The time since which a county's owner roll has this freshness."""
    moment: datetime = connection.execute(
        sa.text("""
        INSERT INTO kordant.county_states AS s (county, roll_freshness, roll_changed_at)
        VALUES (:county, :freshness, clock_timestamp())
        ON CONFLICT (county) DO UPDATE SET roll_freshness = excluded.roll_freshness,
            roll_changed_at = CASE WHEN s.roll_freshness = excluded.roll_freshness
                                   THEN s.roll_changed_at ELSE excluded.roll_changed_at END
        RETURNING roll_changed_at
        """),
        {"county": county, "freshness": freshness},
    ).scalar_one()
    return moment


def save_progress(
    connection: Connection, county: str, watermarks: Mapping[str, str], *, table_version: str, as_of: date | None
) -> None:
    """Write the position of an unfinished first read of a county, from which it continues."""
    connection.execute(
        sa.text("""
        INSERT INTO kordant.county_states AS s (county, watermarks, table_version, data_as_of)
        VALUES (:county, cast(:marks AS jsonb), :version, :as_of)
        ON CONFLICT (county) DO UPDATE SET watermarks = excluded.watermarks, table_version = excluded.table_version,
            data_as_of = greatest(excluded.data_as_of, s.data_as_of), freshness = NULL
        """),
        {"county": county, "marks": json.dumps(dict(watermarks)), "version": table_version, "as_of": as_of},
    )


def parcel_indexes(keyring: Keyring, county: str, parcels: Sequence[str]) -> list[bytes]:
    """The blind indexes of canonical parcel numbers of one county."""
    return keyring.blind_indexes(PARCEL, (index_text(county, one) for one in parcels))


def name_indexes(keyring: Keyring, county: str, names: Sequence[str], order: Order) -> list[bytes]:
    """The blind indexes of names' look-up keys; where the surname may be last, those of both readings."""
    read = [parse(name, order) for name in names]
    both = [flipped(name) for name in read] if order is not Order.SURNAME_FIRST else []
    keys = sorted({key for name in (*read, *both) for key in lookup_keys(name)})
    return keyring.blind_indexes(NAME_KEY, (f"{county}|{key}" for key in keys))


def save_documents(
    connection: Connection,
    keyring: Keyring,
    county: str,
    documents: Sequence[tuple[Instrument, Sequence[str]]],
    *,
    order: Order,
    is_first_load: bool,
) -> Saved:
    """Save documents with their canonical parcel numbers. An unchanged one is skipped; a changed one is overwritten,
    with the time."""
    documents, apart = _keep_apart(connection, keyring, county, documents)
    hashes = {one.key: keyring.sign("county-record", _content(one, parcels)) for one, parcels in documents}
    known = ids_of(connection, county, hashes)
    fresh = [(one, parcels) for one, parcels in documents if known.get(one.key, (None, b""))[1] != hashes[one.key]]
    if not fresh:
        return Saved(apart=apart)
    ids = {one.key: known[one.key][0] if one.key in known else uuid4() for one, _ in fresh}
    _upsert(connection, keyring, county, fresh, ids, hashes, is_first_load=is_first_load)
    lots = [
        (index, str(ids[one.key]))
        for one, parcels in fresh
        for index in parcel_indexes(keyring, county, list(dict.fromkeys(parcels)))
    ]
    names = [
        (index, str(ids[one.key]))
        for one, _ in fresh
        if one.event not in ROLL
        for index in name_indexes(keyring, county, [party.name for party in one.parties], order)
    ]
    for table, column, rows in (("property_lots", "parcel_index", lots), ("property_name_keys", "key_index", names)):
        connection.execute(
            sa.text(f"DELETE FROM kordant.{table} WHERE instrument_id = ANY(cast(:ids AS uuid[]))"),  # noqa: S608 - names of ours
            {"ids": [str(known[one.key][0]) for one, _ in fresh if one.key in known]},
        )
        frame = pl.DataFrame(rows, schema={column: pl.Binary, "instrument_id": pl.String}, orient="row")
        write_frame(connection, frame, f"kordant.{table}")
    new = sum(one.key not in known for one, _ in fresh)
    return Saved(new=new, changed=len(fresh) - new, apart=apart)


_Documents = Sequence[tuple[Instrument, Sequence[str]]]


def _keep_apart(connection: Connection, keyring: Keyring, county: str, documents: _Documents) -> tuple[_Documents, int]:
    """The documents, with new keys for those whose recorder's key belongs to another document, and their number. A
    stored document is another one if two of three differ: its type, its day of recording, all of its parcels. A
    correction changes only one of them."""
    query = """
        SELECT i.key, i.code, i.recorded_on, array_agg(l.parcel_index) FILTER (WHERE l.parcel_index IS NOT NULL) AS lots
        FROM kordant.property_instruments i LEFT JOIN kordant.property_lots l ON l.instrument_id = i.id
        WHERE i.county = :county AND i.key = ANY(:keys) GROUP BY i.id
    """
    values = {"county": county, "keys": [recorders_key(one.key) for one, _ in documents]}
    kept = {row.key: row for row in connection.execute(sa.text(query), values)}

    def is_kept(one: Instrument) -> bool:
        other = kept.get(recorders_key(one.key))
        return bool(other is not None and (one.code, one.recorded_on) == (other.code, other.recorded_on))

    def differs(one: Instrument, parcels: Sequence[str]) -> bool:
        other = kept.get(one.key)
        if other is None:
            return False
        lots = set(map(bytes, other.lots or ()))
        moved = bool(lots and parcels) and not lots & set(parcel_indexes(keyring, county, list(parcels)))
        return bool(sum((one.code != other.code, one.recorded_on != other.recorded_on, moved)) >= 2)

    own = {recorders_key(one.key) for one, _ in documents if is_kept(one)}
    found, apart = [], 0
    for one, parcels in documents:
        key = recorders_key(one.key)
        if not is_kept(one) and (one.key != key or key in own or differs(one, parcels)):
            key, apart = key_apart(key, one.code, one.recorded_on), apart + 1
        found.append((one if key == one.key else replace(one, key=key), parcels))
    return found, apart


def _content(one: Instrument, parcels: Sequence[str]) -> bytes:
    """The content of a document as bytes for comparison."""
    parts = [(party.role, party.name) for party in one.parties]
    said = [one.event, one.form, one.code, one.recorded_on, one.executed_on, one.amount, one.percent, one.number]
    return json.dumps([*map(str, said), parts, one.refers_to, sorted(parcels)]).encode()


def ids_of(connection: Connection, county: str, keys: Iterable[str]) -> dict[str, tuple[UUID, bytes]]:
    """The stored ones of these documents: the id and content hash of each."""
    query = "SELECT key, id, content_hash FROM kordant.property_instruments WHERE county = :county AND key = ANY(:keys)"
    rows = connection.execute(sa.text(query), {"county": county, "keys": list(keys)})
    return {row.key: (row.id, bytes(row.content_hash)) for row in rows}


_COLUMNS = ("number", "code", "event", "form", "recorded_on", "executed_on", "amount", "percent", "refers_to",
            "parties_encrypted", "content_hash")  # fmt: skip


def _upsert(
    connection: Connection,
    keyring: Keyring,
    county: str,
    fresh: Sequence[tuple[Instrument, Sequence[str]]],
    ids: Mapping[str, UUID],
    hashes: Mapping[str, bytes],
    *,
    is_first_load: bool,
) -> None:
    column = property_instruments.c.parties_encrypted
    rows = [
        (
            str(ids[one.key]), county, one.key, one.number, one.code, one.event.value, one.form.value,
            one.recorded_on and one.recorded_on.isoformat(), one.executed_on and one.executed_on.isoformat(),
            None if one.amount is None else str(one.amount), None if one.percent is None else str(one.percent),
            _array(one.refers_to), keyring.seal_record(column, ids[one.key], sealed_text(one)), hashes[one.key],
        )
        for one, _ in fresh
    ]  # fmt: skip
    names = ["id", "county", "key", *_COLUMNS]
    schema = {name: pl.Binary if name in {"parties_encrypted", "content_hash"} else pl.String for name in names}
    connection.execute(sa.text("DROP TABLE IF EXISTS incoming"))
    columns = ", ".join(names)
    made = f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {columns} FROM kordant.property_instruments LIMIT 0"  # noqa: S608 - names of ours
    connection.execute(sa.text(made))
    write_frame(connection, pl.DataFrame(rows, schema=schema, orient="row"), "incoming", names)
    sets = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
    listed = ", ".join(names)
    statement = (
        f"INSERT INTO kordant.property_instruments ({listed}, is_first_load, known_at, changed_at) "  # noqa: S608 - names of ours
        f"SELECT {listed}, :first, clock_timestamp(), clock_timestamp() FROM incoming ORDER BY key "
        f"ON CONFLICT (county, key) DO UPDATE SET {sets}, changed_at = excluded.changed_at"
    )
    connection.execute(sa.text(statement), {"first": is_first_load})


def _array(values: Sequence[str]) -> str:
    quoted = ('"' + one.replace("\\", "\\\\").replace('"', '\\"') + '"' for one in values)
    return "{" + ",".join(quoted) + "}"


def sealed_text(one: Instrument) -> str:
    """The parties as text for encryption."""
    return json.dumps([[party.role.value, party.name] for party in one.parties], ensure_ascii=False)


def opened(keyring: Keyring, row: Any) -> Instrument:
    """The instrument of a row, with its names decrypted."""
    text = keyring.open_record(property_instruments.c.parties_encrypted, row.id, bytes(row.parties_encrypted))
    return Instrument(
        key=row.key,
        event=Event(row.event),
        form=Form(row.form),
        code=row.code,
        recorded_on=row.recorded_on,
        executed_on=row.executed_on,
        amount=row.amount,
        percent=row.percent,
        number=row.number,
        parties=tuple(Party(role=Role(role), name=name) for role, name in json.loads(text)),
        refers_to=tuple(row.refers_to),
    )
