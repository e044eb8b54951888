"""Plans in a table: exact values by hand, blind ones decline the exam, learners that look take it, resume is exact."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agents import dyna_q
from agents.tabular_planner import Config, Control, TableModel, make
from suites.envs import exam
from tests.in_process import play, problem_of, train, train_interrupted

CONTROLS = pytest.mark.parametrize("control", ["open_loop", "mpc"])


def true_table(digits: int) -> TableModel:
    """The exam's own probabilities: every question once after every way to accept it, every answer to each once."""
    model = TableModel(digits**2 + 2, 2 * digits - 1)
    over = digits**2 + 1
    model.learn_from(0, exam.DECLINE, exam.DECLINED, over, True)
    for a in range(digits):
        for b in range(digits):
            question = 1 + digits * a + b
            for action in range(2 * digits - 1):
                if action != exam.DECLINE:
                    model.learn_from(0, action, 0.0, question, False)
                model.learn_from(question, action, exam.CORRECT if action == a + b else exam.WRONG, over, True)
    return model


def test_the_value_of_a_plan_is_the_mean_over_what_may_happen():
    """From state 0 action 0 leads to 1 or (with probability 1/4) 2 for reward 1 or 5; there only action 1 pays."""
    model = TableModel(3, 2)
    for _ in range(3):
        model.learn_from(0, 0, 1.0, 1, False)
    model.learn_from(0, 0, 5.0, 2, False)
    model.learn_from(0, 1, 3.0, 2, True)
    model.learn_from(1, 1, 4.0, 0, False)
    model.learn_from(2, 1, 8.0, 0, True)
    values = model.values(0, 2, 0.5)
    np.testing.assert_allclose(values, [[2.0, 2.0 + 0.5 * (0.75 * 4.0 + 0.25 * 8.0)], [3.0, 3.0]])
    # Of three steps only those go on that were at state 1: back at 0 with probability 3/4.
    np.testing.assert_allclose(model.values(0, 3, 0.5)[0, 1], [4.5 + 0.25 * 0.75 * 2.0, 4.5 + 0.25 * 0.75 * 3.0])


@pytest.mark.parametrize("digits", [2, 3, 10])
def test_in_the_true_table_accepting_is_worth_what_the_lecture_says_and_declining_nothing(digits):
    values = true_table(digits).values(0, 2, 1.0)
    assert values[exam.DECLINE].tolist() == [0.0] * (2 * digits - 1)
    assert values[exam.ACCEPT].max() == pytest.approx(exam.accept_open_loop_value(digits))
    assert values[exam.ACCEPT].argmax() == digits - 1  # the likeliest sum


@CONTROLS
def test_a_blind_planner_that_knows_the_exam_declines_it(control):
    control_ = Control(true_table(10), Config(control=control), np.random.default_rng(0))
    for _ in range(20):
        control_.rest = []
        assert control_.act(0) == exam.DECLINE


def test_model_predictive_control_would_answer_rightly_but_an_open_loop_goes_on_with_its_plan():
    model = true_table(3)
    mpc = Control(model, Config(control="mpc"), np.random.default_rng(0))
    assert [mpc.act(1 + 3 * a + b) for a in range(3) for b in range(3)] == [a + b for a in range(3) for b in range(3)]
    blind = Control(model, Config(control="open_loop"), np.random.default_rng(0))
    blind.rest = [3, 1]
    assert [blind.act(0), blind.act(9)] == [3, 1]


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (lambda problem: make(problem, 0, control="open_loop", random_steps=600), 0.0),
        (lambda problem: make(problem, 0, control="mpc", random_steps=600), 0.0),
        (lambda problem: dyna_q.make(problem, 0, planning_steps=0), 1000.0),
    ],
    ids=["open-loop", "mpc", "closed-loop"],
)
def test_planners_without_feedback_refuse_the_exam_and_a_learner_takes_it(agent, expected):
    env = lambda: exam.make(digits=3)
    learned = train(agent(problem_of(env(), 2000)), env, 2000)
    assert play(learned, env(), 50) == [expected] * 50


@CONTROLS
@pytest.mark.parametrize("stop", [0, 30, 77])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_table(control, stop, tmp_path):
    env = lambda: exam.make(digits=2)

    def fresh() -> Any:
        return make(problem_of(env(), 120), 3, control=control, random_steps=40)

    whole, resumed = train(fresh(), env, 120), train_interrupted(fresh, env, 120, stop, tmp_path)
    assert np.array_equal(whole.model.led_to, resumed.model.led_to)
    assert np.array_equal(whole.model.reward, resumed.model.reward)
    assert whole.rng.bit_generator.state == resumed.rng.bit_generator.state
    assert whole.updates == resumed.updates == 120


def test_equally_good_plans_are_equally_likely():
    model, rng = TableModel(2, 3), np.random.default_rng(0)
    model.learn_from(0, 2, -1.0, 1, False)
    first = [model.plan(0, Config(horizon=1), rng)[0] for _ in range(300)]
    assert set(first) == {0, 1}
    assert 100 < first.count(0) < 200


@pytest.mark.parametrize(
    ("env", "config", "says"),
    [
        (lambda: gym.make("CartPole-v1"), {}, "Discrete observation space, but .*CartPole"),
        (exam.make, {"horizon": 5}, "between 1 and 200,000 of them, found 2,476,099 of 5 actions"),
        (exam.make, {"horizon": 0}, "change horizon"),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_remedy(env, config, says):
    with pytest.raises(ValueError, match=says):
        make(problem_of(env().unwrapped), 0, **config)
