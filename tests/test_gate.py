"""The gate counts every step, seeds every episode, shows no simulator, and gives back what was running."""

from __future__ import annotations

import copy
import json
import tempfile
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
from suites.runner.gate import Gate, GatedEnv
from suites.runner.seeds import common_seed, training_seed
from suites.runner.vector import GatedVector

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


def seed_where(enough: Callable[[list[int]], bool], slots: int) -> int:
    """A trial seed for which the lengths of the first episodes of ``slots`` slots are as a test needs them."""
    return next(s for s in range(10_000) if enough([1 + training_seed("walk", s, i, 0) % 9 for i in range(slots)]))


def through_a_checkpoint(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    checkpoint.write(folder, 1, {"gate": state}, b"", lambda agent: None)
    saved = checkpoint.newest(folder)
    assert saved is not None
    found: dict[str, Any] = saved.state()["gate"]
    return found


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


# -- environments that wait ----------------------------------------------------------------------------------------


def test_an_environment_whose_episode_has_ended_waits_and_shows_its_end() -> None:
    seed = seed_where(lambda lengths: lengths[0] == 2 and min(lengths[1:]) > 4, 3)
    gate, rows = gate_with(seed=seed)
    env = gate.open(3, autoreset=False)
    assert env.metadata["autoreset_mode"] is gym.vector.AutoresetMode.DISABLED
    first, infos = env.reset()
    assert infos["active"].tolist() == [True] * 3
    ones = np.ones((3, 1), np.float32)
    env.step(ones)
    for steps in (2, 3, 4):
        taken = Walk.taken
        obs, rewards, terminations, truncations, infos = env.step(ones)
        assert infos["active"].tolist() == [steps == 2, True, True]
        assert obs[:, 0].tolist() == (first[:, 0] + [2, steps, steps]).tolist()
        assert obs[0, 1] == 0
        assert terminations.tolist() == [steps == 2, False, False]
        assert (rewards != 0).tolist() == infos["active"].tolist()
        assert not truncations.any()
        assert "final_obs" not in infos
        assert Walk.taken - taken == infos["active"].sum()
    assert [(row["env"], row["length"]) for row in rows] == [(0, 2)]
    assert gate.steps == Walk.taken == 10


def test_an_environment_that_was_not_yet_reset_waits_and_shows_zeros() -> None:
    gate, _ = gate_with()
    env = gate.open(3, autoreset=False)
    for _ in range(2):
        obs, _, _, _, infos = env.step(np.ones((3, 1), np.float32))
        assert not obs.any()
        assert not infos["active"].any()
    obs, infos = env.reset(options={"reset_mask": np.array([False, True, False])})
    assert infos["active"].tolist() == [False, True, False]
    assert obs.any(axis=1).tolist() == [False, True, False]
    assert gate._episodes == [0, 1, 0]
    assert gate.steps == Walk.taken == 0


def test_a_mask_begins_episodes_where_it_is_true_and_leaves_the_others_as_they_are() -> None:
    seed = seed_where(lambda lengths: lengths[0] == 1 == lengths[1] and min(lengths[2:]) > 3, 4)
    gate, rows = gate_with(seed=seed)
    env = gate.open(4, autoreset=False)
    env.reset()
    before = env.step(np.ones((4, 1), np.float32))[0]
    obs, infos = env.reset(options={"reset_mask": np.array([True, False, True, False])})
    assert infos["active"].tolist() == [True, False, True, True]
    assert obs[[1, 3]].tolist() == before[[1, 3]].tolist()
    assert obs[[0, 2], 0].tolist() == [training_seed("walk", seed, slot, 1) for slot in (0, 2)]
    assert [(row["env"], row["length"], row.get("cut")) for row in rows] == [(0, 1, None), (1, 1, None), (2, 1, True)]
    assert gate._episodes == [2, 1, 2, 1]


def test_a_reset_without_options_begins_an_episode_everywhere() -> None:
    gate, _ = gate_with()
    env = gate.open(3, autoreset=False)
    for episode in range(3):
        obs, _ = env.reset()
        assert obs[:, 0].tolist() == [training_seed("walk", 0, slot, episode) for slot in range(3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reset_mask": np.ones(3)}, r"reset_mask: expected bool \[2\], found float64 \[3\]"),
        ({"reset_mask": [1, 0]}, r"reset_mask: expected bool \[2\], found int64 \[2\]"),
        ({"episode_seed": 4}, r"episode_seed: expected integers \[2\], found int64 \[\]"),
        ({"episode_seed": [0.5, 1.0]}, r"episode_seed: expected integers \[2\], found float64 \[2\]"),
        ({"episode_seed": [3, -1]}, "episode_seed: expected 0 or more, found -1"),
    ],
)
def test_options_that_fit_no_vector_are_refused(options: dict[str, Any], said: str) -> None:
    gate, _ = gate_with()
    with pytest.raises(ValueError, match=said):
        gate.open(2, autoreset=False).reset(options=options)


def test_a_vector_that_begins_anew_by_itself_takes_no_mask() -> None:
    gate, _ = gate_with()
    with pytest.raises(ValueError, match="open with autoreset=False"):
        gate.open(2).reset(options={"reset_mask": np.array([True, False])})


def test_a_vector_opened_later_goes_on_with_the_slots_of_a_closed_one() -> None:
    gate, _ = gate_with()
    phase = gate.open(3)
    phase.reset()
    phase.close()
    phase.close()
    later = gate.open(2, autoreset=False)
    phase.close()  # it has nothing left to give back
    assert [slot.index for slot in later._envs] == [0, 1]
    assert later.reset()[0][:, 0].tolist() == [training_seed("walk", 0, slot, 1) for slot in (0, 1)]
    assert gate.open().index == 2


# -- common episodes -----------------------------------------------------------------------------------------------


def test_a_common_episode_is_the_same_one_wherever_and_however_often_it_is_played() -> None:
    gate, _ = gate_with(seed=5)
    rng = np.random.default_rng(0)
    moves = [action(rng) for _ in range(9)]
    single, vector, waiting = gate.open(), gate.open(2), gate.open(3, autoreset=False)

    def of_single() -> list[Any]:
        seen = [single.reset(options={"episode_seed": 4})[0].tolist()]
        for move in moves:
            obs, reward, terminated, _, _ = single.step(move)
            seen.append([obs.tolist(), float(reward)])
            if terminated:
                break
        return seen

    def of_vector(env: Any, i: int) -> list[Any]:
        seeds = np.array([9] * env.num_envs)
        seeds[i] = 4
        seen = [env.reset(options={"episode_seed": seeds})[0][i].tolist()]
        for move in moves:
            obs, rewards, terminations, _, infos = env.step([move] * env.num_envs)
            shown = infos["final_obs"][i] if "final_obs" in infos and infos["_final_obs"][i] else obs[i]
            seen.append([shown.tolist(), float(rewards[i])])
            if terminations[i]:
                break
        return seen

    expected = of_single()
    assert expected[0][0] == common_seed("walk", 5, 4)
    assert len(expected) == 2 + common_seed("walk", 5, 4) % 9
    assert of_vector(vector, 0) == of_vector(waiting, 2) == of_vector(waiting, 0) == of_vector(vector, 1) == expected
    assert of_single() == expected


def test_a_common_episode_leaves_the_count_of_its_slot_alone() -> None:
    gate, _ = gate_with()
    env = gate.open()
    places = [env.reset(options=options)[0][0] for options in (None, {"episode_seed": 0}, {"episode_seed": 7}, {})]
    own = [training_seed("walk", 0, 0, episode) for episode in (0, 1)]
    assert places == [own[0], common_seed("walk", 0, 0), common_seed("walk", 0, 7), own[1]]
    assert gate._episodes == [2]


def test_only_where_the_mask_is_true_is_an_episode_seed_asked_for() -> None:
    gate, _ = gate_with()
    env = gate.open(3, autoreset=False)
    env.reset()
    options = {"reset_mask": np.array([False, True, False]), "episode_seed": np.array([-1, 3, -1])}
    obs, _ = env.reset(options=options)
    own = [training_seed("walk", 0, slot, 0) for slot in range(3)]
    assert obs[:, 0].tolist() == [own[0], common_seed("walk", 0, 3), own[2]]


@pytest.mark.parametrize(("number", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError)])
def test_a_common_episode_has_a_whole_number(number: Any, error: type[Exception]) -> None:
    gate, _ = gate_with()
    with pytest.raises(error):
        gate.open().reset(options={"episode_seed": number})


def test_after_a_common_episode_a_vector_goes_on_with_ordinary_ones() -> None:
    gate, _ = gate_with()
    env = gate.open(1)
    env.reset(options={"episode_seed": [2]})
    for _ in range(1 + common_seed("walk", 0, 2) % 9):
        obs, _, terminations, _, _ = env.step(np.zeros((1, 1), np.float32))
    assert terminations[0]
    assert obs[0, 0] == training_seed("walk", 0, 0, 0)


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


def stacked(env: Any) -> Any:
    return np.stack(env._last).tolist()


class Generations:
    """An agent that has a vector play common and ordinary episodes, begins some late, and breaks some off."""

    def __init__(self, gate: Gate, num_envs: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.num_envs = num_envs
        self.open(gate)

    def open(self, gate: Gate) -> None:
        self.env = gate.open(self.num_envs, autoreset=False)

    def act(self, times: int) -> list[Any]:
        seen: list[Any] = []
        for _ in range(times):
            if self.rng.random() < 0.3:
                mask = self.rng.random(self.num_envs) < 0.4
                options: dict[str, Any] = {"reset_mask": mask}
                if self.rng.random() < 0.5:
                    options["episode_seed"] = self.rng.integers(0, 5, self.num_envs)
                obs, infos = self.env.reset(options=options)
                seen.append([obs.tolist(), infos["active"].tolist()])
            answer = self.env.step(np.stack([action(self.rng) for _ in range(self.num_envs)]))
            seen.append([part.tolist() for part in answer[:4]] + [answer[4]["active"].tolist()])
        return seen


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    num_envs=st.integers(1, 4),
    before=st.integers(0, 30),
    again=st.integers(0, 12),
    seed=st.integers(0, 10**6),
    bare=st.booleans(),
)
def test_environments_that_run_and_that_wait_go_on_as_if_nothing_had_happened(
    num_envs: int, before: int, again: int, seed: int, bare: bool
) -> None:
    """Checkpoint after ``before`` decisions and, in the resumed gate, after ``again`` more."""
    whole, whole_rows = gate_with(seed=seed)
    expected = Generations(whole, num_envs, seed).act(before + again + 20)

    gate, rows = gate_with(seed=seed)
    agent = Generations(gate, num_envs, seed)
    found: list[Any] = []
    for steps in (before, again):
        found += agent.act(steps)
        shown, running = stacked(agent.env), [env.running for env in agent.env._envs]
        steps_taken = gate.steps
        with tempfile.TemporaryDirectory() as folder:
            saved = through_a_checkpoint(gate.state(), Path(folder))
        gate, _ = gate_with(seed=seed, rows=rows)
        gate.restore(saved)
        agent.open(gate)
        if bare and any(running):
            obs, infos = agent.env.reset()
        else:  # nothing is to be resumed, so a bare reset would begin episodes
            obs, infos = agent.env.reset(options={"reset_mask": np.zeros(num_envs, np.bool_)})
        assert infos["active"].tolist() == running
        assert obs.tolist() == shown
        assert gate.steps == steps_taken
    found += agent.act(20)
    assert found == expected
    assert rows == whole_rows
    assert gate._episodes == whole._episodes


COMMON = 3
MIXED = next(
    s for s in range(999) if training_seed("walk", s, 1, 0) % 9 == 0 and common_seed("walk", s, COMMON) % 9 > 4
)


def mixed(gate: Gate) -> Any:
    """A vector of which 0 runs a common episode, 1 waits at its end, 2 was never reset."""
    env = gate.open(3, autoreset=False)
    env.reset(options={"reset_mask": np.array([True, True, False]), "episode_seed": [COMMON, 0, 0]})
    env.reset(options={"reset_mask": np.array([False, True, False])})
    env.step(np.ones((3, 1), np.float32))
    assert [slot.running for slot in env._envs] == [True, False, False]
    return env


def resumed_from(gate: Gate, folder: Path, num_envs: int = 3) -> tuple[Gate, Any]:
    folder.mkdir(exist_ok=True)
    second, _ = gate_with(seed=gate.seed)
    second.restore(through_a_checkpoint(gate.state(), folder))
    return second, second.open(num_envs, autoreset=False)


def test_the_first_reset_of_a_resumed_trial_goes_on_whatever_its_options(tmp_path: Path) -> None:
    first, _ = gate_with(seed=MIXED)
    shown = stacked(mixed(first))
    for mask in ([True, True, False], [False, True, False]):
        _, env = resumed_from(first, tmp_path / str(mask))
        obs, infos = env.reset(options={"reset_mask": np.array(mask), "episode_seed": [8, 9, 8]})
        assert infos["active"].tolist() == [True, True, False]
        assert obs[0].tolist() == shown[0], "what was running goes on"
        assert obs[1, 0] == common_seed("walk", MIXED, 9), "what waited begins, for the mask says so"
        assert obs[2].tolist() == [0, 0]
        again, _ = env.reset(options={"reset_mask": np.array([True, False, True])})
        own = [training_seed("walk", MIXED, slot, 0) for slot in (0, 2)]
        assert again[[0, 2], 0].tolist() == own, "the second reset is like any other"


def test_where_nothing_ran_the_first_reset_of_a_resumed_trial_begins_episodes(tmp_path: Path) -> None:
    first, _ = gate_with(seed=seed_where(lambda lengths: lengths == [1, 1], 2))
    env = first.open(2, autoreset=False)
    env.reset()
    env.step(np.ones((2, 1), np.float32))
    _, env = resumed_from(first, tmp_path, 2)
    taken = Walk.taken
    obs, infos = env.reset()
    assert infos["active"].all()
    assert obs[:, 0].tolist() == [training_seed("walk", first.seed, slot, 1) for slot in (0, 1)]
    assert Walk.taken == taken, "an end that nobody looks at is not played again"


def test_what_was_opened_but_not_yet_reset_is_kept_by_the_next_save(tmp_path: Path) -> None:
    first, _ = gate_with(seed=MIXED)
    shown = stacked(mixed(first))
    second, env = resumed_from(first, tmp_path / "second")
    assert not env.step(np.ones((3, 1), np.float32))[4]["active"].any(), "who was not reset waits"
    for _ in range(2):
        second, env = resumed_from(second, tmp_path / "third")
    assert env.reset()[0].tolist() == shown


def test_a_single_environment_is_stepped_in_a_resumed_trial_only_after_its_reset(tmp_path: Path) -> None:
    first, _ = gate_with(seed=seed_where(lambda lengths: lengths[0] > 4, 1))
    env = first.open()
    env.reset()
    shown = env.step(np.ones(1, np.float32))[0]
    gate, _ = gate_with(seed=first.seed)
    gate.restore(through_a_checkpoint(first.state(), tmp_path))
    env = gate.open()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.ones(1, np.float32))
    assert env.reset(options={"episode_seed": 1})[0].tolist() == shown.tolist()
