"""The confidence of an insight, from 0 to 1: of insights with 0.9, nine in ten are right on invented accounts.

The figures are fitted by `lab.households.fit` on seeds below 1000 and judged on others (`judge-insights`). Pure.
"""

from __future__ import annotations

import polars as pl

from kordant_jobs.domain.insights.kernels import table as kernel
from kordant_jobs.domain.insights.kernels.anchors import YEARLY

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
