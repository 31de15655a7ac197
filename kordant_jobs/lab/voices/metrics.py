"""Error rates of two-class scores: EER, FMR and FNMR, minDCF, AUC, each with a 95 % interval. Pure.

The intervals assume independent trials; with few speakers they are too narrow.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
DRAWS, TAIL, Z = 500, 0.025, 1.959964


def equal_error_rate(same: Scores, other: Scores) -> float:
    """The equal error rate (EER): the error at the threshold where FMR and FNMR are equal, or nearest to it.

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
    """The least detection cost over all thresholds, relative to that of rejecting everything (NIST SRE, costs of 1)."""
    limits = np.unique(np.concatenate([same, other, [np.inf]]))
    missed = np.searchsorted(np.sort(same), limits, side="left") / len(same)
    passed = 1 - np.searchsorted(np.sort(other), limits, side="left") / len(other)
    return float((prior * missed + (1 - prior) * passed).min() / prior)


def auc(high: Scores, low: Scores) -> float:
    """The area under the ROC curve: the share of pairs in which the score of `high` is the higher one.

    >>> auc(np.array([3.0, 2.0]), np.array([1.0, 2.0]))
    0.875
    """
    order = np.sort(low)
    below = np.searchsorted(order, high, side="left") + np.searchsorted(order, high, side="right")
    return float((below / 2).mean() / len(low))


def rate_interval(hits: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson's score interval; Brown, Cai and DasGupta 2001). With no hit in n trials its
    upper bound is 3.84 / (n + 3.84).

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
    """The interval of the EER. At any threshold the EER is between FMR and FNMR, so the interval is from the lowest to
    the highest bound of both, at the threshold where they are nearest."""
    limits = np.unique(np.concatenate([same, other]))
    nearest = min(limits, key=lambda limit: abs(np.subtract(*rates(same, other, limit))))
    passed, missed = rates_intervals(same, other, float(nearest))
    return min(passed[0], missed[0]), max(passed[1], missed[1])


def min_dcf_interval(same: Scores, other: Scores, prior: float = 0.01) -> tuple[float, float]:
    """The interval of the least detection cost: the least cost with the lower bounds of both rates, and the least with
    their upper bounds."""
    costs = []
    for limit in np.unique(np.concatenate([same, other, [np.inf]])):
        passed, missed = rates_intervals(same, other, float(limit))
        costs.append([(prior * missed[side] + (1 - prior) * passed[side]) / prior for side in (0, 1)])
    low, high = np.min(costs, axis=0)
    return float(low), min(float(high), 1.0)


def auc_interval(high: Scores, low: Scores) -> tuple[float, float]:
    """The interval of the AUC by bootstrap, but not narrower than the interval of a rate with as many trials as the
    smaller class has clips, since only so many pairs are independent."""
    chance = np.random.default_rng(1)
    drawn = [auc(chance.choice(high, len(high)), chance.choice(low, len(low))) for _ in range(DRAWS)]
    pairs = min(len(high), len(low))
    least, most = rate_interval(auc(high, low) * pairs, pairs)
    return min(float(np.quantile(drawn, TAIL)), least), max(float(np.quantile(drawn, 1 - TAIL)), most)


def as_norm(score: float, enrolled: Sequence[float], tested: Sequence[float], top: int = 20) -> float:
    """A score, normalised by the scores of both voices with the `top` nearest of a cohort (AS-norm, Matejka 2017).

    >>> round(as_norm(0.9, [0.1, 0.3], [0.2, 0.4]), 2)
    6.5
    """
    parts = []
    for found in (enrolled, tested):
        nearest = np.sort(np.asarray(found))[-top:]
        parts.append((score - nearest.mean()) / max(float(nearest.std()), 1e-3))
    return float(np.mean(parts))
