"""Promises of the intervals, simulated: how often they hold the truth, at nominal 95 %."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from analysis import aggregates, scores
from analysis.efficiency import sample_efficiency_ratio, welch
from analysis.scores import Array

LEVELS = np.linspace(0.1, 1.3, 6)  # of six tasks, on average over runs
SPREADS = np.linspace(0.35, 0.1, 6)


def runs(rng: np.random.Generator, n: int, shape: str = "normal") -> Array:
    """Scores [n runs, 6 tasks]; of the shape "failing" a quarter of the runs never learns."""
    noise = rng.standard_normal((n, 6))
    if shape == "failing":
        noise = np.where(rng.random((n, 6)) < 0.25, -2.5, 0.5) + 0.2 * noise
    return np.asarray(LEVELS + SPREADS * noise)


@cache
def true_iqm(shape: str) -> float:
    return float(aggregates.iqm(runs(np.random.default_rng(7), 200_000, shape)))


def coverage(n: int, shape: str, seed: int, trials: int = 600) -> float:
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(trials):
        found = aggregates.bootstrap(runs(rng, n, shape), aggregates.iqm, rng=rng)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= true_iqm(shape) <= found.high
    return held / trials


@pytest.mark.parametrize(("n", "shape"), [(5, "normal"), (5, "failing"), (10, "normal"), (3, "normal")])
def test_the_interval_of_an_iqm_over_six_tasks_holds_the_truth_in_90_of_100_cases(n: int, shape: str) -> None:
    found = coverage(n, shape, seed=n)
    print(f"coverage of the IQM over 6 tasks x {n} runs, {shape}: {found:.1%}")
    assert found >= 0.90


@pytest.mark.parametrize("n", [5, 3])
def test_plain_percentiles_would_hold_it_in_fewer_cases(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "_expanded", lambda level, *_: level)
    found = coverage(n, "normal", seed=n)
    print(f"coverage of the IQM over 6 tasks x {n} runs by plain percentiles: {found:.1%}")
    assert found <= 0.89


def test_t_intervals_hold_the_truth_in_93_of_100_cases() -> None:
    rng = np.random.default_rng(0)
    for n in (3, 5, 10):
        found = [scores.t_interval(draw) for draw in rng.normal(50, 10, (3_000, n))]
        assert 0.93 <= np.mean([abs(of.mean - 50) <= (of.half or 0) for of in found]) <= 0.97


def test_welch_intervals_hold_the_true_difference_in_93_of_100_cases() -> None:
    rng = np.random.default_rng(1)
    found = [welch(rng.normal(9, 1, 5), rng.normal(5, 4, 7)) for _ in range(1_000)]
    assert 0.93 <= np.mean([abs(of.mean - 4) <= (of.half or 0) for of in found]) <= 0.975


@pytest.mark.parametrize("budget", [10**9, 50_000])
def test_the_interval_of_a_ratio_of_steps_holds_the_truth_also_when_half_are_censored(budget: int) -> None:
    rng = np.random.default_rng(2)

    def times(median: float) -> list[float | None]:
        drawn = np.ceil(median * np.exp(0.4 * rng.standard_normal(5)) / 1000) * 1000
        return [float(time) if time <= budget else None for time in drawn]

    held = 0
    for _ in range(300):
        found = sample_efficiency_ratio(times(20_000), times(45_000), budget, rng=rng, resamples=2_000)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2.25 <= found.high
    assert held / 300 >= 0.93


@pytest.mark.parametrize("n", [3, 5])
def test_the_interval_of_a_ratio_of_steps_holds_the_truth_on_a_grid_coarser_than_the_difference(n: int) -> None:
    """Times are seen at marks 500 apart, and their medians, 950 and 1,050, differ by a fifth of that."""
    rng, grid, budget, held = np.random.default_rng(4), 500, 5_000, 0
    for _ in range(300):
        a, b = (np.ceil(m * np.exp(0.04 * rng.standard_normal(n)) / grid) * grid for m in (950, 1_050))
        since = (a - grid).tolist(), (b - grid).tolist()
        found = sample_efficiency_ratio(a.tolist(), b.tolist(), budget, since=since, rng=rng, resamples=1_000)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1_050 / 950 <= found.high
    print(f"coverage of the ratio on a coarse grid, {n} seeds: {held / 300:.1%}")
    assert held / 300 >= 0.95


def test_the_interval_of_a_ratio_of_exact_steps_of_three_seeds_holds_the_truth_in_88_of_100_cases() -> None:
    rng, held = np.random.default_rng(5), 0
    for _ in range(500):
        a, b = (median * np.exp(0.4 * rng.standard_normal(3)) for median in (20_000, 45_000))
        found = sample_efficiency_ratio(a.tolist(), b.tolist(), 10**9, rng=rng, resamples=1_000)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2.25 <= found.high
    print(f"coverage of the ratio of exact times of 3 seeds: {held / 500:.1%}")
    assert 0.87 <= held / 500 <= 0.93  # what READING says of three seeds


def test_other_aggregates_than_the_iqm_are_too_sure_of_three_seeds() -> None:
    """What `comparison_tables.READING` says of few seeds, by the worst case of those measured."""
    truth, rng, held = (
        float(aggregates.median(runs(np.random.default_rng(7), 100_000, "failing"))),
        np.random.default_rng(6),
        0,
    )
    for _ in range(200):
        found = aggregates.bootstrap(runs(rng, 3, "failing"), aggregates.median, rng=rng, resamples=500)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    print(f"coverage of the median over 6 tasks x 3 runs, failing: {held / 200:.1%}")
    assert 0.65 <= held / 200 <= 0.85


def test_below_three_seeds_there_is_no_interval() -> None:
    rng = np.random.default_rng(3)
    two = aggregates.bootstrap(runs(rng, 2), aggregates.iqm, rng=rng)
    assert (two.low, two.high, two.n) == (None, None, 2)
    assert math.isfinite(two.point)
    ragged = aggregates.bootstrap({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0]}, aggregates.iqm, rng=rng)
    assert (ragged.low, ragged.high, ragged.n) == (None, None, 2)
    pair = aggregates.bootstrap_pair(runs(rng, 5), runs(rng, 2), aggregates.probability_of_improvement, rng=rng)
    assert (pair.low, pair.high, pair.n) == (None, None, 2)
    assert welch([1, 2, 3], [1, 2]).half is None
    ratio = sample_efficiency_ratio([10, 20, 30], [10, None], 50, rng=rng)
    assert (ratio.low, ratio.high, ratio.n) == (None, None, 2)
