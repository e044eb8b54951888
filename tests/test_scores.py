"""Promises of the scores: every expected number is worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis import scores

NAN = math.nan


def test_the_t_interval_of_three_seeds_is_the_textbook_one() -> None:
    # 10, 12, 14: mean 12, s = 2, and t(0.975, 2) = 4.3027: half = 4.3027 · 2 / √3 = 4.9683
    interval = scores.t_interval([10, 12, 14])
    assert (interval.mean, interval.n) == (12, 3)
    assert interval.half == pytest.approx(4.96828, abs=1e-5)
    assert (interval.low, interval.high) == pytest.approx((7.03172, 16.96828), abs=1e-5)


def test_the_t_interval_of_five_seeds_is_the_textbook_one() -> None:
    # 1..5: mean 3, s = √2.5 = 1.58114, t(0.975, 4) = 2.77645: half = 2.77645 · 1.58114 / √5 = 1.96324
    assert scores.t_interval([1, 2, 3, 4, 5]).half == pytest.approx(1.96324, abs=1e-5)


@pytest.mark.parametrize("values", [[7.0], [7.0, 9.0]])
def test_below_three_seeds_there_is_no_interval(values: list[float]) -> None:
    interval = scores.t_interval(values)
    assert interval.n == len(values)
    assert interval.half is interval.low is interval.high is None
    assert np.isnan(scores.t_band([[value, value] for value in values])[1]).all()


@pytest.mark.parametrize("values", [[], [1.0, NAN, 3.0]])
def test_a_seed_without_a_value_is_never_averaged_away(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one finite value per seed"):
        scores.t_interval(values)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_t_interval_covers_the_truth_in_at_least_93_of_100_cases(seeds: int) -> None:
    draws = np.random.default_rng(0).normal(50, 10, (4_000, seeds))
    intervals = [scores.t_interval(draw) for draw in draws]
    covered = np.mean([abs(interval.mean - 50) <= (interval.half or 0) for interval in intervals])
    assert 0.93 <= covered <= 0.97


def test_a_normalised_score_is_0_at_zero_and_1_at_one() -> None:
    assert scores.normalised([-33, 906, 436.5], zero=-33, one=906) == pytest.approx([0, 1, 0.5])


def test_marks_are_the_multiples_and_the_budget() -> None:
    assert scores.marks(4, 10).tolist() == [0, 4, 8, 10]
    assert scores.marks(5, 10).tolist() == [0, 5, 10]


def test_a_value_is_carried_forward_to_the_next_mark_and_never_across_it() -> None:
    # measured at 0, 12 and 27 and read at 0, 10, ..: 12 is read at 20, 27 at 30, nothing at 10 and at 40
    read = scores.at_marks([0, 12, 27], [1, 2, 3], [0, 10, 20, 30, 40])
    np.testing.assert_array_equal(read, [1, NAN, 2, 3, NAN])


def test_an_evaluation_that_was_a_little_late_counts_at_the_mark_that_it_was_due_at() -> None:
    at = [0, 1_000, 2_000, 3_000, 3_400]
    # 50 of 1,000 steps late is a twentieth, 51 is more; 20 of the last 400 is a twentieth; at 0 there is no lateness
    assert scores.at_marks([0, 1_050, 2_033, 3_020, 3_400], [1, 2, 3, 4, 5], at).tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(scores.at_marks([0, 1_051, 3_021], [1, 2, 3], at), [1, NAN, 2, NAN, 3])
    np.testing.assert_array_equal(scores.at_marks([3], [7], at), [NAN, 7, NAN, NAN, NAN])
    np.testing.assert_array_equal(scores.at_marks([], [], [0, 10]), [NAN, NAN])


def test_of_two_values_between_two_marks_the_last_counts() -> None:
    assert scores.at_marks([10, 10], [5, 6], [10]).tolist() == [6]  # the final evaluation, at the budget's mark


def test_steps_to_a_threshold_are_the_first_mark_that_reaches_it() -> None:
    marks = [0, 10, 20, 30]
    assert scores.passage(marks, [0, 90, 100, 50], 100).by == 20
    assert scores.passage(marks, [0, NAN, 99, 50], 100).by is None  # censored
    assert scores.passage(marks, [90, 30, 20, 10], 25, lower_is_better=True).by == 20


def test_a_threshold_was_reached_since_the_last_mark_that_was_measured_short_of_it() -> None:
    marks = [0, 10, 20, 30]

    def found(values: list[float], measured: list[float] | None = None) -> tuple[float, float | None, bool]:
        of = scores.passage(marks, values, 100, measured=measured)
        return of.after, of.by, of.gap

    assert found([0, 90, 100, 50]) == (10, 20, False)
    assert found([0, NAN, NAN, 100]) == (0, 30, True)  # at 10 and 20 nobody looked
    assert found([NAN, 100, 100, 100]) == (0, 10, True)
    assert found([100, 100, 100, 100]) == (0, 0, False)
    assert found([0, 90, 99, 50]) == (30, None, False)  # censored: later than the last evaluation
    assert found([0, 90, 99, NAN])[:2] == (20, None)
    assert found([0, 90, 100, 50], [0, 7, 21, 30]) == (7, 20, False)  # the mark's value was measured before it
    assert found([0, 90, 100, 50], [0, 10.4, 20, 30]) == (10, 20, False)  # or a little late


def test_the_median_time_is_censored_where_fewer_than_half_arrive() -> None:
    assert scores.median_time([30, 10, 20]) == 20
    assert scores.median_time([10, None, 20, None]) == 20  # half of four had arrived by 20
    assert scores.median_time([10, None, None]) is None


def test_a_training_curve_is_the_mean_of_the_episodes_that_ended_since_the_mark_before() -> None:
    windows = scores.windows([3, 10, 11, 35], [1, 3, 8, 5], [0, 10, 20, 30, 40])
    np.testing.assert_array_equal(windows, [NAN, 2, 8, NAN, 5])


def test_cumulative_reward_counts_the_episodes_that_have_ended() -> None:
    assert scores.cumulative([3, 10, 11], [1, 2, 4], [0, 3, 9, 10, 20]).tolist() == [0, 1, 1, 3, 7]


def test_the_area_under_a_curve_is_its_mean_height() -> None:
    # trapezoids over 0..10..30: 10 · 1 + 20 · 4 = 90, over a span of 30
    assert scores.area_under_curve([0, 10, 30], [0, 2, 6]) == pytest.approx(3)
    assert math.isnan(scores.area_under_curve([0, 10, 30], [0, NAN, 6]))


def test_episodes_to_a_length_are_those_of_the_mean_over_seeds() -> None:
    # means over the episodes that both played: 40, 25, 15
    assert scores.episodes_to_threshold([[50, 30, 10], [30, 20, 20, 10]], 20) == (3, 15)
    assert scores.episodes_to_threshold([[50, 30, 10], [30, 20, 20, 10]], 14) is None
