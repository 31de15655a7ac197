"""Recurring streams, in and out, of many entities at once (I2, I3): from rows to cadence, amount, next day, evidence.

The caller passes booked rows only, without removed ones, own transfers, instalments and IOF lines.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.domain.finance.states import TransactionType as T
from kordant_jobs.domain.insights.calendar import day_tables
from kordant_jobs.domain.insights.kernels import joining
from kordant_jobs.domain.insights.kernels import streams as kernels
from kordant_jobs.domain.insights.kernels import table as kernel
from kordant_jobs.domain.insights.kernels.anchors import YEARLY

PAYMENT_CLASS = {
    T.BOLETO.value: kernel.BILL,
    T.COLLECTION.value: kernel.BILL,
    T.CREDIT_OPERATION.value: kernel.BILL,
    T.PAYROLL.value: kernel.PAYROLL,
    T.SALARY_PORTABILITY.value: kernel.PAYROLL,
    T.PACKAGE_FEE.value: kernel.FEE,
    T.SINGLE_FEE.value: kernel.FEE,
    T.ANNUAL_FEE.value: kernel.FEE,
    T.CARD.value: kernel.CARD,
    T.PURCHASE.value: kernel.CARD,
    T.PIX.value: kernel.PIX,
    T.TED.value: kernel.PIX,
    T.INTERNAL_TRANSFER.value: kernel.PIX,
}
"""The class of each type of payment; types that are missing here are `OTHER`."""
CADENCES = {
    7: "weekly", 14: "fortnightly", 28: "days28",
    101: "monthly", 102: "bimonthly", 103: "quarterly", 106: "half_yearly", 112: "yearly",
}  # fmt: skip

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Streams of a frame: `table` has a row for each stream, `stream_of` the stream of each row of the frame or -1."""

    table: pl.DataFrame
    stream_of: npt.NDArray[np.int32]


def find_streams(rows: pl.DataFrame) -> Found:
    """The streams with enough confidence, with their `confidence`. See `candidates` for the columns of `rows`."""
    found = candidates(rows)
    table = found.table.with_columns(stream_confidence().alias("confidence"))
    is_kept = (table["confidence"] >= STREAM_MIN).to_numpy()
    places = np.append(np.where(is_kept, np.cumsum(is_kept) - 1, -1), -1).astype(np.int32)
    kept = table.filter(is_kept).with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("stream"))
    return Found(table=kept, stream_of=places[found.stream_of])


def candidates(rows: pl.DataFrame) -> Found:
    """Possible streams of rows with `entity`, `account`, `day` (days since 1970), `cents` (signed), `orig_cents` (null:
    not in another currency), `payee` (any key), `type`."""
    keyed = rows.select(
        "entity", "account", "payee", "day", (pl.col("cents") > 0).alias("is_in"),
        pl.coalesce("orig_cents", "cents").abs().alias("much"),
        pl.col("type").replace_strict(PAYMENT_CLASS, default=kernel.OTHER, return_dtype=pl.Int64).alias("payment"),
        pl.int_range(pl.len()).alias("row"),
    ).sort("entity", "account", "is_in", "payee", "day", "row")  # fmt: skip
    starts = _starts(keyed, ("entity", "account", "is_in", "payee"))
    days = keyed["day"].cast(pl.Int64).to_numpy()
    cents = keyed["much"].to_numpy()
    owner, table = kernels.find_streams(starts, days, cents, keyed["payment"].to_numpy(), day_tables())
    blocks = _starts(keyed, ("entity", "account", "is_in"))
    first_rows = starts[:-1][table[:, kernel.GROUP].astype(np.int64)]
    is_in = keyed["is_in"].to_numpy()[np.minimum(blocks[:-1], max(len(keyed) - 1, 0))] if len(keyed) else np.zeros(0)
    apart = np.where(is_in, joining.INCOME_RANGE, joining.EXACT_RANGE)
    joining.follow_renamed(blocks, apart, np.searchsorted(first_rows, blocks), days, cents, owner, table, day_tables())
    is_left = table[:, kernel.ROWS] > 0
    owner = np.append(np.cumsum(is_left) - 1, -1)[owner]
    table = table[is_left]
    heads = keyed[starts[:-1][table[:, kernel.GROUP].astype(np.int64)].tolist()] if len(table) else keyed[:0]
    columns: dict[str, Any] = {
        "entity": heads["entity"], "account": heads["account"], "payee": heads["payee"], "is_in": heads["is_in"],
    }  # fmt: skip
    for name in (
        "CADENCE", "ANCHOR_KIND", "ANCHOR", "ROWS", "FIRST", "LAST", "RESIDUAL", "COVERAGE", "STEP", "FOUND_IN",
        "CLASS", "AMOUNT", "SPREAD", "GROUP_ROWS",
    ):  # fmt: skip
        whole = name not in ("RESIDUAL", "COVERAGE", "STEP", "AMOUNT", "SPREAD")
        values = table[:, getattr(kernel, name)]
        columns[name.lower()] = values.astype(np.int64) if whole else values
    stream_of = np.full(len(rows), -1, np.int32)
    stream_of[keyed["row"].to_numpy()] = owner
    found = pl.DataFrame(columns).with_row_index("stream")
    return Found(table=found, stream_of=stream_of)


def _starts(frame: pl.DataFrame, keys: tuple[str, ...]) -> Ints:
    """The places where a sorted frame's groups begin, with its height at the end."""
    if not len(frame):
        return np.zeros(1, np.int64)
    changes = frame.select(pl.any_horizontal(pl.col(key) != pl.col(key).shift() for key in keys).fill_null(True))
    return np.append(np.nonzero(changes.to_series().to_numpy())[0], len(frame)).astype(np.int64)


STREAM_MIN = 0.5
"""The lowest confidence of a stream that is reported."""


def stream_features() -> dict[str, pl.Expr]:
    """Expressions for the features that the confidence of a stream depends on, over a table of streams."""
    others = (pl.col("group_rows") / pl.col("rows")).clip(1.0).log()
    few = 1 / pl.col("rows")
    return {
        "few": few,
        "residual": pl.col("residual"),
        "residual_few": pl.col("residual") * few,
        "step": pl.col("step").clip(0.0, 1.0),
        "gaps": 1 - pl.col("coverage"),
        "others": others,
        "others_few": others * few,
        "exact": (pl.col("found_in") == kernel.EXACT).cast(pl.Float64),
        "chain": (pl.col("found_in") == kernel.CHAIN).cast(pl.Float64),
        "plain": (pl.col("class") == kernel.OTHER).cast(pl.Float64),
        "yearly": (pl.col("cadence") == YEARLY).cast(pl.Float64),
    }


STREAM_WEIGHTS = {
    "few": -10.04,
    "residual": -0.26,
    "residual_few": -3.63,
    "step": -6.61,
    "gaps": -0.98,
    "others": -2.50,
    "others_few": -3.11,
    "exact": 2.26,
    "chain": 0.77,
    "plain": -3.69,
    "yearly": 2.32,
}
STREAM_BIAS = 6.80


def stream_confidence() -> pl.Expr:
    """An expression for the confidence of a stream, over a table of streams."""
    terms = [pl.lit(weight) * stream_features()[name] for name, weight in STREAM_WEIGHTS.items()]
    return 1 / (1 + (-(pl.sum_horizontal(terms) + STREAM_BIAS)).exp())
