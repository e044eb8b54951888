"""The probes behave as they say, and the agents find the answers that the probes were made for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from agents import dyna_q, mb_mpc
from tests import probes
from tests.in_process import play, problem_of, train

EVERY = [
    probes.ConstantReward,
    probes.RewardByObservation,
    probes.DelayedReward,
    probes.ActionMatters,
    lambda: probes.ConstantReward(discrete=True),
    lambda: probes.ActionMatters(discrete=True),
    lambda: probes.ActionMatters(continuous=True),
    probes.LinearSystem,
    probes.ImageMemory,
]
SMALL = {"hidden": (64,), "batch_size": 64, "random_steps": 200, "steps_per_round": 100, "candidates": 64}


def learnt_table(probe: type[probes.Probe]) -> Any:
    agent = dyna_q.make(problem_of(probe(discrete=True)), 0, discount=probes.DISCOUNT)
    return train(agent, lambda: probe(discrete=True), 2000)


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.filterwarnings("ignore::UserWarning")  # the checker advises on render modes and bounds
def test_every_probe_is_a_valid_environment_and_a_function_of_seed_and_actions(make):
    check_env(make(), skip_render_check=True)
    env, other = make(), make()
    env.action_space.seed(0)
    np.testing.assert_array_equal(env.reset(seed=3)[0], other.reset(seed=3)[0])
    ended = False
    while not ended:
        action = env.action_space.sample()
        one, two = env.step(action), other.step(action)
        np.testing.assert_array_equal(one[0], two[0])
        assert one[1:] == two[1:]
        ended = one[2] or one[3]


def test_the_image_is_gone_when_it_is_asked_for():
    env = probes.ImageMemory(delay=2)
    image, _ = env.reset(seed=0)
    assert image.mean() == pytest.approx(255 / 2)
    assert image[:, 32 * env.side : 32 * (env.side + 1)].min() == 255
    for ended in (False, False, True):
        image, reward, terminated, _, _ = env.step(env.side)
        assert not image.any()
        assert (terminated, reward) == (ended, float(ended))


def test_a_table_learns_the_value_of_a_constant():
    assert max(learnt_table(probes.ConstantReward).values[0]) == pytest.approx(probes.ConstantReward.value)


def test_a_table_learns_values_by_observation():
    values = learnt_table(probes.RewardByObservation).values
    for state, value in enumerate(probes.RewardByObservation.value):
        assert values[state] == pytest.approx([value, value], abs=1e-6)


def test_a_table_carries_a_delayed_reward_back():
    values = learnt_table(probes.DelayedReward).values
    for state, value in enumerate(probes.DelayedReward.value):
        assert max(values[state]) == pytest.approx(value, abs=1e-6)


def test_a_table_finds_the_action_that_matters():
    agent = learnt_table(probes.ActionMatters)
    assert play(agent, probes.ActionMatters(discrete=True), 20) == [1.0] * 20


def test_a_planner_finds_the_action_that_matters():
    agent = mb_mpc.make(problem_of(probes.ActionMatters()), 0, **SMALL, horizon=1)
    train(agent, probes.ActionMatters, 401)
    assert play(agent, probes.ActionMatters(), 20) == [1.0] * 20


def test_a_planner_finds_the_end_of_the_range_that_matters():
    env = probes.ActionMatters(continuous=True)
    agent = train(mb_mpc.make(problem_of(env), 0, **SMALL, horizon=1), lambda: env, 401)
    assert min(play(agent, env, 20)) > 0.75


@pytest.mark.parametrize(
    ("hidden", "bound"),
    [
        ((), 1e-3),  # without a hidden layer the answer is representable: what is left is the method's error
        ((256,), 2e-2),
    ],
)
def test_a_dynamics_network_learns_the_linear_system(hidden, bound):
    config = {"random_steps": 2000, "batch_size": 100, "learning_rate": 3e-3, "data_noise": 0.0}
    agent = mb_mpc.make(problem_of(probes.LinearSystem(), 2001), 0, **config, hidden=hidden, epochs=150)
    train(agent, probes.LinearSystem, 2001)
    obs, action, next_obs = held_out_transitions(probes.LinearSystem(), episodes=10)
    predicted = agent.dynamics.model.predict(torch.as_tensor(obs), torch.as_tensor(action))["next_obs"].numpy()
    error = np.sqrt(np.square(predicted - next_obs).mean() / np.square(next_obs).mean())
    assert error < bound


def held_out_transitions(env: probes.LinearSystem, episodes: int) -> list[np.ndarray]:
    rng, rows = np.random.default_rng(5), []
    for episode in range(episodes):
        obs, _ = env.reset(seed=5000 + episode)
        for _ in range(env.time_limit):
            action = rng.uniform(-1.0, 1.0, 2).astype(np.float32)
            next_obs = env.step(action)[0]
            rows.append((obs, action, next_obs))
            obs = next_obs
    return [np.array(column) for column in zip(*rows, strict=True)]


def test_a_planner_drives_the_linear_system_to_its_origin():
    agent = mb_mpc.make(problem_of(probes.LinearSystem()), 0, **SMALL, horizon=5)
    train(agent, probes.LinearSystem, 401)
    idle = play_without_force(probes.LinearSystem())
    assert np.mean(play(agent, probes.LinearSystem(), 4)) > 0.5 * idle


def play_without_force(env: probes.LinearSystem) -> float:
    total = 0.0
    for seed in range(1000, 1004):
        env.reset(seed=seed)
        total += sum(env.step(np.zeros(2))[1] for _ in range(env.time_limit))
    return total / 4
