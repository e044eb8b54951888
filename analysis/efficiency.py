"""How two entrants learn: ratios of their steps to a threshold, censored at the budget, and differences of means."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.scores import FEWEST_SEEDS, Array, Interval, median_time

Times = Sequence[float | None]  # steps to the threshold per seed; None: not within the budget


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """Steps that b needs for each step that a needs: above 1, a is the more efficient.

    What a censored time leaves open stays open: where the ratio is known to lie between two bounds only, ``least``
    and ``most`` differ, and an end of the interval may be 0 or infinite.
    """

    least: float
    most: float
    low: float | None  # None below three seeds of either
    high: float | None
    n: int  # seeds of the one that has fewer

    @property
    def point(self) -> float | None:
        """The ratio of the medians; None where it is only bounded."""
        return self.least if self.least == self.most else None

    def turned(self) -> RatioInterval:
        """Steps that a needs for each step that b needs."""
        low, high = (None if end is None else _inverse(end) for end in (self.high, self.low))
        return RatioInterval(least=_inverse(self.most), most=_inverse(self.least), low=low, high=high, n=self.n)


def _inverse(ratio: float) -> float:
    return 1 / ratio if ratio else math.inf


def sample_efficiency_ratio(
    times_a: Times,
    times_b: Times,
    budget: int,
    *,
    rng: np.random.Generator,
    resamples: int = 10_000,
    level: float = 0.95,
) -> RatioInterval:
    """The median time of b over that of a (Kaplan and Meier's medians, see `scores.median_time`), with its interval.

    Seeds of a and of b are drawn anew, each by themselves. A resample whose median is censored is known to lie
    above the budget and no more: it counts as the budget at the one end and as infinite at the other, whichever
    widens the interval. Ends are order statistics, so they are ratios that occur.
    """
    for times in (times_a, times_b):
        _refuse_impossible(times, budget)
    a, b = (np.array([median_time(times) or math.inf]) for times in (times_a, times_b))
    least, most = (float(bound[0]) for bound in _bounds(a, b, budget))
    n = min(len(times_a), len(times_b))
    if n < FEWEST_SEEDS:
        return RatioInterval(least=least, most=most, low=None, high=None, n=n)
    a, b = (_resampled_medians(times, resamples, rng) for times in (times_a, times_b))
    lows, highs = _bounds(a, b, budget)
    tail = (1 - level) / 2
    return RatioInterval(
        least=least,
        most=most,
        low=float(np.quantile(lows, tail, method="lower")),
        high=float(np.quantile(highs, 1 - tail, method="higher")),
        n=n,
    )


def welch(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """The mean of a less that of b, with Welch's t interval: seeds are independent, and variances may differ.

    Its n is that of the one that has fewer seeds.
    """
    samples = [np.asarray(values, dtype=np.float64) for values in (a, b)]
    for sample in samples:
        if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
            raise ValueError(
                f"expected one finite value per seed, at least one seed, found {sample.tolist()}. "
                "A seed without a value is a hole: leave it out and name it."
            )
    difference, n = float(samples[0].mean() - samples[1].mean()), min(sample.size for sample in samples)
    if n < FEWEST_SEEDS:
        return Interval(mean=difference, half=None, n=n)
    if all(np.ptp(sample) == 0 for sample in samples):
        return Interval(mean=difference, half=0.0, n=n)
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss")  # one side's seeds may all be equal: its variance is 0
        ends = ttest_ind(*samples, equal_var=False).confidence_interval(level)
    return Interval(mean=difference, half=float(ends.high - ends.low) / 2, n=n)


def _resampled_medians(times: Times, resamples: int, rng: np.random.Generator) -> Array:
    """The median time of each resample, infinite where it is censored."""
    known = np.array([math.inf if time is None else time for time in times])
    drawn = rng.choice(known, (resamples, known.size))
    return np.asarray(np.sort(drawn, axis=-1)[:, (known.size + 1) // 2 - 1])


def _bounds(a: Array, b: Array, budget: int) -> tuple[Array, Array]:
    """What b / a is at least and at most, when infinite stands for a time above the budget."""
    least = np.where(np.isinf(a), 0.0, np.minimum(b, budget) / np.minimum(a, budget))
    most = np.where(np.isinf(b), np.inf, b / np.minimum(a, budget))
    return least, most


def _refuse_impossible(times: Times, budget: int) -> None:
    if not times:
        raise ValueError("a ratio of times: expected the time of at least one seed of each, found none.")
    for time in times:
        if time is not None and not 0 < time <= budget:
            raise ValueError(
                f"a ratio of times: expected steps between 1 and the budget {budget:,}, or None where the threshold "
                f"was not reached, found {time}."
                + (" An untrained agent reaches this threshold: declare a harder one." if time == 0 else "")
            )
