"""Promises of the tasks that show their velocity: the usual observation behind it, exact rewards and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from suites.envs import mujoco, mujoco_velocity

IDS = ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Swimmer-v5"]


@pytest.mark.parametrize("id", IDS)
def test_the_velocity_stands_before_the_usual_observation_and_nothing_else_changes(id: Any):
    plain, shown = mujoco.make(id=id), mujoco_velocity.make(id=id)
    obs, longer = plain.reset(seed=2)[0], shown.reset(seed=2)[0]
    assert np.array_equal(longer, [0.0, *obs])
    plain.action_space.seed(0)
    for _ in range(20):
        action = plain.action_space.sample()
        obs, *rest, info = plain.step(action)
        longer, *same, _ = shown.step(action)
        assert np.array_equal(longer, [info["x_velocity"], *obs])
        assert same == rest


@pytest.mark.parametrize("id", IDS)
def test_reward_and_termination_equal_the_simulator_on_5000_transitions(id: Any):
    env: Any = mujoco_velocity.make(id=id)
    rng = np.random.default_rng(5)
    low, high = env.action_space.low, env.action_space.high
    rows, (obs, _) = [], env.reset(seed=0)
    for step in range(5_000):
        action = (np.where(rng.random(low.shape) < 0.5, low, high) if step % 3 else rng.uniform(low, high)).astype("f4")
        next_obs, reward, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, reward, terminated))
        obs = env.reset(seed=step)[0] if terminated or truncated else next_obs
    seen, acted, following, paid, ended = (torch.as_tensor(np.asarray(x)) for x in zip(*rows, strict=True))
    known = mujoco_velocity.known(id=id)
    assert torch.equal(known["termination"](seen, acted, following), ended)
    assert bool(ended.any()) == (id in ("Hopper-v5", "Walker2d-v5"))
    off = (known["reward"](seen, acted, following) - paid).abs() / paid.abs().clamp(min=1.0)
    assert float(off.max()) < 1e-6
    single = known["reward"](seen.float(), acted.float(), following.float())
    assert single.dtype == torch.float32
    assert float(((single - paid).abs() / paid.abs().clamp(min=1.0)).max()) < 1e-5  # no matter how far it ran


@pytest.mark.parametrize("id", IDS)
def test_the_card_says_what_is_seen(id: Any):
    env, card = mujoco_velocity.make(id=id), mujoco_velocity.card(id=id)
    assert env.observation_space.shape is not None
    assert card["observation"] == f"{env.observation_space.dtype}[{env.observation_space.shape[0]}]"
    assert card["known_reward"] == card["known_termination"] == "exact"
    assert card["env_id"] == id  # what agents' published settings go by


def test_a_task_that_pays_for_something_else_is_refused():
    with pytest.raises(ValueError, match=r"expected one of Hopper-v5.* pay for the distance in x, found 'Ant-v5'"):
        mujoco_velocity.make(id="Ant-v5")  # type: ignore[arg-type]
