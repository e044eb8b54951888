"""What the model-free baselines promise: exact budgets, exact resume, published settings, no trace of evaluation."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from stable_baselines3.common.buffers import ReplayBuffer

from agents.protocol import Problem
from baselines import a2c, dqn, ppo, sac, uniform
from baselines.sb3 import Sb3Agent
from baselines.sb3_door import DoorEnv
from baselines.sb3_replay import FrameReplay, load_replay, save_replay
from tests.in_process import gate_to, play, spend, train, train_interrupted


class Pixels(gym.Env[Any, Any]):
    """Stacks of two frames of noise; ends after 13 steps, by its own rules or by a time limit."""

    def __init__(self, shape: tuple[int, ...] = (2, 36, 36), continuous: bool = False) -> None:
        self.observation_space = Box(0, 255, shape, np.uint8)
        self.action_space = Box(-2.0, 2.0, (2,), np.float32) if continuous else Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.limited = 0, bool(self.np_random.integers(2))
        self.seen = [self._frame()] * 2
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.seen.append(self._frame())
        over = self.steps == 13
        return self._obs(), float(np.sum(action)), over and not self.limited, over and self.limited, {}

    def _frame(self) -> np.ndarray:
        first, *rest = self.observation_space.shape
        shape = rest if first == 2 else (first, *rest)
        return self.np_random.integers(0, 256, shape, dtype=np.uint8)

    def _obs(self) -> np.ndarray:
        return np.stack(self.seen[-2:]) if self.observation_space.shape[0] == 2 else self.seen[-1]  # type: ignore[index]


@dataclass(frozen=True)
class Case:
    """A baseline in an environment small enough to train in a second."""

    module: ModuleType
    env: Callable[[], gym.Env[Any, Any]]
    config: dict[str, Any] = field(default_factory=dict)
    env_id: str = "unlisted-v0"
    budget: int = 401

    def problem(self) -> Problem:
        env = self.env()
        return Problem(
            observation_space=env.observation_space,
            action_space=env.action_space,
            budget=self.budget,
            family="vector" if env.observation_space.dtype != np.uint8 else "atari",
            env_id=self.env_id,
        )

    def agent(self, seed: int = 0) -> Any:
        return self.module.make(self.problem(), seed, **self.config)

    def disturbed(self) -> gym.Env[Any, Any]:
        """An environment whose making draws from the global generators, as a new process would differ."""
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return self.env()


def pendulum() -> gym.Env[Any, Any]:
    return gym.make("Pendulum-v1", max_episode_steps=50)


def cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=40)


def table() -> gym.Env[Any, Any]:
    return gym.make("FrozenLake-v1")


def hwc() -> gym.Env[Any, Any]:
    return Pixels((36, 36, 3), continuous=True)


SHORT = {"n_steps": 32, "batch_size": 16, "n_epochs": 2}
NOISE = {"use_sde": True, "sde_sample_freq": -1, "normalize_obs": True, "normalize_reward": True}
OFTEN = {"target_update_interval": 50, "train_freq": 3, "learning_starts": 20, "batch_size": 8}
CASES = {
    "ppo": Case(ppo, cartpole, SHORT | {"normalize_obs": False, "normalize_reward": False}),
    "ppo-normalised": Case(ppo, pendulum, SHORT | {"n_envs": 3}),
    "ppo-gsde": Case(ppo, pendulum, SHORT | NOISE),
    "ppo-pixels": Case(ppo, hwc, SHORT | {"n_envs": 2, "n_steps": 8}, budget=101),
    "ppo-table": Case(ppo, table, SHORT | {"n_envs": 2}),
    "a2c": Case(a2c, cartpole, env_id="CartPole-v1"),
    "a2c-gsde": Case(a2c, pendulum, env_id="Pendulum-v1"),
    "sac": Case(sac, pendulum, {"learning_starts": 30, "batch_size": 16, "hidden": (32, 32)}, budget=151),
    "sac-pixels": Case(sac, hwc, {"learning_starts": 10, "batch_size": 4, "hidden": (8,)}, budget=31),
    "dqn": Case(dqn, cartpole, OFTEN),
    "dqn-full-replay": Case(dqn, cartpole, OFTEN | {"buffer_size": 60}),
    "dqn-pixels": Case(dqn, Pixels, OFTEN | {"buffer_size": 40}, budget=101),
    "uniform": Case(uniform, pendulum),
    "uniform-discrete": Case(uniform, cartpole),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
LEARNERS = {name: case for name, case in CASES.items() if case.module is not uniform}
each_learner = pytest.mark.parametrize("case", LEARNERS.values(), ids=LEARNERS)


def inside(agent: Any) -> list[Any]:
    """All that an agent is, as plain values and arrays."""
    if not isinstance(agent, Sb3Agent):
        return [agent._rng.bit_generator.state]
    replay = getattr(agent.model, "replay_buffer", None)
    names = ("rewards", "actions", "observations", "stacks", "pos", "full")
    return [agent._state(), [getattr(replay, name, None) for name in names]]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


@each_case
def test_a_baseline_spends_its_budget_and_no_step_more(case: Case) -> None:
    door = gate_to(case.env, case.budget)
    agent = case.agent()
    spend(agent, door, lambda metrics=None: None)
    assert door.steps == case.budget
    assert agent.updates > 0 or case.module is uniform


@each_case
def test_a_resumed_baseline_ends_bit_for_bit_like_one_that_ran_through(case: Case, tmp_path: Path) -> None:
    through = train(case.agent(), case.env, case.budget)
    resumed = train_interrupted(case.agent, case.disturbed, case.budget, int(0.45 * case.budget), tmp_path)
    assert equal(inside(through), inside(resumed))


@each_learner
def test_evaluation_leaves_no_trace(case: Case) -> None:
    quiet = train(case.agent(), case.env, case.budget)
    watched, door, env = case.agent(), gate_to(case.env, case.budget), case.env()

    def report(metrics: Any = None, **_: Any) -> None:
        if door.steps % 20 == 0:
            modes = [module.training for module in watched.model.policy.modules()]
            for mode in ("mode", "sample"):
                policy = watched.policy(mode)
                policy.reset(door.steps)
                obs, _ = env.reset(seed=0)
                for _ in range(3):
                    obs, *_ = env.step(policy.act(obs))
            assert modes == [module.training for module in watched.model.policy.modules()]

    spend(watched, door, report)
    assert equal(inside(quiet), inside(watched))


@each_learner
def test_a_loaded_baseline_acts_like_the_saved_one_before_it_learns_on(case: Case, tmp_path: Path) -> None:
    saved = train(case.agent(), case.env, 60)
    saved.save(tmp_path)
    loaded = case.agent(seed=9)
    loaded.load(tmp_path)
    for mode in ("mode", "sample"):
        one, other = saved.policy(mode), loaded.policy(mode)
        for seed in range(3):
            obs, _ = case.env().reset(seed=seed)
            one.reset(seed), other.reset(seed)
            assert np.array_equal(one.act(obs), other.act(obs))


@each_learner
def test_the_mode_is_what_the_library_predicts(case: Case) -> None:
    agent = train(case.agent(), case.env, case.budget)
    env, policy = case.env(), agent.policy("mode")
    policy.reset(0)
    obs, _ = env.reset(seed=5)
    for _ in range(5):
        seen = obs if agent._normalize is None else agent._normalize.normalize_obs(obs)
        expected, _ = agent.model.predict(seen, deterministic=True)
        action = policy.act(obs)
        np.testing.assert_allclose(action, expected, rtol=1e-5, atol=1e-6)
        assert env.action_space.contains(action)
        obs, *_ = env.step(action)


@each_case
def test_what_a_sampled_episode_draws_follows_from_its_seed(case: Case) -> None:
    agent = train(case.agent(), case.env, 40)
    if case.module is dqn:
        agent.model.exploration_rate = 0.5
    obs, _ = case.env().reset(seed=5)

    def episode(seed: int) -> list[Any]:
        policy = agent.policy("sample")
        policy.reset(seed)
        return [np.asarray(policy.act(obs)) for _ in range(30)]

    assert equal(episode(1), episode(1))
    assert not equal(episode(1), episode(2))
    space = case.env().action_space
    assert all(space.contains(action.item() if action.ndim == 0 else action) for action in episode(3))


@each_case
def test_the_same_seed_makes_the_same_agent_and_another_seed_another(case: Case) -> None:
    first = case.agent(seed=1)
    random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    assert equal(inside(first), inside(case.agent(seed=1)))
    assert not equal(inside(first), inside(case.agent(seed=2)))


@pytest.mark.parametrize("num_envs", [1, 2])
def test_a_time_limit_is_told_apart_from_an_end_and_keeps_the_last_observation(num_envs: int) -> None:
    ends: list[tuple[Any, bool]] = []

    class Watched(Pixels):
        def step(self, action: Any) -> Any:
            obs, reward, terminated, truncated, info = super().step(action)
            if terminated or truncated:
                ends.append((obs.copy(), truncated))
            return obs, reward, terminated, truncated, info

    env = Watched()
    venv = DoorEnv(env.observation_space, env.action_space, num_envs)
    venv.connect(gate_to(Watched, 13 * 12))
    venv.reset()
    for step in range(1, 13 * 12 // num_envs + 1):
        obs, _, dones, infos = venv.step(np.zeros(num_envs, np.int64))
        assert dones.all() == dones.any() == (step % 13 == 0)
        for i in range(num_envs):
            if not dones[i]:
                assert infos[i] == {}
                continue
            last, truncated = ends[i - num_envs]
            assert np.array_equal(infos[i]["terminal_observation"], last)
            assert not np.array_equal(np.asarray(obs)[i], last)
            assert infos[i]["TimeLimit.truncated"] == truncated
    assert 0 < sum(truncated for _, truncated in ends) < len(ends)


class Lives(gym.Env[Any, Any]):
    """Pays 7 a step; a life is lost after step 2, the game is over after step 4. The observation counts steps."""

    observation_space = Box(0.0, 10.0, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.steps = 0
        return np.zeros(1, np.float32), {"life_lost": False}

    def step(self, action: Any) -> Any:
        self.steps += 1
        obs = np.full(1, self.steps, np.float32)
        return obs, 7.0, self.steps == 4, False, {"life_lost": self.steps == 2}


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_lost_life_ends_the_learners_episode_and_not_the_game(num_envs: int) -> None:
    venv = DoorEnv(Lives.observation_space, Lives.action_space, num_envs, clip_reward=True)
    venv.connect(gate_to(Lives, 100))
    venv.reset()
    seen = []
    for _ in range(5):
        venv.step_async(np.zeros(num_envs, np.int64))
        obs, rewards, dones, infos = venv.step_wait()
        assert np.array_equal(rewards, np.ones(num_envs))  # only the sign of 7 is seen
        seen.append((obs[0, 0], bool(dones[0])))
        assert np.array_equal(dones, np.full(num_envs, dones[0]))
        if dones[0]:
            assert infos[0]["terminal_observation"][0] == len(seen)
            assert not infos[0]["TimeLimit.truncated"]
    assert seen == [(1.0, False), (2.0, True), (3.0, False), (0.0, True), (1.0, False)]


def test_the_value_after_a_time_limit_is_learned_from_and_the_one_after_an_end_is_not() -> None:
    replay = train(CASES["dqn"].agent(), lambda: gym.make("CartPole-v1", max_episode_steps=9), 200).model.replay_buffer
    ended = replay.dones[: replay.size(), 0] == 1
    cut = replay.timeouts[: replay.size(), 0] == 1
    assert 0 < cut.sum() < ended.sum()
    dones = replay._get_samples(np.arange(replay.size())).dones.numpy()[:, 0]
    assert np.array_equal(dones == 1, ended & ~cut)


def test_schedules_reach_their_end_with_the_budget() -> None:
    case = Case(ppo, cartpole, SHORT | {"anneal_learning_rate": True}, budget=128)
    agent = train(case.agent(), case.env, case.budget)
    assert agent.model.policy.optimizer.param_groups[0]["lr"] == 0.0
    case = Case(dqn, cartpole, {"exploration_fraction": 0.5, "exploration_final_eps": 0.1}, budget=100)
    assert train(case.agent(), case.env, 100).model.exploration_rate == pytest.approx(0.1)


def test_a_setting_is_the_suites_or_else_the_published_one_and_the_header_tells_which() -> None:
    hopper = Case(ppo, pendulum, {"n_steps": 256}, env_id="Hopper-v5", budget=100_000).agent().config
    assert (hopper.n_steps, hopper.batch_size, hopper.gamma, hopper.normalize_obs) == (256, 32, 0.999, True)
    atari = Case(dqn, Pixels, budget=100_000).agent().config
    assert (atari.learning_starts, atari.target_update_interval, atari.buffer_size) == (1_600, 1_000, 100_000)
    for case in CASES.values():
        assert None not in vars(case.agent().config).values()


def test_published_settings_are_cut_where_the_budget_would_leave_nothing_to_learn() -> None:
    assert Case(ppo, pendulum, budget=300).agent().config.n_steps == 300
    assert Case(sac, pendulum, budget=300).agent().config.learning_starts == 30
    with pytest.raises(ValueError, match=r"n_envs \* n_steps <= 300"):
        Case(ppo, pendulum, {"n_steps": 301}, budget=300).agent()


def test_rows_name_only_settings_that_exist_and_the_default_row_names_them_all() -> None:
    for module in (ppo, a2c, sac, dqn):
        rows = module.PUBLISHED
        known = set(module.Config.__dataclass_fields__)
        assert set(rows["default"]) == known
        assert set().union(*rows.values()) == known


@pytest.mark.parametrize(
    ("module", "observation", "action"),
    [
        (sac, Box(-1, 1, (3,)), Discrete(2)),
        (dqn, Box(-1, 1, (3,)), Box(-1, 1, (2,))),
        (ppo, MultiBinary(3), Discrete(2)),
        (ppo, Box(-1, 1, (3,)), Discrete(2, start=1)),
        (ppo, Box(-1, 1, (3,)), Box(-np.inf, np.inf, (2,))),
        (uniform, Box(-1, 1, (3,)), Box(-np.inf, np.inf, (2,))),
    ],
)
def test_spaces_without_a_network_are_refused_by_name(module: ModuleType, observation: Any, action: Any) -> None:
    problem = Problem(
        observation_space=observation, action_space=action, budget=100, family="vector", env_id="unlisted-v0"
    )
    with pytest.raises(ValueError, match="expected"):
        module.make(problem, 0)


def test_frames_stored_once_are_sampled_as_if_they_were_stored_each_time(tmp_path: Path) -> None:
    env = Pixels((2, 8, 8))
    spaces = env.observation_space, env.action_space
    plain, shared, read = ReplayBuffer(40, *spaces), FrameReplay(40, *spaces), FrameReplay(40, *spaces)
    obs, _ = env.reset(seed=0)
    for step in range(100):
        next_obs, reward, terminated, truncated, _ = env.step(step % 3)
        row = (np.array([reward]), np.array([terminated or truncated]), [{"TimeLimit.truncated": truncated}])
        for replay in (plain, shared):
            replay.add(obs[None], next_obs[None], np.array([step % 3]), *row)
        obs = env.reset()[0] if terminated or truncated else next_obs
    save_replay(shared, tmp_path)
    load_replay(read, tmp_path)
    rows = np.arange(40)
    for replay in (shared, read):
        assert all(map(torch.equal, plain._get_samples(rows)[:5], replay._get_samples(rows)[:5]))
    assert len(np.load(tmp_path / "replay_frames.npy")) < 40 + 2 * 5  # a frame a step, and a few per episode


def test_uniform_actions_need_no_torch() -> None:
    code = "import sys, baselines.uniform; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_ppo_learns_to_balance_a_pole() -> None:
    case = Case(ppo, lambda: gym.make("CartPole-v1"), env_id="CartPole-v1", budget=12_000)
    agent = train(case.agent(), case.env, case.budget)
    assert np.mean(play(agent, case.env(), episodes=10)) > 150
