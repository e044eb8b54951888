"""The tests behind verdicts on claims: per-seed numbers in, a verdict with its interval and its reason out.

Every interval is two-sided at 95 % (a bound that one of several is to keep: at a shared level), over seeds. A value is

- `below` or `above`, if the interval of (ours - theirs) excludes 0;
- `match`, if it includes 0 and its half width is at most the margin;
- `underpowered` otherwise, and always below 3 seeds; with the smallest difference that would be seen at 80 % power.

Of a published mean without a spread over seeds whose number of seeds is known, the seeds are taken to vary as ours do.
Where that number is not known either, the mean is taken as exact, for want of better: a true one is then called false
more often than one time in twenty (one in eight for five seeds against five, in the tests' simulation).

Of an ordering, a ratio, a shape (`analysis.orders`) or a bound, `match` says that the records show it, `below` or
`above` that they show the opposite, `underpowered` that they show neither, and `not comparable` that the measure can't
tell: every seed has one and the same score.

What differs by less than 1e-9 of the largest score is rounding, and equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.drops import ROUNDING
from analysis.published import Row
from analysis.scores import FEWEST_SEEDS

Call = Literal["match", "below", "above", "underpowered", "not comparable"]
LEVEL = 0.95
POWER = 0.80
OF_SD, OF_SCALE = 0.5, 0.1  # the margin, where a claim declares none: the larger of these shares


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a test has found."""

    call: Call
    test: str
    low: float | None = None  # of the interval of what was tested; None where there is none
    high: float | None = None
    level: float = LEVEL  # of that interval
    reason: str


@dataclass(frozen=True)
class Sample:
    """Mean, variance of the mean, and degrees of freedom of that variance."""

    mean: float
    variance: float
    freedom: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Sample:
        array = np.asarray(values, dtype=np.float64)
        constant = np.ptp(array) <= ROUNDING * np.abs(array).max()
        variance = 0.0 if constant else float(array.var(ddof=1)) / array.size
        return cls(float(array.mean()), variance, array.size - 1.0)


def default_margin(theirs: float, row: Row | None, scale: float | None) -> float:
    """Half the published sd over seeds or a tenth of the scale, whichever is more.

    ``scale``: the distance between the returns that score 0 and 1; without one, the published value's size.
    """
    sd = row.spread if row and row.spread_means == "seeds" and row.spread else 0.0
    return max(OF_SD * sd, OF_SCALE * (scale if scale is not None else abs(theirs)))


def value(ours: Sequence[float], theirs: float, row: Row | None, margin: float) -> Finding:
    """Holds our seeds against a published row, or against a number that is exact (``row`` None)."""
    if len(ours) < FEWEST_SEEDS:
        return too_few(len(ours))
    own = Sample.of(ours)
    test, variance, freedom = _theirs(own, len(ours), row)
    difference, spread = own.mean - theirs, math.sqrt(own.variance + variance)
    if abs(difference) <= ROUNDING * max(abs(own.mean), abs(theirs)):
        difference = 0.0
    half = quantile(0.5 + LEVEL / 2, freedom) * spread
    call: Call
    if abs(difference) > half:
        call = "above" if difference > 0 else "below"
        within = f", though by less than the margin of {margin:,.4g}" if abs(difference) + half <= margin else ""
        reason = f"the interval of the difference excludes 0{within}"
    elif half <= margin:
        call, reason = "match", f"no difference seen, and its interval is no wider than the margin of ±{margin:,.4g}"
    else:
        seen = (quantile(0.5 + LEVEL / 2, freedom) + quantile(POWER, freedom)) * spread
        call = "underpowered"
        reason = f"no difference seen, but only one of {seen:,.4g} would be at 80 % power; margin ±{margin:,.4g}"
    return Finding(call=call, test=test, low=difference - half, high=difference + half, reason=reason)


def _theirs(own: Sample, n: int, row: Row | None) -> tuple[str, float, float]:
    """The test that the published spread allows; the variance of their mean, and degrees of freedom of the whole."""
    if row is None:
        return "t interval of ours against an exact value", 0.0, own.freedom
    error = row.standard_error
    if error is None:
        why = "no spread published" if row.spread is None else "what their spread is over, or n, is not known"
        if not row.n_seeds:
            return f"t interval of ours against their mean, taken as exact: {why}", 0.0, own.freedom
        seeds = f"{row.n_seeds} seed{'' if row.n_seeds == 1 else 's'}"
        test = f"t interval, their {seeds} taken to vary as ours: {why}"
        return test, n * own.variance / row.n_seeds, own.freedom
    if row.spread_means == "episodes" and row.n_seeds is not None:
        # One trained agent is one draw: beside its error over episodes it varies as a seed of ours does. With that
        # error alone, true claims would be called false far more often than one time in twenty.
        test = "prediction interval: their one agent as a further seed of ours, for its seed variation is not known"
        return test, n * own.variance + error**2, own.freedom
    if row.spread_means == "episodes":
        what, freedom = "Welch; theirs is a fixed policy, its sd over episodes", _minus_one(row.n_episodes)
    elif row.spread_means == "seeds":
        what, freedom = "Welch; their sd is over seeds", _minus_one(row.n_seeds)
    else:
        what, freedom = "Welch; theirs is a standard error", _minus_one(row.n_seeds)
    return what, error**2, satterthwaite(own.variance, own.freedom, error**2, freedom)


def _minus_one(n: int | None) -> float:
    return n - 1.0 if n and n > 1 else math.inf


def too_few(n: int) -> Finding:
    reason = f"{n} seed{'' if n == 1 else 's'}: below {FEWEST_SEEDS} there is no interval"
    return Finding(call="underpowered", test="none", reason=reason)


def ratio_interval(a: Sequence[float], b: Sequence[float]) -> tuple[float, float] | None:
    """Fieller's interval of mean(a) / mean(b); None where mean(b) can't be told from 0, so that it has no end.

    Its ends are the factors r at which Welch's test of mean(a) - r mean(b) = 0 just fails to reject.
    """
    top, bottom = Sample.of(a), Sample.of(b)
    point = top.mean / bottom.mean if bottom.mean else math.inf
    freedom = satterthwaite(top.variance, top.freedom, point**2 * bottom.variance, bottom.freedom)
    squared = quantile(0.5 + LEVEL / 2, freedom) ** 2
    lead = bottom.mean**2 - squared * bottom.variance
    if not lead > 0:
        return None
    middle = top.mean * bottom.mean
    width = math.sqrt(max(middle**2 - lead * (top.mean**2 - squared * top.variance), 0.0))
    return (middle - width) / lead, (middle + width) / lead


def bounded(
    low: float | None,
    high: float | None,
    test: str,
    *,
    least: float | None,
    most: float | None,
    what: str = "the ratio",
    level: float = LEVEL,
) -> Finding:
    """Whether a number, known by its interval (an end None: not bounded), keeps a declared bound."""
    at_least, at_most = -math.inf if low is None else low, math.inf if high is None else high
    call: Call
    if least is not None:
        slack, bound = ROUNDING * abs(least), f"at least {least:g}"
        call = "match" if at_least >= least - slack else "below" if at_most < least - slack else "underpowered"
    else:
        assert most is not None
        slack, bound = ROUNDING * abs(most), f"at most {most:g}"
        call = "match" if at_most <= most + slack else "above" if at_least > most + slack else "underpowered"
    where = {"match": "keeps", "underpowered": "reaches over"}.get(call, "excludes")
    reason = f"the interval of {what} {where} {bound}"
    return Finding(call=call, test=test, low=low, high=high, level=level, reason=reason)


def satterthwaite(one: float, one_freedom: float, other: float, other_freedom: float) -> float:
    """Degrees of freedom of the sum of two variances of means."""
    total = one**2 / one_freedom + other**2 / other_freedom
    return (one + other) ** 2 / total if total > 0 else min(one_freedom, other_freedom)


def quantile(level: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit  # not scipy.stats: the same numbers, quicker to import

    return float(ndtri(level) if math.isinf(freedom) else stdtrit(freedom, level))
