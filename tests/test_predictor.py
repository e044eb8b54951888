"""The predictor: the same data whatever the model, errors that shrink with data, resumed exactly."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.predictor import make
from suites.runner.evaluation import Recorder, play
from suites.runner.model_quality import model_rows
from tests.in_process import problem_of, train, train_interrupted

SMALL: dict[str, Any] = {
    "fit_every": 60, "members": 2, "hidden": (16,), "weight_decay": 1e-5, "batch_size": 16, "max_epochs": 3,
}  # fmt: skip


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=60)


def predictor(budget: int, seed: int = 4, **config: Any) -> Any:
    return make(problem_of(pendulum(), budget), seed, **{**SMALL, **config})


def test_what_is_tried_and_asked_is_the_same_for_every_model() -> None:
    one = train(predictor(150, members=1, probabilistic=False), pendulum, 150)
    other = train(predictor(150, members=3, hidden=(8, 8)), pendulum, 150)
    for name, tensor in one.replay.tensors().items():
        assert torch.equal(tensor, other.replay.tensors()[name]), name
    policies = [agent.policy("mode") for agent in (one, other)]
    for policy in policies:
        policy.reset(3)
    obs = np.zeros(3, np.float32)
    drawn = [[float(policy.act(obs)[0]) for _ in range(50)] for policy in policies]
    assert drawn[0] == drawn[1]
    assert min(drawn[0]) < -1 < 1 < max(drawn[0])  # of -2 to 2


def test_it_learns_after_every_so_many_steps_the_last_one_included() -> None:
    assert train(predictor(59, fit_every=59), pendulum, 59).updates > 0
    counts = [train(predictor(budget), pendulum, budget).updates for budget in (60, 119, 120)]
    assert 0 < counts[0] == counts[1] < counts[2]


def test_more_data_make_smaller_errors_that_grow_with_the_horizon() -> None:
    def errors(agent: Any) -> dict[int, float]:
        recorder, env = Recorder(), pendulum()
        play(
            env, agent.policy("mode"), task="pendulum", seed=0, episodes=3, steps=0, tick=lambda: None,
            recorder=recorder,
        )  # fmt: skip
        return {row["horizon"]: row["error"] for row in model_rows(agent.world_model(), recorder.episodes, 0)}

    config = {"members": 1, "hidden": (64, 64), "max_epochs": 60}
    little, much = (
        errors(train(predictor(budget, fit_every=min(budget, 300), **config), pendulum, budget))
        for budget in (120, 1200)
    )
    assert much[1] < 0.5 * little[1]
    assert much[1] < much[5] < much[25]
    assert much[1] < 0.1  # of the deviation: a tenth of knowing nothing


@pytest.mark.parametrize("stop", [0, 77, 138])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_weights(stop: int, tmp_path: Any) -> None:
    whole = train(predictor(151), pendulum, 151)
    resumed = train_interrupted(lambda: predictor(151), pendulum, 151, stop, tmp_path)
    assert torch.equal(whole.ensemble.state()["vector"], resumed.ensemble.state()["vector"])
    assert whole.updates == resumed.updates > 0


def test_who_would_never_learn_is_told() -> None:
    with pytest.raises(ValueError, match="set holdout above 0, or max_epochs"):
        make(problem_of(pendulum(), 50), 0, fit_every=20, holdout=0.0)
    with pytest.raises(ValueError, match=r"predictor would never learn.*found 60; lower fit_every"):
        predictor(59)
