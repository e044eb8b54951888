"""Who is better than whom, and how a sweep looks: tests over seeds, pair by pair.

Means are compared by Welch's t interval. Times, of which some may be censored, are compared by their ranks: p is the
share of all ways to divide the seeds among the two whose rank sums lie as far apart as those at hand (Mann and
Whitney's test, with ties, by counting; beyond 20,000 ways by as many drawn ones). So 3 seeds against 3 have 20 ways and
no p below 10 %, whatever their times are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from analysis.drops import MOST_REGROUPINGS, ROUNDING, regroupings
from analysis.efficiency import welch
from analysis.rules import LEVEL, Call, Finding, too_few
from analysis.scores import FEWEST_SEEDS


def compare(a: Sequence[float], b: Sequence[float], alpha: float, *, ranks: bool) -> int:
    """+1 if a is above b at two-sided ``alpha``, -1 if below, 0 if neither; by ranks where times may be censored."""
    if min(len(a), len(b)) < FEWEST_SEEDS:
        return 0
    if ranks:
        p, above = rank_test(a, b)
        return above if p < alpha else 0
    interval = welch(a, b, 1 - alpha)
    return 1 if (interval.low or 0) > 0 else -1 if (interval.high or 0) < 0 else 0


def rank_test(a: Sequence[float], b: Sequence[float]) -> tuple[float, int]:
    """Two-sided p that a and b are alike by ranks, ties shared; and whether a is above (1), below (-1) or level (0)."""
    from scipy.stats import rankdata  # slow to import, and rarely needed

    ranked = rankdata([*a, *b])
    sums = _ways(len(a), len(b)) @ ranked  # ranks are multiples of a half, so sums of them are exact
    far = np.abs(sums - ranked.mean() * len(a))
    return float(np.mean(far >= far[0] - ROUNDING * ranked.size)), int(np.sign(sums[0] - ranked.mean() * len(a)))


@lru_cache(maxsize=16)
def _ways(n: int, m: int) -> NDArray[np.float64]:
    return regroupings(n, m, np.random.default_rng(0)).astype(np.float64)


def least_p(n: int, m: int) -> float:
    """The least two-sided p that ranks of so many seeds can have."""
    return 2 / min(math.comb(n + m, n), MOST_REGROUPINGS)


def ordering(
    ours: Sequence[float], others: Sequence[Sequence[float]], *, lower_is_better: bool, ranks: bool
) -> Finding:
    """Whether one is better than every other.

    `match` needs every comparison, so each may be made at 5 %; for the opposite one comparison is enough, so they
    share the 5 % (Bonferroni).
    """
    test = f"{_name(ranks)}, two-sided 5 %"
    if len(others) > 1:
        test += f", against each of {len(others)}"
    if (fewest := min(map(len, (ours, *others)))) < FEWEST_SEEDS:
        return too_few(fewest)
    sign = -1 if lower_is_better else 1
    alone = None if ranks or len(others) > 1 else welch(ours, others[0])
    low, high = (alone.low, alone.high) if alone else (None, None)
    better = [sign * compare(ours, other, 1 - LEVEL, ranks=ranks) > 0 for other in others]
    worse = [sign * compare(ours, other, (1 - LEVEL) / len(others), ranks=ranks) < 0 for other in others]
    call: Call
    if all(better):
        call, reason = "match", "better, each time beyond chance"
    elif any(worse):
        call, reason = "below", "worse than one at least, beyond chance"
    elif tied := next((why for other in others if (why := tie([ours, other]))), None):
        call, reason = "not comparable", tied
    else:
        call, reason = "underpowered", f"{sum(better)} of {len(others)} comparisons beyond chance"
        reason += _too_few_to_tell([(ours, other) for other in others], ranks)
    return Finding(call=call, test=test, low=low, high=high, reason=reason)


def shape(sweep: Sequence[Sequence[float]], form: str, *, ranks: bool) -> Finding:
    """Whether a sweep rises, falls, or has its extreme inside.

    Rising: every step up at 5 % each (all are needed). A maximum inside: some inner one above both ends; any may be
    it, so the inner ones share the 5 %. The opposites likewise.
    """
    if (fewest := min(map(len, sweep))) < FEWEST_SEEDS:
        return too_few(fewest)
    alpha, sign = 1 - LEVEL, 1 if form in ("rising", "maximum-inside") else -1

    def above(a: Sequence[float], b: Sequence[float], share: int) -> bool:
        return sign * compare(a, b, alpha / share, ranks=ranks) > 0

    pairs = list(pairwise(sweep))
    if form in ("rising", "falling"):
        test = f"{_name(ranks)} between neighbours, two-sided 5 % each"
        shown = all(above(after, before, 1) for before, after in pairs)
        refuted = any(above(before, after, len(pairs)) for before, after in pairs)
    else:
        first, *inner, last = sweep
        test = f"{_name(ranks)}, some inner one against both ends, two-sided 5 % shared by {len(inner)}"
        shown = any(above(one, first, len(inner)) and above(one, last, len(inner)) for one in inner)
        refuted = any(all(above(end, one, 2) for one in inner) for end in (first, last))
    if shown:
        return Finding(call="match", test=test, reason=f"{form.replace('-', ' ')}, beyond chance")
    if refuted:
        return Finding(call="below", test=test, reason="the opposite, beyond chance")
    if tied := tie(sweep):
        return Finding(call="not comparable", test=test, reason=tied)
    reason = "neither this shape nor its opposite is beyond chance" + _too_few_to_tell(pairs, ranks)
    return Finding(call="underpowered", test=test, reason=reason)


def _name(ranks: bool) -> str:
    return "Mann-Whitney by permutation" if ranks else "Welch"


def tie(samples: Sequence[Sequence[float]]) -> str | None:
    """Why no number of seeds would tell the samples apart: all values are one. None if they are not."""
    pooled = [value for values in samples for value in values]
    low, high = min(pooled), max(pooled)
    if math.isinf(low):
        return "no seed reached the threshold within the budget: nothing is known of who would be first"
    if math.isinf(high) or high - low > ROUNDING * max(abs(low), abs(high)):
        return None
    who = "both" if len(samples) == 2 else f"all {len(samples)}"
    return f"every seed of {who} has the same score, {low:,.4g}: a ceiling? More seeds would not tell them apart"


def _too_few_to_tell(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], ranks: bool) -> str:
    """Of ranks, whether so few seeds could have said anything at all."""
    n, m = min(((len(a), len(b)) for a, b in pairs), key=sum)
    least = least_p(n, m)
    if not ranks or least < 1 - LEVEL:
        return ""
    return f"; {n} seeds against {m} can't reach 5 % by ranks: their least p is {100 * least:.2g} %"
