"""Corrections of forecasts, stored for a week."""

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import Connection

from kordant_jobs.domain.insights.forecast import LEVELS, Corrections
from kordant_jobs.store.insights.tables import forecast_corrections

LASTS = timedelta(days=7)
SAMPLE = 3_000
"""The entities whose past forecasts are judged: a thousand in each class give quantiles with an error of a tenth of
their spread."""
_SAMPLE = sa.text("""
SELECT v.entity_id FROM kordant.entity_versions v JOIN kordant.entities e ON e.id = v.entity_id
WHERE e.forgotten_at IS NULL AND v.data_version > 0 ORDER BY md5(v.entity_id::text) LIMIT :limit
""")


def load(connection: Connection) -> Corrections:
    """The stored corrections."""
    found: dict[tuple[str, int], list[float]] = {}
    for row in connection.execute(sa.select(forecast_corrections).order_by(forecast_corrections.c.quantile)):
        found.setdefault((row._mapping["class"], row.horizon), []).append(row.score)
    return found


def are_old(connection: Connection, now: datetime) -> bool:
    """True when there are none, or some are older than a week."""
    oldest = connection.execute(sa.select(sa.func.min(forecast_corrections.c.computed_at))).scalar()
    return oldest is None or oldest < now - LASTS


def sample(connection: Connection) -> list[UUID]:
    """The entities whose past forecasts correct those of the others: always the same ones."""
    return list(connection.execute(_SAMPLE, {"limit": SAMPLE}).scalars())


def save(connection: Connection, made: Corrections, *, now: datetime) -> None:
    """Replace the corrections."""
    connection.execute(sa.delete(forecast_corrections))
    rows = [
        {"class": name, "horizon": horizon, "quantile": level, "score": score, "computed_at": now}
        for (name, horizon), found in made.items()
        for level, score in zip(LEVELS, found, strict=True)
    ]
    if rows:
        connection.execute(sa.insert(forecast_corrections), rows)
