"""Has a score dropped? One test on few seeds, Holm over many of them, and the smallest drop that a test can see.

Arrays in, numbers out. A drop is a fall of the mean over seeds; a metric of which less is better is negated by
whoever calls.

The statistic is Welch's: the difference of the means over its standard error, sqrt(s²/n + s²/m) with a variance of
each side. How unlikely it is, is counted, not looked up: were nothing changed, each way to call n of the n + m
seeds "new" would be as likely as the one at hand, so p is the share of these regroupings whose statistic is as low.
Up to 20,000 regroupings all are counted, beyond them as many drawn ones. Such a p holds for scores of whatever
distribution, the skewed and two-peaked ones of learning curves' ends included; Welch's own p, from Student's
distribution, is too low for these (a nominal 5 % is 8 % for exponential scores) and sees a little less.
`tests/test_drops.py` measures both rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.scores import Array

POWER = 0.8  # what "could have seen" means
MOST_REGROUPINGS = 20_000
ROUNDING = 1e-9  # of the largest value: scores that differ by less are equal
FEWEST = 2  # seeds of a side: one has no variance
NO_VARIANCE = 1e-14  # squared standard errors below it are rounding, where all scores span a range of 1


def regroupings(new: int, old: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Ways ``[R, new + old]`` to call ``new`` of all seeds new; the first row is the one at hand."""
    seeds = new + old
    if math.comb(seeds, new) <= MOST_REGROUPINGS:
        chosen = np.array(list(combinations(range(seeds), new)))
    else:
        drawn = np.argpartition(rng.random((MOST_REGROUPINGS - 1, seeds)), new - 1, axis=1)[:, :new]
        chosen = np.concatenate([np.arange(new)[None], drawn])
    ways = np.zeros((len(chosen), seeds), dtype=np.bool_)
    np.put_along_axis(ways, chosen, True, axis=1)
    return ways


def p_values(new: ArrayLike, old: ArrayLike, ways: NDArray[np.bool_]) -> tuple[float, float]:
    """How likely so low a statistic is, and how likely so high a one, if nothing has changed.

    Where all seeds have one score both are 1. Where each side has one score of its own, both variances are 0: then the
    statistic at hand is infinite, and p is as small as so few seeds allow.
    """
    first, second = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    pooled = np.concatenate([first, second])
    spread = float(np.ptp(pooled))
    if spread <= ROUNDING * float(np.abs(pooled).max()):
        return 1.0, 1.0
    statistic = _welch(first.size, second.size, (pooled - pooled.mean()) / spread, ways)
    slack = ROUNDING * (1.0 + abs(float(statistic[0]))) if np.isfinite(statistic[0]) else 0.0
    return float(np.mean(statistic <= statistic[0] + slack)), float(np.mean(statistic >= statistic[0] - slack))


def _welch(n: int, m: int, pooled: Array, ways: NDArray[np.bool_]) -> Array:
    """Welch's t of every regrouping; infinite where neither side varies but the means differ."""
    inside = ways.astype(np.float64)
    total, squares = pooled.sum(), (pooled**2).sum()
    sum_new, squares_new = inside @ pooled, inside @ pooled**2
    sum_old, squares_old = total - sum_new, squares - squares_new
    error = (squares_new - sum_new**2 / n) / (n * (n - 1)) + (squares_old - sum_old**2 / m) / (m * (m - 1))
    difference = sum_new / n - sum_old / m
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = difference / np.sqrt(np.where(error > NO_VARIANCE, error, 0.0))
    return np.asarray(np.where(np.abs(difference) <= ROUNDING, 0.0, statistic))


def smallest_p(new: int, old: int) -> float:
    """The least p that so many seeds can give, however far their scores are apart."""
    return 1 / min(math.comb(new + old, new), MOST_REGROUPINGS)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values such that rejecting those up to alpha rejects a true hypothesis with probability alpha at most."""
    order = sorted(range(len(ps)), key=lambda at: ps[at])
    adjusted, least = [1.0] * len(ps), 0.0
    for rank, at in enumerate(order):
        least = max(least, (len(ps) - rank) * ps[at])
        adjusted[at] = min(least, 1.0)
    return adjusted


def smallest_drop(new: ArrayLike, old: ArrayLike, alpha: float, power: float = POWER) -> float | None:
    """The drop that a test of level ``alpha`` sees with probability ``power``; None: none, of whatever size.

    By the noncentral t distribution, with Welch's error and degrees of freedom from the standard deviations at hand.
    """
    first, second = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if min(first.size, second.size) < FEWEST or smallest_p(first.size, second.size) > alpha:
        return None
    one, other = first.var(ddof=1) / first.size, second.var(ddof=1) / second.size
    error = math.sqrt(one + other)
    largest = max(float(np.abs(first).max()), float(np.abs(second).max()))
    if error <= ROUNDING * largest:
        return 0.0
    freedom = (one + other) ** 2 / (one**2 / (first.size - 1) + other**2 / (second.size - 1))
    return error * _noncentrality(float(freedom), alpha, power)


def enough(new: int, old: int, alpha: float, drop: float) -> bool:
    """Whether one test of level ``alpha`` sees a drop of ``drop`` standard deviations four times in five."""
    return (needed := least_drop(new, old, alpha)) is not None and needed <= drop


@lru_cache
def least_drop(new: int, old: int, alpha: float) -> float | None:
    """The smallest drop in standard deviations, if both sides have the same; None where no drop can be seen."""
    if min(new, old) < FEWEST or smallest_p(new, old) > alpha:
        return None
    freedom = (1 / new + 1 / old) ** 2 / (1 / new**2 / (new - 1) + 1 / old**2 / (old - 1))
    return math.sqrt(1 / new + 1 / old) * _noncentrality(freedom, alpha, POWER)


def _noncentrality(freedom: float, alpha: float, power: float) -> float:
    """How many standard errors apart the means have to be for ``power``."""
    from scipy.special import nctdtrinc, stdtrit  # not scipy.stats: the same numbers, quicker to import

    return float(nctdtrinc(freedom, 1 - power, stdtrit(freedom, 1 - alpha)))
