"""Promises of the MuJoCo tasks: known functions equal the simulator's, short observations are MBPO's."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from suites.envs import mujoco

COUNT = 10_000  # transitions compared for each task
REWARD_ALWAYS = ["InvertedPendulum-v5", "Reacher-v5", "Pusher-v5", "HumanoidStandup-v5"]
REWARD_WITH_X = ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Swimmer-v5"]
ENDING = ["InvertedPendulum-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5"]
HIDING = [id for id, task in mujoco.TASKS.items() if task.hidden]


class Transitions(NamedTuple):
    obs: torch.Tensor
    action: torch.Tensor
    next_obs: torch.Tensor
    reward: torch.Tensor
    terminated: torch.Tensor


@cache
def transitions(id: Any) -> Transitions:
    """Real steps: random actions, full torque held for a while, and random actions held, with resets.

    Observed with x where the task hides it; ``without_x`` gives the usual observation of the same steps.
    """
    env: Any = mujoco.make(id=id, x_in_obs=id in HIDING)
    rng = np.random.default_rng(5)
    low, high = env.action_space.low, env.action_space.high
    rows, hold = [], 0
    obs, _ = env.reset(seed=0)
    for step in range(COUNT):
        if hold == 0:
            style = rng.integers(3)
            hold = 1 if style == 0 else int(rng.integers(1, 20))
            action = np.where(rng.random(low.shape) < 0.5, low, high) if style == 1 else rng.uniform(low, high)
            action = action.astype(np.float32)
        hold -= 1
        next_obs, reward, terminated, truncated, _ = env.step(action)
        rows.append((obs, action, next_obs, reward, terminated))
        obs = env.reset(seed=step)[0] if terminated or truncated else next_obs
    columns = (np.asarray(column) for column in zip(*rows, strict=True))
    return Transitions(*(torch.as_tensor(column) for column in columns))


def without_x(id: str) -> Transitions:
    real, hidden = transitions(id), mujoco.TASKS[id].hidden
    return real._replace(obs=real.obs[:, hidden:], next_obs=real.next_obs[:, hidden:])


def worst(found: torch.Tensor, real: torch.Tensor) -> float:
    return float(((found - real).abs() / real.abs().clamp(min=1.0)).max())


@pytest.mark.parametrize("id", mujoco.TASKS)
def test_the_known_termination_equals_the_simulator_on_10000_transitions(id):
    usual, real = without_x(id), transitions(id)
    known = mujoco.known(id=id)
    if id == "InvertedDoublePendulum-v5":
        assert "termination" not in known
        return
    assert torch.equal(known["termination"](*usual[:3]), usual.terminated)
    if id in HIDING:
        assert torch.equal(mujoco.known(id=id, x_in_obs=True)["termination"](*real[:3]), real.terminated)
    if short := mujoco.TASKS[id].short:
        function = mujoco.known(id=id, truncated_obs=True)["termination"]
        assert torch.equal(function(usual.obs[:, :short], usual.action, usual.next_obs[:, :short]), usual.terminated)
    ends = int(usual.terminated.sum())
    assert ends >= 20 if id in ENDING else ends == 0


@pytest.mark.parametrize("id", REWARD_ALWAYS + REWARD_WITH_X)
def test_the_known_reward_equals_the_simulator_on_10000_transitions(id):
    with_x = id in HIDING
    real = transitions(id)
    found = mujoco.known(id=id, x_in_obs=with_x)["reward"](*real[:3])
    assert found.shape == (COUNT,)
    assert worst(found, real.reward) < 1e-6
    if with_x and id in REWARD_ALWAYS:
        usual = without_x(id)
        assert worst(mujoco.known(id=id)["reward"](*usual[:3]), usual.reward) < 1e-6


@pytest.mark.parametrize("id", REWARD_ALWAYS + REWARD_WITH_X)
def test_the_known_reward_on_float32_is_as_good_as_its_positions(id):
    real = transitions(id)
    found = mujoco.known(id=id, x_in_obs=id in HIDING)["reward"](
        real.obs.float(), real.action.float(), real.next_obs.float()
    )
    assert found.dtype == torch.float32
    assert worst(found, real.reward) < 1e-3


@pytest.mark.parametrize("id", mujoco.TASKS)
def test_no_reward_is_offered_that_the_observation_does_not_determine(id):
    assert ("reward" in mujoco.known(id=id)) == (id in REWARD_ALWAYS)
    assert (mujoco.card(id=id)["known_reward"] == "exact") == (id in REWARD_ALWAYS)
    if id in HIDING:
        offered = id in REWARD_ALWAYS + REWARD_WITH_X
        assert ("reward" in mujoco.known(id=id, x_in_obs=True)) == offered
        assert (mujoco.card(id=id, x_in_obs=True)["known_reward"] == "exact") == offered


def test_a_lost_number_ends_what_the_simulator_would_end():
    lost = torch.full((2, 348), torch.nan, dtype=torch.float64)
    for id in mujoco.TASKS:
        if "termination" in mujoco.known(id=id):
            size = mujoco.TASKS[id].obs
            ends = mujoco.known(id=id)["termination"](lost[:, :size], lost[:, :1], lost[:, :size])
            assert ends.tolist() == [id in ENDING] * 2


@pytest.mark.parametrize("id", HIDING)
def test_x_in_front_of_the_observation_leaves_the_rest_as_it_was(id):
    plain, with_x = mujoco.make(id=id), mujoco.make(id=id, x_in_obs=True)
    hidden = mujoco.TASKS[id].hidden
    assert np.array_equal(plain.reset(seed=2)[0], with_x.reset(seed=2)[0][hidden:])
    plain.action_space.seed(0)
    for _ in range(20):
        action = plain.action_space.sample()
        obs, reward, *_ = plain.step(action)
        longer, same_reward, *_ = with_x.step(action)
        assert np.array_equal(obs, longer[hidden:])
        assert reward == same_reward


@pytest.mark.parametrize(("id", "size"), [("Ant-v5", 27), ("Humanoid-v5", 45)])
def test_the_short_observation_is_positions_and_velocities_only(id, size):
    env: Any = mujoco.make(id=id, truncated_obs=True)
    full = mujoco.make(id=id)
    assert env.observation_space.shape == (size,)
    env.reset(seed=4)
    full.reset(seed=4)
    env.action_space.seed(0)
    for _ in range(20):
        action = env.action_space.sample()
        obs, reward, *_ = env.step(action)
        data = env.unwrapped.data
        assert np.array_equal(obs, np.concatenate([data.qpos[2:], data.qvel]))
        longer, same_reward, *_ = full.step(action)
        assert np.array_equal(obs, longer[:size])
        assert reward == same_reward  # contact costs are charged all the same


@pytest.mark.parametrize("id", mujoco.TASKS)
@pytest.mark.parametrize("options", [{}, {"x_in_obs": True}, {"truncated_obs": True}])
def test_the_card_says_what_the_simulator_has(id, options):
    task = mujoco.TASKS[id]
    if (options.get("x_in_obs") and not task.hidden) or (options.get("truncated_obs") and not task.short):
        with pytest.raises(ValueError, match=rf"expected .* only .* found it with {id}; leave it out"):
            mujoco.make(id=id, **options)
        return
    env: Any = mujoco.make(id=id, **options)
    card, actions = mujoco.card(id=id, **options), env.action_space
    assert card["observation"] == f"{env.observation_space.dtype}[{env.observation_space.shape[0]}]"
    bound = f"[-{task.bound:g}, {task.bound:g}]"
    assert card["action"] == f"{actions.dtype}[{actions.shape[0]}] in {bound}"
    assert np.allclose(actions.high, task.bound)
    assert np.allclose(actions.low, -task.bound)
    assert card["frame_skip"] == env.unwrapped.frame_skip
    assert card["time_limit"] == env.spec.max_episode_steps


def test_a_task_that_is_none_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"expected a MuJoCo task of InvertedPendulum-v5.*found 'Hopper-v2'"):
        mujoco.make(id="Hopper-v2")  # type: ignore[arg-type]


def test_mbpo_has_no_x_in_its_observation():
    with pytest.raises(ValueError, match="found both"):
        mujoco.make(id="Ant-v5", truncated_obs=True, x_in_obs=True)
