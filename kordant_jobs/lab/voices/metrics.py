"""Figures of two-class scores: EER, FMR and FNMR, minDCF, AUC, each with an interval by bootstrap. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
DRAWS = 500


def equal_error_rate(same: Scores, other: Scores) -> float:
    """Where as many of the same are below a threshold as of others are not.

    >>> round(equal_error_rate(np.array([0.9, 0.8, 0.4]), np.array([0.1, 0.2, 0.5])), 4)
    0.3333
    """
    limits = np.unique(np.concatenate([same, other]))
    missed = np.searchsorted(np.sort(same), limits, side="left") / len(same)
    passed = 1 - np.searchsorted(np.sort(other), limits, side="left") / len(other)
    at = int(np.argmin(np.abs(missed - passed)))
    return float((missed[at] + passed[at]) / 2)


def rates(same: Scores, other: Scores, threshold: float) -> tuple[float, float]:
    """The false match rate and the false non-match rate at a threshold."""
    return float((other >= threshold).mean()), float((same < threshold).mean())


def min_dcf(same: Scores, other: Scores, prior: float = 0.01) -> float:
    """The least detection cost over all thresholds, by that of always saying no (NIST SRE, costs of 1)."""
    limits = np.unique(np.concatenate([same, other, [np.inf]]))
    missed = np.searchsorted(np.sort(same), limits, side="left") / len(same)
    passed = 1 - np.searchsorted(np.sort(other), limits, side="left") / len(other)
    return float((prior * missed + (1 - prior) * passed).min() / prior)


def auc(high: Scores, low: Scores) -> float:
    """The share of pairs in which the one that should be higher is.

    >>> auc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.875
    """
    order = np.sort(low)
    below = np.searchsorted(order, high, side="left") + np.searchsorted(order, high, side="right")
    return float((below / 2).mean() / len(low))


def interval(
    figure: Callable[[Scores, Scores], float], one: Scores, two: Scores, *, share: float = 0.95
) -> tuple[float, float]:
    """Where a figure lies in `share` of samples drawn again with replacement, from each class by itself."""
    chance = np.random.default_rng(1)
    drawn = [figure(chance.choice(one, len(one)), chance.choice(two, len(two))) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def as_norm(score: float, enrolled: Sequence[float], tested: Sequence[float], top: int = 20) -> float:
    """A score against those of the enrolled and the tested voice with the cohort's nearest (AS-norm, Matejka 2017).

    >>> round(as_norm(0.9, [0.1, 0.3], [0.2, 0.4]), 2)
    6.5
    """
    parts = []
    for found in (enrolled, tested):
        nearest = np.sort(np.asarray(found))[-top:]
        parts.append((score - nearest.mean()) / max(float(nearest.std()), 1e-3))
    return float(np.mean(parts))
