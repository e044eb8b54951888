"""The gate counts every step, seeds every episode and shows no simulator."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.protocol import BudgetSpent
from results import record
from suites.runner.gate import GatedEnv
from suites.runner.seeds import training_seed
from suites.runner.vector import GatedVector
from tests.in_process import gate_to
from tests.walking import SETTINGS, Walk, action, gate_with, seed_where

pytestmark = pytest.mark.usefixtures("nothing_walked")


# -- budget --------------------------------------------------------------------------------------------------------


@SETTINGS
@given(budget=st.integers(1, 60), num_envs=st.lists(st.integers(-5, 5), min_size=1, max_size=3), seed=st.integers(0, 9))
def test_all_environments_together_take_exactly_the_budget(budget: int, num_envs: list[int], seed: int) -> None:
    """A negative number stands for a vector whose environments wait, zero for a plain environment."""
    Walk.taken = 0
    gate, rows = gate_with(budget)
    rng = np.random.default_rng(seed)
    opened = [gate.open(abs(count), autoreset=count > 0) if count else gate.open() for count in num_envs]
    begun = [False] * len(opened)

    def act_until_refused() -> None:
        while True:
            i = int(rng.integers(len(opened)))
            count = num_envs[i]
            if not begun[i]:
                opened[i].reset()
                begun[i] = True
            if count < 0 and rng.random() < 0.3:
                opened[i].reset(options={"reset_mask": rng.random(-count) < 0.5})
            before = gate.steps
            found = opened[i].step([action(rng) for _ in range(abs(count))] if count else action(rng))
            assert gate.steps - before == (1 if count == 0 else count if count > 0 else found[4]["active"].sum())
            begun[i] = bool(count) or not found[2]

    with pytest.raises(BudgetSpent):
        act_until_refused()
    assert gate.steps == Walk.taken == budget
    unfinished = sum(len(env._actions) for env in gate._slots if env is not None and env.running)
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


def test_of_environments_that_do_not_wait_the_first_take_what_is_left() -> None:
    seed = seed_where(lambda lengths: min(lengths[1], lengths[3]) > 2 == lengths[0] == lengths[2], 4)
    gate, _ = gate_with(2 * 4 + 1, seed=seed)
    env = gate.open(4, autoreset=False)
    env.reset()
    actions = np.zeros((4, 1), np.float32)
    for _ in range(2):
        last = env.step(actions)
    assert last[2].tolist() == [True, False, True, False]
    for _ in range(3):
        with pytest.raises(BudgetSpent):
            env.step(actions)
        assert gate.steps == Walk.taken == 9
        assert [len(slot._actions) for slot in env._envs] == [2, 3, 2, 2]


def test_a_step_in_which_all_wait_is_nothing_even_when_the_budget_is_spent() -> None:
    gate, rows = gate_with(1, seed=seed_where(lambda lengths: lengths == [1], 1))
    env = gate.open(1, autoreset=False)
    begun, _ = env.reset()
    shown = env.step(np.ones((1, 1), np.float32))[0]
    assert shown.tolist() == np.add(begun, [1, -1]).tolist()
    for _ in range(3):
        obs, rewards, terminations, truncations, infos = env.step(np.ones((1, 1), np.float32))
        assert obs.tolist() == shown.tolist()
        assert not np.stack([rewards, terminations, truncations, infos["active"]]).any()
    assert (gate.steps, Walk.taken, len(rows)) == (1, 1, 1)
    env.reset()
    with pytest.raises(BudgetSpent):
        env.step(np.ones((1, 1), np.float32))


def test_a_step_that_the_environment_refuses_is_not_charged() -> None:
    gate, _ = gate_with()
    env = gate.open()
    env.reset()
    with pytest.raises(ValueError, match="expected a number"):
        env.step(np.array([np.inf]))
    assert gate.steps == 0


# -- episodes ------------------------------------------------------------------------------------------------------


def test_an_action_that_is_no_number_is_refused_before_it_reaches_the_simulator() -> None:
    gate = gate_to(lambda: gym.make("Pendulum-v1"), 9)
    env = gate.open()
    env.reset()
    env.step(np.array([0.5], np.float32))
    with pytest.raises(FloatingPointError, match=r"found \[nan\] after 1 steps: what the agent acts by has diverged"):
        env.step(np.array([np.nan], np.float32))
    assert gate.steps == 1
    vector = gate.open(2)
    vector.reset()
    with pytest.raises(FloatingPointError, match="diverged"):
        vector.step(np.array([[0.0], [np.nan]], np.float32))


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


# -- returns -------------------------------------------------------------------------------------------------------


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
