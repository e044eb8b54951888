"""Promises of the aggregates: rliable's definitions, scipy's resampling, censored ratios worked out by hand."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from analysis import aggregates
from analysis.efficiency import sample_efficiency_ratio, welch
from analysis.scores import Array
from tests.score_matrices import ATARI_100K, pair, taus

GOLDEN = json.loads(Path(__file__).with_name("rliable_numbers.json").read_text())["matrices"]
NAN, INF = math.nan, math.inf


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("iqm", lambda x, y, at: aggregates.iqm(x)),
        ("mean", lambda x, y, at: aggregates.mean(x)),
        ("median", lambda x, y, at: aggregates.median(x)),
        ("optimality_gap", lambda x, y, at: aggregates.optimality_gap(x)),
        ("half_gap", lambda x, y, at: aggregates.optimality_gap(x, gamma=0.5)),
        ("probability_of_improvement", lambda x, y, at: aggregates.probability_of_improvement(x, y)),
        ("performance_profile", lambda x, y, at: aggregates.performance_profile(x, at)),
    ],
)
def test_point_values_equal_those_of_rliable(name: str, of: Callable[[Array, Array, Array], Any]) -> None:
    assert len(GOLDEN) == 200
    assert [tuple(said["shape"][:2]) for said in GOLDEN[: len(ATARI_100K)]] == list(ATARI_100K)
    for number, said in enumerate(GOLDEN):
        x, y = pair(number)
        assert [*x.shape, len(y)] == said["shape"]
        assert x[0, 0] == said["first"]
        np.testing.assert_allclose(of(x, y, taus(number)), said[name], rtol=0, atol=1e-12, err_msg=f"matrix {number}")


def test_the_iqm_is_the_mean_of_the_middle_half() -> None:
    # 0..7 in two tasks: the lowest two and the highest two of eight are cut; 2, 3, 4, 5 stay
    assert aggregates.iqm(np.array([[0, 7], [2, 5], [4, 3], [6, 1]])) == 3.5


def test_a_task_weighs_the_same_however_many_runs_it_has() -> None:
    # three runs at 0 and one at 1: pooled, the one would be lost among four; by task each is half of the weight.
    # iqm: weights 2/3, 2/3, 2/3, 2; a weight of 1 is cut from each side; of what is left half is 0 and half is 1.
    ragged = {"often": [0.0, 0.0, 0.0], "once": [1.0]}
    assert aggregates.iqm(ragged) == pytest.approx(0.5)
    assert aggregates.mean(ragged) == 0.5
    assert aggregates.optimality_gap(ragged) == 0.5
    assert aggregates.performance_profile(ragged, [0.5, 1.0]).tolist() == [0.5, 0.0]
    assert aggregates.probability_of_improvement(ragged, {"often": [0.0], "once": [0.0, 2.0]}) == 0.5


def test_runs_given_twice_change_no_aggregate_of_ragged_runs() -> None:
    once = [np.array([0.1, 0.9, 0.4]), np.array([0.3, 0.8, 0.7, 0.2]), np.array([0.5, 0.6, 0.0, 1.0, 0.35])]
    four = [np.tile(runs, 4) for runs in once]
    for statistic in (aggregates.iqm, aggregates.mean, aggregates.median, aggregates.optimality_gap):
        assert statistic(four) == pytest.approx(statistic(once), abs=1e-12)


def test_axes_that_nobody_can_tell_apart_are_refused() -> None:
    with pytest.raises(TypeError, match="nested lists"):
        aggregates.iqm([[1.0, 2.0], [3.0, 4.0]])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="matrix"):
        aggregates.iqm(np.array([1.0, 2.0]))


def test_a_hole_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"hopper, run 1; walker, run 0\. A run without"):
        aggregates.iqm({"hopper": [1.0, NAN], "walker": [INF, 1.0], "ant": [1.0, 1.0]})
    with pytest.raises(ValueError, match="task 1, run 2"):
        aggregates.bootstrap(np.array([[1, 1], [1, 1], [1, NAN]]), aggregates.mean, rng=rng())
    with pytest.raises(ValueError, match=r"none of \['hopper'\]"):
        aggregates.iqm({"hopper": []})
    with pytest.raises(ValueError, match=r"same tasks in the same order, found \['a'\] and \['b'\]"):
        aggregates.probability_of_improvement({"a": [1.0]}, {"b": [1.0]})


class Scripted(np.random.Generator):
    """Draws indices that depend on the stratum and the resample alone, whoever asks and in whatever blocks."""

    def __init__(self, strata: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.strata, self.calls, self.drawn = strata, 0, [0] * strata

    def integers(self, low: Any, high: Any = None, size: Any = None, **_: Any) -> Any:  # type: ignore[override]
        stratum = self.calls % self.strata
        self.calls += 1
        resamples, runs = size
        at = np.arange(self.drawn[stratum], self.drawn[stratum] + resamples)
        self.drawn[stratum] += resamples
        return (at[:, None] * 7919 + np.arange(runs) * (31 + at[:, None] % 13) + 17 * stratum) % 1009 % high


def test_an_interval_is_the_one_of_the_resamples_it_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rng(5).normal(0.5, 0.3, (5, 4))
    monkeypatch.setattr(aggregates, "BLOCK", 20 * 150)  # so that 2,000 resamples take several blocks
    found = aggregates.bootstrap(x, aggregates.iqm, rng=Scripted(4))
    table = Scripted(4)
    drawn = np.concatenate([x[table.integers(0, 5, (2000, 5)), task] for task in range(4)], axis=1)
    values = stats.trim_mean(drawn, 0.25, axis=1)
    # 20 runs of 4 tasks: 16 degrees of freedom, t(0.975, 16) = 2.1199, times sqrt(20 / 16): below it 0.889 %
    tail = stats.norm.cdf(-2.1199053 * math.sqrt(20 / 16))
    assert (found.low, found.high) == pytest.approx(np.quantile(values, [tail, 1 - tail]), abs=1e-7)
    assert found.point == stats.trim_mean(x, 0.25, axis=None)


def test_the_interval_is_about_a_t_interval_where_there_is_one() -> None:
    # the mean of one task of 30 runs: Student's interval is right, and the bootstrap's width must be near it
    x = rng(6).normal(3, 2, (30, 1))
    found = aggregates.bootstrap(x, aggregates.mean, resamples=20_000, rng=rng())
    student = stats.t.interval(0.95, 29, loc=x.mean(), scale=stats.sem(x[:, 0]))
    assert (found.low, found.high) == pytest.approx(student, abs=0.08)


def test_one_seed_of_the_generator_gives_the_same_digits_again() -> None:
    x, y = pair(40)
    x, y = x[:, :3], np.tile(y[:, :3], (5, 1))
    at = [0.2, 0.8]
    first, second = (aggregates.bootstrap(x, aggregates.iqm, rng=rng(1)) for _ in range(2))
    assert first == second
    one, again = (aggregates.bootstrap_pair(x, y, aggregates.probability_of_improvement, rng=rng(2)) for _ in range(2))
    assert one == again
    assert one != aggregates.bootstrap_pair(x, y, aggregates.probability_of_improvement, rng=rng(3))
    bands = [
        aggregates.bootstrap_band(x, lambda of: aggregates.performance_profile(of, at), rng=rng(4)) for _ in range(2)
    ]
    assert [band.low.tolist() for band in bands if band.low is not None] == [bands[0].low.tolist()] * 2  # type: ignore[union-attr]


def test_a_pair_draws_the_runs_of_each_by_themselves() -> None:
    # if both were drawn alike, the difference of an entrant and itself would never vary
    x = rng(8).normal(0.5, 0.3, (6, 5))
    found = aggregates.bootstrap_pair(x, x, lambda a, b: aggregates.mean(a) - aggregates.mean(b), rng=rng())
    assert found.point == 0
    assert found.low is not None
    assert found.high is not None
    assert found.low < -0.05
    assert found.high > 0.05


def test_a_profile_has_an_interval_at_each_point() -> None:
    x, at = rng(9).random((8, 6)), [-1.0, 0.5, 2.0]
    band = aggregates.bootstrap_band(x, lambda of: aggregates.performance_profile(of, at), rng=rng())
    assert band.low is not None
    assert band.high is not None
    assert band.point.shape == band.low.shape == band.high.shape == (3,)
    assert (band.low <= band.point).all()
    assert (band.point <= band.high).all()
    assert (band.low[0], band.low[1] < band.high[1], band.high[2]) == (1.0, True, 0.0)


def ratio(a: list[float | None], b: list[float | None], budget: int = 100) -> Any:
    return sample_efficiency_ratio(a, b, budget, rng=rng())


def test_a_ratio_of_steps_is_that_of_the_medians() -> None:
    found = ratio([10, 20, 30], [40, 80, 60])
    assert found.point == found.least == found.most == 3.0  # 60 / 20: b needs three steps for each of a
    # each of the nine pairs of medians occurs; the least is 40 / 30, the most 80 / 10. A resample of three has its
    # lowest run as median with probability 7 / 27, so each extreme has 6.7 %, more than the 2.5 % that are cut
    assert (found.low, found.high, found.n) == (40 / 30, 8.0, 3)


def test_a_censored_median_leaves_a_bound() -> None:
    found = ratio([10, 20, 30], [90, None, None])
    assert found.point is None
    assert (found.least, found.most) == (5.0, INF)  # above 100 / 20
    assert (found.low, found.high) == (90 / 30, INF)  # the least: b drawn with 90 as median, a with 30
    turned = ratio([90, None, None], [10, 20, 30])
    assert (turned.least, turned.most, turned.point) == (0.0, 0.2, None)
    assert (turned.low, turned.high) == (0.0, 30 / 90)


def test_where_neither_median_is_within_the_budget_nothing_is_known() -> None:
    found = ratio([None, None, 50], [None, None, None])
    assert (found.least, found.most, found.point) == (0.0, INF, None)
    assert (found.low, found.high) == (0.0, INF)


def test_one_censored_seed_of_many_moves_an_end_only() -> None:
    found = ratio([10, 10, 10], [40, 50, None])
    assert found.point == 5.0
    assert (found.low, found.high) == (4.0, INF)  # the third of b is drawn as median in 26 % of resamples


@pytest.mark.parametrize("time", [0, -1, 101, NAN])
def test_times_that_cannot_be_are_refused(time: float) -> None:
    with pytest.raises(ValueError, match="between 1 and the budget 100"):
        ratio([10, time, 10], [10, 10, 10])
    with pytest.raises(ValueError, match="at least one seed"):
        ratio([], [1])


def test_a_difference_of_means_has_the_textbook_interval_of_welch() -> None:
    # means 12 and 5, variances 4 and 1, n 3 and 3: se = sqrt(5 / 3) = 1.29099; degrees of freedom
    # (5/3)^2 / ((4/3)^2 / 2 + (1/3)^2 / 2) = 2.94118, t(0.975, 2.94118) = 3.2195
    found = welch([10, 12, 14], [4, 5, 6])
    assert (found.mean, found.n) == (7, 3)
    assert found.half == pytest.approx(stats.t.ppf(0.975, 2.9411764706) * 1.2909944487, abs=1e-9)
    assert welch([2, 2, 2], [1, 1, 1]).half == 0
    with warnings.catch_warnings(action="error"):
        # One side without variance: se = sqrt(1 / 3), two degrees of freedom.
        assert welch([1000] * 3, [4, 5, 6]).half == pytest.approx(stats.t.ppf(0.975, 2) / math.sqrt(3))
    with pytest.raises(ValueError, match="one finite value per seed"):
        welch([1, NAN, 2], [1, 2, 3])
