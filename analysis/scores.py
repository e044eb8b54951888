"""What one number or curve of a task means: intervals, marks, thresholds, windows. Seeds are the only unit.

Everything here takes arrays and gives numbers; no files, no names. A seed contributes one value (or one curve),
however many episodes it was measured on: episodes of one agent are not independent runs of a method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

FEWEST_SEEDS = 3  # below it no interval: with 2 seeds the 95 % t interval is 9 standard deviations to either side
LATE = 0.05  # of the way to the next mark, by which an evaluation may be late


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over seeds and, from three seeds on, how far it may be off."""

    mean: float
    half: float | None  # half the width of the interval; None where there are too few seeds for one
    n: int

    @property
    def low(self) -> float | None:
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        return None if self.half is None else self.mean + self.half


@lru_cache
def _t_quantile(level: float, n: int) -> float:
    from scipy.special import stdtrit  # not scipy.stats: the same number, quicker to import

    return float(stdtrit(n - 1, 0.5 + level / 2))


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval:
    """Mean over seeds ± t(n - 1) · s / √n; no interval below three seeds.

    A percentile bootstrap of so few values is too narrow (measured at nominal 95 %: 76 % at three seeds).
    """
    sample = _per_seed(values)
    n = sample.size
    mean = float(sample.mean())
    if n < FEWEST_SEEDS:
        return Interval(mean=mean, half=None, n=n)
    return Interval(mean=mean, half=_t_quantile(level, n) * float(sample.std(ddof=1)) / math.sqrt(n), n=n)


def t_band(curves: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
    """Mean over seeds and half width at each mark of ``curves [seeds marks]``.

    A mark at which any seed has no value has no mean (NaN): a mean over fewer seeds than its neighbours would
    jump for no other reason than who is missing.
    """
    sample = np.atleast_2d(np.asarray(curves, dtype=np.float64))
    n = sample.shape[0]
    mean = sample.mean(axis=0)
    if n < FEWEST_SEEDS:
        return mean, np.full_like(mean, np.nan)
    return mean, _t_quantile(level, n) * sample.std(axis=0, ddof=1) / math.sqrt(n)


def normalised(values: ArrayLike, *, zero: float, one: float) -> Array:
    """Values on the scale on which the return ``zero`` is 0 and ``one`` is 1 (a random player, a human)."""
    if zero == one:
        raise ValueError(f"score: expected `zero` and `one` to differ, found {zero} twice. Correct the suite file.")
    return (np.asarray(values, dtype=np.float64) - zero) / (one - zero)


def marks(every: int, budget: int) -> Array:
    """The steps at which curves are read: 0, every multiple of ``every``, and the budget."""
    if every < 1:
        raise ValueError(f"marks: expected at least one step between two of them, found {every}.")
    return np.append(np.arange(0, budget, every), budget).astype(np.float64)


def at_marks(steps: ArrayLike, values: ArrayLike, at: ArrayLike) -> Array:
    """A curve read at the marks: the last value measured since the mark before, itself excluded.

    An agent evaluated a little before a mark is read at it, so a value is carried forward, but never across a
    mark: where nothing was measured between two marks there is no value (NaN), not an old one. Who steps several
    environments at once, or acts in rollouts, is evaluated a few steps late: up to `LATE` of the way to the next mark
    (mark 0 excepted) that is still the mark before.
    """
    at = np.asarray(at, dtype=np.float64)
    step = _due(np.asarray(steps, dtype=np.float64), at)
    value = np.asarray(values, dtype=np.float64)
    last = np.searchsorted(step, at, side="right") - 1  # the last measurement at or before each mark
    before = np.concatenate(([-np.inf], at[:-1]))
    read = np.full(at.shape, np.nan)
    fresh = last >= 0
    fresh[fresh] = step[last[fresh]] > before[fresh]
    read[fresh] = value[last[fresh]]
    return read


def _due(step: Array, at: Array) -> Array:
    """Measurements that came a little late, put back to their mark."""
    mark = np.searchsorted(at, step, side="right") - 1
    inside = (mark >= 1) & (mark < at.size - 1)
    mark = np.where(inside, mark, 0)
    near = inside & (step - at[mark] <= LATE * (np.append(at[1:], np.inf)[mark] - at[mark]))
    return np.where(near, at[mark], step)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """When a seed reached a threshold: after one evaluation and by another; in between nobody looked."""

    after: float  # the last step at which it was measured short of the threshold; 0 where it never was
    by: float | None  # the mark at which it was first seen to have reached it; None: not within the budget
    gap: bool  # whether a mark before that one was not measured, so that it may have been reached there


def passage(
    at: ArrayLike,
    values: ArrayLike,
    threshold: float,
    *,
    lower_is_better: bool = False,
    measured: ArrayLike | None = None,
) -> Passage:
    """When a curve read at the marks first reached ``threshold``.

    ``measured``: the step at which each value was measured, where that is not its mark. No mark at which it was reached
    is a censored time (it would take more than the budget), not a missing one.
    """
    mark, value = np.asarray(at, dtype=np.float64), np.asarray(values, dtype=np.float64)
    step = mark if measured is None else np.minimum(mark, np.asarray(measured, dtype=np.float64))
    with np.errstate(invalid="ignore"):
        hits = np.flatnonzero(value <= threshold if lower_is_better else value >= threshold)
    first = int(hits[0]) if hits.size else mark.size
    short = np.flatnonzero(np.isfinite(value[:first]))
    last = int(short[-1]) if short.size else -1
    return Passage(
        after=float(step[last]) if short.size else 0.0,
        by=float(mark[first]) if hits.size else None,
        gap=last < first - 1,
    )


def median_time(times: Sequence[float | None]) -> float | None:
    """The least time by which half of the seeds had arrived; None (censored) where fewer than half did.

    It is the median of the Kaplan-Meier curve, which with one common censoring time is an order statistic: always
    a time that a seed had, never the middle between a time and "not within the budget".
    """
    if not times:
        raise ValueError("median_time: expected the time of at least one seed, found none.")
    arrived = sorted(math.inf if time is None else time for time in times)
    middle = arrived[(len(arrived) + 1) // 2 - 1]
    return None if math.isinf(middle) else middle


def windows(steps: ArrayLike, values: ArrayLike, edges: ArrayLike) -> Array:
    """A training curve: at each mark the mean of the episodes that ended since the mark before (NaN: none did)."""
    edge = np.asarray(edges, dtype=np.float64)
    value = np.asarray(values, dtype=np.float64)
    window = np.searchsorted(edge, np.asarray(steps, dtype=np.float64), side="left")
    inside = window < edge.size
    total = np.bincount(window[inside], weights=value[inside], minlength=edge.size)
    count = np.bincount(window[inside], minlength=edge.size)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def cumulative(steps: ArrayLike, returns: ArrayLike, at: ArrayLike) -> Array:
    """Reward collected in the episodes that ended at or before each mark."""
    collected = np.concatenate(([0.0], np.cumsum(np.asarray(returns, dtype=np.float64))))
    ended = np.searchsorted(np.asarray(steps, dtype=np.float64), np.asarray(at, dtype=np.float64), side="right")
    return np.asarray(collected[ended])


def area_under_curve(at: ArrayLike, values: ArrayLike) -> float:
    """Mean height of a curve read at the marks (trapezoids over the span of the marks), in the metric's unit.

    NaN if any mark has no value: an area over a gap would be a guess.
    """
    mark = np.asarray(at, dtype=np.float64)
    value = np.asarray(values, dtype=np.float64)
    if mark.size < 2:
        raise ValueError(f"area_under_curve: expected a curve of two marks or more, found {mark.size}.")
    heights = (value[1:] + value[:-1]) / 2
    return float(np.sum(heights * np.diff(mark)) / (mark[-1] - mark[0]))


def mean_by_episode(lengths: Sequence[ArrayLike]) -> Array:
    """Mean over seeds of the k-th episode's length, for as many episodes as every seed has played."""
    if not lengths:
        return np.empty(0)
    played = min(np.size(seed) for seed in lengths)
    return np.asarray(np.mean([np.asarray(seed, dtype=np.float64)[:played] for seed in lengths], axis=0))


def episodes_to_threshold(lengths: Sequence[ArrayLike], threshold: float) -> tuple[int, float] | None:
    """The first episode (counted from 1) whose length, as mean over seeds, is at most ``threshold``; and that mean."""
    mean = mean_by_episode(lengths)
    hits = np.flatnonzero(mean <= threshold)
    return (int(hits[0]) + 1, float(mean[hits[0]])) if hits.size else None


def _per_seed(values: ArrayLike) -> Array:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError(
            "expected one finite value per seed, at least one seed, "
            f"found {sample.tolist()}. A seed without a value is a hole: leave it out and name it."
        )
    return sample
