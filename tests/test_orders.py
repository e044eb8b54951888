"""Rounding is no difference, ranks count their ties, and what more seeds can't tell is not called underpowered."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis import orders, rules
from analysis.efficiency import welch

FIVE, THREE = [0.1] * 5, [0.1] * 3  # of three, the mean is off by one rounding error


def ordering(ours: list[float], *others: list[float], ranks: bool = False) -> rules.Finding:
    return orders.ordering(ours, others, lower_is_better=False, ranks=ranks)


# -- rounding ----------------------------------------------------------------------------------------------------------


def test_one_constant_is_never_above_itself_however_often_it_was_measured() -> None:
    assert np.mean(FIVE) != np.mean(THREE)
    for a, b in ((FIVE, THREE), (THREE, FIVE), ([0.1 + 0.2] * 3, [0.3] * 5), ([-0.1] * 5, [-0.1] * 3)):
        found = welch(a, b)
        assert (found.mean, found.half) == (0, 0)
        assert orders.compare(a, b, 0.05, ranks=False) == 0
        assert ordering(a, b).call == "not comparable"
    assert welch(FIVE[:2], THREE).mean == 0


def test_rounding_within_a_side_is_no_variance() -> None:
    noisy = [0.1, 0.1 + 1e-16, 0.1 - 1e-16]
    assert np.ptp(noisy) > 0
    assert welch(noisy, FIVE).half == 0
    assert rules.Sample.of(noisy).variance == 0
    assert welch([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).half > 0  # type: ignore[operator]


def test_a_constant_matches_the_value_and_keeps_the_bound_that_it_equals() -> None:
    for ours in (FIVE, THREE, [0.1 + 0.2] * 7):
        exact = round(ours[0], 1)
        found = rules.value(ours, exact, None, margin=0.01)
        assert (found.call, found.low, found.high) == ("match", 0, 0)
        mean = float(np.mean(ours))
        for least, most in ((exact, None), (None, exact)):
            assert rules.bounded(mean, mean, "test", least=least, most=most).call == "match"
    assert rules.value(FIVE, 0.1 + 1e-6, None, margin=0.01).call == "below"


# -- ties --------------------------------------------------------------------------------------------------------------


def test_scores_that_are_all_one_are_a_ceiling_and_not_too_few_seeds() -> None:
    found = ordering([1000.0] * 5, [1000.0] * 3)
    assert found.call == "not comparable"
    assert "every seed of both has the same score, 1,000: a ceiling?" in found.reason
    assert ordering([1000.0] * 5, [1000.0, 1000.0, 1001.0]).call == "underpowered"
    assert (
        ordering([1000.0] * 5, [1000.0] * 5, [10.0, 11.0, 12.0]).call == "not comparable"
    )  # better than one is not all
    assert ordering([1000.0] * 5, [1000.0] * 5, [2000.0, 2001.0, 2002.0]).call == "below"
    flat = orders.shape([[2.0] * 3] * 3, "rising", ranks=False)
    assert (flat.call, "all 3" in flat.reason) == ("not comparable", True)


def test_times_that_are_all_censored_say_nothing_of_who_is_first() -> None:
    found = ordering([math.inf] * 4, [math.inf] * 4, ranks=True)
    assert found.call == "not comparable"
    assert "no seed reached the threshold" in found.reason


# -- ranks -------------------------------------------------------------------------------------------------------------


def test_three_seeds_against_three_reach_no_five_percent_by_ranks_and_it_is_said() -> None:
    # 3 of 6 seeds can be chosen in 20 ways; in 2 of them the three lowest or the three highest: p = 0.1
    for first, second in (([1000.0] * 3, [2000.0] * 3), ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])):
        assert orders.rank_test(first, second) == (pytest.approx(0.1), -1)
        assert orders.compare(first, second, 0.05, ranks=True) == 0
    found = orders.ordering([1.0] * 3, [[2.0] * 3], lower_is_better=True, ranks=True)
    assert found.call == "underpowered"
    assert "3 seeds against 3 can't reach 5 % by ranks: their least p is 10 %" in found.reason
    assert "by ranks" not in ordering([1.0, 2.0, 9.0], [2.0, 1.0, 8.0]).reason
    assert "by ranks" not in ordering([1.0, 2.0, 9.0, 4.0], [2.0, 1.0, 8.0, 4.0], ranks=True).reason
    sweep = orders.shape([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]], "rising", ranks=True)
    assert (sweep.call, "can't reach 5 %" in sweep.reason) == ("underpowered", True)


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 5), (5, 7)])
def test_without_ties_p_is_that_of_mann_and_whitney(n: int, m: int) -> None:
    drawn = np.random.default_rng(n * m).normal(size=n + m)
    a, b = drawn[:n].tolist(), (drawn[n:] + 1).tolist()
    exact = stats.mannwhitneyu(a, b, alternative="two-sided", method="exact")
    assert orders.rank_test(a, b)[0] == pytest.approx(exact.pvalue)


def test_with_ties_and_censored_times_p_is_counted_over_all_ways() -> None:
    a: list[Any] = [1000, 1000, 2000, 3000]
    b: list[Any] = [2000, 3000, math.inf, math.inf, math.inf]
    ranked = stats.rankdata([*a, *b])
    far = [abs(sum(ranked[list(ways)]) - 4 * ranked.mean()) for ways in combinations(range(9), 4)]
    assert orders.rank_test(a, b) == (pytest.approx(np.mean(np.array(far) >= far[0] - 1e-9)), -1)


def test_ranks_of_many_seeds_are_drawn_and_always_the_same() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 30).round(1).tolist(), rng.normal(0.5, 1, 30).round(1).tolist()
    found = orders.rank_test(a, b)
    assert found == orders.rank_test(a, b)
    assert found[0] == pytest.approx(stats.mannwhitneyu(a, b, alternative="two-sided").pvalue, abs=0.01)


def test_ranks_call_a_true_tie_false_one_time_in_twenty_at_most() -> None:
    rng = np.random.default_rng(1)
    drawn = np.ceil(4 * rng.random((1_000, 8))) * 1000  # four marks: many ties
    called = [orders.compare(one[:4].tolist(), one[4:].tolist(), 0.05, ranks=True) != 0 for one in drawn]
    assert np.mean(called) <= 0.05
