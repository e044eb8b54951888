"""Promises of the test behind the gate: how often it errs on unchanged scores, and which drops it sees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.drops import enough, holm, least_drop, p_values, regroupings, smallest_drop, smallest_p

ALPHA, DROP = 0.05, 1.5


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def rejected(new: int, old: int, drop: float, runs: int, cells: int = 1, draw: str = "standard_normal") -> float:
    """How often any of ``cells`` cells is called a drop."""
    random, ways = np.random.default_rng([new, old, cells, int(10 * drop)]), regroupings(new, old, rng())
    sample = getattr(random, draw)
    hits = 0
    for _ in range(runs):
        ps = [p_values(sample(size=new) - drop, sample(size=old), ways)[0] for _ in range(cells)]
        hits += min(holm(ps)) <= ALPHA
    return hits / runs


def monte_carlo_error(rate: float, runs: int) -> float:
    return 2.6 * float(np.sqrt(rate * (1 - rate) / runs))


@pytest.mark.parametrize("draw", ["standard_normal", "standard_exponential", "standard_cauchy"])
def test_false_alarms_over_six_cells_come_in_one_of_twenty_gates_at_most_whatever_the_distribution(draw):
    runs = 2_000
    assert rejected(5, 10, drop=0.0, runs=runs, cells=6, draw=draw) <= ALPHA + monte_carlo_error(ALPHA, runs)


def test_a_drop_of_three_halves_of_a_standard_deviation_is_seen_by_5_against_10_seeds_four_times_in_five():
    assert rejected(5, 10, DROP, runs=4_000) >= 0.80


def test_and_by_10_against_20_seeds_nineteen_times_in_twenty():
    assert rejected(10, 20, DROP, runs=1_000) >= 0.95


def test_welchs_own_p_would_break_the_promise_on_skewed_scores():
    random, runs = np.random.default_rng(1), 20_000
    new, old = random.exponential(size=(runs, 5)), random.exponential(size=(runs, 10))
    found = stats.ttest_ind(new, old, axis=1, equal_var=False, alternative="less").pvalue
    assert np.mean(found <= ALPHA) > 0.07


def test_p_is_that_of_scipys_permutation_test_of_welchs_statistic():
    random = np.random.default_rng(2)
    for new, old in ((5, 10), (3, 7), (4, 4)):
        ways = regroupings(new, old, rng())
        for _ in range(5):
            one, other = random.normal(size=new), random.normal(0.5, 2, size=old)
            for at, tail in enumerate(("less", "greater")):
                expected = stats.ttest_ind(
                    one, other, equal_var=False, alternative=tail, method=stats.PermutationMethod(n_resamples=np.inf)
                )
                assert p_values(one, other, ways)[at] == pytest.approx(expected.pvalue, abs=1e-12)


def test_many_seeds_are_regrouped_at_random_by_the_generator_passed_in():
    ways = regroupings(10, 20, rng())
    assert ways.shape == (20_000, 30)
    assert ways[0].tolist() == [True] * 10 + [False] * 20
    assert (ways.sum(axis=1) == 10).all()
    assert (ways == regroupings(10, 20, rng())).all()


def test_seeds_without_variance_are_equal_or_as_far_apart_as_so_few_can_be():
    ways = regroupings(5, 10, rng())
    assert p_values([14.0] * 5, [14.0] * 10, ways) == (1.0, 1.0)
    assert p_values([14.0 + 1e-12] * 5, [14.0] * 10, ways) == (1.0, 1.0)
    assert p_values([0.0] * 5, [0.0] * 10, ways) == (1.0, 1.0)
    assert p_values([-15.0] * 5, [-14.0] * 10, ways) == (smallest_p(5, 10), 1.0) == (1 / 3003, 1.0)
    assert p_values([-14.0] * 5, [-15.0] * 10, ways) == (1.0, 1 / 3003)
    assert p_values([-14.0, -14.0, -14.0, -14.0, -15.0], [-14.0] * 10, ways)[0] == pytest.approx(1 / 3)
    assert smallest_drop([14.0] * 5, [14.0] * 10, ALPHA) == 0.0


def test_p_does_not_depend_on_the_unit_of_the_score():
    ways, random = regroupings(5, 10, rng()), np.random.default_rng(3)
    one, other = random.normal(size=5), random.normal(size=10)
    assert p_values(one, other, ways) == p_values(1e6 * one + 1e6, 1e6 * other + 1e6, ways)


def test_holm_adjusts_as_its_definition_says():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("new", "old", "alpha"), [(5, 10, 0.05), (10, 20, 0.05), (4, 9, 0.01), (30, 30, 0.05 / 9)])
def test_the_smallest_visible_drop_is_the_one_that_the_noncentral_t_distribution_sees_at_80_percent(new, old, alpha):
    random = np.random.default_rng(4)
    one, other = random.normal(0, 3, size=new), random.normal(size=old)
    errors = one.var(ddof=1) / new, other.var(ddof=1) / old
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / (new - 1) + errors[1] ** 2 / (old - 1))
    drop = smallest_drop(one, other, alpha)
    assert drop is not None
    seen = stats.nct.sf(stats.t.ppf(1 - alpha, freedom), freedom, drop / np.sqrt(sum(errors)))
    assert seen == pytest.approx(0.8, abs=1e-6)


def test_5_against_10_seeds_are_enough_and_fewer_are_not():
    assert least_drop(5, 10, ALPHA) == pytest.approx(1.492, abs=1e-3)
    assert enough(5, 10, ALPHA, DROP)
    assert enough(7, 7, ALPHA, DROP)
    for new, old in ((5, 9), (4, 10), (3, 1000), (2, 10), (1, 50), (0, 10), (5, 0)):
        assert not enough(new, old, ALPHA, DROP)
    assert least_drop(2, 2, ALPHA) is None  # of six regroupings none has a probability of 5 %
