"""The gate counts every step, seeds every episode, shows no simulator, and gives back what was running."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.protocol import BudgetSpent
from results import record
from suites.runner import checkpoint
from suites.runner.gate import Gate, GatedEnv, GatedVector
from suites.runner.seeds import evaluation_seed, training_seed

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)


class Walk(gym.Env[Any, Any]):
    """Adds up its actions; how long an episode is follows from the reset seed, and so does its reward."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
    taken = 0  # steps of all of them
    asked: list[tuple[int | None, Any]] = []  # seed and options of each reset

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        Walk.asked.append((seed, options))
        self.place, self.left = float(seed or 0), 1 + (seed or 0) % 9
        return np.array([self.place, self.left]), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if not np.isfinite(action).all():
            raise ValueError("expected a number")
        Walk.taken += 1
        self.place += float(action[0])
        self.left -= 1
        reward = float(action[0]) * self.np_random.random()
        return np.array([self.place, self.left]), reward, self.left == 0, False, {}


@pytest.fixture(autouse=True)
def _nothing_taken() -> None:
    Walk.taken, Walk.asked = 0, []


def gate_with(
    budget: int = 1000,
    make: Callable[[], Any] = Walk,
    seed: int = 0,
    rows: list[dict[str, Any]] | None = None,
) -> tuple[Gate, list[dict[str, Any]]]:
    rows = [] if rows is None else rows
    return Gate(make, task="walk", seed=seed, budget=budget, log=rows.append), rows


def action(rng: np.random.Generator) -> Any:
    return rng.uniform(-1, 1, 1).astype(np.float32)


def through_a_checkpoint(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    checkpoint.write(folder, 1, {"gate": state}, b"", lambda agent: None)
    saved = checkpoint.newest(folder)
    assert saved is not None
    found: dict[str, Any] = saved.state()["gate"]
    return found


# -- budget --------------------------------------------------------------------------------------------------------


@SETTINGS
@given(budget=st.integers(1, 60), num_envs=st.lists(st.integers(0, 5), min_size=1, max_size=3), seed=st.integers(0, 9))
def test_all_environments_together_take_exactly_the_budget(budget: int, num_envs: list[int], seed: int) -> None:
    Walk.taken = 0
    gate, rows = gate_with(budget)
    rng = np.random.default_rng(seed)
    opened = [gate.open(count) if count else gate.open() for count in num_envs]
    begun = [False] * len(opened)

    def act_until_refused() -> None:
        while True:
            i = int(rng.integers(len(opened)))
            count = num_envs[i]
            if not begun[i]:
                opened[i].reset()
                begun[i] = True
            found = opened[i].step([action(rng) for _ in range(count)] if count else action(rng))
            begun[i] = bool(count) or not found[2]

    with pytest.raises(BudgetSpent):
        act_until_refused()
    assert gate.steps == Walk.taken == budget
    unfinished = sum(len(env._actions) for env in gate._slots if env is not None and env._running)
    assert sum(row["length"] for row in rows) + unfinished == budget


@SETTINGS
@given(budget=st.integers(1, 9), num_envs=st.integers(2, 5))
def test_an_environment_beyond_the_budget_is_never_touched(budget: int, num_envs: int) -> None:
    Walk.taken = 0
    gate, _ = gate_with(budget)
    env = gate.open(num_envs)
    env.reset()
    actions = np.zeros((num_envs, 1), np.float32)
    for _ in range(budget // num_envs):
        env.step(actions)
    for _ in range(3):
        with pytest.raises(BudgetSpent):
            env.step(actions)
    assert gate.steps == Walk.taken == budget
    single = gate.open()
    single.reset()
    with pytest.raises(BudgetSpent):
        single.step(actions[0])
    assert Walk.taken == budget


def test_a_step_that_the_environment_refuses_is_not_charged() -> None:
    gate, _ = gate_with()
    env = gate.open()
    env.reset()
    with pytest.raises(ValueError, match="expected a number"):
        env.step(np.array([np.nan]))
    assert gate.steps == 0


# -- episodes ------------------------------------------------------------------------------------------------------


def test_a_step_outside_of_an_episode_is_an_error_and_is_not_charged() -> None:
    gate, _ = gate_with()
    env = gate.open()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1))
    env.reset()
    while not env.step(np.zeros(1))[2]:
        pass
    steps = gate.steps
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1))
    assert gate.steps == Walk.taken == steps


def test_an_episode_that_the_agent_breaks_off_is_recorded_as_cut() -> None:
    gate, rows = gate_with(seed=next(s for s in range(99) if training_seed("walk", s, 0, 0) % 9 >= 3))
    env = gate.open()
    env.reset()
    env.reset()  # nothing was done in it, so there is nothing to record
    assert rows == []
    while training_seed("walk", gate.seed, 0, gate._episodes[0] - 1) % 9 < 3:
        env.reset()
    env.step(np.ones(1))
    env.step(np.ones(1))
    env.reset()
    assert [(row["step"], row["length"], row["cut"]) for row in rows] == [(2, 2, True)]


def test_an_episode_that_ends_by_itself_is_not_recorded_as_cut() -> None:
    gate, rows = gate_with()
    env = gate.open()
    for _ in range(3):
        env.reset()
        while not env.step(np.ones(1))[2]:
            pass
    env.reset()
    assert len(rows) == 3
    assert not any("cut" in row for row in rows)
    assert [row["length"] for row in rows] == [1 + seed % 9 for seed, _ in Walk.asked[:3] if seed is not None]


def test_a_slot_is_used_again_after_its_environment_was_closed() -> None:
    gate, _ = gate_with()
    first, second = gate.open(), gate.open()
    for env in (first, second, first):
        env.reset()
    first.close()
    third = gate.open()
    assert (first.index, second.index, third.index) == (0, 1, 0)
    third.reset()
    places = [(0, 0), (1, 0), (0, 1), (0, 2)]
    assert [seed for seed, _ in Walk.asked] == [training_seed("walk", 0, *place) for place in places]


def test_every_reset_is_told_the_steps_before_it_and_never_the_agents_seed() -> None:
    gate, _ = gate_with()
    env = gate.open(2)
    env.reset(seed=7)
    env.step(np.zeros((2, 1), np.float32))
    gate.open().reset(seed=7, options={"steps": 99})
    assert 7 not in [seed for seed, _ in Walk.asked]
    assert Walk.asked[-1][1] == {"steps": 2}


def test_a_vector_resets_an_environment_in_the_step_that_ends_its_episode() -> None:
    gate, rows = gate_with()
    env = gate.open(3)
    obs, _ = env.reset()
    for _ in range(30):
        before = obs
        obs, rewards, terminations, truncations, infos = env.step(np.ones((3, 1), np.float32))
        assert obs.shape == (3, 2)
        assert rewards.shape == terminations.shape == truncations.shape == (3,)
        assert bool(terminations.any()) == ("final_obs" in infos)
        for i in np.flatnonzero(terminations):
            assert infos["_final_obs"][i]
            assert infos["final_obs"][i].tolist() == [before[i][0] + 1, 0]
            assert obs[i][1] >= 1
    assert {row["env"] for row in rows} == {0, 1, 2}


def test_a_return_is_summed_in_double_precision() -> None:
    class Small(Walk):
        def step(self, action: Any) -> Any:
            self.left = 99
            obs, _, _, _, info = super().step(action)
            return obs, np.float32(0.1), False, Walk.taken == 30, info

    gate, rows = gate_with(make=Small)
    env = gate.open()
    env.reset()
    while not env.step(np.zeros(1))[3]:
        pass
    expected = 0.0
    for _ in range(30):
        expected += float(np.float32(0.1))
    assert rows[0]["return"] == expected


def test_a_return_that_is_no_number_is_recorded_as_null() -> None:
    class Broken(Walk):
        def step(self, action: Any) -> Any:
            obs, _, terminated, truncated, info = super().step(action)
            return obs, float("nan"), terminated, truncated, info

    gate, rows = gate_with(make=Broken)
    env = gate.open()
    env.reset()
    while not env.step(np.zeros(1))[2]:
        pass
    assert json.loads(record.encode(rows[0]))["return"] is None


# -- seeds ---------------------------------------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=1000)
@given(
    task=st.text(max_size=20), seed=st.integers(0, 2**40), place=st.tuples(st.integers(0, 64), st.integers(0, 10**7))
)
def test_no_episode_is_both_trained_on_and_evaluated_on(task: str, seed: int, place: tuple[int, int]) -> None:
    """Each kind of seed has a half of the integers to itself, so a million draws would tell no more than one."""
    assert 0 <= training_seed(task, seed, *place) < 2**30 <= evaluation_seed(task, seed, place[1]) < 2**31


def test_the_seeds_of_a_trial_rarely_meet() -> None:
    found = [training_seed("walk", seed, env, k) for seed in range(5) for env in range(4) for k in range(500)]
    found += [evaluation_seed("walk", seed, k) for seed in range(5) for k in range(500)]
    assert len(set(found)) == len(found)


# -- what an agent can see -----------------------------------------------------------------------------------------


def test_unwrapped_ends_at_the_gate() -> None:
    gate, _ = gate_with()
    env, vector = gate.open(), gate.open(2)
    assert isinstance(env, GatedEnv)
    assert isinstance(vector, GatedVector)
    for gated in (env, vector):
        assert gated.unwrapped is gated
        assert not isinstance(gated, gym.Wrapper)
        public = [getattr(gated, name) for name in vars(gated) if not name.startswith("_")]
        assert not any(isinstance(value, gym.Env) for value in public)


# -- restoring -----------------------------------------------------------------------------------------------------


def drive(gate: Gate, envs: list[Any], counts: list[int], rng: np.random.Generator, steps: int) -> list[Any]:
    """What ``envs`` answer to ``steps`` seeded decisions, each in one of them."""
    seen: list[Any] = []
    for _ in range(steps):
        i = int(rng.integers(len(envs)))
        draws = [action(rng) for _ in range(counts[i] or 1)]
        obs, reward, terminated, truncated, infos = envs[i].step(np.stack(draws) if counts[i] else draws[0])
        over = not counts[i] and (terminated or truncated)
        final = infos.get("final_obs", [])
        seen.append([np.asarray(part).tolist() for part in (obs, reward, terminated)] + [str(final)])
        for given_away in draws:
            given_away[:] = 9.0  # what an agent does to its arrays afterwards is its own affair
        if over:
            seen.append(envs[i].reset()[0].tolist())
    return seen


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    before=st.integers(0, 40),
    again=st.integers(0, 12),
    seed=st.integers(0, 10**6),
)
def test_a_restored_gate_goes_on_as_if_nothing_had_happened(
    counts: list[int], before: int, again: int, seed: int
) -> None:
    """Checkpoint after ``before`` decisions and, in the resumed gate, after ``again`` more."""

    def opened(gate: Gate) -> tuple[list[Any], list[Any]]:
        envs = [gate.open(count) if count else gate.open() for count in counts]
        return envs, [env.reset()[0].tolist() for env in envs]

    whole, whole_rows = gate_with(seed=seed)
    envs, _ = opened(whole)
    rng = np.random.default_rng(seed)
    expected = drive(whole, envs, counts, rng, before + again + 20)

    gate, rows = gate_with(seed=seed)
    envs, _ = opened(gate)
    rng = np.random.default_rng(seed)
    found: list[Any] = []
    for steps in (before, again):
        found += drive(gate, envs, counts, rng, steps)
        last = [running_observation(env) for env in envs]
        saved, taken = copy.deepcopy(gate.state()), gate.steps
        gate, _ = gate_with(seed=seed, rows=rows)
        gate.restore(saved)
        envs, shown = opened(gate)
        assert gate.steps == taken
        assert shown == last, "the first reset has to show the running observation"
    found += drive(gate, envs, counts, rng, 20)
    assert found == expected
    assert rows == whole_rows


def running_observation(env: Any) -> Any:
    """The last observation that ``env`` gave out."""
    if isinstance(env, GatedVector):
        return [running_observation(one) for one in env._envs]
    inner = env._env_step.__self__
    return [inner.place, inner.left]


def test_what_was_not_yet_opened_again_is_kept_by_the_next_save(tmp_path: Path) -> None:
    gate, _ = gate_with(seed=2)
    env = gate.open(4)
    env.reset()
    for _ in range(3):
        last = env.step(np.ones((4, 1), np.float32))[0]
    second, _ = gate_with(seed=2)
    second.restore(gate.state())
    third, _ = gate_with(seed=2)
    third.restore(through_a_checkpoint(second.state(), tmp_path))
    assert third.open(4).reset()[0].tolist() == last.tolist()
