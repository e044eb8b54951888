"""MB-MPC resumed, granted and refused: what the agent promises beyond its parts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.mb_mpc import make
from tests import probes
from tests.in_process import play, problem_of, train, train_interrupted

SMALL = {
    "random_steps": 60,
    "steps_per_round": 40,
    "hidden": (16,),
    "batch_size": 32,
    "epochs": 3,
    "candidates": 32,
    "horizon": 4,
}


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=25)


def cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1")


@pytest.mark.parametrize("env", [pendulum, cartpole])
@pytest.mark.parametrize("stop", [0, 61, 137])
def test_stopped_at_a_report_and_resumed_it_ends_with_the_same_weights(env, stop, tmp_path):
    def fresh() -> Any:
        return make(problem_of(env(), 151), 4, **SMALL)

    whole, resumed = train(fresh(), env, 151), train_interrupted(fresh, env, 151, stop, tmp_path)
    for name, weight in whole.dynamics.model.network.state_dict().items():
        assert torch.equal(weight, resumed.dynamics.model.network.state_dict()[name])
    for name, rows in whole.replay.tensors().items():
        assert torch.equal(rows, resumed.replay.tensors()[name])
    assert whole.updates == resumed.updates
    assert play(whole, env(), 1) == play(resumed, env(), 1)


def test_evaluation_leaves_no_trace_and_a_policy_stays_as_it_was():
    agent = train(make(problem_of(pendulum(), 101), 0, **SMALL), pendulum, 101)
    policy, streams = agent.policy("mode"), (agent.acting.get_state(), agent.training.get_state())
    policy.reset(1)
    obs = np.array([1.0, 0.0, 0.0], np.float32)
    first = policy.act(obs)
    assert torch.equal(agent.acting.get_state(), streams[0])
    assert torch.equal(agent.training.get_state(), streams[1])
    agent.fit()
    policy.reset(1)
    assert policy.act(obs) == first


def test_a_granted_reward_is_used_instead_of_a_learned_one():
    force = lambda obs, action, next_obs: action[:, 0]
    agent = make(problem_of(pendulum(), 101, reward=force), 0, **{**SMALL, "candidates": 300})
    assert not agent.dynamics.model.reward
    train(agent, pendulum, 101)
    policy = agent.policy("mode")
    policy.reset(0)
    forces = [policy.act(np.array([1.0, 0.0, 0.0], np.float32))[0] for _ in range(20)]
    assert np.mean(forces) > 0.8  # the best of 300 sums of four forces in [-2, 2] pushes hard in each


def test_a_granted_end_cuts_the_rewards_behind_it_off():
    end = lambda obs, action, next_obs: action[:, 0] < 0
    agent = make(
        problem_of(pendulum(), 101, reward=lambda *_: torch.ones(128), termination=end),
        0,
        **{**SMALL, "candidates": 32},
    )
    train(agent, pendulum, 101)
    policy = agent.policy("mode")
    policy.reset(0)
    assert all(policy.act(np.array([1.0, 0.0, 0.0], np.float32))[0] >= 0 for _ in range(10))


def test_a_learned_end_lets_the_pole_stand_longer_than_chance():
    config = {"random_steps": 300, "steps_per_round": 300, "hidden": (64,), "batch_size": 64, "candidates": 100}
    agent = train(make(problem_of(cartpole(), 901), 0, **config), cartpole, 901)
    assert agent.dynamics.heeds_ends
    assert np.mean(play(agent, cartpole(), 2)) > 50  # at random about 22


def test_settings_that_would_never_train_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"random_steps below the budget of 1000 steps, found 10000"):
        make(problem_of(pendulum(), 1000), 0)


def test_images_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="one-dimensional Box observation space, but ImageMemory"):
        make(problem_of(probes.ImageMemory()), 0, random_steps=10)


def test_what_never_varied_in_the_data_has_no_say_in_the_trained_model_either():
    """Noise on a constant input would move its weights at random, and Adam would make much of it."""

    def constant() -> gym.Env[Any, Any]:
        return gym.wrappers.TransformObservation(
            pendulum(), lambda obs: np.append(obs, np.float32(8.0)), gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        )

    agent = train(make(problem_of(constant(), 101), 0, **SMALL), constant, 101)
    obs = torch.tensor([[1.0, 0.0, 0.5, 8.0], [1.0, 0.0, 0.5, -8.0]])
    found = agent.dynamics.model.predict(obs, torch.zeros(2, 1))["next_obs"] - obs
    torch.testing.assert_close(found[0], found[1])
