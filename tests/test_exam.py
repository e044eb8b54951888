"""Promises of the exam: what looking before answering is worth, by brute force over plans and questions."""

from __future__ import annotations

from collections import Counter

import pytest

from suites.envs import exam


def seeds_of_all_questions(digits: int) -> dict[int, int]:
    """For each question, by its observation, a reset seed that leads to it."""
    env, seed = exam.make(digits=digits), 0
    seeds: dict[int, int] = {}
    while len(seeds) < digits**2:
        env.reset(seed=seed)
        seeds.setdefault(env.step(exam.ACCEPT)[0], seed)
        seed += 1
    return seeds


def value(digits: int, plan: tuple[int, int], seeds: dict[int, int]) -> float:
    """Expected return of a fixed plan: its mean over all questions, which are equally likely."""
    env, total = exam.make(digits=digits), 0.0
    for seed in seeds.values():
        env.reset(seed=seed)
        for action in plan:
            _, reward, terminated, _, _ = env.step(action)
            total += float(reward)
            if terminated:
                break
    return total / len(seeds)


@pytest.mark.parametrize("digits", [2, 3, 10])
def test_the_best_plan_without_feedback_declines_and_is_worth_nothing(digits):
    seeds = seeds_of_all_questions(digits)
    actions = range(2 * digits - 1)
    values = {(first, second): value(digits, (first, second), seeds) for first in (0, 1) for second in actions}
    assert max(values.values()) == exam.open_loop_value(digits) == 0.0
    best_accepting = max(v for (first, _), v in values.items() if first == exam.ACCEPT)
    assert best_accepting == pytest.approx(exam.accept_open_loop_value(digits), abs=1e-9)
    assert best_accepting < 0.0


def test_accepting_blindly_costs_1700_with_ten_digits():
    assert exam.accept_open_loop_value(10) == -1700.0


def test_looking_before_answering_is_worth_1000_at_every_question():
    env = exam.make()
    for seed in seeds_of_all_questions(10).values():
        env.reset(seed=seed)
        question = env.step(exam.ACCEPT)[0] - 1
        obs, reward, terminated, truncated, _ = env.step(question // 10 + question % 10)
        assert (obs, reward, terminated, truncated) == (101, exam.closed_loop_value(), True, False)


def test_declining_ends_the_episode_without_showing_the_question():
    env = exam.make()
    env.reset(seed=3)
    assert env.step(exam.DECLINE)[:4] == (101, 0.0, True, False)
    with pytest.raises(RuntimeError, match="reset first"):
        env.step(0)


def test_every_other_action_accepts():
    env = exam.make(digits=3)
    shown = set()
    for action in range(1, 5):
        env.reset(seed=3)
        shown.add(env.step(action)[:4])
    assert len(shown) == 1
    assert shown.pop()[1:] == (0.0, False, False)


def test_the_questions_are_equally_likely():
    env, draws = exam.make(digits=3), 4500
    counts: Counter[int] = Counter()
    for seed in range(draws):
        env.reset(seed=seed)
        counts[env.step(exam.ACCEPT)[0]] += 1
    assert sorted(counts) == list(range(1, 10))
    chi_square = sum((count - draws / 9) ** 2 / (draws / 9) for count in counts.values())
    assert chi_square < 26.1  # 8 degrees of freedom, one in a thousand


def test_fewer_than_two_digits_are_refused():
    with pytest.raises(ValueError, match="at least 2 digits"):
        exam.make(digits=1)
