"""The tests behind verdicts on claims: per-seed numbers in, a verdict with its interval and its reason out.

Every interval is two-sided at 95 %, over seeds. A value is

- `below` or `above`, if the interval of (ours - theirs) excludes 0;
- `match`, if it includes 0 and its half width is at most the margin;
- `underpowered` otherwise, and always below 3 seeds; with the smallest difference that would be seen at 80 % power.

A published mean whose spread is not known is taken as exact, for want of better: a true one is then called false more
often than one time in twenty (one in eight for five seeds against five, in the tests' simulation).

Of an ordering, a ratio, a shape or a bound, `match` says that the records show it, `below` or `above` that they show
the opposite, `underpowered` that they show neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from analysis.efficiency import welch
from analysis.published import Row
from analysis.scores import FEWEST_SEEDS

Call = Literal["match", "below", "above", "underpowered"]
LEVEL = 0.95
POWER = 0.80
OF_SD, OF_SCALE = 0.5, 0.1  # the margin, where a claim declares none: the larger of these shares


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a test has found."""

    call: Call
    test: str
    low: float | None = None  # of the 95 % interval of what was tested; None where there is none
    high: float | None = None
    p: float | None = None
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
        return cls(float(array.mean()), float(array.var(ddof=1)) / array.size, array.size - 1.0)


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
        return f"t interval of ours against their mean, taken as exact: {why}", 0.0, own.freedom
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


def compare(a: Sequence[float], b: Sequence[float], alpha: float, *, ranks: bool) -> int:
    """+1 if a is above b at two-sided ``alpha``, -1 if below, 0 if neither; by ranks where times may be censored."""
    if min(len(a), len(b)) < FEWEST_SEEDS:
        return 0
    if ranks:
        from scipy.stats import mannwhitneyu  # slow to import, and rarely needed

        found = mannwhitneyu(a, b, alternative="two-sided")
        # Ties make U a half of all pairs for equal samples; its p is then 1.
        above = float(found.statistic) > len(a) * len(b) / 2
        return 0 if not found.pvalue < alpha else 1 if above else -1
    interval = welch(a, b, 1 - alpha)
    return 1 if (interval.low or 0) > 0 else -1 if (interval.high or 0) < 0 else 0


def ordering(
    ours: Sequence[float], others: Sequence[Sequence[float]], *, lower_is_better: bool, ranks: bool
) -> Finding:
    """Whether one is better than every other.

    `match` needs every comparison, so each may be made at 5 %; for the opposite one comparison is enough, so they
    share the 5 % (Bonferroni).
    """
    name = "Mann-Whitney" if ranks else "Welch"
    test = f"{name}, two-sided 5 %, against each of {len(others)}" if len(others) > 1 else f"{name}, two-sided 5 %"
    if (fewest := min(map(len, (ours, *others)))) < FEWEST_SEEDS:
        return too_few(fewest)
    sign = -1 if lower_is_better else 1
    alone = None if ranks or len(others) > 1 else welch(ours, others[0])
    low, high = (alone.low, alone.high) if alone else (None, None)
    better = [sign * compare(ours, other, 1 - LEVEL, ranks=ranks) > 0 for other in others]
    worse = [sign * compare(ours, other, (1 - LEVEL) / len(others), ranks=ranks) < 0 for other in others]
    if all(better):
        return Finding(call="match", test=test, low=low, high=high, reason="better, each time beyond chance")
    if any(worse):
        return Finding(call="below", test=test, low=low, high=high, reason="worse than one at least, beyond chance")
    reason = f"{sum(better)} of {len(others)} comparisons beyond chance"
    return Finding(call="underpowered", test=test, low=low, high=high, reason=reason)


def shape(sweep: Sequence[Sequence[float]], form: str, *, ranks: bool) -> Finding:
    """Whether a sweep rises, falls, or has its extreme inside.

    Rising: every step up at 5 % each (all are needed). A maximum inside: some inner one above both ends; any may be
    it, so the inner ones share the 5 %. The opposites likewise.
    """
    if (fewest := min(map(len, sweep))) < FEWEST_SEEDS:
        return too_few(fewest)
    alpha, sign = 1 - LEVEL, 1 if form in ("rising", "maximum-inside") else -1
    name = "Mann-Whitney" if ranks else "Welch"

    def above(a: Sequence[float], b: Sequence[float], share: int) -> bool:
        return sign * compare(a, b, alpha / share, ranks=ranks) > 0

    if form in ("rising", "falling"):
        test = f"{name} between neighbours, two-sided 5 % each"
        pairs = list(pairwise(sweep))
        shown = all(above(after, before, 1) for before, after in pairs)
        refuted = any(above(before, after, len(pairs)) for before, after in pairs)
    else:
        first, *inner, last = sweep
        test = f"{name}, some inner one against both ends, two-sided 5 % shared by {len(inner)}"
        shown = any(above(one, first, len(inner)) and above(one, last, len(inner)) for one in inner)
        refuted = any(all(above(end, one, 2) for one in inner) for end in (first, last))
    if shown:
        return Finding(call="match", test=test, reason=f"{form.replace('-', ' ')}, beyond chance")
    if refuted:
        return Finding(call="below", test=test, reason="the opposite, beyond chance")
    return Finding(call="underpowered", test=test, reason="neither this shape nor its opposite is beyond chance")


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
) -> Finding:
    """Whether a number, known by its interval (an end None: not bounded), keeps a declared bound."""
    at_least, at_most = -math.inf if low is None else low, math.inf if high is None else high
    call: Call
    if least is not None:
        call = "match" if at_least >= least else "below" if at_most < least else "underpowered"
        bound = f"at least {least:g}"
    else:
        assert most is not None
        call = "match" if at_most <= most else "above" if at_least > most else "underpowered"
        bound = f"at most {most:g}"
    where = {"match": "keeps", "underpowered": "reaches over"}.get(call, "excludes")
    return Finding(call=call, test=test, low=low, high=high, reason=f"the interval of {what} {where} {bound}")


def satterthwaite(one: float, one_freedom: float, other: float, other_freedom: float) -> float:
    """Degrees of freedom of the sum of two variances of means."""
    total = one**2 / one_freedom + other**2 / other_freedom
    return (one + other) ** 2 / total if total > 0 else min(one_freedom, other_freedom)


def quantile(level: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit  # not scipy.stats: the same numbers, quicker to import

    return float(ndtri(level) if math.isinf(freedom) else stdtrit(freedom, level))
