"""Promises of the classic tasks: known rewards and terminations equal the simulator's, the card is true."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from suites.envs import classic


def effort(id: str, obs: np.ndarray, rng: np.random.Generator) -> Any:
    """An action that pumps energy half of the time, so that the goals of the hill and the swing are met."""
    if id == "CartPole-v1":
        return int(rng.integers(2))
    pump = bool(rng.random() < 0.8)
    if id == "Acrobot-v1":
        return (0 if obs[4] > 0 else 2) if pump else int(rng.integers(3))
    bound = 3.0 if id == "Pendulum-v1" else 1.5  # beyond what the motor gives: rewards clip one, not the other
    push = float(np.sign(obs[-1])) if pump else float(rng.uniform(-1.0, 1.0))
    return np.array([bound * push], np.float32)


def transitions(id: Any, count: int) -> tuple[torch.Tensor, ...]:
    env, rng = classic.make(id=id), np.random.default_rng(1)
    rows = []
    obs, _ = env.reset(seed=0)
    for step in range(count):
        action = effort(id, obs, rng)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, reward, terminated))
        obs = env.reset(seed=step)[0] if terminated or truncated else next_obs
    return tuple(torch.as_tensor(np.asarray(column)) for column in zip(*rows, strict=True))


@pytest.mark.parametrize("id", classic.TASKS)
def test_the_known_functions_equal_the_simulator_on_10000_transitions(id):
    obs, action, next_obs, reward, terminated = transitions(id, 10_000)
    known = classic.known(id=id)
    assert torch.equal(known["termination"](obs, action, next_obs), terminated)
    assert id == "Pendulum-v1" or terminated.sum() >= 10
    found = known["reward"](obs, action, next_obs)
    assert found.dtype == torch.float32
    assert (found - reward).abs().max() < 1e-5 * max(1.0, float(reward.abs().max()))


@pytest.mark.parametrize("id", classic.TASKS)
def test_the_known_functions_keep_every_leading_axis(id):
    obs, action, next_obs, *_ = (column[:12].reshape(3, 4, *column.shape[1:]) for column in transitions(id, 12))
    for function in classic.known(id=id).values():
        assert function(obs, action, next_obs).shape == (3, 4)


@pytest.mark.parametrize("id", classic.TASKS)
def test_the_card_says_what_the_simulator_has(id: Any) -> None:
    env: Any = classic.make(id=id)
    card, space, actions = classic.card(id=id), env.observation_space, env.action_space
    assert card["observation"] == f"{space.dtype}[{space.shape[0]}]"
    if id in ("CartPole-v1", "Acrobot-v1"):
        assert card["action"] == str(actions)
    else:
        assert card["action"] == f"float32[1] in [{actions.low[0]:g}, {actions.high[0]:g}]"
    assert card["time_limit"] == env.spec.max_episode_steps


def test_an_unknown_task_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"expected a classic control task of CartPole-v1.*found 'Pong'"):
        classic.make(id="Pong")  # type: ignore[arg-type]
