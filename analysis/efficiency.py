"""How two entrants learn: ratios of their steps to a threshold, seen at evaluations only, and differences of means."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from analysis.drops import ROUNDING
from analysis.scores import FEWEST_SEEDS, Array, Interval

Times = Sequence[float | None]  # steps to the threshold per seed; None: not within the budget
Sinces = Sequence[float]  # per seed the last step at which it was measured short of the threshold


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """Steps that b needs for each step that a needs: above 1, a is the more efficient.

    A time is known to lie between two evaluations, a censored one to lie beyond the last: so the ratio of the medians
    is known to lie between ``least`` and ``most`` only, and an end of the interval may be 0 or infinite.
    """

    point: float | None  # of the marks at which the medians were seen; None where one is censored
    least: float
    most: float
    low: float | None  # None below three seeds of either
    high: float | None
    n: int  # seeds of the one that has fewer

    def turned(self) -> RatioInterval:
        """Steps that a needs for each step that b needs."""
        low, high = (None if end is None else _inverse(end) for end in (self.high, self.low))
        return RatioInterval(
            point=None if self.point is None else _inverse(self.point), least=_inverse(self.most),
            most=_inverse(self.least), low=low, high=high, n=self.n,
        )  # fmt: skip


def _inverse(ratio: float) -> float:
    return 1 / ratio if ratio else math.inf


def sample_efficiency_ratio(
    times_a: Times,
    times_b: Times,
    budget: int,
    *,
    since: tuple[Sinces, Sinces] | None = None,
    rng: np.random.Generator,
    resamples: int = 10_000,
    level: float = 0.95,
) -> RatioInterval:
    """The median time of b over that of a (Kaplan and Meier's medians, see `scores.median_time`), with its interval.

    ``since``: of a and of b, from when on each seed may have arrived; without it times are exact. An evaluation that
    finds the threshold reached says only that it was reached since the last one that did not, so the ratio is at least
    the one of b's earliest median to a's latest, and at most the reverse. A censored median lies beyond the last
    evaluation and no more is known of it: it counts as that step at the one end and as infinite at the other.

    Seeds of a and of b are drawn anew, each by themselves; of each resample the bound that widens the interval counts.
    Ends are order statistics, so they are ratios that occur. Of exact times of 3 seeds against 3 the interval is all
    that occurs, and that holds the truth in 90 of 100 cases; of 5 against 5, in 93 and more (tests/test_coverage.py).
    """
    a = _ends(times_a, since[0] if since else None, budget)
    b = _ends(times_b, since[1] if since else None, budget)
    medians = _median(a[None]), _median(b[None])
    least, most = (float(bound[0]) for bound in _bounds(*medians))
    (_, by_a), (_, by_b) = (one[0] for one in medians)
    point = float(by_b / by_a) if math.isfinite(by_a) and math.isfinite(by_b) else None
    n = min(len(times_a), len(times_b))
    if n < FEWEST_SEEDS:
        return RatioInterval(point=point, least=least, most=most, low=None, high=None, n=n)
    lows, highs = _bounds(*(_median(rng.choice(ends, (resamples, len(ends)))) for ends in (a, b)))
    tail = (1 - level) / 2
    return RatioInterval(
        point=point,
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
    rounding = ROUNDING * max(float(np.abs(sample).max()) for sample in samples)
    if abs(difference) <= rounding:
        difference = 0.0
    if n < FEWEST_SEEDS:
        return Interval(mean=difference, half=None, n=n)
    if all(np.ptp(sample) <= rounding for sample in samples):
        return Interval(mean=difference, half=0.0, n=n)
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss")  # one side's seeds may all be equal: its variance is 0
        ends = ttest_ind(*samples, equal_var=False).confidence_interval(level)
    return Interval(mean=difference, half=float(ends.high - ends.low) / 2, n=n)


def _ends(times: Times, since: Sinces | None, budget: int) -> Array:
    """[seeds 2]: after which step, and by which, each seed had arrived; infinite where that is not known."""
    _refuse_impossible(times, budget)
    if since is None:
        since = [budget if time is None else time for time in times]
    return np.array([(after, math.inf if by is None else by) for after, by in zip(since, times, strict=True)])


def _median(ends: Array) -> Array:
    """[samples 2] of [samples seeds 2]: both ends of `scores.median_time`, which grows with each seed's time."""
    return np.asarray(np.sort(ends, axis=1)[:, (ends.shape[1] + 1) // 2 - 1])


def _bounds(a: Array, b: Array) -> tuple[Array, Array]:
    """What b / a is at least and at most, each known by its ends [samples 2]."""
    least = b[:, 0] / a[:, 1]
    with np.errstate(divide="ignore"):
        most = b[:, 1] / a[:, 0]  # from step 0 on: as small as can be
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
