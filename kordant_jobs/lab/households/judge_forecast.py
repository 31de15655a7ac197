"""Forecasts of invented accounts against what came, beside two naive ones: the last 30 days again, and the mean of 90.

Each has intervals from its own past errors, so that all three are compared on equal terms.
"""

from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import polars as pl

from kordant_jobs.domain.insights.books import read
from kordant_jobs.domain.insights.forecast import (
    BACK_DAYS,
    LEVELS,
    Paths,
    corrections,
    project,
    quantiles,
    rank,
    scores,
)
from kordant_jobs.lab.households.books import balances, books_of
from kordant_jobs.lab.households.generator import World

HORIZON = 30
"""Days ahead."""
ORIGINS = tuple(HORIZON + back for back in BACK_DAYS)
"""Days before the world's day on which past forecasts are made; they correct the forecast of that day."""
Floats = npt.NDArray[np.float64]


def liquid(world: World, day: date, entities: pl.DataFrame) -> Floats:
    """The entities' balances on liquid accounts at the end of a day, in cents."""
    whole = balances(world, day).filter(pl.col("kind") != "card").group_by("entity").agg(pl.col("balance").sum())
    joined = entities.select("entity").join(whole, on="entity", how="left", maintain_order="left")
    return joined["balance"].cast(pl.Float64).to_numpy()


def _naives(world: World, origin: date, made: Paths) -> dict[str, Floats]:
    now, month, quarter = (liquid(world, origin - timedelta(days=back), made.entities) for back in (0, 30, 90))
    return {"again": 2 * now - month, "drift": now + (now - quarter) / 3}


def _pinball(actual: Floats, said: Floats) -> Floats:
    off = actual[:, None] - said
    levels = np.array(LEVELS)
    return np.asarray(np.maximum(levels * off, (levels - 1) * off).mean(axis=1))


def judge_forecast(world: World, written: pl.DataFrame) -> dict[str, float]:
    """Errors relative to the naive forecasts', and how often intervals hold, and do not, 30 days ahead: those that hold
    more often than they say are too wide."""
    made, actual, naive = {}, {}, {}
    for back in (0, *ORIGINS):
        origin = world.as_of - timedelta(days=back)
        found = read(books_of(world, as_of=origin, written=written), today=origin)
        made[back] = project(found.rows, found.streams, found.accounts, now=found.now)
        actual[back] = liquid(world, origin + timedelta(days=HORIZON), made[back].entities)
        naive[back] = _naives(world, origin, made[back])
    past = pl.concat([scores(made[back], actual[back], HORIZON) for back in ORIGINS])
    said = quantiles(made[0], corrections({HORIZON: past}), HORIZON)
    is_judged = made[0].entities["unknown"].is_null().to_numpy()
    size = _income(world, made[0])
    figures = {"forecast_pairs": float(is_judged.sum())}
    truth = actual[0]
    for name in ("again", "drift"):
        errors = np.sort(
            np.concatenate(
                [
                    ((actual[back] - naive[back][name]) / size)[made[back].entities["unknown"].is_null().to_numpy()]
                    for back in ORIGINS
                ]
            )
        )
        theirs = naive[0][name][:, None] + np.array([rank(errors, level) for level in LEVELS]) * size[:, None]
        middle = LEVELS.index(0.5)
        ours_off, theirs_off = abs(said[:, middle] - truth) / size, abs(naive[0][name] - truth) / size
        figures[f"forecast_error_to_{name}"] = float(ours_off[is_judged].mean() / theirs_off[is_judged].mean())
        figures[f"forecast_pinball_to_{name}"] = float(
            (_pinball(truth, said) / size)[is_judged].mean() / (_pinball(truth, theirs) / size)[is_judged].mean()
        )
    for share, low, high in ((80, 1, 5), (95, 0, 6)):
        is_inside = (truth >= said[:, low]) & (truth <= said[:, high])
        figures[f"forecast_inside_{share}"] = float(is_inside[is_judged].mean())
        figures[f"forecast_outside_{share}"] = 1 - figures[f"forecast_inside_{share}"]
    return figures


def _income(world: World, made: Paths) -> Floats:
    """Income a month, so that a firm weighs as much as a household."""
    came = (
        world.seen.filter((pl.col("cents") > 0) & pl.col("transfer").is_null()).group_by("entity").agg(pl.col("cents").sum())
        .join(world.entities.select("entity", "months"), on="entity")
        .select("entity", (pl.col("cents") / pl.col("months")).alias("income"))
    )  # fmt: skip
    joined = made.entities.join(came, on="entity", how="left", maintain_order="left")
    return joined["income"].fill_null(1.0).to_numpy()
