"""Figures of two-class scores: EER, FMR and FNMR, minDCF, AUC, each with a 95 % interval. Pure.

Intervals count every trial as independent of the others; with few speakers they are too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
DRAWS, TAIL, Z = 500, 0.025, 1.959964


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


def rate_interval(hits: float, trials: int) -> tuple[float, float]:
    """Where a rate may lie after so many hits (Wilson's score interval, 95 %; Brown, Cai and DasGupta 2001). No hit in
    n trials leaves up to 3.84 / (n + 3.84).

    >>> [round(one, 3) for one in rate_interval(0, 6)], [round(one, 3) for one in rate_interval(5, 100)]
    ([0.0, 0.39], [0.022, 0.112])
    """
    share, square = hits / trials, Z * Z / trials
    middle = (share + square / 2) / (1 + square)
    apart = Z / (1 + square) * math.sqrt(share * (1 - share) / trials + square / 4 / trials)
    return max(middle - apart, 0.0), min(middle + apart, 1.0)


def rates_intervals(same: Scores, other: Scores, threshold: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The intervals of the false match rate and the false non-match rate at a threshold."""
    return rate_interval(int((other >= threshold).sum()), len(other)), rate_interval(
        int((same < threshold).sum()), len(same)
    )


def eer_interval(same: Scores, other: Scores) -> tuple[float, float]:
    """Bounds of the EER: at any threshold it lies between FMR and FNMR, so it lies between the lower and the higher
    bound of both where they are nearest to each other."""
    limits = np.unique(np.concatenate([same, other]))
    nearest = min(limits, key=lambda limit: abs(np.subtract(*rates(same, other, limit))))
    passed, missed = rates_intervals(same, other, float(nearest))
    return min(passed[0], missed[0]), max(passed[1], missed[1])


def min_dcf_interval(same: Scores, other: Scores, prior: float = 0.01) -> tuple[float, float]:
    """Bounds of the least detection cost: that of the lower and the upper bounds of both rates, at the threshold where
    each is least."""
    costs = []
    for limit in np.unique(np.concatenate([same, other, [np.inf]])):
        passed, missed = rates_intervals(same, other, float(limit))
        costs.append([(prior * missed[side] + (1 - prior) * passed[side]) / prior for side in (0, 1)])
    low, high = np.min(costs, axis=0)
    return float(low), min(float(high), 1.0)


def auc_interval(high: Scores, low: Scores) -> tuple[float, float]:
    """Bounds of the AUC: of clips drawn again with replacement, and not narrower than those of a rate over as many
    pairs as the smaller class has clips, since no two clips share one."""
    chance = np.random.default_rng(1)
    drawn = [auc(chance.choice(high, len(high)), chance.choice(low, len(low))) for _ in range(DRAWS)]
    pairs = min(len(high), len(low))
    least, most = rate_interval(auc(high, low) * pairs, pairs)
    return min(float(np.quantile(drawn, TAIL)), least), max(float(np.quantile(drawn, 1 - TAIL)), most)


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
