"""Adds requests to the queue, in the caller's transaction: rolled back, nothing is queued."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from uuid_utils.compat import uuid7

from kordant_jobs.engine.jobs import JobRow
from kordant_jobs.engine.payload import Payload
from kordant_jobs.engine.requests import Priority
from kordant_jobs.engine.store import arrivals, traces
from kordant_jobs.engine.store.arrivals import Merge, NewRequest
from kordant_jobs.errors import PermanentError
from kordant_jobs.redaction import storable

ONE_DAY = timedelta(days=1)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""The earliest and the latest time at which a request may run. The table checks it too: the dispatcher would fail on a
date that Python cannot represent."""
KEY_BYTES_MAX = 1024
"""The most bytes of an idempotency key; the database refuses longer ones as well."""


def job_row(name: str, catalog: Mapping[str, JobRow]) -> JobRow:
    """The row of a job by its name or its dotted alias.

    Raises:
        PermanentError: there is no such job.
    """
    row = catalog.get(name) or next((row for row in catalog.values() if row.alias == name), None)
    if row is None:
        raise PermanentError(f"there is no job {name!r}; there are {', '.join(sorted(catalog))}.")
    return row


@dataclass(frozen=True, kw_only=True)
class Item:
    """The values of one of many requests that differ between them."""

    payload: Payload
    idempotency_key: str | None = None
    entity_key: str | None = None
    tenant: str | None = None
    run_at: datetime | None = None


def enqueue(
    connection: Connection,
    payload: Payload,
    *,
    requested_by: str,
    priority: Priority | None = None,
    run_at: datetime | None = None,
    idempotency_key: str | None = None,
    window: timedelta = ONE_DAY,
    merge: Merge | None = None,
    entity_key: str | None = None,
    tenant: str | None = None,
    now: datetime | None = None,
    catalog: Mapping[str, JobRow],
) -> UUID:
    """Queue a request that runs after the caller's transaction commits, at `run_at` (None: at once). Returns its id.
    When `requested_by` used the idempotency key for the same tenant within its window, or a request with the merge key
    waits, it is that request's id. `now` is for tests; otherwise the database's clock counts.

    Raises:
        PermanentError: the job is unknown; the key is too long, was used with another payload, or is that of a
            request which is dead.
    """
    row = job_row(payload.job, catalog)
    new = _new(row, Item(payload=payload, idempotency_key=idempotency_key, entity_key=entity_key, tenant=tenant,
                         run_at=run_at), requested_by=requested_by, priority=priority, window=window, now=now,
               merge=merge)  # fmt: skip
    try:
        with traces.sending(connection, row.name, message_id=new.id):
            request_id, _ = arrivals.insert_one(connection, new)
    except IntegrityError as error:
        raise _refusal(row, error) from None
    return request_id


def enqueue_named(
    connection: Connection,
    job: str,
    payload: Mapping[str, Any],
    *,
    requested_by: str,
    catalog: Mapping[str, JobRow],
    priority: Priority | None = None,
    run_at: datetime | None = None,
    idempotency_key: str | None = None,
    window: timedelta = ONE_DAY,
    entity_key: str | None = None,
    tenant: str | None = None,
    now: datetime | None = None,
) -> UUID:
    """Queue a request as `enqueue` does, with the job by name or alias and the payload as plain JSON, as the API and
    the CLI get it.

    Raises:
        PermanentError: the job is unknown, a field of the payload is wrong, or the key has another payload.
    """
    return enqueue(
        connection,
        job_row(job, catalog).payload.checked(payload),
        requested_by=requested_by,
        priority=priority,
        run_at=run_at,
        idempotency_key=idempotency_key,
        window=window,
        entity_key=entity_key,
        tenant=tenant,
        now=now,
        catalog=catalog,
    )


def enqueue_many(
    connection: Connection,
    items: Iterable[Item],
    *,
    requested_by: str,
    priority: Priority | None = None,
    window: timedelta = ONE_DAY,
    now: datetime | None = None,
    catalog: Mapping[str, JobRow],
) -> int:
    """Queue many requests of one job by COPY. Returns the number of new ones: a request whose key is in use is left
    out.

    Raises:
        PermanentError: the job is unknown, or the items are of more than one.
    """
    rows: list[NewRequest] = []
    row: JobRow | None = None
    for item in items:
        if row is None:
            row = job_row(item.payload.job, catalog)
        elif item.payload.job != row.name:
            raise PermanentError(f"enqueue_many got requests of {row.name} and {item.payload.job}; call it for each.")
        rows.append(_new(row, item, requested_by=requested_by, priority=priority, window=window, now=now, merge=None))
    if row is None:
        return 0
    with traces.sending(connection, row.name, count=len(rows)):
        return arrivals.copy_in(connection, rows)


_KEY_REFUSED = re.compile(r"the idempotency key belongs to request (\S+), which is (\w+)")


def _refusal(row: JobRow, error: IntegrityError) -> Exception:
    """The error for a refused idempotency key, with what to do; any other error unchanged."""
    text = str(error.orig)
    if dead := _KEY_REFUSED.search(text):
        return PermanentError(
            f"{row.name}: the idempotency key belongs to request {dead[1]}, which is {dead[2]}. "
            f"Replay it (`kordant-jobs dead replay {dead[1]}`), or use a new key for a new request."
        )
    if "idempotency key was used" in text:
        return PermanentError(
            f"{row.name}: the idempotency key was used with another payload. Use a new key for a new request."
        )
    return error


def _unstorable(value: Any, name: str) -> str | None:
    """The name of a text in `value` that Postgres cannot store; None when there is none."""
    if isinstance(value, str):
        return name if value != storable(value) else None
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return next((found for key, part in parts if (found := _unstorable(part, f"{name}.{key}"))), None)


def _new(
    row: JobRow,
    item: Item,
    *,
    requested_by: str,
    priority: Priority | None,
    window: timedelta,
    now: datetime | None,
    merge: Merge | None,
) -> NewRequest:
    if not isinstance(item.payload, row.payload):
        raise PermanentError(f"{row.name} takes a {row.payload.__name__}, not a {type(item.payload).__name__}.")
    if item.idempotency_key is not None and (size := len(item.idempotency_key.encode())) > KEY_BYTES_MAX:
        raise PermanentError(
            f"{row.name}: the idempotency key has {size} bytes, and may have {KEY_BYTES_MAX}: send a hash of it."
        )
    if item.run_at is not None and not EARLIEST <= item.run_at < LATEST:
        raise PermanentError(
            f"{row.name}: run_at is not between {EARLIEST.year} and {LATEST.year}. Unix time is in seconds, "
            "not milliseconds."
        )
    payload = item.payload.model_dump(mode="json")
    if (field := _unstorable(payload, "payload")) is not None:
        raise PermanentError(f"{row.name}: {field} holds a NUL or half a character, which no database keeps.")
    return NewRequest(
        id=uuid7(),
        job=row.name,
        payload=payload,
        priority=row.priority if priority is None else priority,
        run_at=item.run_at,
        created_at=now,
        requested_by=requested_by,
        idempotency_key=item.idempotency_key,
        window=window,
        merge=merge,
        entity_key=item.entity_key,
        tenant=item.tenant,
    )
